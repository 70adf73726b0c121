/** Carries out what the state machine says: WebSocket, timers, store. It makes no decision about the
 * protocol. */

import { RequestError, SessionOver, SubscriptionError } from "../errors.js";
import { ask, deferred, readAny, type Asked, type Pending, type Restored } from "../pending.js";
import { answer } from "../session/commands.js";
import { attach, attachKnown, consumed, detach, pause, unpause, unsubscribe } from "../session/channels.js";
import type { SessionConfig } from "../session/config.js";
import { needsSafety, type CloseReason, type Output, type SessionEvent } from "../session/output.js";
import { call, cancel, failed } from "../session/requests.js";
import {
  dropOutput,
  endSession,
  handleClosed,
  handleFrame,
  handleOpen,
  handleTimeout,
  handleViolation,
  leaveSession,
  nextOutput,
  nextTimeout,
  openSession,
  type ClientSession,
} from "../session/session.js";
import { applyChange, callBytes, emptyState, isInbox, type Call, type StateChange } from "../session/state.js";
import type { StateStore } from "../store/store.js";
import { Subscription, type ChannelItem } from "../subscription.js";
import type { Json, Outcome, Payload, Request, Standing, Subscribe } from "../wire/frames.js";
import { bytesOf, payloadOf, toWellFormed, valueOf } from "../wire/payload.js";
import { Clock } from "./clock.js";
import { listenToPage } from "./page.js";
import { Reconnect, type ReconnectPolicy } from "./reconnect.js";

/** What a driver is made with. */
export interface DriverConfig {
  readonly url: string;
  readonly store: StateStore | undefined;
  readonly webSocket: WebSocketConstructor | undefined;
  readonly session: SessionConfig;
  readonly reconnect: ReconnectPolicy;
  /** From the first look at the resolver to the end of the handshake. */
  readonly connectTimeoutMs: number;
  /** Items of one channel that wait to be read. */
  readonly queueCountMax: number;
  /** Bytes of the same, exceeded by one item at most. */
  readonly queueBytesMax: number;
}

/** A WebSocket class: the browser's, Node's from 22 on, that of `ws`, or one derived from them. */
export type WebSocketConstructor = new (url: string, protocols: string) => object;

/** What a session is doing. */
export type SessionState =
  | {
      /** The store is read, the server dialled, or its welcome awaited. */
      readonly name: "connecting";
      /** Retries since a connection last lasted. */
      readonly attempt: number;
    }
  | {
      /** The server has welcomed us. */
      readonly name: "open";
      /** What became of the session that was wanted back. */
      readonly standing: Standing;
      /** The session's public id. */
      readonly session: string;
      /** How many connections it has had. */
      readonly generation: number;
      /** Who it belongs to, if the server says so. */
      readonly principal: string | undefined;
      /** The server's name and version. */
      readonly server: string;
    }
  | {
      /** There is no connection; the session is not lost. It is dialled again. */
      readonly name: "waiting";
      /** The number of the coming attempt since a connection last lasted, from 1. */
      readonly attempt: number;
      /** When it comes, in milliseconds since 1970. */
      readonly retryAtMs: number;
      /** Why there is none: `failed` to connect, `closed` by the server, `lost` without a Close frame,
       * `suspended` with its page, or given up by this side. */
      readonly reason: "failed" | "closed" | "lost" | "suspended" | CloseReason;
      /** The code of the server's Close frame. */
      readonly code: number | undefined;
    }
  | {
      /** The session is over for this program. No state follows. */
      readonly name: "over";
      readonly error: SessionOver;
    };

/** Runs a command of the server's. What it throws is told to the server as `handler_failed`. */
export type Handler = (
  payload: Json | Uint8Array,
  command: {
    /** Its number in the session. A handler that began runs at most once for each. */
    readonly number: number;
    /** Aborted when the outcome is no longer wanted. */
    readonly signal: AbortSignal;
    /** How long the outcome is wanted, in milliseconds. */
    readonly deadlineMs: number | undefined;
  },
) => Json | Uint8Array | undefined | Promise<Json | Uint8Array | undefined>;

