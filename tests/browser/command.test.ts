import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

import { expect, test, vi } from "vitest";

import { Program } from "../../examples/pull-the-plug/server/program.js";

test("the demo's command serves the page, and takes everything away with it", async () => {
  const script = fileURLToPath(
    new URL("../../examples/pull-the-plug/server/demo.js", import.meta.url),
  );
  const demo = new Program(process.execPath, [script, "--port", "0"]);
  try {
    const url = await demo.line((line) => /Pull the plug: +(\S+)/.exec(line)?.[1]);
    expect(await (await fetch(url)).text()).toContain("Pull the plug");
    const state = (await (await fetch(`${url}control/state`)).json()) as { serverPid: number };
    expect(existsSync(`/proc/${state.serverPid}`)).toBe(true);
    demo.signal("SIGTERM");
    await demo.ended;
    expect(demo.child.exitCode).toBe(0);
    expect(existsSync(`/proc/${state.serverPid}`)).toBe(false);
  } finally {
    await demo.kill();
  }
});

test("a demo that is killed leaves nothing behind that runs", async () => {
  const script = fileURLToPath(
    new URL("../../examples/pull-the-plug/server/demo.js", import.meta.url),
  );
  const demo = new Program(process.execPath, [script, "--port", "0"]);
  try {
    const url = await demo.line((line) => /Pull the plug: +(\S+)/.exec(line)?.[1]);
    const state = (await (await fetch(`${url}control/state`)).json()) as { serverPid: number };
    expect(existsSync(`/proc/${state.serverPid}`)).toBe(true);
    demo.signal("SIGKILL");
    await demo.ended;
    await vi.waitUntil(() => !existsSync(`/proc/${state.serverPid}`), { timeout: 20_000 });
  } finally {
    await demo.kill();
  }
});
