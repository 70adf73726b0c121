import { describe, expect, it } from "vitest";
import { endRows, metricsOf } from "./metrics.ts";
import { joined, noSamples } from "./timeline.ts";

const timeline = joined(
  noSamples,
  {
    interval_ms: 1000,
    at_ms: [1000, 2000, 3000],
    counters: { handler_failures: [0, 4, 4], handler_panics: [0, 1, 1], handler_timeouts: [0, 0, 2] },
    gauges: { connections: [3, 4, 5] },
    ends: { peer_closed: [5, 9, 9], ping_timeout: [0, 1, 1], peer_reset: [0, 0, 3] },
  },
  900,
);

describe("metrics", () => {
  const metric = (title: string) => metricsOf(timeline).find((one) => one.title === title)?.lines;

  it("count ends out of order and failed handlers as errors, and nothing else", () => {
    const [ends, handlers, failures] = metric("Errors/s") ?? [];
    expect(ends?.values).toEqual([null, 1, 2]);
    expect(handlers?.values).toEqual([null, 1, 1.5]);
    expect(failures?.values).toEqual([null, 4, 2]);
  });

  it("are unknown where the server does not tell them", () => {
    expect(metric("Connections")?.[0]?.values).toEqual([3, 4, 5]);
    expect(metric("Outbox bytes")?.[0]?.values).toEqual([null, null, null]);
  });
});

it("puts what happens most now on top", () => {
  const recent: Record<string, number> = { peer_closed: 4, ping_timeout: 1, peer_reset: 3 };
  const rows = endRows(timeline, (reason) => recent[reason] ?? 0);
  expect(rows.map(({ reason }) => reason)).toEqual(["peer_closed", "peer_reset", "ping_timeout"]);
  expect(rows[0]).toEqual({ reason: "peer_closed", recent: 4, total: 9, isOrderly: true });
});
