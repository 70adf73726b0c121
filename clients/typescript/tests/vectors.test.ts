import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";

import type { ClientFrame, Payload, ServerFrame } from "../src/wire/frames.js";
import { json } from "../src/wire/json.js";
import { Malformed as ClientsMalformed } from "../src/wire/malformed.js";
import { valueOf } from "../src/wire/payload.js";
import { CLIENT_FRAMES, protobuf, readFrame, writeFrame } from "../src/wire/protobuf.js";
import { SERVER_FRAMES } from "../src/wire/schema.js";
import { strictJson } from "./support/strict_json.js";
import { checkText, Malformed, type Side } from "./support/strict_schema.js";

interface Vector {
  name: string;
  from: Side;
  json?: string;
  protobuf?: string;
  wrong?: string;
  number?: number;
}

describe.each(["client", "server"] as const)("vectors of the %s", (side) => {
  test.each(load<Vector[]>(side))("$name", checkVector);
});

describe("conversations", () => {
  const conversations = load<{ name: string; steps: Partial<Vector>[] }[]>("conversations");
  test.each(conversations)("$name", ({ steps }) => {
    const frames = steps.filter((step): step is Vector => step.json !== undefined);
    expect(frames.length).toBeGreaterThan(0);
    frames.forEach(checkVector);
  });
});

describe("malformed", () => {
  const vectors = load<Vector[]>("malformed");

  test.each(vectors.filter((vector) => vector.json !== undefined))("JSON: $name", (vector) => {
    const error = thrownBy(() => strictJson.read(vector.from, vector.json)) as Malformed;
    expect([error.wrong, error.number]).toEqual([vector.wrong, vector.number]);
  });

  test.each(vectors.filter((vector) => vector.protobuf !== undefined))("Protobuf: $name", (vector) => {
    const frames = vector.from === "client" ? CLIENT_FRAMES : SERVER_FRAMES;
    const read = () => checkName(readFrame(frames, new Uint8Array(fromHex(vector.protobuf))) as ClientFrame);
    const { wrong, message } = thrownBy(read) as Partial<Malformed>;
    expect(wrong ?? message).toBe(vector.wrong);
  });

  test.each(vectors.filter((vector) => vector.from === "server"))("as a client reads it: $name", (vector) => {
    const read = () => (vector.json === undefined ? protobuf.read(fromHex(vector.protobuf)) : json.read(vector.json));
    const error = thrownBy(read);
    expect(error).toBeInstanceOf(ClientsMalformed);
    expect(error).toMatchObject({ message: vector.wrong });
  });

  test.each(["", "{", "null", "[]", "1", '"ping"', "{}", '{"type":"toString"}', '{"type":null}'])("%j", (text) => {
    expect(thrownBy(() => json.read(text))).toBeInstanceOf(ClientsMalformed);
  });

  test.each([
    '{"type":"ack","number":-1}',
    '{"type":"ack","number":1.5}',
    '{"type":"ack","number":9007199254740992}',
    '{"type":"ack","number":"1"}',
    '{"type":"event","channel":"a","offset":1,"at_ms":0,"payload":1,"data":"AA=="}',
    '{"type":"event","channel":"a","offset":1,"at_ms":0,"data":"_-8="}',
    '{"type":"event","channel":1,"offset":1,"at_ms":0}',
    '{"type":"presence","channel":"a","joined":{},"left":[],"member_count":0}',
    '{"type":"reply","number":1,"status":"perhaps"}',
    '{"type":"reply","number":1}',
  ])("as a client reads it: %s", (text) => {
    expect(thrownBy(() => json.read(text))).toMatchObject({ message: "content" });
  });

  test("a message of the other kind", () => {
    expect(thrownBy(() => protobuf.read('{"type":"ping"}'))).toBeInstanceOf(ClientsMalformed);
    expect(thrownBy(() => json.read(new ArrayBuffer(0)))).toBeInstanceOf(ClientsMalformed);
  });
});

