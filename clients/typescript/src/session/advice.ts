/** What a client does when its connection was closed with a code: come back to the session, come
 * back without it, or not at all (PROTOCOL.md, "Ends"). */
export function adviceOf(code: number): "resume" | "start_fresh" | "stop" {
  if (code === 1008 || (code >= 4200 && code < 4300)) {
    return "stop";
  }
  return code >= 4100 && code < 4200 ? "start_fresh" : "resume";
}
