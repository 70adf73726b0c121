/** What of a client session must survive the process, and every way in which it changes. */

import type { Delivery, Outcome, Payload, Place, PresenceMode, Standing, Start, Subscribe } from "../wire/frames.js";
import { bytesOf, utf8Bytes } from "../wire/payload.js";

/** What of a client session must survive the process. Its parts are replaced, never changed. */
export interface SavedState {
  /** The session to come back to. */
  identity: Identity | undefined;
  /** The key of the next request. */
  nextKey: number;
  /** The number that the next request gets on the wire. */
  nextNumber: number;
  /** Requests without an outcome, by key, in order. Those with a number come before those without.
   * The number changes when a new session begins, the key does not. */
  requests: Map<number, SavedRequest>;
  /** The channels whose place is known. */
  channels: Map<string, SavedChannel>;
  /** The highest number of the server's commands that was accepted. */
  accepted: number;
  /** The server's commands that were accepted and whose replies are not known to be safe; `null`
   * while there is no reply. */
  answers: Map<number, Outcome | null>;
}

/** A session and the secret that proves it is ours. */
export interface Identity {
  readonly session: string;
  readonly token: string;
}

/** A request without an outcome. */
export interface SavedRequest {
  readonly call: Call;
  /** When the outcome is no longer wanted, in milliseconds since 1970. */
  readonly deadlineAtMs: number | undefined;
  /** The number under which it may have been sent in the present session. */
  readonly number: number | undefined;
  /** Why it never will be. Then it has no number, and the application may have been told. */
  readonly givenUp?: Outcome;
}

/** What a request asks for: that a command be run, or that an event be appended. */
export type Call =
  { readonly command: string; readonly payload: Payload } | { readonly channel: string; readonly payload: Payload };

/** A channel whose place is known. */
export interface SavedChannel {
  /** Where the subscription begins, as long as there is no cursor. */
  readonly start: Start;
  readonly delivery: Delivery;
  readonly presence: PresenceMode;
  /** The last event that reached the application, or the place from which events will come. */
  readonly cursor: Place | undefined;
}

/** One change of what a session keeps. Plain data: it may be cloned, and all but the bytes of
 * payloads written as JSON. */
export type StateChange =
  /** A request was made. */
  | {
      readonly change: "requested";
      readonly key: number;
      readonly call: Call;
      readonly deadlineAtMs?: number | undefined;
    }
  /** A request may be sent from now on, under this number. */
  | { readonly change: "numbered"; readonly key: number; readonly number: number }
  /** A request was not sent and never will be, in this run or a later one. It is kept until the
   * application was told. */
  | { readonly change: "given_up"; readonly key: number; readonly outcome: Outcome }
  /** A request has its outcome. */
  | { readonly change: "settled"; readonly key: number }
  /** The server has answered a hello. */
  | { readonly change: "welcomed"; readonly standing: Standing; readonly identity: Identity; readonly accepted: number }
  /** The session cannot be had back; the next hello will open a new one. */
  | { readonly change: "forgotten" }
  /** The session was ended by the application. */
  | { readonly change: "ended" }
  /** A channel is to be listened to. */
  | ({ readonly change: "subscribed" } & Subscribe)
  /** A channel is no longer to be listened to. */
  | { readonly change: "unsubscribed"; readonly channel: string }
  /** Everything up to this place reached the application. */
  | { readonly change: "cursor_moved"; readonly channel: string; readonly place: Place }
  /** One more of the server's commands was accepted. */
  | { readonly change: "command_accepted"; readonly number: number }
  /** A command of the server has its reply. */
  | { readonly change: "command_answered"; readonly number: number; readonly outcome: Outcome }
  /** The server needs no replies up to this number. */
  | { readonly change: "answers_safe"; readonly number: number }
  /** The counters of a state that is written anew. Its other parts follow as changes. */
  | {
      readonly change: "counted";
      readonly identity: Identity | undefined;
      readonly nextKey: number;
      readonly nextNumber: number;
      readonly accepted: number;
    };

/** A state of which nothing is known yet. */
export function emptyState(): SavedState {
  return {
    identity: undefined,
    nextKey: 1,
    nextNumber: 1,
    requests: new Map(),
    channels: new Map(),
    accepted: 0,
    answers: new Map(),
  };
}

