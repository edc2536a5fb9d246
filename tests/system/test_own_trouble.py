"""The daemon's own standstill is not the network's: no loss, no change, no burst.

A step of the wall clock is not tried here: the clock is the machine's own, and a namespace for it
does not exist. The unit tests of the probe engine step it.
"""

import os
import signal
import time

from lab import places
from lab.daemon import Daemon, configuration
from lab.metrics import check_accounting
from lab.places import PEER4, PEER6
from lab.testing import test

PEERS = ({"name": "p4", "address": PEER4}, {"name": "p6", "address": PEER6})


@test(alone=True, quick=True)
def stopped_for_five_seconds(lab):
    place = places.wired(lab)
    place.wire.do("delay both 75000")  # always one or two in flight
    seen = places.capture(lab, place.hv)
    daemon = Daemon(lab, place.hv, configuration(*PEERS, interval="100ms", mtu=False))
    before = daemon.wait_up("p4", "p6")
    time.sleep(1)
    daemon.send_signal(signal.SIGSTOP)
    time.sleep(5)
    seen.clear()
    daemon.send_signal(signal.SIGCONT)
    time.sleep(1)
    first_second = seen.requests()
    for address in (PEER4, PEER6):
        sent = sum(1 for echo in first_second if echo.destination == address)
        assert 8 <= sent <= 13, f"{address}: {sent} probes in the first second, 10 are due"
        times = [echo.at for echo in first_second if echo.destination == address]
        together = sum(1 for one, other in zip(times, times[1:]) if other - one < 0.02)
        assert together <= 1, f"{address}: a burst after the standstill: {times}"
    time.sleep(1.5)
    after = daemon.metrics()
    for peer in ("p4", "p6"):
        probe = after.probe(peer)
        check_accounting(probe, in_flight_max=4)
        assert probe.lost == 0 and not probe.failures, f"{peer}: {probe}"
        assert probe.late == 0 and probe.duplicates == 0, f"{peer}: {probe}"
        assert after.up(peer) == 1
        assert after.get("reachd_probe_rtt_seconds_bucket", peer=peer, le="1.0") == \
            after.get("reachd_probe_rtt_seconds_count", peer=peer), "the standstill as an RTT"
        assert probe.rtt_mean < 0.2, f"{peer}: {probe.rtt_mean}"
    assert after.total("reachd_peer_state_changes_total") == \
        before.total("reachd_peer_state_changes_total")
    starved = after.get("reachd_probe_samples_discarded_total", probe="icmp", reason="starved")
    assert 2 <= starved <= 8, f"{starved} samples starved"
    assert after.get("reachd_probe_samples_discarded_total", probe="icmp",
                     reason="clock_step") == 0
    place.wire.do("cut both")
    daemon.wait_up("p4", "p6", value=0)


@test(alone=True)
def stopped_again_and_again(lab):
    place = places.switched(lab)
    daemon = Daemon(lab, place.hv, configuration(*PEERS, interval="100ms", timeout="300ms"))
    before = daemon.wait_up("p4", "p6")
    for _ in range(6):
        daemon.send_signal(signal.SIGSTOP)
        time.sleep(0.6)
        daemon.send_signal(signal.SIGCONT)
        time.sleep(0.3)
    time.sleep(1)
    after = daemon.metrics()
    for peer in ("p4", "p6"):
        assert after.probe(peer).lost == 0, after.probe(peer)
    assert after.total("reachd_peer_state_changes_total") == \
        before.total("reachd_peer_state_changes_total")


@test(alone=True)
def outage_that_begins_during_the_standstill(lab):
    """What is really gone is still found: only the standstill itself proves nothing."""
    place = places.switched(lab)
    daemon = Daemon(lab, place.hv, configuration(*PEERS, interval="200ms"))
    daemon.wait_up("p4", "p6")
    daemon.send_signal(signal.SIGSTOP)
    place.switch.ip("link set p-peer down")
    time.sleep(2)
    daemon.send_signal(signal.SIGCONT)
    daemon.wait_up("p4", "p6", value=0, within=3.5)


@test(alone=True)
def idle_daemon_sleeps(lab):
    space = lab.namespace("empty")
    daemon = Daemon(lab, space, configuration())
    time.sleep(1.5)

    def switches():
        total = 0
        for thread in os.listdir(f"/proc/{daemon.process.pid}/task"):
            path = f"/proc/{daemon.process.pid}/task/{thread}/status"
            with open(path, encoding="ascii") as status:
                total += sum(int(line.split()[1]) for line in status
                             if line.startswith("voluntary_ctxt_switches"))
        return total
    before = switches()
    time.sleep(5)
    rate = (switches() - before) / 5
    assert rate <= 2, f"{rate} voluntary context switches a second"
