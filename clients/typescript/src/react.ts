/**
 * Hooks for React from 18 on. Make the session outside of components: it outlives them as it outlives
 * connections.
 *
 * @packageDocumentation
 */

import { useCallback, useEffect, useRef, useSyncExternalStore } from "react";

import type { SessionState } from "./driver/config.js";
import type { Session, SubscribeOptions } from "./session.js";
import type { ChannelItem } from "./subscription.js";

/** What the session is doing, anew whenever that changes. */
export function useSession(session: Session): SessionState {
  const listen = useCallback(
    (changed: () => void) => {
      session.addEventListener("state", changed);
      return () => {
        session.removeEventListener("state", changed);
      };
    },
    [session],
  );
  const read = () => session.state;
  return useSyncExternalStore(listen, read, read);
}

/**
 * Listens to a channel as long as the component is there. The newest `listener` hears each item once, and
 * the next one waits for its promise. When the component goes, the session keeps its place, and the next
 * to use the channel goes on there: what is to be seen again then must be kept outside of the component.
 * An item whose listener was not done comes again. One component at a time may use a channel.
 *
 * The first options count, until the channel is another.
 */
export function useChannel(
  session: Session,
  channel: string,
  listener: (item: ChannelItem) => void | Promise<void>,
  options?: SubscribeOptions,
): void {
  const newest = useRef({ listener, options });
  useEffect(() => {
    newest.current = { listener, options };
  });
  useEffect(() => {
    let isGone = false;
    const subscription = session.subscribe(channel, newest.current.options, (item) => {
      if (isGone) {
        // It was on its way when the component went, and is for the next one.
        return;
      }
      const done = newest.current.listener(item);
      if (!done) {
        // At once, for the listener may have made this component go.
        subscription.consumed();
      }
      return done;
    });
    return () => {
      isGone = true;
      subscription.close();
    };
  }, [session, channel]);
}
