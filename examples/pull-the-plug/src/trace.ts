import type { PullSeen } from "./panel.ts";

/**
 * A chart recorder: the session as one line, its connections as the pieces that they are, what was sent
 * and heard as ticks, and the plug being pulled behind it all. One minute wide.
 */
export class Trace {
  readonly #svg: SVGSVGElement;
  readonly #begunMs = Date.now();
  #connections: Piece[] = [];
  #ticks: Tick[] = [];
  #pulls: PullSeen[] = [];

  constructor(svg: SVGSVGElement) {
    this.#svg = svg;
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    setInterval(() => this.#draw(), calm ? 1_000 : 100);
    new ResizeObserver(() => this.#draw()).observe(svg);
  }

  opened(): void {
    this.#connections.push({ fromMs: Date.now(), untilMs: undefined });
  }

  closed(): void {
    const last = this.#connections.at(-1);
    if (last && last.untilMs === undefined) last.untilMs = Date.now();
  }

  tick(kind: Tick["kind"]): void {
    const atMs = Date.now();
    // A page that catches up hears thousands in a second, and no more than this can be seen.
    const last = this.#ticks.findLast((tick) => tick.kind === kind);
    if (last && atMs - last.atMs < tickMsMin) return;
    this.#ticks.push({ kind, atMs });
  }

  pulled(pull: PullSeen): void {
    if (pull.kind === "mend") {
      const nowMs = Date.now();
      this.#pulls = this.#pulls.map((before) => ({
        ...before,
        untilMs: Math.max(before.fromMs, Math.min(before.untilMs, nowMs)),
      }));
    } else {
      this.#pulls.push(pull);
    }
  }

  #draw(): void {
    if (document.hidden) return;
    const width = this.#svg.clientWidth;
    const nowMs = Date.now();
    this.#forget(nowMs - windowMs);
    const namesPx = width < narrowPx ? 0 : rowNamesPx;
    const x = (atMs: number) => {
      const part = (Math.min(atMs, nowMs) - (nowMs - windowMs)) / windowMs;
      return namesPx + Math.max(0, part) * (width - namesPx);
    };
    const drawn = [
      ...this.#pulls.flatMap((pull) => drawPull(pull, x, width)),
      ...drawGrid(nowMs, x),
      row("session", x(this.#begunMs), x(nowMs), sessionY),
      row("away", x(this.#begunMs), x(nowMs), connectionY),
      ...this.#connections.map(({ fromMs, untilMs }) =>
        row("open", x(fromMs), x(untilMs ?? nowMs), connectionY),
      ),
      ...this.#ticks.map(({ kind, atMs }) => {
        const [at, y] = [x(atMs), kind === "sent" ? sentY : heardY];
        return shape("line", { class: kind, x1: at, x2: at, y1: y - 5, y2: y + 5 });
      }),
      ...rowNames.map(([name, y]) => label("row-name", 0, namesPx > 0 ? y + 4 : y - 9, name)),
    ];
    this.#svg.setAttribute("viewBox", `0 0 ${width} ${heightPx}`);
    this.#svg.replaceChildren(...drawn);
  }

  #forget(beforeMs: number): void {
    this.#connections = this.#connections.filter(({ untilMs }) => (untilMs ?? Infinity) > beforeMs);
    this.#ticks = this.#ticks.filter(({ atMs }) => atMs > beforeMs);
    this.#pulls = this.#pulls.filter(({ untilMs }) => untilMs > beforeMs);
  }
}

interface Piece {
  fromMs: number;
  /** Absent while it lasts. */
  untilMs: number | undefined;
}

interface Tick {
  readonly kind: "sent" | "heard";
  readonly atMs: number;
}

type Scale = (atMs: number) => number;

function drawPull({ kind, fromMs, untilMs }: PullSeen, x: Scale, width: number): SVGElement[] {
  const from = x(fromMs);
  const wide = Math.max(2, x(untilMs) - from);
  const drawn = [
    shape("rect", { class: "pull", x: from, y: 0, width: wide, height: heightPx }),
    shape("line", { class: "pull-edge", x1: from, x2: from, y1: 0, y2: heightPx }),
  ];
  // The pulls of a storm say what they are.
  if (kind === "storm") return drawn;
  const name = label("pull-name", from + 5, 14, pullNames[kind] ?? kind);
  if (width - from < pullNamePx) {
    name.setAttribute("text-anchor", "end");
    name.setAttribute("x", String(from - 5));
  }
  return [...drawn, name];
}

function drawGrid(nowMs: number, x: Scale): SVGElement[] {
  const drawn: SVGElement[] = [];
  for (let backMs = gridMs; backMs < windowMs; backMs += gridMs) {
    const at = Math.round(x(nowMs - backMs)) - 0.5;
    drawn.push(shape("line", { class: "grid", x1: at, x2: at, y1: 20, y2: heightPx - 16 }));
    const time = label("", at, heightPx - 4, `−${backMs / 1000} s`);
    time.setAttribute("text-anchor", "middle");
    drawn.push(time);
  }
  return drawn;
}

function row(name: string, x1: number, x2: number, y: number): SVGElement {
  return shape("line", { class: name, x1, x2, y1: y, y2: y });
}

function label(name: string, x: number, y: number, text: string): SVGElement {
  const made = shape("text", { class: name, x, y });
  made.textContent = text;
  return made;
}

function shape(name: string, attributes: Record<string, string | number>): SVGElement {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, String(value));
  return made;
}

const pullNames: Record<string, string> = {
  cut: "cut",
  stall: "frozen",
  half_open: "half-open",
  slow: "slow",
  kill: "kill -9",
};
const windowMs = 60_000;
const gridMs = 10_000;
const tickMsMin = 80;
const rowNamesPx = 108;
const narrowPx = 640;
const pullNamePx = 76;
const heightPx = 148;
const sessionY = 36;
const connectionY = 64;
const sentY = 92;
const heardY = 116;
const rowNames = [
  ["session", sessionY],
  ["connections", connectionY],
  ["sent", sentY],
  ["heard", heardY],
] as const;
