import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    // One browser and one server at a time: two cores are all there is.
    fileParallelism: false,
    setupFiles: ["ending.ts"],
    testTimeout: 180_000,
    hookTimeout: 60_000,
  },
});
