/** A server whose store was set back: it knows less than we do, and gives offsets a second time. */

import { expect, test } from "vitest";

import { attach, consumed } from "../src/session/channels.js";
import { SESSION_DEFAULTS } from "../src/session/config.js";
import {
  dropOutput,
  handleClosed,
  handleFrame,
  handleOpen,
  nextOutput,
  openSession,
  type ClientSession,
} from "../src/session/session.js";
import { emptyState } from "../src/session/state.js";
import type { ServerFrame } from "../src/wire/frames.js";
import { json } from "../src/wire/json.js";

test("its channel is heard from the place that the server names", () => {
  const session = listening();
  hear(session, { type: "subscribed", channel, epoch, offset: 3, head: 7, member_count: 0 });
  hear(session, { type: "gap", channel, from_epoch: epoch, from: 12, reason: "epoch", epoch, offset: 3 });
  hear(session, event(4));
  expect(told(session)).toEqual(["gap from 13 to 3", "event 4"]);
  expect(cursor(session), "the log may have grown past 12 until we come back").toBe(3);
});

test("a head below what was received is noticed", () => {
  const session = listening();
  hear(session, { type: "subscribed", channel, epoch, offset: 11, head: 11, member_count: 0 });
  hear(session, event(12));
  expect(told(session)).toEqual(["gap from 13 to 11", "event 12"]);
});

test("what was handed over before moves no cursor", () => {
  const session = listening();
  hear(session, { type: "subscribed", channel, epoch, offset: 3, head: 7, member_count: 0 });
  for (let offset = 4; offset <= 13; offset++) {
    hear(session, event(offset));
  }
  // The application is at the old 12 still, and has none of the new events.
  consumed(session, 0, channel, { epoch, offset: 12 });
  expect(cursor(session)).toBe(3);
  consumed(session, 0, channel, { epoch, offset: 3 });
  consumed(session, 0, channel, { epoch, offset: 12 });
  expect(cursor(session), "the new 12").toBe(12);
});

/** Has events up to 12 of a channel, has consumed up to 11, and has come back on a new connection. */
function listening(): ClientSession {
  const config = { ...SESSION_DEFAULTS, client: "test", encoding: json, random: () => 0.5 };
  const session = openSession(config, emptyState());
  handleOpen(session, 0);
  hear(session, welcome("new"));
  attach(session, 0, { channel, start: "now", delivery: "every", presence: "none" });
  hear(session, { type: "subscribed", channel, epoch, offset: 10, head: 10, member_count: 0 });
  hear(session, event(11));
  hear(session, event(12));
  consumed(session, 0, channel, { epoch, offset: 11 });
  handleClosed(session, 0, undefined);
  handleOpen(session, 0);
  hear(session, welcome("resumed"));
  told(session);
  return session;
}

function hear(session: ClientSession, frame: ServerFrame): void {
  handleFrame(session, 0, frame);
}

function welcome(standing: "new" | "resumed"): ServerFrame {
  return {
    type: "welcome",
    standing,
    session: "1".repeat(32),
    token: "secret",
    generation: 1,
    accepted: 0,
    server: "any",
    ping_interval_ms: 25_000,
    session_expiry_ms: 1,
    limits: { request_count_max: 9, message_bytes_max: 65_536, subscription_count_max: 9 },
  };
}

function event(offset: number): ServerFrame {
  return { type: "event", channel, offset, at_ms: 0, payload: { value: 1 } };
}

function told(session: ClientSession): string[] {
  const texts: string[] = [];
  for (let output = nextOutput(session); output; output = nextOutput(session)) {
    dropOutput(session);
    if (output.do === "tell" && output.event.type === "event") {
      texts.push(`event ${output.event.offset}`);
    } else if (output.do === "tell" && output.event.type === "gap") {
      texts.push(`gap from ${output.event.from} to ${output.event.offset}`);
    }
  }
  return texts;
}

function cursor(session: ClientSession): number | undefined {
  return session.saved.channels.get(channel)?.cursor?.offset;
}

const channel = "news";
const epoch = "0000000000000005";
