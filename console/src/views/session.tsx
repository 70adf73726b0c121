import { useEffect, useState } from "preact/hooks";
import { sessionPath } from "../api/paging.ts";
import { poll, useAnswer, useNow } from "../api/poll.ts";
import { Refusal, ask } from "../api/server.ts";
import type { Entry, Journal, SessionList, SessionView } from "../api/shapes.ts";
import { count, counted, moment } from "../format.ts";
import { lasted, lineOf } from "../journal/words.ts";
import { behindRestart, joinedEntries } from "../journal/join.ts";
import { Ago, ChannelLink, Copy, Empty, Refused, State } from "../parts/bits.tsx";
import { Dialog } from "../parts/dialog.tsx";
import { go, linkTo } from "../route.ts";
import { server } from "../stats/live.ts";
import { Sender } from "../parts/sender.tsx";
import { End, LAG_ORDINARY, lagOf } from "./sessions.tsx";

export function Session({ id }: { readonly id: string }) {
  const path = sessionPath(id);
  const { data, refusal, again } = useAnswer<SessionList>(path, 2000);
  const [listed] = data?.sessions ?? [];
  const [last, setLast] = useState<SessionView>();
  const isHere = listed?.session === id;
  useEffect(() => {
    if (isHere) setLast(listed);
  }, [listed, isHere]);
  // What was known of it when it went.
  const session = isHere ? listed : last;
  const isGone = path === undefined || (data !== undefined && !isHere);
  const [isEnding, setEnding] = useState(false);
  return (
    <>
      <p class="crumbs">
        <a href={linkTo("sessions")}>Sessions</a>
      </p>
      <div class="heading">
        <h1 class="mono id">{id}</h1>
        <Copy text={id} what="the id" />
        <span class="grow" />
        {session !== undefined && !isGone && (
          <button type="button" class="danger" onClick={() => setEnding(true)}>
            Disconnect…
          </button>
        )}
      </div>
      {isGone ? (
        <p class="notice">
          There is no such session{session === undefined ? "" : " any more"}: it ended or expired. What the journal
          still knows of it is below.
        </p>
      ) : (
        <Refused refusal={refusal} />
      )}
      {session !== undefined && <Facts session={session} isGone={isGone} />}
      <div class="columns">
        <section class="panel" aria-labelledby="timeline-heading">
          <div class="panel-head">
            <h2 id="timeline-heading">What happened</h2>
            <p class="muted">Newest first, as it comes</p>
          </div>
          {path === undefined ? <Empty>An id has 32 digits 0–9 and a–f.</Empty> : <Timeline id={id} />}
        </section>
        <div>
          {session !== undefined && <Subscriptions session={session} />}
          {session !== undefined && !isGone && (
            <section class="panel pad" aria-labelledby="ask-heading">
              <h2 id="ask-heading">Send to it, or ask it</h2>
              <Sender fixed={{ session: id }} kinds={["send", "request"]} />
            </section>
          )}
        </div>
      </div>
      {isEnding && session !== undefined && (
        <Disconnect
          session={session}
          onClose={() => setEnding(false)}
          onDone={() => {
            setEnding(false);
            again();
          }}
        />
      )}
    </>
  );
}

function Facts({ session, isGone }: { readonly session: SessionView; readonly isGone: boolean }) {
  const nowMs = useNow();
  const lag = lagOf(session);
  return (
    <dl class="facts panel">
      <div>
        <dt>State</dt>
        <dd>{isGone ? "gone" : <State is={session.state} />}</dd>
      </div>
      <div>
        <dt>Principal</dt>
        <dd class="clip" title={session.principal ?? ""}>
          {session.principal ?? <span class="muted">none</span>}
        </dd>
      </div>
      <div>
        <dt>Client</dt>
        <dd class="clip" title={session.client}>
          {session.client || <span class="muted">says nothing</span>}
        </dd>
      </div>
      <div>
        <dt>Began</dt>
        <dd>
          <Ago atMs={session.since_ms} /> ago
        </dd>
      </div>
      <div>
        <dt>Resumes</dt>
        <dd>{count(session.resumes)}</dd>
      </div>
      <div>
        <dt>Lag</dt>
        <dd class={lag > LAG_ORDINARY ? "lagging" : ""}>{counted(lag, "event")}</dd>
      </div>
      <div>
        <dt>Last end</dt>
        <dd>
          <End of={session} />
        </dd>
      </div>
      <div>
        <dt>Requests</dt>
        <dd
          title={`${counted(session.reply_count, "outcome")} kept, ${counted(session.command_count, "command")} without a reply`}
        >
          {count(session.accepted)} accepted
        </dd>
      </div>
      {session.connection !== undefined && (
        <div>
          <dt>Connection</dt>
          <dd class="mono">{session.connection}</dd>
        </div>
      )}
      {session.expires_at_ms !== undefined && (
        <div>
          <dt>Expires</dt>
          <dd>in {lasted(session.expires_at_ms - nowMs)}</dd>
        </div>
      )}
    </dl>
  );
}

