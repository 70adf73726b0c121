/** Carries out what the state machine says: WebSocket, timers, store. It makes no decision about the
 * protocol. */

import { RequestError, SessionOver } from "../errors.js";
import { ask, occasion, read, type Asked, type Occasion, type Restored } from "../pending.js";
import { OVER } from "../session/requests.js";
import { needsSafety, type Output } from "../session/output.js";
import {
  dropOutput,
  endSession,
  leaveSession,
  nextOutput,
  openSession,
  type ClientSession,
} from "../session/session.js";
import { applyChange, emptyState, type StateChange } from "../session/state.js";
import type { Subscription } from "../subscription.js";
import { valueOf } from "../wire/payload.js";
import { makeClock } from "./clock.js";
import type { DriverConfig, Handler, SessionState } from "./config.js";
import { dial, dropSocket, wait } from "./connection.js";
import { tellEvent } from "./events.js";
import { listenToPage } from "./page.js";
import type { Attempts } from "./reconnect.js";
import { takeBack } from "./requests.js";
import { schedule } from "./time.js";

/** The one driver of a session. Only the functions of this folder change it. */
export interface Driver extends Attempts {
  readonly config: DriverConfig;
  /** Tells the application that the state is another. */
  readonly tellState: () => void;
  /** What the application sees. */
  current: SessionState;
  readonly restored: Restored[];
  readonly handlers: Map<string, Handler>;
  readonly clock: () => number;
  /** The store has been read. */
  readonly started: Occasion;
  /** The store is free. */
  readonly closed: Occasion;
  /** Aborted when the page is of no interest any more. */
  readonly page: AbortController;
  /** There is none before the store has been read. */
  machine: ClientSession | undefined;
  /** What the application wants before the store has been read. */
  readonly early: (() => void)[];
  earlyBytes: number;
  /** Why the session is over, or about to be. */
  whyOver: SessionOver | undefined;
  isWorking: boolean;

  // The connection.
  socket: WebSocket | undefined;
  connectByMs: number;
  /** When to dial again. */
  dialAtMs: number;
  timer: ReturnType<typeof setTimeout> | undefined;

  // The store.
  readonly dirty: StateChange[];
  dirtySinceMs: number;
  isCommitting: boolean;
  /** What returns once everything is safe. */
  readonly kept: (() => void)[];

  // The application.
  readonly asked: Map<number, Asked<unknown>>;
  readonly queues: Map<string, Subscription>;
  /** Handlers at work, by the keys of their commands. */
  readonly stops: Map<number, AbortController>;
}

export function makeDriver(config: DriverConfig, tellState: () => void): Driver {
  return {
    config,
    tellState,
    current: { name: "connecting", attempt: 0 },
    restored: [],
    handlers: new Map(),
    clock: makeClock(),
    retryCount: 0,
    openedAtMs: Infinity,
    started: occasion(),
    closed: occasion(),
    page: new AbortController(),
    machine: undefined,
    early: [],
    earlyBytes: 0,
    whyOver: undefined,
    isWorking: false,
    socket: undefined,
    connectByMs: Infinity,
    dialAtMs: Infinity,
    timer: undefined,
    dirty: [],
    dirtySinceMs: Infinity,
    isCommitting: false,
    kept: [],
    asked: new Map(),
    queues: new Map(),
    stops: new Map(),
  };
}

export async function start(driver: Driver): Promise<void> {
  const state = emptyState();
  try {
    // Dialled only after this, so that whoever made the session can name its handlers first.
    for (const change of (await driver.config.store?.load()) ?? []) {
      applyChange(state, change);
    }
  } catch (cause) {
    over(driver, new SessionOver("storage", undefined, { cause }));
    return;
  }
  // The machine's own state is ahead of what the application was told.
  const unsettled = [...state.requests];
  driver.machine = openSession(driver.config, state);
  for (const [key, { call: made }] of unsettled) {
    const asked = ask(read, () => {
      takeBack(driver, key);
    });
    asked.keep();
    driver.asked.set(key, asked);
    driver.restored.push({ ...made, payload: valueOf(made.payload), outcome: asked.pending });
  }
  driver.started.resolve();
  listenToPage(driver);
  for (const wish of driver.early.splice(0)) {
    wish();
  }
  dial(driver);
  work(driver);
}

export function finish(driver: Driver, how: "left" | "ended"): Promise<void> {
  wish(driver, () => {
    inform(driver, how === "left" ? leaveSession : endSession);
  });
  return driver.closed.promise;
}

