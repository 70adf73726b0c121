import type { StateChange } from "../session/state.js";

/**
 * Where a session keeps what must survive: its identity, the requests without an outcome, and its
 * places in channels.
 *
 * A store is a log of changes. One store serves one session at a time; the session loads it once,
 * then commits one batch after the other and never two at once. If `load` or `commit` rejects, the
 * session is over (`storage`) and nothing that was to be kept is sent.
 */
export interface StateStore {
  /** Every change that was committed, in order, or others that lead to the same state. */
  load(): Promise<readonly StateChange[]>;
  /** Keeps changes, all or none of them. Resolves only when they are durable. */
  commit(changes: readonly StateChange[]): Promise<void>;
  /** Gives the store free for another session. */
  close(): Promise<void>;
}
