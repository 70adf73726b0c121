import type { Encoding } from "../wire/frames.js";

/** The options of a {@link ClientSession}. Times in milliseconds. */
export interface SessionConfig {
  /** The client's name and version, for the server's log. */
  readonly client: string;
  /** How frames will be written: it decides how many bytes a request takes. */
  readonly encoding: Encoding;
  /** For jitter: numbers from 0 up to 1. */
  readonly random: () => number;
  /** Requests without an outcome, those that still wait here included. */
  readonly outboxCountMax: number;
  /** Bytes of the same. */
  readonly outboxBytesMax: number;
  /** Bytes of requests that may be with the server without an outcome; one alone may have more. A
   * server lets 1 MiB wait unless it is told otherwise, and takes more for a violation. */
  readonly flightBytesMax: number;
  /** Channels whose place is known, inboxes included. */
  readonly subscriptionCountMax: number;
  /** Commands of the server that run or whose replies the server has not said to be safe. */
  readonly commandCountMax: number;
  /** The welcome must come within this time of the hello. */
  readonly welcomeTimeoutMs: number;
  /** Silence is tolerated for this long beyond the interval that the server announced. */
  readonly silenceMarginMs: number;
  /** After this many events and outcomes at most an acknowledgement goes out. */
  readonly ackCount: number;
  /** An event or outcome is acknowledged after this time at the latest. */
  readonly ackDelayMs: number;
  /** The server's answer to a `bye` is waited for this long. */
  readonly byeTimeoutMs: number;
}

/** The defaults, all but what only the caller knows. */
export const SESSION_DEFAULTS = {
  outboxCountMax: 4096,
  outboxBytesMax: 16 * 1024 * 1024,
  flightBytesMax: 512 * 1024,
  subscriptionCountMax: 256,
  commandCountMax: 1024,
  welcomeTimeoutMs: 10_000,
  silenceMarginMs: 10_000,
  ackCount: 64,
  ackDelayMs: 1000,
  byeTimeoutMs: 5000,
};
