import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";

import {
  connect,
  MemoryStore,
  RequestError,
  SessionOver,
  SubscriptionError,
  type ChannelItem,
  type ConnectOptions,
  type Session,
  type SessionState,
  type StateChange,
  type StateStore,
} from "../src/index.js";
import { FakeSocket } from "./support/fake_socket.js";

const EPOCH = "5bd1c0aa31f2e877";

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "Date", "performance"] });
  vi.spyOn(Math, "random").mockReturnValue(0.5);
  FakeSocket.forget();
});

afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
  vi.unstubAllGlobals();
});

describe("connecting", () => {
  test("asks for the subprotocol and says hello first", async () => {
    const { session, states } = await start({ client: "app/1" });
    expect(FakeSocket.last).toMatchObject({ url: "ws://localhost/server", wanted: "mainstay.v1.json" });
    FakeSocket.last.open();
    expect(FakeSocket.last.sent).toEqual([
      expect.objectContaining({ type: "hello", client: "app/1", unanswered_from: 1, accepted: 0, cursors: [] }),
    ]);
    void session.request("early");
    await turn();
    expect(FakeSocket.last.sent).toHaveLength(1);
    FakeSocket.last.welcome();
    expect(FakeSocket.last.of("request")).toHaveLength(1);
    expect(states.map(({ name }) => name)).toEqual(["connecting", "open"]);
    expect(session.state).toMatchObject({ name: "open", standing: "new", server: "fake" });
  });

  test("says nothing into a socket that is closing, and says it on the next one", async () => {
    const { session } = await start();
    FakeSocket.last.open();
    FakeSocket.last.welcome();
    const closing = FakeSocket.last;
    closing.readyState = 2;
    void session.request("late");
    await turn();
    expect(closing.of("request")).toEqual([]);
    closing.end();
    await vi.advanceTimersByTimeAsync(5000);
    expect(FakeSocket.last).not.toBe(closing);
    FakeSocket.last.open();
    FakeSocket.last.welcome({ standing: "resumed", generation: 2 });
    await turn();
    expect(FakeSocket.last.of("request")).toEqual([expect.objectContaining({ number: 1, command: "late" })]);
  });

  test("a session that is over is no unhandled rejection of those who listen with a callback", async () => {
    const { session } = await start();
    session.subscribe("news", {}, () => undefined);
    FakeSocket.last.open();
    FakeSocket.last.welcome();
    FakeSocket.last.end(4202);
    // An unhandled rejection fails the run.
    await vi.advanceTimersByTimeAsync(1);
    expect(session.state).toMatchObject({ name: "over" });
  });

  test("waits longer and longer, up to the cap, and never gives up", async () => {
    const { session } = await start();
    for (const rangeMs of [500, 1000, 2000, 4000, 8000, 16_000, 20_000, 20_000]) {
      const count = FakeSocket.made.length;
      FakeSocket.last.end();
      expect(session.state).toMatchObject({ name: "waiting", reason: "failed" });
      await vi.advanceTimersByTimeAsync(rangeMs / 2 - 1);
      expect(FakeSocket.made).toHaveLength(count);
      await vi.advanceTimersByTimeAsync(2);
      expect(FakeSocket.made).toHaveLength(count + 1);
    }
  });

  test("an attempt without an answer is given up after 10 s, and what it says later is not heard", async () => {
    const { session } = await start();
    const first = FakeSocket.last;
    await vi.advanceTimersByTimeAsync(10_001);
    expect(first.closedWith).toBe(1000);
    expect(session.state.name).toBe("waiting");
    await vi.advanceTimersByTimeAsync(251);
    expect(FakeSocket.made).toHaveLength(2);
    first.open();
    first.end();
    expect(first.sent).toEqual([]);
    expect(FakeSocket.made).toHaveLength(2);
    expect(session.state.name).toBe("connecting");
  });

  test("a server of another dialect stops it", async () => {
    const { session } = await start();
    FakeSocket.last.open("");
    expect(overOf(session)).toMatchObject({ reason: "dialect" });
  });

  test.each(["ftp://x", "nonsense"])("%s is no address", (url) => {
    expect(() => connect(url)).toThrow(TypeError);
  });
});

