/** What waits for the application to take it, channel by channel. */

import type { GapReason } from "./codes.js";
import { deferred, type Deferred } from "./pending.js";
import type { Json, Member, Place } from "./wire/frames.js";

/** Something of a channel. */
export type ChannelItem = EventItem | GapItem | PresenceItem | SubscribedItem;

/** What every item has. */
export interface OfChannel {
  /** The channel's name; of an inbox, `$session/…` or `$principal/…`. */
  readonly channel: string;
}

/** An event. It has `payload`, or `data` where the payload is bytes and no JSON. */
export type EventItem = OfChannel &
  Place & {
    readonly type: "event";
    /** When the server took it, in milliseconds since 1970. */
    readonly atMs: number;
  } & (
    { readonly payload: Json; readonly data?: undefined } | { readonly data: Uint8Array; readonly payload?: undefined }
  );

/** Events `from` to `to` of `fromEpoch` cannot be delivered. The next one comes from behind `offset`
 * in `epoch`. */
export interface GapItem extends OfChannel, Place {
  readonly type: "gap";
  readonly fromEpoch: string;
  readonly from: number;
  /** Absent when nobody knows: another epoch has begun. */
  readonly to?: number | undefined;
  readonly reason: GapReason;
}

/** Members that came and went since the last one, or since the subscription began. */
export interface PresenceItem extends OfChannel {
  readonly type: "presence";
  readonly joined: readonly Member[];
  readonly left: readonly Member[];
  readonly memberCount: number;
}

/** The subscription has begun, or goes on after a resume. Events come from behind `offset`, and a
 * watcher's members come anew. */
export interface SubscribedItem extends OfChannel, Place {
  readonly type: "subscribed";
  /** The newest event of the channel. */
  readonly head: number;
  readonly memberCount: number;
}

/** What a subscription wants of the driver. */
export interface SubscriptionOwner {
  consumed(channel: string, place: Place): void;
  hasRoom(): void;
  close(): void;
  unsubscribe(): Promise<void>;
}

/**
 * What a session hears of one channel, or of its inboxes: in order, each item once, with a gap
 * wherever something is missing. For one consumer.
 *
 * When the next item is asked for, the one before counts as **consumed**: the session's cursor moves
 * behind it, and it does not come again. The store has the cursor within a second; a page that goes
 * before gets what it consumed since then again. Leaving a loop (`break`, an exception) closes the
 * subscription and leaves the item at hand unconsumed.
 *
 * While it is not read, a bounded number of items waits. What comes beyond that is not kept but asked
 * for again once there is room: order, gaps and single delivery hold, and memory stays bounded.
 */
export class Subscription implements AsyncIterableIterator<ChannelItem> {
  readonly #owner: SubscriptionOwner;
  /** With the bytes that each counts for. */
  #items: [item: ChannelItem, bytes: number][] = [];
  #bytes = 0;
  /** What was given to the application last. */
  #given: ChannelItem | undefined;
  #waiting: Deferred<IteratorResult<ChannelItem, undefined>> | undefined;
  #end: { readonly error: Error | undefined } | undefined;

  /** @internal */
  constructor(owner: SubscriptionOwner) {
    this.#owner = owner;
  }

  /** The next item. Rejects when the server ends the subscription ({@link SubscriptionError}) or the
   * session ({@link SessionOver}). */
  async next(): Promise<IteratorResult<ChannelItem, undefined>> {
    this.consumed();
    const first = this.#items.shift();
    if (first) {
      const [item, bytes] = first;
      this.#bytes -= bytes;
      this.#given = item;
      this.#owner.hasRoom();
      return { value: item };
    }
    if (this.#end) {
      if (this.#end.error) {
        throw this.#end.error;
      }
      return DONE;
    }
    if (this.#waiting) {
      throw new TypeError("read already");
    }
    this.#waiting = deferred();
    return this.#waiting.promise;
  }

  /** The last item is done with, without another being asked for. */
  consumed(): void {
    const given = this.#given;
    this.#given = undefined;
    if (given?.type === "event" || given?.type === "gap") {
      this.#owner.consumed(given.channel, given);
    }
  }

  /** Listens no longer. The session keeps its place, and the next subscription to the channel goes on
   * there. */
  close(): void {
    if (!this.#end) {
      this.finish();
      this.#owner.close();
    }
  }

  /** Listens no longer and forgets the place, also for later runs: the next subscription begins at
   * its start. Resolves when that is stored. */
  async unsubscribe(): Promise<void> {
    this.finish();
    await this.#owner.unsubscribe();
  }

  /** Leaves a loop. */
  return(): Promise<IteratorResult<ChannelItem, undefined>> {
    this.close();
    return Promise.resolve(DONE);
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  /** @internal */
  push(item: ChannelItem, bytes: number): void {
    if (this.#end) {
      return;
    }
    const waiting = this.#waiting;
    if (waiting) {
      this.#waiting = undefined;
      this.#given = item;
      waiting.resolve({ value: item });
    } else {
      this.#items.push([item, bytes]);
      this.#bytes += bytes;
    }
  }

  /** Whether so many items and bytes would be too many. @internal */
  holds(count: number, bytes: number): boolean {
    return this.#items.length >= count || this.#bytes >= bytes;
  }

  /** Nothing more comes. What waits can still be read if the server or the session ended it.
   * @internal */
  finish(error?: Error): void {
    this.#end ??= { error };
    const waiting = this.#waiting;
    this.#waiting = undefined;
    if (error) {
      waiting?.reject(error);
    } else {
      waiting?.resolve(DONE);
    }
  }
}

const DONE = { done: true, value: undefined } as const;
