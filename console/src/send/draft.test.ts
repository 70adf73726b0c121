import { execFileSync } from "node:child_process";
import { describe, expect, it } from "vitest";
import type { Draft } from "./draft.ts";
import { bodyOf, commandLine, curlLine, emptyDraft, missing } from "./draft.ts";

const draft = (more: Partial<Draft>): Draft => ({ ...emptyDraft, ...more });
const ORIGIN = "http://127.0.0.1:8081";

/** What a shell makes of a line: its words. */
function words(line: string): string[] {
  const script = `set -- ${line}; for word in "$@"; do printf '%s\\0' "$word"; done`;
  const out = execFileSync("sh", ["-c", script], {
    encoding: "utf8",
    env: { MAINSTAY_ADMIN_TOKEN: "t0ken" },
  });
  return out.split("\0").slice(0, -1);
}

const NASTY = `{"say": "it's $HOME; \`rm\` \\"x\\" !", "n": 9007199254740993}`;

describe("lines for a shell", () => {
  it("mean to curl what the composer sends", () => {
    const one = draft({ channel: "news", payload: NASTY, key: "k 1'".replace(" ", "-") });
    expect(words(curlLine(one, ORIGIN, true))).toEqual([
      "curl",
      `${ORIGIN}/v1/publish`,
      "-H",
      "Authorization: Bearer t0ken",
      "-H",
      "Idempotency-Key: k-1'",
      "-d",
      bodyOf(one),
    ]);
  });

  it("mean to the command line what the composer sends", () => {
    const one = draft({ kind: "send", to: "principal", target: "ann o'neill", payload: NASTY });
    expect(words(commandLine(one, ORIGIN) ?? "")).toEqual(["mainstay", "send", "--principal", "ann o'neill", NASTY]);
    const two = draft({ channel: "news", payload: "-5", key: "k" });
    expect(words(commandLine(two, "http://x:1") ?? "")).toEqual([
      "mainstay",
      "send",
      "--channel",
      "news",
      "--key",
      "k",
      "--admin",
      "http://x:1",
      "--",
      "-5",
    ]);
  });

  it("are not made up where the command line cannot do it", () => {
    expect(commandLine(draft({ kind: "request", session: "8f", command: "reload" }), ORIGIN)).toBeUndefined();
  });
});

describe("bodies", () => {
  it("hold the payload as it was written", () => {
    expect(bodyOf(draft({ channel: "news", payload: NASTY }))).toBe(`{"channel": "news", "payload": ${NASTY}}`);
    expect(bodyOf(draft({ channel: "news", payload: "  " }))).toBe('{"channel": "news", "payload": null}');
  });

  it("of requests have a command and a deadline", () => {
    const one = draft({
      kind: "request",
      session: "8f",
      command: "reload",
      deadlineMs: "500",
      payload: "1",
    });
    expect(bodyOf(one)).toBe('{"command": "reload", "payload": 1, "deadline_ms": 500}');
  });
});

describe("what is missing", () => {
  it.each<[Partial<Draft>, string | undefined]>([
    [{}, "Name a channel."],
    [{ channel: "news" }, undefined],
    [{ channel: "news", key: "zwei Worte" }, "A key has 1 to 128 visible characters of ASCII."],
    [{ kind: "send", to: "principal" }, "Name a principal."],
    [{ kind: "request", session: "8f" }, "Name a command."],
    [{ kind: "request", session: "8f", command: "x", deadlineMs: "0" }, "The deadline is 1 to 300000 ms."],
    [{ kind: "request", session: "8f", command: "x", key: "not used" }, undefined],
  ])("%j", (more, sentence) => {
    expect(missing(draft(more))).toBe(sentence);
  });
});
