/**
 * Opens every view in Chromium, in light, in dark and on a phone, takes pictures of them, and fails
 * on anything in the console and on violations that axe finds.
 *
 *     node looks/look.js http://127.0.0.1:8081/console/ /tmp/looks [PART OF A NAME]
 */
import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

const [page = "http://localhost:5173/", folder = "looks-out", only = ""] = process.argv.slice(2);
const flags = new URL("../../tests/interop/browser/chromium-flags.json", import.meta.url);
const axe = createRequire(import.meta.url).resolve("axe-core/axe.min.js");

const SIZES = [
  { name: "light", width: 1440, height: 900, colorScheme: "light" },
  { name: "dark", width: 1440, height: 900, colorScheme: "dark" },
  { name: "phone", width: 390, height: 844, colorScheme: "light" },
  { name: "phone-dark", width: 390, height: 844, colorScheme: "dark" },
];

/** @type {{ name: string, hash: string, prepare?: (tab: import("playwright-core").Page) => Promise<void> }[]} */
const VIEWS = [
  { name: "overview", hash: "#/" },
  { name: "channels", hash: "#/channels" },
  {
    name: "channel",
    hash: "#/channels",
    prepare: async (tab) => {
      await tab.locator("tbody a").first().click();
      await tab.locator(".event").nth(1).click();
    },
  },
  {
    name: "watch",
    hash: "#/channels",
    prepare: async (tab) => {
      await tab.locator("tbody a").first().click();
      await tab.getByRole("button", { name: "Watch live" }).click();
      await tab.waitForTimeout(3000);
    },
  },
  { name: "channels-narrowed", hash: "#/channels?prefix=p" },
  { name: "sessions", hash: "#/sessions" },
  { name: "sessions-narrowed", hash: "#/sessions?prefix=8&state=connected&behind=true" },
  { name: "sessions-none", hash: "#/sessions?principal=nobody&state=away" },
  {
    name: "session",
    hash: "#/sessions",
    prepare: async (tab) => {
      await tab.locator("tbody a").first().click();
      await tab.locator(".timeline li").first().waitFor();
    },
  },
  {
    name: "composer",
    hash: "#/composer",
    prepare: async (tab) => {
      await tab.getByLabel("Channel").fill("news");
      await tab.getByRole("button", { name: "Publish" }).click();
      await tab.locator(".outcome").first().waitFor();
      await tab.getByText("As lines for a shell").click();
    },
  },
  {
    name: "fault",
    hash: "#/composer?kind=request",
    prepare: async (tab) => {
      await tab.getByLabel("Payload", { exact: true }).fill('{\n  "a": 1\n  "b": 2\n}');
    },
  },
  { name: "help", hash: "#/", prepare: (tab) => tab.keyboard.press("?") },
];

mkdirSync(folder, { recursive: true });
const browser = await chromium.launch({
  executablePath: "/usr/bin/chromium",
  args: JSON.parse(readFileSync(flags, "utf8")),
});
let faults = 0;
const fault = (/** @type {string} */ text) => {
  faults += 1;
  console.log(text);
};

try {
  for (const { name: size, width, height, colorScheme } of SIZES) {
    const context = await browser.newContext({
      viewport: { width, height },
      colorScheme,
      bypassCSP: false,
    });
    for (const { name, hash, prepare } of VIEWS) {
      const title = `${name}-${size}`;
      if (!title.includes(only)) continue;
      const tab = await context.newPage();
      tab.on("console", (message) => {
        if (message.type() === "error" || message.type() === "warning") fault(`${title}: ${message.text()}`);
      });
      tab.on("pageerror", (error) => fault(`${title}: ${error.message}`));
      await tab.goto(page + hash);
      await tab.locator("h1").first().waitFor();
      await tab.waitForTimeout(1500);
      await prepare?.(tab);
      await tab.waitForTimeout(700);
      await tab.screenshot({ path: `${folder}/${title}.png` });
      const overflow = await tab.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      if (overflow > 0) fault(`${title}: ${overflow} px wider than the window`);
      await check(tab, title);
      await tab.close();
    }
    await context.close();
  }
} finally {
  await browser.close();
}
console.log(faults === 0 ? "no faults" : `${faults} faults`);
process.exitCode = faults === 0 ? 0 : 1;

/** @param {import("playwright-core").Page} tab @param {string} title */
async function check(tab, title) {
  // Evaluated through the debugger, which no content policy forbids.
  await tab.evaluate(readFileSync(axe, "utf8"));
  const violations = await tab.evaluate(async () => {
    const result = await globalThis.axe.run();
    return result.violations.map(
      ({ id, help, nodes }) =>
        `${id} (${help}): ${nodes
          .map((node) => node.target.join(" "))
          .slice(0, 3)
          .join(" | ")}`,
    );
  });
  for (const violation of violations) fault(`${title}: axe: ${violation}`);
}
