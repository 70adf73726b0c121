import { ends as registry } from "virtual:codes";
import { useMemo } from "preact/hooks";
import { Chart, pointedMs } from "../parts/chart.tsx";
import { Empty } from "../parts/bits.tsx";
import { bytes, count, rate, timeOfDay } from "../format.ts";
import { isOrderly } from "../journal/words.ts";
import { timeline } from "../stats/live.ts";
import type { Metric, Unit } from "../stats/metrics.ts";
import { endRows, metricsOf } from "../stats/metrics.ts";
import type { Column, EndBuckets, Timeline } from "../stats/timeline.ts";
import { endBuckets } from "../stats/timeline.ts";

export function Overview() {
  const samples = timeline.value;
  const metrics = useMemo(() => metricsOf(samples), [samples]);
  const at = pointedMs.value;
  return (
    <>
      <div class="heading">
        <h1>Overview</h1>
        <p class="muted" aria-hidden="true">
          {at === undefined ? "Last 15 minutes, every second" : timeOfDay(at)}
        </p>
      </div>
      <div class="tiles">
        {metrics.map((metric) => (
          <Tile key={metric.title} metric={metric} atMs={samples.atMs} />
        ))}
      </div>
      <Ends samples={samples} />
    </>
  );
}

function Tile({ metric, atMs }: { readonly metric: Metric; readonly atMs: readonly number[] }) {
  const { title, about, unit, lines } = metric;
  const index = pointedIndex(atMs);
  const format = FORMATS[unit];
  const isOne = lines.length === 1;
  const summary = `${title}, last 15 minutes. ${lines.map((line) => spoken(line.label, line.values, format)).join(" ")}`;
  return (
    <section class="tile" aria-label={title}>
      <h2 title={about}>{title}</h2>
      <p class={`now ${["", "two", "three"][lines.length - 1] ?? ""}`}>
        {lines.map(({ label, colour, values }) => {
          const value = values[index];
          return (
            <span key={label} class="value">
              {!isOne && <i class={`swatch colour-${colour}`} aria-hidden="true" />}
              {!isOne && <span class="muted">{label}</span>}
              <strong>{value === null || value === undefined ? "–" : format(value)}</strong>
            </span>
          );
        })}
      </p>
      <Chart
        atMs={atMs}
        series={lines}
        format={AXIS_FORMATS[unit]}
        heightPx={104}
        base={unit === "bytes" ? 1024 : 1000}
        topMin={unit === "rate" ? 0.2 : unit === "bytes" ? 100 : 4}
        summary={summary}
      />
    </section>
  );
}

function Ends({ samples }: { readonly samples: Timeline }) {
  const buckets = useMemo(() => endBuckets(samples, BUCKET_MS), [samples]);
  const rows = endRows(samples, (reason) => total(buckets, reason));
  const series = useMemo(() => endSeries(buckets), [buckets]);
  const pointed = pointedMs.value;
  const summary = `Ends of connections by reason, last 15 minutes: ${rows.map(({ reason, recent }) => `${reason} ${recent}`).join(", ") || "none"}.`;
  return (
    <section class="panel ends" aria-labelledby="ends-heading">
      <div class="panel-head">
        <h2 id="ends-heading">Why did it end</h2>
        <p class="muted">Ends of connections in spans of 15 s</p>
      </div>
      <div class="ends-chart">
        <Chart
          atMs={buckets.atMs}
          series={series}
          format={count}
          heightPx={170}
          kind="bars"
          summary={summary}
          topMin={4}
        />
      </div>
      {rows.length === 0 ? (
        <Empty>No connection has ended since the server started.</Empty>
      ) : (
        <div class="scroll" tabIndex={0} role="region" aria-label="Ends by reason">
          <table>
            <thead>
              <tr>
                <th scope="col">Reason</th>
                <th scope="col" class="number">
                  {pointed === undefined ? "15 min" : "at " + timeOfDay(bucketAt(pointed))}
                </th>
                <th scope="col" class="number">
                  Since start
                </th>
                <th scope="col" class="number wide">
                  Code
                </th>
                <th scope="col" class="wide">
                  The client
                </th>
                <th scope="col">What it means</th>
              </tr>
            </thead>
            <tbody>
              {rows.map(({ reason, recent, total: all, isOrderly: isCalm }) => {
                const known = registry.find(({ word }) => word === reason);
                return (
                  <tr key={reason}>
                    <th scope="row" class="nowrap">
                      <i class={`swatch colour-${colourOf(reason)}`} aria-hidden="true" />
                      <span class="word">{reason}</span>
                    </th>
                    <td class="number">{count(pointed === undefined ? recent : countAt(buckets, reason, pointed))}</td>
                    <td class="number">{count(all)}</td>
                    <td class="number wide">{known?.code ?? "–"}</td>
                    <td class="wide nowrap">{known === undefined ? "" : DOES[known.client]}</td>
                    <td class="meaning">
                      {known?.text ?? "A word that this console does not know."}
                      {isCalm && <span class="tag">orderly</span>}
                    </td>
                  </tr>
                );
              })}
            </tbody>
          </table>
        </div>
      )}
    </section>
  );
}

