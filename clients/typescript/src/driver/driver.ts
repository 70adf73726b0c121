/** Carries out what the state machine says: WebSocket, timers, store. It makes no decision about the
 * protocol. */

import { RequestError, SessionOver, SubscriptionError } from "../errors.js";
import { ask, occasion, read, type Asked, type Pending, type Restored } from "../pending.js";
import { answer } from "../session/commands.js";
import { attach, attachKnown, consumed, detach, pause, unpause, unsubscribe } from "../session/channels.js";
import { needsSafety, type Output, type SessionEvent } from "../session/output.js";
import { call, cancel, failed, OVER } from "../session/requests.js";
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
import { Subscription, type ChannelItem } from "../subscription.js";
import type { Outcome, Request, Subscribe } from "../wire/frames.js";
import { bytesOf, payloadOf, toWellFormed, valueOf } from "../wire/payload.js";
import { Clock } from "./clock.js";
import type { DriverConfig, Handler, RequestOptions, SessionState } from "./config.js";
import { itemOf } from "./item.js";
import { listenToPage, type PageListener } from "./page.js";
import { Reconnect } from "./reconnect.js";

/** The one driver of a session. */
export class Driver implements PageListener {
  state: SessionState = { name: "connecting", attempt: 0 };
  readonly restored: Restored[] = [];
  readonly handlers = new Map<string, Handler>();
  readonly #config: DriverConfig;
  readonly #tellState: () => void;
  readonly #clock = new Clock();
  readonly #reconnect: Reconnect;
  readonly #ready = occasion();
  readonly #closed = occasion();
  readonly #page = new AbortController();
  #machine: ClientSession | undefined;
  /** What the application wants before the store has been read. */
  readonly #early: (() => void)[] = [];
  #earlyBytes = 0;
  #cause: SessionOver | undefined;
  #isWorking = false;

  // The connection.
  #socket: WebSocket | undefined;
  #connectByMs = Infinity;
  #retryAtMs = Infinity;
  #timer: ReturnType<typeof setTimeout> | undefined;

  // The store.
  readonly #dirty: StateChange[] = [];
  #dirtySinceMs = Infinity;
  #isCommitting = false;
  /** What returns once everything is safe. */
  readonly #kept: (() => void)[] = [];

  // The application.
  readonly #asked = new Map<number, Asked<unknown>>();
  readonly #queues = new Map<string, Subscription>();
  readonly #running = new Map<number, AbortController>();

  constructor(config: DriverConfig, tellState: () => void) {
    this.#config = config;
    this.#tellState = tellState;
    this.#reconnect = new Reconnect(config);
    void this.#start();
  }

  get ready(): Promise<void> {
    return this.#ready.promise;
  }

  // What the application wants.

