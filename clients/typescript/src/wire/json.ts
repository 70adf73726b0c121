/** Frames as JSON texts: subprotocol `mainstay.v1.json`. */

import type { Encoding, Json, Payload, ServerFrame } from "./frames.js";
import { refuse } from "./malformed.js";
import { bytesOf, jsonOf } from "./payload.js";
import { checkNumber, checkText, OBJECTS, OUTCOMES, SERVER_FRAMES, type Field, type Kind } from "./schema.js";

/** One JSON object in a text message. `JSON.parse` hides a field that comes twice and `1.0` for 1, which
 * PROTOCOL.md ("Encoding") lets a client pass over. */
export const json: Encoding = {
  subprotocol: "mainstay.v1.json",

  write: (frame) => writeObject(frame),

  read(message) {
    const frame = parse(message as string);
    const type = frame?.["type"];
    return { type, ...readFields(SERVER_FRAMES.get(type) ?? refuse("unknown_type"), frame ?? {}) } as ServerFrame;
  },

  payloadBytes(payload) {
    const bytes = bytesOf(payload);
    return "data" in payload ? Math.ceil(bytes / 3) * 4 : bytes;
  },
};

type Values = Readonly<Record<string, unknown>>;

/** Writes an object byte for byte as Mainstay does: frames are made with their fields in the
 * protocol's order, and what is absent or the default is left out. */
function writeObject(values: object): string {
  return `{${writeFields(values)}}`;
}

function writeFields(values: object): string {
  return Object.entries(values)
    .flatMap(([name, value]: [string, unknown]) =>
      value === undefined || value === DEFAULTS[name]
        ? []
        : name === "payload"
          ? writePayload(value as Payload)
          : name === "outcome"
            ? writeFields(value as object)
            : `"${name}":${writeValue(value)}`,
    )
    .join();
}

function writeValue(value: unknown): string {
  return Array.isArray(value)
    ? `[${value.map(writeValue).join()}]`
    : typeof value === "object" && value
      ? writeObject(value)
      : JSON.stringify(value);
}

function writePayload(payload: Payload): string {
  return "data" in payload
    ? `"data":"${btoa(payload.data.reduce((binary, byte) => binary + String.fromCharCode(byte), ""))}"`
    : `"payload":${jsonOf(payload)}`;
}

function parse(message: string): Values | null {
  try {
    return JSON.parse(message) as Values;
  } catch {
    return refuse("syntax");
  }
}

/** Reads what the fields say, and passes over what they do not. */
function readFields(fields: readonly Field[], values: Values): Values {
  return Object.fromEntries(
    fields.flatMap(([name, kind, isOptional]) => {
      const value = values[name] ?? null;
      return kind === "payload"
        ? [[name, readPayload(values)]]
        : value !== null || kind === "outcome"
          ? [[name, readValue(kind, value, values)]]
          : isOptional
            ? []
            : refuse();
    }),
  );
}

function readValue(kind: Kind, value: unknown, values: Values): unknown {
  if (kind === "outcome") {
    const { status } = values;
    return { status, ...readFields(OUTCOMES.get(status) ?? refuse(), values) };
  }
  const inner = OBJECTS.get(kind);
  if (inner) {
    return kind === "members"
      ? (Array.isArray(value) ? value : refuse()).map((item) => readFields(inner, item as Values))
      : readFields(inner, value as Values);
  }
  return kind === "number" ? checkNumber(value) : checkText(kind, value);
}

function readPayload({ payload, data }: Values): Payload {
  if ((data ?? null) === null) {
    return { value: (payload ?? null) as Json };
  }
  try {
    return (payload ?? null) === null
      ? { data: Uint8Array.from(atob(data as string), (character) => character.charCodeAt(0)) }
      : refuse();
  } catch {
    return refuse();
  }
}

/** What is left out. */
const DEFAULTS: Values = { delivery: "every", presence: "none" };
