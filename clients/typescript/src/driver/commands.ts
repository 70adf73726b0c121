/** The server's commands, and the handlers that run for them. */

import { answer } from "../session/commands.js";
import { failed } from "../session/requests.js";
import type { Outcome, Request } from "../wire/frames.js";
import { payloadOf, toWellFormed, valueOf } from "../wire/payload.js";
import { inform, type Driver } from "./driver.js";

export function runCommand(driver: Driver, key: number, deadlineAtMs: number | undefined, request: Request): void {
  const handler = driver.handlers.get(request.command);
  if (!handler) {
    inform(driver, answer, key, failed("never_ran", `no handler: ${request.command}`));
    return;
  }
  const controller = new AbortController();
  driver.stops.set(key, controller);
  const { number, payload } = request;
  const deadlineMs = deadlineAtMs && Math.max(0, deadlineAtMs - driver.clock());
  const timer =
    deadlineMs === undefined
      ? undefined
      : setTimeout(
          () => {
            stopCommand(driver, key, failed("deadline_exceeded", "stopped"));
          },
          Math.min(deadlineMs, TIMER_MS_MAX),
        );
  const run = async (): Promise<Outcome> => {
    try {
      const value = await handler(valueOf(payload), { number, signal: controller.signal, deadlineMs });
      return { status: "done", payload: payloadOf(value) };
    } catch (error) {
      return failed("handler_failed", toWellFormed(error instanceof Error ? error.message : String(error)));
    }
  };
  void run().then((outcome) => {
    clearTimeout(timer);
    driver.stops.delete(key);
    inform(driver, answer, key, outcome);
  });
}

export function stopCommand(driver: Driver, key: number, outcome: Outcome): void {
  inform(driver, answer, key, outcome);
  driver.stops.get(key)?.abort();
  driver.stops.delete(key);
}

/** The longest that `setTimeout` can wait. */
const TIMER_MS_MAX = 2 ** 31 - 1;
