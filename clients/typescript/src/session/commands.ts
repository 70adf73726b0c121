/** The server's commands: each is accepted once, and its reply kept until it is safe. */

import type { Outcome, Request } from "../wire/frames.js";
import { utf8Bytes } from "../wire/payload.js";
import { ESCAPE_BYTES, failed, FRAME_BYTES, payloadBytes } from "./requests.js";
import { advance, change, fault, isOpen, tell, transmit, type ClientSession } from "./session.js";

/** Answers a command of the server. Only the first answer counts, and none does when the session
 * that the command came from is over. */
export function answer(session: ClientSession, nowMs: number, key: number, outcome: Outcome): void {
  advance(session, nowMs);
  for (const [number, running] of session.running) {
    if (running === key) {
      session.running.delete(number);
      const kept = bounded(session, outcome);
      change(session, { change: "command_answered", number, outcome: kept });
      if (isOpen(session)) {
        transmit(session, { type: "reply", number, outcome: kept });
      }
      return;
    }
  }
}

/** What ran when the process ended may have run to any point. */
export function answerInterrupted(session: ClientSession): void {
  for (const [number, outcome] of [...session.saved.answers]) {
    if (!outcome) {
      change(session, { change: "command_answered", number, outcome: { status: "indeterminate" } });
    }
  }
}

/** The server does not need the outcomes of its commands up to this number any more. */
export function withdrawCommands(session: ClientSession, upTo: number): void {
  for (const [number, key] of session.running) {
    if (number <= upTo) {
      session.running.delete(number);
      tell(session, { type: "command_cancelled", key });
    }
  }
}

/** Sends the replies that are not known to be safe. */
export function sendAnswers(session: ClientSession): void {
  for (const [number, kept] of [...session.saved.answers]) {
    if (kept) {
      // It was kept for a server that took more, perhaps, or in the other encoding.
      const outcome = bounded(session, kept);
      if (outcome !== kept) {
        change(session, { change: "command_answered", number, outcome });
      }
      transmit(session, { type: "reply", number, outcome });
    }
  }
}

export function handleCommand(session: ClientSession, request: Request): void {
  const { number } = request;
  const { saved } = session;
  if (number <= saved.accepted && number > 0) {
    // Sent again because our reply was lost, or about to be answered.
    const outcome = saved.answers.get(number);
    if (outcome) {
      transmit(session, { type: "reply", number, outcome });
    }
    return;
  }
  // A hole is what the server gave up before it reached us.
  if (number === 0 || saved.answers.size >= session.config.commandCountMax) {
    fault(session);
    return;
  }
  change(session, { change: "command_accepted", number });
  const key = session.nextCommandKey++;
  session.running.set(number, key);
  const deadlineAtMs = request.deadline_ms === undefined ? undefined : session.nowMs + request.deadline_ms;
  tell(session, { type: "command", key, deadlineAtMs, request });
}

export function handleCancel(session: ClientSession, { number }: { number: number }): void {
  const key = session.running.get(number);
  if (key) {
    tell(session, { type: "command_cancelled", key });
  }
}

/** The server needs no replies up to this number: it has them, or has given their commands up. */
export function handleAnswersSafe(session: ClientSession, { number: upTo }: { number: number }): void {
  withdrawCommands(session, upTo);
  const [first = Infinity] = session.saved.answers.keys();
  if (first <= upTo) {
    change(session, { change: "answers_safe", number: upTo });
  }
}

/** A reply that the server would not take would end one connection after the other. */
function bounded(session: ClientSession, outcome: Outcome): Outcome {
  const bytes =
    outcome.status === "done"
      ? payloadBytes(session, outcome.payload)
      : outcome.status === "failed"
        ? utf8Bytes(outcome.message) * ESCAPE_BYTES
        : 0;
  return bytes + FRAME_BYTES > (session.serverLimits?.message_bytes_max ?? Infinity)
    ? failed("too_big", "over the limit")
    : outcome;
}
