import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";

import type { Page } from "playwright-core";

/** What axe-core finds wrong with a page as it is, in a light and in a dark surrounding. */
export async function violations(page: Page): Promise<string[]> {
  const source = await readFile(
    createRequire(import.meta.url).resolve("axe-core/axe.min.js"),
    "utf8",
  );
  await page.evaluate(source);
  const found: string[] = [];
  for (const colorScheme of ["light", "dark"] as const) {
    await page.emulateMedia({ colorScheme });
    const rules = await page.evaluate(async () => {
      const { axe } = window as unknown as { axe: { run(): Promise<{ violations: Violation[] }> } };
      return (await axe.run()).violations;
    });
    for (const { id, help, nodes } of rules) {
      const where = nodes.map(({ html, failureSummary }) => `${html}\n    ${failureSummary ?? ""}`);
      found.push(`${colorScheme}: ${id}: ${help}\n  ${where.join("\n  ")}`);
    }
  }
  return found;
}

interface Violation {
  id: string;
  help: string;
  nodes: { html: string; failureSummary?: string }[];
}
