/** What became of something that was sent, exactly. */
import { errors } from "virtual:codes";
import { NoAnswer, Refusal, askForText, readJson } from "../api/server.ts";
import type { Draft } from "./draft.ts";
import { bodyOf, headersOf, isDeadline, pathOf } from "./draft.ts";

export interface Outcome {
  readonly tone: "good" | "bad" | "unknown";
  /** What happened, in a sentence. */
  readonly text: string;
  /** What the word of a failure means. */
  readonly meaning?: string;
  readonly tookMs: number;
  /** None if no answer came. */
  readonly status?: number;
  /** The answer as it came. */
  readonly answer?: string;
}

export async function send(draft: Draft): Promise<Outcome> {
  const beganMs = performance.now();
  const took = () => Math.round((performance.now() - beganMs) * 10) / 10;
  try {
    const { status, text } = await askForText(pathOf(draft), {
      method: "POST",
      body: bodyOf(draft),
      headers: headersOf(draft),
      timeoutMs: waitMs(draft),
    });
    return { ...readAnswer(draft, text), tookMs: took(), status, answer: text };
  } catch (error) {
    if (error instanceof Refusal) return { ...refused(error), tookMs: took(), status: error.status };
    if (error instanceof NoAnswer) return { tone: "unknown", text: noAnswer(draft), tookMs: took() };
    throw error;
  }
}

/** What an answer of success says. */
export function readAnswer(draft: Draft, text: string): Pick<Outcome, "tone" | "text" | "meaning"> {
  const answer = readJson(text) as Answer;
  if (draft.kind !== "request") {
    const places = (answer.places ?? []).map(
      ({ channel, offset, epoch }) => `${channel} at offset ${offset} of epoch ${epoch}`,
    );
    return { tone: "good", text: `Stored: ${places.join(", ")}.` };
  }
  if (answer.status === "done") return { tone: "good", text: "The client replied." };
  if (answer.status === "failed") {
    const word = answer.error ?? "internal";
    const told = answer.message === undefined || answer.message === "" ? "" : `: ${answer.message}`;
    return { tone: "bad", text: `It failed with ${word}${told}.`, ...meaningOf(word) };
  }
  return {
    tone: "unknown",
    text: "Nobody will ever know whether it ran: the session was lost between.",
  };
}

function refused(refusal: Refusal): Pick<Outcome, "tone" | "text" | "meaning"> {
  const isOpen = refusal.status === 504;
  return {
    tone: isOpen ? "unknown" : "bad",
    text: isOpen
      ? `No reply came in time; it may have run (${refusal.word}: ${refusal.message}).`
      : `The server refused it with ${refusal.word}: ${refusal.message}.`,
    ...meaningOf(refusal.word),
  };
}

function noAnswer({ kind, key }: Draft): string {
  if (kind === "request") return "No answer came. The client may have run it or not.";
  return key === ""
    ? "No answer came. It may be stored or not, and without a key a second one may be stored beside it."
    : "No answer came. It may be stored or not; with the same key it is safe to send it again within five minutes.";
}

function meaningOf(word: string): { meaning?: string } {
  const known = errors.find((one) => one.word === word);
  return known === undefined ? {} : { meaning: known.text };
}

/** Somewhat longer than the server itself waits. */
function waitMs({ kind, deadlineMs }: Draft): number {
  if (kind !== "request") return 15_000;
  return (isDeadline(deadlineMs) ? Number(deadlineMs) : 30_000) + 5000;
}

interface Answer {
  places?: { channel: string; offset: number; epoch: string }[];
  status?: "done" | "failed" | "indeterminate";
  error?: string;
  message?: string;
}
