"""Forged, foreign and damaged packets change nothing but reachd_packets_ignored_total."""

import random
import struct
import threading
import time

from lab import packets, places
from lab.capture import Forger
from lab.daemon import Daemon, configuration
from lab.metrics import check_accounting
from lab.network import settle
from lab.places import HV4, HV6, PEER4, PEER6
from lab.testing import test

PEERS = ({"name": "p4", "address": PEER4}, {"name": "p6", "address": PEER6})
ADDRESSES = {"p4": PEER4, "p6": PEER6}
OTHER = {4: "10.77.0.12", 6: "fd77::12"}
HERE = {4: HV4, 6: HV6}
MUTE = ("icmp type echo-reply drop", "icmpv6 type echo-reply drop")


class Responder:
    """Sees each request that reaches the peer and sends what `answer(request)` yields."""

    def __init__(self, lab, place, answer):
        self._seen = places.capture(lab, place.peer)
        self._forger = Forger(place.peer, "eth0", place.hv.mac("eth0"))
        self._answer = answer
        self._ends = threading.Event()
        self.sent = 0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        lab.at_end(self.stop)

    def _run(self):
        while not self._ends.is_set():
            for echo in self._seen.drain():
                if not echo.reply and not echo.outgoing:
                    for packet in self._answer(echo):
                        self._forger.send(packet)
                        self.sent += 1
            self._seen.echoes.clear()
            time.sleep(0.002)

    def stop(self):
        self._ends.set()
        self._thread.join()


def start(lab, interval="100ms", timeout="400ms"):
    place = places.switched(lab, peers=2)
    daemon = Daemon(lab, place.hv, configuration(*PEERS, interval=interval, timeout=timeout,
                                                   mtu=False))
    daemon.wait_up("p4", "p6")
    return place, daemon


def flip(data, at):
    return data[:at] + bytes([data[at] ^ 0x40]) + data[at + 1:]


def false_replies(request):
    """Each is wrong in one way."""
    yield packets.echo_reply_to(request, source=OTHER[request.family])
    yield packets.echo_reply_to(request, damage=1)
    yield packets.echo_reply_to(request, sequence=request.sequence ^ 0x8000)
    yield packets.echo_reply_to(request, identifier=request.identifier ^ 0x8000)
    yield packets.echo_reply_to(request, identifier=request.identifier ^ 1)
    for at in (0, 3, 7, 8, 11, 15):
        yield packets.echo_reply_to(request, payload=flip(request.payload, at))
    yield packets.echo_reply_to(request, payload=b"")
    yield packets.echo_reply_to(request, payload=request.payload[:8])
    yield packets.echo_reply_to(request, payload=request.payload[:15])
    yield packets.echo_reply_to(request, payload=bytes(len(request.payload)))
    whole = packets.echo_reply_to(request)
    yield whole[:len(whole) - 50]  # the IP header promises more


@test
def forged_replies_answer_nothing(lab):
    place, daemon = start(lab)
    place.peer.filter("output", *MUTE)
    daemon.wait_up("p4", "p6", value=0)
    before = daemon.metrics()
    responder = Responder(lab, place, false_replies)
    settle(lambda: responder.sent > 500, 5, "forgeries sent", every=0.1)
    time.sleep(0.5)
    after = daemon.metrics()
    for peer in ADDRESSES:
        older, newer = before.probe(peer), after.probe(peer)
        check_accounting(newer, in_flight_max=8)
        for name in ("received", "late", "duplicates", "reordered", "rtt_count"):
            assert getattr(newer, name) == getattr(older, name), f"{name}: {older}; then {newer}"
        assert set(newer.failures) == {"timeout"}, newer
    assert after.up("p4") == 0 and after.up("p6") == 0
    ignored = (after.total("reachd_packets_ignored_total")
               - before.total("reachd_packets_ignored_total"))
    assert ignored > 200, f"{ignored} of {responder.sent} counted"
    # One true reply among the forged ones is enough.
    responder.stop()
    Responder(lab, place, lambda request: [*false_replies(request),
                                           packets.echo_reply_to(request)])
    daemon.wait_up("p4", "p6")
    probe = daemon.probe("p4")
    assert probe.duplicates == before.probe("p4").duplicates, probe


