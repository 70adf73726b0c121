/** Subscriptions: where each channel stands, and what the next event must be. */

import type {
  ClientFrame,
  Event,
  Gap,
  Place,
  Presence,
  Problem,
  Subscribe,
  Subscribed,
  Unsubscribed,
} from "../wire/frames.js";
import { SubscriptionError } from "../errors.js";
import type { Failure } from "./output.js";
import { OVER } from "./requests.js";
import { advance, change, fault, isOpen, isOver, noteArrivals, tell, transmit, type ClientSession } from "./session.js";
import { isInbox, placeOf, sessionInbox, subscribeTo } from "./state.js";

/** What is known of a channel besides what survives the process. */
export interface Channel {
  /** The last place that was handed to the application; the cursor follows it. */
  received: Place | undefined;
  /** The application's queue is full: what comes is dropped and asked for again later. */
  isPaused: boolean;
  /** The log was set back from here to the cursor, and gives these offsets a second time: until the
   * application is past the gap nobody can tell which it means. */
  setBackFrom: number;
}

/**
 * Listens to a channel over all connections and sessions, where the application left it: behind the
 * cursor if there is one, else from its start.
 * @throws {SubscriptionError} There are too many, or the session is over.
 */
export function attach(session: ClientSession, nowMs: number, wanted: Subscribe): void {
  advance(session, nowMs);
  if (isOver(session)) {
    throw new SubscriptionError(wanted.channel, "never_ran", OVER);
  }
  const { channel } = wanted;
  const known = session.saved.channels.get(channel);
  if (!known && session.saved.channels.size >= session.config.subscriptionCountMax) {
    throw new SubscriptionError(channel, "too_many_subscriptions", "too many");
  }
  const subscribe = known?.cursor ? { ...wanted, start: behind(known.cursor) } : wanted;
  change(session, { change: "subscribed", ...subscribe });
  listen(session, channel);
  wish(session, { type: "subscribe", ...subscribe });
}

/** Listens again to a channel that is known, in the way in which it was listened to. */
export function attachKnown(session: ClientSession, nowMs: number, channel: string): void {
  const saved = session.saved.channels.get(channel);
  if (saved) {
    attach(session, nowMs, subscribeTo(channel, saved));
  }
}

/** The application takes no more of a channel for the time being: nothing comes of it, and its
 * cursor stays, so that {@link attach} goes on there. */
export function detach(session: ClientSession, nowMs: number, channel: string): void {
  advance(session, nowMs);
  if (!isOver(session) && session.channels.delete(channel)) {
    wish(session, { type: "unsubscribe", channel });
  }
}

/** Listens no longer, and forgets where it was. */
export function unsubscribe(session: ClientSession, nowMs: number, channel: string): void {
  advance(session, nowMs);
  if (!isOver(session) && session.saved.channels.has(channel)) {
    const wasListened = session.channels.has(channel);
    dropChannel(session, channel, undefined);
    if (wasListened) {
      wish(session, { type: "unsubscribe", channel });
    }
  }
}

/**
 * The application has no room for more of a channel, and reading cannot pause. What comes of it from
 * now on is dropped, until {@link unpause} asks for it again behind the last that was handed over. A
 * member stays one.
 */
export function pause(session: ClientSession, nowMs: number, name: string): void {
  advance(session, nowMs);
  const channel = session.channels.get(name);
  if (channel && !channel.isPaused) {
    channel.isPaused = true;
    if (!isMember(session, name)) {
      wish(session, { type: "unsubscribe", channel: name });
    }
  }
}

/** There is room again. */
export function unpause(session: ClientSession, nowMs: number, name: string): void {
  advance(session, nowMs);
  const channel = session.channels.get(name);
  const saved = session.saved.channels.get(name);
  if (channel?.isPaused && saved) {
    channel.isPaused = false;
    const start = channel.received ? behind(channel.received) : saved.start;
    wish(session, { type: "subscribe", ...subscribeTo(name, saved), start });
  }
}

/**
 * The application has everything of a channel up to this place: of an event, its epoch and offset; of
 * a gap, those that the channel goes on from. The cursor moves there. Several that were handed over in
 * order may be consumed by naming the last.
 */