function pointedIndex(atMs: readonly number[]): number {
  const pointed = pointedMs.value;
  if (pointed === undefined) return atMs.length - 1;
  const index = atMs.findLastIndex((at) => at <= pointed);
  return index === -1 ? atMs.length - 1 : index;
}

function spoken(label: string, values: Column, format: (value: number) => string): string {
  const known = values.filter((value) => value !== null);
  const last = known.at(-1);
  if (last === undefined) return `${label}: not known.`;
  return `${label}: now ${format(last)}, at least ${format(Math.min(...known))}, at most ${format(Math.max(...known))}.`;
}

/** A reason keeps its colour for as long as the page is open; orderly ends have the quiet ones. */
function colourOf(reason: string): number {
  const known = ORDERLY_COLOURS[reason] ?? given.get(reason);
  if (known !== undefined) return known;
  const colour = DISORDERLY_COLOURS[given.size % DISORDERLY_COLOURS.length] ?? 2;
  given.set(reason, colour);
  return colour;
}

function endSeries({ counts }: EndBuckets) {
  // What is orderly lies below: what grows above it is what somebody should look at.
  const rank = (reason: string) => (isOrderly(reason) ? `0${reason}` : `1${reason}`);
  const reasons = Object.keys(counts).sort((a, b) => (rank(a) < rank(b) ? -1 : 1));
  return reasons.map((reason) => ({
    label: reason,
    colour: colourOf(reason),
    values: [...(counts[reason] ?? [])],
  }));
}

function total({ counts }: EndBuckets, reason: string): number {
  return (counts[reason] ?? []).reduce((sum, bar) => sum + bar, 0);
}

function countAt({ atMs, counts }: EndBuckets, reason: string, pointed: number): number {
  const bar = atMs.indexOf(bucketAt(pointed));
  return counts[reason]?.[bar] ?? 0;
}

function bucketAt(ms: number): number {
  return Math.floor(ms / BUCKET_MS) * BUCKET_MS;
}

const given = new Map<string, number>();

const FORMATS: Readonly<Record<Unit, (value: number) => string>> = {
  count,
  rate,
  bytes,
};

const AXIS_FORMATS: Readonly<Record<Unit, (value: number) => string>> = {
  count: short,
  rate: short,
  bytes: (value) => bytes(value).replace(/\.0+ /, " "),
};

function short(value: number): string {
  return value >= 10_000 ? `${Number((value / 1000).toFixed(1))} k` : String(Number(value.toFixed(2)));
}

const DOES: Readonly<Record<(typeof registry)[number]["client"], string>> = {
  resume: "resumes",
  start_fresh: "starts fresh",
  stop: "stops",
  none: "–",
};

const BUCKET_MS = 15_000;
const ORDERLY_COLOURS: Readonly<Record<string, number>> = {
  peer_closed: 8,
  drain: 1,
  superseded: 7,
  session_ended: 6,
  local_close: 6,
  disconnected: 1,
};
const DISORDERLY_COLOURS = [2, 4, 5, 3];
