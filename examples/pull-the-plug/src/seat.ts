/**
 * Which stored session this tab uses. Two tabs of one origin share its storage, and a session belongs to
 * one page at a time: so there are seats, and a tab takes one that is free, for as long as it lives.
 *
 * A tab that is loaded again takes its own seat. A new one takes the first that nobody sits on, and with
 * it whatever a closed tab has left there unsent. A duplicated tab believes in the seat of its original,
 * waits for it a moment in vain, and takes another.
 */
export interface Seat {
  readonly name: string;
  /** Whether it is kept in the browser's storage; not where the page may not have locks. */
  readonly isDurable: boolean;
}

export async function takeSeat(room: string): Promise<Seat> {
  if (!("locks" in navigator)) return { name: crypto.randomUUID(), isDurable: false };
  const key = `seat of ${room}`;
  const own = sessionStorage.getItem(key);
  // The page before the reload may hold the seat for a moment longer.
  if (own !== null && (await sit(room, own, { signal: AbortSignal.timeout(reloadMsMax) }))) {
    return { name: own, isDurable: true };
  }
  for (let number = 1; ; number += 1) {
    const name = `seat-${number}`;
    if (await sit(room, name, { ifAvailable: true })) {
      sessionStorage.setItem(key, name);
      return { name, isDurable: true };
    }
  }
}

/** Holds the lock of a seat until the page is gone. */
function sit(room: string, seat: string, options: LockOptions): Promise<boolean> {
  return new Promise((resolve, reject) => {
    navigator.locks
      .request(`pull-the-plug ${room} ${seat}`, options, (lock) => {
        resolve(lock !== null);
        return lock === null ? undefined : new Promise(() => {});
      })
      .catch((error: unknown) => {
        if (options.signal?.aborted) resolve(false);
        else reject(error instanceof Error ? error : new Error(String(error)));
      });
  });
}

const reloadMsMax = 2_000;
