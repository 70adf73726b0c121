import type { Page } from "playwright-core";
import { afterEach, beforeEach, expect, test } from "vitest";

import { BareSite } from "./bare.ts";
import { Chromium } from "./chromium.ts";

// The client as it is published, in a page that does nothing else.

let site: BareSite;
let browser: Chromium;
let page: Page;
let origin: string;

beforeEach(async () => {
  site = await BareSite.start();
  ({ origin } = site);
  browser = await Chromium.start();
  page = await browser.context.newPage();
});
afterEach(async () => {
  await browser?.stop();
  await site?.stop();
});

test("a page comes back out of the back/forward cache, and so does its session", async () => {
  await open("memory", 1);
  await page.goto(`${origin}/other.html`);
  await page.waitForFunction(() => "connect" in window);
  // Said while the page is away: it must be there afterwards, once.
  await page.evaluate(async (from) => {
    const other = window.connect(`${from}/server`);
    await other.publish("news", 2);
    await other.close();
  }, origin);
  await page.goBack({ waitUntil: "commit" });
  expect(await page.evaluate(() => window.wasKept)).toBe(true);
  await page.waitForFunction(() => window.session.state.name === "open");
  await page.evaluate(() => window.session.publish("news", 3));
  await page.waitForFunction(() => window.heard.includes(3));
  expect(await page.evaluate(() => window.heard)).toEqual([1, 2, 3]);
  expect(await page.evaluate(() => window.reasons)).toContain("suspended");
});

test("what a store has no room for is not sent, and the application is told why", async () => {
  const devtools = await browser.context.newCDPSession(page);
  // Before the database is there, for Chromium remembers for a while how much room it has.
  await devtools.send("Storage.overrideQuotaForOrigin", { origin, quotaSize: 40_000 });
  await open("indexeddb", 1);
  const told = await page.evaluate(async () => {
    const pending = window.session.publish("news", "x".repeat(50_000));
    const error: unknown = await pending.stored.then(
      () => undefined,
      (error: unknown) => error,
    );
    const { state } = window.session;
    return {
      kind: (error as { kind?: string } | undefined)?.kind,
      state: state.name,
      reason: state.name === "over" ? state.error.reason : undefined,
      cause: state.name === "over" ? (state.error.cause as Error).name : undefined,
    };
  });
  expect(told).toEqual({
    kind: "left",
    state: "over",
    reason: "storage",
    cause: "QuotaExceededError",
  });

  // Once there is room, the next page goes on with the session. What it finds unsettled is at most what
  // was stored before, and the channel has nothing else.
  await devtools.send("Storage.overrideQuotaForOrigin", { origin });
  await open("indexeddb", 2, "resumed");
  const restored = await page.evaluate(() => window.session.restored.map(({ payload }) => payload));
  expect(restored.filter((payload) => payload !== 1)).toEqual([]);
  const history = await page.evaluate(async (from) => {
    const heard: unknown[] = [];
    const witness = window.connect(`${from}/server`);
    for await (const item of witness.subscribe("news", { start: { after: 0 } })) {
      if (item.type === "event") heard.push(item.payload);
      if (heard.at(-1) === 2) break;
    }
    return heard;
  }, origin);
  expect(history).toEqual([1, 2]);
});

/** A page with a session that has said something and heard it. */
async function open(store: "memory" | "indexeddb", word: number, standing = "new"): Promise<void> {
  await page.goto(origin);
  await page.waitForFunction(() => "connect" in window);
  await page.evaluate(
    async ([from, kind, word]) => {
      window.addEventListener("pageshow", ({ persisted }) => (window.wasKept = persisted));
      window.session = window.connect(
        `${from}/server`,
        kind === "indexeddb" ? { store: window.indexedDbStore("test") } : {},
      );
      window.session.addEventListener("state", ({ state }) => {
        if (state.name === "waiting") window.reasons.push(state.reason);
      });
      await window.session.ready;
      window.session.subscribe("news", { start: { after: 0 } }, (item) => {
        if (item.type === "event") window.heard.push(Number(item.payload));
      });
      await window.session.publish("news", word);
    },
    [origin, store, word] as const,
  );
  await page.waitForFunction((word) => window.heard.includes(word), word);
  const state = await page.evaluate(() => window.session.state);
  expect(state).toMatchObject({ name: "open", standing });
}
