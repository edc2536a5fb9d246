"""The networks that tests share, and ping as the tool to compare with.

hv1 runs the daemon. On-link are 10.77.0.0/24 and fd77::/64, behind a router 10.88.0.0/24 and
fd88::/64. Peers are addresses of one namespace where nothing more is needed.
"""

import re
from dataclasses import dataclass

from .capture import Capture
from .network import Namespace, Wire

HV4, HV6 = "10.77.0.1", "fd77::1"
PEER4, PEER6 = "10.77.0.11", "fd77::11"
ROUTER4, ROUTER6 = "10.77.0.254", "fd77::fe"
FAR4, FAR6 = "10.88.0.11", "fd88::11"


@dataclass
class Place:
    hv: Namespace
    peer: Namespace
    router: Namespace = None
    beyond: Namespace = None  # a second router
    switch: Namespace = None
    wire: Wire = None


def _addresses(namespace, device, *addresses):
    namespace.ip(*(f"addr add {address} dev {device}" for address in addresses))


def _peer_addresses(count):
    return [address for number in range(11, 11 + count)
            for address in (f"10.77.0.{number}/24", f"fd77::{number}/64")]


def switched(lab, peers=1):
    """hv1 and the peer on a bridge. Peer addresses: 10.77.0.11 …, fd77::11 …"""
    place = Place(lab.namespace("hv1"), lab.namespace("peer"), switch=lab.switch())
    lab.plug(place.hv, "eth0", place.switch, "p-hv1")
    lab.plug(place.peer, "eth0", place.switch, "p-peer")
    _addresses(place.hv, "eth0", f"{HV4}/24", f"{HV6}/64")
    _addresses(place.peer, "eth0", *_peer_addresses(peers))
    return place


def wired(lab, peers=1):
    """hv1 and the peer with the userspace wire between them: hv1 is west."""
    place = Place(lab.namespace("hv1"), lab.namespace("peer"))
    place.wire = lab.wire(place.hv, "eth0", place.peer, "eth0")
    _addresses(place.hv, "eth0", f"{HV4}/24", f"{HV6}/64")
    _addresses(place.peer, "eth0", *_peer_addresses(peers))
    return place


def _unlimited_errors(router):
    """Linux limits the ICMP errors it sends; the tests want one for each packet."""
    router.sysctl("net/ipv4/icmp_ratelimit", 0)
    router.sysctl("net/ipv6/icmp/ratelimit", 0)
    for key in ("icmp_msgs_per_sec", "icmp_msgs_burst"):
        try:
            router.sysctl(f"net/ipv4/{key}", 100000)
        except OSError:
            pass  # machine-wide before kernel 6.8, and then high enough


def routed(lab, mtu=1500):
    """hv1 - router - beyond - peer. The far addresses are the peer's; hv1 has default routes."""
    place = Place(lab.namespace("hv1"), lab.namespace("peer"), lab.namespace("router"),
                  lab.namespace("beyond"))
    lab.cable(place.hv, "eth0", place.router, "hv1")
    lab.cable(place.router, "core", place.beyond, "core")
    lab.cable(place.beyond, "far", place.peer, "eth0")
    for router in (place.router, place.beyond):
        _unlimited_errors(router)
        router.sysctl("net/ipv4/ip_forward", 1)
        router.sysctl("net/ipv6/conf/all/forwarding", 1)
    _addresses(place.hv, "eth0", f"{HV4}/24", f"{HV6}/64")
    _addresses(place.router, "hv1", f"{ROUTER4}/24", f"{ROUTER6}/64")
    _addresses(place.router, "core", "10.99.0.1/24", "fd99::1/64")
    _addresses(place.beyond, "core", "10.99.0.2/24", "fd99::2/64")
    _addresses(place.beyond, "far", "10.88.0.1/24", "fd88::1/64")
    _addresses(place.peer, "eth0", f"{FAR4}/24", f"{FAR6}/64")
    place.hv.ip(f"route add default via {ROUTER4}", f"route add ::/0 via {ROUTER6}")
    place.router.ip("route add 10.88.0.0/24 via 10.99.0.2", "route add fd88::/64 via fd99::2")
    place.beyond.ip("route add 10.77.0.0/24 via 10.99.0.1", "route add fd77::/64 via fd99::1")
    place.peer.ip("route add default via 10.88.0.1", "route add ::/0 via fd88::1")
    if mtu != 1500:
        place.router.ip(f"link set core mtu {mtu}")
        place.beyond.ip(f"link set core mtu {mtu}")
    return place


def capture(lab, namespace, device="eth0"):
    seen = Capture(namespace, device)
    lab.at_end(seen.close)
    return seen


@dataclass
class PingResult:
    sent: int
    received: int
    duplicates: int
    minimum: float = 0.0  # seconds
    mean: float = 0.0
    deviation: float = 0.0


def ping(namespace, address, count=5, interval=0.1, wait=1, options=""):
    output = namespace.run(f"ping -n -q -c {count} -i {interval} -W {wait} {options} {address}",
                           check=False)
    counts = re.search(r"(\d+) packets transmitted, (\d+) received", output)
    doubles = re.search(r"\+(\d+) duplicates", output)
    times = re.search(r"= ([\d.]+)/([\d.]+)/[\d.]+/([\d.]+) ms", output)
    assert counts, f"ping {address}: {output}"
    result = PingResult(int(counts[1]), int(counts[2]), int(doubles[1]) if doubles else 0)
    if times:
        result.minimum, result.mean, result.deviation = (float(text) / 1000
                                                         for text in times.groups())
    return result
