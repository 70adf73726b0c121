/** Frames as JSON texts: subprotocol `mainstay.v1.json`. */

import type { Encoding, Json, Payload, ServerFrame } from "./frames.js";
import { Malformed, refuse } from "./malformed.js";
import { bytesOf, jsonOf } from "./payload.js";
import { checkNumber, checkText, OBJECTS, OUTCOMES, SERVER_FRAMES, type Field, type Kind } from "./schema.js";

/** One JSON object in a text message. */
export const json: Encoding = {
  subprotocol: "mainstay.v1.json",

  write: (frame) => writeObject(frame),

  read(message) {
    let frame: Values;
    try {
      frame = JSON.parse(message as string) as Values;
    } catch {
      throw new Malformed("syntax");
    }
    const { type } = (frame as Values | null) ?? {};
    const fields = ofType(SERVER_FRAMES, type);
    if (!fields) {
      throw new Malformed("unknown_type");
    }
    return { type, ...readFields(fields, frame) } as unknown as ServerFrame;
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

/** Reads what the fields say, and passes over what they do not. */
function readFields(fields: readonly Field[], values: Values): Values {
  return Object.fromEntries(
    fields.flatMap(({ name, kind, isOptional }) => {
      const value = values[name] ?? undefined;
      return kind === "payload"
        ? [[name, readPayload(values)]]
        : value !== undefined || kind === "outcome"
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
    return { status, ...readFields(ofType(OUTCOMES, status) ?? refuse(), values) };
  }
  const inner = OBJECTS[kind];
  if (inner) {
    return kind === "members"
      ? (Array.isArray(value) ? value : refuse()).map((item) => readFields(inner, item as Values))
      : readFields(inner, value as Values);
  }
  return kind === "number" ? checkNumber(value) : checkText(kind, value);
}

function readPayload({ payload, data }: Values): Payload {
  if ((data ?? undefined) === undefined) {
    return { value: (payload ?? null) as Json };
  }
  try {
    return (payload ?? undefined) === undefined
      ? { data: Uint8Array.from(atob(data as string), (character) => character.charCodeAt(0)) }
      : refuse();
  } catch {
    return refuse();
  }
}

function ofType(table: Readonly<Record<string, readonly Field[]>>, type: unknown): readonly Field[] | undefined {
  return Object.hasOwn(table, type as string) ? table[type as string] : undefined;
}

/** What is left out. */
const DEFAULTS: Values = { delivery: "every", presence: "none" };
