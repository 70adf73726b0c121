/**
 * Sessions with a Mainstay server that outlive their WebSocket connections, for browsers and Node.
 *
 * {@link connect} makes a {@link Session}; PROTOCOL.md says what goes over the wire.
 *
 * @packageDocumentation
 */

export { connect, Session, StateEvent } from "./session.js";
export type { ConnectOptions, Limits, SessionEvents, SubscribeOptions, Timing } from "./session.js";
export { Subscription } from "./subscription.js";
export type { ChannelItem, EventItem, GapItem, OfChannel, PresenceItem, SubscribedItem } from "./subscription.js";
export type { Pending, Restored } from "./pending.js";
export { RequestError, SessionOver, SubscriptionError } from "./errors.js";
export type { RequestErrorKind, SessionOverReason } from "./errors.js";
export type { Handler, RequestOptions, SessionState, WebSocketConstructor } from "./driver/config.js";
export type { ReconnectPolicy } from "./driver/reconnect.js";
export { MemoryStore } from "./store/memory.js";
export type { StateStore } from "./store/store.js";
export type { Call, Identity, StateChange } from "./session/state.js";
export type {
  Delivery,
  Encoding,
  Json,
  Member,
  Outcome,
  Payload,
  Place,
  PresenceMode,
  Standing,
  Start,
} from "./wire/frames.js";
export type { Subscribe } from "./wire/frames.js";
export type { CloseReason } from "./session/output.js";
export type { ErrorCode, GapReason } from "./codes.js";
