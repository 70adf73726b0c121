// Answers commands on a port of its own choice, by the `ws` package.
//
// Usage: node server.js plain|binary|ping|restart
//
// Prints a line of JSON when it listens and for everything that happens on a connection; whoever
// started it does the checking. The scenario says how it answers: as text, as binary, with a ping
// before each reply, or with an end of the first connection after two replies.

import { once } from "node:events";
import { WebSocketServer } from "ws";

const scenario = process.argv[2];
let connections = 0;

const server = new WebSocketServer({ host: "127.0.0.1", port: 0, path: "/server" });
server.on("listening", () => say({ event: "listening", port: server.address().port }));
server.on("connection", (socket, request) => {
  const connection = ++connections;
  say({ event: "open", connection, path: request.url });
  socket.on("message", async (data) => {
    const command = JSON.parse(data);
    say({ event: "message", connection, message: command });
    if (scenario === "ping") {
      const pong = once(socket, "pong");
      socket.ping(`ping ${command.requestID}`);
      say({ event: "pong", connection, payload: (await pong)[0].toString() });
    }
    const someOtherThing = `Server processed command: ${command.command}`;
    const reply = JSON.stringify({ ...command, success: true, someOtherThing });
    socket.send(reply, { binary: scenario === "binary" });
    if (scenario === "restart" && connection === 1 && command.requestID === 2) {
      socket.close(1012, "restarting");
    }
  });
  socket.on("close", (code) => say({ event: "close", connection, code }));
});

function say(event) {
  console.log(JSON.stringify(event));
}