describe("losing a connection", () => {
  test("resumes with its token, and sends what was not accepted", async () => {
    const { session } = await open();
    const outcome = session.request("one");
    void session.request("two");
    await turn();
    FakeSocket.last.end();
    await vi.advanceTimersByTimeAsync(251);
    FakeSocket.last.open();
    expect(FakeSocket.last.of("hello")[0]).toMatchObject({
      session: "1".repeat(32),
      token: "t".repeat(43),
      unanswered_from: 1,
    });
    FakeSocket.last.welcome({ standing: "resumed", accepted: 1, generation: 2 });
    expect(FakeSocket.last.of("request").map(({ number, command }) => [number, command])).toEqual([[2, "two"]]);
    FakeSocket.last.say({ type: "reply", number: 1, outcome: { status: "done", payload: { json: '{"a":1.50}' } } });
    expect(await outcome).toEqual({ a: 1.5 });
  });

  test("that the server closes spreads the first retry over its window", async () => {
    const { session } = await open();
    FakeSocket.last.end(1001);
    expect(session.state).toMatchObject({ name: "waiting", reason: "closed", code: 1001, attempt: 1 });
    await vi.advanceTimersByTimeAsync(2499);
    expect(FakeSocket.made).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(2);
    expect(FakeSocket.made).toHaveLength(2);
  });

  test("that lived for 5 s begins the count anew, and one that did not does not", async () => {
    const { session } = await open();
    for (const attempt of [1, 2]) {
      FakeSocket.last.end();
      expect(session.state).toMatchObject({ attempt });
      await vi.advanceTimersByTimeAsync(600);
      FakeSocket.last.open();
      FakeSocket.last.welcome({ standing: "resumed" });
    }
    await vi.advanceTimersByTimeAsync(5000);
    FakeSocket.last.end();
    expect(session.state).toMatchObject({ attempt: 1 });
  });

  test.each([
    [4200, "superseded"],
    [4201, "refused"],
    [4202, "refused"],
    [1008, "refused"],
  ])("with code %i stops", async (code, reason) => {
    const { session, states } = await open();
    const outcome = session.request("one");
    await turn();
    FakeSocket.last.end(code);
    expect(overOf(session)).toMatchObject({ reason, code });
    await expect(outcome).rejects.toMatchObject({ kind: "indeterminate" });
    await vi.advanceTimersByTimeAsync(60_000);
    expect(FakeSocket.made).toHaveLength(1);
    expect(states.at(-2)?.name).toBe("open");
  });

  test("with code 4100 starts fresh", async () => {
    await open();
    FakeSocket.last.end(4100);
    await vi.advanceTimersByTimeAsync(2501);
    FakeSocket.last.open();
    expect(FakeSocket.last.of("hello")[0]?.session).toBeUndefined();
  });

  test("by goaway is done by itself within the window", async () => {
    await open();
    FakeSocket.last.say({ type: "goaway", window_ms: 4000, reason: "new version" });
    await vi.advanceTimersByTimeAsync(1999);
    expect(FakeSocket.last.closedWith).toBeUndefined();
    await vi.advanceTimersByTimeAsync(2);
    expect(FakeSocket.last.closedWith).toBe(1000);
    await vi.advanceTimersByTimeAsync(251);
    expect(FakeSocket.made).toHaveLength(2);
  });
});

