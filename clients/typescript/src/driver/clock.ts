/**
 * Milliseconds since 1970 that go on while a computer sleeps and do not go back when its clock is
 * set: then the time that has passed since counts.
 */
export class Clock {
  #skewMs = 0;
  #lastMs = 0;
  #lastTick = 0;

  now(): number {
    const tick = performance.now();
    const dateMs = Date.now();
    const lostMs = this.#lastMs + tick - this.#lastTick - this.#skewMs - dateMs;
    if (lostMs > SET_BACK_MS && this.#lastMs > 0) {
      this.#skewMs += Math.round(lostMs);
    }
    this.#lastTick = tick;
    return (this.#lastMs = dateMs + this.#skewMs);
  }
}

/** The two clocks of a computer drift apart by less than this between two looks. */
const SET_BACK_MS = 1000;
