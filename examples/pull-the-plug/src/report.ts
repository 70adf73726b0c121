import { byId, element, write } from "./element.ts";
import type { Job } from "./jobs.ts";
import type { Room } from "./room.ts";

const rows = new Map<string, { row: HTMLElement; state: HTMLElement; bar: HTMLElement }>();

/** Shows the last long commands of everybody. */
export function showJobs(room: Room): void {
  const jobs = room.jobs.last;
  const list = byId("jobs");
  for (const [name, { row }] of rows) {
    if (jobs.some((job) => job.name === name)) continue;
    row.remove();
    rows.delete(name);
  }
  for (const job of [...jobs].reverse()) {
    let shown = rows.get(job.name);
    if (shown === undefined) {
      const state = element("span", "state");
      const bar = element("span", "");
      const track = element("div", "bar", bar);
      track.setAttribute("aria-hidden", "true");
      const row = element("li", "", element("span", "", job.name), state, track);
      shown = { row, state, bar };
      rows.set(job.name, shown);
      list.prepend(row);
    }
    write(shown.state, stateOf(job));
    shown.row.className =
      job.outcome === undefined ? "" : job.outcome === "done" ? "is-done" : "is-wrong";
    shown.bar.style.setProperty("--part", String(job.stepCount > 0 ? job.step / job.stepCount : 0));
  }
  byId<HTMLButtonElement>("make-report").disabled = room.isReporting;
  byId<HTMLButtonElement>("cancel-report").disabled = !room.isReporting;
}

function stateOf({ outcome, step, stepCount }: Job): string {
  const far = `${step} of ${stepCount}`;
  if (outcome === undefined) return far;
  if (outcome === "unknown") return `unknown: server lost at ${far}`;
  return outcome === "done" ? outcome : `${outcome} at ${far}`;
}
