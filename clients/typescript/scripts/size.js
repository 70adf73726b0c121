// Prints how large each entry is in a page that imports it, and fails when the JSON core is over its
// limit. What is measured is what a page's own bundler makes of the package as published: esbuild
// bundles an import of dist/, terser with its defaults (as webpack and Rollup use it) or esbuild alone
// minifies the whole, gzip -9 compresses it. The limit is on the former.

import { gzipSync } from "node:zlib";
import { build } from "esbuild";
import { minify } from "terser";

const CORE_BYTES_MAX = 10_240;
const CORE = 'export { connect } from "./dist/index.js";';

const coreBytes = await measure("connect", CORE);
await measure("connect and MemoryStore", 'export { connect, MemoryStore } from "./dist/index.js";');
await measure("connect and mainstay/protobuf", `${CORE}export { protobuf } from "./dist/wire/protobuf.js";`);
await measure("connect and mainstay/indexeddb", `${CORE}export { indexedDbStore } from "./dist/store/indexeddb.js";`);
await measure("mainstay/react", 'export * from "./dist/react.js";');
if (coreBytes > CORE_BYTES_MAX) {
  console.error(`connect is over its limit of ${CORE_BYTES_MAX} bytes`);
  process.exitCode = 1;
}

/**
 * @param {string} name
 * @param {string} contents
 */
async function measure(name, contents) {
  const { outputFiles } = await build({
    stdin: { contents, resolveDir: "." },
    bundle: true,
    minify: true,
    write: false,
    format: "esm",
    target: "es2022",
    legalComments: "none",
    logLevel: "error",
    external: ["react"],
  });
  const bundle = outputFiles[0]?.text ?? "";
  const { code = "" } = await minify(bundle, { module: true });
  const bytes = compressedBytes(code);
  console.log(`${name}: ${bytes} bytes (by esbuild alone: ${compressedBytes(bundle)}; not compressed: ${code.length})`);
  return bytes;
}

/** @param {string} text */
function compressedBytes(text) {
  return gzipSync(text, { level: 9 }).length;
}
