/** Event streams (HTML, "Server-sent events"), read from a `fetch`: an `EventSource` cannot send a token. */

export interface Message {
  /** The place behind it. */
  readonly id: string;
  readonly type: string;
  readonly data: string;
}

/** Takes a stream's text piece by piece, and gives each message when it is whole. */
export class MessageReader {
  #rest = "";
  #id = "";
  #type = "";
  #data: string[] = [];

  /** The messages that this piece completes. */
  take(piece: string): Message[] {
    const lines = (this.#rest + piece).split("\n");
    this.#rest = lines.pop() ?? "";
    const messages: Message[] = [];
    for (const line of lines) {
      const message = this.#line(line.endsWith("\r") ? line.slice(0, -1) : line);
      if (message !== undefined) messages.push(message);
    }
    return messages;
  }

  #line(line: string): Message | undefined {
    if (line === "") return this.#complete();
    const colon = line.indexOf(":");
    const [name, value] = colon === -1 ? [line, ""] : [line.slice(0, colon), line.slice(colon + 1).replace(/^ /, "")];
    if (name === "id") this.#id = value;
    else if (name === "event") this.#type = value;
    else if (name === "data") this.#data.push(value);
    return undefined;
  }

  #complete(): Message | undefined {
    const message = { id: this.#id, type: this.#type || "message", data: this.#data.join("\n") };
    const isEmpty = this.#data.length === 0;
    this.#type = "";
    this.#data = [];
    return isEmpty ? undefined : message;
  }
}
