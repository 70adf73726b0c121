/** Keys: `g` and a letter go somewhere, `/` searches, `?` helps. They rest while somebody types. */
import { signal } from "@preact/signals";
import { go, linkTo } from "./route.ts";

export const isHelpOpen = signal(false);

export const PLACES: readonly {
  readonly key: string;
  readonly view: string;
  readonly title: string;
}[] = [
  { key: "o", view: "overview", title: "Overview" },
  { key: "c", view: "channels", title: "Channels" },
  { key: "s", view: "sessions", title: "Sessions" },
  { key: "p", view: "composer", title: "Composer" },
];

export function listenForShortcuts(): void {
  let goPressedMs = -Infinity;
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
    if (document.querySelector("dialog[open]") !== null) return;
    const isSecond = event.timeStamp - goPressedMs < SECOND_KEY_MS;
    goPressedMs = -Infinity;
    const place = PLACES.find(({ key }) => key === event.key);
    if (isSecond && place !== undefined) go(linkTo(place.view));
    else if (event.key === "g") goPressedMs = event.timeStamp;
    else if (event.key === "?") isHelpOpen.value = true;
    else if (event.key === "/") {
      const search = document.querySelector<HTMLInputElement>("input[data-search]");
      if (search === null) return;
      search.focus();
      event.preventDefault();
    }
  });
}

function isTyping(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && target.matches("input:not([type=radio]), textarea, select");
}

const SECOND_KEY_MS = 1500;
