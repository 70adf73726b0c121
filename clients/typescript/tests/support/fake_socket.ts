import type { ClientFrame, ServerFrame, Welcome } from "../../src/wire/frames.js";
import { strictJson } from "./strict_json.js";

/** A WebSocket whose other end is the test. */
export class FakeSocket {
  /** Every one that was made since {@link FakeSocket.forget}, the newest last. */
  static made: FakeSocket[] = [];
  binaryType = "blob";
  readyState = 1;
  protocol = "";
  onopen: (() => void) | null = null;
  onmessage: ((event: { data: unknown }) => void) | null = null;
  onclose: ((event: { code: number }) => void) | null = null;
  onerror: (() => void) | null = null;
  readonly sent: ClientFrame[] = [];
  closedWith: number | undefined;

  constructor(
    readonly url: string,
    readonly wanted: string,
  ) {
    FakeSocket.made.push(this);
  }

  static forget(): void {
    FakeSocket.made = [];
  }

  static get last(): FakeSocket {
    const last = FakeSocket.made.at(-1);
    if (!last) {
      throw new Error("no socket was made");
    }
    return last;
  }

  send(message: string): void {
    this.sent.push(strictJson.read("client", message));
  }

  close(code: number): void {
    this.closedWith = code;
  }

  // The other end.

  open(protocol = this.wanted): void {
    this.protocol = protocol;
    this.onopen?.();
  }

  say(frame: ServerFrame): void {
    this.onmessage?.({ data: strictJson.write("server", frame) });
  }

  welcome(welcome: Partial<Welcome> = {}): void {
    this.say({
      type: "welcome",
      standing: "new",
      session: "1".repeat(32),
      token: "t".repeat(43),
      generation: 1,
      accepted: 0,
      server: "fake",
      ping_interval_ms: 25_000,
      session_expiry_ms: 600_000,
      limits: { request_count_max: 256, message_bytes_max: 65_536, subscription_count_max: 128 },
      ...welcome,
    });
  }

  end(code = 1006): void {
    this.onclose?.({ code });
  }

  /** The frames of one type that were sent. */
  of<T extends ClientFrame["type"]>(type: T): Extract<ClientFrame, { type: T }>[] {
    return this.sent.filter((frame): frame is Extract<ClientFrame, { type: T }> => frame.type === type);
  }
}
