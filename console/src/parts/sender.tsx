/** Publishing, sending and asking: the form, and what became of it. */
import { useId, useState } from "preact/hooks";
import { hasToken, readJson } from "../api/server.ts";
import type { Draft, Kind, To } from "../send/draft.ts";
import { commandLine, curlLine, emptyDraft, freshKey, missing } from "../send/draft.ts";
import type { Outcome } from "../send/outcome.ts";
import { send } from "../send/outcome.ts";
import { remember } from "../send/sent.ts";
import { jsonFault } from "../json/place.ts";
import { Copy, Payload } from "./bits.tsx";
import { JsonEditor } from "./json_editor.tsx";

export interface SenderProps {
  readonly kinds: readonly [Kind, ...Kind[]];
  /** What is not to be chosen, because the page around it says it. */
  readonly fixed?: { readonly channel?: string; readonly session?: string };
  /** What to begin with. */
  readonly first?: Partial<Draft>;
}

export function Sender({ kinds, fixed = {}, first = {} }: SenderProps) {
  const id = useId();
  const [typed, setTyped] = useState<Draft>({ ...emptyDraft, kind: kinds[0], ...first });
  const [outcome, setOutcome] = useState<Outcome>();
  const [isUnderWay, setUnderWay] = useState(false);
  const draft = withFixed(typed, fixed);
  const set = (more: Partial<Draft>) => setTyped((before) => ({ ...before, ...more }));
  const lacks =
    missing(draft) ??
    (draft.payload.trim() !== "" && jsonFault(draft.payload) ? "The payload is no JSON yet." : undefined);

  const submit = async () => {
    if (lacks !== undefined || isUnderWay) return;
    setUnderWay(true);
    const result = await send(draft);
    setUnderWay(false);
    setOutcome(result);
    remember({ atMs: Date.now(), draft, outcome: result });
  };

  return (
    <form
      class="sender"
      onSubmit={(event) => {
        event.preventDefault();
        void submit();
      }}
      onKeyDown={(event) => {
        if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) void submit();
      }}
    >
      {kinds.length > 1 && <KindChoice id={id} kinds={kinds} kind={draft.kind} onKind={(kind) => set({ kind })} />}
      <Where id={id} draft={draft} fixed={fixed} set={set} />
      <JsonEditor label="Payload" text={draft.payload} onText={(payload) => set({ payload })} />
      {draft.kind !== "request" && (
        <div class="field">
          <div class="label-row">
            <label for={`${id}-key`}>Idempotency key</label>
            <button type="button" class="small" onClick={() => set({ key: freshKey() })}>
              New key
            </button>
          </div>
          <input
            id={`${id}-key`}
            class="mono"
            value={draft.key}
            maxLength={128}
            autocomplete="off"
            spellcheck={false}
            placeholder="none: each one sent is stored"
            onInput={(event) => set({ key: event.currentTarget.value })}
          />
        </div>
      )}
      <div class="buttons">
        <button type="submit" class="primary" disabled={lacks !== undefined || isUnderWay}>
          {LABELS[draft.kind]}
        </button>
        <span class="muted" role="status">
          {isUnderWay ? "Waiting for the answer…" : (lacks ?? "")}
        </span>
      </div>
      <div aria-live="polite">{outcome !== undefined && <Result outcome={outcome} />}</div>
      <details class="as">
        <summary>As lines for a shell</summary>
        <ShellLine what="curl" line={curlLine(draft, location.origin, hasToken())} />
        <ShellLine what="mainstay" line={commandLine(draft, location.origin)} />
      </details>
    </form>
  );
}

export function Result({ outcome }: { readonly outcome: Outcome }) {
  const { tone, text, meaning, status, tookMs, answer } = outcome;
  return (
    <div class={`outcome ${tone}`}>
      <p>
        <strong>{text}</strong> {meaning}
      </p>
      <p class="muted">
        {status === undefined ? "No answer" : `HTTP ${status}`} after {tookMs} ms
      </p>
      {answer !== undefined && <Payload payload={readJson(answer)} />}
    </div>
  );
}

