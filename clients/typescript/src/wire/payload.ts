/** Payloads, between the application's values and the wire's texts. */

import type { Json, Payload } from "./frames.js";

/**
 * The payload of a value: bytes as they are, anything else as `JSON.stringify` writes it, nothing as
 * `null`.
 * @throws {TypeError} JSON cannot say the value.
 */
export function payloadOf(value: unknown): Payload {
  if (value instanceof Uint8Array) {
    // A copy, because the application may go on to use its buffer.
    return { data: value.slice() };
  }
  const json = JSON.stringify(value ?? null) as string | undefined;
  if (!json) {
    throw new TypeError("no JSON");
  }
  return { json };
}

/** The value of a payload. */
export function valueOf(payload: Payload): Json | Uint8Array {
  return "data" in payload ? payload.data : "json" in payload ? (JSON.parse(payload.json) as Json) : payload.value;
}

/** The text of a payload that is JSON. */
export function jsonOf(payload: Exclude<Payload, { data: Uint8Array }>): string {
  return "json" in payload ? payload.json : JSON.stringify(payload.value);
}

/** The bytes that an application gave. */
export function bytesOf(payload: Payload): number {
  return "data" in payload ? payload.data.length : utf8Bytes(jsonOf(payload));
}

/** The bytes of a text in UTF-8. */
export function utf8Bytes(text: string): number {
  return ENCODER.encode(text).length;
}

/** Whether a text is whole, so that UTF-8 can say it: it holds no half of a surrogate pair. */
export function isWellFormed(text: string): boolean {
  return toWellFormed(text) === text;
}

/** A text in which halves of surrogate pairs are replaced. */
export function toWellFormed(text: string): string {
  return text.replace(/\p{Surrogate}/gu, "\ufffd");
}

const ENCODER = new TextEncoder();
