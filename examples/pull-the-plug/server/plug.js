// Whoever pulls the plug: does faults to the network and the server, and remembers which are under way.

import { setTimeout as sleep } from "node:timers/promises";

import { storm } from "./fault.js";

/** @typedef {import("./fault.js").Fault} Fault */
/** @typedef {{ seq: number, atMs: number, kind: Fault["kind"] | "storm" | "mend", untilMs: number, detail: string }} Pull */

export class Plug {
  /** @type {Pull[]} */
  #pulls = [];
  #lastSeq = 0;
  /** @type {AbortController | undefined} */
  #storm;
  #stormUntilMs = 0;
  /** @type {NodeJS.Timeout | undefined} */
  #slowTimer;

  /**
   * @param {import("./network.js").Network} network
   * @param {import("./backend.js").Backend} backend
   */
  constructor(network, backend) {
    this.network = network;
    this.backend = backend;
  }

  /**
   * The last pulls behind `seq`, oldest first.
   * @param {number} seq
   */
  pullsAfter(seq) {
    return this.#pulls.filter((pull) => pull.seq > seq);
  }

  get isStorming() {
    return Date.now() < this.#stormUntilMs;
  }

  /**
   * Resolves when the fault has begun, for a kill when the server is back.
   * @param {Fault} fault
   */
  async pull(fault) {
    this.#remember(fault.kind, fault.lastingMs, fault.kind === "cut" ? fault.how : "");
    switch (fault.kind) {
      case "cut":
        return this.network.cut(fault.how, fault.lastingMs);
      case "stall":
        return this.network.stall(fault.lastingMs);
      case "half_open":
        return this.network.halfOpen(fault.lastingMs);
      case "slow":
        clearTimeout(this.#slowTimer);
        this.#slowTimer = setTimeout(() => this.network.clear(), fault.lastingMs);
        return this.network.slow();
      case "kill":
        return this.backend.kill(fault.lastingMs);
    }
  }

  /**
   * Pulls at random for a while.
   * @param {number} seed
   * @param {number} lastingMs
   */
  async rage(seed, lastingMs) {
    this.#storm?.abort();
    const { signal } = (this.#storm = new AbortController());
    this.#stormUntilMs = Date.now() + lastingMs;
    this.#remember("storm", lastingMs, `seed ${seed}`);
    try {
      for (const { afterMs, fault } of storm(seed, lastingMs)) {
        await sleep(afterMs, undefined, { signal });
        if (Date.now() >= this.#stormUntilMs) break;
        await this.pull(fault);
      }
    } catch (error) {
      if (!signal.aborted) throw error;
    }
  }

  /** Ends what is under way. A server that is down comes back when it was going to. */
  mend() {
    this.#storm?.abort();
    this.#stormUntilMs = 0;
    clearTimeout(this.#slowTimer);
    this.network.clear();
    this.#remember("mend", 0, "");
  }

  /**
   * @param {Pull["kind"]} kind
   * @param {number} lastingMs
   * @param {string} detail
   */
  #remember(kind, lastingMs, detail) {
    const atMs = Date.now();
    this.#lastSeq += 1;
    this.#pulls.push({ seq: this.#lastSeq, atMs, kind, untilMs: atMs + lastingMs, detail });
    if (this.#pulls.length > pullCountMax) this.#pulls.shift();
  }
}

const pullCountMax = 200;
