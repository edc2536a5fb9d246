"""A hypervisor and its guests: namespaces behind a veth, and programs behind a tap.

Real virtual machines are in machine.py. All plug into a bridge of the namespace `hv`.
"""

import ipaddress
import os
import re
import socket

from . import frames, testing
from .network import Tap
from .program import Program

BRIDGE = "br0"


def hypervisor(lab, *addresses, name="hv1", bridges=(BRIDGE,), link_local=True):
    """A namespace with bridges; `addresses` (with prefix) are on the first of them.

    Without link_local neither the bridges nor the ports have any address that was not given.
    """
    hv = lab.namespace(name)
    if not link_local:
        hv.sysctl("net/ipv6/conf/default/addr_gen_mode", 1)
    for bridge in bridges:
        hv.ip(f"link add {bridge} type bridge forward_delay 0 stp_state 0",
              f"link set {bridge} up")
    hv.ip(*(f"addr add {address} dev {bridges[0]}" for address in addresses))
    return hv


def plain(address):
    """Without the prefix length."""
    return address.split("/")[0]


def link_local(mac):
    """The EUI-64 address, fe80::/64, that a Linux guest gives itself."""
    head = frames.mac_bytes(mac)
    return frames.ip_text(b"\xfe\x80" + b"\0" * 6 + bytes([head[0] ^ 2]) + head[1:3] + b"\xff\xfe"
                          + head[3:])


class NamespaceGuest:
    """A container: a real kernel's network stack behind a veth, `eth0` inside, `port` outside."""

    def __init__(self, lab, hv, port, *addresses, mac=None, bridge=BRIDGE, name=None):
        self.namespace = lab.namespace(name or port)
        self.hv, self.port = hv, port
        lab.cable(self.namespace, "eth0", hv, port)
        if mac:
            self.namespace.ip("link set eth0 down", f"link set eth0 address {mac}",
                              "link set eth0 up")
        self.mac = self.namespace.mac("eth0")
        self.add(*addresses)
        if bridge:
            hv.ip(f"link set {port} master {bridge}")

    def add(self, *addresses):
        """With prefix lengths. Duplicate address detection is off, as in every namespace here."""
        self.namespace.ip(*(f"addr add {address} dev eth0" for address in addresses))

    def add_after_detection(self, address):
        """An IPv6 address that is tentative until no other answers for it, as on a real host."""
        self.namespace.sysctl("net/ipv6/conf/eth0/accept_dad", 1)
        self.namespace.ip(f"addr add {address} dev eth0")

    def flags(self, address):
        """The words the kernel has about an address: "tentative", "dadfailed" …; None: not there.
        """
        found = re.search(rf"inet6? {re.escape(plain(address))}/\d+ (.*)",
                          self.namespace.run("ip addr show dev eth0"))
        return found and found[1].split()

    def announce(self, address):
        """A gratuitous ARP request or an unsolicited advertisement."""
        address = plain(address)
        self.send(frames.advertisement(self.mac, address) if ":" in address else
                  frames.arp(frames.REQUEST, self.mac, address, address))

    def send(self, frame):
        send_frame(self.namespace, "eth0", frame)


class TapGuest:
    """A guest behind a tap that a program of ours holds; see tap_guest.py for what it can do."""

    def __init__(self, lab, hv, port, *addresses, mac="52:54:00:00:00:01", bridge=BRIDGE):
        Tap.require()
        self.hv, self.port, self.mac = hv, port, mac
        self._program = Program(hv, "tap_guest", tap=port, mac=mac,
                                addresses=[plain(address) for address in addresses])
        tap_mac = "fe" + mac[2:]  # libvirt's rule
        hv.ip(f"link set {port} address {tap_mac}",
              *([f"link set {port} master {bridge}"] if bridge else []), f"link set {port} up")

    @property
    def pid(self):
        return self._program.pid

    def do(self, command, **arguments):
        """A command of tap_guest.py: announce, ask, claim, add, remove, answer …"""
        return self._program.ask(command, **arguments)

    def announce(self, address):
        self.do("announce", address=plain(address))

    def send(self, frame):
        self.do("send", frame=frame.hex())

    def questions(self, target=None):
        """The ARP requests and solicitations that reached the guest (frames.Question)."""
        seen = [frames.Question(**fields) for fields in self.do("questions")]
        return [question for question in seen if target in (None, question.target)]

    def conflicts(self):
        """[address, MAC, how]: others that used or claimed an address of the guest."""
        return self.do("conflicts")

    def close(self):
        """The tap goes away, as when a virtual machine ends."""
        self._program.close()


class TapCrowd:
    """Many tap guests in one process: NAME0, NAME1 … on a bridge, an IPv4 address each."""

    COUNT_MAX = 800  # one descriptor each
    GROUP = 77       # of devices, so that all can be deleted at once: one by one takes 25 ms each

    def __init__(self, lab, hv, count, prefix="vnet", network="10.77.0.0/16", bridge=BRIDGE):
        assert count <= self.COUNT_MAX
        Tap.require()
        hosts = ipaddress.ip_network(network).network_address + 256
        self.hv = hv
        self.guests = [{"tap": f"{prefix}{number}", "mac": f"52:54:00:01:{number >> 8:02x}:"
                        f"{number & 255:02x}", "addresses": [str(hosts + number)]}
                       for number in range(count)]
        self._program = Program(hv, "tap_crowd", guests=self.guests)
        hv.ip(*(f"link set {guest['tap']} address fe{guest['mac'][2:]} master {bridge} "
                f"group {self.GROUP} up" for guest in self.guests))
        lab.at_end(self.close)

    @property
    def pid(self):
        return self._program.pid

    def announce(self):
        """Every guest its address."""
        self._program.ask("announce")

    def counts(self):
        """Sums over the guests: {"questions", "answers", …}."""
        return self._program.ask("counts")

    def do(self, place, command, **arguments):
        """A command of tap_guest.py to one of them."""
        return self._program.ask("ask_one", place=place, command=command, **arguments)

    def close(self):
        """All taps go away. Doing it twice is fine."""
        self.hv.run(f"ip link del group {self.GROUP}", check=False)
        self._program.close()


def send_frame(namespace, device, frame):
    """Puts a whole Ethernet frame on the cable of a device."""
    with namespace.inside(), socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sender:
        sender.sendto(frame, (device, 0))


def named_namespaces(lab, **spaces):
    """For Namespace.popen's and Daemon's `files`: /run/netns as `ip netns` would fill it, for this
    one process. An empty /run/netns is made where there is none, and stays."""
    folder = os.path.join(lab.directory, f"netns-{len(os.listdir(lab.directory))}")
    os.mkdir(folder)
    for name in spaces:
        open(os.path.join(folder, name), "w", encoding="ascii").close()
    try:
        os.makedirs("/run/netns", exist_ok=True)
    except PermissionError as error:
        testing.skip(f"no named namespaces: {error}")
    return {"/run/netns": folder,
            **{f"/run/netns/{name}": space.path for name, space in spaces.items()}}
