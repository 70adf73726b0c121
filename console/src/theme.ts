/** Light or dark: as the system says, unless somebody chose. */
import { signal } from "@preact/signals";

export type Theme = "system" | "light" | "dark";

const KEY = "mainstay-theme";

export const theme = signal<Theme>(stored());
/** Rises with each change of colours: what draws with them draws again. */
export const paint = signal(0);

export function applyTheme(): void {
  theme.subscribe((chosen) => {
    if (chosen === "system") delete document.documentElement.dataset["theme"];
    else document.documentElement.dataset["theme"] = chosen;
    paint.value = paint.peek() + 1;
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    paint.value = paint.peek() + 1;
  });
}

export function choose(next: Theme): void {
  if (next === "system") localStorage.removeItem(KEY);
  else localStorage.setItem(KEY, next);
  theme.value = next;
}

function stored(): Theme {
  const value = localStorage.getItem(KEY);
  return value === "light" || value === "dark" ? value : "system";
}
