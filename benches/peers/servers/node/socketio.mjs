// The server of Socket.IO, for fan-out, at its own path /socket.io/: "publish" of anybody is emitted as
// "news" to everybody.
import { createServer } from "node:http";
import { Server } from "socket.io";
import { messageBytesMax, readArguments } from "./arguments.mjs";

const { host, port } = readArguments();
const http = createServer();
const io = new Server(http, {
  transports: ["websocket"],
  perMessageDeflate: false,
  maxHttpBufferSize: messageBytesMax,
  serveClient: false,
  // Nobody is pinged while it is measured.
  pingInterval: 600_000,
  pingTimeout: 600_000,
});
io.on("connection", (socket) => {
  // Emitted to all at once: the adapter encodes the packet, and the frame, once.
  socket.on("publish", (event) => io.emit("news", event));
});
http.listen({ host, port, backlog: 4096 });
