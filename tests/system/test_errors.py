"""Every kind of ICMP error, from real routers and filters: the reason label says which."""

import time

from lab import places
from lab.daemon import Daemon, configuration
from lab.metrics import check_accounting
from lab.network import settle
from lab.places import FAR4, FAR6
from lab.testing import test


def wait_for_reasons(daemon, expected, at_least=2, within=15.0):
    """Each peer has lost probes for its reason."""
    def all_there(scrape):
        got = {peer: scrape.probe(peer).failures for peer in expected}
        wrong = {peer: got[peer] for peer, reason in expected.items()
                 if got[peer].get(reason, 0) < at_least}
        assert not wrong, f"reasons so far: {wrong}"
        return True
    return daemon.wait(all_there, within, "the expected reasons")


def check_reasons(scrape, expected, slow=()):
    """Only that reason, for the peers whose errors come at once; and the sums are right."""
    for peer, reason in expected.items():
        probe = scrape.probe(peer)
        check_accounting(probe, in_flight_max=6)
        others = {name: count for name, count in probe.failures.items() if name != reason}
        if peer in slow:
            others.pop("timeout", None)
        assert not others, f"{peer}: {reason} expected, also {others}"
        assert probe.received == 0 and scrape.up(peer) == 0, f"{peer}: {probe}"


FILTERS = (
    "ip daddr 10.88.0.21 icmp type echo-request reject with icmp type admin-prohibited",
    "ip daddr 10.88.0.22 icmp type echo-request reject with icmp type host-prohibited",
    "ip daddr 10.88.0.23 icmp type echo-request reject with icmp type net-prohibited",
    "ip daddr 10.88.0.24 icmp type echo-request reject with icmp type port-unreachable",
    "ip daddr 10.88.0.25 icmp type echo-request reject with icmp type host-unreachable",
    "ip daddr 10.88.0.26 icmp type echo-request reject with icmp type net-unreachable",
    "ip daddr 10.88.0.27 icmp type echo-request drop",
    "ip6 daddr fd88::21 icmpv6 type echo-request reject with icmpv6 type admin-prohibited",
    "ip6 daddr fd88::22 icmpv6 type echo-request reject with icmpv6 type no-route",
    "ip6 daddr fd88::23 icmpv6 type echo-request reject with icmpv6 type addr-unreachable",
    "ip6 daddr fd88::24 icmpv6 type echo-request reject with icmpv6 type port-unreachable",
    "ip6 daddr fd88::25 icmpv6 type echo-request reject with icmpv6 type policy-fail",
    "ip6 daddr fd88::27 icmpv6 type echo-request drop",
)
FILTERED = {"10.88.0.21": "prohibited", "10.88.0.22": "prohibited", "10.88.0.23": "prohibited",
            "10.88.0.24": "port_unreachable", "10.88.0.25": "host_unreachable",
            "10.88.0.26": "net_unreachable", "10.88.0.27": "timeout",
            "fd88::21": "prohibited", "fd88::22": "net_unreachable",
            "fd88::23": "host_unreachable", "fd88::24": "port_unreachable",
            "fd88::25": "prohibited", "fd88::27": "timeout"}


@test
def filters_at_the_peer(lab):
    place = places.routed(lab)
    for key in ("net/ipv4/icmp_ratelimit", "net/ipv6/icmp/ratelimit"):
        place.peer.sysctl(key, 0)
    place.peer.ip(*(f"addr add {address}/{64 if ':' in address else 24} dev eth0"
                    for address in FILTERED))
    place.peer.filter("input", *FILTERS)
    daemon = Daemon(lab, place.hv, configuration(
        {"name": "well4", "address": FAR4}, {"name": "well6", "address": FAR6},
        *({"name": address, "address": address} for address in FILTERED),
        interval="300ms", timeout="300ms"))
    wait_for_reasons(daemon, FILTERED)
    scrape = daemon.wait_up(*FILTERED, value=0)
    check_reasons(scrape, FILTERED)
    for peer in ("well4", "well6"):
        assert scrape.up(peer) == 1 and not scrape.probe(peer).failures, "foreign errors"
    place.peer.filter("input")
    daemon.wait_up(*FILTERED)


