/** What the HTTP API says, as far as the console reads it. `/openapi.json` of a server has it all. */

export interface Stats {
  started_at_ms: number;
  version: string;
}

/** Samples by columns: the n-th of each column belongs to the n-th of `at_ms`. */
export interface HistoryColumns {
  interval_ms: number;
  at_ms: number[];
  counters: Record<string, number[]>;
  gauges: Record<string, number[]>;
  /** Ends by reason; only reasons that occurred. */
  ends: Record<string, number[]>;
}

export interface Channel {
  name: string;
  epoch: string;
  first: number;
  head: number;
  bytes: number;
  subscriber_count: number;
  member_count: number;
}

export interface ChannelList {
  channels: Channel[];
  next?: string;
}

export interface LoggedEvent {
  offset: number;
  at_ms: number;
  payload?: unknown;
  /** Base64, of what is not JSON. */
  data?: string;
}

export interface History {
  channel: Channel;
  events: LoggedEvent[];
  next?: number;
}

export interface Member {
  session: string;
  principal?: string;
}

export interface SubscriptionView {
  channel: string;
  delivery: string;
  presence: string;
  acknowledged: number;
  lag: number;
}

export interface LastEnd {
  reason: string;
  at_ms: number;
}

export interface SessionView {
  session: string;
  principal?: string;
  state: "connected" | "away";
  connection?: string;
  expires_at_ms?: number;
  client: string;
  generation: number;
  since_ms: number;
  resumes: number;
  accepted: number;
  reply_count: number;
  command_count: number;
  subscriptions: SubscriptionView[];
  behind: boolean;
  /** Known since the server started. */
  last_end?: LastEnd;
}

export interface SessionList {
  sessions: SessionView[];
  next?: string;
}

export interface Entry {
  seq: number;
  at_ms: number;
  session?: string;
  connection?: string;
  what: string;
  reason?: string;
  channel?: string;
  detail?: string;
}

export interface Journal {
  entries: Entry[];
  next?: number;
  forgotten_up_to: number;
}

export interface ServerView {
  version: string;
  endpoints: Endpoint[];
}

export interface Endpoint {
  path: string;
  port: number;
  is_tls: boolean;
}

export interface ProblemBody {
  error: string;
  message: string;
}
