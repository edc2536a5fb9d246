"""A network of jumbo frames in which the path to each peer has a fault of its own, and what must
be said about it.

hv1 has eth0 at 9000 on a bridge of 9000, and eth1 at 1500. A case is one peer by one address
family: the same fault by IPv4 and by IPv6.
"""

import contextlib
from dataclasses import dataclass

from .places import HV4, HV6, ROUTER4, ROUTER6

MTU = 9000
SMALL = 1500
ROUTED = 1400

# Of the last byte of the addresses on eth0's segment.
HEALTHY, MIDDLE, RECEIVER, FORWARD, REVERSE, EGRESS, LOSSY, LOSSY_HOLE, MUTE = range(11, 20)


@dataclass(frozen=True)
class Case:
    """A peer, and its verdict where 9000 are expected."""

    name: str
    address: str
    verdict: str
    bytes: int
    direction: str = "none"
    reporter: str = ""

    @property
    def family(self):
        return 6 if ":" in self.address else 4


def _on_segment(name, number, *expected):
    return [Case(f"{name}{family}", f"{net}{number}", *expected)
            for family, net in ((4, "10.77.0."), (6, "fd77::"))]


CASES = [
    *_on_segment("healthy", HEALTHY, "ok", MTU),
    *_on_segment("middle", MIDDLE, "black_hole", SMALL, "both"),
    *_on_segment("receiver", RECEIVER, "black_hole", SMALL, "forward"),
    *_on_segment("forward", FORWARD, "black_hole", SMALL, "forward"),
    *_on_segment("reverse", REVERSE, "black_hole", SMALL, "reverse"),
    *_on_segment("egress", EGRESS, "peer_egress", SMALL),
    *_on_segment("lossy", LOSSY, "ok", MTU),
    *_on_segment("lossyhole", LOSSY_HOLE, "black_hole", SMALL, "forward"),
    *_on_segment("mute", MUTE, "black_hole", SMALL, "unknown"),
    Case("sender4", "10.78.0.14", "local", SMALL),
    Case("sender6", "fd78::14", "local", SMALL),
    Case("routed4", "10.88.0.11", "signalled", ROUTED, "forward", ROUTER4),
    Case("routed6", "fd88::11", "signalled", ROUTED, "forward", ROUTER6),
]
BY_NAME = {case.name: case for case in CASES}


def peers(*names, **options):
    """Entries of the configuration for these cases; none: for all."""
    return [{"name": case.name, "address": case.address, **options}
            for case in CASES if not names or case.name in names]


