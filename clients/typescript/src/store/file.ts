/** Keeps a session in a file, for Node. */

import { dirname, resolve } from "node:path";
import { open, readFile, rename, type FileHandle } from "node:fs/promises";

import type { StateChange } from "../session/state.js";
import { ChangeLog } from "./log.js";
import type { StateStore } from "./store.js";

/**
 * A durable store in a file: one line for each batch of changes, appended and synced to the disk before
 * anything relies on it. A last line that was not written to its end is passed over. The file holds the
 * session's secret, so only its owner may read it.
 *
 * One process may use it at a time. There is no lock: of two, one supersedes the other.
 */
export function fileStore(path: string): StateStore {
  return new FileStore(path);
}

class FileStore implements StateStore {
  readonly #path: string;
  readonly #log = new ChangeLog();
  #file: FileHandle | undefined;

  constructor(path: string) {
    this.#path = path;
  }

  async load(): Promise<readonly StateChange[]> {
    const text = await readFile(this.#path, "utf8").catch((error: unknown) => {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") {
        return "";
      }
      throw error;
    });
    const whole = text.slice(0, text.lastIndexOf("\n") + 1);
    const changes = whole
      .split("\n")
      .flatMap((line) => (line === "" ? [] : (JSON.parse(line, revive) as StateChange[])));
    this.#log.push(changes);
    this.#file = await open(this.#path, "a", 0o600);
    await this.#file.truncate(Buffer.byteLength(whole));
    await syncFolder(this.#path);
    return changes;
  }

  async commit(changes: readonly StateChange[]): Promise<void> {
    if (!this.#file) {
      throw new Error("the store is not open");
    }
    this.#log.push(changes);
    const shorter = this.#log.shorter();
    if (!shorter) {
      await this.#file.appendFile(lineOf(changes));
      await this.#file.datasync();
      return;
    }
    // Written anew beside it: whatever happens, one of the two is whole.
    const anew = await open(`${this.#path}.new`, "w", 0o600);
    await anew.appendFile(lineOf(shorter));
    await anew.datasync();
    await anew.close();
    await rename(`${this.#path}.new`, this.#path);
    await syncFolder(this.#path);
    await this.#file.close();
    this.#file = await open(this.#path, "a", 0o600);
  }

  async close(): Promise<void> {
    const file = this.#file;
    this.#file = undefined;
    await file?.close();
  }
}

function lineOf(changes: readonly StateChange[]): string {
  return `${JSON.stringify(changes, replace)}\n`;
}

/** Bytes stand in the file as base64. */
function replace(_name: string, value: unknown): unknown {
  return value instanceof Uint8Array ? { base64: Buffer.from(value).toString("base64") } : value;
}

function revive(name: string, value: unknown): unknown {
  const { base64 } = (name === "data" ? value : {}) as { base64?: string };
  return base64 === undefined ? value : new Uint8Array(Buffer.from(base64, "base64"));
}

/** A file that was made or renamed is there after a power failure only if its folder was synced. */
async function syncFolder(path: string): Promise<void> {
  const folder = await open(dirname(resolve(path)), "r");
  await folder.sync();
  await folder.close();
}
