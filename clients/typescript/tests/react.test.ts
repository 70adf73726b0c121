// @vitest-environment happy-dom
import { act, createElement, StrictMode, useState } from "react";
import { createRoot, type Root } from "react-dom/client";
import { afterEach, beforeEach, expect, test, vi } from "vitest";

import { connect, type ChannelItem, type Session } from "../src/index.js";
import { useChannel, useSession } from "../src/react.js";
import { FakeSocket } from "./support/fake_socket.js";

const EPOCH = "5bd1c0aa31f2e877";

let session: Session;
let root: Root;
let heard: number[];

beforeEach(async () => {
  vi.stubGlobal("IS_REACT_ACT_ENVIRONMENT", true);
  FakeSocket.forget();
  session = connect("ws://localhost/server", { webSocket: FakeSocket });
  await session.ready;
  FakeSocket.last.open();
  FakeSocket.last.welcome();
  root = createRoot(document.body.appendChild(document.createElement("div")));
  heard = [];
});

afterEach(async () => {
  act(() => root.unmount());
  await session.close();
  document.body.replaceChildren();
  vi.unstubAllGlobals();
});

test("shows what the session is doing", async () => {
  const State = () => useSession(session).name;
  render(createElement(State));
  expect(document.body.textContent).toBe("open");
  act(() => FakeSocket.last.end());
  expect(document.body.textContent).toBe("waiting");
  await act(() => session.close());
  expect(document.body.textContent).toBe("over");
});

test("listens once, whatever StrictMode does, and hears each item once", async () => {
  render(createElement(Room, { channel: "a" }));
  // React mounts, unmounts and mounts again.
  expect(wishes()).toEqual(["subscribe", "unsubscribe", "subscribe"]);
  answer("a", "subscribed", "unsubscribed", "subscribed");
  await say("a", 1, 2);
  expect(heard).toEqual([1, 2]);
  render(createElement(Room, { channel: "a" }));
  await say("a", 3);
  expect(heard).toEqual([1, 2, 3]);
  expect(wishes()).toHaveLength(3);
});

test("the newest listener hears, and another channel is another subscription", async () => {
  render(createElement(Room, { channel: "a", factor: 1 }));
  answer("a", "subscribed", "unsubscribed", "subscribed");
  await say("a", 1);
  render(createElement(Room, { channel: "a", factor: 10 }));
  await say("a", 2);
  expect(heard).toEqual([1, 20]);
  render(createElement(Room, { channel: "b", factor: 10 }));
  answer("a", "unsubscribed");
  answer("b", "subscribed");
  await say("b", 1);
  expect(heard).toEqual([1, 20, 10]);
  expect(wishes().slice(3)).toEqual(["unsubscribe", "subscribe"]);
});

test("a listener that makes its component go has heard the item", async () => {
  const Once = () => {
    const [isHere, setHere] = useState(true);
    return isHere ? createElement(Room, { channel: "a", then: () => setHere(false) }) : "gone";
  };
  render(createElement(Once));
  answer("a", "subscribed", "unsubscribed", "subscribed");
  await say("a", 1);
  expect(document.body.textContent).toBe("gone");
  expect(heard).toEqual([1]);
  render(createElement(Room, { channel: "a" }));
  const start = FakeSocket.last.of("subscribe").at(-1)?.start;
  expect(start).toEqual({ after: 1, epoch: EPOCH });
});

/** Notes the offsets of the events of a channel. */
function Room({ channel, factor = 1, then }: { channel: string; factor?: number; then?: () => void }): null {
  useChannel(session, channel, (item: ChannelItem) => {
    if (item.type === "event") {
      heard.push(item.offset * factor);
      then?.();
    }
  });
  return null;
}

function render(node: React.ReactNode): void {
  act(() => root.render(createElement(StrictMode, null, node)));
}

/** The server's answers, in the order of the wishes. */
function answer(channel: string, ...types: ("subscribed" | "unsubscribed")[]): void {
  for (const type of types) {
    FakeSocket.last.say(
      type === "subscribed" ? { type, channel, epoch: EPOCH, offset: 0, head: 0, member_count: 0 } : { type, channel },
    );
  }
}

async function say(channel: string, ...offsets: number[]): Promise<void> {
  await act(async () => {
    for (const offset of offsets) {
      FakeSocket.last.say({ type: "event", channel, offset, at_ms: 0, payload: { json: "null" } });
    }
    await new Promise((resolve) => setTimeout(resolve));
  });
}

function wishes(): string[] {
  return FakeSocket.last.sent.map(({ type }) => type).filter((type) => type.endsWith("subscribe"));
}
