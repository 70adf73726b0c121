/** Pages of what the server lists in order, and of a channel's log. */

/** The way through a list that can only be read forwards: the places behind which pages begin. */
export interface Trail {
  /** `undefined` is the beginning. The last is the page that is shown. */
  readonly afters: readonly (string | undefined)[];
}

export const beginning: Trail = { afters: [undefined] };

export function forward(trail: Trail, next: string): Trail {
  return { afters: [...trail.afters, next] };
}

export function back(trail: Trail): Trail {
  return trail.afters.length > 1 ? { afters: trail.afters.slice(0, -1) } : trail;
}

export function afterOf(trail: Trail): string | undefined {
  return trail.afters.at(-1);
}

/**
 * The place behind which the names begin that begin with `prefix`: the greatest name below them all.
 * `null` where no name can begin so. Names are in the order of their bytes, inboxes first.
 */
export function behindChannelPrefix(prefix: string): string | undefined | null {
  if (prefix === "" || CHANNEL_CHARACTERS.has(prefix.charAt(0))) {
    const after = behindText(prefix, CHANNEL_CHARACTERS, CHANNEL_BYTES_MAX);
    return after === undefined ? LAST_INBOX : after;
  }
  if (PRINCIPALS.startsWith(prefix)) return undefined;
  if (prefix.startsWith(PRINCIPALS)) {
    const after = behindText(prefix.slice(PRINCIPALS.length), PRINCIPAL_CHARACTERS, PRINCIPAL_BYTES_MAX);
    return after === undefined || after === null ? after : PRINCIPALS + after;
  }
  if (SESSIONS.startsWith(prefix)) return SESSIONS + "0".repeat(ID_DIGITS);
  const digits = prefix.slice(SESSIONS.length);
  if (!prefix.startsWith(SESSIONS) || !/^[0-9a-f]{1,32}$/.test(digits)) return null;
  return SESSIONS + (behindSessionPrefix(digits) ?? "0".repeat(ID_DIGITS));
}

/** `undefined` is the beginning. */
function behindText(prefix: string, alphabet: ReadonlySet<string>, bytesMax: number): string | undefined | null {
  const characters = [...alphabet];
  if (Array.from(prefix).some((character) => !alphabet.has(character))) return null;
  const head = prefix.slice(0, -1);
  const rank = characters.indexOf(prefix.at(-1) ?? "");
  // Names that go on after `head` begin with the lowest character, so that `head` itself is next below.
  if (rank <= 0) return head === "" ? undefined : head;
  return (head + (characters[rank - 1] ?? "")).padEnd(bytesMax, characters.at(-1));
}

/** The greatest session id below all that begin with these hexadecimal digits. */
export function behindSessionPrefix(prefix: string): string | undefined {
  if (!/^[0-9a-f]{1,32}$/.test(prefix)) return undefined;
  const first = BigInt(`0x${prefix.padEnd(ID_DIGITS, "0")}`);
  return first === 0n ? undefined : (first - 1n).toString(16).padStart(ID_DIGITS, "0");
}

/**
 * A page that holds the one that is looked for, if it exists. What is not there is no error for a list,
 * and a browser notes nothing that somebody would have to read.
 */
export function channelPath(name: string): string {
  const after = behindChannelPrefix(name);
  return after === null ? `/v1/channels/${encodeURIComponent(name)}` : listPath("/v1/channels", after, 1);
}

export function sessionPath(id: string): string | undefined {
  return /^[0-9a-f]{32}$/.test(id) ? listPath("/v1/sessions", behindSessionPrefix(id), 1) : undefined;
}

export function listPath(path: string, after: string | undefined, limit: number): string {
  const query = new URLSearchParams({ limit: String(limit) });
  if (after !== undefined) query.set("after", after);
  return `${path}?${query.toString()}`;
}

/** Which events of a log a page shows: those behind `after`, up to `limit` of them. */
export interface LogPage {
  readonly after: number;
  readonly limit: number;
}

export interface LogBounds {
  /** The first event that is kept. */
  readonly first: number;
  /** The newest; 0 if there is none. */
  readonly head: number;
}

export function newestPage({ first, head }: LogBounds, limit: number): LogPage {
  return { after: Math.max(first - 1, head - limit, 0), limit };
}

export function olderPage(page: LogPage, { first }: LogBounds): LogPage | undefined {
  if (page.after <= first - 1 || page.after <= 0) return undefined;
  return { ...page, after: Math.max(first - 1, page.after - page.limit, 0) };
}

export function newerPage(page: LogPage, { head }: LogBounds): LogPage | undefined {
  const after = page.after + page.limit;
  return after >= head ? undefined : { ...page, after };
}

/** What names may be made of, in the order of bytes. */
const CHANNEL_CHARACTERS: ReadonlySet<string> = new Set(
  "-./0123456789:ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz",
);
const PRINCIPAL_CHARACTERS: ReadonlySet<string> = new Set(
  "+-./0123456789:@ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz",
);
const CHANNEL_BYTES_MAX = 128;
const PRINCIPAL_BYTES_MAX = 96;
const ID_DIGITS = 32;
const PRINCIPALS = "$principal/";
const SESSIONS = "$session/";
/** Behind all inboxes: whoever looks for channels seldom means them. */
const LAST_INBOX = SESSIONS + "f".repeat(ID_DIGITS);
