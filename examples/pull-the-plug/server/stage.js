// Everything that the demo consists of, joined: server, network, plug, page. Tests set it up too.

import { randomUUID } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { Backend } from "./backend.js";
import { mainstayPath } from "./mainstay.js";
import { Network } from "./network.js";
import { portOf, servePage } from "./page.js";
import { Plug } from "./plug.js";

export class Stage {
  /**
   * @param {{ port?: number, seed?: number, heard?: (who: "server" | "network", line: string) => void }} [options]
   */
  static async set({ port = 0, seed = 1, heard = () => {} } = {}) {
    const stage = new Stage(await mkdtemp(join(tmpdir(), "pull-the-plug-")));
    try {
      const mainstay = mainstayPath();
      stage.page = await servePage({
        folder: page,
        port,
        room: randomUUID(),
        plug: () => stage.plug,
      });
      const { dataDir } = stage;
      const origins = ["localhost", "127.0.0.1"].map((host) => `http://${host}:${stage.port}`);
      const serverHeard = (/** @type {string} */ line) => heard("server", line);
      stage.backend = await Backend.start({ mainstay, dataDir, origins, heard: serverHeard });
      const networkHeard = (/** @type {string} */ line) => heard("network", line);
      const to = stage.backend.port;
      stage.network = await Network.start({ mainstay, to, seed, heard: networkHeard });
      stage.#plug = new Plug(stage.network, stage.backend);
      return stage;
    } catch (error) {
      await stage.strike();
      throw error;
    }
  }

  /** @type {Plug | undefined} */
  #plug;
  /** @type {import("node:http").Server | undefined} */
  page;
  /** @type {Backend | undefined} */
  backend;
  /** @type {Network | undefined} */
  network;

  /** @param {string} dataDir */
  constructor(dataDir) {
    this.dataDir = dataDir;
  }

  /** @returns {Plug} */
  get plug() {
    if (this.#plug === undefined) throw new Error("the stage is not set yet");
    return this.#plug;
  }

  get port() {
    if (this.page === undefined) throw new Error("the page is not served yet");
    return portOf(this.page);
  }

  get url() {
    return `http://localhost:${this.port}/`;
  }

  /** Ends everything, and takes the data away. */
  async strike() {
    this.#plug?.mend();
    this.page?.closeAllConnections();
    await new Promise((resolve) => (this.page ? this.page.close(resolve) : resolve(undefined)));
    await this.network?.stop();
    await this.backend?.stop();
    await rm(this.dataDir, { recursive: true, force: true });
  }
}

const page = fileURLToPath(new URL("../dist/", import.meta.url));
