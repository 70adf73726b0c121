import { expect, it } from "vitest";
import { MessageReader } from "./stream.ts";

const STREAM =
  'id: -:0\n\n: still here\n\nid: e:1\ndata: {"offset":1}\n\nid: e:5\r\nevent: gap\r\ndata: {}\r\n\r\ndata: a\ndata:b\n\n';
const MESSAGES = [
  { id: "e:1", type: "message", data: '{"offset":1}' },
  { id: "e:5", type: "gap", data: "{}" },
  { id: "e:5", type: "message", data: "a\nb" },
];

it("reads messages and passes over comments and places", () => {
  expect(new MessageReader().take(STREAM)).toEqual(MESSAGES);
});

it("reads the same whatever the pieces are", () => {
  for (let size = 1; size < 20; size += 1) {
    const reader = new MessageReader();
    const read = [];
    for (let at = 0; at < STREAM.length; at += size) read.push(...reader.take(STREAM.slice(at, at + size)));
    expect(read).toEqual(MESSAGES);
  }
});

it("does not give a message before its end", () => {
  expect(new MessageReader().take("data: half")).toEqual([]);
});
