/**
 * The client's half of a session: what a client knows of it while connections come and go. It is
 * told what happens (`handle…`, and what the application wants) and says what is to be done
 * ({@link Output}), in the order in which it must be done. No I/O, no clock, no randomness of its own.
 *
 * Times are milliseconds since 1970; a clock that is set back is taken to stand still.
 */

import { CLOSE_SUPERSEDED } from "../codes.js";
import type { ClientFrame, Goaway, Hello, ServerFrame, ServerLimits, Standing, Welcome } from "../wire/frames.js";
import { adviceOf } from "./advice.js";
import {
  expectAnswer,
  handleEvent,
  handleGap,
  handlePresence,
  handleRefusedWish,
  handleSubscribed,
  handleUnsubscribed,
  isInHello,
  listen,
  sendSubscriptions,
  type Channel,
} from "./channels.js";
import {
  answerInterrupted,
  handleAnswersSafe,
  handleCancel,
  handleCommand,
  sendAnswers,
  withdrawCommands,
} from "./commands.js";
import type { SessionConfig } from "./config.js";
import type { CloseReason, Ending, Output, SessionEvent } from "./output.js";
import {
  expireDeadlines,
  handleReply,
  indexRequests,
  sendCancels,
  sendWaiting,
  giveUpAll,
  tellGivenUp,
  unansweredFrom,
} from "./requests.js";
import {
  applyChange,
  doubtful,
  emptyState,
  isInbox,
  placeOf,
  sessionInbox,
  type SavedState,
  type StateChange,
} from "./state.js";

/** What the session's connection is doing: there is none, or it is to be closed; the hello is out;
 * it is open; the bye is out; the session is over. */
export type Phase = "offline" | "opening" | "open" | "closing" | "ended";

/** A client's session. Only the functions of this folder change it. */
export interface ClientSession {
  readonly config: SessionConfig;
  /** What survives the process. Changed by {@link change} alone. */
  readonly saved: SavedState;
  phase: Phase;
  /** The peer must have spoken by then. */
  silentAtMs: number;
  /** How long an open connection may be silent. */
  silenceMsMax: number;
  /** When to leave a connection whose server goes. */
  movesAtMs: number;
  outputs: Output[];
  nowMs: number;

  // Requests: indexes of `saved.requests`, which the wire does not know.
  /** Keys of those that have no number yet, in the order in which they will get one. */
  readonly waiting: Set<number>;
  /** Keys of those that may have been sent, by number, in order. */
  readonly numbered: Map<number, number>;
  /** Numbers that were not sent on this connection. */
  unsent: number[];
  /** Times by key, of those that wait. */
  readonly deadlines: Map<number, number>;
  /** Keys that the application no longer wants and the server must be told so. */
  readonly cancelled: Set<number>;
  outboxBytes: number;
  /** Bytes of those with a number. */
  flightBytes: number;
  /** What the newest welcome said. */
  serverLimits: ServerLimits | undefined;

  /** The channels that are listened to. */
  readonly channels: Map<string, Channel>;
  /** The inbox of the principal that the session belongs to. */
  principalInbox: string | undefined;
  /** How many of our wishes about a channel this connection's server has not answered. */
  readonly unanswered: Map<string, number>;

  /** The keys of the server's commands that run, by number. */
  readonly running: Map<number, number>;
  nextCommandKey: number;

  /** What this connection's server was last told to have arrived. */
  ackedFrom: number;
  /** Events and outcomes that are not acknowledged. */
  ackCount: number;
  ackAtMs: number;
  readonly ackChannels: Set<string>;
}

/** Starts without a connection, with what an earlier life has saved. */
export function openSession(config: SessionConfig, saved: SavedState = emptyState()): ClientSession {
  const session: ClientSession = {
    config,
    saved,
    phase: "offline",
    silentAtMs: Infinity,
    silenceMsMax: Infinity,
    movesAtMs: Infinity,
    outputs: [],
    nowMs: 0,
    waiting: new Set(),
    numbered: new Map(),
    unsent: [],
    cancelled: new Set(),
    deadlines: new Map(),
    outboxBytes: 0,
    flightBytes: 0,
    serverLimits: undefined,
    channels: new Map(),
    principalInbox: undefined,
    unanswered: new Map(),
    running: new Map(),
    nextCommandKey: 1,
    ackedFrom: 1,
    ackCount: 0,
    ackAtMs: Infinity,
    ackChannels: new Set(),
  };
  // Other channels wait for the application: until it attaches to them nobody would take their
  // events. Inboxes come by themselves.
  for (const channel of saved.channels.keys()) {
    if (isInbox(channel)) {
      listen(session, channel);
    }
  }
  indexRequests(session);
  tellGivenUp(session);
  answerInterrupted(session);
  return session;
}

