import type { ChannelItem } from "../subscription.js";
import type { Payload } from "../wire/frames.js";
import { valueOf } from "../wire/payload.js";

/** A frame under the names of the API, with the value of its payload. */
export function itemOf(frame: object): ChannelItem {
  const fields = Object.entries(frame).map(([name, value]: [string, unknown]) =>
    name === "payload"
      ? ["data" in (value as Payload) ? "data" : name, valueOf(value as Payload)]
      : [name.replace(/_(.)/g, (_, letter: string) => letter.toUpperCase()), value],
  );
  return Object.fromEntries(fields) as ChannelItem;
}