describe("silence", () => {
  test("beyond the announced interval and 10 s ends a connection", async () => {
    const { session } = await open();
    await vi.advanceTimersByTimeAsync(34_000);
    FakeSocket.last.say({ type: "ping" });
    expect(FakeSocket.last.of("pong")).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(34_900);
    expect(session.state.name).toBe("open");
    await vi.advanceTimersByTimeAsync(200);
    expect(session.state).toMatchObject({ name: "waiting", reason: "silent" });
  });

  test("of a page that slept is told from what waits to be read", async () => {
    const { session } = await open();
    // The timers slept with the computer, the clock did not.
    vi.setSystemTime(Date.now() + 3_600_000);
    vi.advanceTimersByTime(10_000);
    FakeSocket.last.say({ type: "ping" });
    await vi.advanceTimersByTimeAsync(10);
    expect(session.state.name).toBe("open");
  });

  test("of a page that slept is noticed within seconds", async () => {
    const { session } = await open();
    vi.setSystemTime(Date.now() + 3_600_000);
    await vi.advanceTimersByTimeAsync(10_010);
    expect(session.state).toMatchObject({ name: "waiting", reason: "silent" });
  });

  test("is counted on when the clock is set back", async () => {
    const { session } = await open();
    vi.setSystemTime(Date.now() - 3_600_000);
    await vi.advanceTimersByTimeAsync(40_000);
    expect(session.state.name).not.toBe("open");
  });
});

describe("a page", () => {
  test.each(["online", "pageshow"])("that hears %s does not wait to come back", async (type) => {
    const page = stubPage();
    const { session } = await open();
    FakeSocket.last.end(1001);
    expect(session.state.name).toBe("waiting");
    page.dispatchEvent(new Event(type));
    expect(FakeSocket.made).toHaveLength(2);
    page.dispatchEvent(new Event(type));
    expect(FakeSocket.made, "one at a time").toHaveLength(2);
  });

  test("that is seen again opens a new socket at once if the old one is silent", async () => {
    const page = stubPage();
    const { session } = await open();
    page.document.dispatchEvent(new Event("visibilitychange"));
    expect(FakeSocket.made).toHaveLength(1);
    vi.setSystemTime(Date.now() + 3_600_000);
    page.document.visibilityState = "hidden";
    page.document.dispatchEvent(new Event("visibilitychange"));
    expect(FakeSocket.made).toHaveLength(1);
    page.document.visibilityState = "visible";
    page.document.dispatchEvent(new Event("visibilitychange"));
    expect(FakeSocket.made).toHaveLength(2);
    expect(session.state.name).toBe("connecting");
    const [old] = FakeSocket.made;
    old?.end(4200);
    expect(session.state.name, "what the old one says is not heard").toBe("connecting");
  });

  test("that is put aside lets go of its connection and comes back with it", async () => {
    const page = stubPage();
    const { session } = await open();
    page.dispatchEvent(Object.assign(new Event("pagehide"), { persisted: true }));
    expect(FakeSocket.last.closedWith).toBe(1000);
    await vi.advanceTimersByTimeAsync(100_000);
    expect(FakeSocket.made).toHaveLength(1);
    page.dispatchEvent(new Event("pageshow"));
    expect(FakeSocket.made).toHaveLength(2);
    await session.close();
    page.dispatchEvent(new Event("pageshow"));
    expect(FakeSocket.made).toHaveLength(2);
  });
});