// What happens to the connection.

/** A connection is open, its subprotocol agreed. The hello goes out. */
export function handleOpen(session: ClientSession, nowMs: number): void {
  advance(session, nowMs);
  dropStaleOutputs(session);
  if (session.phase === "ended") {
    close(session, "done");
    return;
  }
  enter(session, "opening", session.config.welcomeTimeoutMs);
  const hello = helloOf(session);
  session.ackedFrom = hello.unanswered_from;
  for (const { channel } of hello.cursors) {
    expectAnswer(session, channel);
  }
  transmit(session, hello);
}

/** A frame has come. */
export function handleFrame(session: ClientSession, nowMs: number, frame: ServerFrame): void {
  advance(session, nowMs);
  if (session.phase === "opening") {
    if (frame.type === "welcome") {
      handleWelcome(session, frame);
    } else if (frame.type !== "ping" && frame.type !== "pong") {
      fault(session);
    }
  } else if (isOpen(session)) {
    session.silentAtMs = session.nowMs + session.silenceMsMax;
    (FRAME_HANDLERS[frame.type] as (session: ClientSession, frame: ServerFrame) => void)(session, frame);
  }
}

/** Something has come that is no frame. */
export function handleViolation(session: ClientSession, nowMs: number): void {
  advance(session, nowMs);
  if (hasConnection(session)) {
    fault(session);
  }
}

/** The connection has ended, with the code of the peer's Close frame if there was one. */
export function handleClosed(session: ClientSession, nowMs: number, code?: number): void {
  advance(session, nowMs);
  dropStaleOutputs(session);
  if (session.phase === "ended") {
    return;
  }
  if (session.phase === "closing") {
    end(session, "ended");
    return;
  }
  enter(session, "offline");
  const advice = adviceOf(code);
  if (advice === "start_fresh") {
    forget(session);
  } else if (advice === "stop") {
    end(session, code === CLOSE_SUPERSEDED ? "superseded" : "refused", code);
  }
}

/** Time has passed. */
export function handleTimeout(session: ClientSession, nowMs: number): void {
  advance(session, nowMs);
  if (session.phase === "ended") {
    return;
  }
  expireDeadlines(session);
  tellGivenUp(session);
  if (session.nowMs >= session.silentAtMs) {
    if (session.phase === "closing") {
      close(session, "done");
      end(session, "ended");
    } else {
      closeConnection(session, isOpen(session) ? "silent" : "no_welcome");
    }
  } else if (isOpen(session)) {
    if (session.nowMs >= session.ackAtMs) {
      acknowledge(session);
    }
    if (session.nowMs >= session.movesAtMs) {
      closeConnection(session, "goaway");
    }
  }
}

/** When {@link handleTimeout} has something to do; `Infinity` for never. */
export function nextTimeout(session: ClientSession): number {
  const { phase, silentAtMs, ackAtMs, movesAtMs, deadlines } = session;
  if (phase === "ended") {
    return Infinity;
  }
  // Not all at once: there may be more than a function takes arguments.
  let nextMs = Math.min(silentAtMs, isOpen(session) ? ackAtMs : Infinity, movesAtMs);
  for (const atMs of deadlines.values()) {
    nextMs = Math.min(nextMs, atMs);
  }
  return nextMs;
}

// What the application wants of the session as a whole.

/** Ends the session for good: the server is told to forget it. Every request without an outcome gets
 * one now. */
export function endSession(session: ClientSession, nowMs: number): void {
  advance(session, nowMs);
  if (isOpen(session)) {
    // First, for what is settled now has not arrived and must not be acknowledged.
    enter(session, "closing", session.config.byeTimeoutMs);
    forget(session);
    giveUpAll(session);
    change(session, { change: "ended" });
    transmit(session, { type: "bye" });
  } else if (!isOver(session)) {
    closeIfConnected(session);
    end(session, "ended");
  }
}

