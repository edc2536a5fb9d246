"""The section `tcp`: what a TCP probe costs, and what a busy machine does to its round trips.

10,000 loopback addresses are connected to once a second each. All of them lead to one listener that
sweeps its accept queue; its CPU time is not counted, but the kernel's work for it is done in the
prober's context, in every row alike.
"""
import contextlib
import json
import re
import time

from . import lab, probers, report
from .rounds import column, cpu_ratio
from .rounds import run_rounds as rounds_in_turn

PEERS = 10_000
PORT = 7001
LISTENER_SECONDS = 3600
READY_SECONDS = 10
#: The most edges that a configuration may have.
EDGES_MAX = 64


def fine_edges():
    """A microsecond apart, which is the kernel's resolution, up to 40; then 1.4 times as far each
    up to 100 ms."""
    edges = [microseconds * 1e-6 for microseconds in range(1, 41)]
    while edges[-1] < 0.1:
        edges.append(edges[-1] * 1.4)
    assert len(edges) <= EDGES_MAX
    return edges


def daemon_config(count, edges=None):
    """reachd's configuration for TCP probes of `count` loopback peers, and of nothing else."""
    return json.dumps({
        "web": {"listen": [f"127.0.0.1:{probers.PORT}"]},
        "probes": {"icmp": {"enabled": False}, "tcp": {"interval": "1s", "ports": [PORT]}},
        "discovery": {"gateways": False, "guests": False},
        "limits": {"peers": count, "probes_per_second": 200000, "series": 10000000},
        **({"metrics": {"rtt_edges": edges}} if edges else {}),
        "peers": [{"address": address} for address in lab.targets(count)],
    })


def connects():
    """Connects begun in this namespace; those of the scrapes are few."""
    return lab.kernel_counters("Tcp")["ActiveOpens"]


@contextlib.contextmanager
def listener(bench):
    command = [bench.program("tcp_listener"), f"port={PORT}", f"secs={LISTENER_SECONDS}"]
    with lab.Process(command, bench.folder) as process:
        deadline = time.monotonic() + READY_SECONDS
        while "ready" not in process.errors.read_text():
            process.require_running()
            if time.monotonic() > deadline:
                raise lab.BenchError(f"tcp_listener: not ready after {READY_SECONDS} s")
            time.sleep(0.02)
        yield process
        process.require_running()


def bare(bench, seconds):
    """The bare connect loop: it measures itself."""
    command = [bench.program("bare_tcp"), f"n={PEERS}", "hz=1", f"secs={seconds}", "warm=2",
               "base=127.1.0.0", f"port={PORT}"]
    with lab.Process(command, bench.folder, bench.unprivileged) as process:
        pairs = probers.parse_pairs(process.finish(seconds + 32))
    return {"rate": pairs["rate"], "cpu_us": pairs["cpu_us_per_probe"],
            "lost": pairs["lost"], "rss_kib": pairs["rss_kb"],
            "kern_p50": pairs["kern_p50"], "kern_p99": pairs["kern_p99"]}


def summed_buckets(page, name):
    """[(upper bound, cumulative count)] over all series of a histogram, ascending, +Inf last."""
    sums = {}
    for text, value in page.samples(name + "_bucket"):
        bound = float(re.search(rb'le="([^"]+)"', text)[1])
        sums[bound] = sums.get(bound, 0) + value
    return sorted(sums.items())


def microseconds(seconds):
    return None if seconds is None else seconds * 1e6


def reachd(bench, seconds, edges=None):
    """The daemon; scraped before and after its window, never inside."""
    config = daemon_config(PEERS, edges)
    with probers.Daemon(bench, PEERS, config, connects) as daemon:
        before = daemon.page()
        time.sleep(1)
        began = (time.monotonic(), daemon.cpu_seconds(), connects())
        time.sleep(seconds)
        daemon.require_running()
        ended = (time.monotonic(), daemon.cpu_seconds(), connects())
        row = {"rss_kib": daemon.memory_kib()}
        after = daemon.page()
    wall, cpu, count = (later - earlier for later, earlier in zip(ended, began))
    rtt = lab.bucket_difference(summed_buckets(after, "reachd_probe_rtt_seconds"),
                                summed_buckets(before, "reachd_probe_rtt_seconds"))
    return {**row, "rate": count / wall, "cpu_us": cpu * 1e6 / count if count else None,
            # Lost, refused, never sent: every port is open, so there is no cause for any.
            "lost": after.total("reachd_probe_failures_total"),
            "skipped": after.total("reachd_probes_skipped_total"),
            "kern_p50": microseconds(lab.bucket_quantile(rtt, 0.5)) if edges else None,
            "kern_p99": microseconds(lab.bucket_quantile(rtt, 0.99)) if edges else None}


#: The round trips are read in rows of their own: many buckets are no part of what a probe costs.
ROWS = {"bare": bare, "reachd": reachd,
        "reachd-fine": lambda bench, seconds: reachd(bench, seconds, fine_edges())}


def run_rounds(bench, section, names, rounds, seconds, label):
    return rounds_in_turn(section, {name: lambda row=ROWS[name]: row(bench, seconds)
                                    for name in names}, rounds, label)


def show_rows(section, results, label):
    rows = [[name, report.number(report.median(column(results, name, "rate")), 0),
             report.spread(column(results, name, "cpu_us")),
             report.number(report.median(column(results, name, "lost")), 0),
             report.number(report.median(column(results, name, "skipped")), 0),
             report.spread(column(results, name, "kern_p50")),
             report.spread(column(results, name, "kern_p99"))] for name in results]
    section.show(f"{PEERS} connects a second to open loopback ports, {label}; CPU is user and"
                 " system of the prober:",
                 report.table(["row", "rate/s", "CPU us/probe", "lost", "skipped", "RTT p50 us",
                               "RTT p99 us"], rows), "")


def tcp(bench, rounds):
    section = report.Section("tcp")
    rounds = rounds or (1 if bench.quick else 5)
    seconds = 4 if bench.quick else 10
    with listener(bench):
        idle = run_rounds(bench, section, list(ROWS), rounds, seconds, "idle")
        show_rows(section, idle, "idle")
        with lab.BusyCores(rounds * 2 * (seconds + 60)):
            busy = run_rounds(bench, section, ["bare", "reachd-fine"], rounds, seconds, "busy")
        show_rows(section, busy, "both cores busy")
    section.at_most("CPU a connect, reachd / bare", cpu_ratio(idle, "reachd", "bare"), 1.3,
                    goal=1.15)
    for label, results in (("idle", idle), ("busy", busy)):
        section.at_most(f"false loss, {label}",
                        report.median(column(results, "reachd-fine", "lost")), 0, digits=0)
    quiet = report.median(column(idle, "reachd-fine", "kern_p99"))
    loaded = report.median(column(busy, "reachd-fine", "kern_p99"))
    section.at_most("RTT p99, reachd, busy / idle", loaded / quiet if loaded and quiet else None, 2)
    return section
