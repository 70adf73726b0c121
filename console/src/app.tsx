/** The page: what is above every view, and the view. */
import { useEffect, useRef, useState } from "preact/hooks";
import { useNow } from "./api/poll.ts";
import { forgetToken, hasToken, retryNow, standing, unlock } from "./api/server.ts";
import { timeOfDay } from "./format.ts";
import { lasted } from "./journal/words.ts";
import { Dialog } from "./parts/dialog.tsx";
import { linkTo, route } from "./route.ts";
import { PLACES, isHelpOpen } from "./shortcuts.ts";
import { server } from "./stats/live.ts";
import type { Theme } from "./theme.ts";
import { choose, theme } from "./theme.ts";
import { Channel } from "./views/channel.tsx";
import { Channels } from "./views/channels.tsx";
import { Composer } from "./views/composer.tsx";
import { Overview } from "./views/overview.tsx";
import { Session } from "./views/session.tsx";
import { Sessions } from "./views/sessions.tsx";

export function App() {
  const { view, subject } = route.value;
  const place = PLACES.find((one) => one.view === view);
  const main = useRef<HTMLElement>(null);
  const title = subject ?? place?.title ?? "Nothing here";
  const isFirst = useRef(true);
  useEffect(() => {
    document.title = `${title} · Mainstay`;
    // Whoever goes somewhere with the keyboard, or hears the page, is there then.
    if (!isFirst.current) main.current?.focus({ preventScroll: true });
    if (!isFirst.current) scrollTo({ top: 0 });
    isFirst.current = false;
  }, [title]);
  return (
    <>
      <a
        class="skip"
        href="#main"
        onClick={(event) => {
          // The address is the view's.
          event.preventDefault();
          main.current?.focus();
        }}
      >
        Skip to the content
      </a>
      <Header view={view} />
      <Banner />
      <main id="main" tabIndex={-1} ref={main}>
        <View />
      </main>
      {isHelpOpen.value && <Help />}
      {standing.value.name === "locked" && <TokenDialog hadToken={standing.value.hadToken} />}
    </>
  );
}

function View() {
  const { view, subject } = route.value;
  if (view === "overview") return <Overview />;
  if (view === "channels") return subject === undefined ? <Channels /> : <Channel key={subject} name={subject} />;
  if (view === "sessions") return subject === undefined ? <Sessions /> : <Session key={subject} id={subject} />;
  if (view === "composer") return <Composer />;
  return (
    <div class="heading">
      <h1>Nothing here</h1>
      <p>
        <a href={linkTo("overview")}>Go to the overview</a>
      </p>
    </div>
  );
}

function Header({ view }: { readonly view: string }) {
  return (
    <header>
      <a class="brand" href={linkTo("overview")}>
        Mainstay
      </a>
      <nav aria-label="Views">
        {PLACES.map(({ view: name, title }) => (
          <a key={name} href={linkTo(name)} aria-current={name === view ? "page" : undefined}>
            {title}
          </a>
        ))}
      </nav>
      <div class="status">
        <ServerStatus />
        <ThemeChoice />
        {hasToken() && standing.value.name !== "locked" && (
          <button type="button" class="small" onClick={forgetToken} title="Forget the token of this tab">
            Lock
          </button>
        )}
        <button
          type="button"
          class="small help-button"
          aria-label="Keys and help"
          onClick={() => (isHelpOpen.value = true)}
        >
          ?
        </button>
      </div>
    </header>
  );
}

function ServerStatus() {
  const nowMs = useNow();
  const about = server.value;
  const { name } = standing.value;
  const isHere = name === "here" && about !== undefined;
  return (
    <p class={`server ${isHere ? "here" : "not-here"}`}>
      <i aria-hidden="true" />
      {about === undefined ? (
        <span>{name === "away" ? "away" : "…"}</span>
      ) : (
        <>
          <span class="mono">{about.version}</span>
          <span class="uptime muted">{name === "here" ? `up ${lasted(nowMs - about.started_at_ms)}` : "away"}</span>
        </>
      )}
    </p>
  );
}

function ThemeChoice() {
  const next: Readonly<Record<Theme, Theme>> = { system: "light", light: "dark", dark: "system" };
  const chosen = theme.value;
  return (
    <button
      type="button"
      class="small theme"
      onClick={() => choose(next[chosen])}
      aria-label={`Colours: ${THEMES[chosen].name}. Change`}
      title={`Colours: ${THEMES[chosen].name}`}
    >
      {THEMES[chosen].sign}
    </button>
  );
}

/** One calm line; what the page knows stays where it is. */
function Banner() {
  const nowMs = useNow();
  const now = standing.value;
  const isAway = now.name === "away";
  return (
    <div class="banner-place" role="status">
      {isAway && (
        <div class="banner">
          <span>The server has not answered since {timeOfDay(now.sinceMs)}. What you see is from then.</span>
          <span class="muted" aria-hidden="true">
            {now.retryAtMs > nowMs ? `Asking again in ${Math.ceil((now.retryAtMs - nowMs) / 1000)} s` : "Asking…"}
          </span>
          <button type="button" class="small" onClick={retryNow}>
            Ask now
          </button>
        </div>
      )}
    </div>
  );
}

function TokenDialog({ hadToken }: { readonly hadToken: boolean }) {
  const [token, setToken] = useState("");
  return (
    <Dialog title="This server's API wants a token" onClose={() => undefined}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          if (token !== "") unlock(token.trim());
        }}
      >
        {hadToken && (
          <p class="refused" role="alert">
            The server does not take this token.
          </p>
        )}
        <div class="field">
          <label for="token">Its admin_token</label>
          <input
            id="token"
            type="password"
            class="mono"
            autocomplete="off"
            value={token}
            autofocus
            onInput={(event) => setToken(event.currentTarget.value)}
          />
        </div>
        <p class="muted">It is kept in this tab until the tab is closed, and sent to this server only.</p>
        <div class="buttons">
          <button type="submit" class="primary" disabled={token.trim() === ""}>
            Open
          </button>
        </div>
      </form>
    </Dialog>
  );
}

function Help() {
  return (
    <Dialog title="Keys" onClose={() => (isHelpOpen.value = false)}>
      <dl class="keys">
        {PLACES.map(({ key, title }) => (
          <div key={key}>
            <dt>
              <kbd>g</kbd> <kbd>{key}</kbd>
            </dt>
            <dd>{title}</dd>
          </div>
        ))}
        <div>
          <dt>
            <kbd>/</kbd>
          </dt>
          <dd>Search in a list</dd>
        </div>
        <div>
          <dt>
            <kbd>Ctrl</kbd> <kbd>Enter</kbd>
          </dt>
          <dd>Send what is composed</dd>
        </div>
        <div>
          <dt>
            <kbd>?</kbd>
          </dt>
          <dd>This help</dd>
        </div>
        <div>
          <dt>
            <kbd>Esc</kbd>
          </dt>
          <dd>Close</dd>
        </div>
      </dl>
      <div class="buttons">
        <button type="button" onClick={() => (isHelpOpen.value = false)}>
          Close
        </button>
      </div>
    </Dialog>
  );
}

const THEMES: Readonly<Record<Theme, { name: string; sign: string }>> = {
  system: { name: "as the system", sign: "◐" },
  light: { name: "light", sign: "☀" },
  dark: { name: "dark", sign: "☾" },
};
