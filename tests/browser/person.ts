import type { BrowserContext, CDPSession, Page } from "playwright-core";

import { complaintsOf } from "./chromium.ts";

/**
 * Somebody in front of a tab: says things by typing, and writes down what the page has taken. One thing
 * is done at a time, so that nobody types into a page that is just being loaded.
 */
export class Person {
  static async arrive(name: string, context: BrowserContext, url: string): Promise<Person> {
    const page = await context.newPage();
    const person = new Person(name, page, await context.newCDPSession(page));
    await page.goto(url);
    await person.untilReady();
    return person;
  }

  /** What this one has said, in order: the sender's own notes. */
  readonly said: string[] = [];
  readonly complaints: string[];
  #busy: Promise<unknown> = Promise.resolve();

  constructor(
    readonly name: string,
    readonly page: Page,
    readonly devtools: CDPSession,
  ) {
    this.complaints = complaintsOf(page);
  }

  /** A tab duplicated from this one: it begins with a copy of its session storage. */
  async duplicate(name: string): Promise<Person> {
    const opened = this.page.context().waitForEvent("page");
    await this.do(() => this.page.evaluate(() => void window.open(location.href, "", "popup")));
    const page = await opened;
    const person = new Person(name, page, await page.context().newCDPSession(page));
    await person.untilReady();
    return person;
  }

  /** Says something, and notes it once the page shows it. */
  say(): Promise<void> {
    return this.do(async () => {
      const text = `${this.name} ${this.said.length + 1}`;
      await this.page.fill("#text", text);
      await this.page.press("#text", "Enter");
      await this.page.waitForFunction(
        (wanted) =>
          [...document.querySelectorAll("#log .what")].some(
            ({ textContent }) => textContent === wanted,
          ),
        text,
        { polling: 50 },
      );
      this.said.push(text);
    });
  }

  offline(isOffline: boolean): Promise<unknown> {
    const unlimited = { latency: 0, downloadThroughput: -1, uploadThroughput: -1 };
    return this.devtools.send("Network.emulateNetworkConditions", {
      offline: isOffline,
      ...unlimited,
    });
  }

  freeze(lastingMs: number): Promise<void> {
    return this.do(async () => {
      // Nobody freezes a page that is looked at.
      await this.#showWindow("minimized");
      await this.page.waitForFunction(() => document.hidden, undefined, { polling: 50 });
      await this.devtools.send("Page.setWebLifecycleState", { state: "frozen" });
      await new Promise((resolve) => setTimeout(resolve, lastingMs));
      await this.devtools.send("Page.setWebLifecycleState", { state: "active" });
      await this.#showWindow("normal");
    });
  }

  reload(): Promise<void> {
    return this.do(async () => {
      await this.page.reload();
      await this.untilReady();
    });
  }

  /** Leaves a message as a page does that ends when its journal has it and its session has not. */
  async keepHalfWay(text: string): Promise<void> {
    await this.page.evaluate(async (text) => {
      const { room, seat } = document.documentElement.dataset;
      const request = indexedDB.open(`pull-the-plug ${room ?? ""} ${seat ?? ""} journal`);
      await new Promise((resolve) => (request.onsuccess = resolve));
      const transaction = request.result.transaction(["facts", "drafts"], "readwrite");
      const page = transaction.objectStore("facts").get("page");
      page.onsuccess = () => {
        const { author, name, sent } = page.result as {
          author: string;
          name: string;
          sent: number;
        };
        const number = sent + 1;
        const message = { kind: "said", author, name, number, text };
        transaction.objectStore("facts").put({ ...(page.result as object), sent: number }, "page");
        transaction.objectStore("drafts").put({ number, atMs: Date.now(), message });
      };
      await new Promise((resolve) => (transaction.oncomplete = resolve));
      request.result.close();
    }, text);
    this.said.push(text);
  }

  /** Everything that was said has its place, and everything up to `head` was heard. */
  async untilSettled(head: number): Promise<void> {
    await this.page.waitForFunction(
      (wanted) => {
        const text = (id: string) => document.getElementById(id)?.textContent ?? "";
        const offsets = [...document.querySelectorAll("#log .offset")].map(
          ({ textContent }) => textContent,
        );
        return text("waiting") === "0" && Number(offsets.at(-1)) >= wanted;
      },
      head,
      { timeout: 30_000, polling: 100 },
    );
  }

  /** What the page's checker shows. */
  async counts(): Promise<Record<string, string>> {
    return this.page.evaluate(() => {
      const ids = [
        "missing",
        "duplicated",
        "out-of-order",
        "announced",
        "sent",
        "waiting",
        "repeated",
      ];
      return Object.fromEntries(
        ids.map((id) => [id, document.getElementById(id)?.textContent ?? ""]),
      );
    });
  }

  /** What the application on the page has written down of a channel, in the order in which it came. */
  async heard(channel: string): Promise<{ offset: number; message: unknown }[]> {
    return this.page.evaluate(async (wanted) => {
      const { room, seat } = document.documentElement.dataset;
      const database = await new Promise<IDBDatabase>((resolve, reject) => {
        const request = indexedDB.open(`pull-the-plug ${room ?? ""} ${seat ?? ""} journal`);
        request.onsuccess = () => resolve(request.result);
        request.onerror = () => reject(request.error ?? new Error("no journal"));
      });
      const rows = await new Promise<Row[]>((resolve) => {
        const request = database.transaction("entries").objectStore("entries").getAll();
        request.onsuccess = () => resolve(request.result as Row[]);
      });
      database.close();
      interface Row {
        channel: string;
        heardNumber: number;
        offset: number;
        message: unknown;
      }
      return rows
        .filter((row) => row.channel === wanted)
        .sort((one, other) => one.heardNumber - other.heardNumber)
        .map(({ offset, message }) => ({ offset, message }));
    }, channel);
  }

  async untilReady(): Promise<void> {
    await this.page.locator("html[data-seat]").waitFor();
  }

  async #showWindow(windowState: "minimized" | "normal"): Promise<void> {
    const { windowId } = await this.devtools.send("Browser.getWindowForTarget");
    await this.devtools.send("Browser.setWindowBounds", { windowId, bounds: { windowState } });
  }

  /** Does one thing after the other. */
  do<T>(what: () => Promise<T>): Promise<T> {
    const done = this.#busy.then(what);
    this.#busy = done.catch(() => {});
    return done;
  }
}
