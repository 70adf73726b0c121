import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { chromium, type Browser, type BrowserContext, type Page } from "playwright-core";

import { Program } from "../../examples/pull-the-plug/server/program.js";

/**
 * A browser of one person: Debian's Chromium, with a profile of its own; CHROMIUM names another one.
 *
 * It is started by us and not by Playwright, which would tell each page that it is looked at: and a page
 * that is looked at cannot be frozen.
 */
export class Chromium {
  static async start(): Promise<Chromium> {
    for (let attempt = 1; ; attempt += 1) {
      const browser = new Chromium(await mkdtemp(join(tmpdir(), "mainstay-chromium-")));
      try {
        await browser.#connect();
        return browser;
      } catch (error) {
        // A browser that starts on a busy machine now and then does not answer its debugger.
        await browser.stop();
        if (attempt === startCountMax) throw error;
      }
    }
  }

  #program: Program | undefined;
  #browser: Browser | undefined;

  private constructor(private readonly profile: string) {}

  get context(): BrowserContext {
    const [context] = this.#browser?.contexts() ?? [];
    if (context === undefined) throw new Error("the browser has no profile");
    return context;
  }

  async #connect(): Promise<void> {
    const flags = JSON.parse(await readFile(flagsFile, "utf8")) as string[];
    this.#program = new Program(process.env.CHROMIUM ?? "/usr/bin/chromium", [
      ...flags,
      "--remote-debugging-port=0",
      `--user-data-dir=${this.profile}`,
      "--window-size=1280,1000",
      "--disable-dev-shm-usage",
      // Several windows, one behind the other, and all of them are looked at.
      "--disable-backgrounding-occluded-windows",
      // A tab is duplicated by a script, which has no finger to click with.
      "--disable-popup-blocking",
    ]);
    const address = await this.#program.line(
      (line) => /DevTools listening on (\S+)/.exec(line)?.[1],
    );
    this.#browser = await chromium.connectOverCDP(address, { noDefaults: true, timeout: 15_000 });
  }

  async stop(): Promise<void> {
    // Asked to close, it takes its helpers with it; killed, it leaves them to write into the profile.
    const session = this.#browser?.newBrowserCDPSession();
    session?.then((asked) => asked.send("Browser.close")).catch(() => {});
    await Promise.race([this.#program?.ended, sleep(closeMsMax)]);
    await this.#program?.kill();
    await rm(this.profile, { recursive: true, force: true, maxRetries: 5 });
  }
}

const startCountMax = 3;
const closeMsMax = 3_000;
const flagsFile = new URL("../interop/browser/chromium-flags.json", import.meta.url);

/**
 * What a page complains of on its console, without the network failures that were asked for. Those are
 * exactly: a WebSocket to the demo's endpoint that failed, and a request to the demo's control that
 * failed because the browser was told to be offline.
 */
export function complaintsOf(page: Page): string[] {
  return everyComplaintOf(page, (text, url) => {
    if (/^WebSocket connection to 'ws:\/\/127\.0\.0\.1:\d+\/server' failed/.test(text)) return true;
    const isOffline = text === "Failed to load resource: net::ERR_INTERNET_DISCONNECTED";
    return isOffline && new URL(url).pathname.startsWith("/control/");
  });
}

/** What a page complains of on its console: errors, warnings, and what nobody has caught. */
export function everyComplaintOf(
  page: Page,
  isAskedFor: (text: string, url: string) => boolean = () => false,
): string[] {
  const complaints: string[] = [];
  page.on("pageerror", (error) => complaints.push(error.stack ?? error.message));
  page.on("console", (message) => {
    if (!["error", "warning"].includes(message.type())) return;
    const [text, { url }] = [message.text(), message.location()];
    if (!isAskedFor(text, url)) complaints.push(`${text} (${url})`);
  });
  return complaints;
}