describe("requests", () => {
  test("fail as the server says", async () => {
    const { session } = await open();
    const pending = [session.request("a"), session.request("b"), session.request("c"), session.publish("ch", 1)];
    await turn();
    const say = (number: number, error: string) => {
      const outcome = { status: "failed", error: error as "busy", message: "m" } as const;
      FakeSocket.last.say({ type: "reply", number, outcome });
    };
    say(1, "handler_failed");
    say(2, "never_ran");
    FakeSocket.last.say({ type: "reply", number: 3, outcome: { status: "indeterminate" } });
    FakeSocket.last.say({ type: "reply", number: 4, outcome: { status: "published", epoch: EPOCH, offset: 7 } });
    const errors = await Promise.all(pending.slice(0, 3).map((outcome) => outcome.catch((error: unknown) => error)));
    expect(errors.every((error) => error instanceof RequestError)).toBe(true);
    expect(errors).toMatchObject([
      { kind: "failed", code: "handler_failed", mayBeRetried: false },
      { kind: "never_ran", code: "never_ran", mayBeRetried: true },
      { kind: "indeterminate", mayBeRetried: false },
    ]);
    expect(await pending[3]).toEqual({ epoch: EPOCH, offset: 7 });
  });

  test("are refused past the limits, at once and for certain", async () => {
    const { session } = await start({ limits: { outboxCountMax: 2, outboxBytesMax: 1000 } });
    void session.request("a");
    await expect(session.request("b", "x".repeat(2000))).rejects.toMatchObject({ kind: "never_ran", code: "busy" });
    void session.request("c");
    const refused = session.request("d");
    await expect(refused.stored).rejects.toMatchObject({ code: "busy" });
    await expect(refused).rejects.toMatchObject({ kind: "never_ran" });
  });

  test("that are too big for the server never run", async () => {
    const { session } = await open();
    await expect(session.request("a", "x".repeat(70_000))).rejects.toMatchObject({
      kind: "never_ran",
      code: "too_big",
    });
  });

  test("are cancelled: before they are sent for certain, later by a frame", async () => {
    const { session } = await start();
    const controller = new AbortController();
    const unsent = session.request("a", null, { signal: controller.signal });
    await turn();
    controller.abort();
    await expect(unsent).rejects.toMatchObject({ code: "cancelled" });
    FakeSocket.last.open();
    FakeSocket.last.welcome();
    const sent = session.request("b");
    await turn();
    sent.cancel();
    expect(FakeSocket.last.of("cancel")).toEqual([{ type: "cancel", number: 1 }]);
  });

  test("do not stay with a signal that outlives them", async () => {
    const { session } = await open();
    const { signal } = new AbortController();
    const removed = vi.spyOn(signal, "removeEventListener");
    const pending = session.request("a", null, { signal });
    await turn();
    FakeSocket.last.say({ type: "reply", number: 1, outcome: { status: "done", payload: { json: "1" } } });
    await pending;
    expect(removed).toHaveBeenCalledTimes(1);
  });

  test("that cannot be sent by their deadline never run", async () => {
    const { session } = await start();
    const late = session.request("a", null, { deadlineMs: 1000 });
    const outcome = expect(late).rejects.toMatchObject({ kind: "never_ran" });
    await vi.advanceTimersByTimeAsync(1001);
    await outcome;
  });

  test("that cannot be said are the caller's error", async () => {
    const { session } = await open();
    expect(() => session.request("\ud800")).toThrow(TypeError);
    expect(() => session.publish("a b", 1)).toThrow(TypeError);
    expect(() => session.publish("$session/x", 1)).toThrow(TypeError);
    expect(() => session.request("a", (() => 1) as unknown as string)).toThrow(TypeError);
  });
});

