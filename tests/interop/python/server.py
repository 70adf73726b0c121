"""Answers commands on a port of its own choice, by the `websockets` package.

Usage: server.py plain|binary|ping|restart

Prints a line of JSON when it listens and for everything that happens on a connection; whoever
started it does the checking. The scenario says how it answers: as text, as binary, with a ping
before each reply, or with an end of the first connection after two replies.
"""

import asyncio
import itertools
import json
import sys

from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed

SCENARIO = sys.argv[1]
NUMBERS = itertools.count(1)


async def answer(websocket):
    connection = next(NUMBERS)
    path = websocket.request.path
    say(event="open", connection=connection, path=path)
    try:
        async for message in websocket:
            command = json.loads(message)
            say(event="message", connection=connection, message=command)
            if SCENARIO == "ping":
                payload = f"ping {command['requestID']}"
                await (await websocket.ping(payload))
                say(event="pong", connection=connection, payload=payload)
            command["success"] = True
            command["someOtherThing"] = f"Server processed command: {command['command']}"
            reply = json.dumps(command)
            await websocket.send(reply.encode() if SCENARIO == "binary" else reply)
            if SCENARIO == "restart" and connection == 1 and command["requestID"] == 2:
                await websocket.close(1012, "restarting")
    except ConnectionClosed:
        pass
    received = websocket.protocol.close_rcvd
    say(event="close", connection=connection, code=received.code if received else None)


def say(**event):
    print(json.dumps(event), flush=True)


async def main():
    async with serve(answer, "127.0.0.1", 0) as server:
        say(event="listening", port=server.sockets[0].getsockname()[1])
        await server.serve_forever()


asyncio.run(main())
