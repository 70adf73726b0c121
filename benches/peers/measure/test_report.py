"""Tables, ratios, goals and pictures of figures that are made up. `python3 -m unittest`, in benches/peers."""

import re
import unittest
from xml.etree import ElementTree

from . import measurement, peers, plot, summary, table
from .number import number


def figures(cpu_us, **others):
    return {
        "rate": 1e6 / cpu_us, "cpu_us": cpu_us, "seconds": 2.0, "server_percent": 99.6, "load_percent": 70.2,
        "p50_us": 400.0, "p99_us": 900.0, "p999_us": 1500.0, "repeated": 0, "disturbed": False,
    } | others


def document(results, **others):
    """Everybody is there, with the version 1."""
    return {
        "date": "2026-11-24",
        "machine": {
            "cpu": "Some CPU", "cpu_count": 2, "server_and_load_share_a_core": False, "memory_gb": 24,
            "kernel": "6.18", "system": "Some Linux", "is_virtual": True,
        },
        "options": {"rounds": 3, "seconds": 2, "quick": False},
        "peers": {
            peer.name: {"title": peer.title, "configuration": peer.configuration, "version": "1", "problem": None}
            for peer in peers.PEERS
        },
        "results": results,
        "cut": [],
    } | others


def everything():
    """Figures of all measurements; each peer is dearer than the one before it in the list."""
    results = {}
    for listed in measurement.list_measurements():
        for name in listed.peer_names(measurement.WHATS):
            cost = 1 + [peer.name for peer in peers.PEERS].index(name)
            others = {"bytes": cost * 1000.0, "open_seconds": 0.5, "open_cpu_seconds": 0.2, "restart_seconds": 0.1,
                      "keeper_us": cost / 2}
            rounds = [figures(cost * factor, **others) for factor in (1.0, 1.1, 0.9)]
            results.setdefault(listed.key, {})[name] = rounds
    return document(results)


def goal(read, text):
    return next(goal for goal in read.goals() if goal.what.startswith(text))


class SummaryTest(unittest.TestCase):
    def test_a_spread_is_the_median_of_the_rounds_that_have_the_figure(self):
        rounds = [figures(3.0), {"problem": "lost"}, figures(1.0), figures(2.0)]
        read = summary.Summary(document({"idle": {"ws": rounds}}))
        self.assertEqual(read.spread("idle", "ws", "cpu_us"), summary.Spread(2.0, 1.0, 3.0))
        self.assertEqual(read.problem("idle", "ws"), "1 of 4 rounds: lost")
        self.assertIsNone(read.spread("idle", "ws", "bytes"))

    def test_a_ratio_is_of_medians_with_the_spread_of_single_rounds(self):
        results = {"idle": {
            "mainstay": [figures(2.0), figures(3.0), figures(4.0)],
            "ws": [figures(4.0), figures(2.0), figures(8.0)],
        }}
        ratio = summary.Summary(document(results)).ratio("cpu_us", ("idle", "mainstay"), ("idle", "ws"))
        self.assertEqual(ratio, summary.Spread(0.75, 0.5, 1.5))

    def test_goals_are_reached_or_missed_on_the_right_side(self):
        def read(ours, go):
            return summary.Summary(document({"commands x 16": {"mainstay": [figures(ours)], "go-xnet": [figures(go)]}}))

        self.assertTrue(goal(read(1.0, 10.5), "commands, 16").is_reached)
        self.assertFalse(goal(read(1.0, 9.5), "commands, 16").is_reached)
        self.assertIsNone(goal(read(1.0, 9.5), "echo").is_reached)
        memory = summary.Summary(document({"idle": {"mainstay": [figures(1, bytes=1536)]}}))
        self.assertTrue(goal(memory, "memory").is_reached)
        memory = summary.Summary(document({"idle": {"mainstay": [figures(1, bytes=1537)]}}))
        self.assertFalse(goal(memory, "memory").is_reached)

    def test_growth_is_that_of_the_most_over_the_fewest_subscribers(self):
        results = {"fanout 16 x 1000": {"mainstay": [figures(0.2)]}, "fanout 16 x 19000": {"mainstay": [figures(0.24)]}}
        grown = goal(summary.Summary(document(results)), "CPU for each delivery in bursts of 16, 19,000")
        self.assertAlmostEqual(grown.value.median, 1.2)
        self.assertTrue(grown.is_reached)


