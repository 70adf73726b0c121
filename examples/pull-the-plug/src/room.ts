import {
  connect,
  MemoryStore,
  RequestError,
  type ChannelItem,
  type EventItem,
  type Pending,
  type Place,
  type Session,
  type Standing,
} from "mainstay";
import { indexedDbStore } from "mainstay/indexeddb";

import { Checker } from "./checker.ts";
import { Jobs } from "./jobs.ts";
import type { Draft, Entry, Journal, Page } from "./journal.ts";
import {
  progressChannel,
  readMessage,
  roomChannel,
  type JobOutcome,
  type Joined,
  type Ran,
  type Said,
} from "./message.ts";
import type { Seat } from "./seat.ts";

/**
 * The application: what this page has heard and said. It knows the session of Mainstay and no socket;
 * nothing in here is about connections that end.
 *
 * Speaking: a message is counted and kept in the journal, published, and settled when its place in the
 * log is known. Hearing: a message and the checker that has counted it are kept in the journal, and only
 * then is the next one asked for. `changed` is dispatched after everything that shows.
 */
export class Room extends EventTarget {
  static async enter(options: RoomOptions): Promise<Room> {
    const room = new Room(options);
    await room.#begin();
    return room;
  }

  readonly session: Session;
  /** Requests of a session run one after the other, and what is published waits its turn behind them. So
   * that people can talk while a long command runs, it has a session of its own. */
  readonly errands: Session;
  readonly jobs = new Jobs();
  /** What was heard lately, in the order in which it came. */
  readonly entries: Entry[] = [];
  /** Messages of our own without a place yet, in their order. */
  readonly drafts = new Map<number, Draft>();
  /** The sessions that are here. */
  readonly members = new Set<string>();
  /** Who spoke from which session. */
  readonly people = new Map<string, Joined>();

  readonly #journal: Journal;
  #checker = new Checker();
  #page: Page;
  /** Messages are counted one after the other … */
  #speaking: Promise<void> = Promise.resolve();
  /** … and published in the order of their numbers, those before a reload first. */
  #publishing: Promise<void> = Promise.resolve();
  #report: Pending<unknown> | undefined;
  /** The session's public id, once it has been open. */
  #sessionId: string | undefined;
  #announcedSession: string | undefined;
  /** The members come anew behind a `subscribed`; until then those before are shown. */
  #areMembersOld = false;
  /** Where the journal ended when the page was loaded, by channel. */
  readonly #journalEnds = new Map<string, JournalEnd>();

  private constructor({ endpoint, room, seat, journal }: RoomOptions) {
    super();
    this.#journal = journal;
    this.#page = { author: crypto.randomUUID(), name: nameOf(seat), sent: 0, resumes: 0 };
    const sessionFor = (what: string) =>
      connect(endpoint, {
        client: `pull-the-plug ${what}`,
        store: seat.isDurable
          ? indexedDbStore(`pull-the-plug ${room} ${seat.name} ${what}`)
          : new MemoryStore(),
        // As impatient as the demo's server: a half-open line is given up after five silent seconds,
        // and an attempt to come back is never far.
        timing: { silenceMarginMs: 3_000 },
        reconnect: { delayMaxMs: 2_000 },
      });
    this.session = sessionFor("room");
    this.errands = sessionFor("errands");
  }

  get page(): Page {
    return this.#page;
  }

  get counts() {
    return this.#checker.counts;
  }

  get isReporting(): boolean {
    return this.#report !== undefined;
  }

  say(text: string): Promise<void> {
    return this.#speak((by) => ({ kind: "said", ...by, text }));
  }