describe("a store", () => {
  test("has everything before it is sent", async () => {
    const store = new SlowStore();
    const { session } = await start({ store });
    FakeSocket.last.open();
    await store.finish();
    FakeSocket.last.welcome();
    const pending = session.request("a");
    let isStored = false;
    void pending.stored.then(() => (isStored = true));
    await turn();
    expect(FakeSocket.last.of("request")).toEqual([]);
    expect(isStored).toBe(false);
    for (let round = 0; round < 5; round++) {
      await store.finish();
    }
    expect(isStored).toBe(true);
    expect(FakeSocket.last.of("request")).toHaveLength(1);
    const changes = store.committed.map(({ change }) => change);
    expect(changes).toContain("requested");
    expect(changes).toContain("numbered");
  });

  test("that is slow holds nothing for a connection that is gone", async () => {
    const store = new SlowStore();
    const { session } = await start({ store });
    FakeSocket.last.open();
    FakeSocket.last.welcome();
    void session.request("a");
    await turn();
    FakeSocket.last.end();
    await vi.advanceTimersByTimeAsync(251);
    FakeSocket.last.open();
    for (let round = 0; round < 5; round++) {
      await store.finish();
    }
    expect(FakeSocket.last.sent.map(({ type }) => type)).toEqual(["hello"]);
  });

  test("that fails ends the session, and nothing unsafe is sent", async () => {
    const store = new SlowStore();
    const { session } = await open({ store });
    const pending = session.request("a");
    const stored = expect(pending.stored).rejects.toBeInstanceOf(RequestError);
    await turn();
    store.fail(new Error("disk full"));
    await turn();
    await stored;
    expect(overOf(session)).toMatchObject({
      reason: "storage",
      cause: expect.objectContaining({ message: "disk full" }),
    });
    expect(FakeSocket.last.of("request")).toEqual([]);
    await expect(pending).rejects.toMatchObject({ kind: "left" });
  });

  test("that cannot be read ends the session before it begins", async () => {
    const store = Object.assign(new MemoryStore(), { load: () => Promise.reject(new Error("private mode")) });
    const session = connect("ws://localhost/server", { store, webSocket: FakeSocket });
    const early = session.request("a");
    await expect(session.ready).rejects.toBeInstanceOf(SessionOver);
    await expect(early).rejects.toMatchObject({ kind: "never_ran" });
    expect(FakeSocket.made).toEqual([]);
  });

  test("gives the requests of an earlier run, with their outcomes", async () => {
    const store = new MemoryStore();
    const { session } = await open({ store });
    const pending = session.request("a", { x: 1 });
    await pending.stored;
    await session.close();
    await expect(pending).rejects.toMatchObject({ kind: "left" });
    const { session: next } = await start({ store });
    const [restored] = next.restored;
    expect(restored).toMatchObject({ command: "a", payload: { x: 1 } });
    FakeSocket.last.open();
    FakeSocket.last.welcome({ standing: "resumed", accepted: 1 });
    FakeSocket.last.say({ type: "reply", number: 1, outcome: { status: "done", payload: { json: '"r"' } } });
    expect(await restored?.outcome).toBe("r");
  });

  test("knows within a second what was consumed while nothing is sent", async () => {
    const store = new SlowStore();
    const { session } = await open({ store });
    const items = session.subscribe("news");
    await flush(store);
    subscribed(0);
    event(1);
    await items.next();
    await items.next();
    FakeSocket.last.end();
    items.consumed();
    await vi.advanceTimersByTimeAsync(1001);
    await flush(store);
    expect(store.committed.at(-1)).toMatchObject({ change: "cursor_moved", place: { epoch: EPOCH, offset: 1 } });
  });
});

