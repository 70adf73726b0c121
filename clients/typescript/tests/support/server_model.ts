import { expect } from "vitest";

import type { ClientFrame, Outcome, Place, ServerFrame, Standing, Start } from "../../src/wire/frames.js";

export const NEWS = "news";

/** A server that keeps its promises and is strict about tokens and numbers. It may be told to forget a
 * session, to trim its history, or to begin another epoch. */
export class ServerModel {
  readonly toClient: ServerFrame[] = [];
  /** How often each command ran, by its name. */
  readonly runs = new Map<string, number>();
  readonly replied = new Set<string>();
  /** What the client may have missed for good: sessions that were given up with it. */
  forgottenCount = 0;
  sentCommandCount = 0;
  epoch = 1;
  head = 0;
  #trimmed = 0;
  #session = 0;
  #token = 0;
  #tokenBefore: number | undefined;
  #isKnown = false;
  #accepted = 0;
  #unansweredFrom = 1;
  #outcomes = new Map<number, Outcome>();
  #cursor: Place | undefined;
  #commandCount = 0;
  #isConnected = false;
  /** The client has said something behind the last welcome, so it has the token. */
  #isProved = false;
  #expired: { session: string; accepted: number } | undefined;

  /** Hears a frame of the client. */
  hear(frame: ClientFrame): void {
    if (frame.type !== "hello") {
      this.#tokenBefore = undefined;
      this.#isProved = true;
    }
    switch (frame.type) {
      case "hello":
        this.#greet(frame);
        break;
      case "request":
        expect(frame.number, "no hole").toBeLessThanOrEqual(this.#accepted + 1);
        if (frame.number === this.#accepted + 1) {
          this.#accepted++;
          this.runs.set(frame.command, (this.runs.get(frame.command) ?? 0) + 1);
          this.#outcomes.set(frame.number, { status: "done", payload: { value: frame.command } });
        }
        this.#reply(frame.number);
        break;
      case "ack":
        expect(frame.unanswered_from).toBeLessThanOrEqual(this.#accepted + 1);
        this.#unansweredFrom = Math.max(this.#unansweredFrom, frame.unanswered_from);
        break;
      case "subscribe":
        this.#subscribe(frame.start);
        break;
      case "unsubscribe":
        this.#cursor = undefined;
        this.toClient.push({ type: "unsubscribed", channel: frame.channel });
        break;
      case "reply":
        this.replied.add(`${this.#session}:${frame.number}`);
        break;
      case "cancel":
      case "pong":
        break;
      default:
        throw new Error(`unexpected ${frame.type}`);
    }
  }

  /** The connection is gone, with what was on it. */
  lose(): void {
    this.#isConnected = false;
    this.toClient.length = 0;
    this.#cursor = undefined;
  }

  /** The session is no more. */
  forget(standing: "expired" | "unknown"): void {
    if (this.#isKnown) {
      this.#isKnown = false;
      this.#isProved = false;
      this.#expired = standing === "expired" ? { session: idOf(this.#session), accepted: this.#accepted } : undefined;
      this.forgottenCount++;
    }
  }

  publish(): void {
    this.head++;
    if (this.#cursor) {
      this.#event(this.head);
      this.#cursor = { epoch: String(this.epoch), offset: this.head };
    }
  }

  trim(): void {
    this.#trimmed = this.head;
  }

  beginEpoch(): void {
    this.epoch++;
    this.head = 0;
    this.#trimmed = 0;
    if (this.#cursor) {
      this.#followBehind(this.#cursor);
    }
  }

  command(): void {
    if (this.#isKnown) {
      this.#commandCount++;
      this.sentCommandCount++;
      if (this.#isConnected) {
        this.#sendCommand(this.#commandCount);
      }
    }
  }

  /** The commands of the session that lives now. */
  commandsNow(): string[] {
    return Array.from({ length: this.#commandCount }, (_, index) => `${this.#session}:${index + 1}`);
  }

  /** The session that lives now. */
  get session(): number {
    return this.#session;
  }

  #greet(hello: Extract<ClientFrame, { type: "hello" }>): void {
    const shown = hello.token === undefined ? undefined : Number(hello.token);
    this.#isConnected = true;
    let standing: Standing = "resumed";
    let accepted = this.#accepted;
    if (this.#isKnown && hello.session === idOf(this.#session)) {
      expect([this.#token, this.#tokenBefore], "the client has lost its token").toContain(shown);
      expect(hello.unanswered_from).toBeLessThanOrEqual(accepted + 1);
      expect(hello.unanswered_from, "it wants what it acknowledged").toBeGreaterThanOrEqual(this.#unansweredFrom);
      this.#unansweredFrom = hello.unanswered_from;
      this.#tokenBefore = shown;
    } else {
      const isExpired = hello.session !== undefined && hello.session === this.#expired?.session;
      standing = hello.session === undefined ? "new" : isExpired ? "expired" : "unknown";
      // A session that was begun and whose welcome was lost is nobody's.
      expect(this.#isProved, "the client has forgotten its session").toBe(false);
      accepted = isExpired ? (this.#expired?.accepted ?? 0) : 0;
      this.#isKnown = true;
      this.#session++;
      this.#accepted = 0;
      this.#unansweredFrom = 1;
      this.#outcomes.clear();
      this.#commandCount = 0;
      this.#tokenBefore = undefined;
    }
    this.#isProved = false;
    this.#token++;
    this.toClient.push({
      type: "welcome",
      standing,
      session: idOf(this.#session),
      token: String(this.#token),
      generation: this.#token,
      accepted,
      server: "model",
      ping_interval_ms: 25_000,
      session_expiry_ms: 600_000,
      limits: { request_count_max: 4, message_bytes_max: 65_536, subscription_count_max: 128 },
    });
    for (let number = this.#unansweredFrom; number <= this.#accepted; number++) {
      this.#reply(number);
    }
    const [cursor] = hello.cursors;
    if (cursor) {
      this.#follow(cursor);
    }
    if (standing === "resumed") {
      // One more than the client lacks: what it has accepted must not run again.
      for (let number = Math.max(1, hello.accepted); number <= this.#commandCount; number++) {
        this.#sendCommand(number);
      }
    }
  }

  #subscribe(start: Start): void {
    const epoch = String(this.epoch);
    if (start === "now") {
      this.#follow({ epoch, offset: this.head });
    } else if ("after" in start) {
      this.#follow({ epoch: start.epoch ?? epoch, offset: start.after });
    } else {
      this.#follow({ epoch, offset: Math.max(0, this.head - start.last) });
    }
  }

  #follow(place: Place): void {
    this.toClient.push({ type: "subscribed", channel: NEWS, ...place, head: this.head, member_count: 0 });
    this.#followBehind(place);
  }

  #followBehind({ epoch: fromEpoch, offset }: Place): void {
    const epoch = String(this.epoch);
    let place = offset;
    if (fromEpoch !== epoch) {
      place = this.#trimmed;
      const gap = { type: "gap", channel: NEWS, from_epoch: fromEpoch, from: offset + 1, reason: "epoch" } as const;
      this.toClient.push({ ...gap, epoch, offset: place });
    } else if (offset < this.#trimmed) {
      place = this.#trimmed;
      const gap = { type: "gap", channel: NEWS, from_epoch: epoch, from: offset + 1, reason: "trimmed" } as const;
      this.toClient.push({ ...gap, to: place, epoch, offset: place });
    }
    for (let next = place + 1; next <= this.head; next++) {
      this.#event(next);
    }
    this.#cursor = { epoch, offset: this.head };
  }

  #event(offset: number): void {
    const payload = { value: `${this.epoch}:${offset}` };
    this.toClient.push({ type: "event", channel: NEWS, offset, at_ms: 0, payload });
  }

  #reply(number: number): void {
    const outcome = this.#outcomes.get(number);
    if (outcome) {
      this.toClient.push({ type: "reply", number, outcome });
    }
  }

  #sendCommand(number: number): void {
    this.toClient.push({ type: "request", number, command: "tell", payload: { value: this.#session } });
  }
}

function idOf(session: number): string {
  return String(session).padStart(32, "0");
}
