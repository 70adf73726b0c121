/** What is wrong with a message: no JSON object or Protobuf message of the schema; a frame of no
 * type that this side may send; or a field that is missing or holds what it may not. */
export type Wrong = "syntax" | "unknown_type" | "content";

/** The peer misbehaved: what came is no frame, or not one that it may send. Its message is a {@link Wrong}. */
export class Malformed extends Error {}

export function refuse(wrong: Wrong = "content"): never {
  throw new Malformed(wrong);
}
