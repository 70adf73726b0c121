import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

import { connect, RequestError, type Session } from "../src/index.js";
import { protobuf } from "../src/wire/protobuf.js";
import { folder, freePort, Program, startServer } from "./programs.js";

test("10,000 requests over a bad network and a killed server: each effect once", { timeout: 110_000 }, async () => {
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
  let reconnects = 0;
  for (const session of sessions) {
    session.addEventListener("state", ({ state }) => (reconnects += state.name === "open" ? 1 : 0));
  }
  const runs = sessions.map(async (session, index) => {
    const pending = Array.from({ length: REQUEST_COUNT / SESSION_COUNT }, async (_, number) => {
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
  let killCount = 0;
  const kills = (async () => {
    for (const part of [0.2, 0.5, 0.8]) {
      while (outcomes.size < REQUEST_COUNT * part) {
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
      await program.kill();
      ({ program, address } = await startServer(args, port));
      killCount++;
    }
  })();
  await Promise.all([...runs, kills]);
  await Promise.all(sessions.map((session) => session.end()));

  const lines = readFileSync(effects, "utf8").trimEnd().split("\n");
  const keys = lines.map((line) => line.split(" ")[0]);
  const ran = new Map<string, number>();
  for (const line of lines) {
    const id = JSON.parse(line.slice(line.indexOf(" ") + 1)) as string;
    ran.set(id, (ran.get(id) ?? 0) + 1);
  }
  const doubtful = [...outcomes].filter(([, outcome]) => outcome !== "done");
  console.log(`${reconnects} connections, ${killCount} kills, ${doubtful.length} indeterminate`);
  expect(outcomes.size).toBe(REQUEST_COUNT);
  expect(doubtful.filter(([, outcome]) => outcome !== "indeterminate")).toEqual([]);
  // At most the one that each session's handler ran when the server was killed.
  expect(doubtful.length).toBeLessThanOrEqual(killCount * SESSION_COUNT);
  expect(new Set(keys).size, "no key twice").toBe(keys.length);
  expect([...ran].filter(([, times]) => times !== 1)).toEqual([]);
  for (const [id, outcome] of outcomes) {
    if (outcome === "done") {
      expect(ran.get(id), id).toBe(1);
    }
  }
  expect(reconnects, "the network was bad").toBeGreaterThan(50);
});

/** Comes back quickly, so that the test is short. Every other one speaks Protobuf. */
function open(url: string, index: number): Session {
  const reconnect = { delayBaseMs: 10, delayMaxMs: 100, serverCloseWindowMs: 10 };
  return connect(url, { reconnect, ...(index % 2 === 1 ? { encoding: protobuf } : {}) });
}

const REQUEST_COUNT = 10_000;
const SESSION_COUNT = 8;
