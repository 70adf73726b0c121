// What can be done to the demo, as data, and storms of it from a seed.

/**
 * @typedef {{ kind: "cut", how: "rst" | "fin", lastingMs: number }
 *   | { kind: "stall", lastingMs: number }
 *   | { kind: "half_open", lastingMs: number }
 *   | { kind: "slow", lastingMs: number }
 *   | { kind: "kill", lastingMs: number }} Fault
 */

/** @type {Record<Fault["kind"], Fault>} */
export const usual = {
  cut: { kind: "cut", how: "rst", lastingMs: 5_000 },
  stall: { kind: "stall", lastingMs: 6_000 },
  half_open: { kind: "half_open", lastingMs: 20_000 },
  slow: { kind: "slow", lastingMs: 15_000 },
  kill: { kind: "kill", lastingMs: 3_000 },
};

/**
 * A storm: faults, each with the time to wait before it.
 * @param {number} seed
 * @param {number} lastingMs
 * @returns {{ afterMs: number, fault: Fault }[]}
 */
export function storm(seed, lastingMs) {
  const random = randomFrom(seed);
  const storm = [];
  for (let atMs = 0; atMs < lastingMs;) {
    const afterMs = between(random, 300, 1_800);
    storm.push({ afterMs, fault: anyFault(random) });
    atMs += afterMs;
  }
  return storm;
}

/**
 * @param {() => number} random
 * @returns {Fault}
 */
export function anyFault(random) {
  const draw = random();
  if (draw < 0.3) return { kind: "cut", how: "rst", lastingMs: between(random, 0, 900) };
  if (draw < 0.55) return { kind: "cut", how: "fin", lastingMs: between(random, 0, 900) };
  if (draw < 0.75) return { kind: "stall", lastingMs: between(random, 300, 1_500) };
  if (draw < 0.87) return { kind: "half_open", lastingMs: between(random, 800, 2_500) };
  return { kind: "kill", lastingMs: between(random, 100, 900) };
}

/**
 * @param {() => number} random
 * @param {number} least
 * @param {number} most
 */
export function between(random, least, most) {
  return Math.floor(least + random() * (most - least + 1));
}

/**
 * Numbers from 0 to below 1, the same ones for the same seed (an xorshift of 32 bits).
 * @param {number} seed
 * @returns {() => number}
 */
export function randomFrom(seed) {
  // Small seeds that lie side by side would begin alike, and zero would stay zero.
  let state = Math.imul(seed ^ 0x9e3779b9, 0x85ebca6b) >>> 0 || 1;
  const next = () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    state >>>= 0;
    return state / 2 ** 32;
  };
  for (let turn = 0; turn < 8; turn += 1) next();
  return next;
}
