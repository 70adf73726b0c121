/** Frames as JSON texts: subprotocol `mainstay.v1.json`. */

import type { Encoding, Json, Payload, ServerFrame } from "./frames.js";
import { Malformed } from "./malformed.js";
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
    return { type, ...readFields(fields ?? fail("unknown_type"), frame) } as unknown as ServerFrame;
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
  return "data" in payload ? `"data":"${btoa(binaryOf(payload.data))}"` : `"payload":${jsonOf(payload)}`;
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
            : fail(name);
    }),
  );
}

function readValue(kind: Kind, value: unknown, values: Values): unknown {
  if (kind === "outcome") {
    const { status } = values;
    return { status, ...readFields(ofType(OUTCOMES, status) ?? fail("status"), values) };
  }
  const inner = OBJECTS[kind];
  if (inner) {
    return kind === "members"
      ? (Array.isArray(value) ? value : fail(kind)).map((item) => readFields(inner, item as Values))
      : readFields(inner, value as Values);
  }
  return kind === "number" ? checkNumber(value) : checkText(kind, value);
}

function readPayload({ payload, data }: Values): Payload {
  if (data === undefined || data === null) {
    return { value: (payload ?? null) as Json };
  }
  try {
    if (payload === undefined || payload === null) {
      return { data: Uint8Array.from(atob(data as string), (character) => character.charCodeAt(0)) };
    }
  } catch {
    // Said below.
  }
  return fail("data");
}

function ofType(table: Readonly<Record<string, readonly Field[]>>, type: unknown): readonly Field[] | undefined {
  return Object.hasOwn(table, type as string) ? table[type as string] : undefined;
}

function binaryOf(data: Uint8Array): string {
  let binary = "";
  for (const byte of data) {
    binary += String.fromCharCode(byte);
  }
  return binary;
}

function fail(what: string): never {
  throw new Malformed(what === "unknown_type" ? what : "content", what);
}

/** What is left out. */
const DEFAULTS: Values = { delivery: "every", presence: "none" };
