// Prints what the page weighs on the way to a browser, and fails when that is more than it may be.
import { readdirSync, readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";

const GZIP_BYTES_MAX = 100_000;
const dist = new URL("../dist/", import.meta.url);

let total = 0;
for (const entry of readdirSync(dist, { recursive: true, withFileTypes: true })) {
  if (!entry.isFile()) continue;
  const path = `${entry.parentPath}/${entry.name}`;
  const bytes = readFileSync(path);
  const packed = gzipSync(bytes, { level: 9 }).length;
  total += packed;
  console.log(`${String(packed).padStart(8)} B gzip  ${String(bytes.length).padStart(8)} B  ${entry.name}`);
}
console.log(`${String(total).padStart(8)} B gzip in all, of at most ${GZIP_BYTES_MAX}`);
if (total > GZIP_BYTES_MAX) process.exit(1);
