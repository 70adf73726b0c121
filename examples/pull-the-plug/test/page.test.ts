import { request, type IncomingMessage, type Server } from "node:http";
import { fileURLToPath } from "node:url";

import { afterEach, beforeEach, expect, test } from "vitest";

import { portOf, servePage } from "../server/page.js";
import type { Plug } from "../server/plug.js";

let server: Server;
let pulled: string[];

beforeEach(async () => {
  pulled = [];
  const plug = {
    network: { address: "127.0.0.1:1" },
    backend: { pid: 1, killCount: 0 },
    pullsAfter: () => [],
    pull: (fault: { kind: string }) => Promise.resolve(void pulled.push(fault.kind)),
  };
  server = await servePage({
    folder: fileURLToPath(new URL("../src/", import.meta.url)),
    port: 0,
    room: "room",
    plug: () => plug as unknown as Plug,
  });
});
afterEach(() => new Promise((resolve) => server.close(resolve)));

test("the plug is pulled by the demo's own page", async () => {
  const origin = `http://localhost:${portOf(server)}`;
  expect(await ask("POST", "/control/kill", { Origin: origin })).toBe(200);
  expect(pulled).toEqual(["kill"]);
});

test("and by no page of another origin, and under no other name", async () => {
  expect(await ask("POST", "/control/kill", { Origin: "https://example.com" })).toBe(403);
  expect(await ask("POST", "/control/kill", { Origin: "null" })).toBe(403);
  expect(await ask("POST", "/control/kill", { Host: "example.com" })).toBe(403);
  expect(await ask("GET", "/control/state", { Host: "example.com" })).toBe(403);
  expect(pulled).toEqual([]);
});

test("a fault that is none is not found, nor is a file outside of the page", async () => {
  expect(await ask("POST", "/control/constructor")).toBe(404);
  expect(await ask("GET", "/main.ts")).toBe(200);
  for (const path of ["/../package.json", "/%2e%2e/package.json", "/..%2fpackage.json", "/%zz"]) {
    expect(await ask("GET", path), path).toBe(404);
  }
});

/** The status of the answer. The path goes over the wire as it is. */
async function ask(method: string, path: string, headers: Record<string, string> = {}) {
  const port = portOf(server);
  const all = { Host: `localhost:${port}`, ...headers };
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    request({ host: "127.0.0.1", port, method, path, headers: all, agent: false }, resolve)
      .on("error", reject)
      .end();
  });
  response.resume();
  return response.statusCode;
}