describe("subscriptions", () => {
  test("move their cursor when the next item is asked for", async () => {
    const { session } = await open();
    const items = session.subscribe("news", { start: { last: 2 } });
    await turn();
    expect(FakeSocket.last.of("subscribe")[0]).toMatchObject({ channel: "news", start: { last: 2 } });
    subscribed(5);
    event(6);
    expect((await items.next()).value).toMatchObject({ type: "subscribed", offset: 5 });
    expect((await items.next()).value).toEqual({
      type: "event",
      channel: "news",
      epoch: EPOCH,
      offset: 6,
      atMs: 1,
      payload: 6,
    });
    await vi.advanceTimersByTimeAsync(1001);
    expect(FakeSocket.last.of("ack")).toEqual([]);
    void items.next();
    await vi.advanceTimersByTimeAsync(1001);
    expect(FakeSocket.last.of("ack")).toMatchObject([{ cursors: [{ channel: "news", offset: 6 }] }]);
  });

  test("with a callback wait for its promise", async () => {
    const { session } = await open();
    const seen: ChannelItem[] = [];
    let release: () => void = () => undefined;
    session.subscribe("news", {}, (item) => {
      seen.push(item);
      return new Promise<void>((resolve) => (release = resolve));
    });
    await turn();
    subscribed(0);
    event(1);
    await turn();
    expect(seen).toHaveLength(1);
    release();
    await turn();
    expect(seen).toHaveLength(2);
  });

  test("that are full drop what comes and ask for it again, and hold no more than their limit", async () => {
    const { session } = await open({ limits: { queueCountMax: 10 } });
    const items = session.subscribe("news");
    await turn();
    subscribed(0);
    for (let offset = 1; offset <= 1000; offset++) {
      event(offset);
    }
    expect(FakeSocket.last.of("unsubscribe")).toHaveLength(1);
    FakeSocket.last.say({ type: "unsubscribed", channel: "news" });
    const offsets: number[] = [];
    while (FakeSocket.last.of("subscribe").length < 2) {
      const { value } = await items.next();
      if (value?.type === "event") {
        offsets.push(value.offset);
      }
    }
    // Nine events and the item before them waited.
    expect(FakeSocket.last.of("subscribe")[1]).toMatchObject({ start: { after: 9, epoch: EPOCH } });
    subscribed(9);
    event(10);
    while (offsets.at(-1) !== 10) {
      const { value } = await items.next();
      if (value?.type === "event") {
        offsets.push(value.offset);
      }
    }
    expect(offsets).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  });

  test("tell of gaps and members", async () => {
    const { session } = await open();
    const items = session.subscribe("news", { presence: "watch" });
    await turn();
    subscribed(0);
    FakeSocket.last.say({
      type: "presence",
      channel: "news",
      joined: [{ session: "2".repeat(32) }],
      left: [],
      member_count: 1,
    });
    FakeSocket.last.say({
      type: "gap",
      channel: "news",
      from_epoch: EPOCH,
      from: 1,
      to: 4,
      reason: "trimmed",
      epoch: EPOCH,
      offset: 4,
    });
    await items.next();
    expect((await items.next()).value).toMatchObject({ type: "presence", memberCount: 1 });
    expect((await items.next()).value).toEqual({
      type: "gap",
      channel: "news",
      fromEpoch: EPOCH,
      from: 1,
      to: 4,
      reason: "trimmed",
      epoch: EPOCH,
      offset: 4,
    });
  });

  test("end with the server's word", async () => {
    const { session } = await open();
    const items = session.subscribe("news");
    await turn();
    FakeSocket.last.say({ type: "problem", error: "too_many_subscriptions", message: "128", channel: "news" });
    await expect(items.next()).rejects.toBeInstanceOf(SubscriptionError);
    expect(() => session.subscribe("news")).not.toThrow();
  });

  test("are one for each channel, and leave their place when closed", async () => {
    const { session } = await open();
    const items = session.subscribe("news");
    expect(() => session.subscribe("news")).toThrow(TypeError);
    await turn();
    subscribed(3);
    event(4);
    await items.next();
    await items.next();
    items.consumed();
    items.close();
    expect(FakeSocket.last.of("unsubscribe")).toHaveLength(1);
    expect(await items.next()).toEqual({ done: true, value: undefined });
    session.subscribe("news", { start: { last: 9 } });
    await turn();
    expect(FakeSocket.last.of("subscribe")[1]).toMatchObject({ start: { after: 4, epoch: EPOCH } });
  });

  test("take the inbox, and let go of it while nobody reads it", async () => {
    const { session } = await open();
    const inbox = `$session/${"1".repeat(32)}`;
    FakeSocket.last.say({ type: "subscribed", channel: inbox, epoch: EPOCH, offset: 0, head: 0, member_count: 0 });
    expect(FakeSocket.last.of("unsubscribe")).toMatchObject([{ channel: inbox }]);
    FakeSocket.last.say({ type: "unsubscribed", channel: inbox });
    const items = session.inbox();
    expect(FakeSocket.last.of("subscribe")).toMatchObject([{ channel: inbox, start: { after: 0, epoch: EPOCH } }]);
    FakeSocket.last.say({ type: "subscribed", channel: inbox, epoch: EPOCH, offset: 0, head: 1, member_count: 0 });
    FakeSocket.last.say({ type: "event", channel: inbox, offset: 1, at_ms: 1, payload: { json: '"for you"' } });
    await items.next();
    expect((await items.next()).value).toMatchObject({ channel: inbox, payload: "for you" });
  });
});

