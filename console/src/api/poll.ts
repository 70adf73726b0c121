/** Asking again and again, for as long as somebody looks. */
import { useCallback, useEffect, useState } from "preact/hooks";
import { isStopped, pause } from "../stop.ts";
import { NoAnswer, type Question, Refusal, ask, serverIsHere } from "./server.ts";

export interface Answer<T> {
  /** The newest answer. It stays while the server is away. */
  readonly data: T | undefined;
  /** What the server said no to, if the newest answer was no. */
  readonly refusal: Refusal | undefined;
  /** Asks again now. */
  readonly again: () => void;
}

/** What `path` answers, asked for anew every so often. `undefined` asks nothing; `asking` is always the same. */
export function useAnswer<T>(
  path: string | undefined,
  everyMs: number,
  asking: (path: string, question: Question) => Promise<T> = ask,
): Answer<T> {
  const [state, setState] = useState<{ path?: string; data?: T; refusal?: Refusal }>({});
  const [round, setRound] = useState(0);
  useEffect(() => {
    if (path === undefined) return undefined;
    return poll(everyMs, async (signal) => {
      try {
        const data = await asking(path, { signal });
        if (!signal.aborted) setState({ path, data });
      } catch (error) {
        if (!(error instanceof Refusal)) throw error;
        if (!signal.aborted) setState((before) => ({ ...before, path, refusal: error }));
      }
    });
  }, [path, everyMs, round, asking]);
  const again = useCallback(() => setRound((before) => before + 1), []);
  return { data: state.data, refusal: state.refusal, again };
}

/** Does the work every so often until it is told to stop; not while nobody sees it or the server is away. */
export function poll(everyMs: number, work: (signal: AbortSignal) => Promise<void>): () => void {
  const stop = new AbortController();
  const { signal } = stop;
  const loop = async () => {
    while (!signal.aborted) {
      await serverIsHere(signal);
      await somebodyLooks(signal);
      if (isStopped(signal)) return;
      const beganMs = performance.now();
      try {
        await work(signal);
      } catch (error) {
        if (isStopped(signal)) return;
        if (!(error instanceof NoAnswer || error instanceof Refusal)) throw error;
      }
      // Ticks keep their distance however long an answer took.
      await pause(Math.max(everyMs / 4, everyMs - (performance.now() - beganMs)), signal);
    }
  };
  void loop();
  return () => stop.abort();
}

/** Now, again every second: for times that go on. */
export function useNow(everyMs = 1000): number {
  const [nowMs, setNowMs] = useState(Date.now());
  useEffect(() => {
    const timer = setInterval(() => setNowMs(Date.now()), everyMs);
    return () => clearInterval(timer);
  }, [everyMs]);
  return nowMs;
}

async function somebodyLooks(signal: AbortSignal): Promise<void> {
  if (!document.hidden) return;
  await new Promise<void>((resolve) => {
    const look = () => {
      if (!document.hidden) resolve();
    };
    document.addEventListener("visibilitychange", look, { signal });
    signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
