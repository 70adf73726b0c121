/** Something to be sent, as a request to the API and as lines for a shell. */

export type Kind = "publish" | "send" | "request";
export type To = "session" | "principal" | "connection";

export interface Draft {
  readonly kind: Kind;
  readonly channel: string;
  /** Whose inbox, of `send`. */
  readonly to: To;
  readonly target: string;
  /** Which session's client, of `request`. */
  readonly session: string;
  readonly command: string;
  /** As it is typed; the server's default if empty. */
  readonly deadlineMs: string;
  readonly key: string;
  /** JSON; empty is `null`. */
  readonly payload: string;
}

export const emptyDraft: Draft = {
  kind: "publish",
  channel: "",
  to: "session",
  target: "",
  session: "",
  command: "",
  deadlineMs: "",
  key: "",
  payload: '{"hello": "world"}',
};

export function pathOf(draft: Draft): string {
  return draft.kind === "request" ? `/v1/sessions/${encodeURIComponent(draft.session)}/request` : `/v1/${draft.kind}`;
}

/** The payload stands in it as it was written: a number of any size and every blank goes on. */
export function bodyOf(draft: Draft): string {
  const names: [string, string][] = [];
  if (draft.kind === "publish") names.push(["channel", JSON.stringify(draft.channel)]);
  if (draft.kind === "send") names.push([draft.to, JSON.stringify(draft.target)]);
  if (draft.kind === "request") names.push(["command", JSON.stringify(draft.command)]);
  names.push(["payload", payloadOf(draft)]);
  if (draft.kind === "request" && draft.deadlineMs !== "") names.push(["deadline_ms", draft.deadlineMs]);
  return `{${names.map(([name, value]) => `${JSON.stringify(name)}: ${value}`).join(", ")}}`;
}

export function headersOf(draft: Draft): Record<string, string> {
  return hasKey(draft) ? { "idempotency-key": draft.key } : {};
}

/** What is missing before it can be sent. */
export function missing(draft: Draft): string | undefined {
  if (draft.kind === "publish" && draft.channel === "") return "Name a channel.";
  if (draft.kind === "send" && draft.target === "") return `Name a ${draft.to}.`;
  if (draft.kind === "request" && draft.session === "") return "Name a session.";
  if (draft.kind === "request" && draft.command === "") return "Name a command.";
  if (draft.kind === "request" && draft.deadlineMs !== "" && !isDeadline(draft.deadlineMs)) {
    return `The deadline is 1 to ${DEADLINE_MS_MAX} ms.`;
  }
  if (hasKey(draft) && !/^[\x21-\x7e]{1,128}$/.test(draft.key)) {
    return "A key has 1 to 128 visible characters of ASCII.";
  }
  return undefined;
}

/** The same by curl. The token is named and not shown. */
export function curlLine(draft: Draft, origin: string, hasToken: boolean): string {
  const parts = ["curl", quoted(origin + pathOf(draft))];
  if (hasToken) parts.push("-H", '"Authorization: Bearer $MAINSTAY_ADMIN_TOKEN"');
  if (hasKey(draft)) parts.push("-H", quoted(`Idempotency-Key: ${draft.key}`));
  parts.push("-d", quoted(bodyOf(draft)));
  return parts.join(" ");
}

/** The same by the command line, which takes the token from MAINSTAY_ADMIN_TOKEN; it has nothing for asking a client. */
export function commandLine(draft: Draft, origin: string): string | undefined {
  if (draft.kind === "request") return undefined;
  const [to, name] = draft.kind === "publish" ? ["channel", draft.channel] : [draft.to, draft.target];
  const parts = ["mainstay send", `--${to}`, quoted(name)];
  if (hasKey(draft)) parts.push("--key", quoted(draft.key));
  if (origin !== DEFAULT_ORIGIN) parts.push("--admin", quoted(origin));
  const payload = payloadOf(draft);
  if (payload.startsWith("-")) parts.push("--");
  parts.push(quoted(payload));
  return parts.join(" ");
}

/** What says in one line where it goes. */
export function titleOf(draft: Draft): string {
  if (draft.kind === "publish") return `publish to ${draft.channel}`;
  if (draft.kind === "send") return `send to ${draft.to} ${draft.target}`;
  return `ask ${draft.session.slice(0, 8)} to ${draft.command}`;
}

export function isDeadline(text: string): boolean {
  return /^\d{1,6}$/.test(text) && Number(text) >= 1 && Number(text) <= DEADLINE_MS_MAX;
}

/** A key that nobody else has. `randomUUID` is missing on pages that come without TLS. */
export function freshKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

function payloadOf({ payload }: Draft): string {
  return payload.trim() === "" ? "null" : payload.trim();
}

/** A request to a client has no key: the session dialect itself runs it once. */
function hasKey({ kind, key }: Draft): boolean {
  return kind !== "request" && key !== "";
}

function quoted(text: string): string {
  return /^[A-Za-z0-9_./:@%+=,-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}

const DEFAULT_ORIGIN = "http://127.0.0.1:8081";
const DEADLINE_MS_MAX = 300_000;