describe("the server's commands", () => {
  test("are answered, refused and stopped", async () => {
    const { session } = await open();
    const signals: AbortSignal[] = [];
    let runCount = 0;
    session.handle("add", (payload) => {
      runCount++;
      return (payload as number[]).reduce((sum, value) => sum + value, 0);
    });
    session.handle("fail", () => Promise.reject(new Error("no \ud800")));
    session.handle("slow", (_, { signal }) => {
      signals.push(signal);
      return new Promise(() => undefined);
    });
    const ask = (number: number, command: string, deadline_ms?: number) => {
      FakeSocket.last.say({ type: "request", number, command, payload: { json: "[1,2]" }, deadline_ms });
    };
    ask(1, "add");
    ask(2, "fail");
    ask(3, "unknown");
    ask(4, "slow", 500);
    ask(5, "slow");
    await vi.advanceTimersByTimeAsync(501);
    FakeSocket.last.say({ type: "cancel", number: 5 });
    await turn();
    const outcomes = new Map(FakeSocket.last.of("reply").map(({ number, outcome }) => [number, outcome]));
    expect(outcomes.get(1)).toEqual({ status: "done", payload: { json: "3" } });
    expect(outcomes.get(2)).toEqual({ status: "failed", error: "handler_failed", message: "no \ufffd" });
    expect(outcomes.get(3)).toMatchObject({ error: "never_ran" });
    expect(outcomes.get(4)).toMatchObject({ error: "deadline_exceeded" });
    expect(outcomes.get(5)).toMatchObject({ error: "cancelled" });
    expect(signals.map(({ aborted }) => aborted)).toEqual([true, true]);
    ask(1, "add");
    expect(FakeSocket.last.of("reply").filter(({ number }) => number === 1)).toHaveLength(2);
    expect(runCount, "at most once").toBe(1);
  });

  test.each(["expired", "unknown"] as const)(
    "go with a session that is %s, and so does its inbox",
    async (standing) => {
      const { session } = await open();
      const [before, after] = ["1", "2"].map((digit) => `$session/${digit.repeat(32)}`) as [string, string];
      const say = (channel: string, text: string) => {
        const place = { channel, epoch: EPOCH, offset: 0 };
        FakeSocket.last.say({ type: "subscribed", ...place, head: 0, member_count: 0 });
        FakeSocket.last.say({ type: "event", channel, offset: 1, at_ms: 1, payload: { json: JSON.stringify(text) } });
      };
      let signal: AbortSignal | undefined;
      let finish: (value: number) => void = () => undefined;
      session.handle("slow", (_, command) => {
        signal = command.signal;
        return new Promise((resolve) => (finish = resolve));
      });
      const heard: string[] = [];
      const inbox = session.inbox();
      void (async () => {
        for await (const item of inbox) {
          heard.push(`${item.type} ${item.channel}`);
        }
      })();
      say(before, "for the first");
      FakeSocket.last.say({ type: "request", number: 1, command: "slow", payload: { json: "1" } });
      await turn();
      FakeSocket.last.end();
      await vi.advanceTimersByTimeAsync(5001);
      FakeSocket.last.open();
      FakeSocket.last.welcome({ standing, session: "2".repeat(32) });
      expect(signal?.aborted, "nobody wants its outcome").toBe(true);
      finish(1);
      await turn();
      expect(FakeSocket.last.of("reply"), "the new session has no such command").toEqual([]);
      say(before, "for nobody");
      say(after, "for the second");
      await turn();
      expect(heard).toEqual([`subscribed ${before}`, `event ${before}`, `subscribed ${after}`, `event ${after}`]);
    },
  );
});

