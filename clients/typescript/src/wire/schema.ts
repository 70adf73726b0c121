/**
 * What a client reads: each frame's fields in the order of PROTOCOL.md's tables, which is that of
 * their numbers in spec/mainstay.v1.proto. Frames that are written need no table in JSON, because they
 * are made in this order; for Protobuf it stands in `protobuf.ts`.
 */

import { ERROR_CODES, type ErrorCode } from "../codes.js";
import { refuse } from "./malformed.js";

/** One field of an object. */
export type Field = readonly [name: string, kind: Kind, isOptional: boolean];

/** What a field holds; `members` is a list of objects, `limits` one object. Epochs, sessions and
 * tokens are opaque texts. */
export type Kind = "text" | "number" | "error" | "payload" | "outcome" | "standing" | "limits" | "members" | SentKind;

/** What only frames that are written hold. */
export type SentKind = "start" | "delivery" | "presence" | "cursors" | "places";

/** The fields of every object. */
export type Fields = ReadonlyMap<unknown, readonly Field[]>;

/** The server's frames, in the order of their numbers in the Protobuf schema. */
export const SERVER_FRAMES = fields({
  welcome: "standing session token generation# accepted# principal? server ping_interval_ms# session_expiry_ms# limits",
  reply: "number# outcome",
  request: "number# command payload deadline_ms?#",
  cancel: "number#",
  subscribed: "channel epoch offset# head# member_count#",
  unsubscribed: "channel error? message?",
  event: "channel offset# at_ms# payload",
  gap: "channel from_epoch from# to?# reason epoch offset#",
  presence: "channel joined:members left:members member_count#",
  ack: "number#",
  ping: "",
  pong: "",
  goaway: "window_ms# reason",
  problem: "error message channel?",
});

/** The objects that stand inside of frames. */
export const OBJECTS: Fields = fields({
  limits: "request_count_max# message_bytes_max# subscription_count_max# request_bytes_max?#",
  members: "session principal?",
});

/** What belongs to each status of an outcome, in the order of their numbers. */
export const OUTCOMES = fields({
  done: "payload",
  published: "epoch offset#",
  failed: "error message",
  indeterminate: "",
});

/** The words of `standing`, by their numbers. */
export const STANDINGS = ["", "new", "resumed", "expired", "unknown"];

/** Checks a text of its kind, and takes an unknown failure for `internal`. */
export function checkText(kind: Kind, text: unknown): string {
  if (typeof text !== "string" || (kind === "standing" && STANDINGS.indexOf(text) < 1)) {
    return refuse();
  }
  return kind === "error" && !ERROR_CODES.includes(text as ErrorCode) ? "internal" : text;
}

/** Checks an integer from 0 to 2⁵³ − 1. */
export function checkNumber(number: unknown): number {
  return Number.isSafeInteger(number) && (number as number) >= 0 ? (number as number) : refuse();
}

/**
 * Reads a table: names, each with `?` where the field may be absent. `#` marks a number, and a colon stands
 * before a kind that has another name than the field. A name that is no kind's is that of a text.
 */
export function fields(table: Record<string, string>): Fields {
  const read = ([, name = "", optional, number, kind = name]: RegExpExecArray) =>
    [name, (number ? "number" : kind) as Kind, Boolean(optional)] as const;
  return new Map(
    Object.entries(table).map(([type, text]) => [type, [...text.matchAll(/(\w+)(\?)?(#)?:?(\w+)?/g)].map(read)]),
  );
}
