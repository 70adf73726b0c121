/** Requests on their way, and what becomes of them. */

import { RequestError } from "./errors.js";
import type { Json, Outcome, Place } from "./wire/frames.js";
import { valueOf } from "./wire/payload.js";

/**
 * A request that the session keeps until it has its outcome, over as many connections as that takes.
 * Await it for the result; it rejects with a {@link RequestError}. Nobody has to: an outcome that is
 * not awaited is no unhandled rejection.
 */
export interface Pending<T> extends Promise<T> {
  /** Resolves when the store has the request: from then on it is sent as often as it takes, also by
   * later runs. Without a durable store, when the session has it. Rejects if it never will. */
  readonly stored: Promise<void>;
  /** The outcome is no longer wanted: what has not run will not, what runs is stopped. The outcome
   * comes all the same, and says which. */
  readonly cancel: () => void;
}

/** A request that an earlier run of this store has left without an outcome. */
export interface Restored {
  /** The command, unless it is a publish. */
  readonly command?: string;
  /** The channel of a publish. */
  readonly channel?: string;
  /** What was given with it. */
  readonly payload: Json | Uint8Array;
  /** Its outcome: the result of a command, or the place of an event. */
  readonly outcome: Pending<Json | Uint8Array | Place>;
}

/** Both ends of a {@link Pending}. */
export interface Asked<T> {
  readonly pending: Pending<T>;
  keep(): void;
  settle(outcome: Outcome): void;
  refuse(error: unknown): void;
}

export function ask<T>(read: (outcome: Outcome) => T, cancel: () => void): Asked<T> {
  const outcome = deferred<T>();
  const stored = deferred<undefined>();
  return {
    pending: Object.assign(outcome.promise, { stored: stored.promise, cancel }),
    keep() {
      stored.resolve(undefined);
    },
    settle(settled) {
      try {
        outcome.resolve(read(settled));
      } catch (error) {
        outcome.reject(error);
      }
    },
    refuse(error) {
      outcome.reject(error);
      stored.reject(error);
    },
  };
}

export function readDone(outcome: Outcome): Json | Uint8Array {
  return outcome.status === "done" ? valueOf(outcome.payload) : raise(outcome);
}

export function readPublished(outcome: Outcome): Place {
  return outcome.status === "published" ? { epoch: outcome.epoch, offset: outcome.offset } : raise(outcome);
}

export function readAny(outcome: Outcome): Json | Uint8Array | Place {
  return outcome.status === "published" ? readPublished(outcome) : readDone(outcome);
}

function raise(outcome: Outcome): never {
  if (outcome.status === "failed") {
    const kind = outcome.error === "never_ran" ? "never_ran" : "failed";
    throw new RequestError(kind, outcome.error, `${outcome.error}: ${outcome.message}`);
  }
  if (outcome.status === "indeterminate") {
    throw new RequestError("indeterminate", "indeterminate", "whether it ran is unknown and will remain so");
  }
  throw new RequestError("failed", "malformed", "the server's outcome is not one of this kind of request");
}

export function deferred<T>(): {
  promise: Promise<T>;
  resolve: (value: T) => void;
  reject: (error: unknown) => void;
} {
  let resolve!: (value: T) => void;
  let reject!: (error: unknown) => void;
  const promise = new Promise<T>((resolved, rejected) => {
    resolve = resolved;
    reject = rejected;
  });
  promise.catch(() => undefined);
  return { promise, resolve, reject };
}