  send<T>(call: Call, { deadlineMs, signal }: RequestOptions, readAs: (outcome: Outcome) => T): Pending<T> {
    let key: number | undefined;
    const asked = ask(readAs, () => {
      this.#wish(() => {
        this.#cancel(key);
      });
    });
    const deadlineAtMs = deadlineMs === undefined ? undefined : this.#clock.now() + deadlineMs;
    const run = () => {
      key = this.#call(call, deadlineAtMs, asked);
    };
    this.#wish(run, asked, callBytes(call));
    // A signal may live for longer than many requests.
    const ignore = listenToAbort(signal, asked.pending.cancel);
    asked.pending.then(ignore, ignore);
    return asked.pending;
  }

  subscribe(wanted?: Subscribe, signal?: AbortSignal): Subscription {
    const name = wanted?.channel ?? INBOXES;
    if (this.#queues.has(name)) {
      throw new TypeError(`${name} is listened to already`);
    }
    const subscription = new Subscription({
      consumed: (channel, place) => {
        this.#do(consumed, channel, place);
      },
      hasRoom: () => {
        this.#makeRoom(name, subscription);
      },
      close: () => {
        this.#close(name, subscription, detach);
      },
      unsubscribe: async () => {
        this.#close(name, subscription, unsubscribe);
        // Resolves when all that was wanted until now is safe.
        const { promise, resolve } = occasion();
        this.#kept.push(resolve);
        this.#wish(() => {
          this.#work();
        });
        await (this.#cause ? undefined : promise);
      },
    });
    this.#queues.set(name, subscription);
    this.#wish(() => {
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
    this.#wish(() => {
      this.#do(how === "left" ? leaveSession : endSession);
    });
    return this.#closed.promise;
  }

  // The start.

  async #start(): Promise<void> {
    const state = emptyState();
    try {
      // Dialled only after this, so that whoever made the session can name its handlers first.
      for (const change of (await this.#config.store?.load()) ?? []) {
        applyChange(state, change);
      }
    } catch (cause) {
      this.#over(new SessionOver("storage", undefined, { cause }));
      return;
    }
    // The machine's own state is ahead of what the application was told.
    const unsettled = [...state.requests];
    this.#machine = openSession(this.#config, state);
    for (const [key, { call: made }] of unsettled) {
      const asked = ask(read, () => {
        this.#cancel(key);
      });
      asked.keep();
      this.#asked.set(key, asked);
      this.restored.push({ ...made, payload: valueOf(made.payload), outcome: asked.pending });
    }
    this.#ready.resolve();
    listenToPage(this, this.#page.signal);
    for (const wish of this.#early.splice(0)) {
      wish();
    }
    this.#dial();
    this.#work();
  }

  // Wishes.

  /** Does what the application wants, now or when the store has been read; bounded like the outbox. */
  #wish(run: () => void, asked?: Asked<unknown>, bytes = 0): void {
    if (this.#machine || this.#cause) {
      run();
      return;
    }
    const { outboxCountMax, outboxBytesMax } = this.#config;
    if (asked && (this.#early.length >= outboxCountMax || this.#earlyBytes + bytes > outboxBytesMax)) {
      asked.refuse(new RequestError("never_ran", "busy", "too many requests"));
      return;
    }
    this.#earlyBytes += bytes;
    this.#early.push(run);
  }

  /** Tells the state machine something, and does what it says. */
  #do<A extends unknown[]>(run: (machine: ClientSession, nowMs: number, ...args: A) => void, ...args: A): void {
    if (this.#machine && !this.#cause) {
      run(this.#machine, this.#clock.now(), ...args);
      this.#work();
    }
  }

  #call(made: Call, deadlineAtMs: number | undefined, asked: Asked<unknown>): number | undefined {
    if (!this.#machine || this.#cause) {
      const cause = this.#cause;
      asked.refuse(new RequestError("never_ran", "never_ran", OVER, { cause }));
      return undefined;
    }
    try {
      const key = call(this.#machine, this.#clock.now(), made, deadlineAtMs);
      this.#asked.set(key, asked);
      this.#kept.push(asked.keep);
      // When what is wanted in this turn has been said, so that one write serves it all.
      queueMicrotask(() => {
        this.#work();
      });
      return key;
    } catch (error) {
      asked.refuse(error);
      return undefined;
    }
  }

  #cancel(key: number | undefined): void {
    if (key !== undefined) {
      this.#do(cancel, key);
    }
  }

  #attach(wanted: Subscribe | undefined, subscription: Subscription): void {
    if (this.#cause) {
      subscription.finish(this.#cause);
      return;
    }
    try {
      if (wanted) {
        this.#do(attach, wanted);
      } else {
        for (const inbox of this.#channelsOf(INBOXES)) {
          this.#do(attachKnown, inbox);
        }
      }
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
    for (const channel of this.#channelsOf(name)) {
      this.#do(name === INBOXES ? detach : leave, channel);
    }
  }

  // Work.

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
        for (const keep of this.#kept.splice(0)) {
          keep();
        }
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
    this.#carryOut(output);
    return true;
  }

  #carryOut(output: Output): void {
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
        if (this.#socket?.readyState === READY_STATE_OPEN) {
          this.#socket.send(this.#config.encoding.write(output.frame));
        }
        break;
      case "close":
        if (this.#socket) {
          this.#dropSocket(output.reason);
          if (output.reason !== "done") {
            this.#wait(output.reason);
          }
        }
        break;
      case "tell":
        this.#tell(output.event);
    }
  }

  #commit(): void {
    const changes = this.#dirty.splice(0);
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
      this.#dropSocket("failed");
      this.#wait("failed");
    } else if (nowMs >= this.#retryAtMs) {
      this.#dial();
    }
    this.#do(handleTimeout);
  }

  /** The page is seen again, or the network is back: what was waited for is tried now. */
  wake(): void {
    this.#tick();
    if (this.state.name === "waiting") {
      this.#dial();
      this.#work();
    }
  }

  /** The page goes, perhaps for good: what is known is to be safe. */
  hide(isSuspended: boolean): void {
    if (this.#dirty.length > 0 && !this.#isCommitting) {
      this.#commit();
    }
    if (isSuspended && this.#socket) {
      // A browser keeps no page that holds a connection.
      this.#dropSocket("suspended");
      this.#do(handleClosed);
      this.#wait("suspended");
    }
  }

  // The connection.

  #dial(): void {
    this.#retryAtMs = Infinity;
    if (this.#socket || this.#cause) {
      return;
    }
    const { url, encoding, webSocket, connectTimeoutMs } = this.#config;
    this.#setState({ name: "connecting", attempt: this.#reconnect.attempt });
    let socket: WebSocket;
    try {
      socket = new (webSocket ?? globalThis.WebSocket)(url, encoding.subprotocol) as WebSocket;
    } catch (cause) {
      // The URL was checked: there is no WebSocket class, or the page may not connect there.
      this.#end(new SessionOver("dialect", undefined, { cause }));
      return;
    }
    this.#socket = socket;
    this.#connectByMs = this.#clock.now() + connectTimeoutMs;
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      this.#handleOpen(socket.protocol === encoding.subprotocol);
    };
    socket.onmessage = (event: MessageEvent) => {
      this.#handleMessage(event.data);
    };
    socket.onclose = (event: CloseEvent) => {
      this.#handleClose(event.code);
    };
    socket.onerror = () => undefined;
  }

  #handleOpen(speaksDialect: boolean): void {
    this.#connectByMs = Infinity;
    if (speaksDialect) {
      this.#reconnect.handleOpen(this.#clock.now());
      this.#do(handleOpen);
    } else {
      this.#dropSocket("dialect");
      this.#end(new SessionOver("dialect"));
    }
  }

  #handleMessage(message: unknown): void {
    try {
      this.#do(handleFrame, this.#config.encoding.read(message));
    } catch {
      this.#do(handleViolation);
    }
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

  /** Ends a connection in good order without waiting for it: a dead one may take minutes. */
  #dropSocket(reason: string): void {
    const socket = this.#socket;
    this.#socket = undefined;
    this.#connectByMs = Infinity;
    if (socket) {
      // What it says later must not touch the next one.
      socket.onopen = socket.onmessage = socket.onclose = null;
      socket.close(1000, reason);
    }
  }

  /** Waits before the next attempt to connect. */
  #wait(reason: Extract<SessionState, { name: "waiting" }>["reason"], code?: number): void {
    const nowMs = this.#clock.now();
    this.#connectByMs = Infinity;
    // A page that was suspended is seen again, or never.
    this.#retryAtMs =
      reason === "suspended" ? Infinity : nowMs + this.#reconnect.handleLost(nowMs, reason === "closed");
    this.#setState({
      name: "waiting",
      attempt: this.#reconnect.attempt,
      retryAtMs: Math.round(this.#retryAtMs),
      reason,
      code,
    });
  }

  // What the session tells.

  #tell(event: SessionEvent): void {
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
          this.#do(detach, event.channel);
          break;
        }
        this.#deliver(event);
        break;
      case "event":
      case "gap":
      case "presence":
        this.#deliver(event);
        break;
      case "unsubscribed":
        this.#queues.get(event.channel)?.finish(errorOf(event));
        this.#queues.delete(event.channel);
        break;
      case "command":
        this.#run(event.key, event.deadlineAtMs, event.request);
        break;
      case "command_cancelled":
        this.#stop(event.key, failed("cancelled", "stopped"));
        break;
      case "ended":
        this.#cause ??= new SessionOver(event.ending.how, event.ending.code);
    }
  }

  #deliver(frame: Extract<SessionEvent, { channel: string; type: ChannelItem["type"] }>): void {
    // Without a queue, the channel is about to be let go of, and its cursor stays.
    const name = isInbox(frame.channel) ? INBOXES : frame.channel;
    const queue = this.#queues.get(name);
    queue?.push(itemOf(frame), frame.type === "event" ? bytesOf(frame.payload) : ITEM_BYTES);
    if (queue?.holds(this.#config.queueCountMax, this.#config.queueBytesMax)) {
      for (const channel of this.#channelsOf(name)) {
        this.#do(pause, channel);
      }
    }
  }

  /** An item was taken out of a queue. It is filled again when half of it is free, so that not every
   * item costs a subscription. */
  #makeRoom(name: string, queue: Subscription): void {
    const { queueCountMax, queueBytesMax } = this.#config;
    if (!queue.holds(Math.ceil(queueCountMax / 2), Math.ceil(queueBytesMax / 2))) {
      for (const channel of this.#channelsOf(name)) {
        this.#do(unpause, channel);
      }
    }
  }

  /** The channels whose items go into a queue. */
  #channelsOf(name: string): string[] {
    return name === INBOXES ? [...(this.#machine?.saved.channels.keys() ?? [])].filter(isInbox) : [name];
  }

  #run(key: number, deadlineAtMs: number | undefined, request: Request): void {
    const handler = this.handlers.get(request.command);
    if (!handler) {
      this.#do(answer, key, failed("never_ran", `no handler for ${request.command}`));
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
              this.#stop(key, failed("deadline_exceeded", "stopped"));
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
      this.#do(answer, key, outcome);
    });
  }

  #stop(key: number, outcome: Outcome): void {
    this.#do(answer, key, outcome);
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
    this.#dropSocket(error.reason);
    this.#retryAtMs = Infinity;
    this.#setState({ name: "over", error });
    this.#ready.reject(error);
    for (const wish of this.#early.splice(0)) {
      wish();
    }
    this.#kept.length = 0;
    for (const asked of this.#asked.values()) {
      asked.refuse(new RequestError("left", "left", "the session was left", { cause: error }));
    }
    this.#asked.clear();
    for (const controller of this.#running.values()) {
      controller.abort();
    }
    const isOwnWish = error.reason === "left" || error.reason === "ended";
    for (const queue of this.#queues.values()) {
      queue.finish(isOwnWish ? undefined : error);
    }
    this.#queues.clear();
    const { resolve } = this.#closed;
    void Promise.resolve(this.#config.store?.close()).then(resolve, resolve);
  }

  #setState(state: SessionState): void {
    this.state = state;
    this.#tellState();
  }
}

function errorOf({ channel, failure }: Extract<SessionEvent, { type: "unsubscribed" }>): SubscriptionError | undefined {
  return failure && new SubscriptionError(channel, failure.error, `${failure.error}: ${failure.message}`);
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

/** Where what comes of all inboxes goes: the name of no channel. */
const INBOXES = "the inbox";
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

/** `WebSocket.OPEN`. */
const READY_STATE_OPEN = 1;
