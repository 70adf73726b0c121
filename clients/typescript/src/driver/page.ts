/** What becomes of the page that a session lives in. */

/** What a driver does then. */
export interface PageListener {
  /** The page is seen again, or the network is back. */
  wake(): void;
  /** The page is hidden, frozen or left; whether its connections must go. */
  hide(isSuspended: boolean): void;
}

/** Listens until the signal is aborted. Outside of pages nothing happens. */
export function listenToPage(listener: PageListener, signal: AbortSignal): void {
  const { document, addEventListener } = globalThis as Partial<
    Pick<typeof globalThis, "document" | "addEventListener">
  >;
  const handle = ({ type, persisted }: Event & { readonly persisted?: boolean }) => {
    if (type === "freeze" || type === "pagehide") {
      listener.hide(persisted === true);
    } else if (type !== "visibilitychange" || document?.visibilityState === "visible") {
      listener.wake();
    }
  };
  for (const type of ["online", "pageshow", "pagehide"]) {
    addEventListener?.(type, handle, { signal });
  }
  for (const type of ["resume", "visibilitychange", "freeze"]) {
    document?.addEventListener(type, handle, { signal });
  }
}
