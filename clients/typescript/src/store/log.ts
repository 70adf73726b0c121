import { applyChange, emptyState, toChanges, type SavedState, type StateChange } from "../session/state.js";

/** What the stores that append changes have in common: they know when the log is worth writing anew,
 * and with what. */
export class ChangeLog {
  readonly #state: SavedState = emptyState();
  #count = 0;

  /** Changes that were read or written. */
  push(changes: readonly StateChange[]): void {
    for (const change of changes) {
      applyChange(this.#state, change);
    }
    this.#count += changes.length;
  }

  /** The changes that lead to the same state, if they are far fewer than those written. */
  shorter(): readonly StateChange[] | undefined {
    if (this.#count < COUNT_MIN || this.#count < 4 * this.#liveCount()) {
      return undefined;
    }
    const changes = toChanges(this.#state);
    this.#count = changes.length;
    return changes;
  }

  /** Whether a request waits for its outcome, or a reply to be safe. */
  get isSettled(): boolean {
    return this.#state.requests.size === 0 && this.#state.answers.size === 0;
  }

  #liveCount(): number {
    const { requests, channels, answers } = this.#state;
    return 1 + 2 * (requests.size + channels.size + answers.size);
  }
}

/** A log of fewer changes is short anyway. */
const COUNT_MIN = 256;
