/**
 * The one way to the server. Whoever asks gets the answer, or learns why there is none; that the
 * server is away, or wants a token, is known once for the whole page.
 */
import { signal } from "@preact/signals";
import type { ProblemBody } from "./shapes.ts";

export type Standing =
  | { readonly name: "here" }
  /** No answer comes. Somebody asks again at `retryAtMs`. */
  | {
      readonly name: "away";
      readonly sinceMs: number;
      readonly attempt: number;
      readonly retryAtMs: number;
    }
  /** The API wants a token, or another than it was given. */
  | { readonly name: "locked"; readonly hadToken: boolean };

export const standing = signal<Standing>({ name: "here" });

/** The server answered, and the answer is no. */
export class Refusal extends Error {
  readonly status: number;
  /** A word of PROTOCOL.md, "Words of failure". */
  readonly word: string;

  constructor(status: number, word: string, message: string) {
    super(message);
    this.status = status;
    this.word = word;
  }
}

/** No answer came. */
export class NoAnswer extends Error {}

export interface Question {
  readonly method?: "GET" | "POST" | "DELETE";
  /** JSON. */
  readonly body?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
  /** How long an answer may take. */
  readonly timeoutMs?: number;
}

export async function ask<T>(path: string, question: Question = {}): Promise<T> {
  const { text } = await askForText(path, question);
  return readJson(text) as T;
}

export async function askForText(path: string, question: Question = {}): Promise<{ status: number; text: string }> {
  const response = await open(path, question);
  const text = await response.text().catch(() => Promise.reject(missed()));
  if (response.ok) return { status: response.status, text };
  throw refusal(response.status, text);
}

/** Opens an answer that goes on, such as an event stream. It has no time limit. */
export async function openStream(path: string, signal: AbortSignal): Promise<Response> {
  const response = await open(path, { signal, timeoutMs: Infinity });
  if (response.ok) return response;
  throw refusal(response.status, await response.text());
}

/** Waits until the server is there. */
export async function serverIsHere(signal: AbortSignal): Promise<void> {
  await until(() => standing.value.name === "here", signal);
}

export function unlock(token: string): void {
  sessionStorage.setItem(TOKEN_KEY, token);
  standing.value = { name: "here" };
}

export function hasToken(): boolean {
  return sessionStorage.getItem(TOKEN_KEY) !== null;
}

export function forgetToken(): void {
  sessionStorage.removeItem(TOKEN_KEY);
  standing.value = { name: "locked", hadToken: false };
}

/** Asks again now instead of when the time has come. */
export function retryNow(): void {
  if (standing.value.name === "away") void knock();
}

async function open(path: string, question: Question): Promise<Response> {
  const timeoutMs = question.timeoutMs ?? TIMEOUT_MS;
  const signals = [question.signal, Number.isFinite(timeoutMs) ? AbortSignal.timeout(timeoutMs) : undefined];
  const headers = new Headers(question.headers);
  const token = sessionStorage.getItem(TOKEN_KEY);
  if (token !== null) headers.set("authorization", `Bearer ${token}`);
  if (question.body !== undefined) headers.set("content-type", "application/json");
  let response: Response;
  try {
    response = await fetch(path, {
      method: question.method ?? "GET",
      headers,
      body: question.body ?? null,
      cache: "no-store",
      signal: AbortSignal.any(signals.filter((signal) => signal !== undefined)),
    });
  } catch (error) {
    if (question.signal?.aborted === true) throw error;
    throw missed();
  }
  // A proxy says so in its own words when the server behind it is away.
  const isJson = response.headers.get("content-type")?.startsWith("application/json") === true;
  if (response.status >= 500 && !isJson) throw missed();
  if (response.status === 401) {
    // An answer to a token that has been replaced meanwhile says nothing about the new one.
    if (token === sessionStorage.getItem(TOKEN_KEY)) {
      standing.value = { name: "locked", hadToken: token !== null };
    }
  } else if (standing.value.name === "away") {
    standing.value = { name: "here" };
    clearTimeout(retryTimer);
  }
  return response;
}

function refusal(status: number, text: string): Refusal {
  try {
    const { error, message } = JSON.parse(text) as ProblemBody;
    return new Refusal(status, error, message);
  } catch {
    return new Refusal(status, "internal", text.slice(0, 200) || `HTTP ${status}`);
  }
}

/** Numbers that this language cannot hold stay as they were written. */
export function readJson(text: string): unknown {
  try {
    return (JSON.parse as (text: string, reviver: Reviver) => unknown)(text, (_, value, context) =>
      typeof value === "number" && context?.source !== undefined && isInexact(value, context.source)
        ? new Numeral(context.source)
        : value,
    );
  } catch {
    // So deep that the reviver's recursion ends: without it the reader has no recursion.
    return JSON.parse(text) as unknown;
  }
}

/** A number that is kept as it was written. */
export class Numeral {
  readonly source: string;

  constructor(source: string) {
    this.source = source;
  }

  toJSON(): string {
    return this.source;
  }
}

function isInexact(value: number, source: string): boolean {
  return (
    (Number.isInteger(value) && !Number.isSafeInteger(value)) || (/^-?\d{17,}/.test(source) && String(value) !== source)
  );
}

type Reviver = (key: string, value: unknown, context?: { source?: string }) => unknown;

let retryTimer: ReturnType<typeof setTimeout> | undefined;

function missed(): NoAnswer {
  if (standing.value.name === "here") wait(Date.now(), 0);
  return new NoAnswer("the server does not answer");
}

function wait(sinceMs: number, attempt: number): void {
  // As clients of a session do: a random part of a bound that doubles (PROTOCOL.md, "Closing").
  const delayMs = Math.max(250, Math.random() * Math.min(BACK_OFF_MS_MAX, BACK_OFF_MS * 2 ** attempt));
  standing.value = { name: "away", sinceMs, attempt, retryAtMs: Date.now() + delayMs };
  clearTimeout(retryTimer);
  retryTimer = setTimeout(() => void knock(), delayMs);
}

async function knock(): Promise<void> {
  clearTimeout(retryTimer);
  const before = standing.value;
  if (before.name !== "away") return;
  try {
    await open("/v1/stats", {});
  } catch {
    if (standing.value.name === "away") wait(before.sinceMs, before.attempt + 1);
  }
}

/** Waits for a condition on signals, or for the end of the wait. */
async function until(isTrue: () => boolean, signal: AbortSignal): Promise<void> {
  if (isTrue()) return;
  await new Promise<void>((resolve) => {
    const done = () => {
      dispose();
      resolve();
    };
    const dispose = standing.subscribe(() => {
      if (isTrue()) queueMicrotask(done);
    });
    signal.addEventListener("abort", done, { once: true });
  });
}

const TOKEN_KEY = "mainstay-admin-token";
const TIMEOUT_MS = 10_000;
const BACK_OFF_MS = 500;
const BACK_OFF_MS_MAX = 15_000;
