"""What is measured, of whom, and how one measurement becomes figures.

Every measurement has a server of its own. Figures have the same names whatever put the load on: `rate` is
messages or deliveries a second and `cpu_us` the server's processor time for one of them.
"""

import dataclasses
import statistics
import time

from . import peers, process

WHATS = ["echo", "commands", "fanout", "idle", "latency", "open", "growth", "channels", "scaling"]

CONNECTION_COUNT = 100
IDLE_CONNECTION_COUNT = 10_000
SUBSCRIBER_COUNTS = [1_000, 5_000, 10_000]
# Where everybody is measured; the other counts are for those that come near.
SUBSCRIBER_COUNT_COMMON = 5_000
SUBSCRIBER_COUNT_MOST = 19_000
# Each has one listener; so many sessions share them.
CHANNEL_COUNTS = [1_000, 10_000, 100_000]
CHANNEL_LISTENER_COUNT = 1_000
CHANNEL_BURST = 128
CHANNEL_EVENTS_PER_SECOND = 60_000
EVENT_BYTES = 128
BURST = 16
ROUNDS_MAX = 20
# Of what varies little, takes long, or is there for completeness.
SIDE_ROUNDS_MAX = 2

# A run that took this many times what it was to take was disturbed, and is repeated.
DISTURBED_RATIO = 1.1
REPETITIONS_MAX = 2

NEAR = ["mainstay", "mainstay-session", "uwebsockets", "send-loop"]
GROWING = ["mainstay", "uwebsockets", "send-loop"]
SCALING = ["mainstay", "mainstay-2"]
MANY_CHANNELS = ["mainstay-session"]


@dataclasses.dataclass(frozen=True)
class Measurement:
    key: str
    title: str
    # One of WHATS for each purpose it serves, with the names of the peers that it is for.
    wanted_by: dict
    # What the server is started to do.
    work: str
    kind: str
    bytes: int = 0
    depth: int = 1
    burst: int = 1
    subscribers: int = 0
    channels: int = 0
    rounds_max: int = ROUNDS_MAX

    def peer_names(self, whats):
        wanted = {name for what in whats for name in self.wanted_by.get(what, [])}
        return [peer.name for peer in peers.PEERS if peer.name in wanted]


def list_measurements():
    measurements = []
    echoing, commanding, fanning = doing("echo"), doing("command"), doing("fanout")
    for size, label in [(64, "64 bytes"), (16 * 1024, "16 KiB")]:
        for depth in [1, 16]:
            wanted = {"echo": echoing}
            if (size, depth) == (64, 1):
                # Half of what a server does here is the load under which latency is measured.
                wanted["latency"] = commanding
            if (size, depth) == (64, 16):
                wanted["scaling"] = SCALING
            measurements.append(Measurement(
                f"echo {size} x {depth}", f"Echo of {label}, {depth_label(depth)}", wanted, "echo", "load",
                bytes=size, depth=depth, rounds_max=ROUNDS_MAX if size == 64 else SIDE_ROUNDS_MAX,
            ))
    for depth in [1, 16]:
        wanted = {"commands": commanding} | ({"latency": commanding} if depth == 1 else {})
        measurements.append(Measurement(
            f"commands x {depth}", f"Commands (JSON), {depth_label(depth)}", wanted, "command", "load", depth=depth,
        ))
    for key, title, work in [("echo 64", "echo of 64 bytes", "echo"), ("commands", "commands", "command")]:
        measurements.append(Measurement(
            f"latency {key}", f"Latency at half load, {title}", {"latency": commanding}, work, "latency",
            bytes=64 if work == "echo" else 0,
        ))
    for burst in [1, BURST]:
        for count in [*SUBSCRIBER_COUNTS, SUBSCRIBER_COUNT_MOST]:
            wanted = {"fanout": fanning if count == SUBSCRIBER_COUNT_COMMON else NEAR}
            if count == SUBSCRIBER_COUNT_MOST:
                wanted = {}
            if burst == BURST:
                wanted["growth"] = GROWING
                if count == SUBSCRIBER_COUNT_COMMON:
                    wanted["scaling"] = SCALING
            if wanted:
                events = "single events" if burst == 1 else f"bursts of {burst}"
                is_side = burst == 1 and count != SUBSCRIBER_COUNT_COMMON
                measurements.append(Measurement(
                    f"fanout {burst} x {count}", f"Fan-out to {count:,} subscribers, {events}", wanted, "fanout",
                    "fanout", burst=burst, subscribers=count, rounds_max=SIDE_ROUNDS_MAX if is_side else ROUNDS_MAX,
                ))
    measurements.append(Measurement(
        "idle", f"Memory of {IDLE_CONNECTION_COUNT:,} idle connections", {"idle": commanding}, "command", "idle",
        rounds_max=SIDE_ROUNDS_MAX,
    ))
    measurements.append(Measurement(
        "open", f"{IDLE_CONNECTION_COUNT:,} connections return after `kill -9`", {"open": commanding}, "command",
        "open", rounds_max=SIDE_ROUNDS_MAX,
    ))
    for count in CHANNEL_COUNTS:
        measurements.append(Measurement(
            f"channels {count}", f"Events to {count:,} channels", {"channels": MANY_CHANNELS}, "fanout", "channels",
            burst=CHANNEL_BURST, subscribers=CHANNEL_LISTENER_COUNT, channels=count,
        ))
    return measurements


