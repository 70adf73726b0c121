import { existsSync } from "node:fs";

import { afterEach, beforeEach, describe, expect, test } from "vitest";

import type { Page } from "playwright-core";

import { Stage } from "../../examples/pull-the-plug/server/stage.js";
import { violations } from "./accessibility.ts";
import { Chromium, everyComplaintOf } from "./chromium.ts";
import { Evidence } from "./evidence.ts";
import { Person } from "./person.ts";

let stage: Stage;
let evidence: Evidence;
let browser: Chromium;
let ann: Person;
let page: Page;
let complaints: string[];

beforeEach(async ({ task }) => {
  evidence = new Evidence(task.name.replaceAll(/[^a-z0-9]+/g, "-"));
  stage = await Stage.set({ heard: evidence.heard });
  browser = await Chromium.start();
  ann = await Person.arrive("Ann", browser.context, stage.url);
  await ann.say();
  // A connection that ends for a reason, in a session that goes on.
  await stage.plug.pull({ kind: "cut", how: "rst", lastingMs: 100 });
  await ann.page.locator("#resumes", { hasText: "once" }).waitFor();
  page = await browser.context.newPage();
  complaints = everyComplaintOf(page);
});
afterEach(async ({ task }) => {
  if (task.result?.state === "fail") await evidence.screenshot(page, "console");
  await browser.stop();
  await stage.strike();
});

// Where the tree has a console, the server has it too.
describe.runIf(existsSync(new URL("../../console/package.json", import.meta.url)))(
  "the console",
  () => {
    test("tells of a session, and why its connection ended", async () => {
      await open("#/sessions");
      const status = (await ann.page.textContent("#status-why")) ?? "";
      const session = /session (\w+)/.exec(status)?.[1] ?? "none";
      const row = page.getByRole("row", { name: session });
      await row.getByText("connected").waitFor();
      await row.getByRole("link").first().click();
      await page.getByRole("heading", { name: session }).waitFor();
      await page.locator(".timeline").getByText("peer_reset").first().waitFor();
      await page.getByText("plug:room").first().waitFor();
      expect(await violations(page)).toEqual([]);
      expect(complaints).toEqual([]);
    });

    test("finds a session among others, and says in its address what is looked for", async () => {
      const prefixes = new Set<string>();
      page.on("request", (request) => {
        const prefix = new URL(request.url()).searchParams.get("prefix");
        if (prefix !== null) prefixes.add(prefix);
      });
      await open("#/sessions");
      const status = (await ann.page.textContent("#status-why")) ?? "";
      const session = /session (\w+)/.exec(status)?.[1] ?? "none";
      const row = page.getByRole("row", { name: session });
      await row.waitFor();
      await page.getByLabel("Id begins with").pressSequentially(session, { delay: 20 });
      await page.waitForURL(`**/#/sessions?prefix=${session}`);
      await row.waitFor();
      expect([...prefixes], "nothing is asked for each letter").toEqual([session]);
      await page.getByLabel("State").selectOption("away");
      await page.getByText("There is no such session.").waitFor();
      expect(await violations(page)).toEqual([]);
      await page.getByLabel("State").selectOption("connected");
      await row.waitFor();
      await page.reload();
      await row.waitFor();
      expect(await page.getByLabel("Id begins with").inputValue()).toBe(session);
      await page.getByLabel("Id begins with").fill("xyz");
      await page.getByText("An id is made of").waitFor();

      await page.getByRole("link", { name: "Channels" }).click();
      await page.getByLabel("Name begins with").fill("plug:");
      await page.waitForURL("**/#/channels?prefix=plug%3A");
      await page.getByRole("link", { name: "plug:room" }).waitFor();
      await page.getByLabel("Name begins with").fill("plug:nothing");
      await page.getByText("No channel has such a name.").waitFor();
      expect(complaints).toEqual([]);
    });

    test("shows a channel's log, and what is new in it", async () => {
      await open("#/channels");
      await page.getByRole("link", { name: "plug:room" }).click();
      await page.getByText("Ann 1").first().waitFor();
      await page.getByRole("button", { name: "Watch live" }).click();
      await ann.page.bringToFront();
      await ann.say();
      await page.bringToFront();
      await page.getByText("Ann 2").first().waitFor();
      expect(await violations(page)).toEqual([]);
      expect(complaints).toEqual([]);
    });

    test("counts the ends of connections by their reasons", async () => {
      await open("#/");
      await page.getByText("peer_reset").first().waitFor();
      expect(await violations(page)).toEqual([]);
      expect(complaints).toEqual([]);
    });
  },
);

async function open(view: string): Promise<void> {
  await page.goto(`${stage.backend?.admin ?? ""}/console/${view}`);
}
