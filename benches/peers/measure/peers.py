"""Who is measured: what each is, how it is started, and what it can do."""

import dataclasses
import pathlib

ALL_CONNECTIONS = "30000"


@dataclasses.dataclass(frozen=True)
class Peer:
    name: str
    title: str
    # One sentence for the report: which way of this library, and with what settings.
    configuration: str
    # The part of build.py that makes the program; several peers may share one.
    built_by: str
    # echo, command and fanout, as far as it does them.
    works: tuple
    # From the program's path, the address and the work, the command line.
    command: object
    environment: dict = dataclasses.field(default_factory=dict)
    # How the load of fan-out speaks to it.
    speaks: str = "relay"
    # A floor is no WebSocket server of use: it says what the kernel alone costs.
    is_floor: bool = False
    # Where it answers less than a WebSocket handshake, the load speaks plain TCP.
    is_tcp: bool = False
    shard_count: int = 1


def plain(program, address, work):
    return [*program, "--address", address, "--work", work]


def nats(program, address, work):
    """Its WebSocket listener is configured by a file only, which is put beside the program."""
    host, port = address.split(":")
    configuration = pathlib.Path(program[0]).with_name("peer.conf")
    configuration.write_text(
        # It insists on a port of its own protocol; -1 is any.
        f'host: "{host}"\nport: -1\n'
        f'websocket {{ host: "{host}", port: {port}, no_tls: true, compression: false }}\n'
    )
    return [*program, "--config", str(configuration)]


def mainstay(shards):
    def command(program, address, work):
        return [
            *program, "server", "--address", address, "--admin-address", "none", "--shards", str(shards),
            "--dialect", "echo" if work == "echo" else "command", "--log", "warn",
            # The whole load comes from this machine.
            "--connection-count-max", ALL_CONNECTIONS, "--connection-count-per-address-max", ALL_CONNECTIONS,
            # One client of many channels, as the server sees it.
            "--channels-per-principal-max", "100000",
            # Sixteen messages of 16 KiB under way are more than the default allows.
            "--message-bytes-max", "1MiB", "--outbox-bytes-max", "1MiB",
        ]
    return command


ONE_THREAD = {"GOMAXPROCS": "1"}
EVERYTHING = ("echo", "command", "fanout")

PEERS = [
    Peer(
        "mainstay", "Mainstay",
        "`mainstay server --shards 1`, defaults apart from limits on connections and waiting bytes; in fan-out "
        "the subscribers are plain WebSocket clients (`?channel=news`).",
        "mainstay", EVERYTHING, mainstay(1), speaks="mainstay",
    ),
    Peer(
        "mainstay-session", "Mainstay, sessions",
        "The same server; the subscribers are sessions, which are told every event exactly once and in order "
        "over lost connections; none of the others, as they are here, promises that.",
        "mainstay", ("fanout",), mainstay(1), speaks="mainstay-session",
    ),
    Peer(
        "mainstay-2", "Mainstay, 2 shards",
        "`mainstay server --shards 2` on two CPUs.",
        "mainstay", ("echo", "fanout"), mainstay(2), speaks="mainstay", shard_count=2,
    ),
    Peer(
        "uwebsockets", "uWebSockets (C++)",
        "One loop, `-O3 -march=native -flto`, no TLS, no compression; `publish` to a topic, which joins what one "
        "turn of the loop brought; commands with RapidJSON.",
        "uwebsockets", EVERYTHING, plain,
    ),
    Peer(
        "uwebsockets-js", "uWebSockets.js",
        "The same C++ server inside Node, as packaged in `@trufflesuite/uws-js-unofficial`; `publish` to a topic.",
        "uwebsockets-js", EVERYTHING, plain,
    ),
    Peer(
        "bun", "Bun",
        "`Bun.serve` with `server.publish`; below is a fork of uWebSockets.",
        "bun", EVERYTHING, plain,
    ),
    Peer(
        "fastwebsockets", "fastwebsockets (Rust)",
        "On one thread of Tokio; fan-out through a channel of each subscriber.",
        "fastwebsockets", EVERYTHING, plain,
    ),
    Peer(
        "tungstenite", "tungstenite (Rust)",
        "On one thread of Tokio (tokio-tungstenite); fan-out through a channel of each subscriber.",
        "tungstenite", EVERYTHING, plain,
    ),
    Peer(
        "gorilla", "gorilla/websocket (Go)",
        "GOMAXPROCS=1, a goroutine for each connection, pooled write buffers; fan-out with `PreparedMessage` "
        "and a writing goroutine for each subscriber.",
        "gorilla", EVERYTHING, plain, environment=ONE_THREAD,
    ),
    Peer(
        "go-xnet", "x/net/websocket (Go)",
        "GOMAXPROCS=1, a goroutine for each connection; fan-out with a writing goroutine for each subscriber.",
        "go-xnet", EVERYTHING, plain, environment=ONE_THREAD,
    ),
    Peer(
        "ws", "ws (Node)",
        "No compression, with its optional native `bufferutil`; fan-out is `send` to each subscriber.",
        "ws", EVERYTHING, plain,
    ),
    Peer(
        "socketio", "Socket.IO (Node)",
        "WebSocket transport only, no compression, no pings meanwhile; `io.emit`, whose packets are those of "
        "its own protocol.",
        "socketio", ("fanout",), plain, speaks="socketio",
    ),
    Peer(
        "nats", "NATS server",
        "Core NATS over its WebSocket listener, no TLS, no compression, GOMAXPROCS=1; one subject.",
        "nats", ("fanout",), nats, environment=ONE_THREAD, speaks="nats",
    ),
    Peer(
        "tcp-echo", "raw TCP echo",
        "Floor: epoll, `read` and `write` of whatever bytes come, no WebSocket at all.",
        "tcp-echo", ("echo",), plain, is_floor=True, is_tcp=True,
    ),
    Peer(
        "send-loop", "plain send loop",
        "Floor: one prebuilt buffer and one `send` for each subscriber, joined over what one read brought.",
        "send-loop", ("fanout",), plain, is_floor=True,
    ),
]

def find(name):
    return next(peer for peer in PEERS if peer.name == name)
