/** The application's side of a session. */

import type { Handler, RequestOptions, SessionState, WebSocketConstructor } from "./driver/config.js";
import { finish, makeDriver, start, type Driver } from "./driver/driver.js";
import { subscribe } from "./driver/queues.js";
import { send } from "./driver/requests.js";
import { SessionOver } from "./errors.js";
import { RECONNECT_DEFAULTS, type ReconnectPolicy } from "./driver/reconnect.js";
import { readDone, readPublished, type Pending, type Restored } from "./pending.js";
import { SESSION_DEFAULTS } from "./session/config.js";
import type { StateStore } from "./store/store.js";
import type { ChannelItem, Subscription } from "./subscription.js";
import type { Delivery, Encoding, Json, Place, PresenceMode, Start } from "./wire/frames.js";
import { json } from "./wire/json.js";
import { isWellFormed, payloadOf } from "./wire/payload.js";

/** How a session is made. */
export interface ConnectOptions {
  /** The name and version of the application, for the server's log. Default `mainstay-ts/VERSION`. */
  readonly client?: string;
  /** Where the session's state is kept. Default: nowhere, so that it lives as long as the page or
   * process. With a durable store, nothing is sent that is not stored. */
  readonly store?: StateStore;
  /** How frames are written. Default JSON. */
  readonly encoding?: Encoding;
  /** The WebSocket class. Default `globalThis.WebSocket`; where there is none, the package `ws`. */
  readonly webSocket?: WebSocketConstructor;
  readonly timing?: Partial<Timing>;
  readonly limits?: Partial<Limits>;
  readonly reconnect?: Partial<ReconnectPolicy>;
}

/** Times in milliseconds. */
export interface Timing {
  /** An attempt to connect is given up after this time. Default 10,000. */
  readonly connectTimeoutMs: number;
  /** The server's welcome must come within this time. Default 10,000. */
  readonly welcomeTimeoutMs: number;
  /** Silence is tolerated for this long beyond the interval that the server announced. Default
   * 10,000. */
  readonly silenceMarginMs: number;
  /** An event or outcome is acknowledged after this time at the latest. Default 1,000. */
  readonly ackDelayMs: number;
  /** {@link Session.end} waits this long for the server's answer. Default 5,000. */
  readonly byeTimeoutMs: number;
}

/** Bounds of what a session holds in memory. */
export interface Limits {
  /** Requests without an outcome. Past it, a request fails at once (`never_ran`, `busy`). Default
   * 4,096. */
  readonly outboxCountMax: number;
  /** Bytes of the same. Default 16 MiB. */
  readonly outboxBytesMax: number;
  /** Bytes of requests that may be with the server without an outcome; one alone may have more.
   * Default 512 KiB. */
  readonly flightBytesMax: number;
  /** Channels whose place is known, inboxes included. Default 256; the server has a limit of its
   * own. */
  readonly subscriptionCountMax: number;
  /** Commands of the server that run or whose replies are not known to be safe. Default 1,024. */
  readonly commandCountMax: number;
  /** Items of one channel that wait to be read. Default 256. */
  readonly queueCountMax: number;
  /** Bytes of the same, exceeded by one item at most. Default 1 MiB. */
  readonly queueBytesMax: number;
}

/** How a channel is listened to. */
export interface SubscribeOptions {
  /** Where it begins, unless the session has a place in the channel: then it goes on there. Default
   * `"now"`. */
  readonly start?: Start;
  /** Which events. Default every one. */
  readonly delivery?: Delivery;
  /** What of the members. Default nothing. */
  readonly presence?: PresenceMode;
  /** Closes the subscription. */
  readonly signal?: AbortSignal;
}

/** The state of a session has changed. */
export class StateEvent extends Event {
  /** @internal */
  constructor(
    /** The new state. */
    readonly state: SessionState,
  ) {
    super("state");
  }
}

/**
 * A session with the server at a `ws:` or `wss:` URL: a conversation that goes on while connections
 * come and go, and with a durable store while pages and processes do. It connects by itself and never
 * gives up, unless the server says so.
 * @throws {TypeError} The URL or an option is none.
 */
export function connect(url: string | URL, options: ConnectOptions = {}): Session {
  return new Session(url, options);
}

/** What listens to a session. */
export interface SessionEvents extends EventTarget {
  addEventListener(
    type: "state",
    listener: (event: StateEvent) => void,
    options?: boolean | AddEventListenerOptions,
  ): void;
  addEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject | null,
    options?: boolean | AddEventListenerOptions,
  ): void;
}

/** A session with a server; {@link connect} makes it. Sends `"state"` events ({@link StateEvent}). */
export class Session extends (EventTarget as new () => SessionEvents) {
  readonly #driver: Driver;

