import { describe, expect, it } from "vitest";
import {
  afterOf,
  back,
  beginning,
  channelPath,
  forward,
  gathered,
  isChannelPrefix,
  listPath,
  newerPage,
  newestPage,
  olderPage,
  sessionPath,
} from "./paging.ts";

describe("a trail through a list", () => {
  it("goes forward and back, and no further than the beginning", () => {
    const third = forward(forward(beginning, "k"), "t");
    expect(afterOf(third)).toBe("t");
    expect(afterOf(back(third))).toBe("k");
    expect(afterOf(back(back(back(back(third)))))).toBeUndefined();
  });
});

describe("the path of a list", () => {
  it("has what is asked for and nothing else", () => {
    expect(listPath("/v1/sessions", { prefix: "", principal: "ann@x.org", after: undefined, limit: 100 })).toBe(
      "/v1/sessions?principal=ann%40x.org&limit=100",
    );
  });

  it("of one is that of the first that begins so", () => {
    expect(sessionPath("0".repeat(32))).toBe(`/v1/sessions?prefix=${"0".repeat(32)}&limit=1`);
    expect(sessionPath("8f3a")).toBeUndefined();
    expect(channelPath("a/b")).toBe("/v1/channels?prefix=a%2Fb&limit=1");
    expect(channelPath("a b")).toBe("/v1/channels/a%20b");
  });
});

describe("what channels begin with", () => {
  it.each(["", "news", "orders:eu/4.x_y-z", "$", "$sess", "$session/8f", "$principal/ann@x.org+1"])("%s", (text) => {
    expect(isChannelPrefix(text)).toBe(true);
  });
  it.each(["a b", "a@b", "*", "é", "$x", "$session/a b", "n".repeat(129)])("not %s", (text) => {
    expect(isChannelPrefix(text)).toBe(false);
  });
});

describe("a page that is gathered", () => {
  /** Numbers below 1000 of which every hundredth is wanted, forty looked at each time. */
  const asked: string[] = [];
  const ask = (after = "-1", limit: number) => {
    asked.push(after);
    const from = Number(after) + 1;
    const looked = Array.from({ length: Math.min(40, 1000 - from) }, (_, index) => from + index);
    const found = looked.filter((number) => number % 100 === 0).slice(0, limit);
    const last = found.length === limit ? found.at(-1) : looked.at(-1);
    return Promise.resolve({ found, next: last === undefined || last >= 999 ? undefined : String(last) });
  };

  it("goes on over pieces without any until it is full", async () => {
    expect(await gathered(ask, undefined, 3)).toEqual({ found: [0, 100, 200], next: "200" });
  });

  it("goes on from where it was, to the end", async () => {
    expect(await gathered(ask, "799", 100)).toEqual({ found: [800, 900], next: undefined });
  });

  it("ends before it is full rather than ask without end", async () => {
    asked.length = 0;
    const page = await gathered(ask, undefined, 100);
    expect([page.found.length, page.next, asked.length]).toEqual([4, "399", 10]);
  });
});

describe("pages of a log", () => {
  const log = { first: 101, head: 250 };

  it("begin with the newest and reach the oldest that is kept", () => {
    const newest = newestPage(log, 100);
    expect(newest).toEqual({ after: 150, limit: 100 });
    const oldest = olderPage(newest, log);
    expect(oldest).toEqual({ after: 100, limit: 100 });
    expect(oldest && olderPage(oldest, log)).toBeUndefined();
    expect(oldest && newerPage(oldest, log)).toEqual({ after: 200, limit: 100 });
    expect(newerPage(newest, log)).toBeUndefined();
  });

  it("are empty where the log is", () => {
    const empty = { first: 1, head: 0 };
    expect(newestPage(empty, 50)).toEqual({ after: 0, limit: 50 });
    expect(olderPage({ after: 0, limit: 50 }, empty)).toBeUndefined();
    expect(newerPage({ after: 0, limit: 50 }, empty)).toBeUndefined();
  });
});
