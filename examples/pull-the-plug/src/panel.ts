import { byId, element } from "./element.ts";

/**
 * The panel that pulls the plug, and what it knows of who pulled it: every page sees the same. It asks
 * the demo's control of this machine, past the network that it cuts.
 */
export class Panel extends EventTarget {
  readonly #buttons = new Map<string, HTMLButtonElement>();
  #until = new Map<string, Pull>();
  #lastSeq = 0;
  /** How far this clock is ahead of the control's. */
  #aheadMs = 0;

  constructor(state: ControlState) {
    super();
    for (const [kind, name, detail] of faults) {
      const button = element("button", "", name, element("small", "", detail));
      button.type = "button";
      button.id = `pull-${kind}`;
      button.onclick = () => void this.#ask(kind, { method: "POST" });
      this.#buttons.set(kind, button);
      byId("pulls").append(element("li", "", button));
    }
    byId<HTMLButtonElement>("pull-mend").onclick = () => void this.#ask("mend", { method: "POST" });
    this.#take(state);
    setInterval(() => void this.#ask("state", {}), pollMs);
    setInterval(() => this.#showTimes(), showMs);
  }

  async #ask(what: string, init: RequestInit): Promise<void> {
    // A hidden page has nobody who looks, and a page that is offline nobody to ask.
    if (init.method === undefined && (document.hidden || !navigator.onLine)) return;
    try {
      const response = await fetch(`/control/${what}?after=${this.#lastSeq}`, init);
      if (response.ok) this.#take((await response.json()) as ControlState);
    } catch {
      // The demo has ended, or the browser is offline: the status says so anyway.
    }
  }

  #take({ pulls, nowMs }: ControlState): void {
    this.#aheadMs = Date.now() - nowMs;
    for (const pull of pulls) {
      // Two answers may overtake each other.
      if (pull.seq <= this.#lastSeq) continue;
      this.#lastSeq = pull.seq;
      if (pull.kind === "mend") this.#until.clear();
      else this.#until.set(pull.kind, pull);
      const { kind, atMs, untilMs } = pull;
      const detail = { kind, fromMs: atMs + this.#aheadMs, untilMs: untilMs + this.#aheadMs };
      this.dispatchEvent(new CustomEvent<PullSeen>("pull", { detail }));
    }
    this.#showTimes();
  }

  #showTimes(): void {
    const nowMs = Date.now() - this.#aheadMs;
    for (const [kind, button] of this.#buttons) {
      const pull = this.#until.get(kind);
      const left = pull ? (pull.untilMs - nowMs) / (pull.untilMs - pull.atMs) : 0;
      button.classList.toggle("is-on", left > 0);
      button.style.setProperty("--left", String(Math.min(1, Math.max(0, left))));
    }
  }
}

export async function controlState(): Promise<ControlState> {
  const response = await fetch("/control/state");
  if (!response.ok) throw new Error(`the control answers ${response.status}`);
  return (await response.json()) as ControlState;
}

export interface ControlState {
  /** One run of the demo. */
  readonly room: string;
  readonly endpoint: string;
  readonly nowMs: number;
  readonly pulls: readonly Pull[];
}

interface Pull {
  readonly seq: number;
  readonly atMs: number;
  readonly kind: string;
  readonly untilMs: number;
}

/** A pull by this page's clock. */
export interface PullSeen {
  readonly kind: string;
  readonly fromMs: number;
  readonly untilMs: number;
}

const faults = [
  ["cut", "Cut the network", "every line reset, 5 s dark"],
  ["stall", "Freeze the network", "nothing passes for 6 s"],
  ["half_open", "Half-open", "it looks alive, and is not"],
  ["slow", "Slow it down", "250–900 ms late, 15 s"],
  ["kill", "Kill the server", "kill -9, back after 3 s"],
  ["storm", "Storm", "all of it at random, 20 s"],
] as const;

const pollMs = 1_000;
const showMs = 250;
