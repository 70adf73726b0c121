/** Processes that die between any two things that they do, connections that are cut anywhere, servers
 * that forget: whatever happens, the guarantees of PROTOCOL.md hold. */

import { expect, test } from "vitest";

import { answer } from "../src/session/commands.js";
import { attach, consumed, pause, unpause } from "../src/session/channels.js";
import { SESSION_DEFAULTS } from "../src/session/config.js";
import { needsSafety, type Output, type SessionEvent } from "../src/session/output.js";
import { call, cancel } from "../src/session/requests.js";
import {
  dropOutput,
  handleClosed,
  handleFrame,
  handleOpen,
  handleTimeout,
  nextOutput,
  nextTimeout,
  openSession,
  type ClientSession,
} from "../src/session/session.js";
import { applyChange, emptyState, toChanges, type SavedState, type StateChange } from "../src/session/state.js";
import type { Outcome, Place } from "../src/wire/frames.js";
import { json } from "../src/wire/json.js";
import { forSeeds, type Random } from "./support/random.js";
import { NEWS, ServerModel } from "./support/server_model.js";

test("a process that dies anywhere keeps its word", () => {
  forSeeds(500, (random) => {
    const world = new World(random, { forgets: false });
    world.live(150);
    world.settle();
    for (const id of world.kept) {
      const isGivenUp = world.givenUp.has(id);
      expect(world.server.runs.get(id) ?? 0, `request ${id}`).toBe(isGivenUp ? 0 : 1);
      expect(isGivenUp || world.lost.has(id) || world.outcomes.get(id) === "done", `outcome of ${id}`).toBe(true);
    }
    for (const id of world.givenUp) {
      expect(world.server.runs.has(id), `${id} was said never to run`).toBe(false);
    }
    for (const command of world.server.commandsNow()) {
      expect(world.server.replied, "every command has its reply").toContain(command);
    }
    expect(world.disk.requests.size, "all have their outcomes").toBe(0);
  });
});

test("a server that forgets costs certainty and nothing else", () => {
  forSeeds(500, (random) => {
    const world = new World(random, { forgets: true });
    world.live(150);
    world.settle();
    for (const id of world.kept) {
      const outcome = world.outcomes.get(id);
      if (outcome === "done") {
        expect(world.server.runs.get(id)).toBe(1);
      } else if (!world.lost.has(id) && !world.givenUp.has(id)) {
        expect(outcome, `outcome of ${id}`).toBe("indeterminate");
        expect(world.server.forgottenCount, "only a server that forgets leaves doubt").toBeGreaterThan(0);
      }
    }
  });
});

interface Options {
  readonly forgets: boolean;
}

/** An application with a store that keeps what was committed, a server and what is between them. */
class World {
  readonly server = new ServerModel();
  disk: SavedState = emptyState();
  /** Requests that the application was told to be stored. */
  readonly kept = new Set<string>();
  readonly outcomes = new Map<string, Outcome["status"]>();
  /** Those of which it was told that they never ran and never will. */
  readonly givenUp = new Set<string>();
  /** Those whose outcome came to a process that died before its store knew. */
  readonly lost = new Set<string>();
  readonly #random: Random;
  readonly #options: Options;
  #session: ClientSession;
  /** Written, and not said to be safe. */
  #unsafe: StateChange[] = [];
  #fresh: string[] = [];
  #isConnected = false;
  #nowMs = 1;
  #madeCount = 0;
  /** What was handed to the application's queue and not consumed. */
  #queue: Place[] = [];
  /** The last place that was handed over, of this process. */
  #received: Place | undefined;
  #consumed: Place | undefined;
  #idOf = new Map<number, string>();
  readonly #handled = new Set<string>();
  #running: number[] = [];

  constructor(random: Random, options: Options) {
    this.#random = random;
    this.#options = options;
    this.#session = this.#open();
    this.#work(Infinity);
  }

  live(stepCount: number): void {
    for (let step = 0; step < stepCount; step++) {
      this.#step();
      this.#work(this.#random.below(8));
    }
  }