function Subscriptions({ session: { subscriptions } }: { readonly session: SessionView }) {
  return (
    <section class="panel" aria-labelledby="subscriptions-heading">
      <div class="panel-head">
        <h2 id="subscriptions-heading">Listens to</h2>
        <p class="muted">{counted(subscriptions.length, "channel")}</p>
      </div>
      {subscriptions.length === 0 ? (
        <Empty>It listens to no channel.</Empty>
      ) : (
        <div class="scroll short" tabIndex={0} role="region" aria-label="Subscriptions">
          <table>
            <thead>
              <tr>
                <th scope="col">Channel</th>
                <th scope="col" class="number" title="The last event that its client acknowledged">
                  Cursor
                </th>
                <th scope="col" class="number" title="Events behind it that are not acknowledged">
                  Lag
                </th>
                <th scope="col">Delivery</th>
                <th scope="col">Presence</th>
              </tr>
            </thead>
            <tbody>
              {subscriptions.map(({ channel, acknowledged, lag, delivery, presence }) => (
                <tr key={channel}>
                  <th scope="row" class="clip">
                    <ChannelLink name={channel} />
                  </th>
                  <td class="number">{count(acknowledged)}</td>
                  <td class={`number ${lag > LAG_ORDINARY ? "lagging" : ""}`}>{count(lag)}</td>
                  <td>{delivery}</td>
                  <td class="nowrap">{presence.replaceAll("_", " ")}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </section>
  );
}

function Timeline({ id }: { readonly id: string }) {
  const [entries, setEntries] = useState<readonly Entry[] | undefined>();
  const [refusal, setRefusal] = useState<Refusal>();
  const nowMs = useNow(10_000);
  const startedAtMs = server.value?.started_at_ms;
  useEffect(() => setEntries(undefined), [id]);
  useEffect(() => {
    if (startedAtMs === undefined) return undefined;
    setEntries((before) => before && behindRestart(before, startedAtMs));
    let after = 0;
    return poll(1000, async (signal) => {
      try {
        const query = new URLSearchParams({ session: id, after: String(after), limit: "500" });
        const journal = await ask<Journal>(`/v1/journal?${query.toString()}`, { signal });
        after = Math.max(after, journal.entries.at(-1)?.seq ?? after);
        setEntries((before) => joinedEntries(before ?? [], journal));
        setRefusal(undefined);
      } catch (error) {
        if (error instanceof Refusal) setRefusal(error);
        throw error;
      }
    });
  }, [id, startedAtMs]);
  if (entries === undefined) return <Refused refusal={refusal} />;
  if (entries.length === 0) return <Empty>The journal knows nothing of it, or not any more.</Empty>;
  return (
    <ol class="timeline" tabIndex={0} aria-label="What happened, newest first">
      {[...entries].reverse().map((entry) => {
        const { tone, text, meaning } = lineOf(entry);
        return (
          <li key={entry.seq} class={tone}>
            <time dateTime={new Date(entry.at_ms).toISOString()}>{moment(entry.at_ms, nowMs)}</time>
            <i aria-hidden="true" />
            <span>
              {text}
              {meaning !== undefined && <small>{meaning}</small>}
            </span>
          </li>
        );
      })}
      {entries[0]?.what !== "opened" && <li class="before">What was before is not in the journal any more.</li>}
    </ol>
  );
}

interface DisconnectProps {
  readonly session: SessionView;
  readonly onClose: () => void;
  readonly onDone: () => void;
}

function Disconnect({ session, onClose, onDone }: DisconnectProps) {
  const [refusal, setRefusal] = useState<Refusal>();
  const disconnect = async () => {
    try {
      await ask(`/v1/sessions/${session.session}`, { method: "DELETE" });
      onDone();
    } catch (error) {
      if (error instanceof Refusal) setRefusal(error);
      if (error instanceof Refusal && error.word === "unreachable") go(linkTo("sessions", session.session));
    }
  };
  return (
    <Dialog title="End this session?" onClose={onClose}>
      <p>
        {session.principal ?? session.client} is disconnected with <span class="word">disconnected</span> (4202): the
        client does not come back to this session, and its inbox and what it has not yet heard are forgotten.
      </p>
      <Refused refusal={refusal} />
      <div class="buttons">
        <button type="button" onClick={onClose}>
          Keep it
        </button>
        <button type="button" class="danger" onClick={() => void disconnect()}>
          End the session
        </button>
      </div>
    </Dialog>
  );
}
