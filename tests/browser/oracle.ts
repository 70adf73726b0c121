/** The channel's history by the HTTP API: a witness that no page has a part in. */
export async function history(api: string, channel: string): Promise<Event[]> {
  const events: Event[] = [];
  for (;;) {
    const after = events.at(-1)?.offset ?? 0;
    const query = new URLSearchParams({ channel, after: String(after), limit: "250" });
    const response = await fetch(`${api}/v1/history?${query}`);
    if (!response.ok) throw new Error(await response.text());
    const page = (await response.json()) as { channel: { head: number }; events: Event[] };
    events.push(...page.events);
    if (page.events.length === 0 || (events.at(-1)?.offset ?? 0) >= page.channel.head)
      return events;
  }
}

/** What somebody has said, in the order of the log. */
export function textsOf(events: readonly Event[], name: string): string[] {
  return events.flatMap(({ payload }) => {
    const { kind, text } = payload as { kind?: string; text?: string };
    const isTheirs =
      kind === "said" && text !== undefined && new RegExp(`^${name}(-\\d+)? `).test(text);
    return isTheirs ? [text] : [];
  });
}

export interface Event {
  readonly offset: number;
  readonly payload: unknown;
}
