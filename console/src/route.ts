/** Where the page is: `#/channels/news?…`. Links are links, and the browser's back goes back. */
import { signal } from "@preact/signals";

export interface Route {
  readonly view: string;
  /** What the view shows: a channel, a session. */
  readonly subject: string | undefined;
  readonly query: URLSearchParams;
}

export const route = signal<Route>(routeOf(location.hash));

addEventListener("hashchange", () => {
  route.value = routeOf(location.hash);
});

export function routeOf(hash: string): Route {
  const [path = "", query = ""] = hash.replace(/^#\/?/, "").split("?", 2);
  const [view = "", ...rest] = path.split("/");
  const subject = rest.length === 0 ? undefined : decoded(rest.join("/"));
  return {
    view: view === "" ? "overview" : view,
    subject: subject === "" ? undefined : subject,
    query: new URLSearchParams(query),
  };
}

export function linkTo(view: string, subject?: string, query: Readonly<Record<string, string>> = {}): string {
  const path = subject === undefined ? view : `${view}/${encodeURIComponent(subject)}`;
  const search = new URLSearchParams(query).toString();
  return `#/${path}${search === "" ? "" : `?${search}`}`;
}

export function go(link: string): void {
  location.hash = link;
}

/** Puts what is looked for into the address, so that the link finds it again, without a step back for each letter. */
export function replaceQuery(query: Readonly<Record<string, string>>): void {
  const { view, subject } = route.value;
  const filled = Object.fromEntries(Object.entries(query).filter(([, value]) => value !== ""));
  const link = linkTo(view, subject, filled);
  history.replaceState(null, "", link);
  route.value = routeOf(link);
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
