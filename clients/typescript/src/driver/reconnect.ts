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
export class Reconnect {
  /** Retries since a connection last lived long enough. */
  attempt = 0;
  #openedAtMs = Infinity;

  constructor(readonly policy: ReconnectPolicy & { readonly random: () => number }) {}

  /** A connection is open. */
  handleOpen(nowMs: number): void {
    this.#openedAtMs = nowMs;
  }

  /** The connection ended, or could not be made. How long to wait. */
  handleLost(nowMs: number, isClosedByServer: boolean): number {
    if (nowMs - this.#openedAtMs >= this.policy.lifetimeMinMs) {
      this.attempt = 0;
    }
    this.#openedAtMs = Infinity;
    const { delayBaseMs, delayMaxMs, serverCloseWindowMs, random } = this.policy;
    const isFirst = this.attempt === 0;
    const rangeMs = Math.min(delayMaxMs, delayBaseMs * 2 ** this.attempt++);
    return random() * (isFirst && isClosedByServer ? serverCloseWindowMs : rangeMs);
  }
}
