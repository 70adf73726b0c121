"""Pictures of the figures, as SVG written by hand: bars, and lines over a number that grows.

They carry their own ground and follow the reader's light or dark scheme by themselves.
"""

import dataclasses
import math
from xml.sax.saxutils import escape

from . import measurement
from .number import number

WIDTH = 760
MARGIN = 24
LABEL_WIDTH = 176
VALUE_WIDTH = 96
ROW_HEIGHT = 26
BAR_HEIGHT = 16

STYLE = """
  .ground { fill: #ffffff; stroke: #d8dee4 } .title { fill: #1f2328; font-weight: 600; font-size: 16px }
  .heading { fill: #1f2328; font-weight: 600; font-size: 13px } .note { fill: #59636e; font-size: 12px }
  .label, .value { fill: #1f2328; font-size: 12.5px } .value { font-variant-numeric: tabular-nums }
  .strong { font-weight: 600 } .grid { stroke: #d8dee4; stroke-width: 1 }
  .ours { fill: #0e7c66 } .peer { fill: #8fa3b8 } .floor { fill: #ffffff; stroke: #8fa3b8; stroke-dasharray: 3 2 }
  .spread { stroke: #1f2328; stroke-width: 1.2; fill: none; opacity: .65 }
  .line { fill: none; stroke-width: 2.2 } .line.ours { stroke: #0e7c66; fill: none } .dot { stroke: none }
  .line.peer { stroke: #6d829a; fill: none } .line.floor { stroke: #6d829a; fill: none; stroke-dasharray: 5 4 }
  .dot.floor { fill: #6d829a } .dot.peer { fill: #6d829a }
  @media (prefers-color-scheme: dark) {
    .ground { fill: #0d1117; stroke: #30363d } .title, .heading, .label, .value { fill: #e6edf3 }
    .note { fill: #9198a1 } .grid { stroke: #30363d } .ours { fill: #2bbf9f } .peer { fill: #5a6b7d }
    .floor { fill: #0d1117; stroke: #7d8fa3 } .spread { stroke: #e6edf3 }
    .line.ours { stroke: #2bbf9f } .line.peer, .line.floor { stroke: #8fa3b8 }
    .dot.peer, .dot.floor { fill: #8fa3b8 }
  }
"""


def draw_all(summary):
    """The name of each picture and its text, or None where nothing of it was measured."""
    common, burst = measurement.SUBSCRIBER_COUNT_COMMON, measurement.BURST
    less = "less is better"
    return {
        "peers-echo.svg": bars(summary, "Echo of 64 bytes", "100 connections, messages for each second of the "
                               "server's CPU; more is better", [
            ("16 at a time on each connection", "echo 64 x 16", per_cpu_second, thousands, True),
            ("one at a time", "echo 64 x 1", per_cpu_second, thousands, True),
        ]),
        "peers-commands.svg": bars(summary, "Commands", "JSON parsed and answered, 100 connections, messages for "
                                   "each second of the server's CPU; more is better", [
            ("16 at a time on each connection", "commands x 16", per_cpu_second, thousands, True),
            ("one at a time", "commands x 1", per_cpu_second, thousands, True),
        ]),
        "peers-fanout.svg": bars(summary, f"Fan-out to {common:,} subscribers", "128-byte events, microseconds of "
                                 f"the server's CPU for each delivery; {less}", [
            (f"bursts of {burst}", f"fanout {burst} x {common}", figure("cpu_us"), microseconds, False),
            ("single events", f"fanout 1 x {common}", figure("cpu_us"), microseconds, False),
        ]),
        "peers-memory.svg": bars(summary, "Memory of an idle connection", "bytes of the server's process, "
                                 f"{measurement.IDLE_CONNECTION_COUNT:,} connections that said one thing each; {less}", [
            (None, "idle", figure("bytes"), lambda value: number(value, digits=3), False),
        ]),
        "peers-growth.svg": growth(summary),
        "peers-channels.svg": channels(summary),
    }


