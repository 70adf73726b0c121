import { byId, write } from "./element.ts";
import type { Room } from "./room.ts";

/** Shows what the checker has counted. */
export function showLedger(room: Room, recoveryMs: number | undefined): void {
  const { received, missing, duplicated, outOfOrder, announced, repeated } = room.counts;
  const verdicts = { missing, duplicated, "out-of-order": outOfOrder };
  for (const [id, count] of Object.entries(verdicts)) {
    write(byId(id), figure(count));
    byId(`${id}-row`).classList.toggle("is-wrong", count > 0);
  }
  write(byId("sent"), figure(room.page.sent));
  write(byId("received"), figure(received));
  write(byId("waiting"), figure(room.drafts.size));
  write(byId("resumes"), room.page.resumes === 1 ? "once" : `${figure(room.page.resumes)} times`);
  write(byId("recovery"), recoveryMs === undefined ? "–" : `${(recoveryMs / 1000).toFixed(2)} s`);
  write(byId("announced"), figure(announced));
  write(byId("repeated"), figure(repeated));
  const isFine = missing + duplicated + outOfOrder === 0;
  const verdict = isFine ? "everything once and in order" : "something is wrong";
  write(byId("verdict"), received === 0 ? "nothing to check yet" : verdict);
}

function figure(count: number): string {
  return count.toLocaleString("en-GB");
}
