/** When the driver looks again. */

import { handleTimeout, nextTimeout } from "../session/session.js";
import { dial, dropSocket, wait } from "./connection.js";
import { COMMIT_DELAY_MAX_MS, inform, type Driver } from "./driver.js";

export function schedule(driver: Driver): void {
  clearTimeout(driver.timer);
  if (!driver.machine || driver.current.name === "over") {
    return;
  }
  const nowMs = driver.clock();
  const atMs = Math.min(
    nextTimeout(driver.machine),
    driver.connectByMs,
    driver.dialAtMs,
    driver.dirtySinceMs + COMMIT_DELAY_MAX_MS,
  );
  // A computer that slept is to be noticed soon: its timers slept too.
  const delayMs = Math.min(Math.max(atMs - nowMs, 0), CLOCK_INTERVAL_MS);
  driver.timer = setTimeout(() => {
    // A page that was stopped past a deadline looks first at what came meanwhile.
    if (driver.clock() - nowMs > delayMs + LATE_MS) {
      driver.timer = setTimeout(() => {
        tick(driver);
      });
    } else {
      tick(driver);
    }
  }, Math.ceil(delayMs));
}

export function tick(driver: Driver): void {
  const nowMs = driver.clock();
  if (nowMs >= driver.connectByMs) {
    dropSocket(driver, "failed");
    wait(driver, "failed");
  } else if (nowMs >= driver.dialAtMs) {
    dial(driver);
  }
  inform(driver, handleTimeout);
}

/** The clock is looked at at least this often. */
const CLOCK_INTERVAL_MS = 10_000;
/** A timer that is later than this has slept. */
const LATE_MS = 1000;