  /** Lets everything come to its end. */
  settle(): void {
    for (let round = 0; round < 25; round++) {
      // The server is heard of, so that its silence is not held against it.
      this.server.toClient.push({ type: "ping" });
      this.#hear(Infinity);
      this.#wait();
      this.#work(Infinity);
      this.#hear(Infinity);
      this.#work(Infinity);
      while (this.#queue.length > 0 || this.#running.length > 0) {
        this.#consume();
      }
      unpause(this.#session, this.#nowMs, NEWS);
      this.#work(Infinity);
    }
    expect(this.server.toClient, "it comes to rest").toEqual([]);
    const head = { epoch: String(this.server.epoch), offset: this.server.head };
    expect(this.disk.channels.get(NEWS)?.cursor, "nothing is left behind").toEqual(head);
    expect(nextTimeout(this.#session)).toBeGreaterThan(this.#nowMs);
  }

  #step(): void {
    const steps: (readonly [weight: number, step: () => void])[] = [
      [6, () => this.#request()],
      [2, () => this.#request(this.#nowMs + 500)],
      [2, () => this.#cancel()],
      [2, () => this.#die()],
      [10, () => this.#hear(this.#random.below(8))],
      [2, () => this.#lose()],
      [4, () => this.server.publish()],
      [2, () => this.server.command()],
      [5, () => this.#consume()],
      [1, () => pause(this.#session, this.#nowMs, NEWS)],
      [2, () => unpause(this.#session, this.#nowMs, NEWS)],
      [1, () => this.#wait()],
      [1, () => this.server.trim()],
      [0.3, () => this.server.beginEpoch()],
      [this.#options.forgets ? 0.6 : 0, () => this.#forget()],
    ];
    let at = this.#random.next() * steps.reduce((sum, [weight]) => sum + weight, 0);
    const found = steps.find(([weight]) => (at -= weight) < 0);
    found?.[1]();
  }

  #open(): ClientSession {
    const config = { ...SESSION_DEFAULTS, client: "test", encoding: json, random: () => this.#random.next() };
    const saved = emptyState();
    toChanges(this.disk).forEach((change) => {
      applyChange(saved, change);
    });
    const session = openSession(config, saved);
    attach(session, this.#nowMs, {
      channel: NEWS,
      start: { after: 0, epoch: "1" },
      delivery: "every",
      presence: "none",
    });
    return session;
  }

  #request(deadlineAtMs?: number): void {
    const id = String(++this.#madeCount);
    const key = call(this.#session, this.#nowMs, { command: id, payload: { json: "null" } }, deadlineAtMs);
    this.#idOf.set(key, id);
    this.#fresh.push(id);
  }

  /** One of the last requests is no longer wanted. */
  #cancel(): void {
    const last = Math.max(0, ...this.#idOf.keys());
    cancel(this.#session, this.#nowMs, last - this.#random.below(4));
  }

  /** Carries out outputs; when there are no more, everything is safe. */
  #work(count: number): void {
    for (let done = 0; done < count; done++) {
      const output = nextOutput(this.#session);
      if (!output) {
        this.#commit();
        this.#fresh.forEach((id) => this.kept.add(id));
        this.#fresh = [];
        return;
      }
      if (needsSafety(output)) {
        this.#commit();
      }
      dropOutput(this.#session);
      this.#carryOut(output);
    }
  }

  #carryOut(output: Output): void {
    if (output.do === "persist") {
      this.#unsafe.push(output.change);
    } else if (output.do === "transmit") {
      if (this.#isConnected) {
        this.server.hear(output.frame);
      }
    } else if (output.do === "tell") {
      this.#told(output.event);
    } else {
      throw new Error(`the connection is closed: ${output.reason}`);
    }
  }

  #told(event: SessionEvent): void {
    if (event.type === "given_up") {
      this.givenUp.add(this.#idOf.get(event.key) ?? "");
    } else if (event.type === "outcome") {
      const id = this.#idOf.get(event.key) ?? "";
      expect(this.outcomes.has(id) && !this.lost.has(id), `a second outcome of ${id}`).toBe(false);
      this.outcomes.set(id, event.outcome.status);
      if (event.outcome.status === "done") {
        expect(event.outcome.payload, "the outcome of another").toEqual({ value: id });
      }
    } else if (event.type === "event") {
      expect([event.epoch, event.offset], "in order, each once").toEqual([
        this.#received?.epoch,
        (this.#received?.offset ?? 0) + 1,
      ]);
      expect(event.payload).toEqual({ value: `${event.epoch}:${event.offset}` });
      this.#handOver({ epoch: event.epoch, offset: event.offset });
    } else if (event.type === "gap") {
      expect([event.from_epoch, event.from], "a gap begins where it was").toEqual([
        this.#received?.epoch,
        (this.#received?.offset ?? 0) + 1,
      ]);
      this.#handOver({ epoch: event.epoch, offset: event.offset });
    } else if (event.type === "subscribed") {
      this.#received ??= this.#consumed ?? { epoch: event.epoch, offset: event.offset };
    } else if (event.type === "command") {
      const command = `${String((event.request.payload as { value: unknown }).value)}:${event.request.number}`;
      expect(this.#handled, "at most once").not.toContain(command);
      this.#handled.add(command);
      this.#running.push(event.key);
    }
  }

  #handOver(place: Place): void {
    this.#received = place;
    this.#queue.push(place);
    if (this.#queue.length >= 5) {
      pause(this.#session, this.#nowMs, NEWS);
    }
    // What a pause lets through is what was in the machine's outputs already.
    expect(this.#queue.length, "a queue is bounded").toBeLessThan(200);
  }

  #commit(): void {
    this.#unsafe.forEach((change) => {
      applyChange(this.disk, change);
    });
    this.#unsafe = [];
  }

  #die(): void {
    this.#work(this.#random.below(6));
    const keptCount = this.#random.below(4);
    this.#unsafe.slice(0, keptCount).forEach((change) => {
      applyChange(this.disk, change);
    });
    this.#unsafe = [];
    this.#fresh = [];
    this.#queue = [];
    this.#running = [];
    this.#drop();
    for (const [key, id] of this.#idOf) {
      if (this.outcomes.has(id) && this.disk.requests.has(key)) {
        // Its outcome comes again, to a process that does not know of the first.
        this.lost.add(id);
        this.outcomes.delete(id);
      }
    }
    for (const key of [...this.#idOf.keys()]) {
      if (!this.disk.requests.has(key)) {
        this.#idOf.delete(key);
      }
    }
    this.#consumed = this.disk.channels.get(NEWS)?.cursor;
    this.#received = this.#consumed;
    this.#session = this.#open();
  }

  #hear(count: number): void {
    if (!this.#isConnected) {
      this.#isConnected = true;
      handleOpen(this.#session, this.#nowMs);
      return;
    }
    for (let heard = 0; heard < count; heard++) {
      const frame = this.server.toClient.shift();
      if (!frame) {
        return;
      }
      handleFrame(this.#session, this.#nowMs, frame);
    }
  }

  #lose(): void {
    if (this.#isConnected) {
      this.#drop();
      handleClosed(this.#session, this.#nowMs);
    }
  }

  #forget(): void {
    this.#lose();
    this.server.forget(this.#random.pick(["expired", "unknown"]));
  }

  #drop(): void {
    this.#isConnected = false;
    this.server.lose();
  }

  #consume(): void {
    const place = this.#queue.shift();
    if (place) {
      this.#consumed = place;
      consumed(this.#session, this.#nowMs, NEWS, place);
    }
    if (this.#queue.length < 3) {
      unpause(this.#session, this.#nowMs, NEWS);
    }
    const key = this.#running.pop();
    if (key !== undefined) {
      answer(this.#session, this.#nowMs, key, { status: "done", payload: { json: "1" } });
    }
  }

  #wait(): void {
    this.#nowMs += 1000;
    handleTimeout(this.#session, this.#nowMs);
  }
}