/** Leaves the session as it is, to be continued from the saved state within its time. Requests
 * without an outcome stay in the saved state. */
export function leaveSession(session: ClientSession, nowMs: number): void {
  advance(session, nowMs);
  if (session.phase !== "ended") {
    acknowledgeIfDue(session);
    closeIfConnected(session);
    finish(session, "left");
  }
}

/** The next thing to be done, which stays the next until {@link dropOutput}; `undefined` when there
 * is nothing. Requests that wait become frames here. */
export function nextOutput(session: ClientSession): Output | undefined {
  if (session.outputs.length === 0) {
    sendWaiting(session);
  }
  return session.outputs[0];
}

/** The next thing is being done. */
export function dropOutput(session: ClientSession): void {
  session.outputs.shift();
}

/** Whether requests go out: there is a connection and the server has welcomed us. */
export function isOpen(session: ClientSession): boolean {
  return session.phase === "open";
}

/** Whether nothing more can be wanted of the session. */
export function isOver(session: ClientSession): boolean {
  return session.phase === "ended" || session.phase === "closing";
}

// The ways in which outputs arise.

export function change(session: ClientSession, change: StateChange): void {
  applyChange(session.saved, change);
  session.outputs.push({ do: "persist", change });
}

export function transmit(session: ClientSession, frame: ClientFrame): void {
  session.outputs.push({ do: "transmit", frame });
}

export function tell(session: ClientSession, event: SessionEvent): void {
  session.outputs.push({ do: "tell", event });
}

/** The server broke the protocol: what it says on this connection cannot be relied on. */
export function fault(session: ClientSession): void {
  closeConnection(session, "fault");
}

/** Notes that so many more events and outcomes have arrived. */
export function noteArrivals(session: ClientSession, count: number): void {
  session.ackCount += count;
  session.ackAtMs = Math.min(session.ackAtMs, session.nowMs + session.config.ackDelayMs);
  if (session.ackCount >= session.config.ackCount && isOpen(session)) {
    acknowledge(session);
  }
}

export function acknowledge(session: ClientSession): void {
  const cursors = [...session.ackChannels].sort().flatMap((channel) => {
    const place = session.saved.channels.get(channel)?.cursor;
    return place ? [{ channel, offset: place.offset }] : [];
  });
  session.ackCount = 0;
  session.ackAtMs = Infinity;
  session.ackChannels.clear();
  session.ackedFrom = unansweredFrom(session);
  transmit(session, { type: "ack", unanswered_from: session.ackedFrom, cursors });
}

/** A time that a clock cannot take back. */
export function advance(session: ClientSession, nowMs: number): void {
  session.nowMs = Math.max(session.nowMs, nowMs);
}

type FrameHandlers = {
  [T in ServerFrame["type"]]: (session: ClientSession, frame: Extract<ServerFrame, { type: T }>) => void;
};

const FRAME_HANDLERS: FrameHandlers = {
  welcome: fault,
  reply: handleReply,
  request: handleCommand,
  cancel: handleCancel,
  ack: handleAnswersSafe,
  subscribed: handleSubscribed,
  unsubscribed: handleUnsubscribed,
  event: handleEvent,
  gap: handleGap,
  presence: handlePresence,
  ping: (session) => {
    transmit(session, { type: "pong" });
  },
  pong: () => undefined,
  goaway: scheduleMove,
  problem: handleRefusedWish,
};

function handleWelcome(session: ClientSession, welcome: Welcome): void {
  if (!fits(session, welcome)) {
    fault(session);
    return;
  }
  const { standing, accepted, token, limits, principal } = welcome;
  if (standing !== "resumed") {
    abandon(session, standing, accepted);
    // The hello said so already, or the session is new.
    session.ackedFrom = 1;
  }
  change(session, { change: "welcomed", standing, identity: { session: welcome.session, token }, accepted });
  indexRequests(session);
  session.serverLimits = limits;
  session.principalInbox = principal && `$principal/${principal}`;
  session.silenceMsMax = welcome.ping_interval_ms + session.config.silenceMarginMs;
  session.silentAtMs = session.nowMs + session.silenceMsMax;
  session.phase = "open";
  tell(session, { type: "welcomed", welcome });
  sendCancels(session);
  sendAnswers(session);
  sendSubscriptions(session);
}

