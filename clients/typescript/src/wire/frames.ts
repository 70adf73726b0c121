/**
 * The frames of the session dialect, under the protocol's own names: what stands here is what
 * PROTOCOL.md says goes over the wire, in either encoding.
 */

import type { ErrorCode, GapReason } from "../codes.js";

/** Any JSON value. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [name: string]: Json };

/** What an application says: a JSON value, as the text that its author wrote when it is to be sent and
 * as the value when it has come; or bytes. */
export type Payload = { readonly json: string } | { readonly value: Json } | { readonly data: Uint8Array };

/** A place in a channel: an offset means nothing without its epoch. */
export interface Place {
  /** The incarnation of the channel's log: 16 hexadecimal digits. */
  readonly epoch: string;
  /** The position in it: 1, 2, 3 …; 0 is before the first event. */
  readonly offset: number;
}

/** Where a subscription begins: with the next event, behind a place (offset 0 without an epoch is
 * the whole history), or with the last so many events. */
export type Start = "now" | { readonly after: number; readonly epoch?: string | undefined } | { readonly last: number };

/** Which events a subscriber gets: every one, or the newest with a gap for those passed over. */
export type Delivery = "every" | "latest";

/** What a subscriber has to do with a channel's members: nothing, is one, hears of them, or both. */
export type PresenceMode = "none" | "join" | "watch" | "join_and_watch";

/** What became of the session that a client wanted back (PROTOCOL.md, "Opening and resuming"). */
export type Standing = "new" | "resumed" | "expired" | "unknown";

/** What became of a request. */
export type Outcome =
  | { readonly status: "done"; readonly payload: Payload }
  | ({ readonly status: "published" } & Place)
  | { readonly status: "failed"; readonly error: ErrorCode; readonly message: string }
  | { readonly status: "indeterminate" };

/** What is wanted of a channel. */
export interface Subscribe {
  readonly channel: string;
  readonly start: Start;
  readonly delivery: Delivery;
  readonly presence: PresenceMode;
}

/** Where a client stands in a channel, and how events are wanted from there on. */
export interface Cursor extends Place {
  readonly channel: string;
  readonly delivery: Delivery;
  readonly presence: PresenceMode;
}

/** Bounds that a client keeps to. */
export interface ServerLimits {
  readonly request_count_max: number;
  readonly message_bytes_max: number;
  readonly subscription_count_max: number;
  /** Bytes of requests that wait behind a running handler. */
  readonly request_bytes_max?: number;
}

/** Somebody who is a member of a channel. */
export interface Member {
  readonly session: string;
  readonly principal?: string | undefined;
}

export interface Hello {
  readonly type: "hello";
  readonly client: string;
  readonly session?: string | undefined;
  readonly token?: string | undefined;
  readonly unanswered_from: number;
  readonly accepted: number;
  readonly cursors: readonly Cursor[];
}

export interface Request {
  readonly type: "request";
  readonly number: number;
  readonly command: string;
  readonly payload: Payload;
  readonly deadline_ms?: number | undefined;
}

export interface Publish {
  readonly type: "publish";
  readonly number: number;
  readonly channel: string;
  readonly payload: Payload;
}

export interface Reply {
  readonly type: "reply";
  readonly number: number;
  readonly outcome: Outcome;
}

export interface ClientAck {
  readonly type: "ack";
  readonly unanswered_from: number;
  readonly cursors: readonly { readonly channel: string; readonly offset: number }[];
}

export interface Welcome {
  readonly type: "welcome";
  readonly standing: Standing;
  readonly session: string;
  readonly token: string;
  readonly generation: number;
  readonly accepted: number;
  readonly principal?: string | undefined;
  readonly server: string;
  readonly ping_interval_ms: number;
  readonly session_expiry_ms: number;
  readonly limits: ServerLimits;
}

export interface Subscribed extends Place {
  readonly type: "subscribed";
  readonly channel: string;
  readonly head: number;
  readonly member_count: number;
}

export interface Unsubscribed {
  readonly type: "unsubscribed";
  readonly channel: string;
  readonly error?: ErrorCode | undefined;
  readonly message?: string | undefined;
}

export interface Event {
  readonly type: "event";
  readonly channel: string;
  readonly offset: number;
  readonly at_ms: number;
  readonly payload: Payload;
}

export interface Gap extends Place {
  readonly type: "gap";
  readonly channel: string;
  readonly from_epoch: string;
  readonly from: number;
  readonly to?: number | undefined;
  readonly reason: GapReason;
}

export interface Presence {
  readonly type: "presence";
  readonly channel: string;
  readonly joined: readonly Member[];
  readonly left: readonly Member[];
  readonly member_count: number;
}

export interface Goaway {
  readonly type: "goaway";
  readonly window_ms: number;
  readonly reason: string;
}

export interface Problem {
  readonly type: "problem";
  readonly error: ErrorCode;
  readonly message: string;
  readonly channel?: string | undefined;
}

/** A frame that has nothing but its type and perhaps a number. */
export type Numbered<Type extends string> = { readonly type: Type; readonly number: number };
export type Bare<Type extends string> = { readonly type: Type };

/** What a client says. */
export type ClientFrame =
  | Hello
  | Request
  | Publish
  | Numbered<"cancel">
  | Reply
  | ({ readonly type: "subscribe" } & Subscribe)
  | { readonly type: "unsubscribe"; readonly channel: string }
  | ClientAck
  | Bare<"ping" | "pong" | "bye">;

/** What a server says. */
export type ServerFrame =
  | Welcome
  | Reply
  | Request
  | Numbered<"cancel">
  | Subscribed
  | Unsubscribed
  | Event
  | Gap
  | Presence
  | Numbered<"ack">
  | Bare<"ping" | "pong">
  | Goaway
  | Problem;

/** How frames are written: one schema, two encodings, chosen by the WebSocket's subprotocol. */
export interface Encoding {
  /** The subprotocol that asks for this encoding. */
  readonly subprotocol: string;
  /** The content of one WebSocket message: a text, or bytes. */
  write(frame: ClientFrame): string | Uint8Array<ArrayBuffer>;
  /**
   * Reads the content of one message, bytes as an ArrayBuffer.
   * @throws {Malformed} It is no frame of a server's.
   */
  read(message: unknown): ServerFrame;
  /** How many bytes a payload takes in a message. */
  payloadBytes(payload: Payload): number;
}
