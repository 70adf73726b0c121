import { useState } from "preact/hooks";
import { afterOf, back, beginning, behindSessionPrefix, forward, listPath } from "../api/paging.ts";
import { useAnswer } from "../api/poll.ts";
import type { LastEnd, SessionList, SessionView } from "../api/shapes.ts";
import { count } from "../format.ts";
import { Ago, Empty, Pager, Reason, Refused, SessionLink, State } from "../parts/bits.tsx";
import { replaceQuery, route } from "../route.ts";

export function Sessions() {
  const prefix = (route.value.query.get("id") ?? "").trim().toLowerCase();
  const [trail, setTrail] = useState(beginning);
  const isSearch = prefix !== "";
  const isId = /^[0-9a-f]{1,32}$/.test(prefix);
  const after = afterOf(trail) ?? (isId ? behindSessionPrefix(prefix) : undefined);
  const { data, refusal } = useAnswer<SessionList>(
    isSearch && !isId ? undefined : listPath("/v1/sessions", after, PAGE),
    2000,
  );
  const listed = data?.sessions ?? [];
  const sessions = isSearch ? listed.filter(({ session }) => session.startsWith(prefix)) : listed;
  const isAtEnd = data?.next === undefined || sessions.length < listed.length;
  const next = isAtEnd ? undefined : data.next;
  return (
    <>
      <div class="heading">
        <h1>Sessions</h1>
        <label class="search">
          <span class="muted">Id begins with</span>
          <input
            type="search"
            class="mono"
            value={prefix}
            maxLength={32}
            data-search
            spellcheck={false}
            placeholder="8f3a…"
            onInput={(event) => {
              setTrail(beginning);
              replaceQuery({ id: event.currentTarget.value });
            }}
          />
        </label>
      </div>
      <Refused refusal={refusal} />
      {isSearch && !isId && <Empty>An id is made of the digits 0–9 and a–f.</Empty>}
      {data !== undefined && sessions.length === 0 && (isId || !isSearch) && (
        <Empty>
          {isSearch
            ? "No session has such an id."
            : "There are no sessions. One begins with a client of the session dialect, such as mainstay subscribe news."}
        </Empty>
      )}
      {sessions.length > 0 && <SessionTable sessions={sessions} />}
      <Pager
        what="sessions"
        back={trail.afters.length > 1 ? () => setTrail(back(trail)) : undefined}
        forward={next === undefined ? undefined : () => setTrail(forward(trail, next))}
      >
        {data === undefined
          ? ""
          : `Page ${trail.afters.length}, ${count(sessions.length)} shown, in the order of their ids`}
      </Pager>
    </>
  );
}

function SessionTable({ sessions }: { readonly sessions: readonly SessionView[] }) {
  return (
    <div class="panel scroll" tabIndex={0} role="region" aria-label="Sessions">
      <table>
        <thead>
          <tr>
            <th scope="col" class="state-head">
              State
            </th>
            <th scope="col">Session</th>
            <th scope="col" class="wide">
              Principal
            </th>
            <th scope="col" class="wide">
              Client
            </th>
            <th scope="col" class="number wide">
              Began
            </th>
            <th scope="col" class="number wide">
              Resumes
            </th>
            <th scope="col" class="number wide">
              Channels
            </th>
            <th scope="col" class="number">
              Lag
            </th>
            <th scope="col">Last end</th>
          </tr>
        </thead>
        <tbody>
          {sessions.map((session) => (
            <tr key={session.session}>
              <td>
                <State is={session.state} />
              </td>
              <th scope="row">
                <SessionLink id={session.session} />
                <span class="narrow muted clip">{session.principal ?? session.client}</span>
              </th>
              <td class="wide clip" title={session.principal ?? ""}>
                {session.principal ?? <span class="muted">–</span>}
              </td>
              <td class="wide clip" title={session.client}>
                {session.client || <span class="muted">–</span>}
              </td>
              <td class="number wide nowrap">
                <Ago atMs={session.since_ms} />
              </td>
              <td class="number wide">{count(resumesOf(session))}</td>
              <td class="number wide">{count(session.subscriptions.length)}</td>
              <td class={`number ${lagOf(session) > LAG_ORDINARY ? "lagging" : ""}`}>{count(lagOf(session))}</td>
              <td class="nowrap">
                <End of={session} />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

export function End({ of: session }: { readonly of: SessionView }) {
  const end = lastEnd(session);
  if (end === undefined) return <span class="muted">–</span>;
  return (
    <>
      <Reason word={end.reason} />
      {end.at_ms > 0 && (
        <span class="muted wide-inline">
          {" "}
          <Ago atMs={end.at_ms} /> ago
        </span>
      )}
    </>
  );
}

export function resumesOf(session: SessionView): number {
  return session.resumes ?? Math.max(0, session.generation - 1);
}

/** How many events its client has not acknowledged, in all its channels. */
export function lagOf({ subscriptions }: SessionView): number {
  return subscriptions.reduce((sum, { lag }) => sum + lag, 0);
}

function lastEnd({ last_end: end }: SessionView): LastEnd | undefined {
  return typeof end === "string" ? { reason: end, at_ms: 0 } : end;
}

const PAGE = 100;
/** Clients acknowledge at least every 64 events and every second: less is no news. */
export const LAG_ORDINARY = 100;
