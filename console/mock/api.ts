/**
 * A server that is made up: what the console needs of the HTTP API, for working on the page without
 * a server. It knows the shapes and nothing of what they mean.
 */
import type { Channel, Entry, HistoryColumns, SessionView } from "../src/api/shapes.ts";

export interface MockAnswer {
  readonly status: number;
  readonly body: unknown;
}

export class MockApi {
  readonly #startedMs: number;

  constructor(nowMs: number) {
    this.#startedMs = nowMs - 20 * 60_000;
  }

  answer(nowMs: number, method: string, url: URL): MockAnswer {
    const [, , kind, id, action] = url.pathname.split("/").map(decodeURIComponent);
    const found = this.#route(nowMs, method, url, kind ?? "", id, action);
    if (found !== undefined) return { status: 200, body: found };
    return { status: 404, body: { error: "unreachable", message: "there is no such thing" } };
  }

  #route(nowMs: number, method: string, url: URL, kind: string, id?: string, action?: string): unknown {
    if (method !== "GET") {
      if (kind === "publish" || kind === "send") {
        return { places: [{ channel: "news", epoch: EPOCH, offset: 42 }] };
      }
      if (kind === "sessions" && action === "request") return { status: "done", payload: { ok: true } };
      return {};
    }
    const after = url.searchParams.get("after") ?? "";
    const limit = Number(url.searchParams.get("limit") ?? 100);
    if (kind === "server") {
      return { version: VERSION, endpoints: [] };
    }
    if (kind === "stats" && id === undefined) {
      return { started_at_ms: this.#startedMs, version: VERSION };
    }
    if (kind === "stats") return this.columns(nowMs, Number(after));
    if (kind === "channels" || kind === "sessions") {
      const all = kind === "channels" ? channels(nowMs) : sessions(nowMs);
      const key = (one: Channel | SessionView) => ("name" in one ? one.name : one.session);
      if (id !== undefined) return all.find((one) => key(one) === id);
      const page = all.filter((one) => key(one) > after && isWanted(one, url.searchParams)).slice(0, limit);
      const last = page.at(-1);
      return { [kind]: page, ...(page.length === limit && last ? { next: key(last) } : {}) };
    }
    if (kind === "history") {
      const channel = channels(nowMs).find(({ name }) => name === url.searchParams.get("channel"));
      if (channel === undefined) return undefined;
      const from = Math.max(Number(after), channel.first - 1) + 1;
      const count = Math.min(limit, channel.head - from + 1);
      const events = Array.from({ length: Math.max(0, count) }, (_, index) => ({
        type: "event",
        channel: channel.name,
        offset: from + index,
        at_ms: nowMs - (channel.head - from - index) * 700,
        ...((from + index) % 9 === 0
          ? { data: "3q2+7wABAgM=" }
          : { payload: { price: 100 + ((from + index) % 17), currency: "EUR" } }),
      }));
      return { channel, events };
    }
    if (kind === "presence") {
      return {
        members: sessions(nowMs)
          .slice(0, 7)
          .map(({ session }) => ({ session })),
      };
    }
    if (kind === "journal") return { entries: journal(nowMs), forgotten_up_to: 0 };
    return undefined;
  }

