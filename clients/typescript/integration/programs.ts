import { spawn, type ChildProcess } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { createInterface } from "node:readline";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { onTestFinished } from "vitest";

/** The program under test: `MAINSTAY_BIN`, or what cargo built. There is no test without it. */
export function mainstay(): string {
  const built = ["release", "debug"].map((profile) =>
    fileURLToPath(new URL(`../../../target/${profile}/mainstay`, import.meta.url)),
  );
  const named = process.env["MAINSTAY_BIN"];
  const found = (named === undefined ? built : [named]).find((path) => existsSync(path));
  if (found === undefined) {
    throw new Error(`no mainstay: set MAINSTAY_BIN, or build ${built.join(" or ")}`);
  }
  return found;
}

/** A program that runs until the test is over. */
export class Program {
  readonly lines: string[] = [];
  readonly #child: ChildProcess;
  readonly #exited: Promise<void>;
  #look: () => void = () => undefined;

  constructor(args: readonly string[], command = mainstay()) {
    this.#child = spawn(command, args, { stdio: ["pipe", "pipe", "pipe"] });
    this.#exited = new Promise((resolve) => this.#child.once("exit", () => resolve()));
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      let rest = "";
      stream?.on("data", (chunk: Buffer) => {
        const lines = (rest + chunk.toString()).split("\n");
        rest = lines.pop() ?? "";
        this.lines.push(...lines);
        this.#look();
      });
    }
    onTestFinished(() => this.kill());
  }

  /** Hears each line of stdout. */
  onLine(hear: (line: string) => void): void {
    createInterface({ input: this.#child.stdout ?? process.stdin }).on("line", hear);
  }

  /** Waits for a line and gives what the pattern's group holds. */
  async saying(pattern: RegExp): Promise<string> {
    for (;;) {
      const found = this.lines.map((line) => pattern.exec(line)).find((match) => match !== null);
      if (found) {
        return found[1] ?? "";
      }
      const said = new Promise<void>((resolve) => (this.#look = resolve));
      const gone = this.#exited.then(() => {
        throw new Error(`${String(pattern)} was not said:\n${this.lines.join("\n")}`);
      });
      await Promise.race([said, gone]);
    }
  }

  /** Ends as by a power failure. */
  async kill(): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#exited;
  }

  get exited(): Promise<void> {
    return this.#exited;
  }
}

/** A server on a port of its own. */
export async function startServer(
  args: readonly string[] = [],
  port = 0,
): Promise<{ program: Program; address: string }> {
  const fixed = ["server", "--address", `127.0.0.1:${port}`, "--admin-address", "none", "--log-format", "json"];
  const program = new Program([...fixed, ...args]);
  return { program, address: await program.saying(/"?listening"?.*?(127\.0\.0\.1:\d+)/) };
}

/** A port that is free now. */
export function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const address = server.address();
      server.close(() => resolve(typeof address === "object" && address ? address.port : 0));
    });
  });
}

/** A folder until the test is over. */
export function folder(): string {
  const path = mkdtempSync(join(tmpdir(), "mainstay-ts-"));
  onTestFinished(() => {
    rmSync(path, { recursive: true });
  });
  return path;
}

/** Waits until something holds. */
export async function until(holds: () => boolean, what: string, timeoutMs = 20_000): Promise<void> {
  const end = Date.now() + timeoutMs;
  while (!holds()) {
    if (Date.now() > end) {
      throw new Error(`not within ${timeoutMs} ms: ${what}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