/** The one driver of a session. */
export class Driver {
  state: SessionState = { name: "connecting", attempt: 0 };
  readonly restored: Restored[] = [];
  readonly handlers = new Map<string, Handler>();
  readonly #config: DriverConfig;
  readonly #tellState: () => void;
  readonly #clock = new Clock();
  readonly #reconnect: Reconnect;
  readonly #ready = deferred<undefined>();
  readonly #closed = deferred<undefined>();
  readonly #page = new AbortController();
  #machine: ClientSession | undefined;
  /** What the application wants before the store has been read. */
  #early: (() => void)[] = [];
  #earlyBytes = 0;
  #cause: SessionOver | undefined;
  #isWorking = false;

  // The connection.
  #socket: WebSocket | undefined;
  #webSocket: WebSocketConstructor | undefined;
  #connectByMs = Infinity;
  #retryAtMs = Infinity;
  #timer: ReturnType<typeof setTimeout> | undefined;

  // The store.
  #dirty: StateChange[] = [];
  #dirtySinceMs = Infinity;
  #isCommitting = false;
  /** What returns once everything is safe. */
  #kept: (() => void)[] = [];

  // The application.
  readonly #asked = new Map<number, Asked<unknown>>();
  readonly #queues = new Map<string, Subscription>();
  readonly #running = new Map<number, AbortController>();

  constructor(config: DriverConfig, tellState: () => void) {
    this.#config = config;
    this.#tellState = tellState;
    this.#reconnect = new Reconnect(config.reconnect, config.session.random);
    void this.#start();
  }

  get ready(): Promise<void> {
    return this.#ready.promise;
  }

  // What the application wants.

