"""The sections: which rows run in which order, for how long, and which gates they decide.

Each section runs in a network and process namespace of its own, with loopback up and nothing else.
Ratios compare figures of one run only; medians are over rounds taken in turn (A B A B).
"""
import pathlib
import re
import subprocess
import time

from . import lab, probers, report
from .arp import arp
from .mtu import mtu
from .netlink import netlink
from .passive import passive
from .report import progress
from .rounds import column, cpu_ratio, pairwise
from .rounds import run_rounds as rounds_in_turn
from .tcp import tcp

PEERS = 10_000
MANY_PEERS = 50_000
FEW_PEERS = 1_000


def prepare_namespace():
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


def prepare_for_peers():
    """Ping sockets for everyone (smokeping_prober), and an address that is not 127.0.0.1: without
    one oping resolves nothing, since it asks getaddrinfo for AI_ADDRCONFIG."""
    subprocess.run(["ip", "address", "add", "192.0.2.1/32", "dev", "lo"], check=True)
    pathlib.Path("/proc/sys/net/ipv4/ping_group_range").write_text("0 2147483647")


def run_rounds(bench, section, names, rounds, seconds, label):
    return rounds_in_turn(section, {name: lambda row=probers.ROWS[name]: row(bench, PEERS, seconds)
                                    for name in names}, rounds, label)


def show_rows(section, results, label):
    rows = []
    for name in results:
        rss = report.median(column(results, name, "rss_kib"))
        rows.append([name, report.number(report.median(column(results, name, "rate")), 0),
                     report.spread(column(results, name, "cpu_us")),
                     report.number(cpu_ratio(results, name, "bare"), 2),
                     report.number(cpu_ratio(results, name, "bare-rxtx"), 2),
                     report.number(cpu_ratio(results, name, "oping"), 2),
                     report.number(rss / 1024 if rss else None),
                     report.number(report.median(column(results, name, "lost")), 0),
                     report.spread(column(results, name, "kern_p50")),
                     report.spread(column(results, name, "kern_p99"))])
    section.show(f"{PEERS} loopback peers, one probe a second each, {label}; CPU is user and system"
                 " of the prober, lost is what it says:",
                 report.table(["row", "rate/s", "CPU us/probe", "x bare", "x rxtx", "x oping",
                               "RSS MiB", "lost", "RTT p50 us", "RTT p99 us"], rows), "")


def rtt_gates(section, results, label):
    """The engine's kernel-stamped RTT against the bare loop's of the same round."""
    p50 = report.median(pairwise(results, "engine", "bare-rxtx", "kern_p50", lambda a, b: a - b))
    p99 = report.median(pairwise(results, "engine", "bare-rxtx", "kern_p99", lambda a, b: a - b))
    bare_p99 = report.median(column(results, "bare-rxtx", "kern_p99"))
    section.gate(f"RTT p50, engine less bare-rxtx, {label} [us]", p50, "within 2",
                 p50 is not None and abs(p50) <= 2)
    limit = max(3.0, 0.25 * bare_p99) if bare_p99 else 3.0
    section.gate(f"RTT p99, engine less bare-rxtx, {label} [us]", p99, f"within {limit:.1f}",
                 p99 is not None and abs(p99) <= limit)
    for name in ("engine", "reachd"):
        if name in results:
            share = report.median(column(results, name, "kernel_share"))
            section.at_least(f"stamped by the kernel both ways, {name}, {label} [%]",
                             None if share is None else share * 100, 99.9, digits=3)


def engine(bench, rounds):
    section = report.Section("engine")
    prepare_for_peers()
    rounds = rounds or (1 if bench.quick else 5)
    seconds = 4 if bench.quick else 10
    idle = run_rounds(bench, section, list(probers.ROWS), rounds, seconds, "idle")
    show_rows(section, idle, "idle")
    with lab.BusyCores(rounds * 4 * (seconds + 60)):
        busy = run_rounds(bench, section, ["bare-rxtx", "engine"], rounds, seconds, "busy")
    show_rows(section, busy, "both cores busy")
    section.at_most("CPU a probe, reachd / bare-rxtx", cpu_ratio(idle, "reachd", "bare-rxtx"), 1.3,
                    goal=1.15)
    section.at_most("CPU a probe, engine / bare-rxtx", cpu_ratio(idle, "engine", "bare-rxtx"), 1.3,
                    goal=1.15)
    section.at_most("CPU a probe, reachd / oping", cpu_ratio(idle, "reachd", "oping"), 0.85)
    rtt_gates(section, idle, "idle")
    rtt_gates(section, busy, "busy")
    return section


def causes(counts):
    return ", ".join(f"{name} {count:,.0f}" for name, count in counts.items()) or "0"


