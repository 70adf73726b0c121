/** Answers what the page asks from the mock, while it is worked on (`npm run dev`). */
import type { Plugin } from "vite";
import { MockApi } from "./api.ts";

export function mock(): Plugin {
  return {
    name: "mock",
    apply: "serve",
    configureServer(server) {
      const api = new MockApi(Date.now());
      server.middlewares.use((request, response, next) => {
        const url = new URL(request.url ?? "/", "http://mock");
        if (!url.pathname.startsWith("/v1/")) {
          next();
          return;
        }
        const { status, body } = api.answer(Date.now(), request.method ?? "GET", url);
        response.writeHead(status, { "content-type": "application/json" });
        response.end(JSON.stringify(body));
      });
    },
  };
}
