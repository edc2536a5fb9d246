"""The section `netlink`: what following the host's links costs, in storms and in resyncs.

Events come from veth pairs in the section's own namespace, made and deleted as fast as the kernel
can. IPv6 is off there, so that the events are those of links and bridges. reachd runs as root: the
8 MiB receive buffer is a part of what is measured.
"""
import pathlib
import signal
import time

from . import lab, probers, report
from .report import progress

STORM_PAIRS = 1000
RESYNC_PAIRS = 5000
PEERS = 1000
QUICK = 10  # with --quick all sizes are divided by this
SETTLE_SECONDS = 1.0
#: The kernel merges some events by time, so no two storms are equal; a loss would be far more.
EVENTS_SEEN = 0.95


def switch_off_ipv6():
    for scope in ("all", "default"):
        path = pathlib.Path(f"/proc/sys/net/ipv6/conf/{scope}/disable_ipv6")
        if path.exists():
            path.write_text("1")


def run_pairs(bench, name, seconds, *arguments):
    """A program that measures itself: its key=value words."""
    with lab.Process([bench.program(name), *arguments], bench.folder) as process:
        return probers.parse_pairs(process.finish(seconds))


def storm(bench, pairs):
    return run_pairs(bench, "link_storm", 120, f"pairs={pairs}")


def raw_storm(bench, pairs):
    """The raw listener over one storm."""
    with lab.Process([bench.program("netlink_listener")], bench.folder) as listener:
        deadline = time.monotonic() + 10
        while "ready" not in listener.errors.read_text():
            listener.require_running()
            if time.monotonic() > deadline:
                raise lab.BenchError("netlink_listener: not ready after 10 s")
            time.sleep(0.02)
        made = storm(bench, pairs)
        time.sleep(SETTLE_SECONDS)
        listener.popen.send_signal(signal.SIGTERM)
        found = probers.parse_pairs(listener.finish(10))
    return {"messages": found["messages"], "cpu_us": found["cpu_us"],
            "overruns": found["overruns"], "pairs_per_second": made["pairs_per_second"]}


def netlink_counters(page):
    by_type = probers.by_label(page, "reachd_netlink_messages_total", "type")
    by_type.pop("newstats", None)  # read again and again, storm or not
    return {"messages": sum(by_type.values()),
            "overruns": page.total("reachd_netlink_overruns_total"),
            "resyncs": page.total("reachd_netlink_resyncs_total")}


def reachd_storm(bench, daemon, pairs):
    """The daemon over one storm, what it reads anew because of it included; scraped before and
    after, not inside."""
    before = netlink_counters(daemon.page())
    time.sleep(SETTLE_SECONDS)
    cpu = daemon.run_seconds()
    made = storm(bench, pairs)
    time.sleep(SETTLE_SECONDS)
    cpu = daemon.run_seconds() - cpu
    daemon.require_running()
    after = netlink_counters(daemon.page())
    return {"cpu_us": cpu * 1e6, "pairs_per_second": made["pairs_per_second"],
            **{key: after[key] - before[key] for key in after}}


def per_message(ours, raw):
    """(our CPU a message, the raw listener's) in microseconds. Messages of dumps do not make ours
    look cheaper: never more are counted than the raw listener saw."""
    if not raw["messages"] or not ours["messages"]:
        return None, None
    return (ours["cpu_us"] / min(ours["messages"], raw["messages"]),
            raw["cpu_us"] / raw["messages"])


def storms(bench, section, rounds, pairs):
    rows = []
    for turn in range(rounds):
        progress(f"netlink: storm {turn + 1} of {rounds}, {pairs} pairs")
        raw = raw_storm(bench, pairs)
        with probers.Daemon(bench, 0) as daemon:
            ours = reachd_storm(bench, daemon, pairs)
        ours["cpu_us_per_message"], raw["cpu_us_per_message"] = per_message(ours, raw)
        section.rows += [{"row": "raw listener", "round": turn + 1, **raw},
                         {"row": "reachd", "round": turn + 1, **ours}]
        rows.append((raw, ours))
    section.show(f"{pairs} veth pairs made on a bridge and deleted, {rounds} rounds in turn:",
                 report.table(["row", "messages", "CPU us/message", "overruns", "resyncs",
                               "pairs/s"],
                              [storm_line(name, [pair[i] for pair in rows])
                               for i, name in enumerate(("raw listener, woken for each",
                                                         "reachd"))]), "")
    ratios = [ours["cpu_us_per_message"] / raw["cpu_us_per_message"] for raw, ours in rows
              if ours["cpu_us_per_message"] and raw["cpu_us_per_message"]]
    section.at_most("CPU a message, reachd / raw listener", report.median(ratios), 0.6, goal=0.4)
    section.at_most("overruns, all storms", sum(ours["overruns"] for _, ours in rows), 0, digits=0)
    seen = [ours["messages"] / raw["messages"] for raw, ours in rows if raw["messages"]]
    section.at_least("messages seen, reachd / raw listener, least of the rounds",
                     min(seen, default=None), EVENTS_SEEN)