/** Changes a state. A change that does not fit, which no session makes, changes nothing. */
export function applyChange(state: SavedState, change: StateChange): void {
  switch (change.change) {
    case "requested":
      state.requests.set(change.key, { call: change.call, deadlineAtMs: change.deadlineAtMs, number: undefined });
      state.nextKey = Math.max(state.nextKey, change.key + 1);
      break;
    case "numbered":
      amend(state, change.key, { number: change.number });
      state.nextNumber = Math.max(state.nextNumber, change.number + 1);
      break;
    case "given_up":
      amend(state, change.key, { givenUp: change.outcome });
      break;
    case "settled":
      state.requests.delete(change.key);
      break;
    case "welcomed":
      if (change.standing === "resumed") {
        unnumberAbove(state, change.accepted);
        state.nextNumber = change.accepted + 1;
      } else {
        beginSession(state, change.standing, change.accepted);
      }
      state.identity = change.identity;
      break;
    case "forgotten":
      beginSession(state, "unknown", 0);
      state.identity = undefined;
      break;
    case "ended":
      Object.assign(state, { ...emptyState(), nextKey: state.nextKey });
      break;
    case "subscribed": {
      const { channel, start, delivery, presence } = change;
      state.channels.set(channel, { start, delivery, presence, cursor: cursorOf(start) });
      break;
    }
    case "unsubscribed":
      state.channels.delete(change.channel);
      break;
    case "cursor_moved":
      state.channels.set(change.channel, {
        ...(state.channels.get(change.channel) ?? INBOX),
        cursor: change.place,
      });
      break;
    case "command_accepted":
      state.accepted = Math.max(state.accepted, change.number);
      state.answers.set(change.number, null);
      break;
    case "command_answered":
      state.answers.set(change.number, change.outcome);
      break;
    case "answers_safe":
      for (const number of state.answers.keys()) {
        if (number <= change.number) {
          state.answers.delete(number);
        }
      }
      break;
    case "counted": {
      const { identity, nextKey, nextNumber, accepted } = change;
      Object.assign(state, { identity, nextKey, nextNumber, accepted });
    }
  }
}

/** The changes that lead from nothing to a state. */
export function toChanges(state: SavedState): StateChange[] {
  const { identity, nextKey, nextNumber, accepted } = state;
  const changes: StateChange[] = [{ change: "counted", identity, nextKey, nextNumber, accepted }];
  for (const [key, { call, deadlineAtMs, number, givenUp }] of state.requests) {
    changes.push({ change: "requested", key, call, deadlineAtMs });
    if (number !== undefined) {
      changes.push({ change: "numbered", key, number });
    }
    if (givenUp) {
      changes.push({ change: "given_up", key, outcome: givenUp });
    }
  }
  for (const [channel, saved] of state.channels) {
    changes.push({ change: "subscribed", ...subscribeTo(channel, saved) });
    if (saved.cursor) {
      changes.push({ change: "cursor_moved", channel, place: saved.cursor });
    }
  }
  for (const [number, outcome] of state.answers) {
    changes.push({ change: "command_accepted", number });
    if (outcome) {
      changes.push({ change: "command_answered", number, outcome });
    }
  }
  return changes;
}

/** Requests about which nobody will ever know more (PROTOCOL.md, "Opening and resuming"). */
export function doubtful(state: SavedState, standing: Standing, accepted: number): number[] {
  const upTo = standing === "expired" ? accepted : standing === "unknown" ? Infinity : 0;
  return [...state.requests].filter(([, { number }]) => number && number <= upTo).map(([key]) => key);
}

/** What a channel was subscribed to with. */
export function subscribeTo(channel: string, { start, delivery, presence }: SavedChannel): Subscribe {
  return { channel, start, delivery, presence };
}

/** Bytes that the application gave. */
export function callBytes(call: Call): number {
  return utf8Bytes("command" in call ? call.command : call.channel) + bytesOf(call.payload);
}

/** A place without what else its frame says. */
export function placeOf({ epoch, offset }: Place): Place {
  return { epoch, offset };
}

/** The inbox of a session. */
export function sessionInbox(session: string): string {
  return `$session/${session}`;
}

/** Whether a channel is the inbox of a session or a principal. */
export function isInbox(channel: string): boolean {
  return channel.startsWith("$");
}

function beginSession(state: SavedState, standing: Standing, accepted: number): void {
  for (const key of doubtful(state, standing, accepted)) {
    state.requests.delete(key);
  }
  unnumberAbove(state, 0);
  state.nextNumber = 1;
  state.accepted = 0;
  state.answers.clear();
  if (state.identity) {
    state.channels.delete(sessionInbox(state.identity.session));
  }
}

/** What the server has not accepted is free to be numbered anew. */
function unnumberAbove(state: SavedState, accepted: number): void {
  for (const [key, { number = 0 }] of state.requests) {
    if (number > accepted) {
      amend(state, key, { number: undefined });
    }
  }
}

function amend({ requests }: SavedState, key: number, part: Partial<SavedRequest>): void {
  const request = requests.get(key);
  if (request) {
    requests.set(key, { ...request, ...part });
  }
}

function cursorOf(start: Start): Place | undefined {
  const { after = 0, epoch } = start as { after?: number; epoch?: string };
  return epoch ? { epoch, offset: after } : undefined;
}

/** A subscription that the server makes. */
const INBOX: SavedChannel = { start: "now", delivery: "every", presence: "none", cursor: undefined };
