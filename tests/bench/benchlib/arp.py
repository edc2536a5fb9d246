"""The section `arp`: what asking 500 guests by ARP costs, and how soon a restart knows them again.

500 taps on one bridge without any address, each with a guest of tests/system/lab behind it and a
process that looks like its virtual machine. Each guest is asked once a second, out of its own port.
The guests' CPU time is not counted, but what the kernel does for a request is done in the prober's
context, in every row alike. Each of reachd's rows begins with a restart, which is timed.
"""
import contextlib
import json
import os
import pathlib
import shlex
import subprocess
import sys
import time

from . import lab, probers, report
from .rounds import column, cpu_ratio, pairwise, run_rounds

sys.path.append(str(pathlib.Path(__file__).resolve().parents[2] / "system"))

from lab.guest import TapCrowd, hypervisor  # noqa: E402  the laboratory, not our .lab

GUESTS = 500
CORE_SHARE_MORE = 0.01  # what the daemon may cost beyond 1.3 x the bare loop
RESTART_SECONDS = 3
LEARN_SECONDS = 30
ABSENT = "10.77.255.254"  # for guests to ask for


class Here:
    """The section's own namespace, in the words of the laboratory."""

    popen = staticmethod(subprocess.Popen)

    def __init__(self, end):
        self.at_end = end.callback

    def namespace(self, _name):
        return self

    def sysctl(self, key, value):
        pathlib.Path("/proc/sys", key).write_text(str(value))

    def run(self, command, check=True, stdin=None):
        return subprocess.run(shlex.split(command), check=check, input=stdin, text=True,
                              stdout=subprocess.PIPE).stdout

    def ip(self, *commands):
        self.run("ip -batch -", stdin="\n".join(commands) + "\n")


def machine_name(number):
    return f"vm{number:03}"


def start_machines(bench, crowd, end):
    """A shell for each guest that waits for the end, under QEMU's name and with its arguments."""
    program = bench.folder / "qemu-system-x86_64"
    program.unlink(missing_ok=True)
    program.symlink_to("/bin/sh")
    waiting, held = os.pipe()
    end.callback(os.close, held)  # they read the end of it then
    for number, guest in enumerate(crowd.guests):
        subprocess.Popen([program, "-c", "read end", "-name", f"guest={machine_name(number)}",
                          "-device", f"virtio-net-pci,netdev=n0,mac={guest['mac']}"],
                         stdin=waiting)
    os.close(waiting)


class Hypervisor:
    """The bridge with its guests, and a run-time directory in which reachd has met them."""

    def __init__(self, bench, end):
        here = Here(end)
        self.crowd = TapCrowd(here, hypervisor(here, link_local=False), GUESTS)
        start_machines(bench, self.crowd, end)
        self.config = json.dumps({"web": {"listen": [f"127.0.0.1:{probers.PORT}"]},
                                  "discovery": {"gateways": False}})
        self.file = bench.path("guests", "".join(
            f"{guest['tap']} {guest['mac']} {guest['addresses'][0]}\n"
            for guest in self.crowd.guests))
        self.wanted = {(guest["tap"], machine_name(number), guest["mac"], guest["addresses"][0])
                       for number, guest in enumerate(self.crowd.guests)}

    def speak(self):
        """Each guest uses its address."""
        for number, guest in enumerate(self.crowd.guests):
            self.crowd.do(number, "ask", sender=guest["addresses"][0], target=ABSENT)

    def answers(self):
        return self.crowd.counts()["answers"]


def guests_in(told):
    """{(port, name, MAC, address)} of an object of `reachctl guests`."""
    return {(guest["device"], guest["name"], address["mac"], address["address"])
            for guest in told["guests"] for address in guest["addresses"]}


def known_guests(bench):
    command = [bench.program("reachctl"), "guests", "--json", "--socket",
               bench.folder / "runtime" / "control.sock"]
    told = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    if told.returncode not in (0, 1):  # 1: some do not answer yet
        raise lab.BenchError(f"reachctl: {told.stderr.decode(errors='replace').strip()}")
    return guests_in(json.loads(told.stdout))


def wait_known(bench, daemon, wanted, seconds):
    deadline = time.monotonic() + seconds
    while True:
        known = known_guests(bench)
        if wanted <= known:
            return
        daemon.require_running()
        if time.monotonic() > deadline:
            raise lab.BenchError(f"{len(wanted & known)} of {len(wanted)} guests are known after"
                                 f" {seconds} s")
        time.sleep(0.05)


