import puppeteer, { type Browser, type Page } from "puppeteer-core";
import { afterEach, beforeEach, expect, test } from "vitest";

import { BareSite } from "./bare.ts";

// The client as it is published, in the other browser: Debian's Firefox, or the one that FIREFOX names.

let site: BareSite;
let browser: Browser;
let page: Page;
let complaints: string[];
/** The last number that was published, and up to which all have been heard. */
let said: number;
let reached: number;

beforeEach(async () => {
  site = await BareSite.start();
  browser = await puppeteer.launch({
    browser: "firefox",
    executablePath: process.env.FIREFOX ?? "/usr/bin/firefox-esr",
  });
  page = await browser.newPage();
  complaints = [];
  said = reached = 0;
  page.on("pageerror", (error) => {
    if (!lostConnection.test(String(error))) complaints.push(String(error));
  });
});
afterEach(async () => {
  await browser?.close();
  await site?.stop();
});

test("a session outlives killed servers, a reload and a look at another page", async () => {
  await begin("new");
  await say(5);
  for (let round = 0; round < 5; round += 1) await Promise.all([say(20), site.restart()]);
  await hears();

  // It is stored, and the page is gone before anybody can have answered.
  said += 1;
  await page.evaluate((number) => window.session.publish("news", number).stored, said);
  await begin("resumed");
  await say(1);
  await hears();

  await page.goto(`${site.origin}/other.html`);
  await page.goBack();
  await page.waitForFunction(() => "connect" in window);
  // Not every Firefox keeps a page that is told from outside where to go.
  const wasKept = await page.evaluate(() => window.session !== undefined);
  if (!wasKept) await begin("resumed");
  await say(1);
  await hears();
  expect(complaints).toEqual([]);
});

test("each tab has a session of its own, and hears what the other says", async () => {
  await begin("new");
  const other = page;
  page = await browser.newPage();
  await begin("new");
  await say(3);
  await hears();
  page = other;
  await hears();
});

/** What Firefox says of a WebSocket whose server was killed. */
const lostConnection = /onnection to (the server at )?ws:\/\//;

/** Loads the page, whose session has that standing then. */
async function begin(standing: string): Promise<void> {
  await page.goto(site.origin);
  await page.waitForFunction(() => "connect" in window);
  await page.evaluate(async (origin) => {
    window.session = window.connect(`${origin}/server`, { store: window.indexedDbStore("test") });
    await window.session.ready;
    window.session.subscribe("news", { start: { after: 0 } }, (item) => {
      if (item.type === "event") window.heard.push(Number(item.payload));
      if (item.type === "gap") window.heard.push(-1);
    });
  }, site.origin);
  await page.waitForFunction(() => window.session.state.name === "open");
  expect(await page.evaluate(() => window.session.state)).toMatchObject({ standing });
}

/** Publishes the next numbers, and waits until they are in the log. */
async function say(count: number): Promise<void> {
  const first = said + 1;
  said += count;
  await page.evaluate(
    async (first, last) => {
      const pending = [];
      for (let number = first; number <= last; number += 1) {
        pending.push(window.session.publish("news", number));
      }
      await Promise.all(pending);
    },
    first,
    said,
  );
}

/** Waits until the page has heard the last number: all of them by then, once and in order. */
async function hears(): Promise<void> {
  await page.waitForFunction((last) => window.heard.at(-1) === last, {}, said);
  const heard = await page.evaluate(() => window.heard);
  // An earlier page has heard the others: all but the last few, whose place may not have been stored.
  const [first = 1] = heard;
  expect(first).toBeLessThanOrEqual(reached + 1);
  expect(heard).toEqual(Array.from({ length: said - first + 1 }, (_, index) => first + index));
  reached = said;
}
