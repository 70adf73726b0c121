/** Frames of both sides as JSON texts, by every rule of the schema: what the server of the tests speaks,
 * and what the package's own reader and writer are held against. */

import type { ClientFrame, Outcome, Payload, ServerFrame, Start } from "../../src/wire/frames.js";
import { jsonOf } from "../../src/wire/payload.js";
import {
  AFTER,
  checkFrame,
  checkNumber,
  checkText,
  FRAMES,
  isList,
  OBJECTS,
  OUTCOMES,
  WORDS,
  type Field,
  type Kind,
  Malformed,
  type Side,
} from "./strict_schema.js";

/** The frames that each side may say. */
interface Said {
  client: ClientFrame;
  server: ServerFrame;
}

export const strictJson = {
  write<S extends Side>(from: S, frame: Said[S]): string {
    const record = frame as unknown as Values;
    return `{${[`"type":"${frame.type}"`, ...writeFields(FRAMES[from][frame.type] ?? [], record)].join()}}`;
  },

  read<S extends Side>(from: S, message: unknown): Said[S] {
    if (typeof message !== "string") {
      throw new Malformed("syntax");
    }
    try {
      JSON.parse(message);
    } catch {
      throw new Malformed("syntax");
    }
    return readFrame(from, message);
  },
};

type Values = Readonly<Record<string, unknown>>;

function writeFields(fields: readonly Field[], values: Values): string[] {
  return fields.flatMap(({ name, kind }) => {
    const value = values[name];
    if (value === undefined || ((kind === "delivery" || kind === "presence") && value === WORDS[kind][0])) {
      return [];
    }
    if (kind === "payload") {
      const payload = value as Payload;
      return "data" in payload ? `"data":"${toBase64(payload.data)}"` : `"${name}":${jsonOf(payload)}`;
    }
    if (kind === "outcome") {
      const outcome = value as Outcome;
      return [`"status":"${outcome.status}"`, ...writeFields(OUTCOMES[outcome.status] ?? [], { ...outcome })];
    }
    return `"${name}":${writeValue(kind, value)}`;
  });
}

function writeValue(kind: Kind, value: unknown): string {
  const fields = OBJECTS[kind];
  if (!fields) {
    return JSON.stringify(value);
  }
  const write = (item: unknown) => `{${writeFields(fields, item as Values).join()}}`;
  return isList(kind) ? `[${(value as unknown[]).map(write).join()}]` : write(value);
}

function readFrame<S extends Side>(from: S, message: string): Said[S] {
  const texts = readObject(message);
  try {
    const type = readValue("text", texts.get("type") ?? "");
    const fields = Object.hasOwn(FRAMES[from], type as string) && FRAMES[from][type as string];
    if (!fields) {
      throw new Malformed("unknown_type", `no frame of the ${from}'s: ${String(type)}`);
    }
    return checkFrame({ type, ...readFields(fields, texts) });
  } catch (error) {
    const number = texts.get("number") ?? "";
    if (
      error instanceof Malformed &&
      error.wrong !== "unknown_type" &&
      INTEGER.test(number) &&
      Number.isSafeInteger(+number)
    ) {
      error.number = +number;
    }
    throw error;
  }
}

function readFields(fields: readonly Field[], texts: ReadonlyMap<string, string>): Record<string, unknown> {
  const values: Record<string, unknown> = {};
  for (const { name, kind, isOptional } of fields) {
    const text = texts.get(name);
    if (kind === "payload") {
      values[name] = readPayload(text, texts.get("data"));
    } else if (kind === "outcome") {
      const status = readValue("text", texts.get("status") ?? "") as string;
      const inner = Object.hasOwn(OUTCOMES, status) && OUTCOMES[status];
      values[name] = inner ? { status, ...readFields(inner, texts) } : fail("status");
    } else if (!isAbsent(text)) {
      values[name] = readValue(kind, text);
    } else if (kind === "delivery" || kind === "presence") {
      values[name] = WORDS[kind][0];
    } else if (!isOptional) {
      fail(name);
    }
  }
  return values;
}

