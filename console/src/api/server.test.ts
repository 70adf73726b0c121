import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { NoAnswer, Refusal, ask, serverIsHere, standing, unlock } from "./server.ts";

const fetched = vi.fn<(path: string, init: RequestInit) => Promise<Response>>();

beforeEach(() => {
  const stored = new Map<string, string>();
  vi.useFakeTimers();
  vi.stubGlobal("fetch", fetched);
  vi.stubGlobal("sessionStorage", {
    getItem: (key: string) => stored.get(key) ?? null,
    setItem: (key: string, value: string) => stored.set(key, value),
    removeItem: (key: string) => stored.delete(key),
  });
  standing.value = { name: "here" };
});

afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
  fetched.mockReset();
});

const json = (status: number, body: unknown) => () => Promise.resolve(Response.json(body, { status }));
const nobody = () => Promise.reject(new TypeError("fetch failed"));

describe("a server that is away", () => {
  it("is asked again with growing pauses until it answers, by one asker only", async () => {
    fetched.mockImplementation(nobody);
    await Promise.all([expect(ask("/v1/a")).rejects.toThrow(NoAnswer), expect(ask("/v1/b")).rejects.toThrow(NoAnswer)]);
    const beganAway = standing.value;
    expect(beganAway).toMatchObject({ name: "away", attempt: 0 });
    await vi.advanceTimersByTimeAsync(100);
    await expect(ask("/v1/c")).rejects.toThrow(NoAnswer);
    expect(standing.value).toBe(beganAway);
    await vi.advanceTimersByTimeAsync(120_000);
    const count = fetched.mock.calls.length - 3;
    expect(count).toBeGreaterThan(6);
    expect(count).toBeLessThan(60);
    expect(standing.value).toMatchObject({ name: "away", sinceMs: sinceOf(beganAway) });
    fetched.mockImplementation(json(200, {}));
    const isHere = serverIsHere(new AbortController().signal);
    await vi.advanceTimersByTimeAsync(15_000);
    await isHere;
    expect(standing.value).toEqual({ name: "here" });
    const calls = fetched.mock.calls.length;
    await vi.advanceTimersByTimeAsync(60_000);
    expect(fetched.mock.calls.length).toBe(calls);
  });

  it("is away for whoever asks through a proxy, too", async () => {
    fetched.mockImplementation(() => Promise.resolve(new Response("<h1>502 Bad Gateway</h1>", { status: 502 })));
    await expect(ask("/v1/a")).rejects.toThrow(NoAnswer);
    expect(standing.value.name).toBe("away");
    fetched.mockImplementation(json(504, { error: "deadline_exceeded", message: "no reply" }));
    await expect(ask("/v1/a")).rejects.toThrow(Refusal);
    expect(standing.value.name).toBe("here");
  });

  it("is not what a server is that says no", async () => {
    fetched.mockImplementation(json(429, { error: "inbox_full", message: "too much" }));
    const refusal = await ask("/v1/send", { method: "POST", body: "{}" }).catch((error: unknown) => error);
    expect(refusal).toBeInstanceOf(Refusal);
    expect(refusal).toMatchObject({ status: 429, word: "inbox_full", message: "too much" });
    expect(standing.value).toEqual({ name: "here" });
  });

  it("is not what somebody sees who stopped asking", async () => {
    const stop = new AbortController();
    fetched.mockImplementation((_, { signal }) => {
      stop.abort();
      return Promise.reject(signal?.reason as Error);
    });
    await expect(ask("/v1/a", { signal: stop.signal })).rejects.toThrow();
    expect(standing.value).toEqual({ name: "here" });
  });
});

describe("a token", () => {
  it("is asked for, sent, and doubted only by answers to itself", async () => {
    fetched.mockImplementation(json(401, { error: "not_permitted", message: "send the token" }));
    await expect(ask("/v1/stats")).rejects.toThrow(Refusal);
    expect(standing.value).toEqual({ name: "locked", hadToken: false });
    // An answer to the question without a token comes after the token was given.
    let answerLate: (() => void) | undefined;
    fetched.mockImplementation(
      () =>
        new Promise((resolve) => {
          answerLate = () => resolve(new Response("{}", { status: 401 }));
        }),
    );
    const late = ask("/v1/late").catch(() => undefined);
    await vi.advanceTimersByTimeAsync(0);
    unlock("secret");
    answerLate?.();
    await late;
    expect(standing.value).toEqual({ name: "here" });
    fetched.mockImplementation(json(200, {}));
    await ask("/v1/stats");
    const headers = fetched.mock.lastCall?.[1].headers as Headers;
    expect(headers.get("authorization")).toBe("Bearer secret");
    fetched.mockImplementation(json(401, {}));
    await expect(ask("/v1/stats")).rejects.toThrow(Refusal);
    expect(standing.value).toEqual({ name: "locked", hadToken: true });
  });
});

function sinceOf(state: typeof standing.value): number {
  return state.name === "away" ? state.sinceMs : Number.NaN;
}
