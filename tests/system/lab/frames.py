"""Ethernet frames of neighbours: ARP, neighbour discovery, DHCP. To be built and to be read.

Only what the tests need; refuses to be a general packet library.
"""

import functools
import ipaddress
import struct
from dataclasses import dataclass, field

from . import packets

BROADCAST = "ff:ff:ff:ff:ff:ff"
ZERO = "00:00:00:00:00:00"
ARP, IPV4, IPV6 = 0x0806, 0x0800, 0x86DD
REQUEST, REPLY = 1, 2
SOLICITATION, ADVERTISEMENT = 135, 136
SOURCE_LINK_LAYER, TARGET_LINK_LAYER = 1, 2
ALL_NODES = "ff02::1"


def mac_bytes(mac):
    return bytes.fromhex(mac.replace(":", ""))


@functools.cache
def ip_bytes(address):
    return ipaddress.ip_address(address).packed


def ip_text(data):
    return str(ipaddress.ip_address(bytes(data)))


def ethernet(source, destination, kind, payload):
    frame = mac_bytes(destination) + mac_bytes(source) + struct.pack("!H", kind) + payload
    return frame.ljust(60, b"\0")


def arp(operation, mac, sender, target, target_mac=ZERO, destination=BROADCAST, source=None):
    """`mac` and `sender` are the sender's. `source` is the frame's, where that is another."""
    body = struct.pack("!HHBBH6s4s6s4s", 1, IPV4, 6, 4, operation, mac_bytes(mac),
                       ip_bytes(sender), mac_bytes(target_mac), ip_bytes(target))
    return ethernet(source or mac, destination, ARP, body)


def multicast_mac(address):
    return "33:33:" + ip_bytes(address)[12:].hex(":")


def solicited_node(address):
    return ip_text(ip_bytes("ff02::1:ff00:0")[:13] + ip_bytes(address)[13:])


def _discovery(kind, mac, destination_mac, source, destination, rest, target, option):
    body = ip_bytes(target)
    if option:
        body += struct.pack("!BB6s", option, 1, mac_bytes(mac))
    message = packets.icmp(source, destination, kind, 0, rest, body)
    packet = packets.ip(source, destination, message, hops=255)
    return ethernet(mac, destination_mac, IPV6, packet)


def solicitation(mac, source, target, destination_mac=None, destination=None):
    """From "::" as in duplicate address detection, else with the source link-layer option."""
    destination = destination or solicited_node(target)
    option = None if source == "::" else SOURCE_LINK_LAYER
    return _discovery(SOLICITATION, mac, destination_mac or multicast_mac(destination), source,
                      destination, b"\0" * 4, target, option)


def advertisement(mac, target, destination=ALL_NODES, destination_mac=None):
    """Solicited, unless it goes to all nodes; always overriding."""
    solicited = destination != ALL_NODES
    flags = struct.pack("!I", (0x40000000 if solicited else 0) | 0x20000000)
    return _discovery(ADVERTISEMENT, mac, destination_mac or multicast_mac(destination), target,
                      destination, flags, target, TARGET_LINK_LAYER)


def dhcp_ack(server_mac, server, client_mac, client, destination=BROADCAST):
    """A DHCPv4 ACK for the client (RFC 2131), as the bridge carries it to the client's port."""
    head = struct.pack("!BBBBIHH", 2, 1, 6, 0, 0x5EAC4D00, 0, 0x8000)
    addresses = b"\0" * 4 + ip_bytes(client) + ip_bytes(server) + b"\0" * 4
    options = b"\x63\x82\x53\x63" + bytes([53, 1, 5, 54, 4]) + ip_bytes(server) + b"\xff"
    message = head + addresses + mac_bytes(client_mac).ljust(16, b"\0") + b"\0" * 192 + options
    datagram = struct.pack("!HHHH", 67, 68, 8 + len(message), 0) + message
    return ethernet(server_mac, destination, IPV4,
                    packets.ip(server, "255.255.255.255", datagram, protocol=17))


@dataclass
class Question:
    """An ARP request or a neighbour solicitation, as it was seen."""

    kind: str             # "arp" or "nd"
    source_mac: str       # of the frame
    destination_mac: str
    sender_mac: str       # in the message; "" where it has none
    sender: str           # "0.0.0.0" or "::": none
    target: str
    at: float = field(default=0.0, compare=False)  # monotonic seconds

    def is_announcement(self):
        return self.sender == self.target


def read_question(frame):
    """The Question in a frame, or None."""
    if len(frame) < 42:
        return None
    destination, source = frame[:6].hex(":"), frame[6:12].hex(":")
    kind = struct.unpack_from("!H", frame, 12)[0]
    if kind == ARP and struct.unpack_from("!H", frame, 20)[0] == REQUEST:
        return Question("arp", source, destination, frame[22:28].hex(":"), ip_text(frame[28:32]),
                        ip_text(frame[38:42]))
    if kind == IPV6 and len(frame) >= 78 and frame[20] == packets.PROTOCOL[6] \
            and frame[54] == SOLICITATION:
        option = frame[78:86]
        sender_mac = option[2:8].hex(":") if option[:2] == b"\x01\x01" else ""
        return Question("nd", source, destination, sender_mac, ip_text(frame[22:38]),
                        ip_text(frame[62:78]))
    return None


def read_claim(frame):
    """(MAC, address) that a reply, an announcement or an advertisement claims, or None."""
    if len(frame) < 42:
        return None
    kind = struct.unpack_from("!H", frame, 12)[0]
    if kind == ARP:
        sender = ip_text(frame[28:32])
        return None if sender == "0.0.0.0" else (frame[22:28].hex(":"), sender)
    if kind == IPV6 and len(frame) >= 78 and frame[20] == packets.PROTOCOL[6] \
            and frame[54] == ADVERTISEMENT:
        return frame[6:12].hex(":"), ip_text(frame[62:78])
    return None
