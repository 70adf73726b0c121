// The program that runs the server's commands: one JSON object a line on stdin, one on stdout.
//
// `make report` takes some seconds and tells how far it is on the channel `plug:progress`. Each step has
// a number and an idempotency key, so a step that is told twice is heard once.

import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";

/** @type {Map<number, AbortController>} */
const running = new Map();

createInterface({ input: process.stdin })
  .on("line", (line) => {
    const request = JSON.parse(line);
    if ("cancel" in request) running.get(request.cancel)?.abort();
    else void answer(request);
  })
  // The server is gone, and with it whoever waits for us.
  .on("close", () => process.exit(0));

/** @param {{ id: number, key: string, command: string, payload?: any }} request */
async function answer(request) {
  const { id, command } = request;
  if (command !== "make report") return print({ id, error: `there is no ${command}` });
  const cancelled = new AbortController();
  running.set(id, cancelled);
  try {
    print({ id, result: await makeReport(request, cancelled.signal) });
  } catch (error) {
    print({ id, error: cancelled.signal.aborted ? "cancelled" : String(error) });
  } finally {
    running.delete(id);
  }
}

/**
 * @param {{ key: string, payload?: any }} request
 * @param {AbortSignal} signal
 */
async function makeReport({ key, payload }, signal) {
  const { job, stepCount } = payload;
  for (let number = 1; number <= stepCount; number += 1) {
    await sleep(stepMs, undefined, { signal });
    await tell(`${key}:${number}`, { kind: "step", author: `job ${job}`, number, job, stepCount });
  }
  return { pages: 3 * stepCount };
}

/**
 * @param {string} key
 * @param {object} payload
 */
async function tell(key, payload) {
  const response = await fetch(`${process.env.PULL_THE_PLUG_API}/v1/publish`, {
    method: "POST",
    headers: { "Content-Type": "application/json", "Idempotency-Key": key },
    body: JSON.stringify({ channel: "plug:progress", payload }),
  });
  if (!response.ok) throw new Error(await response.text());
}

/** @param {object} answer */
function print(answer) {
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}

const stepMs = 350;
