"""How each prober is started and measured: the bare loop, the engine, reachd and its peers.

A row is a function (bench, count, seconds) -> dict. The figures that rows share: rate (a second,
seen by the kernel), cpu_us (user and system, a probe), rss_kib, lost (what the prober says: the
kernel answers every request, so it is false loss), kern_p50 and kern_p99 (microseconds).
"""
import json
import pathlib
import re
import signal
import time

from . import lab

PORT = 9900
SMOKEPING_PORT = 9374
WARM_SECONDS = 10


class NotHere(Exception):
    """The program of a row is not installed or not built."""


class Bench:
    """What all rows need: where the programs and the scratch folder are, and as whom to run."""

    def __init__(self, programs, folder, unprivileged, quick):
        self.programs = programs
        self.folder = pathlib.Path(folder)
        self.unprivileged = unprivileged
        self.quick = quick

    def program(self, name):
        if not self.programs.get(name):
            raise NotHere(f"{name}: not built")
        return self.programs[name]

    def path(self, name, text):
        """A file of the scratch folder, readable for the unprivileged user too."""
        path = self.folder / name
        path.write_text(text)
        path.chmod(0o644)
        return path


def daemon_config(count):
    """reachd's configuration for `count` loopback peers, limits raised, discovery off."""
    return json.dumps({
        "web": {"listen": [f"127.0.0.1:{PORT}"]},
        "discovery": {"gateways": False},
        "limits": {"peers": max(count, 1), "probes_per_second": 200000, "series": 10000000},
        "peers": [{"address": address} for address in lab.targets(count)],
    })


class Daemon(lab.Process):
    """A running reachd with `count` peers, ready and at its full rate: by default ICMP to
    loopback addresses, else as in `config`, whose probes `requests` counts."""

    def __init__(self, bench, count, config=None, requests=lab.echo_requests):
        config = bench.path("reachd.json", config or daemon_config(count))
        runtime = bench.folder / "runtime"
        runtime.mkdir(exist_ok=True)
        runtime.chmod(0o777)
        super().__init__([bench.program("reachd"), "--config", config], bench.folder,
                         bench.unprivileged, {"RUNTIME_DIRECTORY": str(runtime)})
        self.count = count
        try:
            lab.wait_ready(self, PORT, "/readyz", 60)
            if count:
                lab.settle(self, count, WARM_SECONDS, requests)
        except BaseException:
            self.stop(signal.SIGKILL)
            raise

    def scrape(self, encoding="identity"):
        response = lab.fetch(PORT, encoding=encoding)
        if response.status != 200:
            raise lab.BenchError(f"/metrics answered {response.status}")
        return response

    def page(self):
        return self.scrape().page()


class Window:
    """Begin, sleep, end: CPU of a process and the kernel's counters over the same time."""

    def __init__(self, process):
        self.process = process
        self.began = self.read()

    def read(self):
        return (time.monotonic(), self.process.cpu_seconds(), lab.icmp_counters(),
                self.process.socket_drops())

    def end(self):
        self.process.require_running()
        began, ended = self.began, self.read()
        seconds = ended[0] - began[0]
        requests = ended[2]["InEchos"] - began[2]["InEchos"]
        answers = ended[2]["InEchoReps"] - began[2]["InEchoReps"]
        cpu = ended[1] - began[1]
        return {"seconds": seconds, "requests": requests, "rate": requests / seconds,
                "kernel_unanswered": requests - answers, "socket_drops": ended[3] - began[3],
                "cpu_seconds": cpu, "cpu_us": cpu * 1e6 / requests if requests else None,
                "rss_kib": self.process.memory_kib()}


def parse_pairs(text):
    """key=value words of a benchmark program's output, numbers as numbers."""
    pairs = dict(word.split("=", 1) for word in text.split() if "=" in word)
    for key, value in pairs.items():
        try:
            pairs[key] = float(value)
        except ValueError:
            pass
    return pairs


def run_program(bench, name, count, seconds, *extra, warm=2):
    """bare_icmp or engine_bench: they measure themselves."""
    command = [bench.program(name), f"n={count}", "hz=1", f"secs={seconds}", f"warm={warm}",
               "base=127.1.0.0", *extra]
    with lab.Process(command, bench.folder, bench.unprivileged) as process:
        pairs = parse_pairs(process.finish(seconds + warm + 30))
    if "rate" not in pairs or "cpu_us_per_probe" not in pairs:
        raise lab.BenchError(f"{name}: no rate or cpu_us_per_probe in its output")
    row = {"rate": pairs["rate"], "cpu_us": pairs["cpu_us_per_probe"], "lost": pairs.get("lost"),
           "kern_p50": pairs.get("kern_p50"),
           "kern_p99": pairs.get("kern_p99"), "sent": pairs.get("sent")}
    if name == "bare_icmp":  # engine_bench's buckets are not the daemon's, nor is its memory
        row["rss_kib"] = pairs.get("rss_kb")
    if pairs.get("sent") and "user_stamped" in pairs:
        row["kernel_share"] = 1 - pairs["user_stamped"] / pairs["sent"]
    return row


