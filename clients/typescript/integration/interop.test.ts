import { expect, onTestFinished, test } from "vitest";
import WebSocket from "ws";

import { connect, type Session } from "../src/node.js";
import { protobuf } from "../src/wire/protobuf.js";
import { Program, startServer, until } from "./programs.js";

const ENCODINGS = ["json", "protobuf"] as const;

test("whoever publishes is heard by everybody, in one order", { timeout: 60_000 }, async () => {
  const { address } = await startServer();
  const heard = new Map<string, unknown[]>();
  const hear = (who: string) => {
    const events: unknown[] = [];
    heard.set(who, events);
    return events;
  };

  // Listeners.
  for (const encoding of ENCODINGS) {
    const events = hear(`CLI, ${encoding}`);
    const program = new Program([
      "subscribe",
      CHANNEL,
      "--from",
      "start",
      "--json",
      "--encoding",
      encoding,
      "--address",
      address,
    ]);
    program.onLine((line) => {
      const event = JSON.parse(line) as { payload?: unknown; event?: string };
      if ("payload" in event) {
        events.push(event.payload);
      }
    });
    const mine = hear(`TypeScript, ${encoding}`);
    open(address, encoding).subscribe(CHANNEL, { start: { after: 0 } }, (item) => {
      if (item.type === "event") {
        mine.push(item.payload);
      }
    });
  }
  const plain = hear("plain WebSocket");
  const socket = new WebSocket(`ws://${address}/server?channel=${CHANNEL}`);
  onTestFinished(() => socket.terminate());
  socket.on("message", (data: Buffer) => {
    plain.push(JSON.parse((JSON.parse(data.toString()) as { someOtherThing: string }).someOtherThing));
  });
  await new Promise((resolve) => socket.once("open", resolve));
  const streamed = hear("event stream");
  await readEvents(`http://${address}/events?channel=${CHANNEL}&from=start`, (frame) => streamed.push(frame.payload));

  // Publishers, one after the other, so that the order is known.
  const published: unknown[] = [];
  for (const encoding of ENCODINGS) {
    const payload = { from: `CLI, ${encoding}`, text: 'é "😀" \u0001', number: 1.5 };
    const program = new Program([
      "publish",
      CHANNEL,
      JSON.stringify(payload),
      "--json",
      "--encoding",
      encoding,
      "--address",
      address,
    ]);
    await program.exited;
    published.push(payload);
    const ours = { from: `TypeScript, ${encoding}`, text: 'ü "😀" \u0002', list: [null, true, { a: 2 ** 53 - 1 }] };
    await open(address, encoding).publish(CHANNEL, ours);
    published.push(ours);
  }

  for (const [who, events] of heard) {
    await until(() => events.length >= published.length, `${who} hears everybody: ${JSON.stringify(events)}`);
    expect(events, who).toEqual(published);
  }
  expect(heard.size).toBe(6);
});

test("bytes come as they went, in every encoding", { timeout: 30_000 }, async () => {
  const { address } = await startServer();
  const bytes = Uint8Array.from({ length: 1000 }, (_, index) => (index * 7) % 256);
  for (const encoding of ENCODINGS) {
    await open(address, encoding).publish(CHANNEL, bytes);
  }
  for (const encoding of ENCODINGS) {
    const items = open(address, encoding).subscribe(CHANNEL, { start: { after: 0 } });
    const found: unknown[] = [];
    for await (const item of items) {
      if (item.type === "event" && found.push(item.data) === ENCODINGS.length) {
        break;
      }
    }
    expect(found).toEqual([bytes, bytes]);
  }
});

function open(address: string, encoding: (typeof ENCODINGS)[number]): Session {
  const session = connect(`ws://${address}/server`, encoding === "protobuf" ? { encoding: protobuf } : {});
  onTestFinished(() => session.end());
  return session;
}

/** Reads an event stream; returns when it has begun. */
async function readEvents(url: string, hear: (frame: { payload?: unknown }) => void): Promise<void> {
  const controller = new AbortController();
  onTestFinished(() => controller.abort());
  const response = await fetch(url, { signal: controller.signal });
  expect(response.headers.get("content-type")).toContain("text/event-stream");
  const read = async () => {
    let rest = "";
    for await (const chunk of response.body ?? []) {
      const lines = (rest + Buffer.from(chunk as Uint8Array).toString()).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) {
        if (line.startsWith("data:")) {
          hear(JSON.parse(line.slice(5)) as { payload?: unknown });
        }
      }
    }
  };
  read().catch(() => undefined);
}

const CHANNEL = "room:interop";
