/** What a driver is made with, and what it shows. */

import type { SessionOver } from "../errors.js";
import type { SessionConfig } from "../session/config.js";
import type { CloseReason } from "../session/output.js";
import type { StateStore } from "../store/store.js";
import type { Json, Standing } from "../wire/frames.js";
import type { ReconnectPolicy } from "./reconnect.js";

/** What a driver is made with. */
export interface DriverConfig extends SessionConfig, ReconnectPolicy {
  readonly url: string;
  readonly store?: StateStore;
  readonly webSocket?: WebSocketConstructor;
  /** From the first look at the resolver to the end of the handshake. */
  readonly connectTimeoutMs: number;
  /** Items of one channel that wait to be read. */
  readonly queueCountMax: number;
  /** Bytes of the same, exceeded by one item at most. */
  readonly queueBytesMax: number;
}

/** How a request is made. */
export interface RequestOptions {
  /** How long the outcome is wanted, in milliseconds. What could not be sent by then never runs, and
   * the server stops a handler that takes longer. */
  readonly deadlineMs?: number;
  /** Cancels the request. */
  readonly signal?: AbortSignal;
}

/** A WebSocket class: the browser's, Node's from 22 on, that of `ws`, or one derived from them. */
export type WebSocketConstructor = new (url: string, protocols: string) => object;

/** What a session is doing. */
export type SessionState =
  | {
      /** The store is read, the server dialled, or its welcome awaited. */
      readonly name: "connecting";
      /** Retries since a connection last lasted. */
      readonly attempt: number;
    }
  | {
      /** The server has welcomed us. */
      readonly name: "open";
      /** What became of the session that was wanted back. */
      readonly standing: Standing;
      /** The session's public id. */
      readonly session: string;
      /** How many connections it has had. */
      readonly generation: number;
      /** Who it belongs to, if the server says so. */
      readonly principal: string | undefined;
      /** The server's name and version. */
      readonly server: string;
    }
  | {
      /** There is no connection; the session is not lost. It is dialled again. */
      readonly name: "waiting";
      /** The number of the coming attempt since a connection last lasted, from 1. */
      readonly attempt: number;
      /** When it comes, in milliseconds since 1970. */
      readonly retryAtMs: number;
      /** Why there is none: `failed` to connect, `closed` by the server, `lost` without a Close frame,
       * `suspended` with its page, or given up by this side. */
      readonly reason: "failed" | "closed" | "lost" | "suspended" | CloseReason;
      /** The code of the server's Close frame. */
      readonly code: number | undefined;
    }
  | {
      /** The session is over for this program. No state follows. */
      readonly name: "over";
      readonly error: SessionOver;
    };

/** Runs a command of the server's. What it throws is told to the server as `handler_failed`. */
export type Handler = (
  payload: Json | Uint8Array,
  command: {
    /** Its number in the session. A handler that began runs at most once for each. */
    readonly number: number;
    /** Aborted when the outcome is no longer wanted. */
    readonly signal: AbortSignal;
    /** How long the outcome is wanted, in milliseconds. */
    readonly deadlineMs: number | undefined;
  },
) => Json | Uint8Array | undefined | Promise<Json | Uint8Array | undefined>;
