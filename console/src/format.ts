/** Numbers and times for people. */

/** A count: exact up to five digits, in thousands and millions beyond. */
export function count(value: number): string {
  if (value < 100_000) return grouped.format(Math.round(value));
  return scaled(value, 1000, ["", " k", " M", " G", " T"]);
}

/** A rate: what is small is told exactly, what is big shortly. */
export function rate(value: number): string {
  if (value === 0) return "0";
  if (value < 1) return value.toFixed(2);
  if (value < 10) return value.toFixed(1);
  return count(value);
}

export function bytes(value: number): string {
  if (value < 1024) return `${Math.round(value)} B`;
  return scaled(value, 1024, [" B", " KiB", " MiB", " GiB", " TiB"]);
}

/** Time of day, with the date where it is not today. */
export function moment(atMs: number, nowMs: number): string {
  const isToday = new Date(atMs).toDateString() === new Date(nowMs).toDateString();
  return isToday ? clock.format(atMs) : dated.format(atMs);
}

export function timeOfDay(atMs: number): string {
  return clock.format(atMs);
}

/** The first digits of an id, which people can compare. */
export function shortId(id: string): string {
  return id.slice(0, 8);
}

/** `1 session`, `2 sessions`. */
export function counted(value: number, one: string, many = `${one}s`): string {
  return `${count(value)} ${value === 1 ? one : many}`;
}

function scaled(value: number, base: number, units: readonly string[]): string {
  let rest = value;
  let unit = 0;
  while (rest >= base && unit < units.length - 1) {
    rest /= base;
    unit += 1;
  }
  const digits = rest < 10 ? 2 : rest < 100 ? 1 : 0;
  return `${rest.toFixed(digits)}${units[unit] ?? ""}`;
}

const grouped = new Intl.NumberFormat("en-GB");
const clock = new Intl.DateTimeFormat("en-GB", { timeStyle: "medium" });
const dated = new Intl.DateTimeFormat("en-GB", {
  day: "numeric",
  month: "short",
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
});
