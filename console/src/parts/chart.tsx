/** A small chart that is alive: fifteen minutes up to now, drawn by uPlot. */
import { useEffect, useRef } from "preact/hooks";
import { signal } from "@preact/signals";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import type { Column } from "../stats/timeline.ts";
import { paint } from "../theme.ts";

export interface Series {
  readonly label: string;
  readonly values: Column;
  /** 1 to 8: a colour of the palette. */
  readonly colour: number;
}

export interface ChartProps {
  readonly atMs: readonly number[];
  readonly series: readonly Series[];
  readonly format: (value: number) => string;
  readonly heightPx: number;
  /** `bars` are stacked. */
  readonly kind?: "lines" | "bars";
  /** What it shows, for those who do not see it. */
  readonly summary: string;
  /** The top of a chart that has little to show. */
  readonly topMin?: number;
  /** What units are multiples of: 1024 for bytes. */
  readonly base?: 1000 | 1024;
}

/** The moment that is pointed at, in all charts at once. */
export const pointedMs = signal<number | undefined>(undefined);

export function Chart(props: ChartProps) {
  const host = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot>(undefined);
  const shown = useRef(props);
  shown.current = props;
  const shape = props.series.map(({ label, colour }) => `${colour}${label}`).join("|");
  const painted = paint.value;

  useEffect(() => {
    const element = host.current;
    if (element === null) return undefined;
    const chart = new uPlot(options(element, shown), dataOf(shown.current), element);
    plot.current = chart;
    const observer = new ResizeObserver(() => {
      const width = element.clientWidth;
      if (width > 0 && width !== chart.width) chart.setSize({ width, height: shown.current.heightPx });
    });
    observer.observe(element);
    return () => {
      observer.disconnect();
      plot.current = undefined;
      chart.destroy();
    };
  }, [shape, props.heightPx, props.kind, painted]);

  useEffect(() => {
    plot.current?.setData(dataOf(props));
  }, [props.atMs, props.series]);

  return (
    <div class="chart" ref={host} role="img" aria-label={props.summary} style={{ height: `${props.heightPx}px` }} />
  );
}

function dataOf({ atMs, series, kind }: ChartProps): uPlot.AlignedData {
  const times = atMs.map((ms) => ms / 1000);
  if (kind !== "bars") return [times, ...series.map(({ values }) => values)];
  // Each bar stands on those behind it; the tallest is drawn first.
  const heights: Column[] = [];
  let below: Column = times.map(() => 0);
  for (const { values } of series) {
    below = below.map((height, index) => (height ?? 0) + (values[index] ?? 0));
    heights.unshift(below);
  }
  return [times, ...heights];
}

function options(element: HTMLElement, shown: { current: ChartProps }): uPlot.Options {
  const { heightPx, kind, series } = shown.current;
  const colour = (name: string) => resolved(element, name);
  const isBars = kind === "bars";
  const drawn = isBars ? [...series].reverse() : series;
  const bars = uPlot.paths.bars?.({ size: [0.8, 40], align: 1 });
  const axis = {
    stroke: colour("--muted"),
    font: "11px system-ui, sans-serif",
    ticks: { show: false },
    grid: { stroke: colour("--grid"), width: 1 },
  };
  return {
    width: Math.max(element.clientWidth, 50),
    height: heightPx,
    padding: [6, 16, 0, 0],
    legend: { show: false },
    cursor: {
      sync: { key: "all", setSeries: false },
      drag: { x: false, y: false },
      y: false,
      points: { show: !isBars, size: 5 },
    },
    hooks: {
      setCursor: [
        (chart) => {
          const index = chart.cursor.idx;
          const s = index === null || index === undefined ? undefined : chart.data[0][index];
          pointedMs.value = s === undefined ? undefined : s * 1000;
        },
      ],
    },
    scales: {
      x: { range: () => windowOf(shown.current) },
      y: {
        range: (_, __, top) => [0, roundTop(Math.max(top, shown.current.topMin ?? 1), shown.current.base ?? 1000)],
      },
    },
    axes: [
      { ...axis, size: 20, gap: 3, space: 70, values: (_, splits) => splits.map(hourAndMinute) },
      {
        ...axis,
        size: 52,
        gap: 5,
        splits: (_, __, ___, top) => [0, top / 2, top],
        values: (_, splits) => splits.map((value) => shown.current.format(value)),
      },
    ],
    series: [
      {},
      ...drawn.map((one): uPlot.Series => {
        const stroke = colour(`--series-${one.colour}`);
        return isBars
          ? {
              label: one.label,
              fill: stroke,
              stroke: colour("--surface"),
              width: 1,
              points: { show: false },
              ...(bars && { paths: bars }),
            }
          : {
              label: one.label,
              stroke,
              width: 1.5,
              points: { show: false },
              ...(series.length === 1 && {
                fill: `color-mix(in srgb, ${stroke} 12%, transparent)`,
              }),
            };
      }),
    ],
  };
}

/** Fifteen minutes, whether there are samples or not, so that time moves and nothing is rescaled. */
function windowOf({ atMs }: ChartProps): [number, number] {
  const last = (atMs.at(-1) ?? Date.now()) / 1000;
  return [last - WINDOW_S, last];
}

/** The next round number, so that the scale seldom changes. */
function roundTop(top: number, base: 1000 | 1024): number {
  const unit = base ** Math.max(0, Math.floor(Math.log(top) / Math.log(base)));
  const power = unit * 10 ** Math.floor(Math.log10(top / unit));
  const step = STEPS.find((factor) => factor * power >= top * 1.05) ?? 10;
  return step * power;
}

function hourAndMinute(s: number): string {
  const at = new Date(s * 1000);
  return `${String(at.getHours()).padStart(2, "0")}:${String(at.getMinutes()).padStart(2, "0")}`;
}

/** A colour as the canvas understands it: `light-dark()` is known only where CSS is. */
function resolved(element: HTMLElement, name: string): string {
  const before = element.style.color;
  element.style.color = `var(${name})`;
  const { color } = getComputedStyle(element);
  element.style.color = before;
  return color;
}

/** Half of each is a round number, too. */
const STEPS = [1, 2, 4, 6, 8, 10];
const WINDOW_S = 15 * 60;
