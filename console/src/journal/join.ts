/** Entries that came one page after the other, as one list, over restarts of the server. */
import type { Entry, Journal } from "../api/shapes.ts";

/** Newer entries behind older ones, each once, the oldest forgotten beyond `ENTRY_COUNT_MAX`. */
export function joinedEntries(older: readonly Entry[], { entries }: Pick<Journal, "entries">): readonly Entry[] {
  const lastSeq = older.at(-1)?.seq ?? -Infinity;
  const newer = entries.filter(({ seq }) => seq > lastSeq);
  return newer.length === 0 ? older : [...older, ...newer].slice(-ENTRY_COUNT_MAX);
}

/**
 * The journal of a server begins anew when it is restarted, and so do its numbers. What is known of
 * the run before stands below 0 from then on, with a line between.
 */
export function behindRestart(older: readonly Entry[], startedAtMs: number): readonly Entry[] {
  const last = older.at(-1);
  if (last === undefined) return older;
  const shifted = older.map((entry) => ({ ...entry, seq: entry.seq - last.seq - 1 }));
  return [...shifted, { seq: 0, at_ms: startedAtMs, what: "restarted" }];
}

const ENTRY_COUNT_MAX = 2000;