function readValue(kind: Kind, text: string): unknown {
  const fields = OBJECTS[kind];
  if (fields) {
    const read = (item: string) => readFields(fields, readObject(item));
    return isList(kind) ? split(text, "[").map(read) : read(text);
  }
  if (kind === "number") {
    return INTEGER.test(text) ? checkNumber(Number(text)) : fail(text);
  }
  if (kind === "start" && text.startsWith("{")) {
    return readStart(readObject(text));
  }
  const value: unknown = text.startsWith('"') ? JSON.parse(text) : fail(text);
  return kind === "start" ? (value === "now" ? value : fail(text)) : checkText(kind, value as string);
}

function readStart(texts: ReadonlyMap<string, string>): Start {
  const last = texts.get("last");
  if (!isAbsent(last)) {
    return isAbsent(texts.get("after")) && isAbsent(texts.get("epoch"))
      ? { last: readValue("number", last) as number }
      : fail("two starts");
  }
  const start = readFields(AFTER, texts) as { after: number; epoch?: string };
  return start.after === 0 || start.epoch !== undefined ? start : fail("an offset without its epoch");
}

function readPayload(json: string | undefined, data: string | undefined): Payload {
  if (isAbsent(data)) {
    return isAbsent(json) ? { json: "null" } : json === "" ? fail("payload") : { json };
  }
  return isAbsent(json) ? { data: fromBase64(readValue("text", data) as string) } : fail("payload and data");
}

function isAbsent(text: string | undefined): text is undefined {
  return text === undefined || text === "null";
}

/** The texts of an object's fields by name. One that is repeated has an empty text, which is no
 * value. */
function readObject(text: string): Map<string, string> {
  const texts = new Map<string, string>();
  const parts = split(text, "{");
  for (let index = 0; index < parts.length; index += 2) {
    const name = JSON.parse(parts[index] ?? "") as string;
    texts.set(name, texts.has(name) ? "" : (parts[index + 1] ?? ""));
  }
  return texts;
}

/** The texts of what stands in valid JSON, one level deep: of a list its elements, of an object each
 * name and each value. */
function split(text: string, opening: "[" | "{"): string[] {
  const whole = text.trim();
  const parts: string[] = [];
  if (!whole.startsWith(opening)) {
    return fail(`no ${opening}`);
  }
  let depth = 0;
  let start = 1;
  for (let index = 0; index < whole.length; index++) {
    const character = whole[index];
    if (character === '"') {
      while (whole[++index] !== '"') {
        index += whole[index] === "\\" ? 1 : 0;
      }
    } else if (character === "{" || character === "[") {
      depth++;
    } else {
      const closes = character === "}" || character === "]";
      if (depth === 1 && (closes || character === "," || character === ":")) {
        parts.push(whole.slice(start, index).trim());
        start = index + 1;
      }
      depth -= closes ? 1 : 0;
    }
  }
  return parts.length === 1 && parts[0] === "" ? [] : parts;
}

function toBase64(data: Uint8Array): string {
  // In slices, because arguments are bounded.
  let binary = "";
  for (let start = 0; start < data.length; start += 8192) {
    binary += String.fromCharCode(...data.subarray(start, start + 8192));
  }
  return btoa(binary);
}

/** Reads base64 with padding and nothing else (RFC 4648 §4). */
function fromBase64(text: string): Uint8Array {
  try {
    const binary = atob(text);
    if (btoa(binary) === text) {
      return Uint8Array.from(binary, (character) => character.charCodeAt(0));
    }
  } catch {
    // Said below.
  }
  return fail("data is not base64 with padding");
}

function fail(what: string): never {
  throw new Malformed("content", what.slice(0, 99));
}

const INTEGER = /^(?:0|[1-9]\d*)$/;
