/**
 * Counts what is missing, doubled or out of order, from nothing but what the application saw.
 *
 * It has two witnesses for each message: the log's offset, and the number that the author gave it. Both
 * go up by one with each message. Neither the client library nor the server has a say in what is counted
 * here, so that the counts can be held against both.
 */
export class Checker {
  #state: CheckerState;

  constructor(saved: CheckerState = emptyState()) {
    this.#state = structuredClone(saved);
  }

  /** What has to be kept, together with the message that it counts, so that a reload changes nothing. */
  get state(): CheckerState {
    return structuredClone(this.#state);
  }

  get counts(): Counts {
    const { received, duplicated, outOfOrder, announced, repeated } = this.#state;
    return { received, missing: this.#missing(), duplicated, outOfOrder, announced, repeated };
  }

  /** A message reached the application. */
  heard(message: Heard): void {
    const { place, author, number } = message;
    const byOffset = this.#state.channels[place.channel];
    const isFirst = byOffset === undefined || byOffset.epoch !== place.epoch;
    const channel = isFirst
      ? (this.#state.channels[place.channel] = { epoch: place.epoch, ...nothingYet() })
      : byOffset;
    const verdicts = [take(channel, place.offset)];
    if (author !== undefined && number !== undefined) {
      const row = (this.#state.authors[author] ??= { ...nothingYet(), gapCount: 0 });
      // What a gap has announced is not missing: the next number of each author may be any.
      if (row.gapCount < this.#state.gapCount) row.highest = Math.max(row.highest, number - 1);
      row.gapCount = this.#state.gapCount;
      verdicts.push(take(row, number));
      this.#state.awaited = this.#state.awaited.filter(
        (own) => own.author !== author || own.number !== number,
      );
    }
    if (verdicts.includes("again")) this.#state.duplicated += 1;
    else this.#state.received += 1;
    if (verdicts.includes("late")) this.#state.outOfOrder += 1;
  }

  /** The log has announced that events cannot be delivered. */
  gap(channel: string, epoch: string, offset: number): void {
    this.#state.gapCount += 1;
    this.#state.announced += 1;
    const row = this.#state.channels[channel];
    const holes = row?.epoch === epoch ? row.holes : [];
    this.#state.channels[channel] = { epoch, highest: offset, holes };
  }

  /** A message of our own was stored at a place: it has to come to us too, and not only to others. */
  stored(author: string, number: number, place: Place): void {
    const row = this.#state.authors[author];
    const wasHeard = row !== undefined && number <= row.highest && !holds(row.holes, number);
    if (!wasHeard) this.#state.awaited.push({ author, number, place });
  }

  /**
   * After a reload the message that the application had in its hands may be handed to it again. It is
   * already in the journal, and is counted as what it is.
   */
  heardBeforeReload(): void {
    this.#state.repeated += 1;
  }

  /** Up to where a channel has been heard. */
  heardUpTo(channel: string): { epoch: string; offset: number } | undefined {
    const row = this.#state.channels[channel];
    return row && { epoch: row.epoch, offset: row.highest };
  }

  #missing(): number {
    const { channels, authors, awaited } = this.#state;
    // A lost message leaves a hole in both counts, and is one message.
    const byOffset = Object.values(channels).reduce((sum, row) => sum + size(row.holes), 0);
    const byNumber = Object.values(authors).reduce((sum, row) => sum + size(row.holes), 0);
    // A lost last message leaves no hole; but its author knows where it must have come.
    const tail = awaited.filter(({ author, number, place }) => {
      const channel = channels[place.channel];
      const isBehind = channel?.epoch === place.epoch && channel.highest >= place.offset;
      return (
        isBehind &&
        !holds(authors[author]?.holes ?? [], number) &&
        !holds(channel.holes, place.offset)
      );
    });
    return Math.max(byOffset, byNumber) + tail.length;
  }
}

export interface Place {
  readonly channel: string;
  readonly epoch: string;
  readonly offset: number;
}

export interface Heard {
  readonly place: Place;
  /** Absent where somebody without a count spoke, such as a shell: then the offset alone is checked. */
  readonly author?: string | undefined;
  readonly number?: number | undefined;
}

export interface Counts {
  readonly received: number;
  readonly missing: number;
  readonly duplicated: number;
  readonly outOfOrder: number;
  /** Gaps that the log announced: losses that were not silent. */
  readonly announced: number;
  /** Messages handed over once more after a reload. */
  readonly repeated: number;
}

export interface CheckerState {
  received: number;
  duplicated: number;
  outOfOrder: number;
  announced: number;
  repeated: number;
  gapCount: number;
  channels: Record<string, Row & { epoch: string }>;
  authors: Record<string, Row & { gapCount: number }>;
  awaited: { author: string; number: number; place: Place }[];
}

/** What was heard of a count that begins at 1: everything up to the highest, without the holes. */
interface Row {
  highest: number;
  /** Ranges, both ends included, ascending. */
  holes: [from: number, to: number][];
}

type Verdict = "next" | "late" | "again";

function take(row: Row, number: number): Verdict {
  if (number > row.highest) {
    if (number > row.highest + 1) row.holes.push([row.highest + 1, number - 1]);
    row.highest = number;
    return "next";
  }
  if (!holds(row.holes, number)) return "again";
  row.holes = row.holes.flatMap(([from, to]): [number, number][] => {
    if (number < from || number > to) return [[from, to]];
    const parts: [number, number][] = [
      [from, number - 1],
      [number + 1, to],
    ];
    return parts.filter(([first, last]) => first <= last);
  });
  return "late";
}

function holds(holes: readonly [number, number][], number: number): boolean {
  return holes.some(([from, to]) => number >= from && number <= to);
}

function size(holes: readonly [number, number][]): number {
  return holes.reduce((sum, [from, to]) => sum + to - from + 1, 0);
}

function nothingYet(): Row {
  return { highest: 0, holes: [] };
}

function emptyState(): CheckerState {
  return {
    received: 0,
    duplicated: 0,
    outOfOrder: 0,
    announced: 0,
    repeated: 0,
    gapCount: 0,
    channels: {},
    authors: {},
    awaited: [],
  };
}
