"""The figures as Markdown: benches/PEERS.md, and the section of the README."""

import datetime

from . import measurement, peers
from .number import number

README_START, README_END = "<!-- peers -->", "<!-- /peers -->"

# Columns of the README, which has no room for everybody.
README_PEERS = ["mainstay", "uwebsockets", "gorilla", "go-xnet", "ws"]
README_PICTURES = ["peers-commands.svg", "peers-fanout.svg", "peers-memory.svg"]


def render_report(summary, pictures):
    document = summary.document
    parts = [
        "# Mainstay beside its peers",
        f"Made by `just peers`; nothing here is typed by hand. {conditions(document)}",
        "Medians of the rounds, and in brackets the lowest and the highest. A ratio is one of medians, with the "
        "lowest and the highest that one round gave. What counts is the server's CPU time for a message or a "
        "delivery, which the kernel keeps for each process: rates are bounded by the load as well wherever the "
        "server has not all of its CPU. How it is measured, and what not to conclude: "
        "[peers/README.md](peers/README.md). All raw figures: [peers/results.json](peers/results.json).",
        "## Goals", render_goals(summary),
        "## Pictures", "\n\n".join(picture(name, "../docs/images/") for name in pictures),
        "## Figures",
    ]
    for listed in measurement.list_measurements():
        if summary.has(listed.key) and listed.kind in RENDERERS:
            parts += [f"### {listed.title}", RENDERERS[listed.kind](summary, listed)]
            parts += render_problems(summary, listed.key)
    parts += render_channels(summary)
    parts += render_scaling(summary)
    parts += ["## Peers", render_peers(document)]
    parts += render_missing(document)
    return "\n\n".join(part for part in parts if part) + "\n"


def conditions(document):
    machine, options = document["machine"], document["options"]
    virtual = "a virtual machine with " if machine["is_virtual"] else ""
    date = datetime.date.fromisoformat(document["date"])
    shared = machine["server_and_load_share_a_core"]
    cores = ", which are two threads of one core" if shared else ""
    rounds = f"{options['rounds']} rounds" if options["rounds"] > 1 else "one round"
    seconds = f"{options['seconds']} s" if options["seconds"] != 1 else "one second"
    quick = " A quick run, to look whether everything works: no figures to quote." if options.get("quick") else ""
    return (
        f"Measured on {date.day} {date:%B %Y} on {virtual}{machine['cpu_count']} CPUs ({machine['cpu']}), "
        f"{machine['memory_gb']} GB, {machine['system']}, kernel {machine['kernel']}: the server alone on one CPU, "
        f"the load on another{cores}; {rounds} of {seconds} for each figure, the servers taking turns.{quick}"
    )


def render_goals(summary):
    rows = []
    for goal in summary.goals():
        bound = f"{'≥' if goal.at_least else '≤'} {goal.bound:g} ×" if goal.is_ratio else f"≤ {goal.bound:,} bytes"
        reached = {None: "not measured", True: "reached", False: "**missed**"}[goal.is_reached]
        value = "–" if goal.value is None else spread_cell(goal.value, " ×" if goal.is_ratio else "")
        rows.append([goal.what, goal.against, bound, value, reached])
    return table(["what", "measured against", "goal", "measured", ""], rows)


def render_messages(summary, listed):
    return rated(summary, listed, "messages/s", "CPU µs per message", ["p50_us", "p99_us"], ["p50 ms", "p99 ms"])


def render_latency(summary, listed):
    note = "Open loop: a message's time counts from when it was to be sent. Each server has half of the rate that " \
        "it reached one at a time on each connection."
    columns = ["p50_us", "p99_us", "p999_us", "late_p99_us"]
    titles = ["p50 ms", "p99 ms", "p99.9 ms", "sent late, p99 ms"]
    text = note + "\n\n" + rated(
        summary, listed, "messages/s", "CPU µs per message", columns, titles, sort="p99_us", compare="p99_us")
    late = [peer for peer in summary.peers(listed.key) if False in summary.values(listed.key, peer, "rate_kept")]
    if late:
        names = ", ".join(summary.document["peers"][peer]["title"] for peer in late)
        text += f"\n\nIn some rounds the load fell behind, and its own delay is in the latency: {names}."
    return text


def render_fanout(summary, listed):
    return rated(
        summary, listed, "deliveries/s", "CPU µs per delivery", ["p50_us", "p99_us"],
        ["to the last, p50 ms", "p99 ms"])