describe("the end", () => {
  test("of a session is said, and everything has its outcome", async () => {
    const { session } = await open();
    const sent = session.request("a");
    const items = session.subscribe("news");
    await turn();
    const ended = session.end();
    expect(FakeSocket.last.sent.at(-1)).toEqual({ type: "bye" });
    await expect(sent).rejects.toMatchObject({ kind: "indeterminate" });
    FakeSocket.last.end(1000);
    await ended;
    expect(overOf(session)).toMatchObject({ reason: "ended" });
    expect(await items.next()).toEqual({ done: true, value: undefined });
    await expect(session.request("b")).rejects.toMatchObject({ kind: "never_ran" });
  });

  test("comes without the server's answer, too", async () => {
    const { session } = await open();
    const ended = session.end();
    await vi.advanceTimersByTimeAsync(5001);
    await ended;
    expect(session.state.name).toBe("over");
    await session.close();
  });
});

async function start(options: ConnectOptions = {}): Promise<{ session: Session; states: SessionState[] }> {
  const session = connect("ws://localhost/server", { webSocket: FakeSocket, ...options });
  const states: SessionState[] = [];
  session.addEventListener("state", ({ state }) => {
    states.push(state);
  });
  await session.ready;
  await turn();
  return { session, states };
}

async function open(options: ConnectOptions = {}): Promise<{ session: Session; states: SessionState[] }> {
  const started = await start(options);
  FakeSocket.last.open();
  if (options.store instanceof SlowStore) {
    await flush(options.store);
  }
  FakeSocket.last.welcome();
  if (options.store instanceof SlowStore) {
    await flush(options.store);
  }
  return started;
}

/** Lets everything run that is due. */
async function turn(): Promise<void> {
  await vi.advanceTimersByTimeAsync(0);
}

async function flush(store: SlowStore): Promise<void> {
  for (let round = 0; round < 5; round++) {
    await store.finish();
  }
}

function subscribed(offset: number): void {
  FakeSocket.last.say({ type: "subscribed", channel: "news", epoch: EPOCH, offset, head: offset, member_count: 0 });
}

function event(offset: number): void {
  FakeSocket.last.say({ type: "event", channel: "news", offset, at_ms: 1, payload: { json: String(offset) } });
}

function overOf(session: Session): SessionOver | undefined {
  return session.state.name === "over" ? session.state.error : undefined;
}

function stubPage(): EventTarget & { document: EventTarget & { visibilityState: string } } {
  const document = Object.assign(new EventTarget(), { visibilityState: "visible" });
  const page = Object.assign(new EventTarget(), { document });
  vi.stubGlobal("document", document);
  vi.stubGlobal("addEventListener", page.addEventListener.bind(page));
  vi.stubGlobal("removeEventListener", page.removeEventListener.bind(page));
  return page;
}

/** A store that takes as long as the test wants. */
class SlowStore implements StateStore {
  readonly committed: StateChange[] = [];
  #settle: { resolve(): void; reject(error: Error): void } | undefined;

  load(): Promise<readonly StateChange[]> {
    return Promise.resolve([]);
  }

  commit(changes: readonly StateChange[]): Promise<void> {
    expect(this.#settle, "one commit at a time").toBeUndefined();
    return new Promise((resolve, reject) => {
      this.#settle = {
        resolve: () => {
          this.committed.push(...changes);
          resolve();
        },
        reject,
      };
    });
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  async finish(): Promise<void> {
    const settle = this.#settle;
    this.#settle = undefined;
    settle?.resolve();
    await turn();
  }

  fail(error: Error): void {
    this.#settle?.reject(error);
  }
}
