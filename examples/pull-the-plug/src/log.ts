import { element } from "./element.ts";
import { roomChannel } from "./message.ts";
import type { Draft, Entry } from "./journal.ts";
import type { Room } from "./room.ts";

/**
 * Shows what was said: one line for each offset of the channel, and below them what of ours has no offset
 * yet. Lines are added and never rebuilt, so that nothing jumps and a selection stays.
 */
export class LogView {
  readonly #list: HTMLElement;
  #shownNumber = 0;
  readonly #waiting = new Map<number, HTMLElement>();

  constructor(list: HTMLElement) {
    this.#list = list;
  }

  show(room: Room): void {
    const { scrollTop, scrollHeight, clientHeight } = this.#list;
    const isAtEnd = scrollTop + clientHeight >= scrollHeight - nearPx;
    const firstWaiting = this.#waiting.values().next().value ?? null;
    const fresh = room.entries.filter(
      (entry) => entry.heardNumber > this.#shownNumber && entry.channel === roomChannel,
    );
    for (const entry of fresh) {
      this.#list.insertBefore(line(entry, room), firstWaiting);
    }
    this.#shownNumber = room.entries.at(-1)?.heardNumber ?? this.#shownNumber;
    for (const [number, waiting] of this.#waiting) {
      if (room.drafts.has(number)) continue;
      waiting.remove();
      this.#waiting.delete(number);
    }
    for (const [number, draft] of room.drafts) {
      if (this.#waiting.has(number)) continue;
      const waiting = line(draft, room);
      this.#waiting.set(number, waiting);
      this.#list.append(waiting);
    }
    while (this.#list.childElementCount > lineCountMax) this.#list.firstElementChild?.remove();
    if (isAtEnd) this.#list.scrollTop = this.#list.scrollHeight;
  }
}

function line(spoken: Entry | Draft, room: Room): HTMLElement {
  const { message, atMs } = spoken;
  const classes: string[] = [];
  const isOwn = message.author === room.page.author;
  if (isOwn) classes.push("is-own");
  if (message.kind !== "said" && message.kind !== "foreign") classes.push("is-aside");
  if (!("offset" in spoken)) classes.push("is-waiting");
  const when = element("time", "", "offset" in spoken ? clock(atMs) : "waiting");
  when.dateTime = new Date(atMs).toISOString();
  return element(
    "li",
    classes.join(" "),
    element("span", "offset", "offset" in spoken ? String(spoken.offset) : "·"),
    element("span", "who", "name" in message ? message.name : "shell"),
    element("span", "what", text(message)),
    when,
  );
}

function text(message: Entry["message"]): string {
  switch (message.kind) {
    case "said":
    case "foreign":
      return message.text;
    case "joined":
      return "is here";
    case "ran":
      return `report: ${message.outcome}`;
    case "step":
      return `step ${message.number} of ${message.stepCount}`;
  }
}

function clock(atMs: number): string {
  return new Date(atMs).toTimeString().slice(0, 8);
}

const nearPx = 60;
const lineCountMax = 400;
