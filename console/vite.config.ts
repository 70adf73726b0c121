import { defineConfig } from "vitest/config";
import { codes } from "./build/codes.ts";
import { mock } from "./mock/plugin.ts";

const server = process.env["MAINSTAY_ADMIN"];

export default defineConfig({
  // The server decides where the page lives; everything in it is named relative to it.
  base: "./",
  plugins: [codes(), ...(server === undefined ? [mock()] : [])],
  server: {
    // `MAINSTAY_ADMIN=http://127.0.0.1:8081 npm run dev` works on a real server.
    proxy:
      server === undefined
        ? {}
        : {
            "^/(v1|events|health)": {
              target: server,
              headers: { host: new URL(server).host, origin: server },
              changeOrigin: true,
            },
          },
  },
  // As the server sends it, so that `npm run preview` forbids what the server would.
  preview: {
    headers: {
      "content-security-policy":
        "default-src 'self'; connect-src 'self' ws: wss:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'",
    },
  },
  build: {
    target: "es2022",
    modulePreload: false,
    // A policy without `data:` must not break the page.
    assetsInlineLimit: 0,
    reportCompressedSize: false,
    chunkSizeWarningLimit: 200,
  },
  test: { include: ["src/**/*.test.ts", "mock/**/*.test.ts"], environment: "node" },
});
