/**
 * Hearing a channel live from a place on: over a session of the TypeScript client, or where the
 * WebSocket endpoint does not let this page in, as an event stream of the API.
 */
import type { ServerView } from "../api/shapes.ts";
import { ask } from "../api/server.ts";
import { followBySession } from "./session.ts";
import { followByStream } from "./stream_follow.ts";

export interface Place {
  readonly epoch: string;
  readonly offset: number;
}

export type Heard =
  | {
      readonly type: "event";
      readonly offset: number;
      readonly atMs: number;
      readonly payload?: unknown;
      /** Base64, or the bytes themselves, of what is not JSON. */
      readonly data?: string | Uint8Array;
    }
  | {
      readonly type: "gap";
      readonly from: number;
      readonly to?: number;
      readonly reason: string;
      readonly place: Place;
    };

export type Following =
  | { readonly name: "connecting" }
  | { readonly name: "live"; readonly way: "session"; readonly session: string }
  | { readonly name: "live"; readonly way: "stream" }
  | { readonly name: "waiting" }
  | { readonly name: "over"; readonly why: string };

export interface Ear {
  readonly heard: (heard: Heard) => void;
  readonly state: (state: Following) => void;
}

/** Ends with `stop`. */
export async function follow(channel: string, place: Place, ear: Ear, stop: AbortSignal): Promise<void> {
  ear.state({ name: "connecting" });
  const address = await endpoint(stop);
  // The stream goes on behind what the session has told already.
  let reached = place;
  const noting: Ear = {
    ...ear,
    heard: (heard) => {
      reached = heard.type === "event" ? { epoch: reached.epoch, offset: heard.offset } : heard.place;
      ear.heard(heard);
    },
  };
  if (address !== undefined && (await followBySession(address, channel, place, noting, stop)) === "stopped") return;
  if (!stop.aborted) await followByStream(channel, reached, noting, stop);
}

async function endpoint(stop: AbortSignal): Promise<string | undefined> {
  try {
    const { endpoints } = await ask<ServerView>("/v1/server", { signal: stop });
    const [first] = endpoints;
    if (first === undefined) return undefined;
    return `${first.is_tls ? "wss" : "ws"}://${location.hostname}:${first.port}${first.path}`;
  } catch {
    return undefined;
  }
}
