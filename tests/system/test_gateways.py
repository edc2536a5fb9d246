"""Default gateways are found, followed and forgotten, with no configuration at all."""

import time

from lab import places
from lab.daemon import Daemon, configuration
from lab.network import settle
from lab.places import ROUTER4
from lab.testing import test

LINK_LOCAL = "fe80::77"
ZONED = "fe80::77%eth0"


def with_link_local_router(lab):
    place = places.routed(lab)
    place.router.ip(f"addr add {LINK_LOCAL}/64 dev hv1", "addr add 10.77.0.253/24 dev hv1",
                    "addr add fe80::78/64 dev hv1")
    place.hv.ip("route del ::/0", f"route add ::/0 via {LINK_LOCAL} dev eth0")
    return place


def gateways(scrape):
    return set(scrape.label_values("reachd_probe_sent_total", "address", peer="gateway"))


def wait_gateways(daemon, *addresses, within=1.0, up=True):
    """Exactly these are probed, within a second of the change (and a snapshot's age)."""
    wanted = set(addresses)

    def check(scrape):
        found = gateways(scrape)
        assert found == wanted, f"gateways {found}"
        return True
    scrape = daemon.wait(check, within + 0.35, f"gateways {wanted}")
    for address in addresses:
        assert scrape.has("reachd_peer_info", peer="gateway", address=address, kind="gateway")
    if up:
        daemon.wait(lambda now: all(now.get("reachd_peer_up", address=address, peer="gateway") == 1
                                    for address in addresses), 3, "gateways up")
    return scrape


@test(quick=True)
def empty_configuration_probes_the_gateways(lab):
    place = with_link_local_router(lab)
    daemon = Daemon(lab, place.hv, "{}")
    scrape = wait_gateways(daemon, ROUTER4, ZONED, within=3)
    assert scrape.get("reachd_peers", kind="gateway") == 2
    for address in ("127.0.0.1", places.HV4, "::1", places.HV6):
        assert daemon.get("/metrics", address=address).status == 200, f"listening on {address}"


@test
def gateways_follow_the_routes(lab):
    place = with_link_local_router(lab)
    daemon = Daemon(lab, place.hv, configuration(interval="100ms", gateways=True))
    wait_gateways(daemon, ROUTER4, ZONED, within=2)
    place.hv.ip("route replace default via 10.77.0.253")
    scrape = wait_gateways(daemon, "10.77.0.253", ZONED)
    left = [key for key in scrape.series if ("address", ROUTER4) in key[1]]
    assert not left, f"series of a gone peer: {left}"
    place.hv.ip("route replace ::/0 via fe80::78 dev eth0")
    # "replace" of an IPv6 default route may add a second next hop: both are right then.
    settle(lambda: "fe80::78%eth0" in gateways(daemon.metrics()), 1.35, "the new v6 gateway")
    place.hv.run("ip -6 route flush default")
    place.hv.ip(f"route add ::/0 via {LINK_LOCAL} dev eth0")
    wait_gateways(daemon, "10.77.0.253", ZONED)
    place.hv.ip("route del default")
    scrape = wait_gateways(daemon, ZONED)
    assert scrape.get("reachd_peers", kind="gateway") == 1
    place.hv.run("ip -6 route flush default")
    scrape = wait_gateways(daemon)
    assert not scrape.has("reachd_peer_up", peer="gateway")
    place.hv.ip(f"route add default via {ROUTER4}")
    wait_gateways(daemon, ROUTER4)


@test
def other_routes_leave_them_alone(lab):
    place = with_link_local_router(lab)
    daemon = Daemon(lab, place.hv, configuration(interval="100ms", gateways=True))
    wait_gateways(daemon, ROUTER4, ZONED, within=2)
    before = daemon.metrics().get("reachd_probe_sent_total", address=ROUTER4, probe="icmp")
    place.hv.ip(*(f"route add 10.{n}.0.0/16 via 10.77.0.253" for n in range(100, 150)),
                "route add default via 10.77.0.252 table 200",
                "addr add 10.77.0.3/24 dev eth0", "addr del 10.77.0.3/24 dev eth0")
    time.sleep(1)
    scrape = daemon.metrics()
    assert gateways(scrape) == {ROUTER4, ZONED}, gateways(scrape)
    sent = scrape.get("reachd_probe_sent_total", address=ROUTER4, probe="icmp")
    assert sent >= before + 5, "its counters go on"
    for probe in ("icmp", "arp"):
        assert scrape.get("reachd_probe_lost_total", address=ROUTER4, probe=probe) == 0, probe


@test
def several_default_routes(lab):
    place = with_link_local_router(lab)
    place.hv.ip("route add default via 10.77.0.253 metric 200")
    daemon = Daemon(lab, place.hv, configuration(interval="100ms", gateways=True))
    wait_gateways(daemon, ROUTER4, "10.77.0.253", ZONED, within=2)
    place.hv.ip("route del default metric 200", f"route replace default nexthop via {ROUTER4} "
                "nexthop via 10.77.0.253")
    wait_gateways(daemon, ROUTER4, "10.77.0.253", ZONED)
    place.hv.ip(f"route replace default via {ROUTER4}")
    wait_gateways(daemon, ROUTER4, ZONED)


