import "fake-indexeddb/auto";
import { appendFileSync, mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";

import { connect, MemoryStore, type StateChange, type StateStore } from "../src/index.js";
import { applyChange, emptyState, type SavedState } from "../src/session/state.js";
import { fileStore } from "../src/store/file.js";
import { indexedDbStore } from "../src/store/indexeddb.js";
import { FakeSocket } from "./support/fake_socket.js";

let folder = "";
let locks: FakeLocks;
let nameCount = 0;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "mainstay-store-"));
  locks = new FakeLocks();
  nameCount++;
  tab();
});

afterEach(() => {
  rmSync(folder, { recursive: true });
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
});

const stores: [string, () => () => StateStore][] = [
  [
    "MemoryStore",
    () => {
      const store = new MemoryStore();
      return () => store;
    },
  ],
  ["fileStore", () => () => fileStore(join(folder, "session"))],
  ["indexedDbStore", () => () => indexedDbStore(`app${nameCount}`)],
];

describe.each(stores)("%s", (_name, make) => {
  test("gives back what was committed", async () => {
    const open = make();
    const store = open();
    expect(stateOf(await store.load())).toEqual(emptyState());
    const changes = lifeOf(1000);
    for (let at = 0; at < changes.length; at += 7) {
      await store.commit(changes.slice(at, at + 7));
    }
    await store.close();
    const again = open();
    const found = await again.load();
    expect(stateOf(found)).toEqual(stateOf(changes));
    expect(found.length, "what is settled is not kept for ever").toBeLessThan(changes.length);
    await again.commit([{ change: "settled", key: 999 }]);
    await again.close();
    const third = open();
    expect(stateOf(await third.load()).requests.has(999)).toBe(false);
    await third.close();
  });
});

describe("fileStore", () => {
  test("passes over a line that was not written to its end", async () => {
    const path = join(folder, "session");
    const store = fileStore(path);
    await store.load();
    const [first, second] = [lifeOf(3), lifeOf(5)];
    await store.commit(first);
    await store.close();
    appendFileSync(path, JSON.stringify(second).slice(0, 50));
    const again = fileStore(path);
    expect(stateOf(await again.load())).toEqual(stateOf(first));
    await again.commit([{ change: "settled", key: 1 }]);
    await again.close();
    expect(readFileSync(path, "utf8").trimEnd().split("\n")).toHaveLength(2);
    const third = fileStore(path);
    expect(stateOf(await third.load()).requests.has(1)).toBe(false);
    await third.close();
    expect(statSync(path).mode & 0o777).toBe(0o600);
  });

  test("says so when it cannot be written", async () => {
    await expect(fileStore(join(folder, "none", "session")).load()).rejects.toThrow("ENOENT");
    await expect(fileStore(folder).load()).rejects.toThrow();
  });
});

