import { readFileSync } from "node:fs";
import { expect, test } from "vitest";

import { INTERNAL_NAMES } from "../scripts/internal_names.js";

/** The files that say what is on the wire, in stores, and in the API. */
const SHARED = [
  "codes.ts",
  "errors.ts",
  "driver/reconnect.ts",
  "session.ts",
  "store/store.ts",
  "subscription.ts",
  "wire/frames.ts",
  "wire/schema.ts",
  "wire/protobuf.ts",
];

test.each(SHARED)("no name of %s is shortened in the bundles", (path) => {
  const text = readFileSync(new URL(`../src/${path}`, import.meta.url), "utf8");
  const declared = [...text.matchAll(/(?:^|[\s"{(])(\w+)\??:/gm)].map(([, name]) => name);
  const shortened = declared.filter((name) => INTERNAL_NAMES.includes(String(name)));
  expect([...new Set(shortened)].sort()).toEqual(PRIVATE[path] ?? []);
});

test("no name of a stored change is shortened in the bundles", () => {
  const text = readFileSync(new URL("../src/session/state.ts", import.meta.url), "utf8");
  const stored = /\/\*\* A session and the secret[^]*?\/\*\* A request without[^]*?\n}|export type Call =[^]*/.exec(
    text,
  );
  const changes = /export type StateChange =[^]*?\n\n/.exec(text)?.[0] ?? "";
  const names = [...`${stored?.[0] ?? ""}${changes}`.matchAll(/readonly (\w+)\??:/g)].map(([, name]) => name);
  expect(names).toEqual(expect.arrayContaining(["change", "key", "number", "outcome", "identity", "place"]));
  expect(names.filter((name) => INTERNAL_NAMES.includes(String(name)))).toEqual(["givenUp"]);
});

/** Parameters and fields of the files' own, which only look like it. */
const PRIVATE: Record<string, string[]> = {
  "driver/reconnect.ts": ["nowMs", "policy"],
  "wire/frames.ts": ["frame"],
  "wire/schema.ts": ["isOptional"],
  "wire/protobuf.ts": ["frame", "isOptional"],
};
