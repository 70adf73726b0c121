import { appendFileSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import type { Page } from "playwright-core";

/** What is kept of a run for whoever has to find out why it failed: in target/browser-tests/NAME. */
export class Evidence {
  readonly folder: string;

  constructor(name: string) {
    this.folder = join(
      fileURLToPath(new URL("../../target/browser-tests/", import.meta.url)),
      name,
    );
    mkdirSync(this.folder, { recursive: true });
    for (const file of ["server.log", "network.log", "steps.log"]) this.#write(file, "");
  }

  /** A line of the server's or the network's output. */
  readonly heard = (who: "server" | "network", line: string): void => {
    appendFileSync(join(this.folder, `${who}.log`), `${line}\n`);
  };

  step(text: string): void {
    appendFileSync(join(this.folder, "steps.log"), `${new Date().toISOString()} ${text}\n`);
  }

  keep(file: string, content: unknown): void {
    this.#write(file, JSON.stringify(content, null, 1));
  }

  async screenshot(page: Page, name: string): Promise<void> {
    // A page that hangs must not hide why.
    const path = join(this.folder, `${name}.png`);
    await page.screenshot({ path, timeout: 5_000 }).catch((error: unknown) => {
      this.step(`no screenshot of ${name}: ${String(error)}`);
    });
  }

  #write(file: string, content: string): void {
    writeFileSync(join(this.folder, file), content);
  }
}
