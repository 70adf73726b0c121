/** What is wrong with a message: no JSON object or Protobuf message of the schema; a frame of no
 * type that this side may send; a field that is missing, repeated or holds what it may not; or a
 * well-formed frame for a name that no channel can have. */
export type Wrong = "syntax" | "unknown_type" | "content" | "invalid_channel";

/** The peer misbehaved: what came is no frame, or not one that it may send. */
export class Malformed extends Error {
  /** The frame's number, where it has one and that could be made out. */
  number?: number;

  constructor(
    readonly wrong: Wrong,
    message = "",
  ) {
    super(message);
  }
}