def rated(summary, listed, rate, cost, latencies, latency_titles, sort="cpu_us", compare="cpu_us"):
    what = "p99" if compare == "p99_us" else "CPU"
    floor = floor_of(listed) if compare == "cpu_us" else None
    headings = ["", cost, rate, "server CPU", "load CPU", *latency_titles, f"{what} ÷ uWebSockets"]
    headings += [f"{what} ÷ floor"] if floor else []
    rows = []
    for peer in ordered(summary, listed.key, sort):
        cells = [
            name_cell(summary, peer),
            cell(summary.spread(listed.key, peer, "cpu_us")),
            cell(summary.spread(listed.key, peer, "rate")),
            percent(summary.spread(listed.key, peer, "server_percent")),
            percent(summary.spread(listed.key, peer, "load_percent")),
            *(milliseconds(summary.spread(listed.key, peer, name)) for name in latencies),
        ]
        for other in ["uwebsockets", *([floor] if floor else [])]:
            cells.append(cell(summary.ratio(compare, (listed.key, peer), (listed.key, other))))
        rows.append(cells)
    return table(headings, rows)


def render_idle(summary, listed):
    rows = [
        [name_cell(summary, peer), cell(summary.spread(listed.key, peer, "bytes")),
         cell(summary.ratio("bytes", (listed.key, peer), (listed.key, "uwebsockets"))),
         cell(summary.spread(listed.key, peer, "open_seconds")),
         cell(summary.spread(listed.key, peer, "open_cpu_seconds"))]
        for peer in ordered(summary, listed.key, "bytes")
    ]
    note = "In user space, after one command on each; the kernel's sockets, more than 3 KB each, are the same for all."
    headings = ["", "bytes per connection", "÷ uWebSockets", "opening all, s", "server CPU for it, s"]
    return note + "\n\n" + table(headings, rows)


def render_open(summary, listed):
    rows = [
        [name_cell(summary, peer), cell(summary.spread(listed.key, peer, "restart_seconds")),
         cell(summary.spread(listed.key, peer, "open_seconds")),
         cell(summary.spread(listed.key, peer, "open_cpu_seconds")),
         cell(summary.ratio("open_cpu_seconds", (listed.key, peer), (listed.key, "uwebsockets")))]
        for peer in ordered(summary, listed.key, "open_cpu_seconds")
    ]
    headings = ["", "listens again after, s", "all are open after, s", "server CPU for it, s", "CPU ÷ uWebSockets"]
    return table(headings, rows)


def render_channels(summary):
    ours, fewest = "mainstay-session", f"channels {measurement.CHANNEL_COUNTS[0]}"
    rows = []
    for count in measurement.CHANNEL_COUNTS:
        key = f"channels {count}"
        if summary.has(key):
            rows.append([
                f"{count:,}", cell(summary.spread(key, ours, "cpu_us")), cell(summary.spread(key, ours, "keeper_us")),
                cell(summary.spread(key, ours, "rate")), cell(summary.ratio("cpu_us", (key, ours), (fewest, ours))),
            ])
    if not rows:
        return []
    note = f"Sessions of Mainstay: {measurement.CHANNEL_LISTENER_COUNT:,} of them share the channels, each of which " \
        f"one listens to. Events go to the channels in turn, {measurement.CHANNEL_BURST} at once, so each costs a " \
        "publish, a delivery and a write of its own."
    problems = [line for count in measurement.CHANNEL_COUNTS if summary.has(f"channels {count}")
                for line in render_problems(summary, f"channels {count}")]
    return ["### More and more channels", note, table(
        ["channels", "CPU µs per event", "of it the keeper's", "events/s", "CPU ÷ fewest"], rows), *problems]


def render_scaling(summary):
    rows = []
    for listed in measurement.list_measurements():
        if summary.results.get(listed.key, {}).get("mainstay-2"):
            one, two = (listed.key, "mainstay"), (listed.key, "mainstay-2")
            rows.append([
                listed.title, cell(summary.spread(*one, "rate")), cell(summary.spread(*two, "rate")),
                cell(summary.ratio("rate", two, one)), cell(summary.ratio("cpu_us", two, one)),
                percent(summary.spread(*two, "server_percent")),
            ])
    if not rows:
        return []
    shares = summary.document["machine"]["cpu_count"] < 3
    note = "This machine has no third CPU: the second shard shares the load's, so rates say nothing and only the " \
        "CPU time does." if shares else "The second shard has a CPU of its own."
    return ["### Mainstay with two shards", note, table(
        ["", "one shard, /s", "two shards, /s", "rate ÷ one shard", "CPU each ÷ one shard", "CPU of two shards"], rows)]


def render_problems(summary, key):
    names = [name for name in summary.results[key] if summary.problem(key, name)]
    lines = [f"- **{summary.document['peers'][name]['title']}** failed: {summary.problem(key, name)}" for name in names]
    return ["\n".join(lines)] if lines else []


def render_peers(document):
    rows = [
        [peer["title"], peer["version"], peer["configuration"]]
        for peer in document["peers"].values() if peer.get("version")
    ]
    return table(["", "version", "how"], rows)