def loss_run(bench, section, count, seconds, label):
    progress(f"loss: {count} peers, {seconds} s, {label}")
    row = probers.reachd(bench, count, seconds)
    section.rows.append({"row": "reachd", "peers": count, "load": label, **row})
    name = f"{count} peers, {label}"
    section.at_most(f"false loss, {name}", row["lost"], 0, digits=0)
    section.at_most(f"dropped at sockets, {name}", row["socket_drops"], 0, digits=0)
    section.at_least(f"rate kept, {name} [%]", 100 * row["rate"] / count, 99.9, digits=3)
    if label == "idle" and count == PEERS:
        share = row["delay_share_12ms"]
        section.at_least(f"probes at most 12 ms late, {name} [%]",
                         None if share is None else 100 * share, 99, digits=3)
    return [name, f"{row['seconds']:.0f}", report.number(row["rate"], 0),
            report.number(row["cpu_us"]), report.number(row["lost"], 0),
            report.number(row["kernel_unanswered"]), report.number(row["socket_drops"]),
            causes(row["skipped"]), causes(row["discarded"]),
            report.number(row["throttle_ratio"], 2),
            report.number(milliseconds(row["delay_p99"]), 2),
            report.number(row["rss_kib"] / 1024)]


def loss(bench, _rounds):
    section = report.Section("loss")
    seconds = 4 if bench.quick else 60
    rows = [loss_run(bench, section, PEERS, seconds, "idle")]
    with lab.BusyCores(seconds + 180):
        rows.append(loss_run(bench, section, PEERS, seconds, "busy"))
    rows.append(loss_run(bench, section, MANY_PEERS, 4 if bench.quick else 30, "idle"))
    section.show("reachd against loopback, one probe a second and peer. The kernel answers all of"
                 " them (unanswered: requests less answers in its own counters, read a moment"
                 " apart), so whatever is lost is false loss:",
                 report.table(["run", "s", "rate/s", "CPU us/probe", "lost", "unanswered",
                               "drops", "skipped", "discarded", "throttle", "delay p99 ms",
                               "RSS MiB"], rows))
    return section


def resident(bench, count, seconds, scrape_each):
    """VmRSS in KiB: settled and never scraped, then after `seconds` with a scrape each so often,
    and at its highest; and the mean length of a peer's names: name, address, labels on each line.
    """
    with probers.Daemon(bench, count) as daemon:
        time.sleep(min(5, seconds))
        quiet = daemon.memory_kib()
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            daemon.scrape()
            time.sleep(max(0, min(scrape_each, end - time.monotonic())))
        scraped, highest = daemon.memory_kib(), daemon.memory_kib("VmHWM")
    return {"peers": count, "quiet_kib": quiet, "scraped_kib": scraped, "highest_kib": highest}


def name_bytes(count):
    """Of one peer, on average: name and address, alone and once more as the labels of a line."""
    lengths = [len(address) for address in lab.targets(count)]
    return 4 * sum(lengths) / count + len('peer="",address=""')


def memory(bench, _rounds):
    section = report.Section("memory")
    long, short = (10, 10) if bench.quick else (60, 20)
    rows = {}
    for count, seconds in ((FEW_PEERS, short), (PEERS, long), (MANY_PEERS, short)):
        progress(f"memory: {count} peers, {seconds} s")
        rows[count] = resident(bench, count, seconds, 5)
        section.rows.append(rows[count])
    slopes = {key: (rows[MANY_PEERS][key] - rows[FEW_PEERS][key]) * 1024 /
              (MANY_PEERS - FEW_PEERS) for key in ("quiet_kib", "scraped_kib")}
    names = name_bytes(MANY_PEERS)
    section.show("VmRSS of reachd, MiB; a scrape each 5 s:",
                 report.table(["peers", "before any scrape", "after", "highest"],
                              [[count] + [report.number(row[key] / 1024) for key in
                                          ("quiet_kib", "scraped_kib", "highest_kib")]
                               for count, row in rows.items()]),
                 f"A peer more costs {slopes['quiet_kib']:.0f} B before any scrape,"
                 f" {slopes['scraped_kib']:.0f} B after; its names are {names:.0f} B of that.")
    section.at_most(f"VmRSS, {PEERS} peers, scraped [MiB]", rows[PEERS]["scraped_kib"] / 1024, 20,
                    goal=14)
    section.at_most("slope 1k to 50k less names, before any scrape [B a peer]",
                    slopes["quiet_kib"] - names, 512, digits=0)
    section.at_most("slope 1k to 50k less names, scraped [B a peer]",
                    slopes["scraped_kib"] - names, 512, digits=0)
    return section


