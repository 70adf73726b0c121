/**
 * Samples of the server, one a second, over restarts of the server and absences of it.
 *
 * The server tells totals since its start. What an operator wants to see is how much there was in
 * each second, so that the reader takes differences, and leaves a hole where there is none to take:
 * behind a restart, and behind samples that are missing.
 */
import type { HistoryColumns } from "../api/shapes.ts";

export type Column = (number | null)[];

/** Columns of one length. A value that is not known is `null`. */
export interface Timeline {
  readonly intervalMs: number;
  readonly atMs: readonly number[];
  readonly counters: Readonly<Record<string, Column>>;
  readonly gauges: Readonly<Record<string, Column>>;
  readonly ends: Readonly<Record<string, Column>>;
}

export const noSamples: Timeline = {
  intervalMs: 1000,
  atMs: [],
  counters: {},
  gauges: {},
  ends: {},
};

/** Joins newer samples to older ones and keeps the last `sampleCountMax`. Samples that are known already are passed over. */
export function joined(older: Timeline, newer: HistoryColumns, sampleCountMax: number): Timeline {
  const lastMs = older.atMs.at(-1) ?? -Infinity;
  const firstNew = newer.at_ms.findIndex((at) => at > lastMs);
  if (firstNew === -1) return older;
  const atMs = [...older.atMs, ...newer.at_ms.slice(firstNew)];
  const from = Math.max(0, atMs.length - sampleCountMax);
  const length = { older: older.atMs.length, newer: newer.at_ms.length - firstNew };
  const join = (
    olderColumns: Readonly<Record<string, Column>>,
    newerColumns: Record<string, number[]>,
    absent: number | null,
  ): Record<string, Column> => {
    const names = new Set([...Object.keys(olderColumns), ...Object.keys(newerColumns)]);
    const columns: Record<string, Column> = {};
    for (const name of names) {
      const before = olderColumns[name] ?? filled(length.older, absent);
      const behind = newerColumns[name]?.slice(firstNew) ?? filled(length.newer, absent);
      columns[name] = [...before, ...behind].slice(from);
    }
    return columns;
  };
  return {
    intervalMs: newer.interval_ms,
    atMs: atMs.slice(from),
    counters: join(older.counters, newer.counters, null),
    gauges: join(older.gauges, newer.gauges, null),
    // A reason that is not listed has not occurred.
    ends: join(older.ends, newer.ends, 0),
  };
}

/** What a counter gained each second. The first sample has none to compare with. */
export function perSecond(timeline: Timeline, column: Column): Column {
  return differences(timeline, column).map((gain, index) => {
    const lastedMs = span(timeline, index);
    return gain === null || lastedMs <= 0 ? null : (gain * 1000) / lastedMs;
  });
}

/** What a counter gained from each sample to the next. */
export function differences(timeline: Timeline, column: Column): Column {
  return column.map((value, index) => {
    const before = column[index - 1];
    if (value === null || before === null || before === undefined) return null;
    // A total that shrinks began anew: the server was restarted.
    if (value < before) return null;
    if (isHole(timeline, index)) return null;
    return value - before;
  });
}

/** Whether samples are missing before this one. */
export function isHole(timeline: Timeline, index: number): boolean {
  return index > 0 && span(timeline, index) > HOLE_INTERVALS * timeline.intervalMs;
}

/** One column out of several, where a hole in one of them is a hole in all. */
export function sum(columns: readonly Column[]): Column {
  const [first, ...others] = columns;
  if (first === undefined) return [];
  return first.map((value, index) =>
    others.reduce<number | null>((total, column) => {
      const more = column[index] ?? null;
      return total === null || more === null ? null : total + more;
    }, value),
  );
}

/** The mean of the last `count` values that are known, where there is one. */
export function mean(column: Column, count: number): Column {
  return column.map((value, index) => {
    if (value === null) return null;
    const known = column.slice(Math.max(0, index - count + 1), index + 1).filter((one) => one !== null);
    return known.reduce((total, one) => total + one, 0) / known.length;
  });
}

/** Ends in spans of time, for bars: the n-th count of each reason belongs to the n-th time. */
export interface EndBuckets {
  readonly atMs: readonly number[];
  readonly counts: Readonly<Record<string, readonly number[]>>;
}

/** Counts ends in spans of `bucketMs`, which begin at multiples of it, so that a bar never changes its place. */
export function endBuckets(timeline: Timeline, bucketMs: number): EndBuckets {
  const firstMs = timeline.atMs[0];
  const lastMs = timeline.atMs.at(-1);
  if (firstMs === undefined || lastMs === undefined) return { atMs: [], counts: {} };
  const start = Math.floor(firstMs / bucketMs);
  const count = Math.floor(lastMs / bucketMs) - start + 1;
  const atMs = Array.from({ length: count }, (_, index) => (start + index) * bucketMs);
  const counts: Record<string, number[]> = {};
  for (const [reason, column] of Object.entries(timeline.ends)) {
    const bars = new Array<number>(count).fill(0);
    for (const [index, gain] of differences(timeline, column).entries()) {
      const bar = Math.floor((timeline.atMs[index] ?? 0) / bucketMs) - start;
      bars[bar] = (bars[bar] ?? 0) + (gain ?? 0);
    }
    counts[reason] = bars;
  }
  return { atMs, counts };
}

function span(timeline: Timeline, index: number): number {
  return (timeline.atMs[index] ?? 0) - (timeline.atMs[index - 1] ?? 0);
}

function filled(length: number, value: number | null): Column {
  return new Array<number | null>(length).fill(value);
}

/** A busy machine samples late now and then; two whole samples missing is no lateness. */
const HOLE_INTERVALS = 2.5;
