/** What comes of channels, on its way to the application. */

import { occasion } from "../pending.js";
import { attach, attachKnown, consumed, detach, pause, unpause, unsubscribe } from "../session/channels.js";
import type { SessionEvent } from "../session/output.js";
import { isInbox } from "../session/state.js";
import { Subscription, type ChannelItem } from "../subscription.js";
import type { Subscribe } from "../wire/frames.js";
import { bytesOf } from "../wire/payload.js";
import { inform, wish, work, type Driver } from "./driver.js";
import { itemOf } from "./item.js";
import { listenToAbort } from "./requests.js";

export function subscribe(driver: Driver, wanted?: Subscribe, signal?: AbortSignal): Subscription {
  const name = wanted?.channel ?? INBOXES;
  if (driver.queues.has(name)) {
    throw new TypeError(`${name}: read already`);
  }
  const subscription = new Subscription({
    consumed: (channel, place) => {
      inform(driver, consumed, channel, place);
    },
    hasRoom: () => {
      makeRoom(driver, name, subscription);
    },
    close: () => {
      detachQueue(driver, name, subscription, detach);
    },
    unsubscribe: async () => {
      detachQueue(driver, name, subscription, unsubscribe);
      // Resolves when all that was wanted until now is safe.
      const { promise, resolve } = occasion();
      driver.kept.push(resolve);
      wish(driver, () => {
        work(driver);
      });
      await (driver.whyOver ? undefined : promise);
    },
  });
  driver.queues.set(name, subscription);
  wish(driver, () => {
    if (driver.queues.get(name) === subscription) {
      attachQueue(driver, wanted, subscription);
    }
  });
  listenToAbort(signal, () => {
    subscription.close();
  });
  return subscription;
}

export function deliver(
  driver: Driver,
  frame: Extract<SessionEvent, { channel: string; type: ChannelItem["type"] }>,
): void {
  // Without a queue, the channel is about to be let go of, and its cursor stays.
  const name = isInbox(frame.channel) ? INBOXES : frame.channel;
  const queue = driver.queues.get(name);
  queue?.push(itemOf(frame), frame.type === "event" ? bytesOf(frame.payload) : ITEM_BYTES);
  if (queue?.holds(driver.config.queueCountMax, driver.config.queueBytesMax)) {
    for (const channel of channelsOf(driver, name)) {
      inform(driver, pause, channel);
    }
  }
}

function attachQueue(driver: Driver, wanted: Subscribe | undefined, subscription: Subscription): void {
  if (driver.whyOver) {
    subscription.finish(driver.whyOver);
    return;
  }
  try {
    if (wanted) {
      inform(driver, attach, wanted);
    } else {
      for (const inbox of channelsOf(driver, INBOXES)) {
        inform(driver, attachKnown, inbox);
      }
    }
  } catch (error) {
    driver.queues.delete(wanted?.channel ?? INBOXES);
    subscription.finish(error as Error);
  }
}

/** Lets go of a channel in one of two ways. */
function detachQueue(driver: Driver, name: string, subscription: Subscription, leave: typeof detach): void {
  if (driver.queues.get(name) !== subscription) {
    return;
  }
  driver.queues.delete(name);
  for (const channel of channelsOf(driver, name)) {
    inform(driver, name === INBOXES ? detach : leave, channel);
  }
}

/** An item was taken out of a queue. It is filled again when half of it is free, so that not every
 * item costs a subscription. */
function makeRoom(driver: Driver, name: string, queue: Subscription): void {
  const { queueCountMax, queueBytesMax } = driver.config;
  if (!queue.holds(Math.ceil(queueCountMax / 2), Math.ceil(queueBytesMax / 2))) {
    for (const channel of channelsOf(driver, name)) {
      inform(driver, unpause, channel);
    }
  }
}

/** The channels whose items go into a queue. */
function channelsOf(driver: Driver, name: string): string[] {
  return name === INBOXES ? [...(driver.machine?.saved.channels.keys() ?? [])].filter(isInbox) : [name];
}

/** Where what comes of all inboxes goes: the name of no channel. */
export const INBOXES = "the inbox";
/** What an item without a payload counts for. */
const ITEM_BYTES = 128;
