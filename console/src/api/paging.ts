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

/** What is asked of a list: filters, `after` and `limit`, in the words of the API. */
export type ListQuery = Readonly<Record<string, string | number | undefined>>;

export function listPath(path: string, query: ListQuery): string {
  const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== "");
  return `${path}?${new URLSearchParams(given.map(([name, value]) => [name, String(value)])).toString()}`;
}

/**
 * A page that holds the one that is looked for, if it exists: the first that begins so. What is not there
 * is no error for a list, and a browser notes nothing that somebody would have to read.
 */
export function channelPath(name: string): string {
  const isName = name !== "" && isChannelPrefix(name);
  return isName ? listPath("/v1/channels", { prefix: name, limit: 1 }) : `/v1/channels/${encodeURIComponent(name)}`;
}

export function sessionPath(id: string): string | undefined {
  return /^[0-9a-f]{32}$/.test(id) ? listPath("/v1/sessions", { prefix: id, limit: 1 }) : undefined;
}

/** Whether a channel or an inbox can begin so. */
export function isChannelPrefix(text: string): boolean {
  const owner = /^\$(?:session|principal)\/([\w.:/@+-]*)$/.exec(text);
  return (
    text.length <= 128 && (owner !== null || /^[\w.:/-]*$/.test(text) || INBOXES.some((one) => one.startsWith(text)))
  );
}

/** Behind all inboxes: whoever looks for channels seldom means them. */
export const BEHIND_INBOXES = "$session/" + "f".repeat(32);

/** A part of a list, and where the rest begins. */
export interface Piece<T> {
  readonly found: readonly T[];
  /** Absent if nothing follows. */
  readonly next?: string | undefined;
}

/**
 * A page made of the pieces that the server gives: it looks at some thousand entries for each answer, and
 * where few are wanted there are few or none in it.
 */
export async function gathered<T>(
  ask: (after: string | undefined, limit: number) => Promise<Piece<T>>,
  after: string | undefined,
  limit: number,
): Promise<Piece<T>> {
  let page: Piece<T> = { found: [], next: after };
  for (let count = 0; count < PIECE_COUNT_MAX; count += 1) {
    const { found, next } = await ask(page.next, limit - page.found.length);
    page = { found: [...page.found, ...found], next };
    if (next === undefined || page.found.length >= limit) break;
  }
  return page;
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

const INBOXES = ["$session/", "$principal/"];
/** Some tens of thousands of entries: more are looked at when somebody asks for the next page. */
const PIECE_COUNT_MAX = 10;
