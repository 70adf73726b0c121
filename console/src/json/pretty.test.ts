import { describe, expect, it } from "vitest";
import { readJson } from "../api/server.ts";
import { bytesOf, hexDump, preview, pretty } from "./pretty.ts";

const text = (value: unknown) =>
  pretty(value)
    .map((token) => token.text)
    .join("");

describe("JSON for people", () => {
  it("keeps what is short on one line and breaks what is long", () => {
    expect(text({ a: [1, true, null] })).toBe('{"a": [1, true, null]}');
    expect(text({ a: [1], b: {} })).toBe('{\n  "a": [1],\n  "b": {}\n}');
    const long = { list: Array.from({ length: 40 }, (_, index) => index), name: "x" };
    expect(text(long).split("\n").length).toBeGreaterThan(40);
    expect(JSON.parse(text(long))).toEqual(long);
  });

  it("shows numbers that JavaScript cannot hold as they were written", () => {
    if (!hasSources()) return;
    expect(text(readJson('{"id": 9007199254740993, "x": 1.50}'))).toBe('{\n  "id": 9007199254740993,\n  "x": 1.5\n}');
  });

  it("gives up on what is nested without end, and not by running out of stack", () => {
    const deep = readJson("[".repeat(20_000) + "]".repeat(20_000));
    expect(text(deep)).toContain("…");
    expect(preview(deep, 50).length).toBeLessThanOrEqual(66);
  });

  it("cuts a preview", () => {
    expect(preview({ headline: "it works" }, 80)).toBe('{"headline": "it works"}');
    expect(preview("x".repeat(100), 10)).toBe(`"${"x".repeat(8)}…`);
  });
});

it("shows bytes as digits and letters", () => {
  expect(hexDump(bytesOf("SGkAfw=="))).toBe(`0000  48 69 00 7f${" ".repeat(36)}  Hi··`);
  expect(bytesOf("no base64!")).toHaveLength(0);
});

function hasSources(): boolean {
  let seen: unknown;
  (
    JSON.parse as (
      text: string,
      reviver: (key: string, value: unknown, context?: { source?: string }) => unknown,
    ) => unknown
  )("1", (_, value, context) => {
    seen = context?.source;
    return value;
  });
  return seen === "1";
}
