/** The entry for Node: before version 22 it has no WebSocket of its own, and the package `ws` is taken. */

import { createRequire } from "node:module";

import { connect as connectWith, type ConnectOptions, type Session, type WebSocketConstructor } from "./index.js";

export * from "./index.js";

/** As in browsers, with `ws` where there is no WebSocket class. */
export function connect(url: string | URL, options: ConnectOptions = {}): Session {
  const { WebSocket = requireWs() } = globalThis as { WebSocket?: WebSocketConstructor };
  return connectWith(url, { webSocket: WebSocket, ...options });
}

function requireWs(): WebSocketConstructor {
  try {
    return createRequire(import.meta.url)("ws") as WebSocketConstructor;
  } catch (cause) {
    // The session says that it cannot connect, and why.
    return function () {
      throw cause;
    } as unknown as WebSocketConstructor;
  }
}
