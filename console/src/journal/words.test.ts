import { describe, expect, it } from "vitest";
import { ends } from "virtual:codes";
import type { Entry } from "../api/shapes.ts";
import { isOrderly, lasted, lineOf } from "./words.ts";

const entry = (more: Partial<Entry>): Entry => ({ seq: 1, at_ms: 0, what: "opened", ...more });

describe("entries of the journal", () => {
  it("say why a connection was lost, and what that means", () => {
    expect(lineOf(entry({ what: "lost", reason: "ping_timeout" }))).toEqual({
      tone: "bad",
      text: "The connection was lost: ping_timeout",
      meaning: "Not one byte came within the pong timeout after a ping.",
    });
    expect(lineOf(entry({ what: "lost", reason: "peer_closed", detail: "1001" }))).toMatchObject({
      tone: "notice",
      text: "The connection was lost: peer_closed (1001)",
    });
  });

  it("take the meaning of a gap's reason from the words of gaps", () => {
    const gap = entry({ what: "gap", reason: "trimmed", channel: "news", detail: "events 3 to 7" });
    expect(lineOf(gap)).toEqual({
      tone: "bad",
      text: "A gap in news: events 3 to 7 could not be delivered",
      meaning: "The events are older than the channel's history reaches.",
    });
  });

  it("spell out how long a client was away", () => {
    const resumed = entry({ what: "resumed", detail: "shop/1.0, away for 83000 ms" });
    expect(lineOf(resumed).text).toBe("The client came back: shop/1.0, away for 1 min 23 s");
  });

  it("call inboxes inboxes", () => {
    const inbox = (name: string) => lineOf(entry({ what: "subscribed", channel: name })).text;
    expect(inbox("$session/8f")).toBe("Listens to its own inbox");
    expect(inbox("$principal/ann@example.org")).toBe("Listens to the inbox of ann@example.org");
  });

  it("show words that they do not know as they are", () => {
    const line = lineOf(entry({ what: "turned_blue", reason: "moon", detail: "twice" }));
    expect(line).toEqual({ tone: "plain", text: "turned blue: twice" });
  });

  it.each(["subscribed", "unsubscribed", "behind", "caught_up"])("name the channel: %s", (what) => {
    expect(lineOf(entry({ what, channel: "prices" })).text).toContain("prices");
  });
});

describe("orderly ends", () => {
  it("are some of the registry's", () => {
    const orderly = ends.map(({ word }) => word).filter(isOrderly);
    expect(orderly).toHaveLength(6);
    expect(isOrderly("ping_timeout")).toBe(false);
  });
});

it("tells a length of time in two units", () => {
  expect([0, 999, 59_999, 61_000, 3_600_000, 200_000_000].map(lasted)).toEqual([
    "0 ms",
    "999 ms",
    "59 s",
    "1 min 1 s",
    "1 h 0 min",
    "2 d 7 h",
  ]);
});
