// Makes what is shipped from src/: an ES module for each entry of the package with chunks that they
// share, for bundlers and Node; and dist/mainstay.browser.js, the JSON core in one file, for pages
// without a bundler. Internal properties get short names, the same in all entries; see
// internal_names.js.

import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { basename, dirname } from "node:path";
import { build } from "esbuild";
import { shortNames } from "./internal_names.js";
import { minify } from "./minify.js";

const SHORT_NAMES = shortNames();

/** @type {import("esbuild").BuildOptions} */
const COMMON = {
  bundle: true,
  minify: true,
  mangleProps: new RegExp(`^(${Object.keys(SHORT_NAMES).join("|")})$`),
  mangleCache: SHORT_NAMES,
  format: "esm",
  target: "es2022",
  legalComments: "none",
  external: ["node:*", "react"],
  sourcemap: "external",
  outdir: "dist",
  outbase: "src",
  write: false,
};

// Their names change with their content.
rmSync("dist/chunks", { recursive: true, force: true });
await write({
  ...COMMON,
  entryPoints: [
    "src/index.ts",
    "src/node.ts",
    "src/store/indexeddb.ts",
    "src/store/file.ts",
    "src/wire/protobuf.ts",
    "src/react.ts",
  ],
  splitting: true,
  chunkNames: "chunks/[hash]",
});
await write({ ...COMMON, entryPoints: [{ in: "src/index.ts", out: "mainstay.browser" }] });

/** @param {import("esbuild").BuildOptions} options */
async function write(options) {
  const { outputFiles = [] } = await build(options);
  for (const { path, text } of outputFiles) {
    const map = outputFiles.find((file) => file.path === `${path}.map`);
    if (map) {
      const small = await minify(text, map.text, basename(map.path));
      mkdirSync(dirname(path), { recursive: true });
      writeFileSync(path, small.code);
      writeFileSync(map.path, small.map);
    }
  }
}
