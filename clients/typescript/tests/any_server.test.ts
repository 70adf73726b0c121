/** Servers that say anything at all, in any order: no exception, no second outcome, no hole and no
 * duplicate on a channel, nothing before the welcome, and a disk that agrees with the memory. */

import { expect, test } from "vitest";

import { answer } from "../src/session/commands.js";
import { attach, consumed, detach, pause, unpause, unsubscribe } from "../src/session/channels.js";
import { SESSION_DEFAULTS } from "../src/session/config.js";
import { call, cancel } from "../src/session/requests.js";
import {
  dropOutput,
  endSession,
  handleClosed,
  handleFrame,
  handleOpen,
  handleTimeout,
  nextOutput,
  nextTimeout,
  openSession,
  type ClientSession,
} from "../src/session/session.js";
import { applyChange, emptyState, toChanges, type SavedState } from "../src/session/state.js";
import type { Outcome, Place, ServerFrame, Standing } from "../src/wire/frames.js";
import { json } from "../src/wire/json.js";
import { forSeeds, type Random } from "./support/random.js";

test("no server can break what the application is promised", () => {
  forSeeds(600, (random) => {
    const witness = new Witness(random);
    for (let step = 0; step < 200; step++) {
      witness.step();
    }
    witness.finish();
  });
});

class Witness {
  readonly #random: Random;
  #session: ClientSession;
  #disk: SavedState = emptyState();
  #nowMs = 0;
  #isWelcomed = false;
  readonly #made: number[] = [];
  readonly #outcomes = new Map<number, number>();
  /** The last place of each channel that was told, since it was last listened to anew. */
  readonly #places = new Map<string, Place>();
  #deliveries: [string, Place][] = [];

