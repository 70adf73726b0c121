/** Requests on their way, and what becomes of them. */

import { RequestError } from "./errors.js";
import type { Json, Outcome, Place } from "./wire/frames.js";
import { placeOf } from "./session/state.js";
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
  readonly keep: () => void;
  settle(outcome: Outcome): void;
  refuse(error: unknown): void;
}

export function ask<T>(read: (outcome: Outcome) => T, cancel: () => void): Asked<T> {
  const outcome = deferred<T>();
  const stored = occasion();
  return {
    pending: Object.assign(outcome.promise, { stored: stored.promise, cancel }),
    keep: stored.resolve,
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

/** The result of a command. */
export function readDone(outcome: Outcome): Json | Uint8Array {
  return read(outcome, "done") as Json | Uint8Array;
}

/** The place of an event. */
export function readPublished(outcome: Outcome): Place {
  return read(outcome, "published") as Place;
}

/** What a request of either kind has come to.
 * @throws {RequestError} It has no result, or one that its kind does not have. */
export function read(outcome: Outcome, status: Outcome["status"] = outcome.status): Json | Uint8Array | Place {
  if (outcome.status === "failed") {
    const { error, message } = outcome;
    throw new RequestError(error === "never_ran" ? error : "failed", error, message);
  }
  if (outcome.status === "indeterminate") {
    throw new RequestError("indeterminate", "indeterminate", "it may have run");
  }
  if (outcome.status !== status) {
    throw new RequestError("failed", "malformed", "another status");
  }
  return outcome.status === "done" ? valueOf(outcome.payload) : placeOf(outcome);
}

/** A promise and what settles it. Nobody has to await it. */
export interface Deferred<T> {
  readonly promise: Promise<T>;
  readonly resolve: (value: T) => void;
  readonly reject: (error: unknown) => void;
}

export function deferred<T>(): Deferred<T> {
  let resolve!: (value: T) => void;
  let reject!: (error: unknown) => void;
  const promise = new Promise<T>((resolved, rejected) => {
    resolve = resolved;
    reject = rejected;
  });
  promise.catch(() => undefined);
  return { promise, resolve, reject };
}

/** A promise that has no value, and what settles it. */
export type Occasion = Deferred<undefined> & { readonly resolve: () => void };

export const occasion = deferred as () => Occasion;
