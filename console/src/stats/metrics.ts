/** What the overview shows, as columns made from the server's samples. */
import { isOrderly } from "../journal/words.ts";
import type { Column, Timeline } from "./timeline.ts";
import { mean, perSecond, sum } from "./timeline.ts";

export type Unit = "count" | "rate" | "bytes";

export interface Metric {
  readonly title: string;
  /** What exactly is counted. */
  readonly about: string;
  readonly unit: Unit;
  readonly lines: readonly {
    readonly label: string;
    readonly colour: number;
    readonly values: Column;
  }[];
}

export function metricsOf(timeline: Timeline): readonly Metric[] {
  const gauge = (name: string): Column => timeline.gauges[name] ?? unknown(timeline);
  const gained = (name: string): Column => perSecond(timeline, timeline.counters[name] ?? unknown(timeline));
  const disorderly = Object.keys(timeline.ends).filter((reason) => !isOrderly(reason));
  const disorderlyEnds = disorderly.map((reason) => perSecond(timeline, timeline.ends[reason] ?? []));
  const noEnds = timeline.atMs.map((_, index) => (index === 0 ? null : 0));
  return [
    {
      title: "Connections",
      about: "WebSockets that are open.",
      unit: "count",
      lines: [{ label: "open", colour: 1, values: gauge("connections") }],
    },
    {
      title: "Sessions",
      about: "Those with a connection, and those that wait for their client to come back.",
      unit: "count",
      lines: [
        { label: "connected", colour: 1, values: gauge("sessions_connected") },
        { label: "away", colour: 2, values: gauge("sessions_away") },
      ],
    },
    {
      title: "Messages/s",
      about: "WebSocket messages from clients and to clients, each second.",
      unit: "rate",
      lines: [
        { label: "in", colour: 2, values: gained("messages_in") },
        { label: "out", colour: 1, values: gained("messages_out") },
      ],
    },
    {
      title: "Bytes/s",
      about: "Bytes from clients and to clients, each second.",
      unit: "bytes",
      lines: [
        { label: "in", colour: 2, values: gained("bytes_in") },
        { label: "out", colour: 1, values: gained("bytes_out") },
      ],
    },
    {
      title: "Deliveries/s",
      about: "Events put into a subscriber's outbox, each second.",
      unit: "rate",
      lines: [{ label: "events", colour: 1, values: gained("events_delivered") }],
    },
    {
      title: "Subscriptions behind",
      about:
        "Those that read on from the log, because their client takes its bytes more slowly than the channel speaks.",
      unit: "count",
      lines: [{ label: "behind", colour: 1, values: gauge("behind") }],
    },
    {
      title: "Outbox bytes",
      about: "Bytes that wait to be written to clients.",
      unit: "bytes",
      lines: [{ label: "waiting", colour: 1, values: gauge("outbox_bytes") }],
    },
    {
      title: "Errors/s",
      about:
        "Connections that ended out of order, handlers that panicked or took too long, and commands that a handler answered with an error, each second: the mean of 15 s.",
      unit: "rate",
      lines: [
        {
          label: "ends",
          colour: 2,
          values: mean(sum([noEnds, ...disorderlyEnds]), SAMPLES_IN_MEAN),
        },
        {
          label: "handlers",
          colour: 1,
          values: mean(sum([gained("handler_panics"), gained("handler_timeouts")]), SAMPLES_IN_MEAN),
        },
        { label: "failed", colour: 3, values: mean(gained("handler_failures"), SAMPLES_IN_MEAN) },
      ],
    },
  ];
}

export interface EndRow {
  readonly reason: string;
  /** In the time that is shown. */
  readonly recent: number;
  /** Since the server started. */
  readonly total: number;
  readonly isOrderly: boolean;
}

/** Every reason that occurred, the most frequent of late first. */
export function endRows(timeline: Timeline, recent: (reason: string) => number): readonly EndRow[] {
  return Object.entries(timeline.ends)
    .map(([reason, column]) => ({
      reason,
      recent: recent(reason),
      total: column.at(-1) ?? 0,
      isOrderly: isOrderly(reason),
    }))
    .sort((a, b) => b.recent - a.recent || b.total - a.total || (a.reason < b.reason ? -1 : 1));
}

function unknown(timeline: Timeline): Column {
  return timeline.atMs.map(() => null);
}

/** What is rare is read as a rate over a while, and not as single spikes. */
const SAMPLES_IN_MEAN = 15;