  /** @internal */
  constructor(url: string | URL, options: ConnectOptions) {
    super();
    const { client = CLIENT, encoding = json, timing, limits, reconnect } = options;
    const { href } = new URL(url);
    const config = {
      ...DEFAULTS,
      ...options,
      ...timing,
      ...limits,
      ...reconnect,
      url: href.replace(/^http/, "ws").replace(/#.*/, ""),
      client: wellFormed(client),
      encoding,
      random: Math.random,
    };
    if (!/^wss?:/.test(config.url)) {
      throw new TypeError(`no WebSocket URL: ${href}`);
    }
    this.#driver = makeDriver(config, () => {
      this.dispatchEvent(new StateEvent(this.state));
    });
    void start(this.#driver);
  }

  /** Resolves when the store has been read. Rejects with {@link SessionOver} if it cannot be. */
  get ready(): Promise<void> {
    return this.#driver.started.promise;
  }

  /** What the session is doing. */
  get state(): SessionState {
    return this.#driver.current;
  }

  /** The requests that an earlier run of this store has left without an outcome, once it has been
   * read. They are sent and kept like any other. */
  get restored(): readonly Restored[] {
    return this.#driver.restored;
  }

  /**
   * Asks for a command to be run, at most once, whatever becomes of connections. The payload is any
   * JSON value, or bytes; so is the result.
   * @throws {TypeError} The command or the payload cannot be said.
   */
  request(command: string, payload?: Json | Uint8Array, options: RequestOptions = {}): Pending<Json | Uint8Array> {
    const call = { command: wellFormed(command), payload: payloadOf(payload) };
    return send(this.#driver, call, options, readDone);
  }

  /**
   * Appends an event to a channel, exactly once. Resolves to its place when it is stored there.
   * @throws {TypeError} The channel's name is none, or the payload cannot be said.
   */
  publish(channel: string, payload: Json | Uint8Array, options: RequestOptions = {}): Pending<Place> {
    const call = { channel: channelName(channel), payload: payloadOf(payload) };
    return send(this.#driver, call, options, readPublished);
  }

  /**
   * Listens to a channel: where the session left it if it has listened before, in this run or (with a
   * store) an earlier one, else from `options.start` on. With a callback, the next item waits for the
   * promise of the one before; if that rejects, the subscription is closed with the item unconsumed. That,
   * and a server that refuses the channel, is an unhandled rejection: iterate to catch it.
   * @throws {TypeError} The channel's name is none, or it is listened to already.
   */
  subscribe(
    channel: string,
    options: SubscribeOptions = {},
    callback?: (item: ChannelItem) => void | Promise<void>,
  ): Subscription {
    const { start = "now", delivery = "every", presence = "none", signal } = options;
    const wanted = { channel: channelName(channel), start, delivery, presence };
    const subscription = subscribe(this.#driver, wanted, signal);
    if (callback) {
      void consume(subscription, callback);
    }
    return subscription;
  }

  /**
   * What is sent to this session, or to its principal, alone.
   * @throws {TypeError} There is a subscription already.
   */
  inbox(): Subscription {
    return subscribe(this.#driver);
  }

  /** Runs `handler` for the server's commands of this name, several at once if they come. What comes
   * before is answered with `never_ran`, so name handlers in the turn of {@link connect}. */
  handle(command: string, handler: Handler): void {
    this.#driver.handlers.set(command, handler);
  }

  /** Leaves the session to itself: the server keeps it for its time, and whoever has its store goes on
   * with it. Resolves when everything is stored and the store free. */
  close(): Promise<void> {
    return finish(this.#driver, "left");
  }

  /** Ends the session for good: the server forgets it, and the store holds none any more. Requests
   * without an outcome get one now. */
  end(): Promise<void> {
    return finish(this.#driver, "ended");
  }
}

async function consume(
  subscription: Subscription,
  callback: (item: ChannelItem) => void | Promise<void>,
): Promise<void> {
  try {
    for await (const item of subscription) {
      await callback(item);
    }
  } catch (error) {
    // The end of the session is told by its state.
    if (!(error instanceof SessionOver)) {
      throw error;
    }
  }
}

function channelName(channel: string): string {
  if (!/^[A-Za-z0-9._:/-]{1,128}$/.test(channel)) {
    throw new TypeError(`no channel: ${channel}`);
  }
  return channel;
}

function wellFormed(text: string): string {
  if (!isWellFormed(text)) {
    throw new TypeError(`no text: ${text}`);
  }
  return text;
}

const DEFAULTS = {
  ...SESSION_DEFAULTS,
  ...RECONNECT_DEFAULTS,
  connectTimeoutMs: 10_000,
  queueCountMax: 256,
  queueBytesMax: 1024 * 1024,
};
const CLIENT = "mainstay-ts/0.1.0";