describe("indexedDbStore", () => {
  const open = () => indexedDbStore(`app${nameCount}`);

  test("gives each tab a slot of its own, also one that was duplicated", async () => {
    const first = open();
    await first.load();
    await first.commit(lifeOf(2));
    // A duplicate has a copy of the first one's sessionStorage.
    tab(new Map(tabStorage));
    const second = open();
    expect(await second.load()).toEqual([]);
    expect([...locks.held].length).toBe(2);
  });

  test("takes up its slot after a reload, though the page before lets go late", async () => {
    const first = open();
    await first.load();
    tab();
    const other = open();
    await other.load();
    await other.commit(lifeOf(3));
    const mine = tabStorage;
    await first.close();
    tab(mine);
    const reloaded = open();
    const loading = reloaded.load();
    setTimeout(() => void other.close(), 20);
    expect(stateOf(await loading)).toEqual(stateOf(lifeOf(3)));
  });

  test("takes the slot of a closed tab, first one with requests", async () => {
    const tabs = [open(), open(), open()];
    for (const [index, store] of tabs.entries()) {
      tab();
      await store.load();
      await store.commit(index === 1 ? [{ change: "requested", key: 1, call: CALL }] : [COUNTED]);
    }
    await tabs[0]?.close();
    await tabs[1]?.close();
    tab();
    const next = open();
    expect(stateOf(await next.load()).requests.size).toBe(1);
    tab();
    const last = open();
    expect(stateOf(await last.load())).toEqual(stateOf([COUNTED]));
  });

  test("works without locks, with a slot for each tab", async () => {
    vi.stubGlobal("navigator", {});
    const first = open();
    await first.load();
    await first.commit(lifeOf(2));
    await first.close();
    const mine = tabStorage;
    tab();
    vi.stubGlobal("navigator", {});
    expect(await open().load()).toEqual([]);
    tab(mine);
    vi.stubGlobal("navigator", {});
    expect(stateOf(await open().load())).toEqual(stateOf(lifeOf(2)));
  });

  test("asks for strict durability", async () => {
    const transaction = vi.spyOn(IDBDatabase.prototype, "transaction");
    const store = open();
    await store.load();
    await store.commit(lifeOf(1));
    expect(transaction).toHaveBeenLastCalledWith("changes", "readwrite", { durability: "strict" });
  });

  test("that is refused ends the session with a clear error, and nothing is sent", async () => {
    vi.spyOn(indexedDB, "open").mockImplementation(() => {
      throw new DOMException("not in private mode", "SecurityError");
    });
    FakeSocket.forget();
    const session = connect("ws://localhost/server", { store: open(), webSocket: FakeSocket });
    await expect(session.request("a").stored).rejects.toMatchObject({ kind: "never_ran" });
    expect(session.state).toMatchObject({
      name: "over",
      error: { reason: "storage", cause: { name: "SecurityError" } },
    });
    expect(FakeSocket.made).toEqual([]);
  });

  test("that is full ends the session, and nothing is sent that is not stored", async () => {
    FakeSocket.forget();
    const session = connect("ws://localhost/server", { store: open(), webSocket: FakeSocket });
    await session.ready;
    FakeSocket.last.open();
    vi.spyOn(IDBObjectStore.prototype, "put").mockImplementation(() => {
      throw new DOMException("no room", "QuotaExceededError");
    });
    FakeSocket.last.welcome();
    await expect(session.request("a").stored).rejects.toMatchObject({ kind: "left" });
    expect(session.state).toMatchObject({ error: { reason: "storage", cause: { name: "QuotaExceededError" } } });
    expect(FakeSocket.last.of("request")).toEqual([]);
  });
});

/** Requests of which all but the last are settled, and a bit of everything else. */
function lifeOf(count: number): StateChange[] {
  const changes: StateChange[] = [
    { change: "welcomed", standing: "new", identity: { session: "s", token: "t" }, accepted: 0 },
    { change: "subscribed", channel: "news", start: "now", delivery: "every", presence: "none" },
    { change: "command_accepted", number: 1 },
    { change: "command_answered", number: 1, outcome: { status: "done", payload: { data: Uint8Array.of(1, 2) } } },
  ];
  for (let key = 1; key <= count; key++) {
    changes.push({ change: "requested", key, call: CALL }, { change: "numbered", key, number: key });
    changes.push({ change: "cursor_moved", channel: "news", place: { epoch: "e", offset: key } });
    if (key < count - 1) {
      changes.push({ change: "settled", key });
    }
  }
  return changes;
}

function stateOf(changes: readonly StateChange[]): SavedState {
  const state = emptyState();
  for (const change of changes) {
    applyChange(state, change);
  }
  return state;
}

let tabStorage = new Map<string, string>();

/** Another tab, with a storage of its own. */
function tab(storage = new Map<string, string>()): void {
  tabStorage = storage;
  vi.stubGlobal("sessionStorage", {
    getItem: (key: string) => storage.get(key) ?? null,
    setItem: (key: string, value: string) => void storage.set(key, value),
  });
  vi.stubGlobal("navigator", { locks });
}

/** As much of Web Locks as is used. */
class FakeLocks {
  readonly held = new Set<string>();
  readonly #waiting: (() => void)[] = [];

  async request(
    name: string,
    options: { ifAvailable?: boolean; signal?: AbortSignal },
    run: (lock: object | null) => unknown,
  ): Promise<unknown> {
    while (this.held.has(name)) {
      if (options.ifAvailable) {
        return run(null);
      }
      await new Promise<void>((resolve, reject) => {
        this.#waiting.push(resolve);
        options.signal?.addEventListener("abort", () => reject(options.signal?.reason as Error));
      });
    }
    this.held.add(name);
    try {
      return await run({});
    } finally {
      this.held.delete(name);
      this.#waiting.splice(0).forEach((resolve) => resolve());
    }
  }
}

const CALL = { command: "c", payload: { json: "1" } };
const COUNTED: StateChange = { change: "counted", identity: undefined, nextKey: 5, nextNumber: 1, accepted: 0 };
