/** What becomes of the page that a session lives in. */

/** What a driver does then. */
export interface PageListener {
  /** The page is seen again, or the network is back. */
  wake(): void;
  /** The page is hidden, frozen or left; whether its connections must go. */
  hide(isSuspended: boolean): void;
}

/** Listens until the function that it gives is called. Outside of pages nothing happens. */
export function listenToPage(listener: PageListener): () => void {
  const { document, addEventListener } = globalThis as Partial<
    Pick<typeof globalThis, "document" | "addEventListener">
  >;
  const page: EventTarget | undefined = addEventListener && globalThis;
  const wake = () => {
    listener.wake();
  };
  const heard: [EventTarget | undefined, string, (event: Event) => void][] = [
    [page, "online", wake],
    [page, "pageshow", wake],
    [document, "resume", wake],
    [
      document,
      "visibilitychange",
      () => {
        if (document?.visibilityState === "visible") {
          listener.wake();
        }
      },
    ],
    [
      document,
      "freeze",
      () => {
        listener.hide(false);
      },
    ],
    [
      page,
      "pagehide",
      (event) => {
        listener.hide((event as PageTransitionEvent).persisted);
      },
    ],
  ];
  for (const [target, type, run] of heard) {
    target?.addEventListener(type, run);
  }
  return () => {
    for (const [target, type, run] of heard) {
      target?.removeEventListener(type, run);
    }
  };
}
