import type { JobOutcome, Ran, Step } from "./message.ts";

/** Long commands, as far as the channels have told of them. */
export class Jobs {
  readonly #jobs = new Map<string, Job>();

  /** The last ones, newest first. */
  get last(): readonly Job[] {
    return [...this.#jobs.values()].slice(-jobCountMax).reverse();
  }

  asked(name: string, who: string, stepCount: number): void {
    this.#jobs.set(name, { name, who, step: 0, stepCount, outcome: undefined });
  }

  heard(message: Step | Ran): void {
    const before = this.#jobs.get(message.job) ?? {
      name: message.job,
      who: "",
      step: 0,
      stepCount: 0,
      outcome: undefined,
    };
    const now: Job =
      message.kind === "step"
        ? { ...before, step: Math.max(before.step, message.number), stepCount: message.stepCount }
        : { ...before, who: message.name, outcome: message.outcome };
    this.#jobs.set(message.job, now);
  }
}

export interface Job {
  readonly name: string;
  readonly who: string;
  readonly step: number;
  readonly stepCount: number;
  readonly outcome: JobOutcome | undefined;
}

const jobCountMax = 2;
