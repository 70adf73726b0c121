/** Frames as Protobuf: the messages of spec/mainstay.v1.proto, from the same schema as the JSON. */

import type { Encoding, Json, Outcome, Payload, ServerFrame, Start } from "./frames.js";
import { refuse } from "./malformed.js";
import { bytesOf, jsonOf } from "./payload.js";
import {
  checkNumber,
  checkText,
  fields,
  OBJECTS,
  OUTCOMES,
  SERVER_FRAMES,
  STANDINGS,
  type Field,
  type Fields,
  type Kind,
} from "./schema.js";

/**
 * One Protobuf message in a binary message: subprotocol `mainstay.v1.protobuf`. For
 * `connect(url, { encoding: protobuf })`: payloads of bytes take a quarter less than in JSON.
 */
export const protobuf: Encoding = {
  subprotocol: "mainstay.v1.protobuf",

  write: (frame) => writeFrame(CLIENT_FRAMES, frame),

  read(message) {
    if (!(message instanceof ArrayBuffer)) {
      return refuse("syntax");
    }
    return readFrame(SERVER_FRAMES, new Uint8Array(message)) as ServerFrame;
  },

  payloadBytes: bytesOf,
};

/** The client's frames, in the order of their numbers. @internal */
export const CLIENT_FRAMES = fields({
  hello: "client session? token? unanswered_from# accepted# cursors",
  request: "number# command payload deadline_ms?#",
  publish: "number# channel payload",
  cancel: "number#",
  reply: "number# outcome",
  subscribe: "channel start delivery presence",
  unsubscribe: "channel",
  ack: "unanswered_from# cursors:places",
  ping: "",
  pong: "",
  bye: "",
});

/** Writes a frame of one side. @internal */
export function writeFrame(frames: Fields, frame: { readonly type: string }): Uint8Array<ArrayBuffer> {
  const number = [...frames.keys()].indexOf(frame.type) + 1;
  const out: Out = [];
  writeFields(frames.get(frame.type) ?? [], frame, out);
  return concat(delimited(number, concat(out)));
}

type Values = Readonly<Record<string, unknown>>;
/** Pieces of a message. */
type Out = Uint8Array[];

function writeFields(fields: readonly Field[], values: Values, out: Out): void {
  let number = 0;
  for (const [name, kind, isOptional] of fields) {
    number++;
    const value = values[name];
    if (value === undefined) {
      continue;
    }
    if (kind === "start") {
      writeStart(number, value as Start, out);
    } else if (kind === "outcome") {
      const outcome = value as Outcome;
      const inner: Out = [];
      writeFields(OUTCOMES.get(outcome.status) ?? [], { ...outcome }, inner);
      out.push(...delimited(number + [...OUTCOMES.keys()].indexOf(outcome.status), concat(inner)));
    } else if (isList(kind)) {
      for (const item of value as Values[]) {
        out.push(...delimited(number, writeObject(kind, item)));
      }
    } else if (objectOf(kind)) {
      out.push(...delimited(number, writeObject(kind, value as Values)));
    } else if (kind === "payload") {
      out.push(...delimited(number, writePayload(value as Payload)));
    } else {
      writeScalar(number, kind, value as string | number, isOptional, out);
    }
    number += SKIPPED[kind] ?? 0;
  }
}

function writeObject(kind: Kind, values: Values): Uint8Array {
  const out: Out = [];
  writeFields(objectOf(kind) ?? [], values, out);
  return concat(out);
}

function writePayload(payload: Payload): Uint8Array {
  const bytes = "data" in payload ? payload.data : ENCODER.encode(jsonOf(payload));
  const out: Out = bytes.length > 0 ? delimited(1, bytes) : [];
  return concat("data" in payload ? out : [...out, varint(2 << 3), varint(1)]);
}

function writeStart(number: number, start: Start, out: Out): void {
  if (start === "now") {
    out.push(...delimited(number, new Uint8Array()));
  } else if ("last" in start) {
    out.push(varint((number + 2) << 3), varint(start.last));
  } else {
    const after: Out = [];
    writeFields(AFTER, start, after);
    out.push(...delimited(number + 1, concat(after)));
  }
}

/** Values that are the default of their type are left out, unless the field is optional. */
function writeScalar(number: number, kind: Kind, value: string | number, isOptional: boolean, out: Out): void {
  const words = WORDS[kind];
  if (kind === "number" || words) {
    const integer = words ? words.indexOf(value as string) : (value as number);
    if (integer !== 0 || isOptional) {
      out.push(varint(number << 3), varint(integer));
    }
  } else if (value !== "" || isOptional) {
    out.push(...delimited(number, ENCODER.encode(value as string)));
  }
}

function delimited(number: number, bytes: Uint8Array): Out {
  return [varint((number << 3) | 2), varint(bytes.length), bytes];
}

/** Seven bits in a byte, the lowest first. By division, because numbers go beyond 32 bits. */
function varint(value: number): Uint8Array {
  const bytes: number[] = [];
  let rest = value;
  while (rest > 127) {
    bytes.push((rest % 128) | 128);
    rest = Math.floor(rest / 128);
  }
  return Uint8Array.from([...bytes, rest]);
}

function concat(pieces: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(pieces.reduce((bytes, piece) => bytes + piece.length, 0));
  let offset = 0;
  for (const piece of pieces) {
    whole.set(piece, offset);
    offset += piece.length;
  }
  return whole;
}

/** A field as it stands in a message: an integer or bytes; nothing of other wire types. */
type Part = readonly [number: number, value: number | Uint8Array];

