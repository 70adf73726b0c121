import { describe, expect, it } from "vitest";
import type { HistoryColumns } from "../api/shapes.ts";
import { differences, endBuckets, joined, mean, noSamples, perSecond, sum } from "./timeline.ts";

const columns = (at: number[], more: Partial<HistoryColumns> = {}): HistoryColumns => ({
  interval_ms: 1000,
  at_ms: at,
  counters: {},
  gauges: {},
  ends: {},
  ...more,
});

describe("joining columns", () => {
  it("passes over what is known already", () => {
    const one = joined(noSamples, columns([1000, 2000], { gauges: { sessions: [1, 2] } }), 10);
    const two = joined(one, columns([2000, 3000], { gauges: { sessions: [9, 3] } }), 10);
    expect(two.atMs).toEqual([1000, 2000, 3000]);
    expect(two.gauges["sessions"]).toEqual([1, 2, 3]);
    expect(joined(two, columns([3000]), 10)).toBe(two);
  });

  it("fills columns that come late and columns that go", () => {
    const one = joined(noSamples, columns([1000], { gauges: { old: [5] }, ends: { drain: [1] } }), 10);
    const two = joined(one, columns([2000], { gauges: { young: [7] }, ends: { drain: [1], peer_eof: [2] } }), 10);
    expect(two.gauges).toEqual({ old: [5, null], young: [null, 7] });
    expect(two.ends).toEqual({ drain: [1, 1], peer_eof: [0, 2] });
  });

  it("forgets the oldest in all columns alike", () => {
    let timeline = noSamples;
    for (let at = 1; at <= 6; at += 1) {
      timeline = joined(timeline, columns([at * 1000], { counters: { commands: [at] } }), 4);
    }
    expect(timeline.atMs).toEqual([3000, 4000, 5000, 6000]);
    expect(timeline.counters["commands"]).toEqual([3, 4, 5, 6]);
  });
});

describe("rates", () => {
  it("are differences by the time that really passed", () => {
    const timeline = joined(noSamples, columns([1000, 2000, 4000]), 10);
    expect(perSecond(timeline, [10, 30, 50])).toEqual([null, 20, 10]);
  });

  it("have a hole where the server was restarted", () => {
    const timeline = joined(noSamples, columns([1000, 2000, 3000, 4000]), 10);
    expect(perSecond(timeline, [100, 150, 20, 25])).toEqual([null, 50, null, 5]);
  });

  it("have a hole where samples are missing, even if the total has grown", () => {
    const timeline = joined(noSamples, columns([1000, 2000, 60_000, 61_000]), 10);
    expect(differences(timeline, [1, 2, 500, 501])).toEqual([null, 1, null, 1]);
  });

  it("are not made up where a value is not known", () => {
    const timeline = joined(noSamples, columns([1000, 2000, 3000]), 10);
    expect(perSecond(timeline, [1, null, 3])).toEqual([null, null, null]);
    expect(
      sum([
        [1, 2, null],
        [1, null, 1],
      ]),
    ).toEqual([2, null, null]);
    expect(sum([])).toEqual([]);
  });
});

it("takes the mean of what is known", () => {
  expect(mean([null, 4, 0, null, 2, 6], 3)).toEqual([null, 4, 2, null, 1, 4]);
});

describe("ends in spans of time", () => {
  it("keep their place when time goes on", () => {
    const at = [9000, 10_000, 11_000, 20_000, 21_000];
    const timeline = joined(noSamples, columns(at, { ends: { peer_eof: [0, 1, 3, 3, 4] } }), 10);
    expect(endBuckets({ ...timeline, intervalMs: 5000 }, 10_000)).toEqual({
      atMs: [0, 10_000, 20_000],
      counts: { peer_eof: [0, 3, 1] },
    });
  });

  it("are none where there are no samples", () => {
    expect(endBuckets(noSamples, 1000)).toEqual({ atMs: [], counts: {} });
  });
});