def bare(bench, count, seconds):
    return run_program(bench, "bare_icmp", count, seconds, "ts=none")


def bare_rxtx(bench, count, seconds):
    return run_program(bench, "bare_icmp", count, seconds, "ts=rxtx")


def engine(bench, count, seconds):
    return run_program(bench, "engine_bench", count, seconds)


def delay_buckets(page):
    return page.buckets("reachd_probe_delay_seconds")


def by_label(page, family, label):
    """{label value: sum} of what is not zero."""
    sums = {}
    for text, value in page.samples(family):
        key = re.search(rf'{label}="([^"]*)"'.encode(), text)[1].decode()
        sums[key] = sums.get(key, 0) + value
    return {key: value for key, value in sums.items() if value}


def reachd(bench, count, seconds):
    """The daemon itself; scraped before and after its window, never inside."""
    with Daemon(bench, count) as daemon:
        before = daemon.page()
        time.sleep(1)
        window = Window(daemon)
        time.sleep(seconds)
        row = window.end()
        after = daemon.page()
    received = after.total("reachd_probe_received_total")
    stamped_by_us = after.total("reachd_probe_user_stamped_total")
    row["lost"] = after.total("reachd_probe_lost_total")
    row["kernel_share"] = 1 - stamped_by_us / received if received else None
    row["skipped"] = by_label(after, "reachd_probes_skipped_total", "reason")
    row["discarded"] = by_label(after, "reachd_probe_samples_discarded_total", "reason")
    row["throttle_ratio"] = after.total("reachd_throttle_ratio")
    delay = lab.bucket_difference(delay_buckets(after), delay_buckets(before))
    row["delay_p99"] = lab.bucket_quantile(delay, 0.99)
    row["delay_share_12ms"] = lab.share_below(delay, 0.012)
    return row


def peer_row(bench, command, count, seconds, number=signal.SIGINT):
    """A foreign prober, measured from outside; (row, output, errors) once it has ended."""
    with lab.Process(command, bench.folder) as process:
        lab.settle(process, count, WARM_SECONDS)
        window = Window(process)
        time.sleep(seconds)
        row = window.end()
        process.stop(number)
    return (row, process.output.read_text(errors="replace"),
            process.errors.read_text(errors="replace"))


def targets_file(bench, count):
    return bench.path(f"targets-{count}", "\n".join(lab.targets(count)) + "\n")


def installed(*names):
    program = lab.find_program(*names)
    if not program:
        raise NotHere(f"{names[0]}: not installed")
    return program


def oping(bench, count, seconds):
    row, output, _ = peer_row(bench, [installed("oping"), "-4", "-i", "1", "-w", "0.9", "-f",
                                      targets_file(bench, count)], count, seconds)
    pairs = re.findall(r"(\d+) packets transmitted, (\d+) received", output)
    row["lost"] = sum(int(sent) - int(received) for sent, received in pairs) if pairs else None
    return row


def fping(bench, count, seconds):
    """Spread over the second: -i is the gap between two probes, in milliseconds."""
    row, _, errors = peer_row(bench, [installed("fping"), "-l", "-q", "-p", "1000", "-t", "900",
                                      "-i", f"{900 / count:.4f}", "-f",
                                      targets_file(bench, count)], count, seconds)
    pairs = re.findall(r"xmt/rcv/%loss = (\d+)/(\d+)", errors)
    row["lost"] = sum(int(sent) - int(received) for sent, received in pairs) if pairs else None
    return row


def smokeping(bench, count, seconds):
    """smokeping_prober on ping sockets (`protocol: udp`); with raw ones each gets every packet."""
    hosts = "".join(f"  - {address}\n" for address in lab.targets(count))
    config = bench.path("smokeping.yml", "targets:\n- interval: 1s\n  network: ip4\n"
                        f"  protocol: udp\n  size: 56\n  hosts:\n{hosts}")
    command = [installed("smokeping_prober", "prometheus-smokeping-prober"),
               f"--config.file={config}", "--log.level=error",
               f"--web.listen-address=127.0.0.1:{SMOKEPING_PORT}"]
    with lab.Process(command, bench.folder) as process:
        lab.settle(process, count, WARM_SECONDS)
        window = Window(process)
        time.sleep(seconds)
        row = window.end()
        try:
            page = lab.fetch(SMOKEPING_PORT).page()
            # One probe a target may still be out: that much is no loss.
            missing = (page.total("smokeping_requests_total") -
                       page.total("smokeping_response_duration_seconds_count"))
            row["lost"] = max(0.0, missing - count)
        except (OSError, ValueError, lab.BenchError):
            row["note"] = "no scrape within 30 s"
        process.stop(signal.SIGKILL)
    return row


ROWS = {"bare": bare, "bare-rxtx": bare_rxtx, "engine": engine, "reachd": reachd, "oping": oping,
        "fping": fping, "smokeping": smokeping}
