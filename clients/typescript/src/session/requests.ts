/** Requests: from the application's wish to their outcome. */

import type { ClientFrame, Outcome, Payload, Reply, ServerLimits } from "../wire/frames.js";
import { utf8Bytes } from "../wire/payload.js";
import { RequestError } from "../errors.js";
import type { Failure } from "./output.js";
import {
  acknowledge,
  advance,
  change,
  fault,
  isOpen,
  isOver,
  noteArrivals,
  tell,
  transmit,
  type ClientSession,
} from "./session.js";
import { callBytes, type Call, type SavedRequest } from "./state.js";

/**
 * Asks for what a call says. It is kept until its outcome has come, over as many connections as that
 * takes. `deadlineAtMs` is when the outcome is no longer wanted: what cannot be sent before then
 * never runs. Gives the request's key.
 * @throws {RequestError} It will never run: there is no room for it, it is too big, or the session is over.
 */
export function call(session: ClientSession, nowMs: number, call: Call, deadlineAtMs?: number): number {
  advance(session, nowMs);
  if (isOver(session)) {
    throw new RequestError("never_ran", "never_ran", OVER);
  }
  const { config, saved, serverLimits: limits } = session;
  if (limits && frameBytes(session, call) > limits.message_bytes_max) {
    throw new RequestError("never_ran", "too_big", tooBig(limits));
  }
  const bytes = callBytes(call);
  if (saved.requests.size >= config.outboxCountMax || session.outboxBytes + bytes > config.outboxBytesMax) {
    throw new RequestError("never_ran", "busy", "too many");
  }
  const key = saved.nextKey;
  session.outboxBytes += bytes;
  addWaiting(session, key, deadlineAtMs);
  change(session, { change: "requested", key, call, deadlineAtMs });
  return key;
}

/** The outcome is no longer wanted. One that was never sent never runs; of another the server is
 * told, and its outcome comes as it may. */
export function cancel(session: ClientSession, nowMs: number, key: number): void {
  advance(session, nowMs);
  const request = session.saved.requests.get(key);
  if (!request || isOver(session)) {
    return;
  }
  if (!session.cancelled.has(key)) {
    takeBack(session, key, request);
    tellGivenUp(session);
  }
}

/** The lowest number without an outcome. */
export function unansweredFrom(session: ClientSession): number {
  const [lowest = session.saved.nextNumber] = session.numbered.keys();
  return lowest;
}

export function handleReply(session: ClientSession, { number, outcome }: Reply): void {
  if (number === 0 || number >= session.saved.nextNumber) {
    // To a request that was never made.
    fault(session);
    return;
  }
  const key = session.numbered.get(number);
  // Of one that is not there, the outcome has come before.
  if (key) {
    settle(session, key, outcome);
  }
}

/** Makes frames of requests that wait, as many as the server allows. */
export function sendWaiting(session: ClientSession): void {
  if (!isOpen(session)) {
    return;
  }
  expireDeadlines(session);
  numberWaiting(session);
  tellGivenUp(session);
  const { unsent } = session;
  session.unsent = [];
  for (const number of unsent) {
    const key = session.numbered.get(number) ?? 0;
    const request = session.saved.requests.get(key);
    if (request) {
      transmit(session, frameOf(session, number, request));
      if (session.cancelled.has(key)) {
        transmit(session, { type: "cancel", number });
      }
    }
  }
}

/** Tells a server that we came back to what is no longer wanted. */
export function sendCancels(session: ClientSession): void {
  for (const key of [...session.cancelled]) {
    const request = session.saved.requests.get(key);
    if (!request) {
      session.cancelled.delete(key);
    } else {
      takeBack(session, key, request);
    }
  }
  tellGivenUp(session);
}

/** What was not sent by its deadline is not sent at all. */
export function expireDeadlines(session: ClientSession): void {
  for (const [key, atMs] of [...session.deadlines]) {
    if (atMs <= session.nowMs) {
      giveUp(session, key, "never_ran", "too late");
    }
  }
}

function addWaiting(session: ClientSession, key: number, deadlineAtMs: number | undefined): void {
  session.waiting.add(key);
  if (deadlineAtMs) {
    session.deadlines.set(key, deadlineAtMs);
  }
}

/** Gives up every request, for the session is over. What was sent is settled before. */
export function giveUpAll(session: ClientSession): void {
  for (const key of [...session.saved.requests.keys()]) {
    giveUp(session, key, "never_ran", OVER);
  }
  tellGivenUp(session);
}

/** Tells the application of all that was given up. First they are all safe and then they are told, so
 * that one write serves them all. */
export function tellGivenUp(session: ClientSession): void {
  const given = [...session.saved.requests].filter(([, { givenUp }]) => givenUp);
  for (const [key, { givenUp }] of given) {
    tell(session, { type: "given_up", key, outcome: givenUp as Outcome });
  }
  for (const [key] of given) {
    change(session, { change: "settled", key });
  }
}