interface KindChoiceProps {
  readonly id: string;
  readonly kinds: readonly Kind[];
  readonly kind: Kind;
  readonly onKind: (kind: Kind) => void;
}

function KindChoice({ id, kinds, kind, onKind }: KindChoiceProps) {
  return (
    <fieldset class="choice">
      <legend class="unseen">What to do</legend>
      {kinds.map((one) => (
        <label key={one}>
          <input type="radio" name={`${id}-kind`} checked={one === kind} onChange={() => onKind(one)} />
          <span>{LABELS[one]}</span>
        </label>
      ))}
    </fieldset>
  );
}

interface WhereProps {
  readonly id: string;
  readonly draft: Draft;
  readonly fixed: { readonly channel?: string; readonly session?: string };
  readonly set: (more: Partial<Draft>) => void;
}

function Where({ id, draft, fixed, set }: WhereProps) {
  if (draft.kind === "publish") {
    if (fixed.channel !== undefined) return null;
    return (
      <TextField
        id={`${id}-channel`}
        label="Channel"
        value={draft.channel}
        onText={(channel) => set({ channel })}
        placeholder="news"
      />
    );
  }
  if (draft.kind === "send") {
    if (fixed.session !== undefined) return null;
    return (
      <div class="pair">
        <div class="field">
          <label for={`${id}-to`}>Inbox of a</label>
          <select id={`${id}-to`} value={draft.to} onChange={(event) => set({ to: event.currentTarget.value as To })}>
            <option value="session">session</option>
            <option value="principal">principal</option>
            <option value="connection">connection</option>
          </select>
        </div>
        <TextField
          id={`${id}-target`}
          label="Which"
          value={draft.target}
          onText={(target) => set({ target })}
          placeholder={draft.to === "principal" ? "ann@example.org" : "id"}
        />
      </div>
    );
  }
  return (
    <>
      {fixed.session === undefined && (
        <TextField
          id={`${id}-session`}
          label="Session whose client is asked"
          value={draft.session}
          onText={(session) => set({ session })}
          placeholder="id"
        />
      )}
      <div class="pair wide-first">
        <TextField
          id={`${id}-command`}
          label="Command"
          value={draft.command}
          onText={(command) => set({ command })}
          placeholder="reload"
        />
        <TextField
          id={`${id}-deadline`}
          label="Deadline, ms"
          value={draft.deadlineMs}
          onText={(deadlineMs) => set({ deadlineMs })}
          placeholder="30000"
        />
      </div>
    </>
  );
}

interface TextFieldProps {
  readonly id: string;
  readonly label: string;
  readonly value: string;
  readonly placeholder: string;
  readonly onText: (text: string) => void;
}

function TextField({ id, label, value, placeholder, onText }: TextFieldProps) {
  return (
    <div class="field">
      <label for={id}>{label}</label>
      <input
        id={id}
        class="mono"
        value={value}
        placeholder={placeholder}
        autocomplete="off"
        spellcheck={false}
        onInput={(event) => onText(event.currentTarget.value.trim())}
      />
    </div>
  );
}

function ShellLine({ what, line }: { readonly what: string; readonly line: string | undefined }) {
  if (line === undefined) return <p class="muted">{what}: the command line has nothing for asking a client.</p>;
  return (
    <div class="shell">
      <pre tabIndex={0} aria-label={`As ${what}`}>
        {line}
      </pre>
      <Copy text={line} what={`the line for ${what}`} />
    </div>
  );
}

function withFixed(typed: Draft, { channel, session }: { channel?: string; session?: string }): Draft {
  return {
    ...typed,
    ...(channel !== undefined && { channel }),
    ...(session !== undefined && { session, to: "session" as const, target: session }),
  };
}

const LABELS: Readonly<Record<Kind, string>> = { publish: "Publish", send: "Send", request: "Ask" };
