#!/usr/bin/env python3
"""The readings that the benchmarks' verdicts rest on: pages, quantiles, chunks, gates."""
import gzip
import math
import pathlib
import sys
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from benchlib import arp, lab, netlink, passive, probers, report, rounds  # noqa: E402
from benchlib import sections, tcp  # noqa: E402

PAGE = b"""# HELP a_total A.
# TYPE a_total counter
a_total{peer="x y"} 1
a_total{peer="z"} 2.5
# TYPE a_total_more counter
a_total_more 7
# TYPE h histogram
h_bucket{le="0.01"} 50
h_bucket{le="0.012"} 98
h_bucket{le="+Inf"} 100
h_sum 1
h_count 100
"""


class PageTest(unittest.TestCase):
    def test_totals_take_exactly_the_named_samples(self):
        page = lab.Page(PAGE)
        self.assertEqual(page.total("a_total"), 3.5)
        self.assertEqual(page.total("a_total_more"), 7)
        self.assertEqual(page.total("h_count"), 100)
        self.assertEqual(page.total("absent_total"), 0)

    def test_by_label_leaves_out_zero(self):
        page = lab.Page(b'a{r="x",p="1"} 1\na{r="x",p="2"} 2\na{r="y",p="1"} 0\n')
        self.assertEqual(probers.by_label(page, "a", "r"), {"x": 3})

    def test_first_line_counts(self):
        self.assertEqual(lab.Page(b"a 4\n").total("a"), 4)

    def test_buckets_and_shares(self):
        buckets = lab.Page(PAGE).buckets("h")
        self.assertEqual(buckets, [(0.01, 50), (0.012, 98), (math.inf, 100)])
        self.assertEqual(lab.share_below(buckets, 0.012), 0.98)
        self.assertIsNone(lab.share_below(buckets, 0.011))

    def test_difference_counts_only_what_came_since(self):
        later, earlier = [(1.0, 30), (math.inf, 40)], [(1.0, 20), (math.inf, 20)]
        self.assertEqual(lab.bucket_difference(later, earlier), [(1.0, 10), (math.inf, 20)])


class QuantileTest(unittest.TestCase):
    def test_linear_inside_the_bucket(self):
        self.assertAlmostEqual(lab.bucket_quantile([(1.0, 50), (2.0, 100), (math.inf, 100)], 0.75),
                               1.5)

    def test_beyond_the_last_edge_is_the_last_edge(self):
        self.assertEqual(lab.bucket_quantile([(1.0, 50), (math.inf, 100)], 0.99), 1.0)

    def test_nothing_measured(self):
        self.assertIsNone(lab.bucket_quantile([], 0.5))
        self.assertIsNone(lab.bucket_quantile([(1.0, 0), (math.inf, 0)], 0.5))


class ResponseTest(unittest.TestCase):
    HEAD = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked"

    def test_chunked_and_zipped(self):
        body = gzip.compress(PAGE)
        sent = b"%x\r\n%s\r\n5;x=y\r\n%s\r\n0\r\n\r\n" % (len(body) - 5, body[:-5], body[-5:])
        response = lab.Response(self.HEAD, sent, 0.1, 0.2)
        self.assertEqual(response.page().total("a_total"), 3.5)

    def test_cut_short_is_an_error(self):
        with self.assertRaises(lab.BenchError):
            lab.Response(b"HTTP/1.1 200 OK\r\nContent-Length: 10", b"123", 0.1, 0.2)
        with self.assertRaises((lab.BenchError, ValueError)):
            lab.Response(self.HEAD, b"5\r\n12345\r\n", 0.1, 0.2)


class TargetsTest(unittest.TestCase):
    def test_distinct_and_never_a_network_or_broadcast_address(self):
        addresses = lab.targets(sections.MANY_PEERS)
        self.assertEqual(addresses[:1] + addresses[249:251],
                         ["127.1.0.1", "127.1.0.250", "127.1.1.1"])
        self.assertEqual(len(set(addresses)), sections.MANY_PEERS)


class NetlinkTest(unittest.TestCase):
    def test_dumps_do_not_make_a_message_cheaper(self):
        ours, raw = {"cpu_us": 3000, "messages": 3000}, {"cpu_us": 7000, "messages": 1000}
        self.assertEqual(netlink.per_message(ours, raw), (3.0, 7.0))
        ours["messages"] = 500
        self.assertEqual(netlink.per_message(ours, raw), (6.0, 7.0))

    def test_nothing_seen_is_not_measured(self):
        self.assertEqual(netlink.per_message({"cpu_us": 1, "messages": 0},
                                             {"cpu_us": 1, "messages": 1}), (None, None))

    def test_statistics_are_no_events(self):
        page = lab.Page(b'reachd_netlink_messages_total{type="newlink"} 5\n'
                        b'reachd_netlink_messages_total{type="newstats"} 100\n'
                        b'# TYPE reachd_netlink_overruns_total counter\n'
                        b'reachd_netlink_overruns_total 2\n')
        self.assertEqual(netlink.netlink_counters(page),
                         {"messages": 5, "overruns": 2, "resyncs": 0})


