// The server of `ws`.
import { WebSocketServer } from "ws";
import { messageBytesMax, readArguments } from "./arguments.mjs";
import { answer } from "./command.mjs";

const { host, port, work } = readArguments();
const server = new WebSocketServer({
  host,
  port,
  path: "/server",
  perMessageDeflate: false,
  maxPayload: messageBytesMax,
  // Thousands connect at once.
  backlog: 4096,
});
const subscribers = new Set();

const works = {
  echo(socket) {
    socket.on("message", (data, isBinary) => socket.send(data, { binary: isBinary }));
  },
  command(socket) {
    socket.on("message", (data) => socket.send(answer(data)));
  },
  // The library has neither topics nor messages that are framed once for all.
  fanout(socket, request) {
    if (new URL(request.url, "ws://localhost").searchParams.get("channel") === "news") {
      subscribers.add(socket);
      socket.on("close", () => subscribers.delete(socket));
    }
    socket.on("message", (data) => {
      for (const subscriber of subscribers) {
        subscriber.send(data, { binary: false });
      }
    });
  },
};

server.on("connection", (socket, request) => {
  // Whoever is reset has ended, and `close` follows.
  socket.on("error", () => {});
  works[work](socket, request);
});
