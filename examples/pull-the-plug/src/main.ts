import type { SessionState } from "mainstay";

import { byId, write } from "./element.ts";
import { forgetOtherRooms, Journal } from "./journal.ts";
import { LogView } from "./log.ts";
import { showLedger } from "./ledger.ts";
import { controlState, Panel, type PullSeen } from "./panel.ts";
import { showPeople } from "./people.ts";
import { showJobs } from "./report.ts";
import { Room } from "./room.ts";
import { takeSeat } from "./seat.ts";
import { Trace } from "./trace.ts";

const control = await controlState();
const trace = new Trace(byId<SVGSVGElement>("trace"));
const panel = new Panel(control);
panel.addEventListener("pull", (event) => trace.pulled((event as CustomEvent<PullSeen>).detail));

const seat = await takeSeat(control.room);
await forgetOtherRooms(control.room);
const journal = await Journal.open(`pull-the-plug ${control.room} ${seat.name} journal`);
const room = await Room.enter({ ...control, seat, journal });

// For tests, which look into the journal: where it is, and that it is open.
Object.assign(document.documentElement.dataset, { room: control.room, seat: seat.name });

const log = new LogView(byId("log"));
let recoveryMs: number | undefined;
let frame: number | undefined;
let timer: ReturnType<typeof setTimeout> | undefined;
show();
room.addEventListener("changed", () => {
  if (frame !== undefined) return;
  frame = requestAnimationFrame(show);
  // A hidden page gets no frames, and is read all the same, by whoever has it read aloud.
  timer = setTimeout(show, hiddenMs);
});
room.addEventListener("sent", () => trace.tick("sent"));
room.addEventListener("heard", () => trace.tick("heard"));

function show(): void {
  if (frame !== undefined) cancelAnimationFrame(frame);
  clearTimeout(timer);
  frame = undefined;
  log.show(room);
  showLedger(room, recoveryMs);
  showPeople(room);
  showJobs(room);
}

let lostAtMs: number | undefined;
let hasBeenOpen = false;
const followState = () => {
  const { state } = room.session;
  byId("status").dataset.state = state.name;
  write(byId("status-name"), state.name);
  write(byId("status-why"), detailOf(state));
  if (state.name === "open") {
    trace.opened();
    if (lostAtMs !== undefined) recoveryMs = Date.now() - lostAtMs;
    [hasBeenOpen, lostAtMs] = [true, undefined];
  } else {
    trace.closed();
    if (hasBeenOpen) lostAtMs ??= Date.now();
  }
  show();
};
room.session.addEventListener("state", followState);
followState();

function detailOf(state: SessionState): string {
  switch (state.name) {
    case "connecting":
      return state.attempt > 0 ? `attempt ${state.attempt}` : "";
    case "open":
      return `session ${state.session.slice(0, 8)}, connection ${state.generation}`;
    case "waiting":
      return `${state.reason}${state.code === undefined ? "" : ` (${state.code})`}`;
    case "over":
      return state.error.reason;
  }
}

const name = byId<HTMLInputElement>("name");
const text = byId<HTMLInputElement>("text");
name.value = room.page.name;
name.onchange = () => {
  const entered = name.value.trim();
  if (entered) void room.rename(entered);
  else name.value = room.page.name;
};
byId<HTMLFormElement>("say").onsubmit = (event) => {
  event.preventDefault();
  const said = text.value.trim();
  if (said) void room.say(said);
  text.value = "";
};

const chatter = byId<HTMLInputElement>("chatter");
setInterval(() => {
  if (chatter.checked) void room.say(sayings[room.page.sent % sayings.length] ?? "");
}, 500);

byId("make-report").onclick = () => room.makeReport();
byId("cancel-report").onclick = () => room.cancelReport();
byId("freeze").onclick = () => {
  const untilMs = performance.now() + freezeMs;
  // This is the point: nothing of this page runs.
  while (performance.now() < untilMs);
};

const hiddenMs = 250;
const freezeMs = 8_000;
const sayings = [
  "Is anybody still there?",
  "I can hear you.",
  "Did that arrive?",
  "Once, and only once.",
  "Going into a tunnel.",
  "Out of it again.",
  "Counting on you.",
];
