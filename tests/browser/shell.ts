import { Program } from "../../examples/pull-the-plug/server/program.js";

/** Somebody in a shell: `mainstay publish`, one message for each line of its stdin. */
export class Shell {
  readonly said: string[] = [];
  readonly #program: Program;
  /** How many places it has printed. */
  placeCount = 0;

  constructor(mainstay: string, address: string, channel: string) {
    this.#program = new Program(
      mainstay,
      ["publish", "--address", address, "--json", channel, "-"],
      { heard: (line) => (this.placeCount += line.includes('"offset"') ? 1 : 0) },
    );
  }

  say(): void {
    const text = `shell ${this.said.length + 1}`;
    const number = this.said.push(text);
    this.#program.say(
      JSON.stringify({ kind: "said", author: "shell", name: "shell", number, text }),
    );
  }

  /** Ends the input, and waits until everything is stored: its exit code. */
  async finish(): Promise<number | null> {
    this.#program.child.stdin.end();
    await this.#program.ended;
    return this.#program.child.exitCode;
  }

  async kill(): Promise<void> {
    await this.#program.kill();
  }
}
