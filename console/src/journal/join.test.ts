import { expect, it } from "vitest";
import type { Entry } from "../api/shapes.ts";
import { behindRestart, joinedEntries } from "./join.ts";

const entries = (...seqs: number[]): Entry[] => seqs.map((seq) => ({ seq, at_ms: seq, what: "lost" }));
const seqs = (list: readonly Entry[]) => list.map(({ seq }) => seq);

it("takes each entry once", () => {
  const one = joinedEntries([], { entries: entries(3, 7) });
  expect(seqs(joinedEntries(one, { entries: entries(7, 8) }))).toEqual([3, 7, 8]);
  expect(joinedEntries(one, { entries: entries(7) })).toBe(one);
});

it("goes on with new numbers behind a restart and keeps what it knew", () => {
  const before = joinedEntries([], { entries: entries(3, 7) });
  const behind = joinedEntries(behindRestart(before, 99), { entries: entries(1, 2) });
  expect(seqs(behind)).toEqual([-5, -1, 0, 1, 2]);
  expect(behind[2]).toMatchObject({ what: "restarted", at_ms: 99 });
  expect(behindRestart([], 99)).toEqual([]);
});
