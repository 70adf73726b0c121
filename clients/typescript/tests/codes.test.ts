import { readFileSync } from "node:fs";
import { expect, test } from "vitest";

import { CODES_PATH, generate } from "../scripts/codes.js";
import { adviceOf } from "../src/session/advice.js";

test("src/codes.ts is what `npm run codes` makes of spec/codes.toml", () => {
  expect(readFileSync(CODES_PATH, "utf8")).toBe(generate());
});

test("the advice on each code is the registry's", () => {
  const registry = readFileSync(new URL("../../../spec/codes.toml", import.meta.url), "utf8");
  const ends = [...registry.matchAll(/^code = (\d+)\nclient = "(\w+)"/gm)];
  expect(ends.length).toBeGreaterThan(10);
  for (const [, code, client] of ends) {
    if (client !== "none") {
      expect(`${String(code)} ${adviceOf(Number(code))}`).toBe(`${String(code)} ${String(client)}`);
    }
  }
  expect([1008, 4299, 4199, 4300, 1006].map(adviceOf)).toEqual(["stop", "stop", "start_fresh", "resume", "resume"]);
});