@test
def forged_replies_beside_true_ones(lab):
    place, daemon = start(lab)
    before = daemon.metrics()
    responder = Responder(lab, place, false_replies)
    settle(lambda: responder.sent > 1000, 8, "forgeries sent", every=0.1)
    after = daemon.metrics()
    for peer in ADDRESSES:
        probe = after.probe(peer)
        check_accounting(probe)
        assert (probe.lost, probe.late, probe.duplicates, probe.reordered) == (0, 0, 0, 0), probe
        assert not probe.failures
    assert after.total("reachd_peer_state_changes_total") == \
        before.total("reachd_peer_state_changes_total")


@test
def bad_checksums_hide_no_outage(lab):
    """The kernel counts an ICMPv6 packet with a bad checksum as a drop of the raw socket: that must
    not pass for an overflow of our buffer, which would put off all judgements."""
    place, daemon = start(lab)
    seen = places.capture(lab, place.hv)

    def answer(request):
        if request.family == 6:
            yield from [packets.echo_reply_to(request, damage=1)] * 5
    Responder(lab, place, answer)
    time.sleep(0.5)
    place.peer.filter("output", "icmp type echo-reply drop")
    cut = time.time()
    daemon.wait_up("p4", value=0, within=2.5)
    first = next(echo.at for echo in seen.unanswered(PEER4) if echo.at > cut)
    took = daemon.metrics().get("reachd_peer_last_change_timestamp_seconds", peer="p4") - first
    assert took < 0.4 + 1.0 + 0.1, f"down {took} s after the first unanswered probe"
    keys = [echo.key for echo in seen.requests(PEER6)]
    assert len(keys) == len(set(keys)), "probes are sent twice"
    assert daemon.metrics().up("p6") == 1


UNREACHABLE = {4: (3, 1), 6: (1, 3)}
PROHIBITED = {4: (3, 13), 6: (1, 1)}


def about(request, quote, kinds=UNREACHABLE, quoted=None, reporter=None):
    kind, code = kinds[request.family]
    return packets.error_about(quote, reporter or request.destination, HERE[request.family], kind,
                               code, quoted=quoted)


def foreign_errors(request):
    """ICMP errors about packets that reachd never sent."""
    v4 = request.family == 4
    begin = 20 if v4 else 40
    raw = request.raw
    other = OTHER[request.family]

    def quote(**changes):
        rest = struct.pack("!HH", changes.get("identifier", request.identifier),
                           changes.get("sequence", request.sequence))
        destination = changes.get("destination", request.destination)
        body = packets.icmp(HERE[request.family], destination,
                            packets.ECHO_REQUEST[request.family], 0, rest,
                            changes.get("payload", request.payload))
        return packets.ip(HERE[request.family], destination, body)
    yield about(request, quote(destination=other))
    yield about(request, quote(identifier=request.identifier ^ 0x4000))
    yield about(request, quote(identifier=request.identifier ^ 1), quoted=begin + 8)
    yield about(request, quote(payload=bytes(len(request.payload))))
    yield about(request, quote(payload=flip(request.payload, 5)))
    yield about(request, quote(sequence=(request.sequence + 0x7000) & 0xFFFF), quoted=begin + 8)
    yield about(request, raw, quoted=begin + 7)   # shorter than RFC 792 asks for
    yield about(request, raw, quoted=begin)
    yield about(request, raw, quoted=begin - 1)
    yield about(request, raw, quoted=1)
    yield about(request, b"")
    yield about(request, flip(raw, 9 if v4 else 6))  # another protocol
    if v4:
        yield about(request, bytes([raw[0] | 15]) + raw[1:])  # another header length
    reply = packets.echo_reply_to(request)
    yield about(request, reply)
    whole = about(request, raw)
    yield whole[:begin + 2] + b"\x12\x34" + whole[begin + 4:]  # wrong checksum
    yield packets.error_about(raw, request.destination, HERE[request.family],
                              12 if v4 else 100, 1)  # a kind that says nothing


@test
def foreign_errors_explain_nothing(lab):
    place, daemon = start(lab)
    place.peer.filter("output", *MUTE)
    daemon.wait_up("p4", "p6", value=0)
    before = daemon.metrics()
    responder = Responder(lab, place, foreign_errors)
    settle(lambda: responder.sent > 500, 5, "errors sent", every=0.1)
    time.sleep(0.6)
    after = daemon.metrics()
    for peer in ADDRESSES:
        probe = after.probe(peer)
        check_accounting(probe, in_flight_max=8)
        assert set(probe.failures) == {"timeout"}, f"{peer}: {probe}"
        assert probe.received == before.probe(peer).received
    assert after.total("reachd_packets_ignored_total") > \
        before.total("reachd_packets_ignored_total")


