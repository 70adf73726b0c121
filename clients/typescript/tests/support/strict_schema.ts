/** Every rule of the schema, for both sides: what a server keeps to, and more than a client needs. */

import { ERROR_CODES, type ErrorCode } from "../../src/codes.js";

/** Who says a frame. */
export type Side = "client" | "server";

/** A message that must be refused, and as what. */
export class Malformed extends Error {
  /** The frame's number, where it has one and that could be made out. */
  number?: number;

  constructor(
    readonly wrong: string,
    message = "",
  ) {
    super(message);
  }
}

/** One field of an object. */
export interface Field {
  readonly name: string;
  readonly kind: Kind;
  readonly isOptional: boolean;
}

/** What a field holds. Those from `cursors` on are objects and lists of objects. */
export type Kind =
  | "text"
  | "number"
  | "channel"
  | "name"
  | "epoch"
  | "session"
  | "token"
  | "principal"
  | "error"
  | "reason"
  | "standing"
  | "delivery"
  | "presence"
  | "payload"
  | "start"
  | "outcome"
  | "cursors"
  | "places"
  | "limits"
  | "members";

/** The fields of every object. */
type Fields = Readonly<Record<string, readonly Field[]>>;

/**
 * The frames of each side, in the order of their numbers in the Protobuf schema. `name` is a channel
 * in a frame that can be answered when the channel cannot exist.
 */
export const FRAMES: Readonly<Record<Side, Fields>> = {
  client: fields({
    hello: "client:text session?:session token?:token unanswered_from:number accepted:number cursors:cursors",
    request: "number:number command:text payload:payload deadline_ms?:number",
    publish: "number:number channel:name payload:payload",
    cancel: "number:number",
    reply: "number:number outcome:outcome",
    subscribe: "channel:name start:start delivery:delivery presence:presence",
    unsubscribe: "channel:name",
    ack: "unanswered_from:number cursors:places",
    ping: "",
    pong: "",
    bye: "",
  }),
  server: fields({
    welcome:
      "standing:standing session:session token:token generation:number accepted:number principal?:principal server:text ping_interval_ms:number session_expiry_ms:number limits:limits",
    reply: "number:number outcome:outcome",
    request: "number:number command:text payload:payload deadline_ms?:number",
    cancel: "number:number",
    subscribed: "channel:channel epoch:epoch offset:number head:number member_count:number",
    unsubscribed: "channel:channel error?:error message?:text",
    event: "channel:channel offset:number at_ms:number payload:payload",
    gap: "channel:channel from_epoch:epoch from:number to?:number reason:reason epoch:epoch offset:number",
    presence: "channel:channel joined:members left:members member_count:number",
    ack: "number:number",
    ping: "",
    pong: "",
    goaway: "window_ms:number reason:text",
    problem: "error:error message:text channel?:channel",
  }),
};

/** The objects that stand inside of frames. */
export const OBJECTS: Fields = fields({
  cursors: "channel:channel epoch:epoch offset:number delivery:delivery presence:presence",
  places: "channel:channel offset:number",
  limits: "request_count_max:number message_bytes_max:number subscription_count_max:number request_bytes_max?:number",
  members: "session:session principal?:principal",
});

/** What belongs to each status of an outcome, in the order of their numbers. */
export const OUTCOMES: Fields = fields({
  done: "payload:payload",
  published: "epoch:epoch offset:number",
  failed: "error:error message:text",
  indeterminate: "",
});

/** What belongs to the place behind which a subscription begins. */
export const AFTER: readonly Field[] = parse("after:number epoch?:epoch");

/** The words of each kind, by their numbers. The first of `delivery` and `presence` is the default
 * and is left out. */
export const WORDS = {
  standing: ["", "new", "resumed", "expired", "unknown"],
  delivery: ["every", "latest"],
  presence: ["none", "join", "watch", "join_and_watch"],
} as const;

/** Whether a kind is one of those that have words. */
export function isWords(kind: Kind): kind is keyof typeof WORDS {
  return kind in WORDS;
}

/** Whether a kind is a list of objects. */
export function isList(kind: Kind): boolean {
  return kind === "cursors" || kind === "places" || kind === "members";
}

/** Checks a text of its kind, and takes an unknown failure for `internal`. */
export function checkText(kind: Kind, text: string): string {
  if (kind === "error") {
    return ERROR_CODES.includes(text as ErrorCode) ? text : "internal";
  }
  if (
    (GRAMMARS[kind]?.test(text) ?? true) &&
    (kind !== "reason" || ["trimmed", "epoch", "conflated", "corrupt"].includes(text)) &&
    (!isWords(kind) || (text !== "" && (WORDS[kind] as readonly string[]).includes(text)))
  ) {
    return text;
  }
  throw new Malformed(kind === "name" ? "invalid_channel" : "content", `no ${kind}: ${text.slice(0, 99)}`);
}

/** Checks an integer from 0 to 2⁵³ − 1. */
export function checkNumber(number: number): number {
  if (Number.isSafeInteger(number) && number >= 0) {
    return number;
  }
  throw new Malformed("content", `no number: ${String(number)}`);
}

/** Checks what more than one field says together. */
export function checkFrame<F>(frame: Record<string, unknown>): F {
  if (
    (frame["type"] === "hello" && (frame["session"] === undefined) !== (frame["token"] === undefined)) ||
    (frame["message"] !== undefined && frame["error"] === undefined)
  ) {
    throw new Malformed("content", "half of a pair");
  }
  if (frame["type"] === "unsubscribed" && frame["error"] !== undefined) {
    frame["message"] ??= "";
  }
  return frame as F;
}

const CHANNEL = /^(?:[A-Za-z0-9._:/-]{1,128}|\$session\/[0-9a-f]{32}|\$principal\/[A-Za-z0-9._:/@+-]{1,96})$/;
const GRAMMARS: Partial<Record<Kind, RegExp>> = {
  channel: CHANNEL,
  name: CHANNEL,
  epoch: /^[0-9a-f]{16}$/i,
  session: /^[0-9a-f]{32}$/,
  token: /^[\w-]{43}$/,
  principal: /^[A-Za-z0-9._:/@+-]{1,96}$/,
};

function fields(table: Record<string, string>): Fields {
  return Object.fromEntries(Object.entries(table).map(([name, text]) => [name, parse(text)]));
}

function parse(text: string): readonly Field[] {
  const fields = text.split(" ").filter((field) => field !== "");
  return fields.map((field) => {
    const [name = "", kind] = field.split(":");
    return { name: name.replace("?", ""), kind: kind as Kind, isOptional: name.endsWith("?") };
  });
}
