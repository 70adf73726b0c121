// One child process: started, listened to line by line, and ended by its own id, whatever happens to us.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

/** @type {Set<Program>} */
const running = new Set();

// A demo that crashes must not leave servers behind. `exit` allows nothing that waits, and this does not.
process.on("exit", () => {
  for (const program of running) program.signal("SIGKILL");
});

/** @type {import("node:stream").Writable | undefined} */
let guard;

/**
 * Tells the guard what runs: whoever is killed with SIGKILL ends nothing by itself.
 * @param {string} line
 */
function tellGuard(line) {
  if (guard === undefined) {
    const path = fileURLToPath(new URL("guard.js", import.meta.url));
    // In a group of its own, where Ctrl-C does not reach it. We do not wait for it.
    const child = spawn(process.execPath, [path], {
      detached: true,
      stdio: ["pipe", "ignore", "ignore"],
    });
    child.unref();
    guard = child.stdin;
    guard.on("error", () => {});
    /** @type {import("node:net").Socket} */ (guard).unref();
  }
  guard.write(`${line}\n`);
}

export class Program {
  /**
   * @param {string} path
   * @param {readonly string[]} words
   * @param {{ cwd?: string, environment?: Record<string, string>, heard?: (line: string) => void }} [options]
   */
  constructor(path, words, { cwd, environment, heard } = {}) {
    this.child = spawn(path, words, { cwd, env: { ...process.env, ...environment } });
    running.add(this);
    /** @type {Set<(line: string) => void>} */
    this.listeners = new Set(heard ? [heard] : []);
    for (const stream of [this.child.stdout, this.child.stderr]) {
      createInterface({ input: stream }).on("line", (line) => {
        for (const listener of this.listeners) listener(line);
      });
    }
    // Writing to a program that has just ended is no reason for us to end.
    this.child.stdin.on("error", () => {});
    if (this.pid !== undefined) tellGuard(`+${this.pid}`);
    this.ended = once(this.child, "exit").finally(() => {
      running.delete(this);
      if (this.pid !== undefined) tellGuard(`-${this.pid}`);
    });
    this.ended.catch(() => {});
  }

  get pid() {
    return this.child.pid;
  }

  get isRunning() {
    return this.child.exitCode === null && this.child.signalCode === null;
  }

  /**
   * The first line that `find` makes something of.
   * @template T
   * @param {(line: string) => T | undefined} find
   * @param {number} [patienceMs]
   * @returns {Promise<T>}
   */
  async line(find, patienceMs = 20_000) {
    /** @type {string[]} */
    const heard = [];
    /** @type {(line: string) => void} */
    let listener = () => {};
    /** @type {NodeJS.Timeout | undefined} */
    let timer;
    try {
      return await new Promise((resolve, reject) => {
        listener = (line) => {
          heard.push(line);
          const found = find(line);
          if (found !== undefined) resolve(found);
        };
        this.listeners.add(listener);
        const give = (/** @type {string} */ why) =>
          reject(new Error(`${this.child.spawnfile} ${why}:\n${heard.join("\n")}`));
        timer = setTimeout(give, patienceMs, "did not start in time");
        this.ended.then(
          () => give("ended at once"),
          (error) => give(String(error)),
        );
      });
    } finally {
      clearTimeout(timer);
      this.listeners.delete(listener);
    }
  }

  /** @param {string} line */
  say(line) {
    this.child.stdin.write(`${line}\n`);
  }

  /** @param {NodeJS.Signals} name */
  signal(name) {
    if (this.isRunning && this.pid !== undefined) process.kill(this.pid, name);
  }

  async kill() {
    this.signal("SIGKILL");
    await this.ended;
  }
}
