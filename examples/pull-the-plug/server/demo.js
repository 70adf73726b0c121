// `npm run demo`: sets everything up, prints the address to open, and takes all of it away again.
//
// Usage: node server/demo.js [--port PORT] [--verbose]

import { parseArgs } from "node:util";

import { Stage } from "./stage.js";

const { values } = parseArgs({
  options: {
    port: { type: "string", default: "5180" },
    verbose: { type: "boolean", default: false },
  },
});

/** @param {number} port */
async function set(port) {
  const seed = Date.now() % 1e9;
  const heard = (/** @type {string} */ who, /** @type {string} */ line) => {
    if (values.verbose) console.log(`${who}: ${line}`);
  };
  try {
    return await Stage.set({ port, seed, heard });
  } catch (error) {
    // Somebody else's port is no reason not to play.
    if (/** @type {NodeJS.ErrnoException} */ (error).code !== "EADDRINUSE") throw error;
    return Stage.set({ port: 0, seed, heard });
  }
}

const stage = await set(Number(values.port));
let isEnding = false;
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) {
  process.on(signal, async () => {
    // A second one does not wait; the children are killed on the way out.
    if (isEnding) process.exit(130);
    isEnding = true;
    await stage.strike();
    process.exit(0);
  });
}
console.log(`
  Pull the plug:  ${stage.url}

  Open it in two windows, type, and pull. Ctrl-C ends it all.
  From a shell:   mainstay publish --address ${stage.network?.address} plug:room 'hello from a shell'
`);
