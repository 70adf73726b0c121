import { afterOf, gathered, listPath } from "../api/paging.ts";
import { useAnswer } from "../api/poll.ts";
import { ask, type Question } from "../api/server.ts";
import { STATES, type SessionFilter, faultOf, filterOf, isNarrowed } from "../api/session_filter.ts";
import type { SessionList, SessionView } from "../api/shapes.ts";
import { count } from "../format.ts";
import { Ago, Empty, Pager, Reason, Refused, SessionLink, State, useTrail } from "../parts/bits.tsx";
import { Search } from "../parts/search.tsx";
import { linkTo, replaceQuery, route } from "../route.ts";

export function Sessions() {
  const filter = filterOf(route.value.query);
  const fault = faultOf(filter);
  const wanted = listPath("/v1/sessions", { ...filter });
  const [trail, setTrail] = useTrail(wanted);
  const path = fault === undefined ? listPath("/v1/sessions", { ...filter, after: afterOf(trail) }) : undefined;
  const { data: answer, refusal } = useAnswer<SessionList>(path, 2000, askForPage);
  const data = path === undefined ? undefined : answer;
  const sessions = data?.sessions ?? [];
  return (
    <>
      <div class="heading">
        <h1>Sessions</h1>
        <Filters filter={filter} />
      </div>
      <Refused refusal={refusal} />
      {fault !== undefined && <Empty>{fault}</Empty>}
      {data !== undefined && sessions.length === 0 && (
        <Empty>
          {data.next !== undefined
            ? "None of the sessions that were looked at so far. More follow on the next page."
            : isNarrowed(filter)
              ? "There is no such session."
              : "There are no sessions. One begins with a client of the session dialect, such as mainstay subscribe news."}
        </Empty>
      )}
      {sessions.length > 0 && <SessionTable sessions={sessions} />}
      <Pager
        what="sessions"
        trail={trail}
        next={data?.next}
        go={setTrail}
        shown={data && `${count(sessions.length)} shown, in the order of their ids`}
      />
    </>
  );
}

function Filters({ filter }: { readonly filter: SessionFilter }) {
  const look = (change: Partial<SessionFilter>) => replaceQuery({ ...filter, ...change });
  const isBehind = filter.behind !== "";
  return (
    <div class="filters" role="search" aria-label="Sessions">
      <Search
        label="Id begins with"
        value={filter.prefix}
        lengthMax={32}
        placeholder="8f3a…"
        isFirst
        search={(prefix) => look({ prefix })}
      />
      <Search
        label="Principal"
        value={filter.principal}
        lengthMax={96}
        placeholder="ann@example.org"
        search={(principal) => look({ principal })}
      />
      <label class="search">
        <span class="muted">State</span>
        <select value={filter.state} onChange={(event) => look({ state: event.currentTarget.value })}>
          <option value="">any</option>
          {STATES.map((state) => (
            <option key={state} value={state}>
              {state}
            </option>
          ))}
        </select>
      </label>
      <button
        type="button"
        class="toggle"
        aria-pressed={isBehind}
        title="Only sessions that have not acknowledged all their events, or have been slow for some time"
        onClick={() => look({ behind: isBehind ? "" : "true" })}
      >
        Behind
      </button>
    </div>
  );
}

/** The server looks at some thousand sessions for each answer; a page is made of several where few are wanted. */
async function askForPage(path: string, question: Question): Promise<SessionList> {
  const { searchParams } = new URL(path, location.href);
  const { after, ...filter } = Object.fromEntries(searchParams);
  const piece = async (after: string | undefined, limit: number) => {
    const { sessions, next } = await ask<SessionList>(listPath("/v1/sessions", { ...filter, after, limit }), question);
    return { found: sessions, next };
  };
  const { found, next } = await gathered(piece, after, PAGE);
  return { sessions: [...found], ...(next === undefined ? {} : { next }) };
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
                {session.principal === undefined ? (
                  <span class="muted">–</span>
                ) : (
                  <a href={linkTo("sessions", undefined, { principal: session.principal })}>{session.principal}</a>
                )}
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
