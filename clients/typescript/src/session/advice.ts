/** What a client does when its connection was closed with a code: come back to the session, come
 * back without it, or not at all (PROTOCOL.md, "Ends"). */
export function adviceOf(code: number | undefined): "resume" | "start_fresh" | "stop" {
  const family = Math.floor((code ?? 0) / 100);
  return code === 1008 || family === 42 ? "stop" : family === 41 ? "start_fresh" : "resume";
}