export function consumed(session: ClientSession, nowMs: number, channel: string, place: Place): void {
  advance(session, nowMs);
  const listened = session.channels.get(channel);
  const received = listened?.received;
  const saved = session.saved.channels.get(channel);
  if (!received || !saved) {
    return;
  }
  const { cursor } = saved;
  const isInCursorsEpoch = cursor?.epoch === place.epoch;
  const isBehindCursor = isInCursorsEpoch ? place.offset > cursor.offset : received.epoch === place.epoch;
  if (isInCursorsEpoch) {
    if (isBehindCursor && place.offset <= listened.setBackFrom) {
      return;
    }
    listened.setBackFrom = 0;
  }
  const wasReceived = received.epoch !== place.epoch || place.offset <= received.offset;
  if (isBehindCursor && wasReceived) {
    const count = isInCursorsEpoch ? place.offset - cursor.offset : 1;
    change(session, { change: "cursor_moved", channel, place: placeOf(place) });
    session.ackChannels.add(channel);
    noteArrivals(session, count);
  }
}

/** Whether the hello says where a channel stands, so that its events come. */
export function isInHello(session: ClientSession, name: string): boolean {
  const channel = session.channels.get(name);
  return channel !== undefined && (!channel.isPaused || isMember(session, name));
}

/** Subscribes to what no cursor in the hello has subscribed to, and lets go of what the application
 * has left since. What is unanswered as yet is what the hello named. */
export function sendSubscriptions(session: ClientSession): void {
  for (const channel of [...session.unanswered.keys()]) {
    if (!isInbox(channel) && !isInHello(session, channel)) {
      wish(session, { type: "unsubscribe", channel });
    }
  }
  for (const [channel, saved] of session.saved.channels) {
    const isNamed = saved.cursor !== undefined && session.unanswered.has(channel);
    if (!isNamed && isInHello(session, channel)) {
      wish(session, { type: "subscribe", ...subscribeTo(channel, saved) });
    }
  }
}

export function handleSubscribed(session: ClientSession, subscribed: Subscribed): void {
  const { channel: name } = subscribed;
  if (!isNewestAnswer(session, name) || !(session.channels.has(name) || isOwnInbox(session, name))) {
    return;
  }
  const channel = session.channels.get(name) ?? listen(session, name);
  // Where there is a place already, only events and gaps move it: nothing may be passed over without
  // a word.
  const { received } = channel;
  const place = placeOf(subscribed);
  // The log knows less than we do, and will give offsets a second time. The cursor goes back at once and
  // not when the gap is consumed: when the log has grown past it, nobody can tell that events are new.
  const isSetBack = received?.epoch === place.epoch && received.offset > subscribed.head;
  if (!received || isSetBack) {
    channel.received = place;
    change(session, { change: "cursor_moved", channel: name, place });
  }
  if (!channel.isPaused) {
    tell(session, subscribed);
  }
  if (isSetBack) {
    channel.setBackFrom = received.offset;
    tell(session, {
      ...place,
      type: "gap",
      channel: name,
      from_epoch: place.epoch,
      from: received.offset + 1,
      reason: "epoch",
    });
  }
}

export function handleUnsubscribed(session: ClientSession, { channel, error, message }: Unsubscribed): void {
  // Of a channel that is paused, it is the answer to our own wish.
  if (isNewestAnswer(session, channel) && (error || !session.channels.get(channel)?.isPaused)) {
    loseChannel(session, channel, error && { error, message: message ?? "" });
  }
}

/** A problem with a channel is the answer to a wish about it that cannot be granted. */
export function handleRefusedWish(session: ClientSession, { channel, error, message }: Problem): void {
  if (channel && session.unanswered.has(channel) && isNewestAnswer(session, channel)) {
    loseChannel(session, channel, { error, message });
  }
}

export function handleEvent(session: ClientSession, event: Event): void {
  const channel = listened(session, event.channel);
  const received = channel?.received;
  if (!received || event.offset <= received.offset) {
    return;
  }
  if (event.offset === received.offset + 1) {
    const told = { ...event, epoch: received.epoch };
    channel.received = placeOf(told);
    tell(session, told);
  } else {
    // A hole in the offsets of a channel.
    fault(session);
  }
}

