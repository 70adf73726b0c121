/** What can go wrong, as the application sees it. */

import { RETRYABLE_CODES, type ErrorCode } from "./codes.js";

/**
 * Why a request has no result.
 *
 * - `never_ran`: it did not run and never will.
 * - `failed`: the handler failed or was stopped, or nothing was done; {@link RequestError.code} tells.
 * - `indeterminate`: it may have run, and nobody will ever know with what result.
 * - `left`: this program left the session before the outcome came. The next run with the same store
 *   learns it ({@link Session.restored}), unless the store did not have the request yet: then it was not sent.
 */
export type RequestErrorKind = "never_ran" | "failed" | "indeterminate" | "left";

/** A request that has no result. */
export class RequestError extends Error {
  override readonly name = "RequestError";

  /** @internal */
  constructor(
    readonly kind: RequestErrorKind,
    /** A word of PROTOCOL.md's "Words of failure", or the kind where there is none. */
    readonly code: ErrorCode | "indeterminate" | "left",
    message: string,
    options?: ErrorOptions,
  ) {
    super(`${code}: ${message}`, options);
  }

  /** Whether nothing was done and the same may be asked again later. */
  get mayBeRetried(): boolean {
    return this.kind === "never_ran" || RETRYABLE_CODES.includes(this.code as ErrorCode);
  }
}

/** The error of a request that did not run and never will. */
export function neverRan(code: ErrorCode, message: string, options?: ErrorOptions): RequestError {
  return new RequestError("never_ran", code, message, options);
}

/** Why a channel cannot be listened to, or no longer. */
export class SubscriptionError extends Error {
  override readonly name = "SubscriptionError";

  /** @internal */
  constructor(
    readonly channel: string,
    /** A word of PROTOCOL.md's "Words of failure". */
    readonly code: ErrorCode,
    message: string,
  ) {
    super(`${code}: ${message}`);
  }
}

/**
 * Why a session is over for this program.
 *
 * - `left`: the application called `close()`.
 * - `ended`: the application called `end()`.
 * - `superseded`: another connection has taken it over: its store, or a copy of it, is in use elsewhere.
 * - `refused`: the server closed with a code that says not to come back ({@link SessionOver.code}).
 * - `dialect`: the server does not speak this encoding of the session dialect, or the browser may not
 *   connect to it.
 * - `storage`: the store failed ({@link SessionOver.cause}). What was not stored by then was not sent.
 */
export type SessionOverReason = "left" | "ended" | "superseded" | "refused" | "dialect" | "storage";

/** A session is over for this program. */
export class SessionOver extends Error {
  override readonly name = "SessionOver";

  /** @internal */
  constructor(
    readonly reason: SessionOverReason,
    /** The code of the server's Close frame, if that was the reason. */
    readonly code?: number,
    options?: ErrorOptions,
  ) {
    super(`the session is over: ${reason}${code ? ` (${code})` : ""}`, options);
  }
}
