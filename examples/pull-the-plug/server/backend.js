// The server with its disk: killed without warning, and started again on the same data.

import { createServer } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

import { Program } from "./program.js";

export class Backend {
  /**
   * @param {{ mainstay: string, dataDir: string, origins: string[], heard?: (line: string) => void }} options
   */
  static async start(options) {
    // The same ports after each restart, or the network in front would lead nowhere.
    const [port, adminPort] = [await freePort(), await freePort()];
    const backend = new Backend(options, port, adminPort);
    await backend.#run();
    return backend;
  }

  /**
   * @param {{ mainstay: string, dataDir: string, origins: string[], heard?: (line: string) => void }} options
   * @param {number} port
   * @param {number} adminPort
   */
  constructor(options, port, adminPort) {
    this.options = options;
    this.port = port;
    this.admin = `http://127.0.0.1:${adminPort}`;
    this.killCount = 0;
    this.isStopping = false;
    /** @type {Program | undefined} */
    this.program = undefined;
    /** @type {Promise<void> | undefined} */
    this.starting = undefined;
  }

  get pid() {
    return this.program?.isRunning ? this.program.pid : undefined;
  }

  /**
   * Kills the server as the kernel would, and starts it again after a while.
   * @param {number} downMs
   */
  async kill(downMs) {
    await this.starting;
    this.killCount += 1;
    await this.program?.kill();
    this.starting = sleep(downMs).then(() => (this.isStopping ? undefined : this.#run()));
    await this.starting;
  }

  async stop() {
    this.isStopping = true;
    await this.program?.kill();
    await this.starting?.catch(() => {});
    await this.program?.kill();
  }

  async #run() {
    const { mainstay, dataDir, origins, heard } = this.options;
    const words = ["server", "--address", `127.0.0.1:${this.port}`, "--data-dir", dataDir];
    words.push("--admin-address", new URL(this.admin).host, "--origins", origins.join(","));
    words.push("--handler", "exec:node handler.js", "--shards", "1", "--log-format", "human");
    // Impatient, so that whoever plays with the buttons need not wait for half a minute.
    words.push("--ping-interval", "2s", "--pong-timeout", "3s", "--presence-grace", "4s");
    this.program = new Program(mainstay, words, {
      // The words of --handler are split at blanks, and a path may have some.
      cwd: fileURLToPath(new URL(".", import.meta.url)),
      environment: { PULL_THE_PLUG_API: this.admin },
      ...(heard && { heard }),
    });
    await this.program.line((line) => (line.includes("listening address=") ? true : undefined));
  }
}

/** @returns {Promise<number>} */
async function freePort() {
  const server = createServer();
  await new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(undefined)));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === "string") throw new Error("no free port");
  return address.port;
}