@test
def link_down_takes_the_gateway_along(lab):
    place = with_link_local_router(lab)
    daemon = Daemon(lab, place.hv, configuration(interval="100ms", gateways=True))
    wait_gateways(daemon, ROUTER4, ZONED, within=2)
    place.hv.ip("link set eth0 down")  # the kernel removes the routes, and says nothing for IPv4
    wait_gateways(daemon)
    place.hv.ip("link set eth0 up", "addr replace fd77::1/64 dev eth0",
                f"route add default via {ROUTER4}", f"route add ::/0 via {LINK_LOCAL} dev eth0")
    wait_gateways(daemon, ROUTER4, ZONED)


@test
def dead_gateway_is_down(lab):
    place = with_link_local_router(lab)
    daemon = Daemon(lab, place.hv, configuration(interval="200ms", timeout="300ms", gateways=True))
    wait_gateways(daemon, ROUTER4, ZONED, within=2)
    place.router.ip("link set hv1 down")
    daemon.wait(lambda now: now.get("reachd_peer_up", address=ROUTER4) == 0
                and now.get("reachd_peer_up", address=ZONED) == 0, 4, "both gateways down")


WITHOUT_ICMP = """
table inet lab {
    chain in {
        type filter hook input priority 0
        icmp type echo-request drop
        icmpv6 type echo-request drop
    }
}
"""


def up_by(scrape, address, probe):
    return scrape.get("reachd_probe_up", peer="gateway", address=address, probe=probe)


@test
def gateway_that_filters_icmp_is_up_by_arp(lab):
    place = with_link_local_router(lab)
    place.router.run("nft -f -", stdin=WITHOUT_ICMP)
    daemon = Daemon(lab, place.hv, configuration(interval="200ms", timeout="300ms", gateways=True))
    wait_gateways(daemon, ROUTER4, ZONED, within=3, up=False)

    def only_by_arp(scrape):
        return all(up_by(scrape, address, "icmp") == 0 and up_by(scrape, address, "arp") == 1
                   and scrape.get("reachd_peer_up", address=address) == 1
                   for address in (ROUTER4, ZONED))
    scrape = daemon.wait(only_by_arp, 8, "up by ARP and neighbour discovery alone")
    for address in (ROUTER4, ZONED):
        assert scrape.get("reachd_probe_rtt_seconds_count", address=address, probe="arp") > 0
        for count in ("late", "duplicates"):  # what answers the kernel's own questions is neither
            name = f"reachd_probe_{count}_total"
            assert scrape.get(name, address=address, probe="arp") == 0, name
    # The router hands its addresses on to another MAC, and says nothing: it stays up, or is again.
    place.router.ip("link set hv1 address 02:00:00:00:5e:01")
    daemon.wait(only_by_arp, 15, "up at another MAC")
    place.router.ip("link set hv1 down")
    daemon.wait(lambda now: all(now.get("reachd_peer_up", address=address) == 0
                                and up_by(now, address, "arp") == 0
                                for address in (ROUTER4, ZONED)), 6, "down")


@test
def arp_needs_an_address_to_ask_from(lab):
    place = with_link_local_router(lab)
    daemon = Daemon(lab, place.hv, configuration(interval="200ms", gateways=True))
    daemon.wait(lambda now: up_by(now, ROUTER4, "arp") == 1, 4, "asked by ARP")
    place.hv.ip(f"route add default via {ROUTER4} dev eth0 onlink metric 50",
                "addr add 10.99.0.1/32 dev lo", f"addr del {places.HV4}/24 dev eth0",
                f"route replace default via {ROUTER4} dev eth0 onlink metric 50")

    def asked(scrape):  # its session ends where the kernel took the route away in between
        labels = {"address": ROUTER4, "probe": "arp"}
        name = "reachd_probe_sent_total"
        return scrape.get(name, **labels) if scrape.has(name, **labels) else 0
    daemon.wait(lambda now: ROUTER4 in gateways(now), 4, "still the gateway")
    time.sleep(0.5)  # for what was under way
    before = asked(daemon.metrics())
    time.sleep(1)
    assert asked(daemon.metrics()) == before, "asked by ARP from no address"
    place.hv.ip(f"addr add {places.HV4}/24 dev eth0")
    daemon.wait(lambda now: asked(now) > before and up_by(now, ROUTER4, "arp") == 1, 4,
                "asked by ARP again")


@test
def discovery_switched_off(lab):
    place = with_link_local_router(lab)
    daemon = Daemon(lab, place.hv, configuration({"name": "far", "address": places.FAR4},
                                                 interval="100ms"))
    daemon.wait_up("far")
    assert not gateways(daemon.metrics())


@test(within=90)
def churn_does_not_confuse_it(lab):
    """A thousand interfaces come and go; the routes are followed meanwhile and afterwards."""
    place = with_link_local_router(lab)
    daemon = Daemon(lab, place.hv, configuration(interval="100ms", gateways=True))
    wait_gateways(daemon, ROUTER4, ZONED, within=2)
    place.hv.ip(*(f"link add a{n} group 7 type veth peer name b{n} group 7" for n in range(500)))
    place.hv.ip("route replace default via 10.77.0.253")
    wait_gateways(daemon, "10.77.0.253", ZONED)
    place.hv.run("ip link del group 7")
    place.hv.ip(f"route replace default via {ROUTER4}")
    scrape = wait_gateways(daemon, ROUTER4, ZONED)
    for probe in ("icmp", "arp"):
        assert scrape.get("reachd_probe_lost_total", address=ZONED, probe=probe) == 0, probe
