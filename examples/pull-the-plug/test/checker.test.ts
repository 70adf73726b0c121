import { describe, expect, test } from "vitest";

import { Checker, type Heard } from "../src/checker.ts";

const fine = { missing: 0, duplicated: 0, outOfOrder: 0, announced: 0, repeated: 0 };

describe("the checker", () => {
  test("is content with everything once and in order, of two authors", () => {
    const checker = fed([
      said(1, "ann", 1),
      said(2, "bob", 1),
      said(3, "ann", 2),
      said(4, "bob", 2),
    ]);
    expect(checker.counts).toEqual({ ...fine, received: 4 });
  });

  test("sees a missing message, once and not by both of its witnesses", () => {
    const checker = fed([said(1, "ann", 1), said(3, "ann", 3)]);
    expect(checker.counts).toEqual({ ...fine, received: 2, missing: 1 });
  });

  test("sees a missing first message", () => {
    expect(fed([said(2, "ann", 2)]).counts).toMatchObject({ missing: 1 });
  });

  test("sees a message that never got as far as the log", () => {
    const checker = fed([said(1, "ann", 1), said(2, "ann", 3)]);
    expect(checker.counts).toEqual({ ...fine, received: 2, missing: 1 });
  });

  test("sees a message of our own that was stored and did not come, though none came after it", () => {
    const checker = fed([said(1, "ann", 1), said(3, "bob", 1)]);
    expect(checker.counts).toMatchObject({ missing: 1 });
    const without = fed([said(1, "ann", 1), said(2, "bob", 1)]);
    without.stored("ann", 2, { channel: "room", epoch: "e", offset: 2 });
    expect(without.counts).toMatchObject({ missing: 1 });
  });

  test("waits for a message of our own that is still to come", () => {
    const checker = fed([said(1, "ann", 1)]);
    checker.stored("ann", 2, { channel: "room", epoch: "e", offset: 2 });
    expect(checker.counts).toMatchObject({ missing: 0 });
    checker.heard(said(2, "ann", 2));
    expect(checker.counts).toEqual({ ...fine, received: 2 });
  });

  test("sees a doubled message", () => {
    const checker = fed([said(1, "ann", 1), said(2, "ann", 2), said(2, "ann", 2)]);
    expect(checker.counts).toEqual({ ...fine, received: 2, duplicated: 1 });
  });

  test("sees a message that was published twice", () => {
    const checker = fed([said(1, "ann", 1), said(2, "ann", 1)]);
    expect(checker.counts).toEqual({ ...fine, received: 1, duplicated: 1 });
  });

  test("sees two swapped messages", () => {
    const checker = fed([said(1, "ann", 1), said(3, "ann", 3), said(2, "ann", 2)]);
    expect(checker.counts).toEqual({ ...fine, received: 3, outOfOrder: 1 });
  });

  test("sees two messages that were published in the wrong order", () => {
    const checker = fed([said(1, "ann", 2), said(2, "ann", 1)]);
    expect(checker.counts).toEqual({ ...fine, received: 2, outOfOrder: 1 });
  });

  test("does not take an announced gap for a silent loss", () => {
    const checker = fed([said(1, "ann", 1)]);
    checker.gap("room", "e", 7);
    checker.heard(said(8, "ann", 5));
    checker.heard(said(9, "ann", 6));
    expect(checker.counts).toEqual({ ...fine, received: 3, announced: 1 });
    checker.heard(said(10, "ann", 8));
    expect(checker.counts).toMatchObject({ missing: 1 });
  });

  test("checks the offset of those who do not count", () => {
    const shell = (offset: number) => ({ place: { channel: "room", epoch: "e", offset } });
    expect(fed([shell(1), shell(2), shell(2), shell(4)]).counts).toEqual({
      ...fine,
      received: 3,
      duplicated: 1,
      missing: 1,
    });
  });

  test("goes on from what it has saved, and is not changed through it", () => {
    const checker = fed([said(1, "ann", 1), said(3, "ann", 3)]);
    const saved = checker.state;
    checker.heard(said(2, "ann", 2));
    const next = new Checker(saved);
    expect(next.counts).toMatchObject({ missing: 1, received: 2 });
    next.heard(said(3, "ann", 3));
    expect(next.counts).toMatchObject({ duplicated: 1 });
  });
});

function fed(messages: Heard[]): Checker {
  const checker = new Checker();
  for (const message of messages) checker.heard(message);
  return checker;
}

function said(offset: number, author: string, number: number): Heard {
  return { place: { channel: "room", epoch: "e", offset }, author, number };
}
