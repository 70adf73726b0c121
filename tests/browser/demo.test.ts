import { setTimeout as sleep } from "node:timers/promises";

import {
  afterEach,
  beforeEach,
  describe,
  expect,
  onTestFailed,
  onTestFinished,
  test,
} from "vitest";

import { mainstayPath } from "../../examples/pull-the-plug/server/mainstay.js";
import { Stage } from "../../examples/pull-the-plug/server/stage.js";
import { violations } from "./accessibility.ts";
import { Chromium } from "./chromium.ts";
import { Evidence } from "./evidence.ts";
import { script, type Step } from "./faults.ts";
import { history, textsOf } from "./oracle.ts";
import { Person } from "./person.ts";
import { Shell } from "./shell.ts";

let browsers: Chromium[] = [];
let stage: Stage;
let evidence: Evidence;
let people: Person[] = [];
/** What duplicated tabs said that are closed again: each one thing. */
let twinsSaid: string[] = [];

beforeEach(async ({ task }) => {
  evidence = new Evidence(task.name.replaceAll(/[^a-z0-9]+/g, "-"));
  stage = await Stage.set({ seed, heard: evidence.heard });
});
afterEach(async ({ task }) => {
  if (task.result?.state === "fail") {
    for (const [place, { page }] of people.entries()) {
      await evidence.screenshot(page, `page-${place + 1}`);
    }
  }
  await Promise.all(browsers.map((browser) => browser.stop()));
  browsers = [];
  people = [];
  twinsSaid = [];
  await stage.strike();
});

