/** JSON values as text for people: in tokens, so that a page can colour them. */
import { Numeral } from "../api/server.ts";

export interface Token {
  readonly kind: "name" | "text" | "number" | "word" | "mark";
  readonly text: string;
}

/** Over several lines, short lists and objects on one. */
export function pretty(value: unknown): Token[] {
  const tokens: Token[] = [];
  write(value, 0, tokens);
  return tokens;
}

/** On one line, cut where it gets long. */
export function preview(value: unknown, lengthMax: number): string {
  const { tokens } = flat(value, lengthMax);
  const text = tokens.map((token) => token.text).join("");
  return text.length > lengthMax ? `${text.slice(0, lengthMax - 1)}…` : text;
}

/** Bytes as people read them: offset, hexadecimal digits, what is ASCII. */
export function hexDump(bytes: Uint8Array): string {
  const lines: string[] = [];
  for (let at = 0; at < bytes.length && at < HEX_BYTES_MAX; at += 16) {
    const row = [...bytes.subarray(at, Math.min(at + 16, HEX_BYTES_MAX))];
    const digits = row.map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
    const letters = row.map((byte) => (byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : "·"));
    lines.push(`${at.toString(16).padStart(4, "0")}  ${digits.padEnd(47)}  ${letters.join("")}`);
  }
  if (bytes.length > HEX_BYTES_MAX) lines.push(`… and ${bytes.length - HEX_BYTES_MAX} bytes more`);
  return lines.join("\n");
}

/** Bytes, or what stands for them in JSON: base64. */
export function bytesOf(data: string | Uint8Array): Uint8Array {
  if (typeof data !== "string") return data;
  try {
    return Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  } catch {
    return new Uint8Array();
  }
}

function write(value: unknown, depth: number, tokens: Token[]): void {
  if (!isNested(value)) {
    tokens.push(leaf(value));
    return;
  }
  // What is opened is laid out, however short it is.
  const line = depth === 0 && parts(value).length > 1 ? undefined : flat(value, LINE_LENGTH_MAX);
  if (line?.isWhole) {
    tokens.push(...line.tokens);
    return;
  }
  if (depth >= DEPTH_MAX) {
    tokens.push({ kind: "mark", text: "…" });
    return;
  }
  const [opening, closing] = Array.isArray(value) ? ["[", "]"] : ["{", "}"];
  const indent = "\n" + "  ".repeat(depth + 1);
  tokens.push({ kind: "mark", text: opening });
  for (const [index, [name, part]] of parts(value).entries()) {
    tokens.push({ kind: "mark", text: index === 0 ? indent : `,${indent}` });
    if (name !== undefined) tokens.push({ kind: "name", text: JSON.stringify(name) }, colon);
    write(part, depth + 1, tokens);
  }
  tokens.push({ kind: "mark", text: "\n" + "  ".repeat(depth) + closing });
}

/** On one line; what comes behind the first piece over the limit is left out. */
function flat(value: unknown, lengthMax: number): { tokens: Token[]; isWhole: boolean } {
  const tokens: Token[] = [];
  let length = 0;
  writeFlat(value, 0, {
    push(token) {
      tokens.push(token);
      length += token.text.length;
    },
    isFull: () => length > lengthMax,
  });
  return { tokens, isWhole: length <= lengthMax };
}

interface Sink {
  push(token: Token): void;
  isFull(): boolean;
}

function writeFlat(value: unknown, depth: number, sink: Sink): void {
  if (!isNested(value)) {
    sink.push(leaf(value));
    return;
  }
  if (depth >= DEPTH_MAX) {
    sink.push({ kind: "mark", text: "…" });
    return;
  }
  const [opening, closing] = Array.isArray(value) ? ["[", "]"] : ["{", "}"];
  sink.push({ kind: "mark", text: opening });
  let isFirst = true;
  for (const [name, part] of parts(value)) {
    if (sink.isFull()) return;
    if (!isFirst) sink.push({ kind: "mark", text: ", " });
    isFirst = false;
    if (name !== undefined) {
      sink.push({ kind: "name", text: JSON.stringify(name) });
      sink.push(colon);
    }
    writeFlat(part, depth + 1, sink);
  }
  sink.push({ kind: "mark", text: closing });
}

function parts(value: object): [string | undefined, unknown][] {
  return Array.isArray(value) ? value.map((part: unknown) => [undefined, part]) : Object.entries(value);
}

function isNested(value: unknown): value is object {
  return typeof value === "object" && value !== null && !(value instanceof Numeral);
}

function leaf(value: unknown): Token {
  if (value instanceof Numeral) return { kind: "number", text: value.source };
  if (typeof value === "string") return { kind: "text", text: JSON.stringify(value) };
  if (typeof value === "number") return { kind: "number", text: String(value) };
  return { kind: "word", text: value === true || value === false ? String(value) : "null" };
}

const colon: Token = { kind: "mark", text: ": " };
const LINE_LENGTH_MAX = 72;
const DEPTH_MAX = 64;
const HEX_BYTES_MAX = 4096;
