import { expect, it } from "vitest";
import { faultOf, filterOf, isNarrowed } from "./session_filter.ts";

const read = (query: string) => filterOf(new URLSearchParams(query));

it("is what the address says, in the words of the API", () => {
  const filter = read("prefix=%208F%20&principal=ann@x.org&state=away&behind=true");
  expect(filter).toEqual({ prefix: "8f", principal: "ann@x.org", state: "away", behind: "true" });
  expect(isNarrowed(filter)).toBe(true);
});

it("leaves out what means nothing", () => {
  const filter = read("state=gone&behind=1&other=x");
  expect(filter).toEqual({ prefix: "", principal: "", state: "", behind: "" });
  expect(isNarrowed(filter)).toBe(false);
});

it("says why there can be no such session", () => {
  expect(["", "prefix=8f", "principal=a/b:c@d%2Be-f_g.h"].map((query) => faultOf(read(query)))).toEqual(
    Array.from({ length: 3 }, () => undefined),
  );
  expect(faultOf(read("prefix=xyz"))).toMatch(/digits/);
  expect(faultOf(read(`prefix=${"0".repeat(33)}`))).toMatch(/digits/);
  expect(faultOf(read("principal=a%20b"))).toMatch(/principal/);
});
