/** A channel as an event stream, which goes on exactly behind the last place after each break. */
import { Refusal, openStream, readJson, serverIsHere } from "../api/server.ts";
import { isStopped, pause } from "../stop.ts";
import type { Ear, Place } from "./follow.ts";
import { MessageReader } from "./stream.ts";

export async function followByStream(channel: string, place: Place, ear: Ear, stop: AbortSignal): Promise<void> {
  let id = `${place.epoch}:${place.offset}`;
  for (;;) {
    await serverIsHere(stop);
    if (isStopped(stop)) return;
    try {
      const query = new URLSearchParams({ channel, last_event_id: id });
      const response = await openStream(`/events?${query.toString()}`, stop);
      ear.state({ name: "live", way: "stream" });
      await read(response, (message) => {
        id = message.id;
        tell(message.data, ear);
      });
    } catch (error) {
      if (error instanceof Refusal && error.status < 500) {
        ear.state({ name: "over", why: error.message });
        return;
      }
    }
    if (isStopped(stop)) return;
    ear.state({ name: "waiting" });
    await pause(500 + Math.random() * 2000, stop);
  }
}

async function read(response: Response, take: (message: { id: string; data: string }) => void): Promise<void> {
  if (response.body === null) return;
  const messages = new MessageReader();
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    for (const message of messages.take(value)) take(message);
  }
}

function tell(data: string, ear: Ear): void {
  const frame = readJson(data) as Frame;
  if (frame.type === "gap") {
    const { from, to, reason, epoch, offset } = frame;
    ear.heard({
      type: "gap",
      from,
      reason,
      place: { epoch, offset },
      ...(typeof to === "number" && { to }),
    });
    return;
  }
  const { offset, at_ms: atMs, payload, data: bytes } = frame;
  ear.heard({ type: "event", offset, atMs, payload, ...(bytes !== undefined && { data: bytes }) });
}

type Frame =
  | { type: "event"; offset: number; at_ms: number; payload?: unknown; data?: string }
  | {
      type: "gap";
      from: number;
      to?: number | null;
      reason: string;
      epoch: string;
      offset: number;
    };
