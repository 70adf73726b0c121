// Serves the built page, and to that page alone the control of the plug. Loopback only.

import { createServer } from "node:http";
import { readFile } from "node:fs/promises";
import { extname, join, normalize } from "node:path";

import { usual } from "./fault.js";

/** @typedef {import("./plug.js").Plug} Plug */

/**
 * @param {{ folder: string, port: number, room: string, plug: () => Plug }} options
 * @returns {Promise<import("node:http").Server>}
 */
export async function servePage(options) {
  const server = createServer((request, response) => {
    serve(options, server, request, response).catch((error) => {
      console.error(error);
      respond(response, 500, "text/plain", "something went wrong; the terminal says what");
    });
  });
  await new Promise((resolve, reject) => {
    server.on("error", reject);
    server.listen(options.port, "127.0.0.1", () => resolve(undefined));
  });
  return server;
}

/** @param {import("node:http").Server} server */
export function portOf(server) {
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("the page is not served");
  return address.port;
}

/**
 * @param {{ folder: string, room: string, plug: () => Plug }} options
 * @param {import("node:http").Server} server
 * @param {import("node:http").IncomingMessage} request
 * @param {import("node:http").ServerResponse} response
 */
async function serve({ folder, room, plug }, server, request, response) {
  const port = portOf(server);
  const { host, origin } = request.headers;
  // A page elsewhere may send requests here, under another name for this host too.
  const isOurs = [`localhost:${port}`, `127.0.0.1:${port}`].includes(host ?? "");
  if (!isOurs || (origin !== undefined && origin !== `http://${host}`)) {
    return respond(response, 403, "text/plain", "only for the page of this demo");
  }
  const url = new URL(request.url ?? "/", `http://${host}`);
  if (url.pathname.startsWith("/control/")) return control(plug(), room, url, request, response);
  if (request.method !== "GET") return respond(response, 405, "text/plain", "GET only");
  try {
    const path = url.pathname === "/" ? "/index.html" : decodeURIComponent(url.pathname);
    // An absolute path has nothing above its root once it is normal.
    const name = normalize(path);
    const content = await readFile(join(folder, name));
    const endpoint = `ws://${plug().network.address}`;
    response.setHeader(
      "Content-Security-Policy",
      `default-src 'self'; connect-src 'self' ${endpoint}`,
    );
    respond(response, 200, types[extname(name)] ?? "application/octet-stream", content);
  } catch {
    respond(response, 404, "text/plain", "no such file");
  }
}

/**
 * @param {Plug} plug
 * @param {string} room
 * @param {URL} url
 * @param {import("node:http").IncomingMessage} request
 * @param {import("node:http").ServerResponse} response
 */
async function control(plug, room, url, request, response) {
  const what = url.pathname.slice("/control/".length);
  if (request.method === "POST") {
    if (what === "mend") plug.mend();
    else if (what === "storm")
      void plug.rage(Math.floor(Math.random() * 1e9), stormMs).catch(console.error);
    // The answer does not wait until a killed server is back.
    else if (Object.hasOwn(usual, what))
      void plug.pull(usual[/** @type {keyof usual} */ (what)]).catch(console.error);
    else return respond(response, 404, "text/plain", "no such fault");
  } else if (what !== "state") {
    return respond(response, 404, "text/plain", "ask for the state");
  }
  const after = Number(url.searchParams.get("after") ?? 0);
  const state = {
    room,
    endpoint: `ws://${plug.network.address}/server`,
    nowMs: Date.now(),
    serverPid: plug.backend.pid ?? null,
    killCount: plug.backend.killCount,
    pulls: plug.pullsAfter(after),
  };
  respond(response, 200, types[".json"] ?? "", JSON.stringify(state));
}

/**
 * @param {import("node:http").ServerResponse} response
 * @param {number} status
 * @param {string} type
 * @param {string | Buffer} content
 */
function respond(response, status, type, content) {
  response.writeHead(status, {
    "Content-Type": type,
    "Cache-Control": "no-cache",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
  });
  response.end(content);
}

/** @type {Record<string, string>} */
const types = {
  ".css": "text/css; charset=utf-8",
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".json": "application/json",
  ".svg": "image/svg+xml",
  ".woff2": "font/woff2",
};

const stormMs = 20_000;
