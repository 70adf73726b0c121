/**
 * Something to look at: sessions that listen, publish, join, answer and lose their connections.
 *
 *     node looks/traffic.js ws://127.0.0.1:8080/server 200 [ws://127.0.0.1:9000/server]
 *
 * The third address, if given, is that of `mainstay chaos`, over which every second session goes. Each session
 * says who it is with the header `x-user` (`mainstay server --principal-header x-user`). Ends with Ctrl-C.
 */
import { connect } from "mainstay";
import WebSocket from "ws";

const [address = "ws://127.0.0.1:8080/server", countText = "200", bad = address] = process.argv.slice(2);
const count = Number(countText);
const clients = ["shop/2.4.1", "shop/2.4.1", "shop/2.3.9", "till/1.0.2", "dashboard/5.1.0"];
const shops = ["berlin", "leeds", "oslo", "porto", "turin"];
const channels = [
  ...shops.flatMap((shop) => [`orders.${shop}`, `prices.${shop}`, `chat/${shop}`]),
  "news",
  "stock",
  "build.log",
];
const people = ["ann", "ben", "chris", "dora", "emil", "fay", "gus", "hana"];
const any = (list) => list[Math.floor(Math.random() * list.length)];

/** @type {import("mainstay").Session[]} */
const sessions = Array.from({ length: count }, (_, index) => {
  const user = index % 3 === 0 ? undefined : `${any(people)}.${index}@example.org`;
  class Named extends WebSocket {
    constructor(url, protocols) {
      super(url, protocols, user === undefined ? {} : { headers: { "x-user": user } });
    }
  }
  const session = connect(index % 2 === 0 ? address : bad, {
    client: any(clients),
    webSocket: Named,
  });
  session.handle("reload", () => Promise.resolve({ ok: true, pages: index % 7 }));
  session.handle("refuse", () => Promise.reject(new Error("the shop is closed")));
  const heard = new Set();
  while (heard.size < 1 + (index % 4)) heard.add(any(channels));
  for (const channel of heard) {
    const presence = channel.startsWith("chat/") ? "join" : "none";
    // Some read slowly.
    void listen(session.subscribe(channel, { presence, start: { last: 5 } }), index % 40 === 7);
  }
  return session;
});

async function listen(subscription, isSlow) {
  try {
    for await (const item of subscription) {
      if (isSlow && item) await new Promise((resolve) => setTimeout(resolve, 2000));
    }
  } catch {
    // An operator has ended the session.
  }
}

let order = 4200;
const payloads = {
  orders: () => ({
    order: (order += 1),
    customer: `${any(people)}@example.org`,
    items: [
      {
        article: any(["coffee", "tea", "cake", "bread"]),
        count: 1 + Math.floor(Math.random() * 3),
      },
      { article: any(["milk", "sugar", "napkins"]), count: 1 },
    ],
    total: { amount: (Math.random() * 40 + 2).toFixed(2), currency: "EUR" },
    paid: Math.random() < 0.7,
  }),
  prices: () => ({ article: "coffee", price: (2 + Math.random()).toFixed(2) }),
  "chat/": () => ({ from: any(people), text: any(["on my way", "two coffees, please", "done"]) }),
  stock: () => Uint8Array.from({ length: 20 }, () => Math.random() * 256),
};
setInterval(() => {
  const wave = 1.2 + Math.sin(Date.now() / 40_000);
  for (let index = 0; index < wave * 4; index += 1) {
    const channel = any(channels);
    const kind = Object.keys(payloads).find((prefix) => channel.startsWith(prefix));
    const payload = kind === undefined ? { line: `step ${order}`, ok: true } : payloads[kind]();
    carry(() => any(sessions).publish(channel, payload));
  }
  carry(() => any(sessions).request("Pause downloader", { urgent: true }));
}, 100);

/** Whatever becomes of it. */
function carry(ask) {
  const pending = ask();
  pending.catch(() => {});
  pending.stored.catch(() => {});
}
