"""A cable that delays, jitters, doubles and reorders: RTTs that are true, answers counted once."""

import time

from lab import places
from lab.daemon import Daemon, configuration
from lab.metrics import check_accounting
from lab.network import settle
from lab.places import PEER4, PEER6
from lab.testing import test

PEERS = ({"name": "p4", "address": PEER4}, {"name": "p6", "address": PEER6})
ADDRESSES = {"p4": PEER4, "p6": PEER6}


def mean_rtt(before, after, peer):
    older, newer = before.probe(peer), after.probe(peer)
    assert newer.rtt_count > older.rtt_count
    return (newer.rtt_sum - older.rtt_sum) / (newer.rtt_count - older.rtt_count)


def watch(daemon, seconds):
    """Two scrapes, and between them the accounting holds."""
    before = after = daemon.metrics()
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        after = daemon.metrics()
        for peer in ADDRESSES:
            check_accounting(after.probe(peer), in_flight_max=8)
        time.sleep(0.1)
    return before, after


@test(alone=True, quick=True)
def delay_is_measured_as_ping_does(lab):
    place = places.wired(lab)
    place.wire.do("delay both 10000")
    seen = places.capture(lab, place.hv)
    daemon = Daemon(lab, place.hv, configuration(*PEERS, interval="100ms"))
    daemon.wait_up("p4", "p6")
    for _ in range(5):
        known = {address: len(seen.round_trips(address)) for address in ADDRESSES.values()}
        before = daemon.metrics()
        usual = {peer: places.ping(place.hv, address, count=20)
                 for peer, address in ADDRESSES.items()}
        after = daemon.metrics()
        # The wire is a program, and late at times: the capture knows when. Then ping and reachd,
        # whose packets are not the same, cannot be compared.
        if all(trip < 0.024 for address, count in known.items()
               for trip in seen.round_trips(address)[count:]):
            break
    for peer, address in ADDRESSES.items():
        rtt = mean_rtt(before, after, peer)
        probe = after.probe(peer)
        # The capture's pings have other identifiers, and their RTTs are as good.
        trips = seen.round_trips(address)
        assert abs(probe.rtt_mean - sum(trips) / len(trips)) < 0.001, f"{peer}: {probe} {trips}"
        assert rtt >= 0.020, f"{peer}: {rtt} s through 20 ms of wire"
        assert abs(rtt - usual[peer].mean) < 0.001, f"{peer}: {rtt} s, ping {usual[peer]}"
        assert after.get("reachd_probe_rtt_seconds_bucket", peer=peer, le="0.02") == 0
        jitter = after.probe(peer).jitter
        assert jitter < 0.001 + 3 * usual[peer].deviation, f"{peer}: jitter {jitter}"
    assert after.get("reachd_probe_user_stamped_total", probe="icmp") == 0


def jitters(round_trips):
    """RFC 3550, section 6.4.1, after each of the round trips."""
    jitter, values = 0.0, []
    for before, after in zip(round_trips, round_trips[1:]):
        jitter += (abs(after - before) - jitter) / 16
        values.append(jitter)
    return values


def check_jitter(daemon, seen):
    """The metric is what the capture says, at one of the last answers (a snapshot has an age)."""
    for peer, address in ADDRESSES.items():
        probe = daemon.probe(peer)
        assert probe.lost == 0, probe
        recent = jitters(seen.round_trips(address))[-12:]
        error = min(abs(value - probe.jitter) for value in recent)
        assert error < 0.00005, f"{peer}: jitter {probe.jitter}, by the capture {recent}"


@test
def jitter_is_seen(lab):
    place = places.wired(lab)
    for address in ADDRESSES.values():
        places.ping(place.hv, address, count=1)
    place.wire.do("delay both 5000")
    seen = places.capture(lab, place.hv)
    daemon = Daemon(lab, place.hv, configuration(*PEERS, interval="50ms"))
    daemon.wait_up("p4", "p6")
    place.wire.do("jitter west 9000")
    watch(daemon, 4)
    check_jitter(daemon, seen)
    # Two uniform samples of 0..9 ms differ by 3 ms on average.
    for peer in ADDRESSES:
        assert daemon.probe(peer).jitter > 0.0015, daemon.probe(peer)
    place.wire.do("jitter both 0")
    watch(daemon, 3)
    check_jitter(daemon, seen)


def check_doubles(lab, direction):
    place = places.wired(lab)
    daemon = Daemon(lab, place.hv, configuration(*PEERS, interval="100ms", timeout="300ms"))
    before = daemon.wait_up("p4", "p6")
    place.wire.do(f"duplicate {direction} 6")
    settle(lambda: place.wire.counts()["duplicated"] == 6, 3, "the wire has doubled six")
    after = daemon.wait(lambda now: now.total("reachd_probe_duplicates_total") >= 6, 2,
                        "six duplicates counted")
    _, after = watch(daemon, 1)
    assert after.total("reachd_probe_duplicates_total") == 6
    for peer in ADDRESSES:
        probe = after.probe(peer)
        assert (probe.lost, probe.late, probe.reordered) == (0, 0, 0), probe
        assert abs(probe.rtt_count - probe.received) <= 1, f"a double gives no sample: {probe}"
    assert after.total("reachd_peer_state_changes_total") == \
        before.total("reachd_peer_state_changes_total")