/** Whether a welcome is to the session that was asked for, and its numbers are numbers. */
function fits({ saved }: ClientSession, { standing, session, accepted }: Welcome): boolean {
  const wanted = saved.identity;
  const isAsked = standing === "new" ? !wanted : wanted && (standing !== "resumed" || wanted.session === session);
  return Boolean(isAsked) && accepted < ACCEPTED_MAX;
}

function helloOf(session: ClientSession): Hello {
  const { identity, accepted, channels } = session.saved;
  const listened = [...channels].filter(([channel]) => isInbox(channel) || isInHello(session, channel));
  return {
    type: "hello",
    client: session.config.client,
    ...identity,
    unanswered_from: unansweredFrom(session),
    accepted,
    cursors: listened.flatMap(([channel, { cursor, delivery, presence }]) =>
      cursor ? [{ channel, ...placeOf(cursor), delivery, presence }] : [],
    ),
  };
}

function acknowledgeIfDue(session: ClientSession): void {
  if (session.ackCount > 0 && isOpen(session)) {
    acknowledge(session);
  }
}

/** The server said that it will go: comes back after a random part of its window, as others do. */
function scheduleMove(session: ClientSession, { window_ms }: Goaway): void {
  const waitMs = Math.floor(session.config.random() * Math.min(window_ms, GOAWAY_WINDOW_MS_MAX));
  session.movesAtMs = Math.min(session.movesAtMs, session.nowMs + waitMs);
}

function closeConnection(session: ClientSession, reason: CloseReason): void {
  if (reason === "goaway") {
    acknowledgeIfDue(session);
  }
  close(session, reason);
  enter(session, "offline");
}

function closeIfConnected(session: ClientSession): void {
  if (hasConnection(session)) {
    close(session, "done");
  }
}

function close(session: ClientSession, reason: CloseReason): void {
  session.outputs.push({ do: "close", reason });
}

function hasConnection({ phase }: ClientSession): boolean {
  return phase === "opening" || phase === "open";
}

/** What was to be sent or closed belonged to a connection that is gone. */
function dropStaleOutputs(session: ClientSession): void {
  session.outputs = session.outputs.filter((output) => output.do !== "transmit" && output.do !== "close");
}

/** Begins a phase that lasts so long at most, and forgets what only one connection knows. What is not
 * acknowledged stands in the next hello. */
function enter(session: ClientSession, phase: Phase, lastsMsMax = Infinity): void {
  session.phase = phase;
  session.silentAtMs = session.nowMs + lastsMsMax;
  session.movesAtMs = Infinity;
  session.ackCount = 0;
  session.ackAtMs = Infinity;
  session.ackChannels.clear();
  session.unanswered.clear();
  session.unsent = [];
}

/** The server will not have this session back. */
function forget(session: ClientSession): void {
  abandon(session, "unknown", 0);
  change(session, { change: "forgotten" });
  indexRequests(session);
}

/** Lets go of what belongs to the session that was: doubtful requests, commands, its inbox. */
function abandon(session: ClientSession, standing: Standing, accepted: number): void {
  const { saved } = session;
  for (const key of doubtful(saved, standing, accepted)) {
    tell(session, { type: "outcome", key, outcome: { status: "indeterminate" } });
  }
  if (saved.identity) {
    session.channels.delete(sessionInbox(saved.identity.session));
  }
  withdrawCommands(session, Infinity);
}

function end(session: ClientSession, how: Ending["how"], code?: number): void {
  if (session.saved.identity) {
    // Outcomes are given up that never arrived, so this state cannot go on with the session: it
    // would have to say that they had. Cursors are good in any session. One change for all, so that
    // a process that is killed meanwhile does not leave half of it.
    forget(session);
  }
  giveUpAll(session);
  if (how === "ended" && session.saved.channels.size > 0) {
    change(session, { change: "ended" });
  }
  finish(session, how, code);
}

function finish(session: ClientSession, how: Ending["how"], code?: number): void {
  enter(session, "ended");
  tell(session, { type: "ended", ending: { how, code } });
}

/** A mistaken window must not keep a client on a server that goes. */
const GOAWAY_WINDOW_MS_MAX = 120_000;
/** What a server may have accepted at most, so that numbers stay exact however long the session lasts. */
const ACCEPTED_MAX = 2 ** 52;
