import type { CheckerState } from "./checker.ts";
import type { Joined, Message, Ran, Said } from "./message.ts";

/**
 * What this page has heard and said, in the browser's storage. A message and the checker that has counted
 * it are written in one transaction, so that a reload between the two is not possible.
 */
export class Journal {
  static async open(name: string): Promise<Journal> {
    const request = indexedDB.open(name, 1);
    request.onupgradeneeded = () => {
      const { result } = request;
      result.createObjectStore("entries", { keyPath: ["channel", "epoch", "offset"] });
      result.createObjectStore("drafts", { keyPath: "number" });
      result.createObjectStore("facts");
    };
    return new Journal(await outcome(request));
  }

  readonly #database: IDBDatabase;

  private constructor(database: IDBDatabase) {
    this.#database = database;
  }

  async read(): Promise<Kept> {
    const transaction = this.#database.transaction(["entries", "drafts", "facts"]);
    const [entries, drafts, page, checker] = await Promise.all([
      outcome<Entry[]>(transaction.objectStore("entries").getAll()),
      outcome<Draft[]>(transaction.objectStore("drafts").getAll()),
      outcome<Page | undefined>(transaction.objectStore("facts").get("page")),
      outcome<CheckerState | undefined>(transaction.objectStore("facts").get("checker")),
    ]);
    return {
      entries: entries.sort((one, other) => one.heardNumber - other.heardNumber),
      drafts,
      page,
      checker,
    };
  }

  /** Resolves when everything is kept, or nothing is. */
  keep({ page, checker, entry, draft, settled, forgotten }: Change): Promise<void> {
    const stores = ["entries", "drafts", "facts"];
    const transaction = this.#database.transaction(stores, "readwrite", { durability: "relaxed" });
    if (page) transaction.objectStore("facts").put(page, "page");
    if (checker) transaction.objectStore("facts").put(checker, "checker");
    if (entry) transaction.objectStore("entries").put(entry);
    if (forgotten) {
      const { channel, epoch, offset } = forgotten;
      transaction.objectStore("entries").delete([channel, epoch, offset]);
    }
    if (draft) transaction.objectStore("drafts").put(draft);
    if (settled !== undefined) transaction.objectStore("drafts").delete(settled);
    return new Promise((resolve, reject) => {
      transaction.oncomplete = () => resolve();
      transaction.onabort = () =>
        reject(transaction.error ?? new Error("the journal could not be written"));
    });
  }
}

/** Who this page is, and how often it has spoken. */
export interface Page {
  readonly author: string;
  readonly name: string;
  readonly sent: number;
  readonly resumes: number;
}

/** A message that was heard. */
export interface Entry {
  /** The how-manieth of this page: the order in which they came. */
  readonly heardNumber: number;
  readonly channel: string;
  readonly epoch: string;
  readonly offset: number;
  readonly atMs: number;
  readonly message: Message;
}

/** A message of our own whose place is not known yet. */
export interface Draft {
  readonly number: number;
  readonly atMs: number;
  readonly message: Joined | Said | Ran;
}

export interface Kept {
  readonly entries: Entry[];
  readonly drafts: Draft[];
  readonly page: Page | undefined;
  readonly checker: CheckerState | undefined;
}

export interface Change {
  readonly page?: Page;
  readonly checker?: CheckerState;
  readonly entry?: Entry;
  readonly forgotten?: Entry | undefined;
  readonly draft?: Draft;
  /** The number of a draft that has its place now. */
  readonly settled?: number;
}

/** Journals of rooms that are gone: each run of the demo has a new room. */
export async function forgetOtherRooms(room: string): Promise<void> {
  for (const { name } of await indexedDB.databases()) {
    if (name?.startsWith("pull-the-plug ") && !name.includes(room)) indexedDB.deleteDatabase(name);
  }
}

function outcome<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error ?? new Error("the journal could not be read"));
  });
}
