/** Keeps sessions in a browser's IndexedDB: each tab its own, taken up again after a reload. */

import type { StateChange } from "../session/state.js";
import { ChangeLog } from "./log.js";
import type { StateStore } from "./store.js";

/**
 * A durable store for pages. NAME stands for the sessions of one application of the page's origin.
 *
 * Each tab has a session of its own: it claims a slot of NAME through Web Locks, remembers it in
 * `sessionStorage`, and claims it again after a reload. The slot of a tab that was closed is free, and
 * the next tab takes it with its session and its unanswered requests (`session.restored`): first
 * slots with requests, then others, then new ones. Two tabs never share a slot while Web Locks work;
 * where there are none (pages that are not served securely), each tab keeps to a slot of its own, and
 * of tabs that were duplicated one supersedes the other.
 *
 * Writes ask for strict durability. A browser may still evict an origin's data when disk is short:
 * `navigator.storage.persist()` asks it not to.
 */
export function indexedDbStore(name: string): StateStore {
  return new IndexedDbStore(name);
}

class IndexedDbStore implements StateStore {
  readonly #name: string;
  readonly #log = new ChangeLog();
  #database: IDBDatabase | undefined;
  #slot: string | undefined;
  #release: (() => void) | undefined;
  #next = 0;

  constructor(name: string) {
    this.#name = name;
  }

  async load(): Promise<readonly StateChange[]> {
    this.#database = await openDatabase(`mainstay:${this.#name}`);
    this.#slot = await this.#claimSlot(this.#database);
    sessionStorage.setItem(this.#key, this.#slot);
    const { keys, values } = await readSlot(this.#database, this.#slot);
    const changes = values.flat();
    this.#log.push(changes);
    this.#next = Math.max(0, ...keys.map(([, number]) => number + 1));
    return changes;
  }

  async commit(changes: readonly StateChange[]): Promise<void> {
    const { transaction, records, slot } = this.#begin();
    this.#log.push(changes);
    const shorter = this.#log.shorter();
    if (shorter) {
      records.delete(allOf(slot));
    }
    records.put(shorter ?? changes, [slot, this.#next++]);
    await completed(transaction);
  }

  async close(): Promise<void> {
    const database = this.#database;
    this.#database = undefined;
    database?.close();
    this.#release?.();
    await Promise.resolve();
  }

  #begin() {
    if (!this.#database || this.#slot === undefined) {
      throw new Error("the store is not open");
    }
    const transaction = this.#database.transaction(RECORDS, "readwrite", { durability: "strict" });
    return { transaction, records: transaction.objectStore(RECORDS), slot: this.#slot };
  }

  async #claimSlot(database: IDBDatabase): Promise<string> {
    const remembered = sessionStorage.getItem(this.#key);
    const locks = (navigator as Partial<Navigator>).locks;
    if (!locks) {
      return remembered ?? `alone-${crypto.getRandomValues(new Uint32Array(2)).join("-")}`;
    }
    if (remembered !== null) {
      // The page that was here before a reload may not have let go yet.
      const signal = AbortSignal.timeout(RELOAD_WAIT_MS);
      const release = await claim(locks, this.#lock(remembered), { signal });
      if (release) {
        this.#release = release;
        return remembered;
      }
    }
    const known = await listSlots(database);
    for (let number = 0; ; number++) {
      const slot = known[number] ?? String(number);
      const release = await claim(locks, this.#lock(slot), { ifAvailable: true });
      if (release) {
        this.#release = release;
        return slot;
      }
    }
  }

  get #key(): string {
    return `mainstay:${this.#name}:slot`;
  }

  #lock(slot: string): string {
    return `mainstay:${this.#name}:${slot}`;
  }
}

/** Claims a lock until the function that it gives is called; nothing if somebody has it. */
function claim(locks: LockManager, name: string, options: LockOptions): Promise<(() => void) | undefined> {
  return new Promise((resolve, reject) => {
    const held = locks.request(name, options, async (lock) => {
      await new Promise<void>((release) => {
        resolve(lock ? release : undefined);
        if (!lock) {
          release();
        }
      });
    });
    held.catch((error: unknown) => {
      if (error instanceof DOMException && (error.name === "TimeoutError" || error.name === "AbortError")) {
        resolve(undefined);
      } else {
        reject(error instanceof Error ? error : new Error(String(error)));
      }
    });
  });
}

async function openDatabase(name: string): Promise<IDBDatabase> {
  const opening = indexedDB.open(name, 1);
  opening.onupgradeneeded = () => {
    opening.result.createObjectStore(RECORDS);
  };
  const database = await succeeded(opening);
  // A page that wants to delete or change the database is not held up for ever.
  database.onversionchange = () => {
    database.close();
  };
  return database;
}

/** The slots that hold something, those with requests first. */
async function listSlots(database: IDBDatabase): Promise<string[]> {
  const records = database.transaction(RECORDS).objectStore(RECORDS);
  const keys = (await succeeded(records.getAllKeys())) as RecordKey[];
  const slots = [...new Set(keys.map(([slot]) => slot))];
  const isSettled = new Map<string, boolean>();
  for (const slot of slots) {
    const log = new ChangeLog();
    const { values } = await readSlot(database, slot);
    log.push(values.flat());
    isSettled.set(slot, log.isSettled);
  }
  const ordered = [...slots.filter((slot) => !isSettled.get(slot)), ...slots.filter((slot) => isSettled.get(slot))];
  // Behind them, the numbers that are not taken.
  for (let number = 0; number <= slots.length; number++) {
    if (!ordered.includes(String(number))) {
      ordered.push(String(number));
    }
  }
  return ordered;
}

async function readSlot(database: IDBDatabase, slot: string): Promise<{ keys: RecordKey[]; values: StateChange[][] }> {
  const records = database.transaction(RECORDS).objectStore(RECORDS);
  const [keys, values] = await Promise.all([
    succeeded(records.getAllKeys(allOf(slot))),
    succeeded(records.getAll(allOf(slot))),
  ]);
  return { keys: keys as RecordKey[], values: values as StateChange[][] };
}

function allOf(slot: string): IDBKeyRange {
  return IDBKeyRange.bound([slot, 0], [slot, Infinity]);
}

function succeeded<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => {
      resolve(request.result);
    };
    request.onerror = () => {
      reject(request.error ?? new Error("IndexedDB failed"));
    };
  });
}

function completed(transaction: IDBTransaction): Promise<void> {
  return new Promise((resolve, reject) => {
    transaction.oncomplete = () => {
      resolve();
    };
    transaction.onabort = () => {
      reject(transaction.error ?? new Error("IndexedDB aborted a write"));
    };
  });
}

/** A slot, and the number of a batch of changes in it. */
type RecordKey = [slot: string, number: number];

const RECORDS = "changes";
/** How long a reloaded page waits for the lock of the page before it. */
const RELOAD_WAIT_MS = 500;
