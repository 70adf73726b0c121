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
  const page = globalThis as Partial<Pick<typeof globalThis, "addEventListener" | "removeEventListener" | "document">>;
  const document = page.document as Document | undefined;
  const wake = () => {
    listener.wake();
  };
  const see = () => {
    if (document?.visibilityState !== "hidden") {
      listener.wake();
    }
  };
  const freeze = () => {
    listener.hide(false);
  };
  const hide = (event: Event) => {
    listener.hide((event as PageTransitionEvent).persisted);
  };
  const heard: [EventTarget | undefined, string, (event: Event) => void][] = [
    [page.addEventListener && (globalThis as unknown as EventTarget), "online", wake],
    [page.addEventListener && (globalThis as unknown as EventTarget), "pageshow", wake],
    [page.addEventListener && (globalThis as unknown as EventTarget), "pagehide", hide],
    [document, "visibilitychange", see],
    [document, "freeze", freeze],
    [document, "resume", wake],
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
