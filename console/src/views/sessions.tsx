import { useState } from "preact/hooks";
import { afterOf, beginning, behindSessionPrefix, listPath } from "../api/paging.ts";
import { useAnswer } from "../api/poll.ts";
import type { SessionList, SessionView } from "../api/shapes.ts";
import { count } from "../format.ts";
import { Ago, Empty, Pager, Reason, Refused, Search, SessionLink, State } from "../parts/bits.tsx";
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
        <Search
          label="Id begins with"
          value={prefix}
          lengthMax={32}
          placeholder="8f3a…"
          search={(id) => {
            setTrail(beginning);
            replaceQuery({ id });
          }}
        />
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
        trail={trail}
        next={next}
        go={setTrail}
        shown={data && `${count(sessions.length)} shown, in the order of their ids`}
      />
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
              <td class="number wide">{count(session.resumes)}</td>
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
  const end = session.last_end;
  if (end === undefined) return <span class="muted">–</span>;
  return (
    <>
      <Reason word={end.reason} />
      <span class="muted wide-inline">
        {" "}
        <Ago atMs={end.at_ms} /> ago
      </span>
    </>
  );
}

/** How many events its client has not acknowledged, in all its channels. */
export function lagOf({ subscriptions }: SessionView): number {
  return subscriptions.reduce((sum, { lag }) => sum + lag, 0);
}

const PAGE = 100;
/** Clients acknowledge at least every 64 events and every second: less is no news. */
export const LAG_ORDINARY = 100;