class PassiveTest(unittest.TestCase):
    def test_the_difference_pairs_the_rounds(self):
        rows = [{"a": {"ns_p10": a}, "b": {"ns_p10": b}}
                for a, b in ((1000, 900), (3000, 2880), (1500, 1000))]
        self.assertEqual(passive.more_per_packet(rows, "a", "b"), 120)

    def test_the_cheapest_turn_counts(self):
        turns = [{"ns_p10": 5, "rate": 1}, {"ns_p10": 4, "rate": 2}, {"ns_p10": 9, "rate": 3}]
        self.assertEqual(passive.cheapest(turns), turns[1])


class TcpTest(unittest.TestCase):
    def test_buckets_are_summed_over_the_series(self):
        page = lab.Page(b'h_bucket{p="a",le="0.1"} 1\nh_bucket{p="a",le="+Inf"} 2\n'
                        b'h_bucket{p="b",le="0.1"} 3\nh_bucket{p="b",le="+Inf"} 4\n')
        self.assertEqual(tcp.summed_buckets(page, "h"), [(0.1, 4), (math.inf, 6)])
        self.assertEqual(tcp.summed_buckets(page, "absent"), [])

    def test_edges_are_what_a_configuration_may_have(self):
        edges = tcp.fine_edges()
        self.assertLessEqual(len(edges), tcp.EDGES_MAX)
        self.assertEqual(edges, sorted(edges))
        self.assertTrue(all(b - a >= 1e-9 for a, b in zip(edges, edges[1:])))


class ArpTest(unittest.TestCase):
    def test_a_guest_is_known_by_port_name_mac_and_address_together(self):
        told = {"guests": [
            {"device": "vnet0", "name": "a", "addresses": [
                {"mac": "52:54:00:00:00:01", "address": "10.0.0.1"},
                {"mac": "52:54:00:00:00:02", "address": "10.0.0.2"}]},
            {"device": "vnet1", "name": "b", "addresses": []}]}
        self.assertEqual(arp.guests_in(told),
                         {("vnet0", "a", "52:54:00:00:00:01", "10.0.0.1"),
                          ("vnet0", "a", "52:54:00:00:00:02", "10.0.0.2")})


class RoundsTest(unittest.TestCase):
    def test_rows_take_turns_and_one_that_fails_does_not_stop_the_others(self):
        order = []

        def row(name, values):
            def measure():
                order.append(name)
                value = values.pop(0)
                if isinstance(value, Exception):
                    raise value
                return {"cpu_us": value}
            return measure
        section = report.Section("x")
        results = rounds.run_rounds(section, {
            "a": row("a", [1, lab.BenchError("broken"), 3]), "b": row("b", [2, 2, 2]),
            "gone": row("gone", [probers.NotHere("not built")])}, 3, "idle")
        self.assertEqual(order, ["a", "b", "gone", "a", "b", "a", "b"])
        self.assertEqual(rounds.column(results, "a", "cpu_us"), [1, None, 3])
        self.assertNotIn("gone", results)
        self.assertIn("broken", section.text[-1])
        self.assertEqual(rounds.cpu_ratio(results, "a", "b"), 1.0)

    def test_ratios_pair_the_rounds_and_skip_failed_ones(self):
        results = {"reachd": [{"cpu_us": 44}, None, {"cpu_us": 60}],
                   "bare": [{"cpu_us": 40}, {"cpu_us": 1}, {"cpu_us": 40}]}
        self.assertAlmostEqual(rounds.cpu_ratio(results, "reachd", "bare"), 1.3)
        self.assertIsNone(rounds.cpu_ratio(results, "engine", "bare"))


class GateTest(unittest.TestCase):
    def test_verdicts(self):
        section = report.Section("x")
        section.at_most("a", 1.3, 1.3)
        section.at_most("b", 1.31, 1.3, goal=1.15)
        section.at_least("c", None, 99.9)
        self.assertEqual([report.verdict(gate) for gate in section.gates],
                         ["met", "NOT MET", "not measured"])
        self.assertIn("goal 1.15 NOT MET", report.gate_table(section.gates))

    def test_pairs_of_a_program(self):
        self.assertEqual(probers.parse_pairs("rate=9.5 kern_p50=- noise x=y\n"),
                         {"rate": 9.5, "kern_p50": "-", "x": "y"})


if __name__ == "__main__":
    unittest.main()
