// What every server here is started with: --address HOST:PORT --work echo|command|fanout.
import { parseArgs } from "node:util";

export function readArguments() {
  const { values } = parseArgs({
    options: {
      address: { type: "string", default: "127.0.0.1:8080" },
      work: { type: "string", default: "echo" },
    },
  });
  const [host, port] = values.address.split(":");
  return { host, port: Number(port), work: values.work };
}

// Several times the sixteen messages of 16 KiB that the load has under way at most.
export const backlogBytesMax = 16 * 1024 * 1024;
export const messageBytesMax = 1024 * 1024;