/** Does what the application wants, now or when the store has been read; bounded like the outbox. */
export function wish(driver: Driver, run: () => void, asked?: Asked<unknown>, bytes = 0): void {
  if (driver.machine || driver.whyOver) {
    run();
    return;
  }
  const { outboxCountMax, outboxBytesMax } = driver.config;
  if (asked && (driver.early.length >= outboxCountMax || driver.earlyBytes + bytes > outboxBytesMax)) {
    asked.refuse(new RequestError("never_ran", "busy", "too many"));
    return;
  }
  driver.earlyBytes += bytes;
  driver.early.push(run);
}

/** Tells the state machine something, and does what it says. */
export function inform<A extends unknown[]>(
  driver: Driver,
  run: (machine: ClientSession, nowMs: number, ...args: A) => void,
  ...args: A
): void {
  if (driver.machine && !driver.whyOver) {
    run(driver.machine, driver.clock(), ...args);
    work(driver);
  }
}

/** Does what the session says, in its order, as far as the store has come. */
export function work(driver: Driver): void {
  if (driver.isWorking || !driver.machine) {
    return;
  }
  driver.isWorking = true;
  try {
    while (step(driver, driver.machine));
  } finally {
    driver.isWorking = false;
  }
  schedule(driver);
}

/** Does one thing; whether there may be another. */
function step(driver: Driver, machine: ClientSession): boolean {
  if (driver.isCommitting || driver.current.name === "over") {
    return false;
  }
  const output = nextOutput(machine);
  const isDirty = driver.dirty.length > 0;
  if (!output) {
    // What nobody waits for may share a later write.
    const isDue =
      driver.kept.length > 0 || driver.whyOver || driver.clock() >= driver.dirtySinceMs + COMMIT_DELAY_MAX_MS;
    if (isDirty && isDue) {
      commit(driver);
    } else if (!isDirty) {
      for (const keep of driver.kept.splice(0)) {
        keep();
      }
      if (driver.whyOver) {
        over(driver, driver.whyOver);
      }
    }
    return false;
  }
  if (needsSafety(output) && isDirty) {
    commit(driver);
    return false;
  }
  dropOutput(machine);
  carryOut(driver, output);
  return true;
}

function carryOut(driver: Driver, output: Output): void {
  switch (output.do) {
    case "persist":
      if (driver.config.store) {
        driver.dirty.push(output.change);
        driver.dirtySinceMs = Math.min(driver.dirtySinceMs, driver.clock());
      }
      break;
    case "transmit":
      // A socket whose end is on its way takes nothing any more, and a browser complains of the attempt.
      // Whatever has to arrive is sent again on the next connection.
      if (driver.socket?.readyState === READY_STATE_OPEN) {
        driver.socket.send(driver.config.encoding.write(output.frame));
      }
      break;
    case "close":
      if (driver.socket) {
        dropSocket(driver, output.reason);
        if (output.reason !== "done") {
          wait(driver, output.reason);
        }
      }
      break;
    case "tell":
      tellEvent(driver, output.event);
  }
}

export function commit(driver: Driver): void {
  const changes = driver.dirty.splice(0);
  driver.dirtySinceMs = Infinity;
  driver.isCommitting = true;
  const write = async () => {
    await driver.config.store?.commit(changes);
  };
  write().then(
    () => {
      driver.isCommitting = false;
      work(driver);
    },
    (cause: unknown) => {
      over(driver, new SessionOver("storage", undefined, { cause }));
    },
  );
}

/** The session is left for a reason of this side's. */
export function giveUpSession(driver: Driver, cause: SessionOver): void {
  driver.whyOver ??= cause;
  if (driver.machine) {
    leaveSession(driver.machine, driver.clock());
    work(driver);
  }
}

function over(driver: Driver, error: SessionOver): void {
  if (driver.current.name === "over") {
    return;
  }
  driver.whyOver = error;
  clearTimeout(driver.timer);
  driver.page.abort();
  dropSocket(driver, error.reason);
  driver.dialAtMs = Infinity;
  setState(driver, { name: "over", error });
  driver.started.reject(error);
  for (const wish of driver.early.splice(0)) {
    wish();
  }
  driver.kept.length = 0;
  for (const asked of driver.asked.values()) {
    asked.refuse(new RequestError("left", "left", OVER, { cause: error }));
  }
  driver.asked.clear();
  for (const controller of driver.stops.values()) {
    controller.abort();
  }
  const isOwnWish = error.reason === "left" || error.reason === "ended";
  for (const queue of driver.queues.values()) {
    queue.finish(isOwnWish ? undefined : error);
  }
  driver.queues.clear();
  const { resolve } = driver.closed;
  void Promise.resolve(driver.config.store?.close()).then(resolve, resolve);
}

export function setState(driver: Driver, state: SessionState): void {
  driver.current = state;
  driver.tellState();
}

/** A cursor that moved while nothing is sent is safe after this time. */
export const COMMIT_DELAY_MAX_MS = 1000;
/** `WebSocket.OPEN`. */
const READY_STATE_OPEN = 1;
