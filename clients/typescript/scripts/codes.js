// Makes src/codes.ts from spec/codes.toml: `npm run codes`.

import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath, pathToFileURL } from "node:url";

/** @typedef {{ table: string, word: string, text: string, code?: number, client?: string, retry?: boolean }} Entry */

/** The file that the registry at `registryPath` makes. */
export function generate(registryPath = REGISTRY_PATH) {
  const entries = read(readFileSync(registryPath, "utf8"));
  const of = (/** @type {string} */ table) => entries.filter((entry) => entry.table === table);
  const closes = of("end").filter((entry) => entry.code !== undefined && entry.code >= 4000);
  return [
    "// Made from spec/codes.toml by scripts/codes.js; `npm run codes` writes it anew.",
    "",
    "/** The words of failure of PROTOCOL.md. */",
    union("ErrorCode", of("error")),
    "",
    "/** Why events of a channel cannot be delivered. */",
    union("GapReason", of("gap")),
    "",
    "/** Every word of failure. A word that is not here is taken for `internal`. */",
    list("ERROR_CODES", "ErrorCode", of("error")),
    "",
    "/** The failures after which nothing was done and the same may be asked again later. */",
    list(
      "RETRYABLE_CODES",
      "ErrorCode",
      of("error").filter((entry) => entry.retry),
    ),
    "",
    ...closes.flatMap((entry) => [
      `/** ${entry.text} */`,
      `export const CLOSE_${entry.word.toUpperCase()} = ${entry.code};`,
    ]),
    "",
  ].join("\n");
}

/** The path of the file that is made. */
export const CODES_PATH = fileURLToPath(new URL("../src/codes.ts", import.meta.url));

const REGISTRY_PATH = fileURLToPath(new URL("../../../spec/codes.toml", import.meta.url));

/**
 * Reads as much of TOML as the registry uses: tables of words, numbers and truth values.
 * @param {string} registry
 */
function read(registry) {
  /** @type {Entry[]} */
  const entries = [];
  for (const [index, line] of registry.split("\n").entries()) {
    const table = /^\[\[(\w+)\]\]$/.exec(line)?.[1];
    const field = /^(\w+) = (".*"|\d+|true|false)$/.exec(line);
    const entry = entries.at(-1);
    if (table !== undefined) {
      entries.push({ table, word: "", text: "" });
    } else if (field && entry) {
      Object.assign(entry, { [String(field[1])]: JSON.parse(String(field[2])) });
    } else if (line !== "" && !line.startsWith("#")) {
      throw new Error(`line ${index + 1} of the registry is not understood: ${line}`);
    }
  }
  return entries;
}

/**
 * @param {string} name
 * @param {Entry[]} entries
 */
function union(name, entries) {
  const words = entries.map((entry) => `  /** ${entry.text} */\n  | "${entry.word}"`);
  return `export type ${name} =\n${words.join("\n")};`;
}

/**
 * @param {string} name
 * @param {string} type
 * @param {Entry[]} entries
 */
function list(name, type, entries) {
  const words = entries.map((entry) => `  "${entry.word}",`);
  return `export const ${name}: readonly ${type}[] = [\n${words.join("\n")}\n];`;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  writeFileSync(CODES_PATH, generate());
}
