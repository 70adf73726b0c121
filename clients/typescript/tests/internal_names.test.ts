import { readdirSync, readFileSync } from "node:fs";
import ts from "typescript";
import { expect, test } from "vitest";

import { INTERNAL_NAMES, shortNames } from "../scripts/internal_names.js";

const SHORT_NAMES = shortNames();

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
  const shortened = declared.filter((name) => String(name) in SHORT_NAMES);
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
  expect(names.filter((name) => String(name) in SHORT_NAMES)).toEqual(["givenUp"]);
});

const SOURCES = readdirSync(new URL("../src/", import.meta.url), { recursive: true, encoding: "utf8" }).filter((path) =>
  path.endsWith(".ts"),
);

test.each(SOURCES)("no object of %s has two properties of one short name", (path) => {
  for (const names of propertiesIn(path)) {
    const short = names.filter((name) => name in SHORT_NAMES).map((name) => SHORT_NAMES[name]);
    expect(new Set(short).size, names.join()).toBe(short.length);
  }
});

test("every type has the names that are listed for it, and short ones for all of them", () => {
  const known = new Set(SOURCES.flatMap(propertiesIn).flat());
  for (const names of Object.values(INTERNAL_NAMES)) {
    expect(names.filter((name) => !known.has(name))).toEqual([]);
    expect(names.filter((name) => SHORT_NAMES[name]?.length !== 1)).toEqual([]);
  }
});

/** The names that stand together in a type, a class or an object. */
function propertiesIn(path: string): string[][] {
  const text = readFileSync(new URL(`../src/${path}`, import.meta.url), "utf8");
  const found: string[][] = [];
  const visit = (node: ts.Node): void => {
    const members =
      ts.isInterfaceDeclaration(node) || ts.isTypeLiteralNode(node) || ts.isClassLike(node)
        ? [...node.members]
        : ts.isObjectLiteralExpression(node)
          ? [...node.properties]
          : [];
    found.push([...new Set(members.flatMap(({ name }) => (name && ts.isIdentifier(name) ? [name.text] : [])))]);
    ts.forEachChild(node, visit);
  };
  visit(ts.createSourceFile(path, text, ts.ScriptTarget.ES2022));
  return found;
}

/** Parameters and fields of the files' own, which only look like it. */
const PRIVATE: Record<string, string[]> = {
  "driver/reconnect.ts": ["nowMs", "openedAtMs", "retryCount"],
  "wire/frames.ts": ["frame"],
  "wire/protobuf.ts": ["frame"],
};