/** Builds the indexes anew after the numbers have changed. */
export function indexRequests(session: ClientSession): void {
  session.waiting.clear();
  session.deadlines.clear();
  session.numbered.clear();
  session.unsent = [];
  session.outboxBytes = 0;
  session.flightBytes = 0;
  for (const [key, { call, number, deadlineAtMs, givenUp }] of session.saved.requests) {
    const bytes = givenUp ? 0 : callBytes(call);
    session.outboxBytes += bytes;
    if (givenUp) {
      // It only waits to be told.
    } else if (number) {
      session.numbered.set(number, key);
      session.flightBytes += bytes;
    } else {
      addWaiting(session, key, deadlineAtMs);
    }
  }
}

/** The bytes that a payload takes as part of a message. */
export function payloadBytes(session: ClientSession, payload: Payload): number {
  return session.config.encoding.payloadBytes(payload);
}

export function failed(error: Failure["error"], message: string): Outcome {
  return { status: "failed", error, message };
}

function takeBack(session: ClientSession, key: number, { number }: SavedRequest): void {
  if (!number) {
    giveUp(session, key, "cancelled");
    return;
  }
  session.cancelled.add(key);
  // One that this connection has not sent yet is cancelled right behind it.
  if (isOpen(session) && !session.unsent.includes(number)) {
    transmit(session, { type: "cancel", number });
  }
}

/** A request has its outcome, from the server or for want of one. */
function settle(session: ClientSession, key: number, outcome: Outcome): void {
  unindex(session, key);
  tell(session, { type: "outcome", key, outcome });
  change(session, { change: "settled", key });
  noteArrivals(session, 1);
}

/** A request that was not sent will never be. The application is told once that is safe
 * ({@link tellGivenUp}): a page that goes between the two would leave a request that its next run
 * sends. */
function giveUp(session: ClientSession, key: number, error: Failure["error"], message: string = error): void {
  unindex(session, key);
  change(session, { change: "given_up", key, outcome: failed(error, message) });
}

/** Takes a request out of all indexes. */
function unindex(session: ClientSession, key: number): void {
  const request = session.saved.requests.get(key);
  if (request) {
    const bytes = callBytes(request.call);
    session.outboxBytes -= bytes;
    session.waiting.delete(key);
    session.deadlines.delete(key);
    session.cancelled.delete(key);
    if (request.number) {
      session.numbered.delete(request.number);
      session.flightBytes -= bytes;
    }
  }
}

/** Gives numbers to those that wait, in order, while the server's window has room. */
function numberWaiting(session: ClientSession): void {
  const { serverLimits: limits, saved, numbered } = session;
  let batchCount = 0;
  while (limits && numbered.size < limits.request_count_max && batchCount < BATCH_COUNT_MAX) {
    const [key = 0] = session.waiting;
    const request = saved.requests.get(key);
    if (!request) {
      return;
    }
    if (frameBytes(session, request.call) > limits.message_bytes_max) {
      giveUp(session, key, "too_big", tooBig(limits));
      continue;
    }
    const number = saved.nextNumber;
    const flightBytes = session.flightBytes + callBytes(request.call);
    const flightBytesMax = Math.min(session.config.flightBytesMax, limits.request_bytes_max ?? Infinity);
    const isTooMuch = flightBytes > flightBytesMax && numbered.size > 0;
    if (isTooMuch || !hasNumberRoom(session, limits.request_count_max)) {
      return;
    }
    session.flightBytes = flightBytes;
    session.waiting.delete(key);
    session.deadlines.delete(key);
    change(session, { change: "numbered", key, number });
    numbered.set(number, key);
    session.unsent.push(number);
    batchCount++;
  }
}

/** A server keeps outcomes until they are acknowledged, and not without bound. */
function hasNumberRoom(session: ClientSession, countMax: number): boolean {
  const isHeld = (from: number) => session.saved.nextNumber - from + 1 >= countMax + UNACKNOWLEDGED_COUNT_MAX;
  if (isHeld(session.ackedFrom) && !isHeld(unansweredFrom(session))) {
    acknowledge(session);
  }
  return !isHeld(session.ackedFrom);
}

function frameOf(session: ClientSession, number: number, { call, deadlineAtMs }: SavedRequest): ClientFrame {
  return "command" in call
    ? {
        type: "request",
        number,
        ...call,
        deadline_ms: deadlineAtMs && Math.max(0, deadlineAtMs - session.nowMs),
      }
    : { type: "publish", number, ...call };
}

/** The bytes that a request takes as a message, or a little more. */
function frameBytes(session: ClientSession, call: Call): number {
  const nameBytes = "command" in call ? utf8Bytes(call.command) * ESCAPE_BYTES : call.channel.length;
  return payloadBytes(session, call.payload) + nameBytes + FRAME_BYTES;
}

function tooBig(limits: ServerLimits): string {
  return `over the limit: ${limits.message_bytes_max}`;
}

export const OVER = "the session is over";
/** Outcomes that a client may leave unacknowledged (PROTOCOL.md, "Acknowledgements"). */
const UNACKNOWLEDGED_COUNT_MAX = 64;
/** Requests numbered at once, so that one write to a disk serves them all. */
const BATCH_COUNT_MAX = 64;
/** What stands around the payload and name of a request or a reply, at most. */
export const FRAME_BYTES = 128;
/** A byte of a text may become an escape of six in JSON. */
export const ESCAPE_BYTES = 6;
