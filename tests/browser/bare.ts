import { cp, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import type { connect, Session } from "mainstay";
import type { indexedDbStore } from "mainstay/indexeddb";

import { mainstayPath } from "../../examples/pull-the-plug/server/mainstay.js";
import { Program } from "../../examples/pull-the-plug/server/program.js";

/** A server whose pages hold the client as it is published, and nothing else. */
export class BareSite {
  static async start(): Promise<BareSite> {
    const folder = await mkdtemp(join(tmpdir(), "mainstay-page-"));
    const client = fileURLToPath(new URL("../../clients/typescript/dist", import.meta.url));
    await cp(client, join(folder, "www"), { recursive: true });
    for (const name of ["index.html", "other.html"]) {
      await writeFile(
        join(folder, "www", name),
        '<!doctype html><title>bare</title><script type="module" src="page.js"></script>',
      );
    }
    await writeFile(
      join(folder, "www", "page.js"),
      `import { connect } from "./index.js";
      import { indexedDbStore } from "./store/indexeddb.js";
      Object.assign(window, { connect, indexedDbStore, heard: [], reasons: [], wasKept: false });`,
    );
    const site = new BareSite(folder);
    await site.#serve("127.0.0.1:0");
    return site;
  }

  #server: Program | undefined;
  #address = "";

  private constructor(private readonly folder: string) {}

  get origin(): string {
    return `http://${this.#address}`;
  }

  /** Kills the server, and starts another one on what is left. */
  async restart(): Promise<void> {
    await this.#server?.kill();
    await this.#serve(this.#address);
  }

  async stop(): Promise<void> {
    await this.#server?.kill();
    await rm(this.folder, { recursive: true });
  }

  async #serve(address: string): Promise<void> {
    const words = ["--address", address, "--admin-address", "none", "--log-format", "json"];
    const folders = ["--www", join(this.folder, "www"), "--data-dir", join(this.folder, "data")];
    this.#server = new Program(mainstayPath(), ["server", ...words, ...folders]);
    const listening = /listening.*?(127\.0\.0\.1:\d+)/;
    this.#address = await this.#server.line((line) => listening.exec(line)?.[1]);
  }
}

declare global {
  interface Window {
    connect: typeof connect;
    indexedDbStore: typeof indexedDbStore;
    session: Session;
    heard: number[];
    /** Why there was no connection. */
    reasons: string[];
    /** Whether the page was shown as it was left. */
    wasKept: boolean;
  }
}
