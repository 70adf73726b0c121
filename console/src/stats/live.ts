/** The server's samples: fifteen minutes when the page opens, and each new one as it comes. */
import { signal } from "@preact/signals";
import { poll } from "../api/poll.ts";
import { ask } from "../api/server.ts";
import type { HistoryColumns, Stats } from "../api/shapes.ts";
import { joined, noSamples } from "./timeline.ts";

export const timeline = signal(noSamples);
export const server = signal<Stats | undefined>(undefined);

export function startStats(): void {
  let askedMs = -Infinity;
  poll(SAMPLE_EVERY_MS, async (stop) => {
    const lastMs = timeline.value.atMs.at(-1);
    // Behind an absence the server may be another one.
    if (performance.now() - askedMs > STATS_EVERY_MS || isStale(lastMs)) {
      server.value = await ask<Stats>("/v1/stats", { signal: stop });
      askedMs = performance.now();
    }
    const path = lastMs === undefined ? "/v1/stats/history" : `/v1/stats/history?after=${lastMs}`;
    const columns = await ask<HistoryColumns>(path, { signal: stop });
    timeline.value = joined(timeline.value, columns, SAMPLE_COUNT_MAX);
  });
}

function isStale(lastMs: number | undefined): boolean {
  return lastMs === undefined || Date.now() - lastMs > 3 * SAMPLE_EVERY_MS;
}

const SAMPLE_EVERY_MS = 1000;
/** Version and start change only when the server is another. */
const STATS_EVERY_MS = 10_000;
/** Fifteen minutes, as the server keeps. */
const SAMPLE_COUNT_MAX = 900;