  async rename(name: string): Promise<void> {
    if (name === this.#page.name) return;
    this.#page = { ...this.#page, name };
    if (this.#sessionId !== undefined) await this.#join(this.#sessionId);
  }

  /** Asks for a long command, and tells the room what became of it. */
  makeReport(): void {
    const job = `${this.#page.name} ${new Date().toTimeString().slice(0, 8)}`;
    this.jobs.asked(job, this.#page.name, reportStepCount);
    const payload = { job, stepCount: reportStepCount };
    this.#follow(job, this.errands.request("make report", payload));
  }

  cancelReport(): void {
    this.#report?.cancel();
  }

  get sessionId(): string | undefined {
    return this.#sessionId;
  }

  /** The session has a connection: counts it, and says who is here unless that has been said. */
  #arrived(session: string, standing: Standing): void {
    this.#sessionId = session;
    if (standing === "resumed") {
      this.#page = { ...this.#page, resumes: this.#page.resumes + 1 };
      void this.#journal.keep({ page: this.#page });
    }
    if (session === this.#announcedSession) return;
    this.#announcedSession = session;
    if (this.people.get(session)?.author !== this.#page.author) void this.#join(session);
  }

  async #begin(): Promise<void> {
    const kept = await this.#journal.read();
    this.#page = kept.page ?? this.#page;
    this.#checker = new Checker(kept.checker);
    for (const entry of kept.entries) this.#show(entry);
    for (const draft of kept.drafts) this.drafts.set(draft.number, draft);
    for (const channel of [roomChannel, progressChannel]) {
      const end = this.#checker.heardUpTo(channel);
      if (end) this.#journalEnds.set(channel, { ...end, repeatedUpTo: 0 });
    }
    this.session.addEventListener("state", ({ state }) => {
      if (state.name === "open") this.#arrived(state.session, state.standing);
      this.#changed();
    });
    await Promise.all([this.session.ready, this.errands.ready]);
    const unknown = this.#takeUp();
    const caughtUp = this.#listen();
    if (unknown.size > 0) this.#publishing = caughtUp.then(() => this.#publishLost(unknown));
  }

  /**
   * Takes up what the page before left without an outcome. What it returns was counted, but the session
   * does not know of it: either its place came at the last moment, and it is still to be heard, or it was
   * never published.
   */
  #takeUp(): ReadonlySet<number> {
    const unknown = new Set(this.drafts.keys());
    for (const { payload, outcome } of this.errands.restored) {
      this.#follow((payload as { job: string }).job, outcome);
    }
    for (const { payload, outcome } of this.session.restored) {
      const { author, number } = readMessage(payload);
      if (author !== this.#page.author || number === undefined) continue;
      unknown.delete(number);
      void this.#settle(number, outcome as Pending<Place>);
    }
    return unknown;
  }

  /** What has not come by now never will: it was counted, and not published. */
  #publishLost(unknown: ReadonlySet<number>): void {
    for (const [number, draft] of this.drafts) {
      if (unknown.has(number)) this.#publish(draft);
    }
  }

  /** Subscribes, and resolves when everything has been heard that had been said by then. */
  #listen(): Promise<void> {
    return new Promise((caughtUp) => {
      let head = Infinity;
      const options = { start: this.#start(roomChannel), presence: "join_and_watch" } as const;
      this.session.subscribe(roomChannel, options, async (item) => {
        if (item.type === "subscribed") head = Math.min(head, item.head);
        await this.#heard(item);
        if ((this.#checker.heardUpTo(roomChannel)?.offset ?? 0) >= head) caughtUp();
      });
      const start = this.#start(progressChannel);
      this.session.subscribe(progressChannel, { start }, (item) => this.#heard(item));
    });
  }

  /** Behind what the journal has; from the very beginning if it has nothing. */
  #start(channel: string) {
    const heard = this.#checker.heardUpTo(channel);
    return heard ? { after: heard.offset, epoch: heard.epoch } : { after: 0 };
  }

  async #heard(item: ChannelItem): Promise<void> {
    switch (item.type) {
      case "event":
        await this.#heardEvent(item);
        break;
      case "gap":
        this.#checker.gap(item.channel, item.epoch, item.offset);
        await this.#journal.keep({ checker: this.#checker.state });
        break;
      case "subscribed":
        if (item.channel === roomChannel) this.#areMembersOld = true;
        break;
      case "presence":
        if (this.#areMembersOld) this.members.clear();
        this.#areMembersOld = false;
        for (const { session } of item.joined) this.members.add(session);
        for (const { session } of item.left) this.members.delete(session);
        break;
    }
    this.#changed();
  }

  async #heardEvent(item: EventItem): Promise<void> {
    const { channel, epoch, offset, atMs } = item;
    if (this.#isInJournal(item)) {
      this.#checker.heardBeforeReload();
      return this.#journal.keep({ checker: this.#checker.state });
    }
    const message = readMessage(item.payload);
    this.#checker.heard({
      place: { channel, epoch, offset },
      author: message.author,
      number: message.number,
    });
    const heardNumber = (this.entries.at(-1)?.heardNumber ?? 0) + 1;
    const entry: Entry = { heardNumber, channel, epoch, offset, atMs, message };
    const isOwn = message.author === this.#page.author;
    const forgotten = this.#show(entry);
    if (isOwn) this.drafts.delete(message.number);
    const settled = isOwn ? { settled: message.number } : {};
    await this.#journal.keep({ checker: this.#checker.state, entry, forgotten, ...settled });
    this.dispatchEvent(new CustomEvent("heard", { detail: entry }));
  }

  /**
   * A page that is loaded again may be given once more what the page before was given last. What comes
   * behind the journal's end, or twice to the same page, is none of that.
   */
  #isInJournal({ channel, epoch, offset }: EventItem): boolean {
    const end = this.#journalEnds.get(channel);
    if (end === undefined) return false;
    const isRepeated = epoch === end.epoch && offset <= end.offset && offset > end.repeatedUpTo;
    if (isRepeated) end.repeatedUpTo = offset;
    else this.#journalEnds.delete(channel);
    return isRepeated;
  }

