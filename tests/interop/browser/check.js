// Opens pages with a plain WebSocket in headless Chromium.
//
// Usage: node check.js SERVER-ORIGIN OTHER-ORIGIN COMPRESSING-ORIGIN
//
// Each origin, such as http://127.0.0.1:8080, is a server of ours that serves ./www. Prints
// "pass CHECK" or "fail CHECK: WHY" for each check. CHROMIUM names the browser's program, if it is
// not /usr/bin/chromium.

import assert from "node:assert/strict";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";

const [origin, otherOrigin, compressingOrigin] = process.argv.slice(2);
const endpoint = `${origin.replace("http", "ws")}/server`;
const checkMsMax = 30_000;

const checks = {
  "two commands, two seconds apart, on one connection": async (page, complaints) => {
    await page.goto(`${origin}/plain.html`);
    const happened = await until(page, (events) => messages(events).length === 2);
    assert.deepEqual(
      happened.map(({ event }) => event),
      ["open", "message", "message"],
    );
    const [first, second] = messages(happened);
    expectReply(first.data, 1, "Pause downloader");
    expectReply(second.data, 2, "Resume downloader");
    // Timers may fire a little early by the other clock.
    assert.ok(second.at - first.at > 1900, `the replies came ${second.at - first.at} ms apart`);
    assert.deepEqual(complaints, []);
  },

  "the page closes with its own code": async (page, complaints) => {
    await page.goto(`${origin}/plain.html`);
    await until(page, (events) => messages(events).length === 1);
    await page.evaluate("socket.close(4321, 'done')");
    const happened = await until(page, (events) => events.at(-1)?.event === "close");
    assert.deepEqual(happened.at(-1), { event: "close", code: 4321, wasClean: true });
    assert.deepEqual(complaints, []);
  },

  "a page of another origin is refused": async (page, complaints) => {
    await page.goto(`${otherOrigin}/plain.html?endpoint=${encodeURIComponent(endpoint)}`);
    const happened = await until(page, (events) => events.at(-1)?.event === "close");
    assert.deepEqual(happened, [
      { event: "error" },
      { event: "close", code: 1006, wasClean: false },
    ]);
    // Refused by an answer, and not because nobody was there.
    assert.match(complaints.join("\n"), /Unexpected response code: 403/);
  },

  "a page listens to a channel": async (page, complaints) => {
    const channel = `${endpoint}?channel=news`;
    await page.goto(`${origin}/plain.html?endpoint=${encodeURIComponent(channel)}`);
    const happened = await until(page, (events) => messages(events).length === 1);
    assert.equal(happened[0].event, "open");
    expectReply(messages(happened)[0].data, 1, "Pause downloader");
    assert.deepEqual(complaints, []);
  },

  "a page gets compression, where the server allows it": async (page, complaints) => {
    await page.goto(`${compressingOrigin}/plain.html`);
    const happened = await until(page, (events) => messages(events).length === 2);
    assert.match(happened[0].extensions, /^permessage-deflate/);
    expectReply(messages(happened)[1].data, 2, "Resume downloader");
    assert.deepEqual(complaints, []);
  },
};

/** Waits until what happened on the page is enough for `enough`, and returns it. */
async function until(page, enough) {
  const deadline = Date.now() + checkMsMax;
  for (;;) {
    const happened = await page.evaluate("window.happened");
    if (enough(happened)) return happened;
    assert.ok(Date.now() < deadline, `only this happened: ${JSON.stringify(happened)}`);
    await page.waitForFunction((count) => window.happened.length > count, happened.length, {
      timeout: checkMsMax,
    });
  }
}

function messages(happened) {
  return happened.filter(({ event }) => event === "message");
}

function expectReply(message, number, command) {
  const { requestID, success, someOtherThing } = JSON.parse(message);
  assert.deepEqual(
    { requestID, success, someOtherThing },
    { requestID: number, success: true, someOtherThing: `Server processed command: ${command}` },
  );
}

const profile = await mkdtemp(join(tmpdir(), "mainstay-chromium-"));
const browser = await chromium.launchPersistentContext(profile, {
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  // The flags say it, in the way that the installed browser understands.
  headless: false,
  args: JSON.parse(await readFile(new URL("chromium-flags.json", import.meta.url))),
});
try {
  for (const [name, check] of Object.entries(checks)) {
    const page = await browser.newPage();
    const complaints = [];
    page.on("console", (message) => {
      if (["error", "warning"].includes(message.type())) complaints.push(message.text());
    });
    page.on("pageerror", (error) => complaints.push(error.message));
    try {
      await check(page, complaints);
      console.log(`pass ${name}`);
    } catch (error) {
      process.exitCode = 1;
      console.log(`fail ${name}: ${error.message.replace(/\s+/g, " ")}`);
    }
    await page.close();
  }
} finally {
  await browser.close();
  await rm(profile, { recursive: true, force: true });
}
