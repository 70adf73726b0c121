/**
 * The words of the protocol and what they mean, from `spec/codes.toml`. Texts that stand there are
 * not written a second time: the module `virtual:codes` is made from them whenever the console is
 * built.
 */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parse } from "smol-toml";
import type { Plugin } from "vite";

export function codes(): Plugin {
  return {
    name: "codes",
    resolveId: (id) => (id === MODULE ? RESOLVED : undefined),
    load(id) {
      if (id !== RESOLVED) return undefined;
      this.addWatchFile(REGISTRY);
      const { end, error, gap } = parse(readFileSync(REGISTRY, "utf8"));
      return [
        `export const ends = ${JSON.stringify(end)};`,
        `export const errors = ${JSON.stringify(error)};`,
        `export const gaps = ${JSON.stringify(gap)};`,
      ].join("\n");
    },
  };
}

const MODULE = "virtual:codes";
const RESOLVED = `\0${MODULE}`;
const REGISTRY = fileURLToPath(new URL("../../spec/codes.toml", import.meta.url));
