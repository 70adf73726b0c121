// Prints how large each entry is, minified and compressed, and fails when the JSON core is over its
// limit.

import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const CORE_BYTES_MAX = 10 * 1024;
const CORE = 'export { connect, MemoryStore } from "./dist/index.js";';

const coreBytes = await measure("core", CORE);
await measure("core and mainstay/protobuf", `${CORE}export { protobuf } from "./dist/wire/protobuf.js";`);
await measure("core and mainstay/indexeddb", `${CORE}export { indexedDbStore } from "./dist/store/indexeddb.js";`);
if (coreBytes > CORE_BYTES_MAX) {
  console.error(`the core is over its limit of ${CORE_BYTES_MAX} bytes`);
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
  });
  const minified = outputFiles[0]?.contents ?? new Uint8Array();
  const bytes = gzipSync(minified, { level: 9 }).length;
  console.log(`${name}: ${bytes} bytes (minified ${minified.length})`);
  return bytes;
}
