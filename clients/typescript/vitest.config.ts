import { defineConfig } from "vitest/config";

/** Tests what is shipped in place of the source it is made from: it has other names inside. */
const BUILT = [{ find: /^\.\.\/src\/(.*)\.js$/, replacement: `${import.meta.dirname}/dist/$1.js` }];

export default defineConfig({
  test: {
    projects: [
      { test: { name: "unit", include: ["tests/**/*.test.ts"], testTimeout: 30_000 } },
      {
        resolve: { alias: BUILT },
        test: { name: "built", include: ["tests/driver.test.ts"], testTimeout: 30_000 },
      },
      {
        resolve: { alias: BUILT },
        test: {
          name: "integration",
          include: ["integration/**/*.test.ts"],
          testTimeout: 120_000,
          hookTimeout: 60_000,
          fileParallelism: false,
        },
      },
    ],
  },
});
