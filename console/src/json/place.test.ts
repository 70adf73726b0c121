import { describe, expect, it } from "vitest";
import { jsonFault } from "./place.ts";

describe("what is JSON", () => {
  it.each([
    '{"a": [1, -2.5e+3, 0, "x\\u00e9\\n", true, false, null, {}], "b": []}',
    ' "alone" ',
    "0",
    "-0.0",
    "[[[[]]]]",
    "\r\n\t1 ",
  ])("%s", (text) => {
    expect(jsonFault(text)).toBeUndefined();
    expect(() => JSON.parse(text) as unknown).not.toThrow();
  });
});

describe("what is not, and where", () => {
  it.each([
    ["", 1, 1, "a value is missing at the end"],
    ['{"a": 1,}', 1, 9, "a comma before } promises one more name"],
    ["[1, 2,\n]", 2, 1, "a comma before ] promises one more value"],
    ["{'a': 1}", 1, 2, 'names stand in double quotes: "…"'],
    ["{\"a\": 'b'}", 1, 7, 'texts stand in double quotes: "…"'],
    ["{a: 1}", 1, 2, 'a name stands in double quotes: "a"'],
    ['{\n  "a" 1\n}', 2, 7, "a colon is missing between the name and its value"],
    ['{\n  "a": 1\n  "b": 2\n}', 3, 3, "a comma or } is missing before this"],
    ['{"a": [1, 2', 1, 12, "] is missing for the [ in line 1, column 7"],
    ['\n{"a": {', 2, 8, "} is missing for the { in line 2, column 7"],
    ['["open]', 1, 2, 'this text has no closing "'],
    ['"two\nlines"', 1, 1, 'this text has no closing "'],
    ['"\\x"', 1, 2, "\\x is no escape; a backslash itself is written \\\\"],
    ['"\\u12"', 1, 3, "\\u needs four hexadecimal digits"],
    ['"\t"', 1, 2, "a control character in a text is written as \\u00XX, a tab as \\t"],
    ["007", 1, 1, "a number does not begin with 0"],
    ["1.", 1, 2, "a point needs digits behind it"],
    ["1e", 1, 2, "an exponent needs digits behind it"],
    ["-", 1, 1, "a minus needs digits behind it"],
    ["+1", 1, 1, "a number begins with a digit or a minus"],
    ["[1,,2]", 1, 4, "a value is missing before ,"],
    ['{"a":}', 1, 6, "a value is missing before }"],
    ["True", 1, 1, "True is written true"],
    ["undefined", 1, 1, "JSON has no undefined; null may be what is meant"],
    ["hello", 1, 1, 'a text stands in double quotes: "hello"'],
    ["1 2", 1, 3, "the value ends before this; nothing may follow"],
    ["// x\n1", 1, 1, "JSON has no comments"],
    ["#", 1, 1, "# begins no value"],
  ])("%j", (text, line, column, message) => {
    expect(jsonFault(text)).toMatchObject({ line, column, message });
    expect(() => JSON.parse(text) as unknown).toThrow();
  });

  it("nests deeper than anybody types", () => {
    expect(jsonFault("[".repeat(100_000))?.message).toBe("nested more than 500 deep");
  });
});