def check_true_errors(lab, quoted):
    place, daemon = start(lab)
    place.peer.filter("output", *MUTE)
    daemon.wait_up("p4", "p6", value=0)
    before = daemon.metrics()

    def answer(request):
        length = None if quoted is None else (20 if request.family == 4 else 40) + quoted
        yield about(request, request.raw, PROHIBITED, length, reporter=OTHER[request.family])
    Responder(lab, place, answer)
    daemon.wait(lambda now: all(now.probe(peer).failures.get("prohibited", 0) > 10
                                for peer in ADDRESSES), 5, "the reason is prohibited")
    after = daemon.metrics()
    for peer in ADDRESSES:
        check_accounting(after.probe(peer), in_flight_max=8)
        assert after.probe(peer).received == before.probe(peer).received


@test
def errors_with_whole_quotes_are_honoured(lab):
    check_true_errors(lab, None)


@test
def errors_with_eight_byte_quotes_are_honoured(lab):
    """RFC 792 asks for no more than the IP header and 8 bytes."""
    check_true_errors(lab, 8)


@test
def error_does_not_end_a_probe_early(lab):
    """An error and then the answer, in time: the probe was answered."""
    place, daemon = start(lab)
    before = daemon.metrics()
    responder = Responder(lab, place, lambda request: [about(request, request.raw)] * 2)
    settle(lambda: responder.sent > 40, 5, "errors sent", every=0.05)
    after = daemon.metrics()
    for peer in ADDRESSES:
        probe = after.probe(peer)
        assert probe.lost == 0 and not probe.failures, probe
        assert probe.received > before.probe(peer).received + 5
        assert after.up(peer) == 1


@test
def noise_of_all_kinds(lab):
    """Random bytes, requests, errors about others, 20,000 of them: no crash, nothing counted."""
    place, daemon = start(lab)
    chance = random.Random(20)
    forger = Forger(place.peer, "eth0", place.hv.mac("eth0"))
    before = daemon.metrics()
    for number in range(20000):
        source, here = (PEER4, HV4) if number % 2 else (PEER6, HV6)
        family = 4 if number % 2 else 6
        kind = chance.choice((0, 3, 11, 12, 129, 1, 2, 3, 4, chance.randrange(256)))
        if kind == packets.ECHO_REQUEST[family]:
            continue  # answering them is the kernel's work
        if kind == 5 and family == 4 or kind in (134, 135, 136, 137):
            continue  # redirects and ND would change this host's own tables
        body = chance.randbytes(chance.choice((0, 1, 4, 8, 20, 28, 48, 56, 64, 200)))
        message = packets.icmp(source, here, kind, chance.randrange(16), chance.randbytes(4), body)
        packet = packets.ip(source, here, message)
        forger.send(packet[:chance.randrange(21, len(packet) + 1)]
                    if number % 7 == 0 else packet)
    after = settle(lambda: (now := daemon.metrics()) and
                   now.probe("p4").received > before.probe("p4").received + 10 and now, 5,
                   "probing goes on")
    for peer in ADDRESSES:
        probe = after.probe(peer)
        check_accounting(probe)
        assert (probe.lost, probe.late, probe.duplicates) == (0, 0, 0), probe
    forger.close()


@test
def another_program_pings_too(lab):
    """ping's own probes to the same peers, and a second reachd, are none of our business."""
    place, daemon = start(lab, interval="50ms")
    second = Daemon(lab, place.hv, configuration(*PEERS, interval="50ms", timeout="400ms",
                                                 web={"listen": ["127.0.0.1:10999"]}), ready=False)
    for address in (PEER4, PEER6, "10.77.0.99"):
        place.hv.run(f"ping -n -q -c 50 -i 0.01 -W 0.2 {address}", check=False)
    settle(lambda: second.metrics(port=10999).up("p6") == 1, 3, "the second is up")
    for scrape in (daemon.metrics(), second.metrics(port=10999)):
        for peer in ADDRESSES:
            probe = scrape.probe(peer)
            check_accounting(probe)
            assert (probe.lost, probe.late, probe.duplicates) == (0, 0, 0), probe