/** Reads a frame of one side. @internal */
export function readFrame(frames: Fields, message: Uint8Array): object {
  const types = [...frames.keys()] as string[];
  const found = readParts(message).findLast(([number]) => types[number - 1] !== undefined);
  const type = types[(found?.[0] ?? 0) - 1];
  if (!found || type === undefined) {
    return refuse("unknown_type");
  }
  return { type, ...readFields(frames.get(type) ?? [], readParts(bytesIn(found[1]))) };
}

function readFields(fields: readonly Field[], parts: readonly Part[]): Record<string, unknown> {
  const values: Record<string, unknown> = {};
  let number = 0;
  for (const [name, kind, isOptional] of fields) {
    number++;
    const part = lastOf(parts, number);
    const inner = objectOf(kind);
    if (kind === "start") {
      values[name] = readStart(number, parts);
    } else if (kind === "outcome") {
      values[name] = readOutcome(number, parts);
    } else if (inner && isList(kind)) {
      const items = parts.filter(([found]) => found === number);
      values[name] = items.map(([, item]) => readFields(inner, readParts(bytesIn(item))));
    } else if (kind === "payload") {
      values[name] = part === undefined ? { value: null } : readPayload(readParts(bytesIn(part)));
    } else if (inner) {
      values[name] = part === undefined ? refuse() : readFields(inner, readParts(bytesIn(part)));
    } else if (part !== undefined || !isOptional) {
      values[name] = readScalar(kind, part);
    }
    number += SKIPPED[kind] ?? 0;
  }
  return values;
}

function readScalar(kind: Kind, part: number | Uint8Array | undefined): string | number {
  if (kind === "number") {
    return checkNumber(integerIn(part ?? 0));
  }
  const words = WORDS[kind];
  const text = words ? words[integerIn(part ?? 0)] : textOf(bytesIn(part ?? new Uint8Array()));
  return checkText(kind, text);
}

function readStart(number: number, parts: readonly Part[]): Start {
  const found = parts.findLast(([at]) => at >= number && at <= number + 2);
  if (!found) {
    return refuse();
  }
  if (found[0] === number) {
    return "now";
  }
  if (found[0] === number + 2) {
    return { last: checkNumber(integerIn(found[1])) };
  }
  const after = readFields(AFTER, readParts(bytesIn(found[1]))) as { after: number; epoch?: string };
  return after.after === 0 || after.epoch !== undefined ? after : refuse();
}

function readOutcome(number: number, parts: readonly Part[]): Outcome {
  const statuses = [...OUTCOMES.keys()] as string[];
  const found = parts.findLast(([at]) => statuses[at - number] !== undefined);
  const status = statuses[(found?.[0] ?? 0) - number];
  if (!found || status === undefined) {
    return refuse();
  }
  return { status, ...readFields(OUTCOMES.get(status) ?? [], readParts(bytesIn(found[1]))) } as Outcome;
}

function readPayload(parts: readonly Part[]): Payload {
  const data = bytesIn(lastOf(parts, 1) ?? new Uint8Array());
  if (integerIn(lastOf(parts, 2) ?? 0) === 0) {
    // A copy, so that a small payload does not keep a whole message alive.
    return { data: data.slice() };
  }
  try {
    return { value: JSON.parse(DECODER.decode(data)) as Json };
  } catch {
    return refuse();
  }
}

/** Splits a message into its fields. */
function readParts(message: Uint8Array): Part[] {
  const parts: Part[] = [];
  let at = 0;
  const next = () => message[at++] ?? cutOff();
  const readVarint = () => {
    let value = 0;
    for (let bits = 0; bits < 70; bits += 7) {
      const byte = next();
      value += (byte & 127) * 2 ** bits;
      if (byte < 128) {
        return value;
      }
    }
    return cutOff();
  };
  while (at < message.length) {
    const key = readVarint();
    const kind = key % 8;
    const length = kind === 2 ? readVarint() : kind === 1 ? 8 : kind === 5 ? 4 : kind === 0 ? 0 : cutOff();
    if (kind === 0) {
      parts.push([Math.floor(key / 8), readVarint()]);
    } else {
      if (length > message.length - at) {
        cutOff();
      }
      parts.push([Math.floor(key / 8), message.subarray(at, at + length)]);
      at += length;
    }
  }
  return parts;
}

function objectOf(kind: Kind): readonly Field[] | undefined {
  return OBJECTS.get(kind) ?? SENT_OBJECTS.get(kind);
}

function isList(kind: Kind): boolean {
  return kind === "members" || SENT_OBJECTS.has(kind);
}

function lastOf(parts: readonly Part[], number: number): number | Uint8Array | undefined {
  return parts.findLast(([found]) => found === number)?.[1];
}

function integerIn(part: number | Uint8Array): number {
  return typeof part === "number" ? part : cutOff();
}

function bytesIn(part: number | Uint8Array): Uint8Array {
  return typeof part === "number" ? cutOff() : part;
}

function textOf(bytes: Uint8Array): string {
  try {
    return DECODER.decode(bytes);
  } catch {
    return refuse("syntax");
  }
}

function cutOff(): never {
  return refuse("syntax");
}

const ENCODER = new TextEncoder();
const DECODER = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
/** How many more numbers of the Protobuf schema a field takes: it is one of several there. */
const SKIPPED: Partial<Record<Kind, number>> = { start: 2, outcome: 3 };
const SENT_OBJECTS = fields({
  cursors: "channel epoch offset# delivery presence",
  places: "channel offset#",
});
const AFTER = fields({ after: "after# epoch?" }).get("after") ?? [];
/** Words by their numbers. */
const WORDS: Partial<Record<Kind, readonly string[]>> = {
  standing: STANDINGS,
  delivery: ["every", "latest"],
  presence: ["none", "join", "watch", "join_and_watch"],
};
