/** What was sent from this tab, newest first; it is forgotten with the tab. */
import { signal } from "@preact/signals";
import type { Draft } from "./draft.ts";
import type { Outcome } from "./outcome.ts";

export interface Sent {
  readonly atMs: number;
  readonly draft: Draft;
  readonly outcome: Outcome;
}

const KEY = "mainstay-sent";

export const sent = signal<readonly Sent[]>(stored());

export function remember(one: Sent): void {
  sent.value = [one, ...sent.value].slice(0, SENT_COUNT_MAX);
  try {
    sessionStorage.setItem(KEY, JSON.stringify(sent.value));
  } catch {
    // The storage is full or closed: the list still lives in this page.
  }
}

export function forgetSent(): void {
  sent.value = [];
  sessionStorage.removeItem(KEY);
}

function stored(): readonly Sent[] {
  try {
    return JSON.parse(sessionStorage.getItem(KEY) ?? "[]") as Sent[];
  } catch {
    return [];
  }
}
const SENT_COUNT_MAX = 50;
