/** What becomes of the page that a session lives in. */

import { handleClosed } from "../session/session.js";
import { dial, dropSocket, wait } from "./connection.js";
import { commit, inform, work, type Driver } from "./driver.js";
import { tick } from "./time.js";

/** Listens until the session is over. Outside of pages nothing happens. */
export function listenToPage(driver: Driver): void {
  const { document, addEventListener } = globalThis as Partial<
    Pick<typeof globalThis, "document" | "addEventListener">
  >;
  const { signal } = driver.page;
  const handle = ({ type, persisted }: Event & { readonly persisted?: boolean }) => {
    if (type === "freeze" || type === "pagehide") {
      hide(driver, persisted === true);
    } else if (type !== "visibilitychange" || document?.visibilityState === "visible") {
      wake(driver);
    }
  };
  for (const type of ["online", "pageshow", "pagehide"]) {
    addEventListener?.(type, handle, { signal });
  }
  for (const type of ["resume", "visibilitychange", "freeze"]) {
    document?.addEventListener(type, handle, { signal });
  }
}

/** The page is seen again, or the network is back: what was waited for is tried now. */
function wake(driver: Driver): void {
  tick(driver);
  if (driver.current.name === "waiting") {
    dial(driver);
    work(driver);
  }
}

/** The page goes, perhaps for good: what is known is to be safe. */
function hide(driver: Driver, isSuspended: boolean): void {
  if (driver.dirty.length > 0 && !driver.isCommitting) {
    commit(driver);
  }
  if (isSuspended && driver.socket) {
    // A browser keeps no page that holds a connection.
    dropSocket(driver, "suspended");
    inform(driver, handleClosed);
    wait(driver, "suspended");
  }
}