@test
def doubled_replies(lab):
    check_doubles(lab, "west")


@test
def doubled_requests(lab):
    check_doubles(lab, "east")


@test
def reordered_replies(lab):
    place = places.wired(lab)
    daemon = Daemon(lab, place.hv, configuration(*PEERS, interval="100ms", timeout="1s"))
    daemon.wait_up("p4", "p6")
    for _ in range(4):
        place.wire.do("hold west 1 250000")
        watch(daemon, 0.5)
    daemon.wait(lambda now: now.total("reachd_probe_reordered_total") >= 4, 2, "four reordered")
    _, after = watch(daemon, 0.5)
    assert after.total("reachd_probe_reordered_total") == 4
    for peer in ADDRESSES:
        probe = after.probe(peer)
        assert (probe.lost, probe.late, probe.duplicates) == (0, 0, 0), probe
        assert abs(probe.rtt_count - probe.received) <= 1, probe


@test
def late_replies_are_no_second_result(lab):
    place = places.wired(lab)
    daemon = Daemon(lab, place.hv, configuration(*PEERS, interval="250ms", timeout="200ms"))
    before = daemon.wait_up("p4", "p6")
    for hold in (300000, 500000, 900000, 2500000):
        place.wire.do(f"hold west 1 {hold}")
        watch(daemon, 0.6)
    after = daemon.wait(lambda now: now.total("reachd_probe_late_total") >= 4, 5, "four late")
    watch(daemon, 1)
    after = daemon.metrics()
    assert after.total("reachd_probe_late_total") == 4
    assert after.total("reachd_probe_lost_total") == 4
    assert after.total("reachd_probe_failures_total", reason="timeout") == 4
    assert after.total("reachd_probe_duplicates_total") == 0
    for peer in ADDRESSES:
        probe = after.probe(peer)
        assert abs(probe.rtt_count - probe.received) <= 1, f"late gives no sample: {probe}"
        assert after.up(peer) == 1
    assert after.total("reachd_peer_state_changes_total") == \
        before.total("reachd_peer_state_changes_total")


@test
def late_and_doubled(lab):
    place = places.wired(lab)
    daemon = Daemon(lab, place.hv, configuration(*PEERS, interval="250ms", timeout="200ms"))
    daemon.wait_up("p4", "p6")
    place.wire.do("duplicate west 1")
    place.wire.do("hold west 1 400000")
    after = daemon.wait(lambda now: now.total("reachd_probe_late_total") == 1
                        and now.total("reachd_probe_duplicates_total") == 1, 4, "late once, then "
                        "a duplicate")
    assert after.total("reachd_probe_lost_total") == 1


@test
def everything_late_is_down(lab):
    """Answers that always come after the time-out: lost, late, and the peer is down."""
    place = places.wired(lab)
    place.wire.do("delay west 400000")
    daemon = Daemon(lab, place.hv, configuration(*PEERS, interval="200ms", timeout="200ms"))
    scrape = daemon.wait_up("p4", "p6", value=0)
    settle(lambda: daemon.metrics().total("reachd_probe_late_total") > 10, 5, "late answers")
    scrape = daemon.metrics()
    assert scrape.total("reachd_probe_received_total") == 0
    assert scrape.up("p4") == 0 and scrape.up("p6") == 0


@test
def slow_path_is_up(lab):
    """RTT of 700 ms with a time-out of 1 s: in flight at all times, never suspect for long."""
    place = places.wired(lab)
    for address in ADDRESSES.values():
        places.ping(place.hv, address, count=1)  # ARP and ND would cost another 700 ms
    place.wire.do("delay both 350000")
    daemon = Daemon(lab, place.hv, configuration(*PEERS, interval="100ms", timeout="1s"))
    daemon.wait_up("p4", "p6")
    _, after = watch(daemon, 0)
    until = time.monotonic() + 4
    in_flight = []
    while time.monotonic() < until:
        after = daemon.metrics()
        for peer in ADDRESSES:
            check_accounting(after.probe(peer), in_flight_max=12)
            in_flight.append(after.probe(peer).in_flight)
        time.sleep(0.1)
    assert max(in_flight) >= 6, f"in flight {in_flight}"
    for peer in ADDRESSES:
        assert after.probe(peer).lost == 0
        assert 0.699 < after.probe(peer).rtt_mean < 0.75
        assert after.up(peer) == 1