def storm_line(name, results):
    values = {key: [row.get(key) for row in results] for key in
              ("messages", "cpu_us_per_message", "overruns", "resyncs", "pairs_per_second")}
    return [name, report.spread(values["messages"], 0),
            report.spread(values["cpu_us_per_message"], 2),
            report.number(float(sum(values["overruns"])), 0),
            report.number(report.median(values["resyncs"]), 0),
            report.spread(values["pairs_per_second"], 0)]


def resync(bench, section, rounds, pairs):
    progress(f"netlink: resync of {2 * pairs} links")
    run_pairs(bench, "link_storm", 300, f"pairs={pairs}", "do=create")
    try:
        found = run_pairs(bench, "resync_bench", 300, f"rounds={rounds}")
    finally:
        run_pairs(bench, "link_storm", 300, f"pairs={pairs}", "do=delete")
    section.rows.append({"row": "resync", **found})
    section.show(f"{found['links']:.0f} links read anew, medians of {rounds} rounds in turn,"
                 " CPU ms from request to accepted:",
                 report.table(["tables", "raw dump", "reachd's model", "ratio"],
                              [[name, report.number(found[f"raw_{key}_ms"]),
                                report.number(found[f"sync_{key}_ms"]),
                                report.number(found[f"{key}_ratio"], 2)]
                               for name, key in (("links", "links"),
                                                 (f"all {found['tables']:.0f}", "all"))]),
                 f"The model keeps {found['bytes_per_link']:.0f} B of heap a link.", "")
    section.at_most("resync of the links, model / raw dump", found["links_ratio"], 1.5, goal=1.1)
    section.at_most("resync of all tables, model / raw dumps", found["all_ratio"], 1.5, goal=1.1)
    section.at_most("model [B a link]", found["bytes_per_link"], 600, digits=0, goal=300)


def delay_p99(daemon, seconds, during):
    """p99 of the probe delay while `during` runs, which takes about `seconds`."""
    before = probers.delay_buckets(daemon.page())
    time.sleep(SETTLE_SECONDS)
    during(seconds)
    daemon.require_running()
    after = probers.delay_buckets(daemon.page())
    return lab.bucket_quantile(lab.bucket_difference(after, before), 0.99)


def delays(bench, section, rounds, pairs, seconds):
    def calm(length):
        time.sleep(length)

    def stormy(length):
        run_pairs(bench, "link_storm", length + 120, f"pairs={pairs}", f"secs={length}")

    rows = []
    with probers.Daemon(bench, PEERS) as daemon:
        for turn in range(rounds):
            progress(f"netlink: probe delay, round {turn + 1} of {rounds}")
            row = {name: delay_p99(daemon, seconds, during)
                   for name, during in (("calm", calm), ("storm", stormy))}
            section.rows.append({"row": "delay", "round": turn + 1, **row})
            rows.append(row)
        overruns = daemon.page().total("reachd_netlink_overruns_total")
    section.show(f"p99 of the probe delay, {PEERS} peers, {rounds} rounds of {seconds} s in turn:",
                 report.table(["", "ms"],
                              [[name, report.spread([in_ms(row[name]) for row in rows], 2)]
                               for name in ("calm", "storm")]), "")
    more = report.median([in_ms(row["storm"] - row["calm"]) for row in rows
                          if None not in row.values()])
    section.at_most("p99 of the probe delay, storm less calm [ms]", more, 5)
    section.at_most("overruns, probing", overruns, 0, digits=0)


def in_ms(seconds):
    return None if seconds is None else seconds * 1e3


def netlink(bench, rounds):
    section = report.Section("netlink")
    switch_off_ipv6()
    bench = probers.Bench(bench.programs, bench.folder, False, bench.quick)
    rounds = rounds or (1 if bench.quick else 5)
    share = QUICK if bench.quick else 1
    storms(bench, section, rounds, STORM_PAIRS // share)
    delays(bench, section, min(rounds, 5), STORM_PAIRS // share, 2 if bench.quick else 10)
    resync(bench, section, max(rounds, 3), RESYNC_PAIRS // share)
    return section
