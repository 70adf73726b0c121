/** What a client session says is to be done. */

import type { ErrorCode } from "../codes.js";
import type { ClientFrame, Event, Gap, Outcome, Presence, Request, Subscribed, Welcome } from "../wire/frames.js";
import type { StateChange } from "./state.js";

/** One thing to be done. They are to be done in the order in which they come. */
export type Output =
  /** Keep this change. It must be safe before the next output for which {@link needsSafety} holds;
   * until then it may wait, so that several are written at once. */
  | { readonly do: "persist"; readonly change: StateChange }
  /** Send this on the connection that is open. */
  | { readonly do: "transmit"; readonly frame: ClientFrame }
  /** Tell the application. */
  | { readonly do: "tell"; readonly event: SessionEvent }
  /** Close the connection. The session has done with it and hears nothing of it any more. */
  | { readonly do: "close"; readonly reason: CloseReason };

/** What the application hears. */
export type SessionEvent =
  | { readonly type: "welcomed"; readonly welcome: Welcome }
  /** What became of a request. Comes once for each. */
  | { readonly type: "outcome"; readonly key: number; readonly outcome: Outcome }
  /** A request was not sent and never will be. Comes in place of an outcome. */
  | { readonly type: "given_up"; readonly key: number; readonly outcome: Outcome }
  /** A subscription has ended; with an error unless the application asked for it. */
  | { readonly type: "unsubscribed"; readonly channel: string; readonly failure: Failure | undefined }
  /** An event and the incarnation that its offset belongs to; `consumed` is to be said when the
   * application has it. */
  | (Event & { readonly epoch: string })
  /** The server asks for a command to be run, and waits for `answer`. Comes once for each. */
  | {
      readonly type: "command";
      readonly key: number;
      readonly deadlineAtMs: number | undefined;
      readonly request: Request;
    }
  /** The server no longer wants the outcome of its command. An answer does no harm. */
  | { readonly type: "command_cancelled"; readonly key: number }
  /** The session is over, for this client at least. Nothing follows. */
  | { readonly type: "ended"; readonly ending: Ending }
  | Subscribed
  | Gap
  | Presence;

/** Why something failed. */
export interface Failure {
  readonly error: ErrorCode;
  readonly message: string;
}

/** Why the session closes a connection: nothing was heard for longer than the server announced; no
 * welcome came in time; the server broke the protocol; it said that it is about to go; the session
 * is over or was left. */
export type CloseReason = "silent" | "no_welcome" | "fault" | "goaway" | "done";

/** How a session ended: by a `bye`; it was left, to be continued with the saved state; another
 * connection has taken it over; the server closed with a code that says not to come back. */
export interface Ending {
  readonly how: "ended" | "left" | "superseded" | "refused";
  /** The code of the server's Close frame, if that was the reason. */
  readonly code: number | undefined;
}

/**
 * Whether everything that was to be kept must be safe before this is done: the outside will rely on
 * it. Even a pong tells the server that the new token has arrived, a handler may run but once, and
 * what is said never to run must not be found and sent by a later run; events of channels and
 * outcomes are given again if need be.
 */
export function needsSafety(output: Output): boolean {
  return output.do === "transmit" || (output.do === "tell" && /^(command|given_up)$/.test(output.event.type));
}
