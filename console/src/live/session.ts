/** A channel over a session of this page's own, by the TypeScript client. */
import type { ChannelItem, Session, StateEvent } from "mainstay";
import { isStopped } from "../stop.ts";
import type { Ear, Place } from "./follow.ts";

/** `refused` if the endpoint does not let this page in: there may be another way to hear. */
export async function followBySession(
  address: string,
  channel: string,
  place: Place,
  ear: Ear,
  stop: AbortSignal,
): Promise<"stopped" | "refused"> {
  const { connect } = await import("mainstay");
  if (isStopped(stop)) return "stopped";
  const session = connect(address, { client: CLIENT });
  try {
    if (!(await isLetIn(session, ear, stop))) return isStopped(stop) ? "stopped" : "refused";
    const start = { after: place.offset, epoch: place.epoch };
    for await (const item of session.subscribe(channel, { start, signal: stop })) tell(item, ear);
  } catch (error) {
    if (!isStopped(stop)) ear.state({ name: "over", why: String(error) });
  } finally {
    // It is nobody's to come back to.
    void session.end();
  }
  return "stopped";
}

/** Whether a first connection opens. Later ones may be lost and come again: the session goes on. */
function isLetIn(session: Session, ear: Ear, stop: AbortSignal): Promise<boolean> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve(false), OPEN_TIMEOUT_MS);
    const decide = (is: boolean) => {
      clearTimeout(timer);
      resolve(is);
    };
    session.addEventListener("state", ({ state }: StateEvent) => {
      if (stop.aborted) return;
      if (state.name === "open") {
        ear.state({ name: "live", way: "session", session: state.session });
        decide(true);
      } else if (state.name === "waiting") {
        ear.state({ name: "waiting" });
        // A browser does not tell a page why; twice is no accident.
        if (state.attempt >= 2) decide(false);
      } else if (state.name === "over") {
        decide(false);
      }
    });
    stop.addEventListener("abort", () => decide(false), { once: true });
  });
}

function tell(item: ChannelItem, ear: Ear): void {
  if (item.type === "event") {
    const { offset, atMs, payload, data } = item;
    ear.heard({ type: "event", offset, atMs, ...(data === undefined ? { payload } : { data }) });
  } else if (item.type === "gap") {
    const { from, to, reason, epoch, offset } = item;
    const place = { epoch, offset };
    ear.heard({ type: "gap", from, reason, place, ...(to !== undefined && { to }) });
  }
}

const CLIENT = "mainstay-console";
const OPEN_TIMEOUT_MS = 5000;
