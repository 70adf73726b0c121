// The server of uWebSockets.js.
import uWS from "@trufflesuite/uws-js-unofficial";
import { backlogBytesMax, messageBytesMax, readArguments } from "./arguments.mjs";
import { answer } from "./command.mjs";

const { host, port, work } = readArguments();
const app = uWS.App();
const decoder = new TextDecoder();

const works = {
  echo: (socket, message, isBinary) => socket.send(message, isBinary),
  command: (socket, message) => socket.send(answer(decoder.decode(message))),
  // Framed once for all, and written at the end of the loop's turn.
  fanout: (_socket, message) => app.publish("news", message, false),
};

app.ws("/server", {
  compression: uWS.DISABLED,
  maxPayloadLength: messageBytesMax,
  maxBackpressure: backlogBytesMax,
  upgrade(response, request, context) {
    response.upgrade(
      { isSubscriber: request.getQuery("channel") === "news" },
      request.getHeader("sec-websocket-key"),
      request.getHeader("sec-websocket-protocol"),
      request.getHeader("sec-websocket-extensions"),
      context,
    );
  },
  open(socket) {
    if (socket.isSubscriber) {
      socket.subscribe("news");
    }
  },
  message: works[work],
});
app.listen(host, port, (listening) => {
  if (!listening) {
    process.exit(1);
  }
});