  send<T>(
    call: Call,
    deadlineMs: number | undefined,
    signal: AbortSignal | undefined,
    read: (outcome: Outcome) => T,
  ): Pending<T> {
    let key: number | undefined;
    let isCancelled = false;
    const asked = ask(read, () => {
      isCancelled = true;
      this.#cancel(key);
    });
    const deadlineAtMs = deadlineMs === undefined ? undefined : this.#clock.now() + deadlineMs;
    this.#wish(callBytes(call), asked, () => {
      key = this.#call(call, deadlineAtMs, asked);
      if (isCancelled) {
        this.#cancel(key);
      }
    });
    // A signal may live for longer than many requests.
    const ignore = listenToAbort(signal, asked.pending.cancel);
    asked.pending.then(ignore, ignore);
    return asked.pending;
  }

  subscribe(wanted: Subscribe | undefined, signal: AbortSignal | undefined): Subscription {
    const name = wanted?.channel ?? INBOXES;
    if (this.#queues.has(name)) {
      throw new TypeError(`${wanted?.channel ?? "the inbox"} is listened to already`);
    }
    const subscription = new Subscription({
      consumed: (channel, place) => {
        this.#do((machine, nowMs) => {
          consumed(machine, nowMs, channel, place);
        });
      },
      hasRoom: () => {
        this.#makeRoom(name, subscription);
      },
      close: () => {
        this.#close(name, subscription, detach);
      },
      unsubscribe: async () => {
        this.#close(name, subscription, unsubscribe);
        await this.#safe();
      },
    });
    this.#queues.set(name, subscription);
    this.#wish(0, undefined, () => {
      if (this.#queues.get(name) === subscription) {
        this.#attach(wanted, subscription);
      }
    });
    listenToAbort(signal, () => {
      subscription.close();
    });
    return subscription;
  }

  finish(how: "left" | "ended"): Promise<void> {
    this.#wish(0, undefined, () => {
      this.#do(how === "left" ? leaveSession : endSession);
    });
    return this.#closed.promise;
  }

  // The start.

  async #start(): Promise<void> {
    const state = emptyState();
    try {
      const { store, webSocket } = this.#config;
      // Dialled only now, so that whoever made the session can name its handlers first.
      const changes = (await store?.load()) ?? [];
      for (const change of changes) {
        applyChange(state, change);
      }
      this.#webSocket =
        webSocket ?? (globalThis as { WebSocket?: WebSocketConstructor }).WebSocket ?? (await importWs());
    } catch (cause) {
      this.#over(new SessionOver(cause instanceof SessionOver ? cause.reason : "storage", undefined, { cause }));
      return;
    }
    // The machine's own state is ahead of what the application was told.
    const unsettled = [...state.requests];
    this.#machine = openSession(this.#config.session, state);
    for (const [key, { call: made }] of unsettled) {
      const asked = ask(readAny, () => {
        this.#cancel(key);
      });
      asked.keep();
      this.#asked.set(key, asked);
      this.restored.push({ ...made, payload: valueOf(made.payload), outcome: asked.pending });
    }
    this.#ready.resolve(undefined);
    listenToPage(
      {
        wake: () => {
          this.#wake();
        },
        hide: (isSuspended) => {
          this.#hide(isSuspended);
        },
      },
      this.#page.signal,
    );
    const early = this.#early;
    this.#early = [];
    for (const wish of early) {
      wish();
    }
    this.#dial();
    this.#work();
  }

  // Wishes.

  /** Does what the application wants, now or when the store has been read; bounded like the outbox. */
  #wish(bytes: number, asked: Asked<unknown> | undefined, run: () => void): void {
    if (this.#machine || this.#cause) {
      run();
      return;
    }
    const { outboxCountMax, outboxBytesMax } = this.#config.session;
    if (asked && (this.#early.length >= outboxCountMax || this.#earlyBytes + bytes > outboxBytesMax)) {
      asked.refuse(new RequestError("never_ran", "busy", "too many requests wait for the store"));
      return;
    }
    this.#earlyBytes += bytes;
    this.#early.push(run);
  }

  /** Tells the state machine something, and does what it says. */
  #do(run: (machine: ClientSession, nowMs: number) => void): void {
    if (this.#machine && !this.#cause) {
      run(this.#machine, this.#clock.now());
      this.#work();
    }
  }

  #call(made: Call, deadlineAtMs: number | undefined, asked: Asked<unknown>): number | undefined {
    if (!this.#machine || this.#cause) {
      const cause = this.#cause;
      asked.refuse(new RequestError("never_ran", "never_ran", cause?.message ?? "the session is over", { cause }));
      return undefined;
    }
    try {
      const key = call(this.#machine, this.#clock.now(), made, deadlineAtMs);
      this.#asked.set(key, asked);
      this.#kept.push(() => {
        asked.keep();
      });
      this.#workSoon();
      return key;
    } catch (error) {
      asked.refuse(error);
      return undefined;
    }
  }

  #cancel(key: number | undefined): void {
    if (key !== undefined) {
      this.#do((machine, nowMs) => {
        cancel(machine, nowMs, key);
      });
    }
  }

  #attach(wanted: Subscribe | undefined, subscription: Subscription): void {
    if (this.#cause) {
      subscription.finish(this.#cause);
      return;
    }
    try {
      this.#do((machine, nowMs) => {
        if (wanted) {
          attach(machine, nowMs, wanted);
        } else {
          for (const channel of inboxesOf(machine)) {
            attachKnown(machine, nowMs, channel);
          }
        }
      });
    } catch (error) {
      this.#queues.delete(wanted?.channel ?? INBOXES);
      subscription.finish(error as Error);
    }
  }

  /** Lets go of a channel in one of two ways. */
  #close(name: string, subscription: Subscription, leave: typeof detach): void {
    if (this.#queues.get(name) !== subscription) {
      return;
    }
    this.#queues.delete(name);
    this.#do((machine, nowMs) => {
      for (const channel of name === INBOXES ? inboxesOf(machine) : [name]) {
        (name === INBOXES ? detach : leave)(machine, nowMs, channel);
      }
    });
  }

  /** Resolves when all that was wanted until now is safe. */
  #safe(): Promise<void> {
    const { promise, resolve } = deferred<undefined>();
    this.#kept.push(() => {
      resolve(undefined);
    });
    this.#wish(0, undefined, () => {
      this.#work();
    });
    return this.#cause ? Promise.resolve() : promise;
  }

  // Work.

  /** Works when what is wanted in this turn has been said, so that one write serves it all. */
  #workSoon(): void {
    queueMicrotask(() => {
      this.#work();
    });
  }

  /** Does what the session says, in its order, as far as the store has come. */
  #work(): void {
    if (this.#isWorking || !this.#machine) {
      return;
    }
    this.#isWorking = true;
    try {
      while (this.#step(this.#machine));
    } finally {
      this.#isWorking = false;
    }
    this.#schedule();
  }

  /** Does one thing; whether there may be another. */
  #step(machine: ClientSession): boolean {
    if (this.#isCommitting || this.state.name === "over") {
      return false;
    }
    const output = nextOutput(machine);
    const isDirty = this.#dirty.length > 0;
    if (!output) {
      // What nobody waits for may share a later write.
      const isDue =
        this.#kept.length > 0 || this.#cause || this.#clock.now() >= this.#dirtySinceMs + COMMIT_DELAY_MAX_MS;
      if (isDirty && isDue) {
        this.#commit();
      } else if (!isDirty) {
        this.#answerKept();
        if (this.#cause) {
          this.#over(this.#cause);
        }
      }
      return false;
    }
    if (needsSafety(output) && isDirty) {
      this.#commit();
      return false;
    }
    dropOutput(machine);
    this.#carryOut(machine, output);
    return true;
  }

  #carryOut(machine: ClientSession, output: Output): void {
    switch (output.do) {
      case "persist":
        if (this.#config.store) {
          this.#dirty.push(output.change);
          this.#dirtySinceMs = Math.min(this.#dirtySinceMs, this.#clock.now());
        }
        break;
      case "transmit":
        // A socket whose end is on its way takes nothing any more, and a browser complains of the attempt.
        // Whatever has to arrive is sent again on the next connection.
        if (this.#socket && !(this.#socket.readyState > READY_STATE_OPEN)) {
          this.#socket.send(this.#config.session.encoding.write(output.frame));
        }
        break;
      case "close":
        this.#closeConnection(output.reason);
        break;
      case "tell":
        this.#tell(machine, output.event);
    }
  }

  #commit(): void {
    const changes = this.#dirty;
    this.#dirty = [];
    this.#dirtySinceMs = Infinity;
    this.#isCommitting = true;
    const write = async () => {
      await this.#config.store?.commit(changes);
    };
    write().then(
      () => {
        this.#isCommitting = false;
        this.#work();
      },
      (cause: unknown) => {
        this.#over(new SessionOver("storage", undefined, { cause }));
      },
    );
  }

  #answerKept(): void {
    const kept = this.#kept;
    this.#kept = [];
    for (const keep of kept) {
      keep();
    }
  }

  // Time.

  #schedule(): void {
    clearTimeout(this.#timer);
    if (!this.#machine || this.state.name === "over") {
      return;
    }
    const nowMs = this.#clock.now();
    const atMs = Math.min(
      nextTimeout(this.#machine),
      this.#connectByMs,
      this.#retryAtMs,
      this.#dirtySinceMs + COMMIT_DELAY_MAX_MS,
    );
    // A computer that slept is to be noticed soon: its timers slept too.
    const delayMs = Math.min(Math.max(atMs - nowMs, 0), CLOCK_INTERVAL_MS);
    this.#timer = setTimeout(() => {
      // A page that was stopped past a deadline looks first at what came meanwhile.
      if (this.#clock.now() - nowMs > delayMs + LATE_MS) {
        this.#timer = setTimeout(() => {
          this.#tick();
        });
      } else {
        this.#tick();
      }
    }, Math.ceil(delayMs));
  }

  #tick(): void {
    const nowMs = this.#clock.now();
    if (nowMs >= this.#connectByMs) {
      this.#dropSocket(1000, "no answer in time");
      this.#wait("failed", undefined);
    } else if (nowMs >= this.#retryAtMs) {
      this.#dial();
    }
    this.#do(handleTimeout);
  }

  /** The page is seen again, or the network is back: what was waited for is tried now. */
  #wake(): void {
    this.#tick();
    if (this.state.name === "waiting") {
      this.#dial();
      this.#work();
    }
  }

  /** The page goes, perhaps for good: what is known is to be safe. */
  #hide(isSuspended: boolean): void {
    if (this.#dirty.length > 0 && !this.#isCommitting) {
      this.#commit();
    }
    if (isSuspended && this.#socket) {
      // A browser keeps no page that holds a connection.
      this.#dropSocket(1000, "suspended");
      this.#do(handleClosed);
      this.#retryAtMs = Infinity;
      this.#setState({
        name: "waiting",
        attempt: this.#reconnect.attempt,
        retryAtMs: Infinity,
        reason: "suspended",
        code: undefined,
      });
    }
  }

  // The connection.

  #dial(): void {
    this.#retryAtMs = Infinity;
    if (this.#socket || this.#cause || !this.#webSocket) {
      return;
    }
    const { url, session, connectTimeoutMs } = this.#config;
    const { subprotocol } = session.encoding;
    this.#setState({ name: "connecting", attempt: this.#reconnect.attempt });
    let socket: WebSocket;
    try {
      socket = new this.#webSocket(url, subprotocol) as WebSocket;
    } catch (cause) {
      // The URL was checked: the page may not connect there.
      this.#end(new SessionOver("dialect", undefined, { cause }));
      return;
    }
    this.#socket = socket;
    this.#connectByMs = this.#clock.now() + connectTimeoutMs;
    socket.binaryType = "arraybuffer";
    // What an earlier socket says later must not touch the present one.
    const isPresent = () => this.#socket === socket;
    socket.onopen = () => {
      if (isPresent()) {
        this.#handleOpen(socket.protocol === subprotocol);
      }
    };
    socket.onmessage = (event: MessageEvent) => {
      if (isPresent()) {
        this.#handleMessage(event.data);
      }
    };
    socket.onclose = (event: CloseEvent) => {
      if (isPresent()) {
        this.#handleClose(event.code);
      }
    };
    socket.onerror = () => undefined;
  }

  #handleOpen(speaksDialect: boolean): void {
    this.#connectByMs = Infinity;
    if (speaksDialect) {
      this.#reconnect.handleOpen(this.#clock.now());
      this.#do(handleOpen);
    } else {
      this.#dropSocket(1000, "another dialect");
      this.#end(new SessionOver("dialect"));
    }
  }

  #handleMessage(message: unknown): void {
    this.#do((machine, nowMs) => {
      try {
        handleFrame(machine, nowMs, this.#config.session.encoding.read(message));
      } catch {
        handleViolation(machine, nowMs);
      }
    });
  }

  #handleClose(closeCode: number): void {
    const wasOpen = this.#connectByMs === Infinity;
    this.#socket = undefined;
    // 1005 stands for a Close frame without a code, 1006 for none at all.
    const code = closeCode === 1005 || closeCode === 1006 ? undefined : closeCode;
    if (this.#machine && wasOpen) {
      handleClosed(this.#machine, this.#clock.now(), code);
    }
    if (this.#machine?.phase !== "ended") {
      this.#wait(wasOpen ? (closeCode === 1006 ? "lost" : "closed") : "failed", code);
    }
    this.#work();
  }

  #closeConnection(reason: CloseReason): void {
    if (this.#socket) {
      this.#dropSocket(1000, reason);
      if (reason !== "done") {
        this.#wait(reason, undefined);
      }
    }
  }

  /** Ends a connection in good order without waiting for it: a dead one may take minutes. */
  #dropSocket(code: number, reason: string): void {
    const socket = this.#socket;
    this.#socket = undefined;
    this.#connectByMs = Infinity;
    socket?.close(code, reason);
  }

  /** Waits before the next attempt to connect. */
  #wait(reason: Extract<SessionState, { name: "waiting" }>["reason"], code: number | undefined): void {
    const nowMs = this.#clock.now();
    this.#connectByMs = Infinity;
    this.#retryAtMs = nowMs + this.#reconnect.handleLost(nowMs, reason === "closed" ? "server" : "other");
    this.#setState({
      name: "waiting",
      attempt: this.#reconnect.attempt,
      retryAtMs: Math.round(this.#retryAtMs),
      reason,
      code,
    });
  }

  // What the session tells.

  #tell(machine: ClientSession, event: SessionEvent): void {
    switch (event.type) {
      case "welcomed": {
        const { standing, session, generation, principal, server } = event.welcome;
        this.#setState({ name: "open", standing, session, generation, principal, server });
        break;
      }
      case "outcome":
      case "given_up":
        this.#asked.get(event.key)?.settle(event.outcome);
        this.#asked.delete(event.key);
        break;
      case "subscribed":
        if (isInbox(event.channel) && !this.#queues.has(INBOXES)) {
          // An inbox that nobody reads must not fill up; its place is kept.
          detach(machine, this.#clock.now(), event.channel);
          break;
        }
        this.#deliver(machine, event);
        break;
      case "event":
      case "gap":
      case "presence":
        this.#deliver(machine, event);
        break;
      case "unsubscribed":
        this.#handleUnsubscribed(event);
        break;
      case "command":
        this.#run(machine, event.key, event.deadlineAtMs, event.request);
        break;
      case "command_cancelled":
        this.#stop(event.key, failed("cancelled", "stopped"));
        break;
      case "ended":
        this.#cause ??= new SessionOver(event.ending.how, event.ending.code);
    }
  }

  #handleUnsubscribed({ channel, failure }: Extract<SessionEvent, { type: "unsubscribed" }>): void {
    const queue = this.#queues.get(channel);
    if (queue) {
      this.#queues.delete(channel);
      queue.finish(failure && new SubscriptionError(channel, failure.error, `${failure.error}: ${failure.message}`));
    }
  }

  #deliver(machine: ClientSession, frame: Extract<SessionEvent, { channel: string; type: ChannelItem["type"] }>): void {
    // Without a queue, the channel is about to be let go of, and its cursor stays.
    const name = isInbox(frame.channel) ? INBOXES : frame.channel;
    const queue = this.#queues.get(name);
    queue?.push(itemOf(frame), frame.type === "event" ? bytesOf(frame.payload) : ITEM_BYTES);
    if (queue?.holds(this.#config.queueCountMax, this.#config.queueBytesMax)) {
      for (const channel of channelsOf(machine, name)) {
        pause(machine, this.#clock.now(), channel);
      }
    }
  }

  /** An item was taken out of a queue. It is filled again when half of it is free, so that not every
   * item costs a subscription. */
  #makeRoom(name: string, queue: Subscription): void {
    const machine = this.#machine;
    const { queueCountMax, queueBytesMax } = this.#config;
    if (machine && !queue.holds(Math.ceil(queueCountMax / 2), Math.ceil(queueBytesMax / 2))) {
      for (const channel of channelsOf(machine, name)) {
        if (machine.channels.get(channel)?.isPaused) {
          this.#do((session, nowMs) => {
            unpause(session, nowMs, channel);
          });
        }
      }
    }
  }

  #run(machine: ClientSession, key: number, deadlineAtMs: number | undefined, request: Request): void {
    const handler = this.handlers.get(request.command);
    if (!handler) {
      const message = `this client has no handler for ${JSON.stringify(request.command)}`;
      answer(machine, this.#clock.now(), key, failed("never_ran", message));
      return;
    }
    const controller = new AbortController();
    this.#running.set(key, controller);
    const { number, payload } = request;
    const deadlineMs = deadlineAtMs === undefined ? undefined : Math.max(0, deadlineAtMs - this.#clock.now());
    const timer =
      deadlineMs === undefined
        ? undefined
        : setTimeout(
            () => {
              this.#stop(key, failed("deadline_exceeded", "stopped at its deadline"));
            },
            Math.min(deadlineMs, TIMER_MS_MAX),
          );
    const run = async (): Promise<Outcome> => {
      try {
        const value = await handler(valueOf(payload), { number, signal: controller.signal, deadlineMs });
        return { status: "done", payload: payloadOf(value) };
      } catch (error) {
        return failed("handler_failed", toWellFormed(error instanceof Error ? error.message : String(error)));
      }
    };
    void run().then((outcome) => {
      clearTimeout(timer);
      this.#running.delete(key);
      this.#do((session, nowMs) => {
        answer(session, nowMs, key, outcome);
      });
    });
  }

  #stop(key: number, outcome: Outcome): void {
    this.#do((machine, nowMs) => {
      answer(machine, nowMs, key, outcome);
    });
    this.#running.get(key)?.abort();
    this.#running.delete(key);
  }

  // The end.

  /** The session is left for a reason of this side's. */
  #end(cause: SessionOver): void {
    this.#cause ??= cause;
    if (this.#machine) {
      leaveSession(this.#machine, this.#clock.now());
      this.#work();
    }
  }

  #over(error: SessionOver): void {
    if (this.state.name === "over") {
      return;
    }
    this.#cause = error;
    clearTimeout(this.#timer);
    this.#page.abort();
    this.#dropSocket(1000, error.reason);
    this.#retryAtMs = Infinity;
    this.#setState({ name: "over", error });
    this.#ready.reject(error);
    const early = this.#early;
    this.#early = [];
    for (const wish of early) {
      wish();
    }
    this.#answerKeptNever(error);
    for (const controller of this.#running.values()) {
      controller.abort();
    }
    const isOwnWish = error.reason === "left" || error.reason === "ended";
    for (const queue of this.#queues.values()) {
      queue.finish(isOwnWish ? undefined : error);
    }
    this.#queues.clear();
    void (this.#config.store?.close() ?? Promise.resolve())
      .catch(() => undefined)
      .then(() => {
        this.#closed.resolve(undefined);
      });
  }

  #answerKeptNever(cause: SessionOver): void {
    this.#kept = [];
    for (const asked of this.#asked.values()) {
      asked.refuse(new RequestError("left", "left", "the session was left before the outcome came", { cause }));
    }
    this.#asked.clear();
  }

  #setState(state: SessionState): void {
    this.state = state;
    this.#tellState();
  }
}

