// Made from spec/codes.toml by scripts/codes.js; `npm run codes` writes it anew.

/** The words of failure of PROTOCOL.md. */
export type ErrorCode =
  /** The handler ran and refused or failed; its message says why. */
  | "handler_failed"
  /** The handler ran and failed unexpectedly. */
  | "internal"
  /** The handler was stopped at its deadline; it may have done part of its work. */
  | "deadline_exceeded"
  /** The client took the request back; a handler that ran was stopped. */
  | "cancelled"
  /** The request did not run and never will. */
  | "never_ran"
  /** The frame or its payload is not what the protocol says. */
  | "malformed"
  /** The channel's name is outside the grammar. */
  | "invalid_channel"
  /** The principal may not do this. */
  | "not_permitted"
  /** The session does not listen to this channel. */
  | "not_subscribed"
  /** The session listens to as many channels as it may. */
  | "too_many_subscriptions"
  /** The server keeps as many channels as it may. */
  | "too_many_channels"
  /** The server, or this principal, has as many sessions as it may; come back later. */
  | "too_many_sessions"
  /** The payload is over a limit of bytes. */
  | "too_big"
  /** The inbox holds as much as it may for one who does not read it. */
  | "inbox_full"
  /** The idempotency key stands for another call; nothing was done. */
  | "key_reused"
  /** There is no such session, principal or connection. */
  | "unreachable"
  /** More is asked of the server than it can take; nothing was done, try again later. */
  | "busy"
  /** The store could not keep it; nothing was done. */
  | "store_failed";

/** Why events of a channel cannot be delivered. */
export type GapReason =
  /** The events are older than the channel's history reaches. */
  | "trimmed"
  /** The log that the offset belonged to is gone, and another has begun. */
  | "epoch"
  /** The subscription wants the latest event, and these were passed over. */
  | "conflated"
  /** The store found the events damaged. */
  | "corrupt";

/** Every word of failure. A word that is not here is taken for `internal`. */
export const ERROR_CODES: readonly ErrorCode[] = [
  "handler_failed",
  "internal",
  "deadline_exceeded",
  "cancelled",
  "never_ran",
  "malformed",
  "invalid_channel",
  "not_permitted",
  "not_subscribed",
  "too_many_subscriptions",
  "too_many_channels",
  "too_many_sessions",
  "too_big",
  "inbox_full",
  "key_reused",
  "unreachable",
  "busy",
  "store_failed",
];

/** The failures after which nothing was done and the same may be asked again later. */
export const RETRYABLE_CODES: readonly ErrorCode[] = [
  "never_ran",
  "too_many_sessions",
  "busy",
  "store_failed",
];

/** Not one byte came within the pong timeout after a ping. */
export const CLOSE_PING_TIMEOUT = 4000;
/** The peer's socket took not one byte for the write stall timeout. */
export const CLOSE_WRITE_STALLED = 4001;
/** An event did not fit into the outbox: the peer reads more slowly than its channels speak. */
export const CLOSE_SLOW_CONSUMER = 4002;
/** One message took longer than the message timeout to arrive. */
export const CLOSE_MESSAGE_TIMEOUT = 4003;
/** The peer sent more control frames than the limit allows. */
export const CLOSE_CONTROL_FLOOD = 4004;
/** Another connection has taken the session over. */
export const CLOSE_SUPERSEDED = 4200;
/** The client broke the session dialect. */
export const CLOSE_SESSION_VIOLATION = 4201;
/** An operator ended the session. */
export const CLOSE_DISCONNECTED = 4202;
/** The session exists, and its token or principal is another. */
export const CLOSE_RESUME_REFUSED = 4100;
/** No hello came in time after the handshake. */
export const CLOSE_HELLO_TIMEOUT = 4005;