def doing(work):
    """Who does it, without those that are only there to be compared with themselves."""
    return [peer.name for peer in peers.PEERS if work in peer.works and peer.shard_count == 1]


def depth_label(depth):
    return "one at a time on each connection" if depth == 1 else f"{depth} at a time on each connection"


class Bench:
    """Runs measurements with these tools, for so many seconds each."""

    def __init__(self, tools, seconds, warm_up_ms, log_folder):
        self.tools = tools
        self.seconds = seconds
        self.warm_up_ms = warm_up_ms
        self.log_folder = log_folder

    def measure(self, measurement, peer, built, results):
        """Figures, or a dictionary with the `problem` alone."""
        try:
            return self.measure_undisturbed(measurement, peer, built, results)
        except process.Failed as problem:
            return {"problem": str(problem)}

    def measure_undisturbed(self, measurement, peer, built, results):
        """A machine that stood still meanwhile shows in a run that took longer than it was to take. Such
        a run is repeated, whoever's it was, a bounded number of times, and its repetitions are counted."""
        run = getattr(self, f"run_{measurement.kind}")
        for repeated in range(REPETITIONS_MAX + 1):
            figures = run(measurement, peer, built, results)
            figures["repeated"] = repeated
            figures["disturbed"] = self.is_disturbed(measurement, figures)
            if not figures["disturbed"]:
                break
        return figures

    def is_disturbed(self, measurement, figures):
        # A burst is finished whenever it began in time, so only these end when they are told to.
        return measurement.kind in ("load", "latency") and figures["seconds"] > self.seconds * DISTURBED_RATIO

    def run_load(self, measurement, peer, built, results, extra=()):
        if peer.is_tcp:
            command = [*self.load_program(), "tcp-echo", "--connections", str(CONNECTION_COUNT), "--bytes",
                       str(measurement.bytes), "--depth", str(measurement.depth), *self.load_times()]
        else:
            what = "echo" if measurement.work == "echo" else "commands"
            command = [
                *self.tools.mainstay, "bench", what, "--json", "--connections", str(CONNECTION_COUNT), "--depth",
                str(measurement.depth), "--duration", f"{self.seconds}s", "--warmup", f"{self.warm_up_ms}ms", *extra,
            ]
            if measurement.bytes:
                command += ["--bytes", str(measurement.bytes)]
        return message_figures(self.run_against(measurement, peer, built, command))

    def run_latency(self, measurement, peer, built, results):
        base = "echo 64 x 1" if measurement.work == "echo" else "commands x 1"
        rates = [figures["rate"] for figures in results.get(base, {}).get(peer.name, []) if "rate" in figures]
        if not rates:
            raise process.Failed("its own maximum is not known")
        rate = max(1, round(statistics.median(rates) / 2))
        figures = self.run_load(measurement, peer, built, results, extra=["--rate", str(rate)])
        if figures["rate"] < rate * RATE_REACHED_RATIO:
            raise process.Failed(f"{figures['rate']:,.0f} of {rate:,} messages a second came to pass")
        return figures | {"rate_wanted": rate}

    def run_fanout(self, measurement, peer, built, results):
        command = [
            *self.load_program(), "fanout", "--speaks", peer.speaks, "--subscribers", str(measurement.subscribers),
            "--burst", str(measurement.burst), *self.load_times(),
        ]
        figures = self.run_against(measurement, peer, built, command)
        return {
            "rate": figures["deliveries_per_second"],
            "cpu_us": figures["server_cpu_ns_per_delivery"] / 1e3,
            "seconds": figures["seconds"],
            "server_percent": figures["server_cpu_percent"],
            "load_percent": figures["load_cpu_percent"],
            "p50_us": figures["to_last_us"]["p50"],
            "p99_us": figures["to_last_us"]["p99"],
        }

    def run_channels(self, measurement, peer, built, results):
        figures = self.run_against(measurement, peer, built, [
            *self.tools.mainstay, "bench", "fanout", "--json", "--subscribers", str(measurement.subscribers),
            "--channels", str(measurement.channels), "--burst", str(measurement.burst),
            "--events", str(CHANNEL_EVENTS_PER_SECOND * self.seconds),
        ])
        return {
            "rate": figures["deliveries_per_second"],
            "cpu_us": figures["server_cpu_ns_each"] / 1e3,
            "keeper_us": figures["keeper_cpu_ns_each"] / 1e3,
            "seconds": figures["seconds"],
            "server_percent": figures["server_cpu_percent"],
        }

    def run_idle(self, measurement, peer, built, results):
        return idle_figures(self.run_against(measurement, peer, built, self.idle_command()))

    def run_open(self, measurement, peer, built, results):
        """Opens all connections, kills the server under them, starts it again where it was, and measures
        how they open once more."""
        port, log = process.free_port(), self.log(peer)
        with process.running(peer, built, measurement.work, port, log) as server:
            command = self.at(self.idle_command(), peer, port, server.pid)
            first = process.start_load(command)
            try:
                wait_open(server.pid, IDLE_CONNECTION_COUNT)
            finally:
                process.kill(server)
                process.kill(first)
                first.communicate()
        killed_at = time.monotonic()
        with process.running(peer, built, measurement.work, port, log) as server:
            restart_seconds = time.monotonic() - killed_at
            command = self.at(self.idle_command(), peer, port, server.pid)
            figures = idle_figures(process.run_load(command, self.seconds))
        if figures["open_seconds"] is None:
            raise process.Failed("the load does not tell how long opening took")
        return figures | {"restart_seconds": restart_seconds}

    def run_against(self, measurement, peer, built, command):
        port = process.free_port()
        with process.running(peer, built, measurement.work, port, self.log(peer)) as server:
            return process.run_load(self.at(command, peer, port, server.pid), self.seconds)

    def at(self, command, peer, port, pid):
        address = f"127.0.0.1:{port}"
        where = ["--address", address] if peer.is_tcp else ["--url", f"ws://{address}/server"]
        return [*command, *where, "--pid", str(pid)]

    def idle_command(self):
        return [*self.tools.mainstay, "bench", "idle", "--json", "--connections", str(IDLE_CONNECTION_COUNT)]

    def load_times(self):
        return ["--seconds", str(self.seconds), "--warmup-seconds", str(self.warm_up_ms / 1000)]

    def load_program(self):
        if isinstance(self.tools.load, str):
            raise process.Failed(f"the load is missing: {self.tools.load}")
        return self.tools.load.program

    def log(self, peer):
        return self.log_folder / f"{peer.name}.log"


