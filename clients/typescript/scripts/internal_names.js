/**
 * Properties that exist only inside of the client, type by type: the bundles give them short names. None
 * of them may be a name of the wire, of a stored change, of the API or of the platform;
 * tests/internal_names.test.ts holds them against those, and the tests of the driver also run against the
 * bundles.
 *
 * No object is of two of these types, so each type's names begin anew with the same letters: few letters
 * that come often compress better than many. A name that two types have is short in the same way in both.
 * @type {Readonly<Record<string, readonly string[]>>}
 */
export const INTERNAL_NAMES = {
  // The state machine.
  ClientSession: [
    "saved",
    "phase",
    "nowMs",
    "config",
    "channels",
    "outputs",
    "waiting",
    "numbered",
    "unsent",
    "unanswered",
    "cancelled",
    "deadlines",
    "running",
    "ackAtMs",
    "ackCount",
    "ackedFrom",
    "ackChannels",
    "silentAtMs",
    "silenceMsMax",
    "movesAtMs",
    "outboxBytes",
    "flightBytes",
    "serverLimits",
    "principalInbox",
    "nextCommandKey",
  ],
  Channel: ["received", "isPaused", "setBackFrom"],
  Output: ["do", "frame"],
  SessionEvent: ["failure", "ending"],
  Ending: ["how"],
  // What is saved, apart from the changes that lead to it.
  SavedState: ["channels", "requests", "answers"],
  SavedChannel: ["cursor"],
  SavedRequest: ["givenUp"],
  // The driver and its parts.
  Driver: [
    "machine",
    "config",
    "whyOver",
    "socket",
    "clock",
    "dirty",
    "connectByMs",
    "queues",
    "retryCount",
    "openedAtMs",
    "asked",
    "stops",
    "kept",
    "dirtySinceMs",
    "early",
    "isCommitting",
    "timer",
    "started",
    "earlyBytes",
    "isWorking",
    "closed",
    "page",
    "handlers",
    "tellState",
    "dialAtMs",
    "current",
  ],
  Asked: ["pending", "refuse", "settle", "keep"],
  Subscription: ["finish", "holds"],
  SubscriptionOwner: ["hasRoom"],
};

/** The short name of each: the first letter that no other name of its types has. */
export function shortNames() {
  const types = Object.values(INTERNAL_NAMES);
  /** @type {Record<string, string>} */
  const short = {};
  for (const name of types.flat()) {
    const taken = types.filter((names) => names.includes(name)).flatMap((names) => names.map((other) => short[other]));
    short[name] ??= Array.from(LETTERS).find((letter) => !taken.includes(letter)) ?? name;
  }
  return short;
}

/** Those first that minifiers use for variables, which are the most frequent letters anyway. */
const LETTERS = "etnsrioaclhudmfpgvybwkjTxSAEIROCLNDPq";
