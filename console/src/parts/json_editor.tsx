/** A text field for JSON that says what is wrong and where. */
import { useId, useRef } from "preact/hooks";
import { readJson } from "../api/server.ts";
import { jsonFault } from "../json/place.ts";
import { pretty } from "../json/pretty.ts";

export interface JsonEditorProps {
  readonly label: string;
  readonly text: string;
  readonly onText: (text: string) => void;
  readonly rows?: number;
}

export function JsonEditor({ label, text, onText, rows = 7 }: JsonEditorProps) {
  const id = useId();
  const field = useRef<HTMLTextAreaElement>(null);
  const fault = text.trim() === "" ? undefined : jsonFault(text);
  const showFault = () => {
    if (fault === undefined) return;
    field.current?.focus();
    field.current?.setSelectionRange(fault.index, Math.min(fault.index + 1, text.length));
  };
  const tidy = () =>
    onText(
      pretty(readJson(text))
        .map((token) => token.text)
        .join(""),
    );
  return (
    <div class="field">
      <div class="label-row">
        <label for={id}>{label}</label>
        <button type="button" class="small" disabled={fault !== undefined || text.trim() === ""} onClick={tidy}>
          Format
        </button>
      </div>
      <textarea
        id={id}
        ref={field}
        class="mono"
        rows={rows}
        spellcheck={false}
        autocomplete="off"
        value={text}
        aria-invalid={fault !== undefined}
        aria-describedby={`${id}-verdict`}
        onInput={(event) => onText(event.currentTarget.value)}
      />
      <div class="verdict" id={`${id}-verdict`} role="status">
        {fault === undefined ? (
          <span class="muted">
            {text.trim() === "" ? "Empty: null is sent." : "Valid JSON, sent as it is written."}
          </span>
        ) : (
          <>
            <button type="button" class="link fault" onClick={showFault}>
              Line {fault.line}, column {fault.column}
            </button>
            <span class="fault">: {fault.message}</span>
          </>
        )}
      </div>
    </div>
  );
}
