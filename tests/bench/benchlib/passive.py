"""The section `passive`: what listening on a bridge's ports costs the traffic that passes them.

Two namespaces talk over a bridge in the section's own one. In turn: no socket of reachd at all; one
on a port where nothing happens; one on each of the two ports; that idle one, and on the two ports
bare packet sockets whose filter drops everything at once. The second row is there because the first
socket that asks for receive stamps makes the kernel stamp each packet of the host. A reachd that
sends ICMP does that anyway, so it is shown apart: listening is the third row less the second. The
fourth is the least that anybody could pay: what is above it is the filter's.

bridge_traffic says what one forwarded packet costs, and why it can know (its first lines). A
round takes all three again and again, for half a second each, and keeps the cheapest tenth of the
bursts of the cheapest turn: what nothing else on the machine disturbed.
"""
import contextlib
import os
import signal
import subprocess
import time

from . import lab, probers, report
from .report import progress

RATE = 100_000
RECEIVER = "10.99.0.2"
IDLE_PORT = "idle0"
TURN_SECONDS = 0.5
NONE, IDLE, BOTH, BARE = "none", "on an idle port", "on both ports", "bare ones there"


class Guest(lab.Process):
    """A namespace with one address, behind its own port of br0."""

    def __init__(self, bench, number):
        super().__init__(["unshare", "--net", "sleep", "3600"], bench.folder)
        self.port = f"guest{number}"
        try:
            self.wait_for_namespace()
            ip(f"link add {self.port} type veth peer name eth0 netns {self.pid}")
            ip(f"link set {self.port} master br0 up")
            inside = ["nsenter", "--net=" + self.namespace(), "ip"]
            for words in (f"address add 10.99.0.{number}/24 dev eth0", "link set eth0 up"):
                subprocess.run(inside + words.split(), check=True)
        except BaseException:
            self.stop(signal.SIGKILL)
            raise

    def namespace(self):
        return f"/proc/{self.pid}/ns/net"

    def wait_for_namespace(self):
        deadline = time.monotonic() + 10
        while os.readlink(self.namespace()) == os.readlink("/proc/self/ns/net"):
            self.require_running()
            if time.monotonic() > deadline:
                raise lab.BenchError("no namespace after 10 s")
            time.sleep(0.01)


def ip(words):
    subprocess.run(["ip"] + words.split(), check=True)


class Listener(lab.Process):
    """reachd's sockets on these ports, open; or bare ones."""

    def __init__(self, bench, ports, bare=False):
        super().__init__([bench.program("passive_listener"), f"ports={','.join(ports)}",
                          f"bare={int(bare)}"], bench.folder)
        deadline = time.monotonic() + 10
        try:
            while "ready" not in self.errors.read_text():
                self.require_running()
                if time.monotonic() > deadline:
                    raise lab.BenchError("passive_listener: not ready after 10 s")
                time.sleep(0.02)
        except BaseException:
            self.stop(signal.SIGKILL)
            raise


def traffic(bench, sender, receiver, seconds):
    """The price of a packet, on the last core: soft interrupts of others mostly hit the first."""
    core = max(os.sched_getaffinity(0))
    with lab.Process([bench.program("bridge_traffic"), f"from={sender.namespace()}",
                      f"to={receiver.namespace()}", f"address={RECEIVER}", f"rate={RATE}",
                      f"secs={seconds}", f"cpu={core}"], bench.folder) as process:
        return probers.parse_pairs(process.finish(seconds + 60))


def more_per_packet(rows, name, other):
    """The median of what each round's undisturbed packets cost more in one row than in another."""
    return report.median([row[name]["ns_p10"] - row[other]["ns_p10"] for row in rows])


def cheapest(turns):
    """The turn that was disturbed least."""
    return min(turns, key=lambda turn: turn["ns_p10"])


def listeners(bench, name, ports):
    """What is open during a row's turn."""
    wanted = {NONE: [], IDLE: [([IDLE_PORT], False)], BOTH: [(ports, False)],
              BARE: [([IDLE_PORT], False), (ports, True)]}
    with contextlib.ExitStack() as opened:  # closed again if one of them fails
        for listened, bare in wanted[name]:
            opened.enter_context(Listener(bench, listened, bare))
        return opened.pop_all()


def measure(bench, sender, receiver, turns):
    """One round: {row: what bridge_traffic found in the row's cheapest turn}."""
    found = {name: [] for name in (NONE, IDLE, BOTH, BARE)}
    for _ in range(turns):
        for name, rows in found.items():
            with listeners(bench, name, [sender.port, receiver.port]):
                rows.append(traffic(bench, sender, receiver, TURN_SECONDS))
    return {name: cheapest(rows) for name, rows in found.items()}


def passive(bench, rounds):
    section = report.Section("passive")
    rounds = rounds or (1 if bench.quick else 5)
    turns = 2 if bench.quick else 8
    ip("link add br0 type bridge")
    ip("link set br0 up")
    ip(f"link add {IDLE_PORT} type veth peer name idle1")
    rows = []
    with Guest(bench, 1) as sender, Guest(bench, 2) as receiver:
        for turn in range(rounds):
            progress(f"passive: round {turn + 1} of {rounds}")
            rows.append(measure(bench, sender, receiver, turns))
            section.rows.append({"round": turn + 1, **rows[-1]})
    section.show(f"UDP between two namespaces over a bridge, {RATE} packets/s, {rounds} rounds of"
                 f" {turns} turns; ns a packet, from its sender to the receiving socket:",
                 report.table(["sockets", "undisturbed", "median", "packets/s", "whole bursts %"],
                              [traffic_line(name, [row[name] for row in rows])
                               for name in (NONE, IDLE, BOTH, BARE)]),
                 f"Receive stamps cost {more_per_packet(rows, IDLE, NONE):.0f} ns, any packet"
                 f" socket {more_per_packet(rows, BARE, IDLE):.0f} ns, our filter on top of it"
                 f" {more_per_packet(rows, BOTH, BARE):.0f} ns.", "")
    section.at_most("a forwarded packet, sockets on its ports less on an idle one [ns]",
                    more_per_packet(rows, BOTH, IDLE), 150, digits=0)
    section.at_most("our filter less one that drops everything at once [ns]",
                    more_per_packet(rows, BOTH, BARE), 30, digits=0)
    section.at_least("rate kept, median of all runs [%]",
                     report.median([row[name]["rate"] for row in rows for name in row])
                     / RATE * 100, 80, digits=0)
    return section


def traffic_line(name, results):
    return [name, report.spread([row["ns_p10"] for row in results], 0),
            report.spread([row["ns_per_packet"] for row in results], 0),
            report.number(report.median([row["rate"] for row in results]), 0),
            report.number(100 * report.median([row["whole"] for row in results]), 1)]