class TableTest(unittest.TestCase):
    def test_every_line_of_every_table_has_as_many_cells_as_its_head(self):
        read = summary.Summary(everything())
        for text in (table.render_report(read, []), table.render_readme(read, [])):
            head = None
            for line in text.splitlines():
                if not line.startswith("|"):
                    head = None
                    continue
                head = head or line.count("|")
                self.assertEqual(line.count("|"), head, line)

    def test_the_report_has_every_measurement_and_every_peer(self):
        text = table.render_report(summary.Summary(everything()), list(table.PICTURES))
        for listed in measurement.list_measurements():
            wanted = f"| {listed.channels:,} |" if listed.channels else f"### {listed.title}\n"
            self.assertIn(wanted, text)
        for peer in peers.PEERS:
            self.assertIn(f"| {peer.title} | 1 | {peer.configuration} |", text)
        self.assertNotIn("Not measured", text)
        self.assertNotIn("None", text)

    def test_a_row_says_what_was_measured(self):
        results = {"echo 64 x 16": {
            "uwebsockets": [figures(2.0)], "mainstay": [figures(1.0), figures(1.5), figures(0.5)],
            "tcp-echo": [figures(0.5)],
        }}
        lines = table.render_report(summary.Summary(document(results)), []).splitlines()
        row = next(line for line in lines if line.startswith("| **Mainstay** |"))
        self.assertEqual(
            row,
            "| **Mainstay** | 1.00 [0.500–1.50] | 1,000,000 [666,667–2,000,000] | 100 % | 70 % | 0.400 | 0.900 "
            "| 0.500 | 2.00 |",
        )
        floor = next(index for index, line in enumerate(lines) if line.startswith("| *raw TCP echo* |"))
        self.assertLess(floor, lines.index(row))

    def test_a_load_that_fell_behind_is_named(self):
        for kept, says in [(True, False), (False, True)]:
            late = figures(1.0, rate_kept=kept, late_p99_us=2000.0)
            results = {"latency commands": {"ws": [figures(1.0, rate_kept=True, late_p99_us=1.0), late]}}
            text = table.render_report(summary.Summary(document(results)), [])
            self.assertEqual("its own delay is in the latency: ws (Node)" in text, says)

    def test_who_failed_or_is_not_there_is_named(self):
        results = {"fanout 16 x 5000": {"ws": [{"problem": "7 missing"}], "mainstay": [figures(1.0)]}}
        made = document(results, cut=["Echo: round 3 was not finished"])
        made["peers"]["bun"] |= {"version": None, "problem": "npm is missing"}
        text = table.render_report(summary.Summary(made), [])
        self.assertIn("- **ws (Node)** failed: 7 missing", text)
        self.assertIn("- Bun: npm is missing", text)
        self.assertIn("- Echo: round 3 was not finished", text)
        self.assertRegex(text, r"\| ws \(Node\) \| – \|")

    def test_the_section_of_the_readme_replaces_the_last_one(self):
        section = table.render_readme(summary.Summary(everything()), [])
        before = "# Title\n\n<!-- peers -->\nold\n<!-- /peers -->\n\n## More\n"
        once = table.replace_section(before, section)
        self.assertNotIn("old", once)
        self.assertTrue(once.endswith("<!-- /peers -->\n\n## More\n"))
        self.assertEqual(table.replace_section(once, section), once)
        with self.assertRaises(ValueError):
            table.replace_section("# Title\n", section)

    def test_numbers_have_three_digits_that_count(self):
        cases = [(0, "0"), (0.01234, "0.0123"), (1.2345, "1.23"), (12.345, "12.3"), (123.45, "123"),
                 (999.9, "1,000"), (1234.6, "1,235"), (0.9996, "1.00"), (-0.5, "-0.500")]
        self.assertEqual([number(value) for value, _ in cases], [text for _, text in cases])


class PlotTest(unittest.TestCase):
    def test_every_picture_is_drawn_and_is_xml(self):
        drawn = plot.draw_all(summary.Summary(everything()))
        self.assertEqual(set(drawn), set(table.PICTURES))
        for name, text in drawn.items():
            self.assertIsNotNone(text, name)
            ElementTree.fromstring(text)

    def test_bars_are_as_long_as_their_figures_and_stay_inside(self):
        results = {"idle": {"mainstay": [figures(1, bytes=500)], "ws": [figures(1, bytes=1000), figures(1, bytes=1000)]}}
        text = plot.draw_all(summary.Summary(document(results)))["peers-memory.svg"]
        widths = [float(width) for width in re.findall(r'<rect class="(?:ours|peer)".*? width="([\d.]+)"', text)]
        self.assertEqual(len(widths), 2)
        self.assertAlmostEqual(widths[0] * 2, widths[1], places=0)
        self.assertLess(plot.MARGIN + plot.LABEL_WIDTH + widths[1], plot.WIDTH - plot.MARGIN)

    def test_what_was_not_measured_has_no_picture(self):
        self.assertEqual(set(plot.draw_all(summary.Summary(document({}))).values()), {None})

    def test_labels_of_lines_do_not_lie_upon_each_other(self):
        self.assertEqual(plot.spread_apart({"a": 100, "b": 103, "c": 200}, 17), {"a": 100, "b": 117, "c": 200})


if __name__ == "__main__":
    unittest.main()
