// Makes dist/mainstay.browser.js: the JSON core in one file, for pages without a bundler.

import { build } from "esbuild";

await build({
  entryPoints: ["dist/index.js"],
  outfile: "dist/mainstay.browser.js",
  bundle: true,
  minify: true,
  format: "esm",
  target: "es2022",
  legalComments: "none",
});
