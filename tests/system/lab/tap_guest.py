"""A helper program: a guest behind a tap, as far as its neighbours can see it.

It answers ARP, neighbour solicitations and pings for its addresses, and remembers who asked what
how. Its test-side end is guest.TapGuest. Arguments: tap, mac, addresses.
"""

import errno
import fcntl
import os
import selectors
import struct
import time

from . import frames, packets
from .program import serve

TUNSETIFF = 0x400454CA
IFF_TAP, IFF_NO_PI = 0x2, 0x1000
QUESTIONS_MAX = 20000
FRAMES_PER_WAKE = 256

CLAIM_PROBES, CLAIM_INTERVAL = 3, 0.3  # RFC 5227, section 1.1, in a hurry


class Claim:
    """An address on its way to be ours: probed for first, then announced."""

    def __init__(self, address):
        self.address = address
        self.probes_left = CLAIM_PROBES
        self.due = time.monotonic()


class Guest:
    """deaf_to_others: broadcasts about other addresses are not even looked at, since among many
    guests everyone hears everyone."""

    def __init__(self, selector, tap, mac, addresses, deaf_to_others=False):
        self._descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
        fcntl.ioctl(self._descriptor, TUNSETIFF,
                    struct.pack("16sH22x", tap.encode(), IFF_TAP | IFF_NO_PI))
        self._selector = selector
        self._mac = mac
        self._addresses = list(addresses)
        self._deaf = deaf_to_others
        self._answering = True
        self._claims = []
        self._questions, self._conflicts = [], []
        self._counts = {"frames": 0, "questions": 0, "answers": 0, "pings": 0, "not_mine": 0}
        selector.register(self._descriptor, selectors.EVENT_READ, self._read)

    # Frames

    def _read(self):
        for _ in range(FRAMES_PER_WAKE):
            try:
                frame = os.read(self._descriptor, 65536)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.EBADFD:
                    raise
                self._selector.unregister(self._descriptor)  # the device was deleted
                return
            self._counts["frames"] += 1
            group = frame[0] & 1
            if group and self._deaf and self._is_about_others(frame):
                continue
            if not group and frame[:6].hex(":") != self._mac:
                self._counts["not_mine"] += 1
                continue
            self._see(frame)

    def _is_about_others(self, frame):
        if frame[:2] == b"\x33\x33":
            return not any(":" in address for address in self._addresses)
        about = (frame[28:32], frame[38:42]) if frame[12:14] == b"\x08\x06" else ()
        return bool(about) and not any(frames.ip_bytes(address) in about
                                       for address in self._addresses)

    def _see(self, frame):
        self._note_conflicts(frame)
        question = frames.read_question(frame)
        if question:
            self._note(question)
            if self._answering and question.target in self._addresses:
                self._answer(question)
            return
        if self._answering:
            self._pong(frame)

    def _note(self, question):
        question.at = time.monotonic()
        self._counts["questions"] += 1
        if len(self._questions) < QUESTIONS_MAX:
            self._questions.append(question)

    def _note_conflicts(self, frame):
        """Whoever else uses an address of ours, or asks for it as only its claimant would."""
        claimed = {claim.address for claim in self._claims}
        claim = frames.read_claim(frame)
        if claim and claim[0] != self._mac and claim[1] in claimed.union(self._addresses):
            self._conflicts.append([claim[1], claim[0], "used"])
        question = frames.read_question(frame)
        if question and question.source_mac != self._mac and question.target in claimed \
                and question.sender in ("0.0.0.0", "::"):
            self._conflicts.append([question.target, question.source_mac, "claimed"])

    def _answer(self, question):
        self._counts["answers"] += 1
        if question.kind == "arp":
            self._write(frames.arp(frames.REPLY, self._mac, question.target, question.sender,
                                   question.sender_mac, destination=question.sender_mac))
        elif question.sender == "::":
            self._write(frames.advertisement(self._mac, question.target))
        else:
            self._write(frames.advertisement(self._mac, question.target, question.sender,
                                             question.sender_mac or question.source_mac))

    def _pong(self, frame):
        kind = struct.unpack_from("!H", frame, 12)[0]
        if kind not in (frames.IPV4, frames.IPV6):
            return
        echo = packets.parse_echo(frame[14:])
        if echo and not echo.reply and echo.destination in self._addresses:
            self._counts["pings"] += 1
            self._write(frames.ethernet(self._mac, frame[6:12].hex(":"), kind,
                                        packets.echo_reply_to(echo)))

    def _write(self, frame):
        os.write(self._descriptor, frame)

    # Commands

    def announce(self, address):
        """As in RFC 5227, section 3, and RFC 4861, section 7.2.6."""
        if ":" in address:
            self._write(frames.advertisement(self._mac, address))
        else:
            self._write(frames.arp(frames.REQUEST, self._mac, address, address))

    def ask(self, sender, target):
        """Ordinary use of an address: the guest looks for a neighbour."""
        if ":" in sender:
            self._write(frames.solicitation(self._mac, sender, target))
        else:
            self._write(frames.arp(frames.REQUEST, self._mac, sender, target))

    def claim(self, address):
        """Probes for an IPv4 address, then takes and announces it unless there was a conflict."""
        self._claims.append(Claim(address))

    def add(self, address):
        self._addresses.append(address)

    def remove(self, address):
        self._addresses.remove(address)

    def addresses(self):
        return self._addresses

    def answer(self, answering):
        self._answering = answering

    def send(self, frame):
        self._write(bytes.fromhex(frame))

    def storm(self, frame, count):
        """How many of `count` copies the tap took."""
        data = bytes.fromhex(frame)
        for sent in range(count):
            try:
                os.write(self._descriptor, data)
            except BlockingIOError:
                return sent
        return count

    def questions(self):
        return [vars(question) for question in self._questions]

    def forget(self):
        self._questions.clear()
        self._conflicts.clear()

    def conflicts(self):
        return self._conflicts

    def counts(self):
        return self._counts

    def tick(self):
        """Goes on with the claims."""
        now = time.monotonic()
        for claim in [claim for claim in self._claims if claim.due <= now]:
            claim.due = now + CLAIM_INTERVAL
            if any(address == claim.address for address, _, _ in self._conflicts):
                self._claims.remove(claim)
            elif claim.probes_left > 0:
                claim.probes_left -= 1
                self._write(frames.arp(frames.REQUEST, self._mac, "0.0.0.0", claim.address))
            else:
                self._claims.remove(claim)
                self._addresses.append(claim.address)
                self.announce(claim.address)


COMMANDS = ("announce", "ask", "claim", "add", "remove", "addresses", "answer", "send", "storm",
            "questions", "forget", "conflicts", "counts", "tick")


def start(selector, **arguments):
    guest = Guest(selector, **arguments)
    return {name: getattr(guest, name) for name in COMMANDS}


if __name__ == "__main__":
    serve(start)
