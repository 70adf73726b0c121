/** Whether it has been stopped by now: the compiler believes that an answer of before an `await` still holds. */
export function isStopped(stop: AbortSignal): boolean {
  return stop.aborted;
}

/** Waits, unless it is stopped before. */
export function pause(ms: number, stop: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    stop.addEventListener(
      "abort",
      () => {
        clearTimeout(timer);
        resolve();
      },
      { once: true },
    );
  });
}
