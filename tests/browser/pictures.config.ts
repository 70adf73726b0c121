import { mergeConfig } from "vitest/config";

import tests from "./vitest.config.ts";

// Pictures are taken with what the tests are made of, and are no test.
export default mergeConfig(tests, { test: { include: ["pictures.ts"] } });
