import { applyChange, emptyState, toChanges, type StateChange } from "../session/state.js";
import type { StateStore } from "./store.js";

/** Keeps a session's state in memory: it outlives a {@link Session} of this page or process, not the
 * page or process. */
export class MemoryStore implements StateStore {
  readonly #state = emptyState();

  load(): Promise<readonly StateChange[]> {
    return Promise.resolve(toChanges(this.#state));
  }

  commit(changes: readonly StateChange[]): Promise<void> {
    for (const change of changes) {
      applyChange(this.#state, change);
    }
    return Promise.resolve();
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}
