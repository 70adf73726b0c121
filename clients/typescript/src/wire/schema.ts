/**
 * What a client reads: each frame's fields in the order of PROTOCOL.md's tables, which is that of
 * their numbers in spec/mainstay.v1.proto. Frames that are written need no table in JSON, because they
 * are made in this order; for Protobuf it stands in `protobuf.ts`.
 */

import { ERROR_CODES, type ErrorCode } from "../codes.js";
import { refuse } from "./malformed.js";

/** One field of an object. */
export interface Field {
  readonly name: string;
  readonly kind: Kind;
  readonly isOptional: boolean;
}

/** What a field holds; `members` is a list of objects, `limits` one object. Epochs, sessions and
 * tokens are opaque texts. */
export type Kind = "text" | "number" | "error" | "payload" | "outcome" | "standing" | "limits" | "members" | SentKind;

/** What only frames that are written hold. */
export type SentKind = "start" | "delivery" | "presence" | "cursors" | "places";

/** The fields of every object. */
export type Fields = Readonly<Record<string, readonly Field[]>>;

/** The server's frames, in the order of their numbers in the Protobuf schema. */
export const SERVER_FRAMES = fields({
  welcome:
    "standing:standing session token generation:number accepted:number principal? server ping_interval_ms:number session_expiry_ms:number limits:limits",
  reply: "number:number outcome:outcome",
  request: "number:number command payload:payload deadline_ms?:number",
  cancel: "number:number",
  subscribed: "channel epoch offset:number head:number member_count:number",
  unsubscribed: "channel error?:error message?",
  event: "channel offset:number at_ms:number payload:payload",
  gap: "channel from_epoch from:number to?:number reason epoch offset:number",
  presence: "channel joined:members left:members member_count:number",
  ack: "number:number",
  ping: "",
  pong: "",
  goaway: "window_ms:number reason",
  problem: "error:error message channel?",
});

/** The objects that stand inside of frames. */
export const OBJECTS: Fields = fields({
  limits: "request_count_max:number message_bytes_max:number subscription_count_max:number request_bytes_max?:number",
  members: "session principal?",
});

/** What belongs to each status of an outcome, in the order of their numbers. */
export const OUTCOMES = fields({
  done: "payload:payload",
  published: "epoch offset:number",
  failed: "error:error message",
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

/** Reads a table: names, each with its kind unless that is `text`. */
export function fields(table: Record<string, string>): Fields {
  const read = (field: string) => {
    const [name = "", kind = "text"] = field.split(":");
    return { name: name.replace("?", ""), kind: kind as Kind, isOptional: name.endsWith("?") };
  };
  return Object.fromEntries(Object.entries(table).map(([type, text]) => [type, text ? text.split(" ").map(read) : []]));
}