def figure(name):
    return lambda summary, key, peer: summary.spread(key, peer, name)


def per_cpu_second(summary, key, peer):
    """What one second of CPU does, from what one message costs."""
    spread = summary.spread(key, peer, "cpu_us")
    if spread is None or not spread.low:
        return None
    return type(spread)(1e6 / spread.median, 1e6 / spread.high, 1e6 / spread.low)


def thousands(value):
    return f"{number(value / 1e3, digits=3)} k" if value < 1e6 else f"{number(value / 1e6, digits=3)} M"


def microseconds(value):
    return f"{number(value, digits=3)} µs"


def bars(summary, title, note, panels):
    drawn, top = [], 84 if panels[0][0] else 70
    for heading, key, read, format_value, more_is_better in panels:
        rows = [(peer, read(summary, key, peer)) for peer in summary.peers(key)]
        rows = [(peer, spread) for peer, spread in rows if spread is not None and not is_variant(peer)]
        if not rows:
            continue
        rows.sort(key=lambda row: row[1].median, reverse=more_is_better)
        if heading:
            drawn.append(text("heading", MARGIN, top, heading))
            top += 14
        width = WIDTH - 2 * MARGIN - LABEL_WIDTH - VALUE_WIDTH
        scale = width / max(max(spread.high for _, spread in rows), 1e-9)
        for peer, spread in rows:
            drawn += bar(summary, peer, spread, top, scale, format_value)
            top += ROW_HEIGHT
        top += 26
    return page(title, note, drawn, top - 8) if drawn else None


def bar(summary, peer, spread, top, scale, format_value):
    left = MARGIN + LABEL_WIDTH
    middle = top + ROW_HEIGHT / 2
    kind = kind_of(peer)
    strong = " strong" if kind == "ours" else ""
    width = max(spread.median * scale, 1)
    end = left + max(spread.high * scale, width)
    return [
        text(f"label{strong}", left - 10, middle + 4, summary.document["peers"][peer]["title"], anchor="end"),
        f'<rect class="{kind}" x="{left}" y="{middle - BAR_HEIGHT / 2}" width="{width:.1f}" height="{BAR_HEIGHT}" '
        f'rx="2"/>',
        whisker(left + spread.low * scale, left + spread.high * scale, middle),
        text(f"value{strong}", end + 8, middle + 4, format_value(spread.median)),
    ]


def whisker(low, high, middle):
    """From the lowest round to the highest."""
    if high - low < 2:
        return ""
    return (f'<path class="spread" d="M{low:.1f} {middle}H{high:.1f}M{low:.1f} {middle - 3}v6'
            f'M{high:.1f} {middle - 3}v6"/>')


@dataclasses.dataclass(frozen=True)
class Line:
    label: str
    # As in the style sheet: ours, peer or floor.
    kind: str
    # A count and the spread of its figure, the fewest first.
    points: list


def growth(summary):
    """What a delivery costs while subscribers become more."""
    counts = [*measurement.SUBSCRIBER_COUNTS, measurement.SUBSCRIBER_COUNT_MOST]
    burst = measurement.BURST
    series = [
        Line(summary.document["peers"][peer]["title"], kind_of(peer),
             points(summary, counts, lambda count: f"fanout {burst} x {count}", peer, "cpu_us"))
        for peer in measurement.GROWING if peer in summary.document["peers"]
    ]
    note = (f"bursts of {burst}, microseconds of the server's CPU for each delivery, and how much dearer with most "
            f"than with fewest")
    return lines("Fan-out to more and more subscribers", note, "subscribers", counts, series)


def channels(summary):
    """What an event costs while channels become more."""
    counts = measurement.CHANNEL_COUNTS
    series = [
        Line(label, kind, points(summary, counts, lambda count: f"channels {count}", "mainstay-session", name))
        for label, kind, name in [("Mainstay, sessions", "ours", "cpu_us"), ("of it the keeper", "peer", "keeper_us")]
    ]
    note = ("each with one listener, microseconds of the server's CPU for an event published and delivered, and how "
            "much dearer")
    return lines("Events to more and more channels", note, "channels", counts, series, scale=math.log)


