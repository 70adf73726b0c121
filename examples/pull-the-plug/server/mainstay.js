// Where the program `mainstay` is.

import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

/**
 * MAINSTAY names it; else it is the newest thing that cargo has built here, and else cargo builds it.
 * @returns {string}
 */
export function mainstayPath() {
  const named = process.env.MAINSTAY;
  if (named) return named;
  for (const profile of ["release", "debug"]) {
    const path = fileURLToPath(new URL(`target/${profile}/mainstay`, root));
    if (existsSync(path)) return path;
  }
  console.log("building mainstay, once: cargo build --release --package mainstay");
  const words = ["build", "--release", "--package", "mainstay"];
  const { status } = spawnSync("cargo", words, { cwd: root, stdio: "inherit" });
  if (status !== 0) throw new Error("mainstay could not be built; MAINSTAY=PATH names one that is");
  return fileURLToPath(new URL("target/release/mainstay", root));
}

const root = new URL("../../../", import.meta.url);