ROUTED = {"10.66.1.1": "host_unreachable", "10.66.2.1": "prohibited",
          "10.66.3.1": "net_unreachable", "10.66.4.1": "ttl_exceeded", "10.66.5.1": "timeout",
          "fd66:1::1": "net_unreachable", "fd66:2::1": "prohibited",
          "fd66:3::1": "net_unreachable", "fd66:4::1": "ttl_exceeded", "fd66:5::1": "timeout"}


@test
def routers_say_why(lab):
    place = places.routed(lab)
    place.router.ip("route add unreachable 10.66.1.0/24", "route add prohibit 10.66.2.0/24",
                    "route add 10.66.4.0/24 via 10.99.0.2", "route add blackhole 10.66.5.0/24",
                    "route add unreachable fd66:1::/64", "route add prohibit fd66:2::/64",
                    "route add fd66:4::/64 via fd99::2", "route add blackhole fd66:5::/64")
    place.beyond.ip("route add 10.66.4.0/24 via 10.99.0.1", "route add fd66:4::/64 via fd99::1")
    daemon = Daemon(lab, place.hv, configuration(
        *({"name": address, "address": address} for address in ROUTED),
        interval="300ms", timeout="300ms"))
    wait_for_reasons(daemon, ROUTED)
    check_reasons(daemon.wait_up(*ROUTED, value=0), ROUTED)


@test
def dead_neighbours_here_and_there(lab):
    """The kernel gives up ARP and ND after about 3 s; until then losses are time-outs."""
    place = places.routed(lab)
    expected = {"10.77.0.99": "neighbour_failed", "fd77::99": "neighbour_failed",
                "10.88.0.99": "host_unreachable", "fd88::99": "host_unreachable"}
    daemon = Daemon(lab, place.hv, configuration(
        *({"name": address, "address": address} for address in expected),
        interval="300ms", timeout="300ms"))
    wait_for_reasons(daemon, expected)
    check_reasons(daemon.metrics(), expected, slow=expected)


@test
def packet_too_big(lab):
    place = places.routed(lab, mtu=1300)
    big = {"payload_bytes": 1372}
    daemon = Daemon(lab, place.hv, configuration(
        {"name": "big4", "address": FAR4, "icmp": big},
        {"name": "big6", "address": FAR6, "icmp": big},
        {"name": "small4", "address": "10.99.0.2"}, {"name": "small6", "address": "fd99::2"},
        interval="300ms", timeout="300ms"))
    scrape = wait_for_reasons(daemon, {"big4": "too_big", "big6": "too_big"}, at_least=1)
    for peer in ("big4", "big6"):
        check_accounting(scrape.probe(peer), in_flight_max=6)
        assert set(scrape.probe(peer).failures) == {"too_big"}, scrape.probe(peer)
    for peer in ("small4", "small6"):
        assert not scrape.probe(peer).failures


@test
def rare_errors_explain_all_losses(lab):
    """A router sends one error a second; the losses between them have the same reason."""
    place = places.routed(lab)
    place.router.sysctl("net/ipv4/icmp_ratelimit", 1000)
    place.router.ip("route add prohibit 10.66.2.0/24")
    daemon = Daemon(lab, place.hv, configuration(
        {"name": "far", "address": "10.66.2.1"}, interval="100ms", timeout="500ms"))
    scrape = wait_for_reasons(daemon, {"far": "prohibited"}, at_least=30)
    failures = scrape.probe("far").failures
    assert failures.get("timeout", 0) <= 1, f"one error explains the losses of 10 s: {failures}"


@test
def evidence_grows_old(lab):
    """Errors stop, silence goes on: after 10 s the reason is time-out again."""
    place = places.routed(lab)
    place.router.ip("route add prohibit 10.66.2.0/24")
    daemon = Daemon(lab, place.hv, configuration(
        {"name": "far", "address": "10.66.2.1"}, interval="200ms", timeout="200ms"))
    wait_for_reasons(daemon, {"far": "prohibited"})
    place.router.ip("route replace blackhole 10.66.2.0/24")
    changed = time.monotonic()
    settle(lambda: daemon.probe("far").failures.get("timeout", 0) > 3, 14, "time-outs again")
    assert 9 < time.monotonic() - changed < 13
