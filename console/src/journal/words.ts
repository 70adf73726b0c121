/** Entries of the journal in plain words. What a reason means stands in spec/codes.toml. */
import { ends, gaps } from "virtual:codes";
import type { Entry } from "../api/shapes.ts";

export type Tone = "good" | "plain" | "notice" | "bad";

export interface Line {
  readonly tone: Tone;
  /** What happened, as a sentence. */
  readonly text: string;
  /** What its reason means, if it has one. */
  readonly meaning?: string;
}

export function lineOf(entry: Entry): Line {
  const line = LINES[entry.what];
  const tone = toneOf(entry);
  const text = line === undefined ? unknown(entry) : line(entry);
  const meaning = meaningOf(entry);
  return meaning === undefined ? { tone, text } : { tone, text, meaning };
}

/** What a reason of an end, or of a gap, means; nothing for a word that is not known here. */
export function meaningOf({ what, reason }: Pick<Entry, "what" | "reason">): string | undefined {
  if (reason === undefined) return undefined;
  const registry: readonly { word: string; text: string }[] = what === "gap" ? gaps : ends;
  return registry.find(({ word }) => word === reason)?.text;
}

/** Whether an end is one that somebody wanted: nothing is wrong with network, peer or server. */
export function isOrderly(reason: string): boolean {
  return ORDERLY.has(reason);
}

function toneOf({ what, reason }: Entry): Tone {
  if (what === "opened" || what === "resumed" || what === "caught_up" || what === "connected") {
    return "good";
  }
  if (what === "gap" || what === "refused" || what === "expired") return "bad";
  if (what === "behind") return "notice";
  if (what === "lost" || what === "closed") {
    return reason === undefined || isOrderly(reason) ? "notice" : "bad";
  }
  return "plain";
}

const LINES: Readonly<Record<string, (entry: Entry) => string>> = {
  connected: (entry) => `A connection opened${colon(entry.detail)}`,
  closed: (entry) => `The connection ended${because(entry)}`,
  refused: (entry) => `A connection was refused${because(entry)}`,
  opened: (entry) => `The session began${colon(entry.detail)}`,
  resumed: (entry) => `The client came back${colon(entry.detail && spelled(entry.detail))}`,
  superseded: () => "A newer connection of the same client took over, and the one before was closed",
  lost: (entry) => `The connection was lost${because(entry)}`,
  ended: (entry) => `The session ended for good${because(entry)}`,
  expired: (entry) =>
    `The session expired, because nobody came back for it${colon(entry.detail && spelled(entry.detail))}`,
  subscribed: (entry) => `Listens to ${channel(entry)}`,
  unsubscribed: (entry) => `No longer listens to ${channel(entry)}`,
  behind: (entry) =>
    entry.channel === undefined
      ? "The client reads slowly; it goes on from the log, and nothing is dropped"
      : `Reads ${channel(entry)} slowly; it goes on from the log, and nothing is dropped`,
  caught_up: (entry) =>
    entry.channel === undefined
      ? "The client has caught up and is live again"
      : `Has caught up on ${channel(entry)} and is live again`,
  restarted: () => "The server was started again; its journal began anew",
  gap: (entry) => `A gap in ${channel(entry)}${colon(entry.detail)} could not be delivered`,
};

function unknown({ what, detail }: Entry): string {
  return `${what.replaceAll("_", " ")}${colon(detail)}`;
}

function because({ reason, detail }: Entry): string {
  if (reason === undefined) return colon(detail);
  return detail === undefined || detail === "" ? `: ${reason}` : `: ${reason} (${detail})`;
}

function channel({ channel: name }: Entry): string {
  if (name === undefined) return "a channel";
  if (name.startsWith("$session/")) return "its own inbox";
  if (name.startsWith("$principal/")) return `the inbox of ${name.slice("$principal/".length)}`;
  return name;
}

function colon(detail: string | undefined): string {
  return detail === undefined || detail === "" ? "" : `: ${detail}`;
}

/** Milliseconds as people say them: `away for 83000 ms` is `away for 1 min 23 s`. */
function spelled(detail: string): string {
  return detail.replaceAll(/\b(\d+) ms\b/g, (_, digits: string) => lasted(Number(digits)));
}

/** A length of time in its two biggest units. */
export function lasted(ms: number): string {
  if (ms < 1000) return `${Math.max(0, Math.round(ms))} ms`;
  const s = Math.floor(ms / 1000);
  if (s < 60) return `${s} s`;
  const min = Math.floor(s / 60);
  if (min < 60) return `${min} min ${s % 60} s`;
  const h = Math.floor(min / 60);
  if (h < 48) return `${h} h ${min % 60} min`;
  return `${Math.floor(h / 24)} d ${h % 24} h`;
}

/** Superseded is among them: a client that comes back faster than its old connection is missed. */
const ORDERLY: ReadonlySet<string> = new Set([
  "peer_closed",
  "local_close",
  "drain",
  "superseded",
  "disconnected",
  "session_ended",
]);