def scrape_window(daemon, seconds, encoding):
    """p99 of the probe delay over a window with a scrape each second (encoding None: without)."""
    before = probers.delay_buckets(daemon.page())
    time.sleep(1)
    window = probers.Window(daemon)
    scrapes = []
    for second in range(seconds):
        if encoding:
            scrapes.append(daemon.scrape(encoding))
        time.sleep(max(0, window.began[0] + second + 1 - time.monotonic()))
    row = window.end()
    buckets = lab.bucket_difference(probers.delay_buckets(daemon.page()), before)
    result = {"delay_p99": lab.bucket_quantile(buckets, 0.99), "cpu_seconds": row["cpu_seconds"],
              "seconds": row["seconds"], "scrapes": len(scrapes)}
    if scrapes:
        firsts = [scrape.first_body_byte for scrape in scrapes]
        result.update(first_byte=None if None in firsts else max(firsts),
                      total=report.median([scrape.total for scrape in scrapes]),
                      size=scrapes[-1].transferred)
    return result


def milliseconds(seconds):
    return None if seconds is None else seconds * 1e3


def scrape(bench, rounds):
    section = report.Section("scrape")
    rounds = rounds or (1 if bench.quick else 5)
    seconds = 5 if bench.quick else 10
    kinds = {"none": None, "plain": "identity", "gzip": "gzip"}
    results = {kind: [] for kind in kinds}
    with probers.Daemon(bench, PEERS) as daemon:
        for turn in range(rounds):
            for kind, encoding in kinds.items():
                progress(f"scrape: round {turn + 1} of {rounds}, {kind}")
                results[kind].append(scrape_window(daemon, seconds, encoding))
                section.rows.append({"row": kind, "round": turn + 1, **results[kind][-1]})
    middle = {kind: {key: report.median([row.get(key) for row in rows]) for key in rows[0]}
              for kind, rows in results.items()}
    for kind in ("plain", "gzip"):
        section.at_most(f"first body byte, slowest of a round, {kind} [ms]",
                        milliseconds(middle[kind]["first_byte"]), 100, digits=1)
        late = report.median(pairwise(results, kind, "none", "delay_p99", lambda a, b: a / b))
        section.at_most(f"p99 of the probe delay, with {kind} scrapes / without", late, 1.1)
    background = middle["none"]["cpu_seconds"] / middle["none"]["seconds"]
    section.show(f"{PEERS} peers, one scrape a second:", report.table(
        ["scrapes", "bytes", "first byte ms", "total ms", "CPU ms a scrape", "delay p99 ms"],
        [[kind, report.number(row.get("size"), 0),
          report.number(milliseconds(row.get("first_byte"))),
          report.number(milliseconds(row.get("total"))),
          report.number((row["cpu_seconds"] - background * row["seconds"]) * 1e3 / row["scrapes"]
                        if row["scrapes"] else None),
          report.number(milliseconds(row["delay_p99"]), 2)]
         for kind, row in middle.items()]))
    return section


def idle(bench, _rounds):
    """No peer, discovery off, no client, and a namespace in which nothing happens."""
    section = report.Section("idle")
    seconds = 5 if bench.quick else 60
    progress(f"idle: {seconds} s")
    with probers.Daemon(bench, 0) as daemon:
        time.sleep(3)
        switches, cpu = daemon.voluntary_switches(), daemon.cpu_seconds()
        time.sleep(seconds)
        daemon.require_running()
        rate = (daemon.voluntary_switches() - switches) / seconds
        cpu = (daemon.cpu_seconds() - cpu) / seconds
        rss = daemon.memory_kib() / 1024
    section.rows.append({"switches_per_second": rate, "cores": cpu, "rss_mib": rss})
    section.show(f"reachd without peers: {rate:.2f} voluntary context switches a second over all"
                 f" threads, {cpu:.2%} of a core, {rss:.1f} MiB")
    section.at_most("voluntary context switches a second", rate, 2)
    return section


def render(bench, _rounds):
    """The exporter's own benchmark: our writer against a minimal formatter, CPU a byte."""
    section = report.Section("render")
    progress("render")
    with lab.Process([bench.program("render_bench")], bench.folder) as process:
        output = process.finish(300)
    rows = dict(re.findall(r"^(\S.*?)\s+\d+ bytes .*?([\d.]+) x minimal$", output, re.M))
    section.rows.append({name: float(value) for name, value in rows.items()})
    section.show(output.rstrip())
    section.at_most("rendering, thread CPU a byte / minimal formatter",
                    float(rows["reachd"]) if "reachd" in rows else None, 2)
    return section


SECTIONS = {"engine": engine, "loss": loss, "memory": memory, "scrape": scrape, "idle": idle,
            "netlink": netlink, "passive": passive, "render": render, "tcp": tcp,
            "arp": arp, "mtu": mtu}
