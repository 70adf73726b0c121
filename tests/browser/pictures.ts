// Takes the pictures of docs/images: `npm run pictures -w tests/browser`, by hand and not in CI.
//
// Needs `pngquant` and `img2webp` (Debian: pngquant, webp), which make them small.

import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

import { describe, test } from "vitest";

import { Stage } from "../../examples/pull-the-plug/server/stage.js";
import { Chromium } from "./chromium.ts";
import { Person } from "./person.ts";

describe("pictures", () => {
  test("of the demo, at rest", async () => {
    await withPeople(1280, async ([ann, ...others], stage) => {
      const people = [ann, ...others];
      // So that the trace has something to show from its beginning.
      await sleep(18_000);
      await ann.page.click("#make-report");
      await ann.page.mouse.move(0, 0);
      for (const [index, [who, text, fault]] of talk.entries()) {
        if (fault !== undefined) void stage.plug.pull(fault).catch(console.error);
        await say(people[who] ?? ann, text);
        await sleep(1_700 + (index % 3) * 600);
      }
      await ann.page.locator("#status[data-state=open]").waitFor();
      await ann.page.waitForFunction(() => document.getElementById("waiting")?.textContent === "0");
      await ann.page.evaluate(() => (document.activeElement as HTMLElement | null)?.blur());
      for (const colorScheme of ["light", "dark"] as const) {
        await ann.page.emulateMedia({ colorScheme });
        await sleep(300);
        const path = join(images, `demo-${colorScheme}.png`);
        await ann.page.screenshot({ path, fullPage: true });
        execFileSync("pngquant", [
          "--force",
          "--skip-if-larger",
          "--ext=.png",
          "--quality=80-98",
          path,
        ]);
      }
    });
  });

  test("of the demo, while the server is killed", async () => {
    const folder = mkdtempSync(join(tmpdir(), "mainstay-frames-"));
    await withPeople(1100, async ([ann, ...others], stage) => {
      await ann.page.emulateMedia({ colorScheme: "light" });
      for (const person of others) await person.page.check("#chatter");
      await ann.page.check("#chatter");
      await sleep(12_000);
      const frames: string[] = [];
      const begun = Date.now();
      for (let number = 0; number < frameCount; number += 1) {
        if (number === 10) await ann.page.click("#pull-kill");
        if (number === 16) await ann.page.mouse.move(0, 0);
        if (number === 40) void stage.plug.pull({ kind: "cut", how: "rst", lastingMs: 2_000 });
        const path = join(folder, `${String(number).padStart(3, "0")}.png`);
        await ann.page.screenshot({ path });
        frames.push(path);
        await sleep(Math.max(0, begun + (number + 1) * frameMs - Date.now()));
      }
      const words = [
        "-loop",
        "0",
        "-min_size",
        "-d",
        String(frameMs),
        "-lossy",
        "-q",
        "60",
        "-m",
        "4",
      ];
      execFileSync("img2webp", [...words, ...frames, "-o", join(images, "demo.webp")]);
    });
    rmSync(folder, { recursive: true });
  });
});

/** Three people on one stage, the first in front. */
async function withPeople(
  width: number,
  run: (people: [Person, ...Person[]], stage: Stage) => Promise<void>,
): Promise<void> {
  mkdirSync(images, { recursive: true });
  const stage = await Stage.set();
  const browser = await Chromium.start();
  try {
    const ann = await Person.arrive("Ann", browser.context, stage.url);
    const people: [Person, ...Person[]] = [
      ann,
      await ann.duplicate("Bob"),
      await ann.duplicate("Eve"),
    ];
    const height = 1_000;
    const metrics = { width, height, deviceScaleFactor: width > 1_200 ? 1.5 : 1, mobile: false };
    await ann.devtools.send("Emulation.setDeviceMetricsOverride", metrics);
    await ann.devtools.send("Emulation.setScrollbarsHidden", { hidden: true });
    await run(people, stage);
  } finally {
    await browser.stop();
    await stage.strike();
  }
}

async function say(person: Person, text: string): Promise<void> {
  await person.page.fill("#text", text);
  await person.page.press("#text", "Enter");
}

const images = fileURLToPath(new URL("../../docs/images/", import.meta.url));
const frameMs = 200;
const frameCount = 75;

/** Who says what, and what happens just before. */
const talk: [who: number, text: string, fault?: Parameters<Stage["plug"]["pull"]>[0]][] = [
  [0, "Everybody here?"],
  [1, "Here."],
  [2, "Here too. Who pulls?"],
  [1, "I do. Network first.", { kind: "cut", how: "rst", lastingMs: 3_000 }],
  [0, "Typed into the dark."],
  [2, "So was this."],
  [0, "And there it all is. Now the server."],
  [1, "kill -9, as you wish.", { kind: "kill", lastingMs: 2_500 }],
  [2, "Still typing, into a server that is dead."],
  [0, "It will keep the order in which we type."],
  [1, "Back on the same disk."],
  [2, "Frozen network now.", { kind: "stall", lastingMs: 2_500 }],
  [0, "I had gone through a tunnel, I suppose."],
  [1, "Nothing lost, nothing twice."],
];