  columns(nowMs: number, afterMs: number): HistoryColumns {
    const at: number[] = [];
    const first = Math.max(afterMs + 1, nowMs - 900_000, this.#startedMs);
    for (let ms = Math.ceil(first / 1000) * 1000; ms <= nowMs; ms += 1000) at.push(ms);
    const total = (perSecond: number, wobble: number) =>
      at.map((ms) => {
        const s = (ms - this.#startedMs) / 1000;
        return Math.round(perSecond * s + wobble * (1 - Math.cos(s / 40)) * 20);
      });
    const level = (mean: number, wobble: number) =>
      at.map((ms) => Math.round(mean + wobble * Math.sin(ms / 60_000) + (wobble / 5) * Math.sin(ms / 3100)));
    return {
      interval_ms: 1000,
      at_ms: at,
      counters: {
        commands: total(12, 3),
        events_delivered: total(900, 60),
        published: total(40, 2),
        messages_in: total(130, 9),
        messages_out: total(1040, 80),
        bytes_in: total(9000, 400),
        bytes_out: total(160_000, 9000),
        handler_failures: total(0.05, 0),
        handler_panics: total(0.01, 0),
        handler_timeouts: total(0.02, 0),
      },
      gauges: {
        connections: level(312, 14),
        sessions_connected: level(300, 14),
        sessions_away: level(22, 9),
        channels: level(34, 0),
        outbox_bytes: level(42_000, 40_000),
        behind: level(3, 3),
      },
      ends: {
        peer_closed: total(0.2, 0.05),
        ping_timeout: total(0.04, 0.02),
        peer_reset: total(0.03, 0),
        drain: total(0.01, 0),
      },
    };
  }
}

function isWanted(one: Channel | SessionView, query: URLSearchParams): boolean {
  const prefix = query.get("prefix") ?? "";
  if ("name" in one) return one.name.startsWith(prefix);
  const { session, principal, state, behind } = one;
  const given = { principal, state, behind: String(behind) };
  return session.startsWith(prefix) && Object.entries(given).every(([name, is]) => (query.get(name) ?? is) === is);
}

function channels(nowMs: number): Channel[] {
  return Array.from({ length: 34 }, (_, index) => {
    const head = Math.floor((nowMs / 1000) % 100_000) * ((index % 5) + 1);
    return {
      name: `${["orders", "prices", "chat", "log"][index % 4] ?? ""}.${String(index).padStart(2, "0")}`,
      epoch: EPOCH,
      first: Math.max(1, head - 9999),
      head,
      bytes: 180 * Math.min(head, 10_000),
      subscriber_count: (index * 37) % 211,
      member_count: index % 9,
    };
  }).sort((a, b) => (a.name < b.name ? -1 : 1));
}

function sessions(nowMs: number): SessionView[] {
  return Array.from({ length: 322 }, (_, index) => ({
    session: ((index * 2654435761) >>> 0).toString(16).padStart(8, "0").repeat(4),
    ...(index % 3 === 0 ? { principal: `user-${index}@example.org` } : {}),
    state: index % 14 === 0 ? ("away" as const) : ("connected" as const),
    ...(index % 14 === 0 ? { expires_at_ms: nowMs + 400_000 } : { connection: index.toString(16).padStart(16, "0") }),
    client: index % 2 === 0 ? "shop/2.4.1" : "mainstay-cli/0.1.0",
    generation: 1 + (index % 5),
    since_ms: nowMs - index * 91_000,
    resumes: index % 5,
    accepted: index * 3,
    reply_count: 0,
    command_count: 0,
    subscriptions: [
      {
        channel: "prices.01",
        delivery: "every",
        presence: "none",
        acknowledged: 1000 - (index % 7) * 3,
        lag: (index % 7) * 3,
      },
    ],
    behind: index % 7 !== 0,
    ...(index % 5 === 0 ? {} : { last_end: { reason: "peer_reset", at_ms: nowMs - index * 5000 } }),
  })).sort((a, b) => (a.session < b.session ? -1 : 1));
}

function journal(nowMs: number): Entry[] {
  return [
    { seq: 1, at_ms: nowMs - 600_000, what: "opened", detail: "shop/2.4.1" },
    { seq: 2, at_ms: nowMs - 599_900, what: "subscribed", channel: "prices.01" },
    { seq: 3, at_ms: nowMs - 120_000, what: "lost", reason: "ping_timeout" },
    { seq: 4, at_ms: nowMs - 90_000, what: "resumed", detail: "shop/2.4.1, away for 30000 ms" },
    {
      seq: 5,
      at_ms: nowMs - 4_000,
      what: "gap",
      reason: "trimmed",
      channel: "prices.01",
      detail: "events 3 to 7",
    },
  ];
}

const VERSION = "0.0.0-mock";
const EPOCH = "5bd1c0aa31f2e877";
