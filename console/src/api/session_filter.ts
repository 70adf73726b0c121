/** Which sessions are looked for, as the address of the page says. */

/** In the words of the API; empty where nothing is asked for. */
export interface SessionFilter {
  readonly prefix: string;
  readonly principal: string;
  readonly state: string;
  readonly behind: string;
}

export function filterOf(query: URLSearchParams): SessionFilter {
  const given = (name: string) => query.get(name)?.trim() ?? "";
  return {
    prefix: given("prefix").toLowerCase(),
    principal: given("principal"),
    state: STATES.includes(given("state")) ? given("state") : "",
    behind: given("behind") === "true" ? "true" : "",
  };
}

export function isNarrowed(filter: SessionFilter): boolean {
  return Object.values(filter).some((value) => value !== "");
}

/** Why there can be no such session; the server need not be asked. */
export function faultOf({ prefix, principal }: SessionFilter): string | undefined {
  if (!/^[0-9a-f]{0,32}$/.test(prefix)) return "An id is made of the digits 0–9 and a–f.";
  if (!/^[\w.:/@+-]{0,96}$/.test(principal)) return "A principal is made of A–Z a–z 0–9 . _ : / - @ + only.";
  return undefined;
}

export const STATES: readonly string[] = ["connected", "away"];
