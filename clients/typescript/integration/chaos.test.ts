import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

import { connect, RequestError, type Session } from "../src/node.js";
import { protobuf } from "../src/wire/protobuf.js";
import { folder, freePort, Program, startServer } from "./programs.js";

test("10,000 requests over a bad network: each effect exactly once", { timeout: 110_000 }, async () => {
  const { outcomes, ran, connections } = await requestThroughChaos(10_000, []);
  expect([...outcomes.values()].filter((outcome) => outcome !== "done")).toEqual([]);
  expect(ran.size).toBe(10_000);
  expect(connections, "the network was bad").toBeGreaterThan(50);
});

test(
  "a server that is killed meanwhile leaves in doubt what it ran, and nothing else",
  { timeout: 110_000 },
  async () => {
    const kills = [0.2, 0.5, 0.8];
    const { outcomes, ran, connections } = await requestThroughChaos(3_000, kills);
    const doubtful = [...outcomes.values()].filter((outcome) => outcome !== "done");
    expect(doubtful.filter((outcome) => outcome !== "indeterminate")).toEqual([]);
    // At most the one that each session's handler ran when the server was killed.
    expect(doubtful.length).toBeLessThanOrEqual(kills.length * SESSION_COUNT);
    const missing = [...outcomes].filter(([id, outcome]) => outcome === "done" && !ran.has(id));
    expect(missing).toEqual([]);
    expect(connections, "the network was bad").toBeGreaterThan(50);
  },
);

/** Makes requests through a proxy that cuts 5 % of what passes, and kills the server when the given
 * parts of them have their outcomes. Gives the outcomes, and how often each request ran. */
async function requestThroughChaos(requestCount: number, kills: readonly number[]) {
  const path = folder();
  const effects = join(path, "effects");
  writeFileSync(effects, "");
  const count = fileURLToPath(new URL("count.js", import.meta.url));
  const args = ["--data-dir", join(path, "data"), "--handler", `exec:${process.execPath} ${count} ${effects}`];
  const port = await freePort();
  let { program, address } = await startServer(args, port);
  const chaos = new Program(["chaos", "--listen", "127.0.0.1:0", "--to", address, "--cut-rate", "0.05", "--seed", "7"]);
  const url = `ws://${await chaos.saying(/listening on (127\.0\.0\.1:\d+)/)}/server`;

  const sessions = Array.from({ length: SESSION_COUNT }, (_, index) => open(url, index));
  const outcomes = new Map<string, string>();
  let connections = 0;
  for (const session of sessions) {
    session.addEventListener("state", ({ state }) => (connections += state.name === "open" ? 1 : 0));
  }
  const runs = sessions.map(async (session, index) => {
    const pending = Array.from({ length: requestCount / SESSION_COUNT }, async (_, number) => {
      const id = `${index}:${number}`;
      try {
        expect(await session.request("count", id)).toBe(id);
        outcomes.set(id, "done");
      } catch (error) {
        outcomes.set(id, error instanceof RequestError ? error.kind : String(error));
      }
    });
    await Promise.all(pending);
  });
  const killing = (async () => {
    for (const part of kills) {
      while (outcomes.size < requestCount * part) {
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
      await program.kill();
      ({ program, address } = await startServer(args, port));
    }
  })();
  await Promise.all([...runs, killing]);
  await Promise.all(sessions.map((session) => session.end()));

  const lines = readFileSync(effects, "utf8").trimEnd().split("\n");
  const keys = new Set(lines.map((line) => line.split(" ")[0]));
  const ran = new Set(lines.map((line) => JSON.parse(line.slice(line.indexOf(" ") + 1)) as string));
  expect(outcomes.size, "all have an outcome").toBe(requestCount);
  expect(keys.size, "no key twice").toBe(lines.length);
  expect(ran.size, "no request twice").toBe(lines.length);
  const doubtfulCount = [...outcomes.values()].filter((outcome) => outcome !== "done").length;
  console.log(`${lines.length} effects, ${connections} connections, ${kills.length} kills, ${doubtfulCount} in doubt`);
  return { outcomes, ran, connections };
}

/** Comes back quickly, so that the test is short. Every other one speaks Protobuf. */
function open(url: string, index: number): Session {
  const reconnect = { delayBaseMs: 10, delayMaxMs: 100, serverCloseWindowMs: 10 };
  return connect(url, { reconnect, ...(index % 2 === 1 ? { encoding: protobuf } : {}) });
}

const SESSION_COUNT = 8;
