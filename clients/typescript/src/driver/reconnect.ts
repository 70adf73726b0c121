/** When to dial again: pure logic, no clock and no I/O. */

/** How long to wait before dialling again, in milliseconds. The wait before retry n (from 0) is
 * random, even between 0 and `min(delayMaxMs, delayBaseMs · 2ⁿ)`: the jitter comes after the cap. */
export interface ReconnectPolicy {
  /** The range of the first wait. Default 500. */
  readonly delayBaseMs: number;
  /** The largest range. Default 20,000. */
  readonly delayMaxMs: number;
  /** The range of the first wait when the server closed the connection, as it does to all of its
   * clients at once when it restarts. Default 5,000. */
  readonly serverCloseWindowMs: number;
  /** A connection that lived this long counts as a success, after which the waits begin anew.
   * Default 5,000. */
  readonly lifetimeMinMs: number;
}

export const RECONNECT_DEFAULTS: ReconnectPolicy = {
  delayBaseMs: 500,
  delayMaxMs: 20_000,
  serverCloseWindowMs: 5000,
  lifetimeMinMs: 5000,
};

/** The memory between attempts. */
export interface Attempts {
  /** Retries since a connection last lived long enough. */
  retryCount: number;
  /** When the connection was opened that there is. */
  openedAtMs: number;
}

/** The connection ended, or could not be made. How long to wait. */
export function retryDelayMs(
  attempts: Attempts,
  policy: ReconnectPolicy & { readonly random: () => number },
  nowMs: number,
  isClosedByServer: boolean,
): number {
  const { delayBaseMs, delayMaxMs, serverCloseWindowMs, lifetimeMinMs, random } = policy;
  if (nowMs - attempts.openedAtMs >= lifetimeMinMs) {
    attempts.retryCount = 0;
  }
  attempts.openedAtMs = Infinity;
  const isFirst = attempts.retryCount === 0;
  const rangeMs = Math.min(delayMaxMs, delayBaseMs * 2 ** attempts.retryCount++);
  return random() * (isFirst && isClosedByServer ? serverCloseWindowMs : rangeMs);
}
