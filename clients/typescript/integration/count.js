// A handler for `mainstay server --handler 'exec:node count.js FILE'`: each request adds a line with
// its key and payload to FILE before it is answered.

import { appendFileSync } from "node:fs";
import { createInterface } from "node:readline";

const path = process.argv[2] ?? "";
for await (const line of createInterface({ input: process.stdin })) {
  const request = JSON.parse(line);
  if (!("cancel" in request)) {
    appendFileSync(path, `${request.key} ${JSON.stringify(request.payload)}\n`);
    process.stdout.write(`${JSON.stringify({ id: request.id, result: request.payload })}\n`);
  }
}
