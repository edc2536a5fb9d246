"""The host's own troubles: never counted as sent, never as lost, and over as soon as mended."""

import time

from lab import places
from lab.daemon import Daemon, configuration
from lab.network import settle
from lab.places import HV4, HV6, PEER4, PEER6
from lab.testing import test


def count_of(probe, reason):
    return sum(probe.failures.get(name, 0) for name in reason.split("|"))


def wait_for_reason(daemon, reason, *peers, at_least=3):
    """`reason` may be several: each peer has one of them."""
    def all_there(scrape):
        return all(count_of(scrape.probe(peer), reason) >= at_least for peer in peers)
    return daemon.wait(all_there, 6, f"{at_least} {reason} of {', '.join(peers)}")


def check_never_sent(scrape, reason, *peers):
    for peer in peers:
        probe = scrape.probe(peer)
        assert (probe.sent, probe.received, probe.lost) == (0, 0, 0), probe
        assert set(probe.failures) <= set(reason.split("|")), probe


def check_well_again(daemon, *peers, lost=0):
    """Up, and from now on not one more failure. `lost`: what the mending itself may cost."""
    daemon.wait_up(*peers)
    before = daemon.metrics()
    after = settle(lambda: (now := daemon.metrics()) and all(
        now.probe(peer).received >= before.probe(peer).received + 5 for peer in peers) and now,
        5, "answers go on")
    for peer in peers:
        assert after.probe(peer).failures == before.probe(peer).failures, after.probe(peer)
        assert after.probe(peer).lost <= lost, after.probe(peer)


@test
def no_route(lab):
    place = places.switched(lab)
    place.peer.ip("addr add 10.200.0.1/32 dev lo", "addr add fd20::1/128 dev lo")
    daemon = Daemon(lab, place.hv, configuration(
        {"name": "p4", "address": "10.200.0.1"}, {"name": "p6", "address": "fd20::1"},
        interval="100ms", timeout="300ms"))
    scrape = wait_for_reason(daemon, "no_route", "p4", "p6")
    check_never_sent(scrape, "no_route", "p4", "p6")
    daemon.wait_up("p4", "p6", value=0)
    place.hv.ip(f"route add default via {PEER4}", f"route add ::/0 via {PEER6}")
    check_well_again(daemon, "p4", "p6")


@test
def local_firewall(lab):
    place = places.switched(lab)
    place.hv.filter("output", "icmp type echo-request drop", "icmpv6 type echo-request drop")
    daemon = Daemon(lab, place.hv, configuration(
        {"name": "p4", "address": PEER4}, {"name": "p6", "address": PEER6},
        interval="100ms", timeout="300ms"))
    scrape = wait_for_reason(daemon, "local_firewall", "p4", "p6")
    check_never_sent(scrape, "local_firewall", "p4", "p6")
    place.hv.filter("output")
    check_well_again(daemon, "p4", "p6")


@test
def one_blocked_peer_does_not_hurt_the_others(lab):
    """A refused packet in the middle of a batch: its neighbours go out, with their own stamps."""
    place = places.switched(lab, peers=8)
    place.hv.filter("output", "ip daddr 10.77.0.13 drop", "ip6 daddr fd77::15 drop")
    addresses = [address for n in range(11, 19) for address in (f"10.77.0.{n}", f"fd77::{n}")]
    blocked = ("10.77.0.13", "fd77::15")
    daemon = Daemon(lab, place.hv, configuration(
        *({"name": address, "address": address} for address in addresses),
        interval="20ms", timeout="300ms"))
    scrape = wait_for_reason(daemon, "local_firewall", *blocked, at_least=50)
    check_never_sent(scrape, "local_firewall", *blocked)
    for address in set(addresses) - set(blocked):
        probe = scrape.probe(address)
        assert probe.received > 40 and not probe.failures, f"{address}: {probe}"
        assert 0 < probe.rtt_mean < 0.01, f"{address}: {probe.rtt_mean}"
    assert scrape.get("reachd_probe_user_stamped_total", probe="icmp") == 0
    assert scrape.total("reachd_probe_samples_discarded_total") == 0


@test
def own_link_is_down(lab):
    place = places.switched(lab)
    daemon = Daemon(lab, place.hv, configuration(
        {"name": "p4", "address": PEER4}, {"name": "p6", "address": PEER6},
        interval="100ms", timeout="300ms"))
    daemon.wait_up("p4", "p6")
    place.hv.ip("link set eth0 down")
    scrape = daemon.wait_up("p4", "p6", value=0)
    for peer in ("p4", "p6"):
        probe = scrape.probe(peer)
        assert probe.lost <= 1, f"nothing was sent, so nothing can be lost: {probe}"
        assert probe.failures.get("no_route", 0) >= 3, probe
    place.hv.ip("link set eth0 up", f"addr replace {HV4}/24 dev eth0",
                f"addr replace {HV6}/64 dev eth0")
    daemon.wait_up("p4", "p6")


@test
def device_appears_goes_and_returns(lab):
    place = places.switched(lab)
    daemon = Daemon(lab, place.hv, configuration(
        {"name": "p4", "address": PEER4, "device": "eth7"},
        {"name": "p6", "address": PEER6, "device": "eth7"},
        {"name": "other", "address": PEER4}, interval="100ms", timeout="300ms"))
    scrape = wait_for_reason(daemon, "local_error", "p4", "p6")
    check_never_sent(scrape, "local_error", "p4", "p6")
    daemon.wait_up("other")
    place.hv.ip("link set eth0 down", "link set eth0 name eth7", "link set eth7 up",
                f"addr replace {HV4}/24 dev eth7", f"addr replace {HV6}/64 dev eth7")
    # The switch takes a second to forward to the device again; answers come late until then.
    check_well_again(daemon, "p4", "p6", lost=15)
    place.hv.ip("link set eth7 down", "link set eth7 name eth8", "link set eth8 up",
                f"addr replace {HV4}/24 dev eth8", f"addr replace {HV6}/64 dev eth8")
    daemon.wait_up("p4", "p6", value=0)
    assert daemon.metrics().probe("p4").failures["local_error"] > 3
    # The same name on a new device, with another index.
    place.hv.ip("link set eth8 down")
    lab.plug(place.hv, "eth7", place.switch, "p-again")
    place.hv.ip("addr flush dev eth8", f"addr add {HV4}/24 dev eth7", f"addr add {HV6}/64 dev eth7")
    daemon.wait_up("p4", "p6", "other")


