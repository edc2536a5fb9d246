"""A capture of ICMP echoes on one device, with the kernel's time stamps.

The kernel's socket buffer holds the packets; the test drains it when it wants to know. Also sends
raw IP packets out of a device, as a hostile or broken neighbour would.
"""

import socket
import struct

from . import packets

ETH_P_ALL = 3
SO_TIMESTAMPNS = 35
PACKET_OUTGOING = 4
SO_RCVBUFFORCE = 33


class Capture:
    def __init__(self, namespace, device):
        with namespace.inside():
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM,
                                         socket.htons(ETH_P_ALL))
        self._socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        self._socket.bind((device, ETH_P_ALL))
        self._socket.setblocking(False)
        self.echoes = []

    def drain(self):
        """All echoes so far, oldest first."""
        while True:
            try:
                data, controls, _, origin = self._socket.recvmsg(65536, 64)
            except BlockingIOError:
                return self.echoes
            at = 0.0
            for level, kind, value in controls:
                if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS:
                    seconds, nanoseconds = struct.unpack("qq", value[:16])
                    at = seconds + nanoseconds / 1e9
            echo = packets.parse_echo(data, at, origin[2] == PACKET_OUTGOING)
            if echo:
                self.echoes.append(echo)

    def clear(self):
        self.drain()
        self.echoes = []

    def requests(self, destination=None):
        return [e for e in self.drain() if not e.reply and destination in (None, e.destination)]

    def replies(self, source=None):
        return [e for e in self.drain() if e.reply and source in (None, e.source)]

    def unanswered(self, destination):
        """Requests to `destination` for which no reply was seen, oldest first."""
        answered = {(e.source, e.key) for e in self.replies()}
        return [e for e in self.requests(destination) if (destination, e.key) not in answered]

    def round_trips(self, address):
        """Seconds from each request to its first reply, in the order of the replies."""
        sent, trips = {}, []
        for echo in self.drain():
            if not echo.reply and echo.destination == address:
                sent[echo.key] = echo.at
            elif echo.reply and echo.source == address and echo.key in sent:
                trips.append(echo.at - sent.pop(echo.key))
        return trips

    def close(self):
        self._socket.close()


class Forger:
    """Puts IP packets on the cable of a device, addressed to one neighbour's MAC."""

    def __init__(self, namespace, device, neighbour_mac):
        with namespace.inside():
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
        self._device = device
        self._mac = bytes.fromhex(neighbour_mac.replace(":", ""))

    def send(self, packet):
        ethertype = 0x0800 if packet[0] >> 4 == 4 else 0x86DD
        self._socket.sendto(packet, (self._device, ethertype, 0, 0, self._mac))

    def close(self):
        self._socket.close()