def render_missing(document):
    lines = [f"- {peer['title']}: {peer['problem']}" for peer in document["peers"].values() if peer.get("problem")]
    lines += [f"- {text}" for text in document.get("cut", [])]
    return ["## Not measured", "\n".join(lines)] if lines else []


def render_readme(summary, pictures):
    """The section between the markers, with them."""
    document = summary.document
    present = [name for name in README_PEERS if document["peers"].get(name, {}).get("version")]
    common, burst = measurement.SUBSCRIBER_COUNT_COMMON, measurement.BURST
    wanted = [
        ("echo of 64 bytes, CPU µs each", "echo 64 x 16", "cpu_us", 1),
        ("commands (JSON), CPU µs each", "commands x 16", "cpu_us", 1),
        (f"fan-out to {common:,}, bursts of {burst}, CPU µs each", f"fanout {burst} x {common}", "cpu_us", 1),
        (f"fan-out to {common:,}, single events, CPU µs each", f"fanout 1 x {common}", "cpu_us", 1),
        ("latency p99 at half load, commands, ms", "latency commands", "p99_us", 1e3),
        ("memory of an idle connection, bytes", "idle", "bytes", 1),
    ]
    rows = []
    for label, key, figure, divisor in wanted:
        spreads = [summary.spread(key, peer, figure) for peer in present]
        if any(spreads):
            rows.append([label, *("–" if spread is None else number(spread.median / divisor) for spread in spreads)])
    reached = [goal.is_reached for goal in summary.goals() if goal.is_reached is not None]
    parts = [
        README_START,
        f"Beside servers that others wrote, one thread each, in one run of `just peers`. {conditions(document)} "
        "Medians; less is better:",
        table(["", *(document["peers"][name]["title"] for name in present)], rows),
        "\n\n".join(picture(name, "docs/images/") for name in README_PICTURES if name in pictures),
        f"{sum(reached)} of {len(reached)} goals are reached. [benches/PEERS.md](benches/PEERS.md) has them, all "
        "figures with their spread, and the versions and settings of everybody; "
        "[benches/peers](benches/peers/README.md) how they are measured, and what not to conclude.",
        README_END,
    ]
    return "\n\n".join(parts)


def replace_section(readme, section):
    """The README with its section written anew."""
    before, start, rest = readme.partition(README_START)
    _, end, after = rest.partition(README_END)
    if not start or not end:
        raise ValueError(f"the README has no {README_START} … {README_END}")
    return before + section + after


def picture(name, folder):
    return f"![{PICTURES[name]}]({folder}{name})"


def ordered(summary, key, figure):
    """Floors first, then the cheapest; whoever has no figures last."""
    def place(peer):
        spread = summary.spread(key, peer, figure)
        return (not is_floor(peer), spread is None, spread.median if spread else 0)

    return sorted((peer for peer in summary.peers(key) if peer != "mainstay-2"), key=place)


def is_floor(name):
    return any(peer.name == name and peer.is_floor for peer in peers.PEERS)


def floor_of(listed):
    return {"echo": "tcp-echo", "fanout": "send-loop"}.get(listed.work)


def name_cell(summary, peer):
    title = summary.document["peers"][peer]["title"]
    if peer.startswith("mainstay"):
        return f"**{title}**"
    return f"*{title}*" if is_floor(peer) else title


def cell(spread):
    return "–" if spread is None else spread_cell(spread)


def spread_cell(spread, unit=""):
    median, low, high = number(spread.median), number(spread.low), number(spread.high)
    return f"{median}{unit}" if low == median == high else f"{median}{unit} [{low}–{high}]"


def percent(spread):
    return "–" if spread is None else f"{spread.median:.0f} %"


def milliseconds(spread):
    return "–" if spread is None else number(spread.median / 1e3)


def table(headings, rows):
    lines = [headings, ["---", *["---:"] * (len(headings) - 1)] if is_figures(rows) else ["---"] * len(headings), *rows]
    return "\n".join("| " + " | ".join(str(field).replace("|", "\\|") for field in line) + " |" for line in lines)


def is_figures(rows):
    return bool(rows) and all(not field or field[0].isdigit() or field[0] in "–*<-" for row in rows for field in row[1:])


RENDERERS = {
    "load": render_messages,
    "latency": render_latency,
    "fanout": render_fanout,
    "idle": render_idle,
    "open": render_open,
}

PICTURES = {
    "peers-echo.svg": "Echo of 64 bytes: messages for each second of CPU, by server",
    "peers-commands.svg": "Commands: messages for each second of CPU, by server",
    "peers-fanout.svg": "Fan-out: CPU time for each delivery, by server",
    "peers-memory.svg": "Memory of an idle connection, by server",
    "peers-growth.svg": "CPU time for each delivery while subscribers become more",
    "peers-channels.svg": "CPU time for each event while channels become more",
}
