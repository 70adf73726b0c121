import { expect, it } from "vitest";
import { emptyDraft } from "./draft.ts";
import { readAnswer } from "./outcome.ts";

const request = { ...emptyDraft, kind: "request" as const };

it("says where an event is stored", () => {
  const answer = '{"places":[{"channel":"news","epoch":"5bd1","offset":42}]}';
  expect(readAnswer(emptyDraft, answer)).toEqual({
    tone: "good",
    text: "Stored: news at offset 42 of epoch 5bd1.",
  });
});

it("tells the three outcomes of a request apart", () => {
  expect(readAnswer(request, '{"status":"done","payload":1}').tone).toBe("good");
  expect(readAnswer(request, '{"status":"indeterminate"}').tone).toBe("unknown");
  expect(readAnswer(request, '{"status":"failed","error":"never_ran","message":"no such handler"}')).toEqual({
    tone: "bad",
    text: "It failed with never_ran: no such handler.",
    meaning: "The request did not run and never will.",
  });
});