  constructor(random: Random) {
    this.#random = random;
    this.#session = this.#open();
    handleOpen(this.#session, 0);
    handleFrame(this.#session, 0, this.#welcome("new"));
    this.#isWelcomed = true;
    this.#attach(A);
    this.#drain();
  }

  step(): void {
    const { nowMs, session, random } = { nowMs: this.#nowMs, session: this.#session, random: this.#random };
    const channel = random.pick(CHANNELS);
    const steps: (readonly [number, () => void])[] = [
      [5, () => this.#connect()],
      [2, () => handleClosed(session, nowMs, random.pick([undefined, undefined, undefined, 1001, 4100, 4200]))],
      [35, () => this.#hear(this.#frame())],
      [40, () => this.#hear(this.#nearly())],
      [3, () => this.#wait()],
      [8, () => this.#request()],
      [1, () => cancel(session, nowMs, random.below(9))],
      [3, () => this.#attach(channel)],
      [1, () => this.#leave(channel, unsubscribe)],
      [1, () => this.#leave(channel, detach)],
      [2, () => pause(session, nowMs, channel)],
      [4, () => unpause(session, nowMs, channel)],
      [8, () => this.#consume()],
      [2, () => answer(session, nowMs, random.below(9), { status: "indeterminate" })],
      [1, () => this.#restart()],
    ];
    let at = random.next() * steps.reduce((sum, [weight]) => sum + weight, 0);
    steps.find(([weight]) => (at -= weight) < 0)?.[1]();
    this.#drain();
  }

  finish(): void {
    endSession(this.#session, this.#nowMs);
    this.#drain();
    for (const key of this.#made) {
      expect(this.#outcomes.get(key), `outcomes of ${key}`).toBe(1);
    }
  }

  #open(): ClientSession {
    const saved = emptyState();
    toChanges(this.#disk).forEach((change) => applyChange(saved, change));
    const config = { ...SESSION_DEFAULTS, client: "test", encoding: json, random: () => this.#random.next() };
    return openSession(config, saved);
  }

  #connect(): void {
    handleOpen(this.#session, this.#nowMs);
    this.#isWelcomed = false;
  }

  #hear(frame: ServerFrame): void {
    this.#isWelcomed ||= frame.type === "welcome";
    handleFrame(this.#session, this.#nowMs, frame);
  }

  #wait(): void {
    this.#nowMs += this.#random.pick([100, 1000, 2000, 40_000]);
    handleTimeout(this.#session, this.#nowMs);
    expect(nextTimeout(this.#session), "it comes to rest").toBeGreaterThan(this.#nowMs);
  }

  #request(): void {
    try {
      const deadlineAtMs = this.#random.chance(0.5) ? this.#nowMs + this.#random.below(3000) : undefined;
      this.#made.push(call(this.#session, this.#nowMs, { command: "r", payload: { json: "1" } }, deadlineAtMs));
    } catch (error) {
      expect(error).toMatchObject({ kind: "never_ran" });
    }
  }

  #attach(channel: string): void {
    try {
      const start = this.#random.pick(["now", { last: 3 }, { after: 0 }, { after: 2, epoch: EPOCHS[0] }] as const);
      attach(this.#session, this.#nowMs, {
        channel,
        start,
        delivery: "every",
        presence: this.#random.pick(["none", "join"]),
      });
      this.#places.delete(channel);
    } catch (error) {
      expect(error).toMatchObject({ name: "SubscriptionError" });
    }
  }

  #leave(channel: string, leave: typeof detach): void {
    leave(this.#session, this.#nowMs, channel);
    this.#places.delete(channel);
  }

  #consume(): void {
    const delivery = this.#deliveries.shift();
    if (delivery) {
      consumed(this.#session, this.#nowMs, ...delivery);
    }
  }

  /** The process ends, and another begins with what was kept. */
  #restart(): void {
    this.#session = this.#open();
    this.#places.clear();
    this.#deliveries = [];
  }

  #drain(): void {
    for (let output = nextOutput(this.#session); output; output = nextOutput(this.#session)) {
      dropOutput(this.#session);
      if (output.do === "persist") {
        applyChange(this.#disk, output.change);
      } else if (output.do === "transmit") {
        expect(output.frame.type === "hello" || this.#isWelcomed, `${output.frame.type} before the welcome`).toBe(true);
      } else if (output.do === "tell") {
        const { event } = output;
        if (event.type === "outcome" || event.type === "given_up") {
          this.#outcomes.set(event.key, (this.#outcomes.get(event.key) ?? 0) + 1);
        } else if (event.type === "event") {
          this.#deliver(event.channel, { epoch: event.epoch, offset: event.offset - 1 }, event);
        } else if (event.type === "gap") {
          this.#deliver(event.channel, { epoch: event.from_epoch, offset: event.from - 1 }, event);
        } else if (event.type === "unsubscribed") {
          this.#places.delete(event.channel);
        } else if (event.type === "welcomed") {
          this.#places.delete(INBOX);
        }
      }
    }
    if (this.#random.chance(0.05)) {
      expect(this.#disk).toEqual(this.#session.saved);
    }
  }

  #deliver(channel: string, from: Place, { epoch, offset }: Place): void {
    expect(from, `where ${channel} was`).toEqual(this.#places.get(channel) ?? from);
    this.#places.set(channel, { epoch, offset });
    this.#deliveries.push([channel, { epoch, offset }]);
  }

  /** An event or gap of the first channel, right or nearly right behind what was told before. */
  #nearly(): ServerFrame {
    const { epoch, offset } = this.#places.get(A) ?? { epoch: EPOCHS[0], offset: 1 };
    const next = offset + this.#random.pick([1, 1, 1, 0, 2]);
    const to = next + this.#random.below(4);
    const gap = { type: "gap", channel: A, from_epoch: epoch, from: next, reason: "trimmed" } as const;
    return this.#random.pick<() => ServerFrame>([
      () => ({ type: "event", channel: A, offset: next, at_ms: 0, payload: { value: 1 } }),
      () => ({ type: "event", channel: A, offset: next, at_ms: 0, payload: { value: 1 } }),
      () => ({ ...gap, to, epoch, offset: to }),
      () => ({ ...gap, reason: "epoch", epoch: `${epoch.slice(1)}f`, offset: this.#random.below(4) }),
    ])();
  }

  #frame(): ServerFrame {
    const random = this.#random;
    const number = random.pick([0, 1, 2, 3, 4, 5, 9, 2 ** 53 - 1]);
    const channel = random.pick(CHANNELS);
    const place = (): Place => ({ epoch: random.pick(EPOCHS), offset: random.below(6) });
    const { epoch: from_epoch, offset: from } = place();
    const outcomes: Outcome[] = [
      { status: "done", payload: { value: 1 } },
      { status: "published", ...place() },
      { status: "failed", error: "busy", message: "" },
      { status: "indeterminate" },
    ];
    return random.pick<() => ServerFrame>([
      () => this.#welcome(random.pick(["new", "resumed", "resumed", "resumed", "expired", "unknown"])),
      () => ({ type: "reply", number, outcome: random.pick(outcomes) }),
      () => ({ type: "reply", number, outcome: random.pick(outcomes) }),
      () => ({ type: "request", number, command: "c", payload: { value: 1 }, deadline_ms: number }),
      () => ({ type: "cancel", number }),
      () => ({ type: "ack", number }),
      () => ({ type: "subscribed", channel, ...place(), head: 9, member_count: 0 }),
      () => ({ type: "subscribed", channel, ...place(), head: 9, member_count: 0 }),
      () => ({ type: "unsubscribed", channel, error: random.pick([undefined, "not_permitted"]), message: "" }),
      () => ({ type: "event", channel, offset: random.below(6), at_ms: 0, payload: { value: 1 } }),
      () => ({
        type: "gap",
        channel,
        from_epoch,
        from,
        to: random.pick([undefined, 3]),
        reason: "trimmed",
        ...place(),
      }),
      () => ({ type: "presence", channel, joined: [], left: [], member_count: 0 }),
      () => ({ type: "ping" }),
      () => ({ type: "goaway", window_ms: number, reason: "" }),
      () => ({ type: "problem", error: "busy", message: "", channel }),
    ])();
  }

  #welcome(standing: Standing): ServerFrame {
    return {
      type: "welcome",
      standing,
      session: String(1 + this.#random.below(2)).repeat(32),
      token: String(this.#random.below(100)),
      generation: 1,
      accepted: this.#random.below(6),
      server: "any",
      ping_interval_ms: 25_000,
      session_expiry_ms: 1,
      limits: { request_count_max: this.#random.below(4), message_bytes_max: 65_536, subscription_count_max: 9 },
    };
  }
}

const A = "a";
const INBOX = `$session/${"1".repeat(32)}`;
const CHANNELS = [A, "b", INBOX];
const EPOCHS = ["0000000000000001", "0000000000000002"] as const;
