/** A channel's log: page by page, or as it comes. */
import { gaps } from "virtual:codes";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import type { LogPage } from "../api/paging.ts";
import { newerPage, newestPage, olderPage } from "../api/paging.ts";
import { useNow } from "../api/poll.ts";
import { Refusal, ask } from "../api/server.ts";
import type { Channel as ChannelView, History } from "../api/shapes.ts";
import { count, counted, moment } from "../format.ts";
import type { Following, Heard } from "../live/follow.ts";
import { follow } from "../live/follow.ts";
import { Empty, Payload, Refused, SessionLink, payloadPreview } from "./bits.tsx";

interface LogProps {
  readonly channel: ChannelView;
  readonly isInbox: boolean;
}

export function Log({ channel, isInbox }: LogProps) {
  const [page, setPage] = useState<LogPage>(() => newestPage(channel, PAGE));
  const [history, setHistory] = useState<History>();
  const [refusal, setRefusal] = useState<Refusal>();
  const [isWatching, setWatching] = useState(false);
  // Offsets of another epoch mean nothing here.
  const epoch = useRef(channel.epoch);
  useEffect(() => {
    if (epoch.current !== channel.epoch) setPage(newestPage(channel, PAGE));
    epoch.current = channel.epoch;
  }, [channel.epoch]);
  useEffect(() => {
    const stop = new AbortController();
    const query = new URLSearchParams({
      channel: channel.name,
      after: String(page.after),
      limit: String(page.limit),
    });
    ask<History>(`/v1/history?${query.toString()}`, { signal: stop.signal }).then(
      (answer) => {
        setHistory(answer);
        setRefusal(undefined);
      },
      (error: unknown) => {
        if (error instanceof Refusal) setRefusal(error);
      },
    );
    return () => stop.abort();
  }, [channel.name, page]);
  const older = olderPage(page, channel);
  const newer = newerPage(page, channel);
  const events = useMemo(() => [...(history?.events ?? [])].reverse(), [history]);
  return (
    <>
      <div class="panel-head">
        <h2 id="log-heading">Log</h2>
        <p class="muted">
          {isWatching
            ? ""
            : events.length === 0
              ? ""
              : `${count(events.at(-1)?.offset ?? 0)} to ${count(events[0]?.offset ?? 0)}, newest first`}
        </p>
        <div class="buttons">
          {!isWatching && (
            <>
              <button
                type="button"
                class="small"
                disabled={newer === undefined}
                onClick={() => newer && setPage(newer)}
              >
                ‹ Newer
              </button>
              <button
                type="button"
                class="small"
                disabled={older === undefined}
                onClick={() => older && setPage(older)}
              >
                Older ›
              </button>
              <button type="button" class="small" onClick={() => setPage(newestPage(channel, PAGE))}>
                Newest
              </button>
            </>
          )}
          <button
            type="button"
            class="small toggle"
            aria-pressed={isWatching}
            disabled={isInbox}
            title={isInbox ? "Inboxes can be read and not listened to" : ""}
            onClick={() => {
              if (isWatching) setPage(newestPage(channel, PAGE));
              setWatching(!isWatching);
            }}
          >
            {isWatching ? "Stop watching" : "Watch live"}
          </button>
        </div>
      </div>
      <Refused refusal={refusal} />
      {isWatching ? (
        <Watch channel={channel} />
      ) : events.length === 0 ? (
        <Empty>{history === undefined ? "Reading…" : "Nothing is kept here."}</Empty>
      ) : (
        <ol class="log" tabIndex={0} aria-label="Events, newest first">
          {events.map(({ offset, at_ms: atMs, payload, data }) => (
            <EventRow key={offset} offset={offset} atMs={atMs} payload={payload} data={data} />
          ))}
        </ol>
      )}
    </>
  );
}

