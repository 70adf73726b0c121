// Prints how large each entry is in a page that imports it, bundled, minified and compressed, and
// fails when the JSON core is over its limit.

import { gzipSync } from "node:zlib";
import { build } from "esbuild";
import { minify } from "./minify.js";

/** The goal is 10,240 bytes. What is over it is spread evenly over what the protocol asks for. */
const CORE_BYTES_MAX = 10_600;
const CORE = 'export { connect } from "./dist/index.js";';

const coreBytes = await measure("connect", CORE);
await measure("connect and MemoryStore", 'export { connect, MemoryStore } from "./dist/index.js";');
await measure("connect and mainstay/protobuf", `${CORE}export { protobuf } from "./dist/wire/protobuf.js";`);
await measure("connect and mainstay/indexeddb", `${CORE}export { indexedDbStore } from "./dist/store/indexeddb.js";`);
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
  });
  const { code } = await minify(outputFiles[0]?.text ?? "");
  const bytes = gzipSync(code, { level: 9 }).length;
  console.log(`${name}: ${bytes} bytes (minified ${code.length})`);
  return bytes;
}
