import { describe, expect, it } from "vitest";
import {
  afterOf,
  back,
  beginning,
  behindChannelPrefix,
  behindSessionPrefix,
  channelPath,
  forward,
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

describe("the place before a prefix", () => {
  const id = "8f" + "1".repeat(30);
  const names = [
    "$principal/ann",
    "$principal/ann@x.org",
    "$principal/b+c",
    `$session/${id}`,
    "-x",
    "a",
    "aB",
    "new",
    "new-s",
    "newr",
    "newrz",
    "news",
    "news-1",
    "news.eu",
    "news/x",
    "newt",
  ];

  it.each([
    "n",
    "news",
    "news.",
    "new-",
    "a",
    "newt",
    "-",
    "$principal/",
    "$principal/ann@",
    "$principal/b+",
    "$p",
    "$",
    "$session/",
    "$session/8f",
    "$s",
  ])("%s", (prefix) => {
    const behind = behindChannelPrefix(prefix);
    const [first] = names.filter((name) => name > (behind ?? ""));
    expect(first).toBe(names.find((name) => name.startsWith(prefix)));
  });

  it("leaves inboxes out unless they are asked for", () => {
    const behind = behindChannelPrefix("") ?? "";
    expect(names.filter((name) => name > behind)[0]).toBe("-x");
  });

  it("is a name that the server takes", () => {
    expect(behindChannelPrefix("news")).toMatch(/^[A-Za-z0-9._:/-]{1,128}$/);
    expect(behindChannelPrefix("$session/8")).toMatch(/^\$session\/[0-9a-f]{32}$/);
    expect(behindChannelPrefix("$principal/bob")).toMatch(/^\$principal\/[A-Za-z0-9._:/@+-]{1,96}$/);
  });

  it("is none where no name can begin so", () => {
    expect(["a b", "$x", "$session/xyz", "$principal/a b"].map(behindChannelPrefix)).toEqual(
      Array.from({ length: 4 }, () => null),
    );
  });

  it("of session ids is the number below", () => {
    expect(behindSessionPrefix("8f")).toBe("8e" + "f".repeat(30));
    expect(behindSessionPrefix("1")).toBe("0" + "f".repeat(31));
    expect(behindSessionPrefix("00")).toBeUndefined();
    expect(behindSessionPrefix("xyz")).toBeUndefined();
  });
});

describe("a page that holds one", () => {
  it("begins right before it", () => {
    expect(sessionPath("0".repeat(31) + "1")).toBe(`/v1/sessions?limit=1&after=${"0".repeat(32)}`);
    expect(sessionPath("0".repeat(32))).toBe("/v1/sessions?limit=1");
    expect(sessionPath("8f3a")).toBeUndefined();
    expect(channelPath("a/b")).toBe(`/v1/channels?limit=1&after=a%2Fa${"z".repeat(125)}`);
    expect(channelPath("a b")).toBe("/v1/channels/a%20b");
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
