"""The section `mtu`: what path MTU probing costs while all is well, and when every path has a hole.

Loopback peers of which 9000 bytes are expected. A counter of nftables sees each request, another
rule makes the hole: large echo requests and datagrams vanish on their way out of this namespace.
"""
import json
import subprocess
import time

from . import lab, probers, report
from .report import progress

PEERS = 1_000
QUICK_PEERS = 100
INTERVAL = 60
QUICK_INTERVAL = 10
EXPECTED = 9_000
HOLE = 1_500
BYTES_A_SECOND = 1_000_000
SAMPLE_SECONDS = 0.05
#: The most that all peers' searches may take within the budget.
SEARCH_SECONDS_MAX = 300

RULES = """
table inet bench {
  counter requests { }
  chain sent {
    type filter hook output priority 0;
    ip saddr 127.0.0.1 ip daddr 127.1.0.0/16 counter name requests
  }
  chain arriving {
    type filter hook input priority -400;
  }
}
"""
DROP = ("add rule inet bench arriving ip saddr 127.0.0.1 ip daddr 127.1.0.0/16"
        f" ip length > {HOLE} drop")


def nft(*arguments, text=None):
    return subprocess.run(["nft", *arguments], input=text, text=True, check=True,
                          capture_output=True).stdout


def requests():
    """(packets, bytes) that were sent to the peers."""
    found = json.loads(nft("-j", "list", "counter", "inet", "bench", "requests"))
    counter = next(one["counter"] for one in found["nftables"] if "counter" in one)
    return counter["packets"], counter["bytes"]


def daemon_config(count, interval):
    return json.dumps({
        "web": {"listen": [f"127.0.0.1:{probers.PORT}"]},
        "probes": {"icmp": {"enabled": False},
                   "mtu": {"interval": f"{interval}s", "expected_bytes": EXPECTED}},
        "discovery": {"gateways": False, "guests": False},
        "limits": {"peers": count, "mtu_bytes_per_second": BYTES_A_SECOND, "series": 10000000},
        "peers": [{"address": address, "source": "127.0.0.1"} for address in lab.targets(count)],
    })


def verdicts(daemon):
    """{verdict: how many peers}"""
    page = daemon.page()
    counts = {}
    for text, value in page.samples("reachd_path_mtu_info"):
        verdict = text.split(b'verdict="', 1)[1].split(b'"', 1)[0].decode()
        counts[verdict] = counts.get(verdict, 0) + int(value)
    return counts


def watch(daemon, seconds, is_over=lambda: False):
    """Samples the counter; what the window cost, and the most bytes within any second."""
    samples = [(time.monotonic(), *requests())]
    cpu, began = daemon.run_seconds(), samples[0][0]
    most = 0
    while samples[-1][0] - began < seconds and not is_over():
        time.sleep(max(0, min(SAMPLE_SECONDS, began + seconds - time.monotonic())))
        samples.append((time.monotonic(), *requests()))
        # Of samples a second apart at most, so that what is measured is never more than was sent.
        oldest = next(one for one in samples if samples[-1][0] - one[0] <= 1)
        most = max(most, samples[-1][2] - oldest[2])
    daemon.require_running()
    elapsed = samples[-1][0] - began
    return {"seconds": elapsed, "cores": (daemon.run_seconds() - cpu) / elapsed,
            "packets": samples[-1][1] - samples[0][1], "bytes_per_second_max": most}


def mtu(bench, _rounds):
    section = report.Section("mtu")
    count, interval = (QUICK_PEERS, QUICK_INTERVAL) if bench.quick else (PEERS, INTERVAL)
    nft("-f", "-", text=RULES)
    with probers.Daemon(bench, 0, daemon_config(count, interval)) as daemon:
        progress(f"mtu: {interval} s to begin, {interval} s healthy")
        time.sleep(interval)
        healthy = {"row": "healthy", **watch(daemon, interval)}
        healthy.update(verdicts=verdicts(daemon), rss_kib=daemon.memory_kib())
        nft(DROP)
        progress(f"mtu: up to {interval + SEARCH_SECONDS_MAX} s until all holes are found")
        found = {}

        def all_found():
            found.update(verdicts(daemon))
            return found.get("black_hole") == count

        holes = {"row": "holes", **watch(daemon, interval + SEARCH_SECONDS_MAX, all_found)}
        holes.update(verdicts=verdicts(daemon), rss_kib=daemon.memory_kib())
    section.rows += [healthy, holes]
    section.show(f"{count} loopback peers, {EXPECTED} bytes expected, a check each {interval} s;"
                 f" then each has a hole above {HOLE}:", report.table(
        ["row", "seconds", "packets", "% of a core", "most bytes/s", "RSS MiB", "verdicts"],
        [[row["row"], report.number(row["seconds"]), row["packets"],
          report.number(row["cores"] * 100, 2), row["bytes_per_second_max"],
          report.number(row["rss_kib"] / 1024),
          ", ".join(f"{name} {many}" for name, many in sorted(row["verdicts"].items()))]
         for row in (healthy, holes)]), "")
    section.at_most("healthy: % of a core", healthy["cores"] * 100, 1)
    section.at_most("healthy: packets a peer and interval",
                    healthy["packets"] / count, 2 + 2 / count, digits=3)
    section.at_least("healthy: packets a peer and interval", healthy["packets"] / count,
                     2 - 2 / count, digits=3)
    section.at_most("healthy: peers without the verdict ok",
                    count - healthy["verdicts"].get("ok", 0), 0, digits=0)
    for row in (healthy, holes):
        section.at_most(f"{row['row']}: bytes in any second", row["bytes_per_second_max"],
                        BYTES_A_SECOND, digits=0)
    section.at_most("holes: peers without the verdict black_hole",
                    count - holes["verdicts"].get("black_hole", 0), 0, digits=0)
    return section
