import { expect, it } from "vitest";
import type { ChannelList, SessionList } from "../src/api/shapes.ts";
import { afterOf, beginning, forward, listPath } from "../src/api/paging.ts";
import { joined, noSamples, perSecond } from "../src/stats/timeline.ts";
import { MockApi } from "./api.ts";

const nowMs = 1_800_000_000_000;
const api = new MockApi(nowMs);
const ask = (path: string) => api.answer(nowMs, "GET", new URL(path, "http://mock"));

it("lists every session once over all pages", () => {
  let trail = beginning;
  const seen: string[] = [];
  for (;;) {
    const { sessions, next } = ask(`/v1/sessions?after=${afterOf(trail) ?? ""}`).body as SessionList;
    seen.push(...sessions.map(({ session }) => session));
    if (next === undefined) break;
    trail = forward(trail, next);
  }
  expect(seen).toHaveLength(322);
  expect(new Set(seen).size).toBe(322);
});

it("narrows lists", () => {
  const { channels } = ask(listPath("/v1/channels", { prefix: "prices." })).body as ChannelList;
  expect(new Set(channels.map(({ name }) => name.slice(0, 7)))).toEqual(new Set(["prices."]));
  const filter = { state: "away", principal: "user-42@example.org", behind: "false" };
  const { sessions } = ask(listPath("/v1/sessions", filter)).body as SessionList;
  expect(sessions.map(({ principal, state, behind }) => [principal, state, behind])).toEqual([
    ["user-42@example.org", "away", false],
  ]);
});

it("gives fifteen minutes, and then every second, which join without a hole", () => {
  let timeline = joined(noSamples, api.columns(nowMs, 0), 900);
  for (let later = 1000; later <= 5000; later += 1000) {
    timeline = joined(timeline, api.columns(nowMs + later, timeline.atMs.at(-1) ?? 0), 900);
  }
  const rates = perSecond(timeline, timeline.counters["messages_out"] ?? []);
  expect(rates).toHaveLength(900);
  expect(rates.slice(1)).not.toContain(null);
});

it("says so where there is nothing", () => {
  expect(ask("/v1/channels/nothing").status).toBe(404);
});
