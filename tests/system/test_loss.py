"""A peer is lost, returns, or only loses a packet: verdicts, their times, and the counts."""

import time

from lab import places
from lab.daemon import Daemon, configuration
from lab.metrics import check_accounting
from lab.network import settle
from lab.places import PEER4, PEER6
from lab.testing import test

PEERS = ({"name": "p4", "address": PEER4}, {"name": "p6", "address": PEER6})
ADDRESSES = {"p4": PEER4, "p6": PEER6}
IGNORE_PINGS = ("icmp type echo-request drop", "icmpv6 type echo-request drop")
SNAPSHOT = 0.25      # at most this old is what a scrape shows
SLACK = 0.1          # of this machine: scheduling, and the test's own polling


def last_change(scrape, peer):
    return scrape.get("reachd_peer_last_change_timestamp_seconds", peer=peer)


def check_down(daemon, seen, peer, timeout=1.0):
    """Down no later than 1 s after the first unanswered probe timed out; says when it was sent."""
    address = ADDRESSES[peer]
    scrape = daemon.wait(lambda now: now.up(peer) == 0, 5, f"{peer} down")
    noticed = time.time()
    first = seen.unanswered(address)[0].at
    took = last_change(scrape, peer) - first
    assert timeout + 0.85 <= took <= timeout + 1.0 + 0.02, f"{peer}: verdict {took} s after {first}"
    assert noticed - first <= timeout + 1.0 + SNAPSHOT + SLACK, f"{peer}: seen {noticed - first} s"
    return first


def check_return(daemon, seen, peer, mended):
    address = ADDRESSES[peer]
    scrape = daemon.wait(lambda now: now.up(peer) == 1, 5, f"{peer} up again")
    noticed = time.time()
    first = next(echo.at for echo in seen.replies(address) if echo.at > mended)
    assert last_change(scrape, peer) - first <= 1.0, f"{peer}: up {last_change(scrape, peer)-first}"
    assert noticed - first <= 1.0 + SNAPSHOT + SLACK


@test(alone=True, quick=True)
def silence_is_noticed_and_return_too(lab):
    place = places.switched(lab)
    seen = places.capture(lab, place.hv)
    daemon = Daemon(lab, place.hv, configuration(*PEERS, mtu=False))
    before = daemon.wait_up("p4", "p6")
    changes = before.total("reachd_peer_state_changes_total")
    seen.clear()
    cut = time.time()
    place.peer.filter("input", *IGNORE_PINGS)
    firsts = {peer: check_down(daemon, seen, peer) for peer in ADDRESSES}
    assert time.time() - cut <= 3 + SNAPSHOT + SLACK, "3 s after the cut"
    for peer, first in firsts.items():
        ages = [echo.at - first for echo in seen.requests(ADDRESSES[peer])]
        burst = [age for age in ages if 0.95 <= age < 1.9]
        assert len(burst) == 4, f"{peer}: the paced probe and three more, not {burst}"
        assert 0.27 < burst[-1] - burst[0] < 0.40, f"{peer}: 150 ms apart, not {burst}"
        check_accounting(daemon.probe(peer), in_flight_max=6)
        assert set(daemon.probe(peer).failures) == {"timeout"}
        assert daemon.metrics().get("reachd_probe_up", peer=peer, probe="icmp") == 0
    mended = time.time()
    place.peer.filter("input")
    for peer in ADDRESSES:
        check_return(daemon, seen, peer, mended)
    assert daemon.metrics().total("reachd_peer_state_changes_total") == changes + 4


@test(alone=True)
def cable_is_pulled(lab):
    place = places.switched(lab)
    seen = places.capture(lab, place.hv)
    daemon = Daemon(lab, place.hv, configuration(*PEERS))
    daemon.wait_up("p4", "p6")
    seen.clear()
    place.switch.ip("link set p-peer down")
    for peer in ADDRESSES:
        check_down(daemon, seen, peer)
    place.switch.ip("link set p-peer up")
    daemon.wait_up("p4", "p6")


@test
def never_answering_peer_is_down_not_unknown(lab):
    place = places.switched(lab)
    place.peer.filter("input", *IGNORE_PINGS)
    daemon = Daemon(lab, place.hv, configuration(*PEERS, interval="200ms", timeout="500ms"))
    assert daemon.metrics().up("p4") is None, "no verdict before the burst"
    daemon.wait_up("p4", "p6", value=0)


@test
def one_lost_packet_is_no_outage(lab):
    place = places.wired(lab)
    daemon = Daemon(lab, place.hv, configuration(*PEERS, interval="200ms", timeout="200ms"))
    before = daemon.wait_up("p4", "p6")
    sides = ("east", "west", "east", "west", "east", "west")
    for number, side in enumerate(sides, 1):
        place.wire.do(f"drop {side} 1")
        settle(lambda: place.wire.counts()["dropped"] == number, 2, "the wire dropped one")
        until = time.monotonic() + 0.7
        while time.monotonic() < until:
            scrape = daemon.metrics()
            assert scrape.up("p4") == 1 and scrape.up("p6") == 1, "down for one packet"
            time.sleep(0.1)
    daemon.wait(lambda now: now.total("reachd_probe_lost_total") == len(sides), 2, "all counted")
    scrape = daemon.metrics()
    assert scrape.total("reachd_probe_failures_total", reason="timeout") == len(sides)
    for name in ("reachd_peer_state_changes_total", "reachd_probe_late_total",
                 "reachd_probe_duplicates_total"):
        assert scrape.total(name) == before.total(name), name


@test
def counted_loss_is_the_wire_s(lab):
    place = places.wired(lab)
    daemon = Daemon(lab, place.hv, configuration(*PEERS, interval="50ms", timeout="300ms"))
    daemon.wait_up("p4", "p6")
    place.wire.do("loss east 20 7")
    place.wire.do("loss west 10 8")
    until = time.monotonic() + 6
    while time.monotonic() < until:
        scrape = daemon.metrics()
        for peer in ADDRESSES:
            check_accounting(scrape.probe(peer), in_flight_max=12)
        time.sleep(0.05)
    place.wire.do("loss both 0 1")
    dropped = place.wire.counts()["dropped"]
    assert dropped > 40, f"the wire dropped {dropped}"
    daemon.wait(lambda now: now.total("reachd_probe_lost_total") == dropped, 3,
                f"lost is the {dropped} that the wire dropped")
    time.sleep(0.5)
    assert daemon.metrics().total("reachd_probe_lost_total") == dropped
    daemon.wait_up("p4", "p6")
    counts = place.wire.counts()
    assert counts["dropped"] == dropped


@test
def one_answer_is_no_return(lab):
    """From down, two answers are up; a single one among silence is not."""
    place = places.wired(lab)
    daemon = Daemon(lab, place.hv, configuration(PEERS[0], interval="200ms", timeout="200ms"))
    daemon.wait_up("p4")
    place.wire.do("loss west 100 1")
    daemon.wait_up("p4", value=0)
    before = daemon.metrics()
    place.wire.do("pass west 1")
    daemon.wait(lambda now: now.probe("p4").received == before.probe("p4").received + 1, 2,
                "one answer")
    until = time.monotonic() + 2
    while time.monotonic() < until:
        assert daemon.metrics().up("p4") == 0, "up after a single answer"
        time.sleep(0.1)
    assert daemon.metrics().get("reachd_peer_state_changes_total", peer="p4") == \
        before.get("reachd_peer_state_changes_total", peer="p4")
    place.wire.do("pass west 2")
    daemon.wait_up("p4", within=1.5)
