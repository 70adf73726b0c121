/** Small parts that several views share. */
import type { ComponentChildren } from "preact";
import { useEffect, useState } from "preact/hooks";
import { back, beginning, forward, type Trail } from "../api/paging.ts";
import { useNow } from "../api/poll.ts";
import type { Refusal } from "../api/server.ts";
import { moment, shortId } from "../format.ts";
import { lasted, meaningOf } from "../journal/words.ts";
import { bytesOf, hexDump, preview, pretty } from "../json/pretty.ts";
import { linkTo } from "../route.ts";

/** How long ago, which goes on by itself; the exact moment when pointed at. */
export function Ago({ atMs }: { readonly atMs: number }) {
  const nowMs = useNow();
  return (
    <time dateTime={new Date(atMs).toISOString()} title={moment(atMs, nowMs)}>
      {lasted(Math.max(0, nowMs - atMs + 999))}
    </time>
  );
}

export function SessionLink({ id, whole }: { readonly id: string; readonly whole?: true }) {
  return (
    <a class="mono" href={linkTo("sessions", id)} title={id}>
      {whole ? id : shortId(id)}
    </a>
  );
}

export function ChannelLink({ name }: { readonly name: string }) {
  return (
    <a class="mono" href={linkTo("channels", name)}>
      {name}
    </a>
  );
}

/** A word of PROTOCOL.md, and its meaning when pointed at. */
export function Reason({ word }: { readonly word: string }) {
  return (
    <span class="word" title={meaningOf({ what: "lost", reason: word }) ?? ""}>
      {word}
    </span>
  );
}

export function State({ is }: { readonly is: "connected" | "away" }) {
  return (
    <span class={`state ${is}`}>
      <i aria-hidden="true" />
      <span>{is}</span>
    </span>
  );
}

/** A payload: JSON in colours, anything else as hexadecimal digits. */
export function Payload({
  payload,
  data,
}: {
  readonly payload?: unknown;
  readonly data?: string | Uint8Array | undefined;
}) {
  if (data !== undefined) {
    const bytes = bytesOf(data);
    return (
      <pre class="payload" tabIndex={0} aria-label="Payload, bytes">
        {hexDump(bytes)}
      </pre>
    );
  }
  return (
    <pre class="payload" tabIndex={0} aria-label="Payload, JSON">
      {pretty(payload ?? null).map(({ kind, text }, index) =>
        kind === "mark" ? (
          text
        ) : (
          <span key={index} class={`json-${kind}`}>
            {text}
          </span>
        ),
      )}
    </pre>
  );
}

export function payloadPreview(payload: unknown, data: string | Uint8Array | undefined): string {
  if (data === undefined) return preview(payload ?? null, 160);
  const bytes = bytesOf(data);
  const digits = [...bytes.subarray(0, 24)].map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
  return `${bytes.length} bytes: ${digits}${bytes.length > 24 ? " …" : ""}`;
}

export function Refused({ refusal }: { readonly refusal: Refusal | undefined }) {
  if (refusal === undefined) return null;
  return (
    <p class="refused" role="alert">
      <strong>{refusal.word}</strong> {refusal.message}
    </p>
  );
}

export function Empty({ children }: { readonly children: ComponentChildren }) {
  return <p class="empty">{children}</p>;
}

/** Copies a text, and says that it did. */
export function Copy({ text, what }: { readonly text: string; readonly what: string }) {
  const [isDone, setDone] = useState(false);
  useEffect(() => {
    if (!isDone) return undefined;
    const timer = setTimeout(() => setDone(false), 1500);
    return () => clearTimeout(timer);
  }, [isDone]);
  const copy = () => {
    void navigator.clipboard.writeText(text).then(
      () => setDone(true),
      () => setDone(false),
    );
  };
  return (
    <button type="button" class="small" onClick={copy} aria-label={isDone ? `${what} copied` : `Copy ${what}`}>
      {isDone ? "Copied" : "Copy"}
    </button>
  );
}

interface PagerProps {
  readonly what: string;
  readonly trail: Trail;
  /** The place behind which the next page begins. */
  readonly next: string | undefined;
  readonly go: (trail: Trail) => void;
  /** What the page shows, once it is there. */
  readonly shown: string | undefined;
}

/** The way through a list, which begins anew when something else is looked for. */
export function useTrail(wanted: string): [Trail, (trail: Trail) => void] {
  const [held, hold] = useState({ wanted, trail: beginning });
  return [held.wanted === wanted ? held.trail : beginning, (trail) => hold({ wanted, trail })];
}

/** The way through a list, a page at a time. */
export function Pager({ what, trail, next, go, shown }: PagerProps) {
  return (
    <nav class="pager" aria-label={`Pages of ${what}`}>
      <button type="button" class="small" disabled={trail.afters.length === 1} onClick={() => go(back(trail))}>
        ‹ Previous
      </button>
      <button
        type="button"
        class="small"
        disabled={next === undefined}
        onClick={() => next !== undefined && go(forward(trail, next))}
      >
        Next ›
      </button>
      <span class="muted">{shown && `Page ${trail.afters.length}, ${shown}`}</span>
    </nav>
  );
}