describe("pull the plug", () => {
  test("50 faults, and everything arrives once and in order", async () => {
    const steps = script(seed, faultCount, 2);
    evidence.keep("faults.json", { seed, steps });
    onTestFailed(() => {
      console.error(`replay: MAINSTAY_BROWSER_SEED=${seed} npm test -w tests/browser`);
      console.error(`faults and logs: ${evidence.folder}`);
    });
    await arrive("Ann");
    await arrive("Bob");
    const address = networkAddress();
    const shell = new Shell(mainstayPath(), address, "plug:room");
    onTestFinished(() => shell.kill());
    const talk = new AbortController();
    const talking = [
      ...people.map((person) => keepSaying(person, talk.signal)),
      chat(shell, talk.signal),
    ];
    try {
      for (const [index, [pauseMs, step]] of steps.entries()) {
        await sleep(pauseMs);
        evidence.step(`${index} ${JSON.stringify(step)}`);
        await carryOut(step);
      }
    } finally {
      talk.abort();
      await Promise.all(talking);
    }
    stage.plug.mend();
    expect(await shell.finish()).toBe(0);
    // Whoever takes the seat of a closed tab takes up what that has left in its outbox.
    for (const person of [...people]) people.push(await person.duplicate(`last ${person.name}`));
    await judge(shell);
  });

  test("what a reload catches between the journal and the session comes before what is said later", async () => {
    const ann = await arrive("Ann");
    await ann.say();
    await ann.page.waitForFunction(() => document.getElementById("waiting")?.textContent === "0");
    await stage.plug.pull({ kind: "cut", how: "rst", lastingMs: 1_500 });
    await ann.keepHalfWay("Ann 2");
    await ann.reload();
    await ann.say();
    const events = await settled();
    expect(textsOf(events, "Ann")).toEqual(["Ann 1", "Ann 2", "Ann 3"]);
    expect(await ann.counts()).toMatchObject(allFine);
  });

  test("a report runs once, through cuts and a reload, and its asker hears of it", async () => {
    const ann = await arrive("Ann");
    await ann.page.click("#make-report");
    await ann.page.locator("#jobs .state", { hasText: underWay }).waitFor();
    await stage.plug.pull({ kind: "cut", how: "rst", lastingMs: 700 });
    await ann.reload();
    await stage.plug.pull({ kind: "cut", how: "fin", lastingMs: 300 });
    await ann.freeze(1_000);
    await ann.page.locator("#jobs .is-done").waitFor();
    const steps = await history(api(), "plug:progress");
    expect(steps.map(({ payload }) => (payload as { number: number }).number)).toEqual(
      Array.from({ length: 20 }, (_, index) => index + 1),
    );
    expect(await ann.counts()).toMatchObject(allFine);
    expect(ann.complaints).toEqual([]);
  });

  test("a report whose server is killed ends as unknown, and does not run again", async () => {
    const ann = await arrive("Ann");
    await ann.page.click("#make-report");
    await ann.page.locator("#jobs .state", { hasText: underWay }).waitFor();
    await stage.plug.pull({ kind: "kill", lastingMs: 200 });
    await ann.page.locator("#jobs .state", { hasText: "unknown" }).waitFor();
    const steps = await history(api(), "plug:progress");
    const numbers = steps.map(({ payload }) => (payload as { number: number }).number);
    expect(numbers).toEqual(numbers.map((_, index) => index + 1));
    expect(await ann.counts()).toMatchObject(allFine);
  });

  test("the page shows it when something is wrong", async () => {
    const ann = await arrive("Ann");
    // Number 2 of mallory never comes, 3 comes twice, and 5 comes before 4.
    for (const number of [1, 3, 3, 5, 4]) {
      const payload = { kind: "said", author: "mallory", name: "Mallory", number, text: "hm" };
      const body = JSON.stringify({ channel: "plug:room", payload });
      const headers = { "Content-Type": "application/json" };
      const response = await fetch(`${api()}/v1/publish`, { method: "POST", headers, body });
      expect(response.status).toBe(200);
    }
    await ann.page.locator("#out-of-order-row.is-wrong").waitFor();
    expect(await ann.counts()).toMatchObject({
      missing: "1",
      duplicated: "1",
      "out-of-order": "1",
    });
    expect(await ann.page.textContent("#verdict")).toBe("something is wrong");
  });

  test("what is broken by the panel is mended by it", async () => {
    const ann = await arrive("Ann");
    await ann.page.locator("#status[data-state=open]").waitFor();
    await ann.page.click("#pull-storm");
    await ann.page.locator("#pull-storm.is-on").waitFor();
    await ann.page.click("#pull-cut");
    await ann.page.locator("#status:not([data-state=open])").waitFor();
    await ann.say();
    await ann.page.click("#pull-mend");
    await ann.page.locator("#pull-storm:not(.is-on)").waitFor();
    await ann.page.locator("#status[data-state=open]").waitFor();
    await ann.page.locator("#waiting", { hasText: /^0$/ }).waitFor();
    expect(await ann.counts()).toMatchObject(allFine);
  });

  test("nothing for axe to find, in light and dark, at work and in trouble", async () => {
    const ann = await arrive("Ann");
    await ann.say();
    await ann.page.click(".freeze summary");
    await ann.page.click("#make-report");
    await ann.page.locator("#jobs .state", { hasText: underWay }).waitFor();
    expect(await violations(ann.page)).toEqual([]);
    await ann.page.click("#pull-cut");
    await ann.page.locator("#status:not([data-state=open])").waitFor();
    await ann.say();
    await ann.page.locator("#log .is-waiting").waitFor();
    expect(await violations(ann.page)).toEqual([]);
    expect(ann.complaints).toEqual([]);
  });

  test("all of it by the keyboard, and on a phone nothing is cut off", async () => {
    const ann = await arrive("Ann");
    await ann.page.setViewportSize({ width: 360, height: 740 });
    const focused = new Set<string>();
    for (let count = 0; count < 30; count += 1) {
      await ann.page.keyboard.press("Tab");
      focused.add(await ann.page.evaluate(() => document.activeElement?.id ?? ""));
    }
    for (const kind of ["cut", "stall", "half_open", "slow", "kill", "storm", "mend"]) {
      expect(focused).toContain(`pull-${kind}`);
    }
    for (const id of ["name", "text", "chatter", "make-report", "log"])
      expect(focused).toContain(id);
    const [width, room] = await ann.page.evaluate(() => {
      const { scrollWidth, clientWidth } = document.documentElement;
      return [scrollWidth, clientWidth];
    });
    expect(width).toBe(room);
  });
});

