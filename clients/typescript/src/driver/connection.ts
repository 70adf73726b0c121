/** The connection: dialled, heard, dropped, and waited for. */

import { SessionOver } from "../errors.js";
import { handleClosed, handleFrame, handleOpen, handleViolation } from "../session/session.js";
import type { SessionState } from "./config.js";
import { giveUpSession, inform, setState, work, type Driver } from "./driver.js";
import { retryDelayMs } from "./reconnect.js";

export function dial(driver: Driver): void {
  driver.dialAtMs = Infinity;
  if (driver.socket || driver.whyOver) {
    return;
  }
  const { url, encoding, webSocket, connectTimeoutMs } = driver.config;
  setState(driver, { name: "connecting", attempt: driver.retryCount });
  let socket: WebSocket;
  try {
    socket = new (webSocket ?? globalThis.WebSocket)(url, encoding.subprotocol) as WebSocket;
  } catch (cause) {
    // The URL was checked: there is no WebSocket class, or the page may not connect there.
    giveUpSession(driver, new SessionOver("dialect", undefined, { cause }));
    return;
  }
  driver.socket = socket;
  driver.connectByMs = driver.clock() + connectTimeoutMs;
  socket.binaryType = "arraybuffer";
  socket.onopen = () => {
    handleSocketOpen(driver, socket.protocol === encoding.subprotocol);
  };
  socket.onmessage = (event: MessageEvent) => {
    handleMessage(driver, event.data);
  };
  socket.onclose = (event: CloseEvent) => {
    handleSocketClose(driver, event.code);
  };
  socket.onerror = () => undefined;
}

function handleSocketOpen(driver: Driver, speaksDialect: boolean): void {
  driver.connectByMs = Infinity;
  if (speaksDialect) {
    driver.openedAtMs = driver.clock();
    inform(driver, handleOpen);
  } else {
    dropSocket(driver, "dialect");
    giveUpSession(driver, new SessionOver("dialect"));
  }
}

function handleMessage(driver: Driver, message: unknown): void {
  try {
    inform(driver, handleFrame, driver.config.encoding.read(message));
  } catch {
    inform(driver, handleViolation);
  }
}

function handleSocketClose(driver: Driver, closeCode: number): void {
  const wasOpen = driver.connectByMs === Infinity;
  driver.socket = undefined;
  // 1005 stands for a Close frame without a code, 1006 for none at all.
  const code = closeCode === 1005 || closeCode === 1006 ? undefined : closeCode;
  if (driver.machine && wasOpen) {
    handleClosed(driver.machine, driver.clock(), code);
  }
  if (driver.machine?.phase !== "ended") {
    wait(driver, wasOpen ? (closeCode === 1006 ? "lost" : "closed") : "failed", code);
  }
  work(driver);
}

/** Ends a connection in good order without waiting for it: a dead one may take minutes. */
export function dropSocket(driver: Driver, reason: string): void {
  const socket = driver.socket;
  driver.socket = undefined;
  driver.connectByMs = Infinity;
  if (socket) {
    // What it says later must not touch the next one.
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close(1000, reason);
  }
}

/** Waits before the next attempt to connect. */
export function wait(
  driver: Driver,
  reason: Extract<SessionState, { name: "waiting" }>["reason"],
  code?: number,
): void {
  const nowMs = driver.clock();
  driver.connectByMs = Infinity;
  // A page that was suspended is seen again, or never.
  driver.dialAtMs =
    reason === "suspended" ? Infinity : nowMs + retryDelayMs(driver, driver.config, nowMs, reason === "closed");
  setState(driver, {
    name: "waiting",
    attempt: driver.retryCount,
    retryAtMs: Math.round(driver.dialAtMs),
    reason,
    code,
  });
}
