/**
 * Where a text stops being JSON, and what is wrong there, in words that help whoever types it.
 * Browsers tell this in different words or not at all.
 */

export interface JsonFault {
  /** 0 is the first character. */
  readonly index: number;
  /** 1 is the first line. */
  readonly line: number;
  /** 1 is the first column. */
  readonly column: number;
  readonly message: string;
}

/** The first fault of a text that should be JSON (RFC 8259). */
export function jsonFault(text: string): JsonFault | undefined {
  const reader = new Reader(text);
  try {
    reader.document();
    return undefined;
  } catch (fault) {
    if (!(fault instanceof Fault)) throw fault;
    return { index: fault.index, ...place(text, fault.index), message: fault.message };
  }
}

/** Line and column of a character, both from 1. */
export function place(text: string, index: number): { line: number; column: number } {
  const before = text.slice(0, index);
  return { line: before.split("\n").length, column: index - before.lastIndexOf("\n") };
}

class Fault extends Error {
  readonly index: number;

  constructor(index: number, message: string) {
    super(message);
    this.index = index;
  }
}

class Reader {
  readonly #text: string;
  #index = 0;

  constructor(text: string) {
    this.#text = text;
  }

  document(): void {
    this.#blank();
    this.#value(0);
    this.#blank();
    if (this.#index < this.#text.length) {
      this.#fail("the value ends before this; nothing may follow");
    }
  }

  #value(depth: number): void {
    if (depth > DEPTH_MAX) this.#fail(`nested more than ${DEPTH_MAX} deep`);
    const next = this.#peek();
    if (next === "{") this.#object(depth);
    else if (next === "[") this.#array(depth);
    else if (next === '"') this.#string();
    else if (next === "-" || isDigit(next)) this.#number();
    else this.#word();
  }

  #object(depth: number): void {
    const opened = this.#index;
    this.#index += 1;
    this.#blank();
    if (this.#take("}")) return;
    for (;;) {
      this.#blank();
      if (this.#peek() !== '"') this.#notAName(opened);
      this.#string();
      this.#blank();
      if (!this.#take(":")) this.#fail("a colon is missing between the name and its value");
      this.#blank();
      this.#value(depth + 1);
      this.#blank();
      if (this.#take("}")) return;
      if (!this.#take(",")) this.#unfinished(opened, "{", "}");
      this.#blank();
      if (this.#peek() === "}") this.#fail("a comma before } promises one more name");
    }
  }

  #array(depth: number): void {
    const opened = this.#index;
    this.#index += 1;
    this.#blank();
    if (this.#take("]")) return;
    for (;;) {
      this.#blank();
      this.#value(depth + 1);
      this.#blank();
      if (this.#take("]")) return;
      if (!this.#take(",")) this.#unfinished(opened, "[", "]");
      this.#blank();
      if (this.#peek() === "]") this.#fail("a comma before ] promises one more value");
    }
  }

  #string(): void {
    const opened = this.#index;
    this.#index += 1;
    for (;;) {
      const next = this.#peek();
      if (next === "" || next === "\n") {
        this.#index = opened;
        this.#fail('this text has no closing "');
      }
      if (next < " ") this.#fail("a control character in a text is written as \\u00XX, a tab as \\t");
      this.#index += 1;
      if (next === '"') return;
      if (next === "\\") this.#escape();
    }
  }

  #escape(): void {
    const next = this.#peek();
    if (next === "u") {
      const digits = this.#text.slice(this.#index + 1, this.#index + 5);
      if (!/^[0-9a-fA-F]{4}$/.test(digits)) this.#fail("\\u needs four hexadecimal digits");
      this.#index += 5;
      return;
    }
    if (next === "" || !'"\\/bfnrt'.includes(next)) {
      this.#index -= 1;
      this.#fail(`\\${next} is no escape; a backslash itself is written \\\\`);
    }
    this.#index += 1;
  }

  #number(): void {
    const [taken = ""] = /^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?/.exec(this.#text.slice(this.#index)) ?? [];
    const began = this.#index;
    this.#index += taken.length;
    const next = this.#peek();
    if (taken === "") this.#fail("a minus needs digits behind it");
    if (isDigit(next)) {
      this.#index = began;
      this.#fail("a number does not begin with 0");
    }
    if (next === ".") this.#fail("a point needs digits behind it");
    if (next === "e" || next === "E") this.#fail("an exponent needs digits behind it");
  }

  #word(): void {
    const [taken = ""] = /^[\p{L}\p{N}_$]+/u.exec(this.#text.slice(this.#index)) ?? [];
    if (WORDS.has(taken)) {
      this.#index += taken.length;
      return;
    }
    const next = this.#peek();
    if (next === "") this.#fail("a value is missing at the end");
    if (next === "'") this.#fail('texts stand in double quotes: "…"');
    if (next === "/") this.#fail("JSON has no comments");
    if (next === "," || next === "}" || next === "]" || next === ":") {
      this.#fail(`a value is missing before ${next}`);
    }
    if (next === "+" || next === ".") this.#fail("a number begins with a digit or a minus");
    const lower = taken.toLowerCase();
    if (WORDS.has(lower)) this.#fail(`${taken} is written ${lower}`);
    if (taken === "undefined" || taken === "NaN" || taken === "Infinity" || taken === "None") {
      this.#fail(`JSON has no ${taken}; null may be what is meant`);
    }
    if (taken !== "") this.#fail(`a text stands in double quotes: "${taken}"`);
    this.#fail(`${next} begins no value`);
  }

  #notAName(opened: number): never {
    const next = this.#peek();
    if (next === "") return this.#unfinished(opened, "{", "}");
    if (next === "'") return this.#fail('names stand in double quotes: "…"');
    if (next === ",") return this.#fail("a name is missing before this comma");
    if (next === "/") return this.#fail("JSON has no comments");
    const [taken = next] = /^[\p{L}\p{N}_$-]+/u.exec(this.#text.slice(this.#index)) ?? [];
    return this.#fail(`a name stands in double quotes: "${taken}"`);
  }

  #unfinished(opened: number, bracket: string, closing: string): never {
    const at = place(this.#text, opened);
    return this.#fail(
      this.#peek() === ""
        ? `${closing} is missing for the ${bracket} in line ${at.line}, column ${at.column}`
        : `a comma or ${closing} is missing before this`,
    );
  }

  #blank(): void {
    while (" \t\n\r".includes(this.#peek() || "x")) this.#index += 1;
  }

  #take(character: string): boolean {
    if (this.#peek() !== character) return false;
    this.#index += 1;
    return true;
  }

  #peek(): string {
    return this.#text.charAt(this.#index);
  }

  #fail(message: string): never {
    throw new Fault(this.#index, message);
  }
}

function isDigit(character: string): boolean {
  return character >= "0" && character <= "9";
}

const WORDS: ReadonlySet<string> = new Set(["true", "false", "null"]);
/** Far beyond what anybody types, and far from the end of any browser's stack. */
const DEPTH_MAX = 500;
