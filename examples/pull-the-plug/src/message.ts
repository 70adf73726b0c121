/** What is said on the channels of this demo, and reading what others said. */

/** Where people talk. */
export const roomChannel = "plug:room";
/** Where long commands tell how far they are. */
export const progressChannel = "plug:progress";

export type Message = Joined | Said | Ran | Step | Foreign;

/** Every message of a page or a handler has an author and the author's own count: 1, 2, 3 … */
interface Numbered {
  readonly author: string;
  readonly number: number;
}

/** A page is there, under a name; said again when its name or its session changes. */
export interface Joined extends Numbered {
  readonly kind: "joined";
  readonly name: string;
  readonly session: string;
}

export interface Said extends Numbered {
  readonly kind: "said";
  readonly name: string;
  readonly text: string;
}

/** What became of a long command, told by the page that asked for it. */
export interface Ran extends Numbered {
  readonly kind: "ran";
  readonly name: string;
  readonly job: string;
  readonly outcome: JobOutcome;
}

export type JobOutcome = "done" | "failed" | "cancelled" | "never ran" | "unknown";

/** A long command has come so far; told by the handler program. */
export interface Step extends Numbered {
  readonly kind: "step";
  readonly job: string;
  readonly stepCount: number;
}

/** Somebody without a count, such as a shell. */
export interface Foreign {
  readonly kind: "foreign";
  readonly author?: undefined;
  readonly number?: undefined;
  readonly text: string;
}

/** Anybody may publish anything: what is none of ours is shown as it is. */
export function readMessage(payload: unknown): Message {
  const foreign: Foreign = {
    kind: "foreign",
    text: typeof payload === "string" ? payload : JSON.stringify(payload ?? null),
  };
  if (typeof payload !== "object" || payload === null) return foreign;
  const message = payload as Record<string, unknown>;
  const texts = {
    joined: ["name", "session"],
    said: ["name", "text"],
    ran: ["name", "job", "outcome"],
  };
  const isCounted =
    typeof message.author === "string" &&
    Number.isSafeInteger(message.number) &&
    (message.number as number) > 0;
  const { kind } = message;
  if (!isCounted || typeof kind !== "string") return foreign;
  if (kind === "step") {
    const isStep = typeof message.job === "string" && typeof message.stepCount === "number";
    return isStep ? (payload as Step) : foreign;
  }
  const needed = kind in texts ? texts[kind as keyof typeof texts] : undefined;
  const isWhole = needed?.every((field) => typeof message[field] === "string") === true;
  return isWhole ? (payload as Joined | Said | Ran) : foreign;
}
