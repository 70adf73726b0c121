// Exchanges commands with a server, by the `ws` package.
//
// Usage: node client.js URL URL-OF-A-COMPRESSING-SERVER
//
// Prints "pass CHECK" or "fail CHECK: WHY" for each check.

import assert from "node:assert/strict";
import { once } from "node:events";
import { setTimeout as pause } from "node:timers/promises";
import WebSocket from "ws";

const [url, compressingUrl] = process.argv.slice(2);
const commandCount = 5;
// Longer than the interval of the server's pings, so that each command follows one.
const commandIntervalMs = 300;
const checkMsMax = 20_000;

const checks = {
  "commands on a timer, received by a listener": async (signal) => {
    const client = await connect(url, signal);
    let pings = 0;
    client.on("ping", () => pings++);
    const received = receive(client, commandCount, signal);
    for (let number = 1; number <= commandCount; number++) {
      client.send(command(number, `Eject the hot dog ${number}.`));
      await pause(commandIntervalMs);
    }
    for (const [index, message] of (await received).entries()) {
      expectReply(message, index + 1, `Eject the hot dog ${index + 1}.`);
    }
    assert.ok(pings > 0, "no ping came from the server");
    client.close();
  },

  "a thousand commands without waiting, answered in order": async (signal) => {
    const client = await connect(url, signal);
    const received = receive(client, 1000, signal);
    for (let number = 1; number <= 1000; number++) {
      client.send(command(number, `Step ${number}`));
    }
    for (const [index, message] of (await received).entries()) {
      expectReply(message, index + 1, `Step ${index + 1}`);
    }
    client.close();
  },

  "a command as binary": async (signal) => {
    const client = await connect(url, signal);
    const received = receive(client, 1, signal);
    client.send(Buffer.from(command(7, "Pause downloader")));
    expectReply((await received)[0], 7, "Pause downloader");
    client.close();
  },

  "a command in fragments": async (signal) => {
    const client = await connect(url, signal);
    const received = receive(client, 1, signal);
    const text = command(8, "Pause downloader");
    client.send(text.slice(0, 1), { fin: false });
    client.send(text.slice(1, 20), { fin: false });
    client.send(text.slice(20), { fin: true });
    expectReply((await received)[0], 8, "Pause downloader");
    client.close();
  },

  "a 60 KB command": async (signal) => {
    const client = await connect(url, signal);
    const received = receive(client, 1, signal);
    client.send(command(1, "Keep", "x".repeat(60_000)));
    expectReply((await received)[0], 1, "Keep");
    client.close();
  },

  "our ping is answered by a pong with the same payload": async (signal) => {
    const client = await connect(url, signal);
    const pong = once(client, "pong", { signal });
    client.ping("are you there");
    assert.equal((await pong)[0].toString(), "are you there");
    client.close();
  },

  "a malformed message is answered and the connection stays": async (signal) => {
    const client = await connect(url, signal);
    const received = receive(client, 2, signal);
    client.send("no JSON");
    client.send(command(2, "Go on"));
    const [answer, reply] = await received;
    const { success, someOtherThing } = JSON.parse(answer);
    assert.ok(success === false && someOtherThing, `got ${answer}`);
    expectReply(reply, 2, "Go on");
    client.close();
  },

  "a message that is too large is answered by close code 1009": async (signal) => {
    const client = await connect(url, signal);
    const closed = once(client, "close", { signal });
    client.send("x".repeat(70_000));
    assert.equal((await closed)[0], 1009);
  },

  "text that is no UTF-8 is answered by close code 1007": async (signal) => {
    const client = await connect(url, signal);
    const closed = once(client, "close", { signal });
    client.send(Buffer.from([0xff, 0xfe]), { binary: false });
    assert.equal((await closed)[0], 1007);
  },

  "our close code comes back": async (signal) => {
    const client = await connect(url, signal);
    const closed = once(client, "close", { signal });
    client.close(4321, "done");
    assert.equal((await closed)[0], 4321);
  },

  "compression is declined by default": async (signal) => {
    const client = await connect(url, signal);
    assert.equal(client.extensions, "");
    client.close();
  },

  "compressed commands, where the server allows it": async (signal) => {
    // Compress whatever the length, where the package would leave short messages as they are.
    const client = await connect(compressingUrl, signal, { perMessageDeflate: { threshold: 0 } });
    assert.equal(client.extensions, "permessage-deflate");
    const received = receive(client, 20, signal);
    for (let number = 1; number <= 20; number++) {
      client.send(command(number, "Keep ".repeat(1000)));
    }
    for (const [index, message] of (await received).entries()) {
      expectReply(message, index + 1, "Keep ".repeat(1000));
    }
    client.close();
  },
};

async function connect(address, signal, options = {}) {
  const client = new WebSocket(address, options);
  // Whoever waits for something hears of an error; without any listener it would end the program.
  client.on("error", () => {});
  signal.addEventListener("abort", () => client.terminate());
  await once(client, "open", { signal });
  return client;
}

/** Resolves to the next `count` messages, as text. */
function receive(client, count, signal) {
  const received = new Promise((resolve, reject) => {
    const messages = [];
    client.on("message", (message) => {
      messages.push(message.toString());
      if (messages.length === count) resolve(messages);
    });
    client.on("close", (code) => reject(new Error(`closed with code ${code}`)));
    client.on("error", reject);
    signal.addEventListener("abort", () => reject(signal.reason));
  });
  // A check that fails before it comes to wait for this has failed once, which is enough.
  received.catch(() => {});
  return received;
}

function command(number, name, payload = "") {
  return JSON.stringify({
    requestID: number,
    command: name,
    someOtherThing: payload,
    success: false,
  });
}

function expectReply(message, number, name) {
  const reply = JSON.parse(message);
  const good =
    reply.requestID === number &&
    reply.success === true &&
    reply.someOtherThing === `Server processed command: ${name}`;
  assert.ok(good, `reply ${number} is ${message.slice(0, 200)}`);
}

for (const [name, check] of Object.entries(checks)) {
  const timeout = new AbortController();
  const timer = setTimeout(() => timeout.abort(new Error("timed out")), checkMsMax);
  try {
    await check(timeout.signal);
    console.log(`pass ${name}`);
  } catch (error) {
    process.exitCode = 1;
    const { message } = error.cause ?? error;
    console.log(`fail ${name}: ${message.replace(/\s+/g, " ")}`);
    // Or the connection would keep this program running.
    timeout.abort(error);
  } finally {
    clearTimeout(timer);
  }
}
