"""From the figures of all rounds to medians, ratios, and the goals that they are held against."""

import dataclasses
import statistics

from . import measurement


@dataclasses.dataclass(frozen=True)
class Spread:
    median: float
    low: float
    high: float


@dataclasses.dataclass(frozen=True)
class Goal:
    what: str
    against: str
    # The bound, and whether to be above it or below is to reach it.
    bound: float
    at_least: bool
    # A ratio, or bytes where there is nobody to compare with; None if it was not measured.
    value: object
    is_ratio: bool = True

    @property
    def is_reached(self):
        if self.value is None:
            return None
        median = self.value.median
        return median >= self.bound if self.at_least else median <= self.bound


class Summary:
    """Reads the document that `run` writes."""

    def __init__(self, document):
        self.document = document
        self.results = document["results"]

    def has(self, key):
        return bool(self.results.get(key))

    def peers(self, key):
        """Who was measured, in the order of the list of peers."""
        return [name for name in self.document["peers"] if name in self.results.get(key, {})]

    def values(self, key, peer, figure):
        rounds = self.results.get(key, {}).get(peer, [])
        return [figures.get(figure) for figures in rounds]

    def spread(self, key, peer, figure):
        return spread_of(self.values(key, peer, figure))

    def problem(self, key, peer):
        """Why there are no figures, or not of every round."""
        rounds = self.results.get(key, {}).get(peer, [])
        problems = [figures["problem"] for figures in rounds if "problem" in figures]
        if not problems:
            return None
        return problems[0] if len(rounds) == 1 else f"{len(problems)} of {len(rounds)} rounds: {problems[0]}"

    def ratio(self, figure, over, under):
        """The ratio of medians, with the lowest and the highest of the ratios within one round; `over`
        and `under` are each the key of a measurement and the name of a peer."""
        above, below = self.values(*over, figure), self.values(*under, figure)
        medians = spread_of(above), spread_of(below)
        if None in medians or not medians[1].median:
            return None
        rounds = [a / b for a, b in zip(above, below) if a is not None and b]
        ratio = medians[0].median / medians[1].median
        return Spread(ratio, min([ratio, *rounds]), max([ratio, *rounds]))

    def goals(self):
        ours, uws, floor, loop, go = "mainstay", "uwebsockets", "tcp-echo", "send-loop", "go-xnet"
        burst = measurement.BURST
        most, common = measurement.SUBSCRIBER_COUNT_MOST, measurement.SUBSCRIBER_COUNT_COMMON
        fewest = measurement.SUBSCRIBER_COUNTS[0]
        echo, single, bursts = "echo 64 x 16", f"fanout 1 x {common}", f"fanout {burst} x {common}"

        def faster(key, other):
            # Messages that one second of CPU does, so the others' CPU time is above.
            return self.ratio("cpu_us", (key, other), (key, ours))

        def dearer(key, other):
            return self.ratio("cpu_us", (key, ours), (key, other))

        return [
            Goal("commands, 16 at a time, for each CPU second", title(self, go), 10, True, faster("commands x 16", go)),
            Goal("commands, one at a time, for each CPU second", title(self, go), 10, True, faster("commands x 1", go)),
            Goal("echo of 64 bytes, 16 at a time, for each CPU second", title(self, uws), 1, True, faster(echo, uws)),
            Goal("the same", title(self, floor), 0.85, True, faster(echo, floor)),
            Goal(f"fan-out to {common:,} in bursts of {burst}: CPU for each delivery", title(self, uws), 0.8, False,
                 dearer(bursts, uws)),
            Goal(f"fan-out to {common:,} in single events: CPU for each delivery", title(self, uws), 0.9, False,
                 dearer(single, uws)),
            Goal("the same", title(self, loop), 1, False, dearer(single, loop)),
            Goal("latency p99 at half load, echo", title(self, uws), 1.1, False,
                 self.ratio("p99_us", ("latency echo 64", ours), ("latency echo 64", uws))),
            Goal("latency p99 at half load, commands", title(self, uws), 1.1, False,
                 self.ratio("p99_us", ("latency commands", ours), ("latency commands", uws))),
            Goal("memory of an idle connection, command dialect", "bytes", 1536, False,
                 self.spread("idle", ours, "bytes"), is_ratio=False),
            Goal(f"CPU for each delivery in bursts of {burst}, {most:,} subscribers", f"itself with {fewest:,}", 1.25,
                 False, self.ratio("cpu_us", (f"fanout {burst} x {most}", ours), (f"fanout {burst} x {fewest}", ours))),
        ]

    def disturbed_counts(self):
        """Runs that were repeated, and runs that stayed disturbed nonetheless."""
        runs = [run for of_peers in self.results.values() for rounds in of_peers.values() for run in rounds]
        return sum(run.get("repeated", 0) > 0 for run in runs), sum(bool(run.get("disturbed")) for run in runs)


def spread_of(values):
    present = [value for value in values if value is not None]
    return Spread(statistics.median(present), min(present), max(present)) if present else None


def title(summary, peer):
    return summary.document["peers"].get(peer, {}).get("title", peer)