/** Holds what everybody has heard against the log, the notes of the senders, and each page's checker. */
async function judge(shell: Shell): Promise<void> {
  const events = await settled();
  evidence.keep("history.json", events);
  evidence.keep(
    "complaints.json",
    Object.fromEntries(people.map((one) => [one.name, one.complaints])),
  );
  const log = events.map(({ offset, payload }) => ({ offset, message: payload }));
  expect(textsOf(events, "twin").sort(), "what closed tabs said").toEqual(twinsSaid.sort());
  for (const { name, said } of [...people.slice(0, 2), { name: "shell", said: shell.said }]) {
    expect(said.length, `${name} has said too little for a test`).toBeGreaterThan(20);
    expect(textsOf(events, name), `what ${name} said, in the log`).toEqual(said);
  }
  for (const person of people) {
    expect(await person.heard("plug:room"), `what ${person.name} heard`).toEqual(log);
    expect(await person.counts(), `the checker of ${person.name}`).toMatchObject(allFine);
    expect(person.complaints, `the console of ${person.name}`).toEqual([]);
  }
  const lines = people.slice(0, 2).map(({ name, said }) => `${name} said ${said.length}`);
  lines.push(`shell said ${shell.said.length}`, `twins said ${twinsSaid.length}`);
  for (const person of people) {
    const { repeated } = await person.counts();
    // What was given last may be given again after a reload: some, and not all.
    expect(Number(repeated), `given again to ${person.name}`).toBeLessThan(repeatedCountMax);
    lines.push(`${person.name} was given ${repeated ?? ""} again after reloads`);
  }
  console.log(`${events.length} messages to ${people.length} pages; ${lines.join(", ")}`);
}

/** The history, once everybody has heard all of it. */
async function settled() {
  for (;;) {
    const events = await history(api(), "plug:room");
    await Promise.all(people.map((person) => person.untilSettled(events.length)));
    // What was waiting in a page's outbox has made the history longer.
    if ((await history(api(), "plug:room")).length === events.length) return events;
  }
}

async function carryOut(step: Step): Promise<void> {
  if (step.kind === "plug") {
    // A killed server comes back by itself, and what comes next does not wait for it.
    const pulled = stage.plug.pull(step.fault);
    return step.fault.kind === "kill" ? void pulled.catch(console.error) : pulled;
  }
  const person = people[step.who];
  if (person === undefined) throw new Error(`nobody has the number ${step.who}`);
  switch (step.kind) {
    case "offline":
      await person.offline(true);
      await sleep(step.lastingMs);
      await person.offline(false);
      return;
    case "freeze":
      return person.freeze(step.lastingMs);
    case "reload":
      return person.reload();
    case "duplicate": {
      const twin = await person.duplicate(`twin-${twinsSaid.length + 1}`);
      await twin.say();
      twinsSaid.push(...twin.said);
      await sleep(step.lastingMs);
      // What it has said is said: whoever takes its seat next takes it up.
      await twin.page.close();
      expect(twin.complaints).toEqual([]);
    }
  }
}

async function keepSaying(person: Person, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await person.say();
    await sleep(sayMs);
  }
}

async function chat(shell: Shell, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    shell.say();
    await sleep(sayMs);
  }
}

async function arrive(name: string): Promise<Person> {
  const browser = await Chromium.start();
  browsers.push(browser);
  const person = await Person.arrive(name, browser.context, stage.url);
  people.push(person);
  return person;
}

function api(): string {
  return stage.backend?.admin ?? "";
}

function networkAddress(): string {
  return stage.network?.address ?? "";
}

const seed = Number(process.env.MAINSTAY_BROWSER_SEED ?? 20_261_124);
const faultCount = Number(process.env.MAINSTAY_BROWSER_FAULTS ?? 50);
const sayMs = 120;
const underWay = /^[1-9]\d? of 20$/;
const repeatedCountMax = 100;
const allFine = {
  missing: "0",
  duplicated: "0",
  "out-of-order": "0",
  announced: "0",
  waiting: "0",
};
