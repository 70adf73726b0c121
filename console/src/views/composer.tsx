import { useState } from "preact/hooks";
import { useNow } from "../api/poll.ts";
import { moment } from "../format.ts";
import { Empty, Payload } from "../parts/bits.tsx";
import { Result, Sender } from "../parts/sender.tsx";
import { readJson } from "../api/server.ts";
import { route } from "../route.ts";
import type { Draft, Kind } from "../send/draft.ts";
import { titleOf } from "../send/draft.ts";
import type { Sent } from "../send/sent.ts";
import { forgetSent, sent } from "../send/sent.ts";

export function Composer() {
  const { query } = route.value;
  const [first, setFirst] = useState<Partial<Draft>>(() => fromQuery(query));
  const [round, setRound] = useState(0);
  const again = (draft: Draft) => {
    setFirst(draft);
    setRound(round + 1);
    scrollTo({ top: 0 });
  };
  return (
    <>
      <div class="heading">
        <h1>Composer</h1>
        <p class="muted">Ctrl-Enter sends</p>
      </div>
      <div class="columns">
        <section class="panel pad" aria-label="Compose">
          <Sender key={round} kinds={["publish", "send", "request"]} first={first} />
        </section>
        <section class="panel" aria-labelledby="sent-heading">
          <div class="panel-head">
            <h2 id="sent-heading">Sent from this tab</h2>
            {sent.value.length > 0 && (
              <button type="button" class="small" onClick={forgetSent}>
                Forget
              </button>
            )}
          </div>
          {sent.value.length === 0 ? (
            <Empty>Nothing yet.</Empty>
          ) : (
            <ul class="sent">
              {sent.value.map((one) => (
                <SentItem key={one.atMs} one={one} onAgain={() => again(one.draft)} />
              ))}
            </ul>
          )}
        </section>
      </div>
    </>
  );
}

function SentItem({ one, onAgain }: { readonly one: Sent; readonly onAgain: () => void }) {
  const nowMs = useNow(60_000);
  const { draft, outcome, atMs } = one;
  return (
    <li>
      <details>
        <summary>
          <time class="muted">{moment(atMs, nowMs)}</time>
          <span class="clip">{titleOf(draft)}</span>
          <span class={`verdict-word ${outcome.tone}`}>{VERDICTS[outcome.tone]}</span>
        </summary>
        <Payload payload={readJson(draft.payload.trim() || "null")} />
        <Result outcome={outcome} />
        <button type="button" class="small" onClick={onAgain}>
          Put it into the form
        </button>
      </details>
    </li>
  );
}

function fromQuery(query: URLSearchParams): Partial<Draft> {
  const kind = query.get("kind");
  return {
    ...(isKind(kind) && { kind }),
    channel: query.get("channel") ?? "",
    target: query.get("session") ?? "",
    session: query.get("session") ?? "",
  };
}

function isKind(text: string | null): text is Kind {
  return text === "publish" || text === "send" || text === "request";
}

const VERDICTS = { good: "done", bad: "failed", unknown: "unknown" } as const;
