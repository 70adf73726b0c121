"""Servers and loads as processes: pinned, awaited, bounded, and ended by their own ids."""

import contextlib
import json
import os
import pathlib
import resource
import signal
import socket
import subprocess
import time

SERVER_CPUS = "0"
LOAD_CPUS = "1"
# A server that is not there after this time will not come.
START_SECONDS_MAX = 10
# What a load may take beside the time that it measures: opening, warming up, closing.
SLACK_SECONDS = 60
OPEN_FILES = 40_000


class Failed(Exception):
    """A measurement that gave no figures; its text says why."""


def raise_open_files():
    """Servers and loads inherit it; 10,000 connections are 10,000 files on each side."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def server_cpus(shard_count):
    """Past the first shard it takes CPUs that the load does not have, where there are any."""
    cpu_count = os.cpu_count() or 1
    own = [0, *range(2, cpu_count), 1]
    return ",".join(str(cpu) for cpu in sorted(own[:shard_count])) if shard_count > 1 else SERVER_CPUS


@contextlib.contextmanager
def running(peer, built, work, port, log):
    """A server of its own for one measurement, so that none inherits another's memory."""
    address = f"127.0.0.1:{port}"
    command = peer.command(built.program, address, work)
    with open(log, "ab") as file:
        # taskset replaces itself by the server, so the process is the server's.
        server = subprocess.Popen(
            ["taskset", "--cpu-list", server_cpus(peer.shard_count), *command],
            env=os.environ | peer.environment, stdin=subprocess.DEVNULL, stdout=file, stderr=file,
        )
    try:
        wait_listening(server, port, log)
        yield server
    finally:
        kill(server)


def kill(server):
    server.send_signal(signal.SIGKILL)
    server.wait()


def wait_listening(server, port, log):
    deadline = time.monotonic() + START_SECONDS_MAX
    while time.monotonic() < deadline and server.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.005)
    said = pathlib.Path(log).read_text(errors="replace").strip().splitlines()
    raise Failed(f"the server did not start: {said[-1] if said else 'it said nothing'}")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start_load(command):
    return subprocess.Popen(
        ["taskset", "--cpu-list", LOAD_CPUS, *command],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )


def run_load(command, seconds):
    """What the load prints as JSON, and what was amiss if it says so by its exit code."""
    load = start_load(command)
    try:
        out, problems = load.communicate(timeout=seconds + SLACK_SECONDS)
    except subprocess.TimeoutExpired:
        kill(load)
        load.communicate()
        raise Failed(f"the load did not end within {seconds + SLACK_SECONDS} s") from None
    try:
        figures = json.loads(out)
    except ValueError:
        said = problems.decode(errors="replace").strip().splitlines()
        # The first line says it; what may follow is how to ask for help.
        raise Failed(said[0] if said else f"the load ended with {load.returncode}") from None
    if load.returncode != 0:
        raise Failed(f"not everything came as it should: {flaws(figures)}")
    return figures


def flaws(figures):
    """What a load says was amiss, in a few words."""
    parts = [f"{figures[name]} {name}" for name in ("missing", "extra") if figures.get(name)]
    for name, value in (figures.get("flaws") or {}).items():
        if value and name != "wrong_examples":
            parts.append(f"{name.replace('_', ' ')}: {value}")
    return "; ".join(parts) or "the load does not say what"


def cpu_seconds(pid):
    """CPU time of all threads of a process, user and kernel."""
    total = 0
    for schedstat in pathlib.Path(f"/proc/{pid}/task").glob("*/schedstat"):
        with contextlib.suppress(OSError):
            total += int(schedstat.read_text().split()[0])
    return total / 1e9


def open_file_count(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))
