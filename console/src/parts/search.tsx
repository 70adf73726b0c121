import { useEffect, useRef, useState } from "preact/hooks";

interface SearchProps {
  readonly label: string;
  readonly value: string;
  readonly lengthMax: number;
  readonly placeholder: string;
  /** The one of the page that the key `/` leads to. */
  readonly isFirst?: boolean;
  readonly search: (text: string) => void;
}

/** A text that is looked for once somebody stops typing, or leaves the field. */
export function Search({ label, value, lengthMax, placeholder, isFirst = false, search }: SearchProps) {
  const [text, setText] = useState(value);
  const sought = useRef(value);
  // The address may say something else without anybody having typed it.
  if (sought.current !== value && sought.current === text.trim()) {
    sought.current = value;
    setText(value);
  }
  const look = () => {
    if (text.trim() === sought.current) return;
    sought.current = text.trim();
    search(sought.current);
  };
  useEffect(() => {
    const timer = setTimeout(look, PAUSE_MS);
    return () => clearTimeout(timer);
  }, [text]);
  return (
    <label class="search">
      <span class="muted">{label}</span>
      <input
        type="search"
        class="mono"
        value={text}
        maxLength={lengthMax}
        data-search={isFirst ? "" : undefined}
        spellcheck={false}
        autocapitalize="off"
        autocomplete="off"
        placeholder={placeholder}
        onInput={(event) => setText(event.currentTarget.value)}
        onChange={look}
      />
    </label>
  );
}

/** Long enough for the next letter to come first, short enough to seem at once. */
const PAUSE_MS = 250;