def wait_open(pid, count):
    deadline = time.monotonic() + OPEN_SECONDS_MAX
    while time.monotonic() < deadline:
        if process.open_file_count(pid) >= count:
            return
        time.sleep(0.02)
    raise process.Failed(f"{count:,} connections did not open within {OPEN_SECONDS_MAX} s")


def message_figures(figures):
    latency, rate = figures["latency_us"], figures.get("rate")
    # A load that sends late has its own delay in the latency.
    kept = {"late_p99_us": rate["late_us"]["p99"], "rate_kept": rate["kept"]} if rate else {}
    return kept | {
        "rate": figures["messages_per_second"],
        "cpu_us": figures["server_cpu"]["us_per_message"],
        "seconds": figures["seconds"],
        "server_percent": figures["server_cpu"]["percent"],
        "load_percent": figures["client_cpu"]["percent"],
        "p50_us": latency.get("p50"),
        "p99_us": latency.get("p99"),
        "p999_us": latency.get("p99.9"),
    }


def idle_figures(figures):
    opening = figures.get("opening") or {}
    return {
        "bytes": figures["bytes_per_connection"],
        "open_seconds": opening.get("seconds"),
        "open_cpu_seconds": opening.get("server_cpu_seconds"),
    }


OPEN_SECONDS_MAX = 30
# Below it the server, or the load, did not keep up, and latency is that of a queue which grows.
RATE_REACHED_RATIO = 0.95