@test
def source_appears(lab):
    place = places.switched(lab)
    daemon = Daemon(lab, place.hv, configuration(
        {"name": "p4", "address": PEER4, "source": "10.77.0.200"},
        {"name": "p6", "address": PEER6, "source": "fd77::200"},
        interval="100ms", timeout="300ms"))
    # The kernel's errno for it is that of a missing route in IPv4.
    scrape = wait_for_reason(daemon, "local_error|no_route", "p4", "p6")
    check_never_sent(scrape, "local_error|no_route", "p4", "p6")
    seen = places.capture(lab, place.hv)
    place.hv.ip("addr add 10.77.0.200/24 dev eth0", "addr add fd77::200/64 dev eth0")
    check_well_again(daemon, "p4", "p6")
    assert {echo.source for echo in seen.requests()} == {"10.77.0.200", "fd77::200"}


@test
def packet_longer_than_the_device_takes(lab):
    """Local EMSGSIZE, or fragments: either way nothing is lost in silence."""
    place = places.switched(lab)
    daemon = Daemon(lab, place.hv, configuration(
        {"name": "p4", "address": PEER4, "icmp": {"payload_bytes": 9000}},
        {"name": "p6", "address": PEER6, "icmp": {"payload_bytes": 9000}},
        interval="100ms", timeout="300ms"))
    time.sleep(1.5)
    for peer in ("p4", "p6"):
        probe = daemon.metrics().probe(peer)
        assert probe.lost == 0, probe
        assert probe.received > 5 or probe.failures.get("local_error", 0) > 5, probe


@test
def host_without_ipv6(lab):
    place = places.switched(lab)
    place.hv.sysctl("net/ipv6/conf/all/disable_ipv6", 1)
    daemon = Daemon(lab, place.hv, configuration(
        {"name": "p4", "address": PEER4}, {"name": "p6", "address": PEER6},
        interval="100ms", timeout="300ms", web={"listen": [":10862"]}))
    daemon.wait_up("p4")
    probe = daemon.wait(lambda now: now.up("p6") == 0, 5, "p6 down").probe("p6")
    assert (probe.sent, probe.lost) == (0, 0), probe
    assert set(probe.failures) <= {"no_route", "local_error"}, probe


@test
def routes_that_refuse_here(lab):
    """unreachable, prohibit and blackhole in the host's own table: the kernel takes no packet."""
    place = places.switched(lab)
    addresses = ("10.66.1.1", "10.66.2.1", "10.66.3.1", "fd66:1::1", "fd66:2::1", "fd66:3::1")
    place.hv.ip("route add unreachable 10.66.1.0/24", "route add prohibit 10.66.2.0/24",
                "route add blackhole 10.66.3.0/24", "route add unreachable fd66:1::/64",
                "route add prohibit fd66:2::/64", "route add blackhole fd66:3::/64")
    daemon = Daemon(lab, place.hv, configuration(
        *({"name": address, "address": address} for address in addresses),
        interval="100ms", timeout="300ms"))
    scrape = wait_for_reason(daemon, "no_route|local_error", *addresses)
    check_never_sent(scrape, "no_route|local_error", *addresses)


@test
def link_local_peer_with_a_zone(lab):
    place = places.switched(lab)
    place.peer.ip("addr add fe80::11/64 dev eth0")
    daemon = Daemon(lab, place.hv, configuration(
        {"name": "here", "address": "fe80::11%eth0"}, {"name": "later", "address": "fe80::11%eth5"},
        interval="100ms", timeout="300ms"))
    scrape = daemon.wait_up("here")
    assert scrape.label_values("reachd_peer_up", "address", peer="here") == ["fe80::11%eth0"]
    scrape = wait_for_reason(daemon, "local_error|unresolved", "later")
    check_never_sent(scrape, "local_error|unresolved", "later")
    lab.plug(place.hv, "eth5", place.switch, "p-later")
    scrape = daemon.wait_up("later")
    assert scrape.label_values("reachd_peer_up", "address", peer="later") == ["fe80::11%eth5"]


@test
def peers_on_this_very_host(lab):
    """Loopback and own addresses: here the raw socket sees our own requests, too."""
    place = places.switched(lab)
    addresses = ("127.0.0.1", "127.9.9.9", "::1", HV4, HV6)
    daemon = Daemon(lab, place.hv, configuration(
        *({"name": address, "address": address} for address in addresses),
        interval="50ms", timeout="300ms"))
    daemon.wait_up(*addresses)
    scrape = daemon.wait(lambda now: now.probe("::1").received > 20, 4, "answers")
    for address in addresses:
        probe = scrape.probe(address)
        assert (probe.lost, probe.duplicates, probe.late) == (0, 0, 0), f"{address}: {probe}"
        assert probe.rtt_mean < 0.005
    assert scrape.get("reachd_probe_user_stamped_total", probe="icmp") == 0
    assert scrape.total("reachd_packets_ignored_total") == 0, "our own requests are not noise"
