/**
 * Properties that exist only inside of the client: the bundles give them short names. None of them
 * may be a name of the wire, of a stored change, of the API or of the platform; tests/built.test.ts
 * holds them against those, and the tests of the driver also run against the bundles.
 */
export const INTERNAL_NAMES = [
  // The state machine: ClientSession, Phase and Channel.
  "config",
  "saved",
  "phase",
  "outputs",
  "nowMs",
  "waiting",
  "numbered",
  "unsent",
  "cancelled",
  "deadlines",
  "outboxBytes",
  "flightBytes",
  "channels",
  "principalInbox",
  "unanswered",
  "running",
  "nextCommandKey",
  "ackedFrom",
  "ackCount",
  "ackAtMs",
  "ackChannels",
  "silentAtMs",
  "silenceMsMax",
  "movesAtMs",
  "wake",
  "hide",
  "received",
  "isPaused",
  // What it has to say: Output and SessionEvent.
  "do",
  "frame",
  "ending",
  "how",
  "failure",
  // What is saved, apart from the changes that lead to it.
  "requests",
  "answers",
  "givenUp",
  // The driver and its parts.
  "handlers",
  "policy",
  "handleOpen",
  "handleLost",
  "keep",
  "settle",
  "refuse",
  "pending",
  "holds",
  "hasRoom",
  "finish",
  // The encodings.
  "isOptional",
  "wrong",
];
