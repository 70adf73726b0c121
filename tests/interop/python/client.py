"""Exchanges commands with a server, by the `websockets` package.

Usage: client.py URL URL-OF-A-COMPRESSING-SERVER

Prints "pass CHECK" or "fail CHECK: WHY" for each check.
"""

import asyncio
import json
import sys

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

URL, COMPRESSING_URL = sys.argv[1:]
COMMAND_COUNT = 5
# Longer than the interval of the server's pings, so that each command follows one.
COMMAND_INTERVAL_SECONDS = 0.3
CHECK_SECONDS_MAX = 20


async def commands_on_a_timer():
    """commands on a timer, received by another task"""
    async with connect(URL) as websocket:

        async def receive():
            for number in range(1, COMMAND_COUNT + 1):
                expect_reply(await websocket.recv(), number, f"Eject the hot dog {number}.")

        receiving = asyncio.create_task(receive())
        for number in range(1, COMMAND_COUNT + 1):
            await websocket.send(command(number, f"Eject the hot dog {number}."))
            await asyncio.sleep(COMMAND_INTERVAL_SECONDS)
        await receiving


async def commands_at_once():
    """a thousand commands without waiting, answered in order"""
    async with connect(URL) as websocket:

        async def send():
            for number in range(1, 1001):
                await websocket.send(command(number, f"Step {number}"))

        sending = asyncio.create_task(send())
        for number in range(1, 1001):
            expect_reply(await websocket.recv(), number, f"Step {number}")
        await sending


async def binary_command():
    """a command as binary"""
    async with connect(URL) as websocket:
        await websocket.send(command(7, "Pause downloader").encode())
        expect_reply(await websocket.recv(), 7, "Pause downloader")


async def fragmented_command():
    """a command in fragments"""
    async with connect(URL) as websocket:
        text = command(8, "Pause downloader")
        await websocket.send([text[:1], text[1:20], text[20:]])
        expect_reply(await websocket.recv(), 8, "Pause downloader")


async def large_command():
    """a 60 KB command"""
    async with connect(URL) as websocket:
        await websocket.send(command(1, "Keep", "x" * 60_000))
        expect_reply(await websocket.recv(), 1, "Keep")


async def ping():
    """our ping is answered by a pong with the same payload"""
    async with connect(URL) as websocket:
        # Resolves only on a pong that repeats these bytes.
        await (await websocket.ping(b"are you there"))


async def malformed_message():
    """a malformed message is answered and the connection stays"""
    async with connect(URL) as websocket:
        await websocket.send("no JSON")
        answer = json.loads(await websocket.recv())
        expect(answer["success"] is False and answer["someOtherThing"], f"got {answer}")
        await websocket.send(command(2, "Go on"))
        expect_reply(await websocket.recv(), 2, "Go on")


async def too_large_message():
    """a message that is too large is answered by close code 1009"""
    async with connect(URL) as websocket:
        try:
            await websocket.send("x" * 70_000)
            expect(False, f"got {await websocket.recv()!r:.80}")
        except ConnectionClosed as closed:
            expect(closed.rcvd and closed.rcvd.code == 1009, f"closed by {closed.rcvd}")


async def bad_text():
    """text that is no UTF-8 is answered by close code 1007"""
    async with connect(URL) as websocket:
        try:
            await websocket.send(b"\xff\xfe", text=True)
            expect(False, f"got {await websocket.recv()!r:.80}")
        except ConnectionClosed as closed:
            expect(closed.rcvd and closed.rcvd.code == 1007, f"closed by {closed.rcvd}")


async def closing():
    """our close code comes back"""
    websocket = await connect(URL)
    await websocket.close(4321, "done")
    expect(websocket.close_code == 4321, f"close code {websocket.close_code}")
    expect(websocket.protocol.close_rcvd is not None, "no Close came back")


async def no_compression():
    """compression is declined by default"""
    async with connect(URL) as websocket:
        extensions = websocket.response.headers.get("Sec-WebSocket-Extensions")
        expect(extensions is None, f"extensions {extensions}")


async def compression():
    """compressed commands, where the server allows it"""
    async with connect(COMPRESSING_URL) as websocket:
        extensions = websocket.response.headers.get("Sec-WebSocket-Extensions", "")
        expect(extensions.startswith("permessage-deflate"), f"extensions {extensions}")
        for number in range(1, 21):
            await websocket.send(command(number, "Keep " * 1000))
            expect_reply(await websocket.recv(), number, "Keep " * 1000)


def command(number, name, payload=""):
    return json.dumps(
        {"requestID": number, "command": name, "someOtherThing": payload, "success": False}
    )


def expect_reply(message, number, name):
    reply = json.loads(message)
    good = (
        reply["requestID"] == number
        and reply["success"] is True
        and reply["someOtherThing"] == f"Server processed command: {name}"
    )
    expect(good, f"reply {number} is {message!r:.200}")


class Unexpected(Exception):
    """What came is not what should have come."""


def expect(holds, otherwise):
    if not holds:
        raise Unexpected(otherwise)


async def main():
    failed = False
    for check in (
        commands_on_a_timer,
        commands_at_once,
        binary_command,
        fragmented_command,
        large_command,
        ping,
        malformed_message,
        too_large_message,
        bad_text,
        closing,
        no_compression,
        compression,
    ):
        try:
            await asyncio.wait_for(check(), CHECK_SECONDS_MAX)
            print(f"pass {check.__doc__}", flush=True)
        except Exception as error:
            failed = True
            print(f"fail {check.__doc__}: {type(error).__name__}: {error}", flush=True)
    sys.exit(1 if failed else 0)


asyncio.run(main())
