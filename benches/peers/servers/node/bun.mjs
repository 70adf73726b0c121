// The server of Bun.
import { backlogBytesMax, messageBytesMax, readArguments } from "./arguments.mjs";
import { answer } from "./command.mjs";

const { host, port, work } = readArguments();

const works = {
  echo: (socket, message) => socket.send(message),
  command: (socket, message) => socket.send(answer(message)),
  // Framed once for all, by the topics of uWebSockets below it.
  fanout: (_socket, message) => server.publish("news", message),
};

const server = Bun.serve({
  hostname: host,
  port,
  fetch(request, server) {
    const url = new URL(request.url);
    const data = { isSubscriber: url.searchParams.get("channel") === "news" };
    if (url.pathname === "/server" && server.upgrade(request, { data })) {
      return undefined;
    }
    return new Response("not here", { status: 404 });
  },
  websocket: {
    perMessageDeflate: false,
    maxPayloadLength: messageBytesMax,
    backpressureLimit: backlogBytesMax,
    open(socket) {
      if (socket.data.isSubscriber) {
        socket.subscribe("news");
      }
    },
    message: works[work],
  },
});