class Jumbo:
    """The network. `switch` has the rules that drop by size; see hole() and heal()."""

    def __init__(self, lab):
        self._lab = lab
        self.hv = lab.namespace("hv1")
        self.switch = self._switch("switch")
        self._plug(self.hv, "hv1", f"{HV4}/24", f"{HV6}/64")
        self.peer = lab.namespace("peer")
        self._plug(self.peer, "peer", *self._addresses(HEALTHY, FORWARD, REVERSE, LOSSY,
                                                       LOSSY_HOLE, MUTE))
        # One namespace that stands for many hosts: their ICMP errors are not limited together.
        self.peer.sysctl("net/ipv4/icmp_ratelimit", 0)
        self.peer.sysctl("net/ipv6/icmp/ratelimit", 0)
        self._build_middle()
        self._build_receiver()
        self._build_egress()
        self._build_sender()
        self._build_router()
        self.heal()

    def _switch(self, name):
        """One that knows Ethernet only. With br_netfilter a bridge cuts packets into fragments."""
        switch = self._lab.switch(name)
        for key in ("bridge-nf-call-iptables", "bridge-nf-call-ip6tables"):
            with contextlib.suppress(FileNotFoundError):  # the module is not loaded
                switch.sysctl(f"net/bridge/{key}", 0)
        return switch

    @staticmethod
    def _addresses(*numbers):
        return [address for number in numbers
                for address in (f"10.77.0.{number}/24", f"fd77::{number}/64")]

    def _plug(self, host, port, *addresses, switch=None, mtu=MTU):
        switch = switch or self.switch
        self._lab.plug(host, "eth0", switch, f"p-{port}")
        switch.ip(f"link set p-{port} mtu {MTU}")
        host.ip(f"link set eth0 mtu {mtu}",
                *(f"addr add {address} dev eth0" for address in addresses))

    def _build_middle(self):
        """Between two switches one port has 1500, and nobody says a word."""
        far = self._switch("far")
        self._lab.cable(self.switch, "p-far", far, "p-near")
        far.ip("link set p-near master br0", f"link set p-near mtu {MTU}")
        self.switch.ip("link set p-far master br0", f"link set p-far mtu {SMALL}")
        self._plug(self._lab.namespace("middle"), "middle", *self._addresses(MIDDLE), switch=far)

    def _build_receiver(self):
        self._plug(self._lab.namespace("receiver"), "receiver", *self._addresses(RECEIVER),
                   mtu=SMALL)

    def _build_egress(self):
        """Takes 9000, as most NICs do, and sends no more than 1500."""
        host = self._lab.namespace("egress")
        self._plug(host, "egress", *self._addresses(EGRESS))
        host.ip(f"route replace 10.77.0.0/24 dev eth0 mtu {SMALL}",
                f"route add {HV6}/128 dev eth0 mtu {SMALL}")

    def _build_sender(self):
        host = self._lab.namespace("sender")
        self._lab.cable(self.hv, "eth1", host, "eth0")
        self.hv.ip("addr add 10.78.0.1/24 dev eth1", "addr add fd78::1/64 dev eth1")
        host.ip("addr add 10.78.0.14/24 dev eth0", "addr add fd78::14/64 dev eth0")

    def _build_router(self):
        self.router = self._lab.namespace("router")
        self._plug(self.router, "router", f"{ROUTER4}/24", f"{ROUTER6}/64")
        host = self._lab.namespace("routed")
        self._lab.cable(self.router, "core", host, "eth0")
        self.router.sysctl("net/ipv4/ip_forward", 1)
        self.router.sysctl("net/ipv6/conf/all/forwarding", 1)
        self.router.ip("addr add 10.88.0.1/24 dev core", "addr add fd88::1/64 dev core",
                       f"link set core mtu {ROUTED}")
        host.ip("addr add 10.88.0.11/24 dev eth0", "addr add fd88::11/64 dev eth0",
                f"link set eth0 mtu {ROUTED}",
                "route add default via 10.88.0.1", "route add ::/0 via fd88::1")
        self.hv.ip(f"route add default via {ROUTER4}", f"route add ::/0 via {ROUTER6}")

    @staticmethod
    def _drop(side, number, condition):
        return [f"ip {side} 10.77.0.{number} {condition} drop",
                f"ip6 {side} fd77::{number} {condition} drop"]

    def _set_rules(self, rules):
        lines = "\n".join(rules)
        self.switch.run("nft -f -", stdin="flush ruleset\ntable bridge filter {\nchain forward {\n"
                                          "type filter hook forward priority 0\n"
                                          f"{lines}\n}}\n}}\n")

    def hole(self, number, side="daddr", above=SMALL):
        """Besides, packets of more than `above` bytes to (or from) that peer vanish."""
        self._set_rules([*self._rules(), *self._drop(side, number, f"meta length > {above}")])

    def heal(self):
        """Only the usual faults again."""
        self._set_rules(self._rules())

    def _rules(self):
        large = f"meta length > {SMALL}"
        loss = "numgen random mod 10 == 0"
        rules = [*self._drop("daddr", FORWARD, large), *self._drop("saddr", REVERSE, large),
                 *self._drop("daddr", LOSSY_HOLE, large),
                 # Large answers vanish, and UDP, so that nobody can tell about large requests.
                 *self._drop("saddr", MUTE, large),
                 f"ip daddr 10.77.0.{MUTE} ip protocol udp drop",
                 f"ip6 daddr fd77::{MUTE} ip6 nexthdr udp drop"]
        for number in (LOSSY, LOSSY_HOLE):
            for side in ("daddr", "saddr"):
                rules += self._drop(side, number, loss)
        return rules
