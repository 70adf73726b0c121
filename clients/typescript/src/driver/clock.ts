/**
 * A clock of milliseconds since 1970 that goes on while a computer sleeps and does not go back when the
 * computer's is set: then the time that has passed since counts.
 */
export function makeClock(): () => number {
  let skewMs = 0;
  let lastMs = 0;
  let lastTick = 0;
  return () => {
    const tick = performance.now();
    const dateMs = Date.now();
    const lostMs = lastMs + tick - lastTick - skewMs - dateMs;
    if (lostMs > SET_BACK_MS && lastMs > 0) {
      skewMs += Math.round(lostMs);
    }
    lastTick = tick;
    return (lastMs = dateMs + skewMs);
  };
}

/** The two clocks of a computer drift apart by less than this between two looks. */
const SET_BACK_MS = 1000;