def learn(bench, place):
    """The daemon's first meeting with the guests; it leaves a run-time file."""
    with probers.Daemon(bench, 0, place.config) as daemon:
        place.speak()
        wait_known(bench, daemon, place.wanted, LEARN_SECONDS)


def bare(bench, place, seconds, stamps):
    """The bare loop: it measures itself."""
    command = [bench.program("bare_arp"), f"guests={place.file}", "hz=1", f"secs={seconds}",
               "warm=2", f"ts={stamps}"]
    with lab.Process(command, bench.folder, bench.unprivileged) as process:
        pairs = probers.parse_pairs(process.finish(seconds + 32))
    return {"rate": pairs["rate"], "cpu_us": pairs["cpu_us_per_probe"], "lost": pairs["lost"],
            "cores": pairs["cpu_us_per_probe"] * pairs["rate"] * 1e-6,
            "rss_kib": pairs["rss_kb"], "kern_p50": pairs.get("kern_p50")}


def reachd(bench, place, seconds):
    """The daemon, restarted; scraped before and after its window, never inside."""
    begin = time.monotonic()
    with probers.Daemon(bench, 0, place.config) as daemon:
        wait_known(bench, daemon, place.wanted, LEARN_SECONDS)
        restart = time.monotonic() - begin
        lab.settle(daemon, GUESTS, probers.WARM_SECONDS, place.answers)
        before = daemon.page()
        time.sleep(1)
        began = (time.monotonic(), daemon.run_seconds(), place.answers())
        time.sleep(seconds)
        daemon.require_running()
        ended = (time.monotonic(), daemon.run_seconds(), place.answers())
        rss = daemon.memory_kib()
        after = daemon.page()
    wall, cpu, count = (later - earlier for later, earlier in zip(ended, began))
    lost, skipped = (after.total(name) - before.total(name) for name in
                     ("reachd_probe_failures_total", "reachd_probes_skipped_total"))
    return {"rate": count / wall, "cpu_us": cpu * 1e6 / count if count else None,
            "cores": cpu / wall, "lost": lost, "skipped": skipped, "rss_kib": rss,
            "restart": restart}


def show_rows(section, results):
    rows = []
    for name in results:
        rss = report.median(column(results, name, "rss_kib"))
        rows.append([name, report.number(report.median(column(results, name, "rate")), 0),
                     report.spread(column(results, name, "cpu_us")),
                     report.number(cpu_ratio(results, name, "bare"), 2),
                     report.number(cpu_ratio(results, name, "bare-rxtx"), 2),
                     report.number(rss / 1024 if rss else None),
                     report.number(report.median(column(results, name, "lost")), 0),
                     report.spread(column(results, name, "kern_p50")),
                     report.spread(column(results, name, "restart"), 2)])
    section.show(f"{GUESTS} guests behind taps of one bridge, one ARP request a second each; CPU is"
                 " user and system of the prober:",
                 report.table(["row", "rate/s", "CPU us/probe", "x bare", "x rxtx", "RSS MiB",
                               "lost", "RTT p50 us", "restart s"], rows), "")


def arp(bench, rounds):
    section = report.Section("arp")
    rounds = rounds or (1 if bench.quick else 5)
    seconds = 4 if bench.quick else 20
    with contextlib.ExitStack() as end:
        report.progress(f"arp: {GUESTS} guests appear")
        place = Hypervisor(bench, end)
        learn(bench, place)
        results = run_rounds(section, {
            "bare": lambda: bare(bench, place, seconds, "none"),
            "bare-rxtx": lambda: bare(bench, place, seconds, "rxtx"),
            "reachd": lambda: reachd(bench, place, seconds)}, rounds, "idle")
    show_rows(section, results)
    more = report.median(pairwise(results, "reachd", "bare-rxtx", "cores",
                                  lambda ours, theirs: ours - 1.3 * theirs))
    section.at_most("CPU, reachd less 1.3 x bare-rxtx [% of a core]",
                    None if more is None else 100 * more, 100 * CORE_SHARE_MORE)
    rate = report.median(column(results, "reachd", "rate"))
    section.at_least("rate kept [%]", None if rate is None else 100 * rate / GUESTS, 99, digits=1)
    section.at_most("false loss", report.median(column(results, "reachd", "lost")), 0, digits=0)
    restarts = [each for each in column(results, "reachd", "restart") if each is not None]
    section.at_most("restart until all have port, name, MAC and address, slowest [s]",
                    max(restarts, default=None), RESTART_SECONDS)
    return section