export function handleGap(session: ClientSession, gap: Gap): void {
  const channel = listened(session, gap.channel);
  const told = channel?.received && gapToTell(channel.received, gap);
  if (told === "fault") {
    fault(session);
  } else if (channel && told) {
    channel.received = placeOf(told);
    tell(session, told);
  }
}

export function handlePresence(session: ClientSession, presence: Presence): void {
  if (listened(session, presence.channel)?.received) {
    tell(session, presence);
  }
}

/** What comes of a channel is for the application from now on, from behind its cursor. */
export function listen(session: ClientSession, name: string): Channel {
  const channel = { received: session.saved.channels.get(name)?.cursor, isPaused: false, setBackFrom: 0 };
  session.channels.set(name, channel);
  return channel;
}

/** Says what is wanted of a channel, if there is a server to say it to. */
function wish(session: ClientSession, frame: Extract<ClientFrame, { type: "subscribe" | "unsubscribe" }>): void {
  if (isOpen(session)) {
    expectAnswer(session, frame.channel);
    transmit(session, frame);
  }
}

/** A wish about a channel goes out: until the server has answered, what it says of the channel belongs
 * to an earlier one. */
export function expectAnswer({ unanswered }: ClientSession, channel: string): void {
  unanswered.set(channel, (unanswered.get(channel) ?? 0) + 1);
}

/** Counts an answer, and says whether it answers our newest wish, or none of them. */
function isNewestAnswer(session: ClientSession, channel: string): boolean {
  const count = session.unanswered.get(channel) ?? 0;
  if (count > 1) {
    session.unanswered.set(channel, count - 1);
    return false;
  }
  session.unanswered.delete(channel);
  return true;
}

/** A channel that is listened to, unless what comes now belongs to an earlier subscription. */
function listened(session: ClientSession, name: string): Channel | undefined {
  const channel = session.channels.get(name);
  return session.unanswered.has(name) || channel?.isPaused ? undefined : channel;
}

function isMember(session: ClientSession, channel: string): boolean {
  return session.saved.channels.get(channel)?.presence.startsWith("join") ?? false;
}

/** Only our own inboxes are subscribed without our asking. */
function isOwnInbox({ saved, principalInbox }: ClientSession, channel: string): boolean {
  return (saved.identity && sessionInbox(saved.identity.session)) === channel || principalInbox === channel;
}

/** The server lets us listen no longer. Where we were stays, for it may let us again. */
function loseChannel(session: ClientSession, channel: string, failure: Failure | undefined): void {
  if (!session.channels.delete(channel)) {
    return;
  }
  if (session.saved.channels.get(channel)?.cursor) {
    tell(session, { type: "unsubscribed", channel, failure });
  } else {
    dropChannel(session, channel, failure);
  }
}

function dropChannel(session: ClientSession, channel: string, failure: Failure | undefined): void {
  session.channels.delete(channel);
  session.ackChannels.delete(channel);
  change(session, { change: "unsubscribed", channel });
  tell(session, { type: "unsubscribed", channel, failure });
}

function behind({ epoch, offset }: Place): { after: number; epoch: string } {
  return { after: offset, epoch };
}

/**
 * What of a gap the application does not know yet, if anything. A server that we came back to counts
 * from the cursor, and the application may have more than that. `"fault"` of a gap that leaves a hole
 * of its own or contradicts itself.
 */
function gapToTell(received: Place, gap: Gap): Gap | "fault" | undefined {
  const isWithinEpoch = gap.from_epoch === gap.epoch;
  const isInReceivedEpoch = gap.epoch === received.epoch;
  const from = received.offset + 1;
  // Of a log that was set back, its head has told already.
  if (isInReceivedEpoch && gap.offset < from) {
    return undefined;
  }
  if (isWithinEpoch && (gap.to !== gap.offset || !isInReceivedEpoch || gap.from > from)) {
    return "fault";
  }
  const to = isInReceivedEpoch ? gap.offset : gap.to;
  return { ...gap, from_epoch: received.epoch, from, to: (to ?? 0) < from ? undefined : to };
}