def points(summary, counts, key, peer, name):
    spreads = [(count, summary.spread(key(count), peer, name)) for count in counts]
    return [(count, spread) for count, spread in spreads if spread]


def lines(title, note, counted, counts, series, scale=float):
    """Lines over counts, which `scale` says how to space."""
    series = [line for line in series if len(line.points) > 1]
    if not series:
        return None
    left, right, top, bottom = MARGIN + 44, WIDTH - MARGIN - 186, 84, 360
    highest = max(spread.high for line in series for _, spread in line.points)
    step, ceiling = grid(highest)
    # A linear axis begins at nothing, where a logarithmic one never gets.
    first = 0 if scale is float else scale(counts[0])

    def x(count):
        return left + (right - left) * (scale(count) - first) / (scale(counts[-1]) - first)

    def y(value):
        return bottom - (bottom - top) * value / ceiling

    drawn = []
    for index in range(round(ceiling / step) + 1):
        value = index * step
        drawn.append(f'<path class="grid" d="M{left} {y(value):.1f}H{right}"/>')
        drawn.append(text("note", left - 8, y(value) + 4, f"{value:g}", anchor="end"))
    for count in counts:
        drawn.append(text("note", x(count), bottom + 20, f"{count:,}", anchor="middle"))
    drawn.append(text("note", (left + right) / 2, bottom + 40, counted, anchor="middle"))
    ends = spread_apart({line.label: y(line.points[-1][1].median) for line in series}, 17)
    for line in series:
        kind = line.kind
        path = "L".join(f"{x(count):.1f} {y(spread.median):.1f}" for count, spread in line.points)
        drawn.append(f'<path class="line {kind}" d="M{path}"/>')
        for count, spread in line.points:
            drawn.append(f'<path class="spread" d="M{x(count):.1f} {y(spread.low):.1f}V{y(spread.high):.1f}"/>')
            drawn.append(f'<circle class="dot {kind}" cx="{x(count):.1f}" cy="{y(spread.median):.1f}" r="3.5"/>')
        strong = " strong" if kind == "ours" else ""
        factor = line.points[-1][1].median / line.points[0][1].median
        drawn.append(text(f"label{strong}", right + 12, ends[line.label] + 4, f"{line.label}: {factor:.2f} ×"))
    return page(title, note, drawn, bottom + 48)


def grid(highest):
    """Steps that people count in, about five of them."""
    for step in [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100]:
        if highest / step <= 6:
            break
    count = -int(-highest // step)
    return step, step * count


def spread_apart(places, distance):
    """Moves labels down that would lie upon each other."""
    moved, last = {}, None
    for name in sorted(places, key=places.get):
        last = places[name] if last is None else max(places[name], last + distance)
        moved[name] = last
    return moved


def kind_of(peer):
    if peer.startswith("mainstay"):
        return "ours"
    return "floor" if peer in ("tcp-echo", "send-loop") else "peer"


def is_variant(peer):
    return peer == "mainstay-2"


def text(kind, x, y, content, anchor="start"):
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(content)}</text>'


def page(title, note, drawn, height):
    head = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height:.0f}" '
        f'viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{escape(title)}" '
        f'font-family="system-ui, -apple-system, Segoe UI, Helvetica, Arial, sans-serif">',
        f"<style>{STYLE}</style>",
        f'<rect class="ground" x=".5" y=".5" width="{WIDTH - 1}" height="{height - 1:.0f}" rx="8"/>',
        text("title", MARGIN, 34, title),
        text("note", MARGIN, 54, note),
    ]
    return "\n".join([*head, *filter(None, drawn), "</svg>"]) + "\n"
