import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";

import type { Encoding, Side } from "../src/wire/frames.js";
import { json } from "../src/wire/json.js";
import { Malformed, type Wrong } from "../src/wire/malformed.js";
import { protobuf } from "../src/wire/protobuf.js";

interface Vector {
  name: string;
  from: Side;
  json?: string;
  protobuf?: string;
  wrong?: Wrong;
  number?: number;
}

describe.each(["client", "server"] as const)("vectors of the %s", (side) => {
  test.each(load<Vector[]>(side))("$name", (vector) => {
    checkFrame(vector);
  });
});

describe("conversations", () => {
  const conversations = load<{ name: string; steps: Partial<Vector>[] }[]>("conversations");
  test.each(conversations)("$name", ({ steps }) => {
    const frames = steps.filter((step): step is Vector => step.json !== undefined);
    expect(frames.length).toBeGreaterThan(0);
    frames.forEach(checkFrame);
  });
});

describe("malformed", () => {
  test.each(load<Vector[]>("malformed"))("$name", ({ from, json: text, protobuf: hex, wrong, number }) => {
    const read = () => (text === undefined ? protobuf.read(from, fromHex(hex)) : json.read(from, text));
    const error = thrownBy(read);
    expect(error).toBeInstanceOf(Malformed);
    expect((error as Malformed).wrong).toBe(wrong);
    expect((error as Malformed).number).toBe(number);
  });

  test.each([json, protobuf])("a message of the other kind ($subprotocol)", (encoding) => {
    const message = encoding === json ? new ArrayBuffer(0) : '{"type":"ping"}';
    expect(thrownBy(() => encoding.read("server", message))).toBeInstanceOf(Malformed);
  });
});

test("what a newer peer adds is ignored", () => {
  const added = '{ "new" : {"a":[1,"}"],"a":2}, "type":"ack","number":3,"new":null}';
  expect(json.read("server", added)).toEqual({ type: "ack", number: 3 });
  // Field 15 of the frame and of the ack: a varint and four bytes.
  expect(protobuf.read("server", fromHex("7a005209080378017d00000000"))).toEqual({
    type: "ack",
    number: 3,
  });
  const failed = '{"type":"reply","number":1,"status":"failed","error":"from_the_future","message":"m"}';
  expect(json.read("server", failed)).toMatchObject({ outcome: { error: "internal", message: "m" } });
});

test("the numbers of the Protobuf schema are those of spec/mainstay.v1.proto", () => {
  // The vectors set every field; this says so, should a field be added without a vector.
  const proto = readFileSync(new URL("../../../spec/mainstay.v1.proto", import.meta.url), "utf8");
  const written = load<Vector[]>("client").concat(load<Vector[]>("server"));
  const names = new Set(written.flatMap((vector) => [...(vector.json ?? "").matchAll(/"(\w+)":/g)].map((m) => m[1])));
  const fields = [...proto.matchAll(/^ +(?:optional |repeated )?\w+ (\w+) = \d+;/gm)].map((m) => m[1] ?? "");
  const frames = ["hello", "request", "publish", "cancel", "reply", "subscribe", "unsubscribe", "ack", "ping"];
  const others = [...frames, "pong", "bye", "welcome", "subscribed", "unsubscribed", "event", "gap", "goaway"];
  const known = [...others, "problem", "json", "now", "done", "published", "failed", "indeterminate"];
  expect(fields.filter((field) => !names.has(field) && !known.includes(field))).toEqual([]);
});

function checkFrame({ from, json: text = "", protobuf: hex = "" }: Vector): void {
  const frame = json.read(from, text);
  expect(json.write(from, frame)).toBe(text);
  expect(protobuf.read(from, fromHex(hex))).toEqual(frame);
  expect(toHex(protobuf, from, frame)).toBe(hex);
}

function toHex(encoding: Encoding, from: Side, frame: ReturnType<Encoding["read"]>): string {
  return Buffer.from(encoding.write(from, frame) as Uint8Array).toString("hex");
}

function fromHex(hex = ""): ArrayBuffer {
  return Uint8Array.from(Buffer.from(hex, "hex")).buffer;
}

function thrownBy(run: () => unknown): unknown {
  try {
    run();
  } catch (error) {
    return error;
  }
  return undefined;
}

function load<T>(name: string): T {
  return JSON.parse(readFileSync(new URL(`../../../spec/vectors/${name}.json`, import.meta.url), "utf8")) as T;
}