/** A frame under the names of the API, with the value of its payload. */
function itemOf(frame: object): ChannelItem {
  const fields = Object.entries(frame).map(([name, value]: [string, unknown]) =>
    name === "payload"
      ? ["data" in (value as Payload) ? "data" : name, valueOf(value as Payload)]
      : [name.replace(/_(.)/g, (_, letter: string) => letter.toUpperCase()), value],
  );
  return Object.fromEntries(fields) as ChannelItem;
}

function inboxesOf({ saved }: ClientSession): string[] {
  return [...saved.channels.keys()].filter(isInbox);
}

function channelsOf(machine: ClientSession, name: string): string[] {
  return name === INBOXES ? inboxesOf(machine) : [name];
}

/** Runs something when a signal is aborted, until the function that it gives is called. */
function listenToAbort(signal: AbortSignal | undefined, run: () => void): () => void {
  if (signal?.aborted) {
    run();
  }
  signal?.addEventListener("abort", run);
  return () => {
    signal?.removeEventListener("abort", run);
  };
}

/** Where a runtime has no WebSocket of its own: Node before 22. */
async function importWs(): Promise<WebSocketConstructor> {
  // In a variable, so that bundlers for browsers do not look for it.
  const name = ["w", "s"].join("");
  try {
    const module = (await import(/* @vite-ignore */ /* webpackIgnore: true */ name)) as {
      default: WebSocketConstructor;
    };
    return module.default;
  } catch (cause) {
    throw new SessionOver("dialect", undefined, { cause });
  }
}

/** Where what comes of all inboxes goes: the name of no channel. */
const INBOXES = "$";
/** A cursor that moved while nothing is sent is safe after this time. */
const COMMIT_DELAY_MAX_MS = 1000;
/** The clock is looked at at least this often. */
const CLOCK_INTERVAL_MS = 10_000;
/** A timer that is later than this has slept. */
const LATE_MS = 1000;
/** What an item without a payload counts for. */
const ITEM_BYTES = 128;
/** The longest that `setTimeout` can wait. */
const TIMER_MS_MAX = 2 ** 31 - 1;

/** `WebSocket.OPEN`; closing and closed are above it. */
const READY_STATE_OPEN = 1;