  /** Returns what is too old to be kept any longer: who spoke from which session is not. */
  #show(entry: Entry): Entry | undefined {
    this.entries.push(entry);
    const { message } = entry;
    if (message.kind === "joined") this.people.set(message.session, message);
    if (message.kind === "step" || message.kind === "ran") this.jobs.heard(message);
    const oldest = this.entries.length > entryCountMax ? this.entries.shift() : undefined;
    return oldest?.message.kind === "joined" ? undefined : oldest;
  }

  /** Tells who this page is. */
  #join(session: string): Promise<void> {
    return this.#speak((by) => ({ kind: "joined", ...by, session }));
  }

  #speak(
    make: (by: { author: string; number: number; name: string }) => Draft["message"],
  ): Promise<void> {
    this.#speaking = this.#speaking.then(async () => {
      const { author, name, sent } = this.#page;
      const number = sent + 1;
      const draft: Draft = { number, atMs: Date.now(), message: make({ author, number, name }) };
      this.#page = { ...this.#page, sent: number };
      // First the journal, then the page and the session: what can be seen is kept.
      await this.#journal.keep({ page: this.#page, draft });
      this.drafts.set(number, draft);
      this.#publishing = this.#publishing.then(() => this.#publish(draft));
      this.dispatchEvent(new CustomEvent("sent", { detail: draft }));
      this.#changed();
    });
    return this.#speaking;
  }

  #publish({ number, message }: Draft): void {
    void this.#settle(number, this.session.publish(roomChannel, { ...message }));
  }

  /** Waits for the place of a message. The message itself comes to us as to everybody. */
  async #settle(number: number, pending: Pending<Place>): Promise<void> {
    try {
      const { epoch, offset } = await pending;
      this.#checker.stored(this.#page.author, number, { channel: roomChannel, epoch, offset });
      await this.#journal.keep({ checker: this.#checker.state, settled: number });
    } catch (error) {
      // Left behind by a page that goes: the next page of this seat takes it up.
      if (error instanceof RequestError && error.kind === "left") return;
      console.warn(`message ${String(number)}:`, error);
    }
    this.#changed();
  }

  #follow(job: string, pending: Pending<unknown>): void {
    this.#report = pending;
    this.#changed();
    const told = (outcome: JobOutcome) => {
      if (this.#report === pending) this.#report = undefined;
      void this.#speak((by) => ({ kind: "ran", ...by, job, outcome }));
    };
    pending.then(
      () => told("done"),
      (error: unknown) => {
        if (!(error instanceof RequestError)) throw error;
        if (error.kind === "left") return;
        if (error.code === "cancelled") told("cancelled");
        else
          told(
            ({ never_ran: "never ran", failed: "failed", indeterminate: "unknown" } as const)[
              error.kind
            ],
          );
      },
    );
  }

  #changed(): void {
    this.dispatchEvent(new Event("changed"));
  }
}

export interface RoomOptions {
  readonly endpoint: string;
  readonly room: string;
  readonly seat: Seat;
  readonly journal: Journal;
}

interface JournalEnd {
  readonly epoch: string;
  readonly offset: number;
  repeatedUpTo: number;
}

/** Neighbours have different names to begin with. */
function nameOf(seat: Seat): string {
  const number = Number(seat.name.replace("seat-", ""));
  return names[(number - 1) % names.length] ?? "Guest";
}

const names = [
  "Ada",
  "Barbara",
  "Edsger",
  "Frances",
  "Grace",
  "Hedy",
  "Karen",
  "Leslie",
  "Radia",
  "Tony",
];
const reportStepCount = 20;
const entryCountMax = 2_000;