/** What comes from now on. While somebody looks at one event closely, the list holds still. */
function Watch({ channel }: { readonly channel: ChannelView }) {
  const [heard, setHeard] = useState<readonly (Heard & { key: number })[]>([]);
  const [state, setState] = useState<Following>({ name: "connecting" });
  const [heldFrom, setHeldFrom] = useState<number>();
  useEffect(() => {
    const stop = new AbortController();
    let waiting: (Heard & { key: number })[] = [];
    let key = 0;
    let frame: number | undefined;
    // However many come, the page is drawn once for each frame.
    const flush = () => {
      frame = undefined;
      const more = waiting.reverse();
      waiting = [];
      setHeard((before) => [...more, ...before].slice(0, WATCH_COUNT_MAX));
    };
    const place = { epoch: channel.epoch, offset: channel.head };
    void follow(
      channel.name,
      place,
      {
        heard: (one) => {
          waiting.push({ ...one, key: (key += 1) });
          frame ??= requestAnimationFrame(flush);
        },
        state: setState,
      },
      stop.signal,
    );
    return () => {
      stop.abort();
      if (frame !== undefined) cancelAnimationFrame(frame);
    };
  }, [channel.name]);
  const shown = heldFrom === undefined ? heard : heard.filter(({ key }) => key <= heldFrom);
  const held = heard.length - shown.length;
  return (
    <>
      <p class="watching">
        <span role="status">{sayState(state)}</span>
        {state.name === "live" && state.way === "session" && <SessionLink id={state.session} />}
        {heldFrom !== undefined && (
          <button type="button" class="small" onClick={() => setHeldFrom(undefined)}>
            Go on{held > 0 ? ` with ${counted(held, "event")} more` : ""}
          </button>
        )}
      </p>
      {shown.length === 0 ? (
        <Empty>Nothing has come since you began to watch.</Empty>
      ) : (
        <ol class="log" tabIndex={0} aria-label="Events as they come, newest first">
          {shown.map((one) =>
            one.type === "event" ? (
              <EventRow
                key={one.key}
                offset={one.offset}
                atMs={one.atMs}
                payload={one.payload}
                data={one.data}
                onOpen={() => setHeldFrom((before) => before ?? heard[0]?.key)}
              />
            ) : (
              <li key={one.key} class="gap">
                {one.to === undefined
                  ? `From event ${count(one.from)} on, nobody knows what is missing: `
                  : `Events ${count(one.from)} to ${count(one.to)} are missing: `}
                <span class="word">{one.reason}</span>. {gaps.find(({ word }) => word === one.reason)?.text}
              </li>
            ),
          )}
        </ol>
      )}
    </>
  );
}

interface EventRowProps {
  readonly offset: number;
  readonly atMs: number;
  readonly payload: unknown;
  readonly data: string | Uint8Array | undefined;
  readonly onOpen?: () => void;
}

function EventRow({ offset, atMs, payload, data, onOpen }: EventRowProps) {
  const [isOpen, setOpen] = useState(false);
  const nowMs = useNow(60_000);
  return (
    <li>
      <button
        type="button"
        class="event"
        aria-expanded={isOpen}
        onClick={() => {
          if (!isOpen) onOpen?.();
          setOpen(!isOpen);
        }}
      >
        <span class="offset">{offset}</span>
        <time dateTime={new Date(atMs).toISOString()}>{moment(atMs, nowMs)}</time>
        <span class="clip mono">{payloadPreview(payload, data)}</span>
      </button>
      {isOpen && <Payload payload={payload} data={data} />}
    </li>
  );
}

function sayState(state: Following): string {
  switch (state.name) {
    case "connecting":
      return "Connecting…";
    case "live":
      return state.way === "session" ? "Live, over a session of this page's own" : "Live, as an event stream";
    case "waiting":
      return "The connection was lost; it goes on where it stopped";
    case "over":
      return `Over: ${state.why}`;
  }
}

const PAGE = 50;
const WATCH_COUNT_MAX = 500;
