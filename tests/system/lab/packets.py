"""ICMP and IP packets as bytes: what the tests read from a capture and what they forge.

Only what the tests need; refuses to be a general packet library.
"""

import ipaddress
import struct
from dataclasses import dataclass

ECHO_REQUEST = {4: 8, 6: 128}
ECHO_REPLY = {4: 0, 6: 129}
PROTOCOL = {4: 1, 6: 58}


def checksum(data):
    """RFC 1071."""
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def icmp(source, destination, kind, code, rest, body=b"", damage=0):
    """An ICMP or ICMPv6 message with its checksum; `damage` is added to the checksum."""
    head = struct.pack("!BBH", kind, code, 0)
    message = head + rest + body
    summed = message
    if ":" in source:
        pseudo = (ipaddress.ip_address(source).packed + ipaddress.ip_address(destination).packed
                  + struct.pack("!II", len(message), PROTOCOL[6]))
        summed = pseudo + message
    value = (checksum(summed) + damage) & 0xFFFF
    return message[:2] + struct.pack("!H", value) + message[4:]


def ip(source, destination, payload, hops=64, protocol=None):
    """An IPv4 or IPv6 packet that carries ICMP, unless another protocol is said."""
    if ":" in source:
        return (struct.pack("!IHBB", 6 << 28, len(payload), protocol or PROTOCOL[6], hops)
                + ipaddress.ip_address(source).packed
                + ipaddress.ip_address(destination).packed + payload)
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), 0, 0, hops,
                       protocol or PROTOCOL[4], 0,
                       ipaddress.ip_address(source).packed,
                       ipaddress.ip_address(destination).packed)
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + payload


@dataclass
class Echo:
    """An ICMP echo request or reply seen on a device."""

    at: float         # kernel receive stamp, Unix seconds
    outgoing: bool    # sent by the captured device's host
    family: int       # 4 or 6
    reply: bool
    source: str
    destination: str
    identifier: int
    sequence: int
    payload: bytes
    hops: int
    traffic_class: int
    dont_fragment: bool
    raw: bytes        # the IP packet

    @property
    def key(self):
        return self.identifier, self.sequence


def parse_echo(packet, at=0.0, outgoing=False):
    """The echo in an IP packet, or None."""
    if len(packet) < 20:
        return None
    version = packet[0] >> 4
    if version == 4:
        begin = (packet[0] & 15) * 4
        end = struct.unpack_from("!H", packet, 2)[0]
        if packet[9] != PROTOCOL[4]:
            return None
        source, destination = (str(ipaddress.ip_address(packet[at:at + 4])) for at in (12, 16))
        hops, traffic_class = packet[8], packet[1]
        fragment = bool(packet[6] & 0x40)
    elif version == 6 and len(packet) >= 40:
        begin, end = 40, 40 + struct.unpack_from("!H", packet, 4)[0]
        if packet[6] != PROTOCOL[6]:
            return None
        source, destination = (str(ipaddress.ip_address(packet[at:at + 16])) for at in (8, 24))
        hops = packet[7]
        traffic_class = (struct.unpack_from("!H", packet)[0] >> 4) & 0xFF
        fragment = True
    else:
        return None
    body = packet[begin:end]
    if len(body) < 8 or body[0] not in (ECHO_REQUEST[version], ECHO_REPLY[version]):
        return None
    identifier, sequence = struct.unpack_from("!HH", body, 4)
    return Echo(at, outgoing, version, body[0] == ECHO_REPLY[version], source, destination,
                identifier, sequence, body[8:], hops, traffic_class, fragment, packet[:end])


def echo_reply_to(request, **changes):
    """The IP packet of the reply to a captured request. Changes: source, destination, identifier,
    sequence, payload, damage."""
    source = changes.get("source", request.destination)
    destination = changes.get("destination", request.source)
    rest = struct.pack("!HH", changes.get("identifier", request.identifier),
                       changes.get("sequence", request.sequence))
    message = icmp(source, destination, ECHO_REPLY[request.family], 0, rest,
                   changes.get("payload", request.payload), changes.get("damage", 0))
    return ip(source, destination, message)


def error_about(packet, reporter, destination, kind, code, rest=b"\0" * 4, quoted=None):
    """The IP packet of an ICMP error that quotes the first `quoted` bytes of an IP packet."""
    body = packet if quoted is None else packet[:quoted]
    return ip(reporter, destination, icmp(reporter, destination, kind, code, rest, body))
