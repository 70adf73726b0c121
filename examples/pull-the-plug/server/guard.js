// Ends the programs of a parent that was killed and could not do so itself. It hears their ids on stdin, `+ID`
// for one that was started and `-ID` for one that has ended, and stdin ends when the parent is gone.

import { createInterface } from "node:readline";

/** @type {Set<number>} */
const running = new Set();

for await (const line of createInterface({ input: process.stdin })) {
  const id = Number(line.slice(1));
  if (line.startsWith("+")) running.add(id);
  else running.delete(id);
}
for (const id of running) {
  try {
    process.kill(id, "SIGKILL");
  } catch {
    // It went by itself.
  }
}
