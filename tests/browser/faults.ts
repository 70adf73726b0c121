import { anyFault, between, randomFrom } from "../../examples/pull-the-plug/server/fault.js";

/** Something that is done to the network, the server or a tab. Times are in milliseconds. */
export type Step =
  | { readonly kind: "plug"; readonly fault: ReturnType<typeof anyFault> }
  | { readonly kind: "offline"; readonly who: number; readonly lastingMs: number }
  | { readonly kind: "freeze"; readonly who: number; readonly lastingMs: number }
  | { readonly kind: "reload"; readonly who: number }
  | { readonly kind: "duplicate"; readonly who: number; readonly lastingMs: number };

/** Faults with the pauses before them; every kind is among twelve in a row. */
export function script(
  seed: number,
  count: number,
  personCount: number,
): [pauseMs: number, Step][] {
  const random = randomFrom(seed);
  const steps: [number, Step][] = [];
  while (steps.length < count) {
    const who = () => between(random, 0, personCount - 1);
    const dozen: Step[] = [
      ...(["cut", "cut", "stall", "half_open", "kill"] as const).map((kind): Step => ({
        kind: "plug",
        fault: faultOf(kind, random),
      })),
      { kind: "plug", fault: anyFault(random) },
      { kind: "offline", who: who(), lastingMs: between(random, 200, 1_500) },
      { kind: "freeze", who: who(), lastingMs: between(random, 200, 2_000) },
      { kind: "freeze", who: who(), lastingMs: between(random, 200, 800) },
      { kind: "reload", who: who() },
      { kind: "reload", who: who() },
      { kind: "duplicate", who: who(), lastingMs: between(random, 200, 1_500) },
    ];
    for (const step of shuffled(dozen, random)) steps.push([between(random, 0, 700), step]);
  }
  return steps.slice(0, count);
}

function faultOf(kind: ReturnType<typeof anyFault>["kind"], random: () => number) {
  for (;;) {
    const fault = anyFault(random);
    if (fault.kind === kind) return fault;
  }
}

function shuffled<T>(items: readonly T[], random: () => number): T[] {
  const left = [...items];
  const drawn: T[] = [];
  while (left.length > 0) drawn.push(...left.splice(between(random, 0, left.length - 1), 1));
  return drawn;
}