test("what a newer peer adds is ignored", () => {
  const added = '{ "new" : {"a":[1,"}"],"a":2}, "type":"ack","number":3,"new":null}';
  expect(json.read(added)).toEqual({ type: "ack", number: 3 });
  expect(strictJson.read("server", added)).toEqual({ type: "ack", number: 3 });
  // Fields 15 of the frame and of the ack.
  expect(protobuf.read(fromHex("7a005209080378017d00000000"))).toEqual({ type: "ack", number: 3 });
  const failed = '{"type":"reply","number":1,"status":"failed","error":"from_the_future","message":"m"}';
  expect(json.read(failed)).toMatchObject({ outcome: { error: "internal", message: "m" } });
});

test("frames and fields are numbered as in spec/mainstay.v1.proto", () => {
  const proto = readFileSync(new URL("../../../spec/mainstay.v1.proto", import.meta.url), "utf8");
  for (const [message, frames] of [
    ["ClientFrame", CLIENT_FRAMES],
    ["ServerFrame", SERVER_FRAMES],
  ] as const) {
    const names = fieldsOf(proto, message);
    expect([...frames.keys()]).toEqual(names.map(({ name }) => name));
    names.forEach(({ type }, index) => {
      const fields = [...frames.values()][index] ?? [];
      const wanted = fieldsOf(proto, type).map(({ name }) => name);
      const simple = fields.filter(([, kind]) => kind !== "start" && kind !== "outcome").map(([name]) => name);
      expect(wanted.filter((name) => !ONE_OF.includes(name))).toEqual(simple);
    });
  }
});

test("what JSON.parse hides is passed over", () => {
  expect(json.read('{"type":"ack","number":1,"number":3.0}')).toEqual({ type: "ack", number: 3 });
});

function checkVector({ from, json: text = "", protobuf: hex = "" }: Vector): void {
  const frame = strictJson.read(from, text);
  expect(strictJson.write(from, frame)).toBe(text);
  if (from === "client") {
    expect(json.write(frame as ClientFrame)).toBe(text);
    expect(hexOf(protobuf.write(frame as ClientFrame))).toBe(hex);
    expect(byValue(readFrame(CLIENT_FRAMES, new Uint8Array(fromHex(hex))))).toEqual(byValue(frame));
  } else {
    expect(byValue(json.read(text))).toEqual(byValue(frame));
    expect(protobuf.read(fromHex(hex))).toEqual(json.read(text));
    expect(hexOf(writeFrame(SERVER_FRAMES, frame as ServerFrame))).toBe(hex);
  }
}

/** A frame with the values of its payloads. */
function byValue(frame: object): object {
  const of = ([name, value]: [string, unknown]) =>
    name === "payload"
      ? [name, valueOf(value as Payload)]
      : [name, name === "outcome" ? byValue(value as object) : value];
  return Object.fromEntries(Object.entries(frame).map(of));
}

/** What a server checks besides: the names of channels. */
function checkName(frame: ClientFrame): void {
  if ("channel" in frame) {
    checkText("name", frame.channel);
  }
}

function fieldsOf(proto: string, message: string): { type: string; name: string }[] {
  const body = new RegExp(`^message ${message} \\{\\n(.*?)^\\}`, "ms").exec(proto)?.[1] ?? "";
  const fields = [...body.matchAll(/^ +(?:optional |repeated )?(\w+) (\w+) = (\d+);/gm)];
  fields.forEach((field, index) => {
    expect(Number(field[3])).toBe(index + 1);
  });
  return fields.map((field) => ({ type: field[1] ?? "", name: field[2] ?? "" }));
}

function hexOf(message: unknown): string {
  return Buffer.from(message as Uint8Array).toString("hex");
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

/** Fields that are one of several. */
const ONE_OF = ["now", "after", "last", "done", "published", "failed", "indeterminate"];
