// The network between the pages and the server: `mainstay chaos`, told what to do on its stdin.

import { Program } from "./program.js";

export class Network {
  /**
   * @param {{ mainstay: string, to: number, seed: number, heard?: (line: string) => void }} options
   */
  static async start({ mainstay, to, seed, heard }) {
    const words = ["chaos", "--listen", "127.0.0.1:0", "--to", `127.0.0.1:${to}`, "--json"];
    words.push("--seed", String(seed), "--delay", "250ms..900ms");
    const program = new Program(mainstay, words, heard && { heard });
    const address = await program.line((line) => {
      const event = JSON.parse(line);
      return event.event === "listening" ? String(event.address) : undefined;
    });
    const network = new Network(program, address);
    // The delay of the flags is for later: `slow` asks for it.
    network.clear();
    return network;
  }

  /**
   * @param {Program} program
   * @param {string} address
   */
  constructor(program, address) {
    this.program = program;
    this.address = address;
  }

  /**
   * @param {"rst" | "fin"} how
   * @param {number} downMs
   */
  cut(how, downMs) {
    // First nobody new, or a page would be back before the line is down.
    if (downMs > 0) this.program.say(`refuse for ${downMs}ms`);
    this.program.say(`cut all ${how}`);
  }

  /** @param {number} lastingMs */
  stall(lastingMs) {
    this.program.say(`stall all for ${lastingMs}ms`);
  }

  /** @param {number} lastingMs */
  halfOpen(lastingMs) {
    this.program.say(`cut all half-open for ${lastingMs}ms`);
  }

  slow() {
    this.program.say("faults");
  }

  clear() {
    this.program.say("clear");
  }

  async stop() {
    await this.program.kill();
  }
}
