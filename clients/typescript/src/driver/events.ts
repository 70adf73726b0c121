/** What the state machine has to say to the application. */

import { SessionOver, SubscriptionError } from "../errors.js";
import { detach } from "../session/channels.js";
import type { SessionEvent } from "../session/output.js";
import { failed } from "../session/requests.js";
import { isInbox } from "../session/state.js";
import { runCommand, stopCommand } from "./commands.js";
import { inform, setState, type Driver } from "./driver.js";
import { deliver, INBOXES } from "./queues.js";

export function tellEvent(driver: Driver, event: SessionEvent): void {
  switch (event.type) {
    case "welcomed": {
      const { standing, session, generation, principal, server } = event.welcome;
      setState(driver, { name: "open", standing, session, generation, principal, server });
      break;
    }
    case "outcome":
    case "given_up":
      driver.asked.get(event.key)?.settle(event.outcome);
      driver.asked.delete(event.key);
      break;
    case "subscribed":
      if (isInbox(event.channel) && !driver.queues.has(INBOXES)) {
        // An inbox that nobody reads must not fill up; its place is kept.
        inform(driver, detach, event.channel);
        break;
      }
      deliver(driver, event);
      break;
    case "event":
    case "gap":
    case "presence":
      deliver(driver, event);
      break;
    case "unsubscribed":
      driver.queues.get(event.channel)?.finish(errorOf(event));
      driver.queues.delete(event.channel);
      break;
    case "command":
      runCommand(driver, event.key, event.deadlineAtMs, event.request);
      break;
    case "command_cancelled":
      stopCommand(driver, event.key, failed("cancelled", "stopped"));
      break;
    case "ended":
      driver.whyOver ??= new SessionOver(event.ending.how, event.ending.code);
  }
}

function errorOf({ channel, failure }: Extract<SessionEvent, { type: "unsubscribed" }>): SubscriptionError | undefined {
  return failure && new SubscriptionError(channel, failure.error, failure.message);
}
