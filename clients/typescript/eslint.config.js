import js from "@eslint/js";
import { defineConfig } from "eslint/config";
import tseslint from "typescript-eslint";

export default defineConfig(
  { ignores: ["dist", "docs"] },
  js.configs.recommended,
  ...tseslint.configs.strictTypeChecked,
  { languageOptions: { parserOptions: { project: "tsconfig.json", tsconfigRootDir: import.meta.dirname } } },
  {
    rules: {
      // Numbers say themselves well in texts.
      "@typescript-eslint/restrict-template-expressions": ["error", { allowNumber: true }],
      // A loop that does all in its condition is the clearest form of "until there is nothing".
      "no-empty": ["error", { allowEmptyCatch: false }],
    },
  },
  {
    files: ["tests/**", "integration/**", "scripts/**"],
    rules: {
      "@typescript-eslint/no-confusing-void-expression": "off",
      "@typescript-eslint/no-unsafe-assignment": "off",
      "@typescript-eslint/no-unsafe-argument": "off",
      "@typescript-eslint/no-unsafe-member-access": "off",
      "@typescript-eslint/no-unsafe-return": "off",
      "@typescript-eslint/no-unnecessary-type-parameters": "off",
    },
  },
  {
    files: ["scripts/**", "integration/*.js"],
    languageOptions: { globals: { console: "readonly", process: "readonly", URL: "readonly" } },
  },
);
