/** What the application asks for: until the store has been read, then with the state machine. */

import { RequestError } from "../errors.js";
import { ask, type Asked, type Pending } from "../pending.js";
import { call, cancel, OVER } from "../session/requests.js";
import { callBytes, type Call } from "../session/state.js";
import type { Outcome } from "../wire/frames.js";
import type { RequestOptions } from "./config.js";
import { inform, wish, work, type Driver } from "./driver.js";

export function send<T>(
  driver: Driver,
  call: Call,
  { deadlineMs, signal }: RequestOptions,
  readAs: (outcome: Outcome) => T,
): Pending<T> {
  let key: number | undefined;
  const asked = ask(readAs, () => {
    wish(driver, () => {
      takeBack(driver, key);
    });
  });
  const deadlineAtMs = deadlineMs === undefined ? undefined : driver.clock() + deadlineMs;
  const run = () => {
    key = makeRequest(driver, call, deadlineAtMs, asked);
  };
  wish(driver, run, asked, callBytes(call));
  // A signal may live for longer than many requests.
  const ignore = listenToAbort(signal, asked.pending.cancel);
  asked.pending.then(ignore, ignore);
  return asked.pending;
}

function makeRequest(
  driver: Driver,
  made: Call,
  deadlineAtMs: number | undefined,
  asked: Asked<unknown>,
): number | undefined {
  if (!driver.machine || driver.whyOver) {
    const cause = driver.whyOver;
    asked.refuse(new RequestError("never_ran", "never_ran", OVER, { cause }));
    return undefined;
  }
  try {
    const key = call(driver.machine, driver.clock(), made, deadlineAtMs);
    driver.asked.set(key, asked);
    driver.kept.push(asked.keep);
    // When what is wanted in this turn has been said, so that one write serves it all.
    queueMicrotask(() => {
      work(driver);
    });
    return key;
  } catch (error) {
    asked.refuse(error);
    return undefined;
  }
}

export function takeBack(driver: Driver, key: number | undefined): void {
  if (key) {
    inform(driver, cancel, key);
  }
}

/** Runs something when a signal is aborted, until the function that it gives is called. */
export function listenToAbort(signal: AbortSignal | undefined, run: () => void): () => void {
  if (signal?.aborted) {
    run();
  }
  signal?.addEventListener("abort", run);
  return () => {
    signal?.removeEventListener("abort", run);
  };
}
