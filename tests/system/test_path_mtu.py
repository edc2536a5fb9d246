"""Path MTU: each fault for real, by reachd and by reachctl; cost, changes, and lies about it."""

import json
import os
import socket
import struct
import threading
import time

from lab import packets, places
from lab.capture import Forger
from lab.daemon import Daemon, configuration, copy_for_anyone, run_reachctl
from lab.jumbo import BY_NAME, CASES, HEALTHY, MTU, ROUTED, SMALL, Jumbo, peers
from lab.network import settle
from lab.places import HV4, HV6, PEER4, PEER6
from lab.testing import SNAPSHOT_AGE, test
from test_reachctl import ESCAPE, as_user, in_terminal
from test_service import NOBODY

CODES = {"ok": None, "undetermined": None, "signalled": "E5001", "local": "E5001",
         "peer_egress": "E5001", "black_hole": "E5002"}


def mtu_of(lab, namespace, address, *arguments, **options):
    """`reachctl mtu`, without any daemon."""
    binary = options.pop("binary", os.path.join(lab.binary_dir, "reachctl"))
    return run_reachctl(namespace, ["mtu", address, *arguments], binary, within=15.0, **options)


def mtu_json(lab, namespace, address, *arguments, **options):
    outcome = mtu_of(lab, namespace, address, "--json", *arguments, **options)
    assert not outcome.errors, outcome
    found = json.loads(outcome.output)
    assert outcome.code == (0 if found["mtu"]["verdict"] == "ok" else 1), outcome
    return found


def info(scrape, peer):
    """(verdict, direction, reporter) of a peer."""
    found = list(scrape.all("reachd_path_mtu_info", peer=peer))
    assert len(found) == 1, f"{peer}: {found}"
    labels = dict(found[0])
    return labels["verdict"], labels["direction"], labels.get("reporter", "")


def check_case(scrape, case):
    assert info(scrape, case.name) == (case.verdict, case.direction, case.reporter), \
        f"{case}: {info(scrape, case.name)}"
    found = scrape.get("reachd_path_mtu_bytes", peer=case.name)
    assert found == case.bytes, f"{case}: {found} bytes"
    assert scrape.get("reachd_path_mtu_expected_bytes", peer=case.name) == MTU
    assert scrape.get("reachd_path_mtu_mismatch", peer=case.name) == (case.verdict != "ok")
    return True


def wait_for_verdict(daemon, peer, verdict, within=5.0):
    return daemon.wait(lambda scrape: info(scrape, peer)[0] == verdict, within,
                       f"verdict {verdict} for {peer}")


def start(lab, namespace, *entries, interval="1s", **sections):
    probes = {"icmp": {"interval": "1s", "timeout": "500ms", "payload_bytes": 16},
              "mtu": {"interval": interval, "expected_bytes": MTU}}
    return Daemon(lab, namespace, configuration(*entries, probes=probes, **sections))


def delayed(lab, microseconds):
    """hv1 and the peer, 9000 both, with this delay each way."""
    place = places.wired(lab)
    for space in (place.hv, place.peer):
        space.ip(f"link set eth0 mtu {MTU}")
    place.wire.namespace.ip(f"link set west mtu {MTU}", f"link set east mtu {MTU}")
    place.wire.do(f"delay both {microseconds}")
    return place


# --- Each fault


@test(within=120)
def reachctl_finds_each_fault(lab):
    net = Jumbo(lab)
    for case in CASES:
        found = mtu_json(lab, net.hv, case.address, "--expected", str(MTU))
        mtu = found["mtu"]
        got = (mtu["verdict"], mtu["bytes"], mtu["direction"], mtu["reporter"] or "")
        assert got == (case.verdict, case.bytes, case.direction, case.reporter), (case, found)
        reverse = case.direction == "reverse"
        assert found["code"] == ("E5004" if reverse else CODES[case.verdict]), found
        assert found["sockets"] == "raw" and found["settled"] and found["answers"], found
        assert found["device"] == ("eth1" if "sender" in case.name else "eth0"), found
        tried = {size["bytes"]: size for size in found["sizes"]}
        assert all(size["answered"] <= size["sent"] for size in found["sizes"]), found
        if case.verdict == "black_hole":
            largest = max(size for size, what in tried.items() if what["answered"])
            assert largest in (case.bytes, case.bytes + 4), found
            assert tried[largest + 1]["answered"] == 0 and tried[largest + 1]["sent"] >= 3, found
    assert mtu_json(lab, net.hv, BY_NAME["sender4"].address)["mtu"]["verdict"] == "ok", \
        "1500 is what the device has"


@test(within=120)
def reachd_finds_each_fault(lab):
    net = Jumbo(lab)
    daemon = start(lab, net.hv, *peers(), interval="5s")
    daemon.wait_up(*BY_NAME)
    settle(lambda: all(check_case(daemon.metrics(), case) for case in CASES), 45,
           "all verdicts", every=0.2)
    for _ in range(8):  # and they stay, whatever is lost
        scrape = daemon.metrics()
        assert all(check_case(scrape, case) for case in CASES)
        time.sleep(1)
    # Nothing of the like is said of those that are well.
    lines = [line for line in daemon.log().splitlines() if "path MTU to" in line]
    assert not any(f"to {name} " in line for line in lines for name in
                   ("healthy4", "healthy6", "lossy4", "lossy6")), lines
    for name, words in (("forward4", f"is {SMALL}, {MTU} expected: larger packets vanish silently, "
                                    "towards the peer"),
                        ("reverse6", "vanish silently, on the way back"),
                        ("routed4", f"is {ROUTED}, {MTU} expected: too big for a router, towards")):
        assert sum(f"to {name} " in line and words in line for line in lines) == 1, (name, lines)


@test(within=90)
def a_slow_path(lab):
    """50 ms there and back: the time-outs follow, the verdicts are the same."""
    place = delayed(lab, 25_000)
    for address in (PEER4, PEER6):
        found = mtu_json(lab, place.hv, address)
        assert found["mtu"]["verdict"] == "ok" and found["mtu"]["bytes"] == MTU, found
    place.peer.ip("link set eth0 mtu 3000")
    for address in (PEER4, PEER6):
        found = mtu_json(lab, place.hv, address)["mtu"]
        got = (found["verdict"], found["bytes"], found["direction"])
        assert got == ("black_hole", 3000, "forward"), found
        assert found["largest_fragment_bytes"] in (None, *range(2990, 3001)), found
    daemon = start(lab, place.hv, {"name": "p4", "address": PEER4},
                   {"name": "p6", "address": PEER6})
    for peer in ("p4", "p6"):
        scrape = wait_for_verdict(daemon, peer, "black_hole", within=20)
        assert scrape.get("reachd_path_mtu_bytes", peer=peer) == 3000


# --- Cost and times


@test(within=90)
def a_healthy_peer_costs_two_packets_an_interval(lab):
    net = Jumbo(lab)
    seen = places.capture(lab, net.hv)
    daemon = start(lab, net.hv, *peers("healthy4", "healthy6"))
    for peer in ("healthy4", "healthy6"):
        wait_for_verdict(daemon, peer, "ok")
    seen.clear()
    before = daemon.metrics()
    began = time.monotonic()
    time.sleep(8)
    seconds = time.monotonic() - began
    after = daemon.metrics()
    for peer in ("healthy4", "healthy6"):
        case = BY_NAME[peer]
        echoes = [echo for echo in seen.requests(case.address) if len(echo.payload) > 16]
        large = sum(len(echo.raw) == MTU for echo in echoes)
        assert large * 2 == len(echoes) or abs(large * 2 - len(echoes)) == 1, len(echoes)
        assert abs(large - seconds) <= 1.5, f"{large} large packets in {seconds:.1f} s"
        sent = after.total("reachd_path_mtu_packets_total", peer=peer) - \
            before.total("reachd_path_mtu_packets_total", peer=peer)
        assert abs(sent - 2 * seconds) <= 4, f"{sent} packets in {seconds:.1f} s"
        assert after.total("reachd_path_mtu_packets_total", peer=peer, result="lost") == 0
        assert all(echo.dont_fragment for echo in echoes)


@test(alone=True, within=90)
def a_black_hole_is_measured_within_a_second(lab):
    net = Jumbo(lab)
    names = ("healthy4", "healthy6")
    daemon = start(lab, net.hv, *peers(*names))
    for peer in names:
        wait_for_verdict(daemon, peer, "ok")
    seen = places.capture(lab, net.hv)
    net.hole(HEALTHY, above=2345)
    cut = time.time()
    told = {}

    def all_are_told():
        scrape = daemon.metrics()
        for peer in names:
            if info(scrape, peer)[0] == "black_hole":
                told.setdefault(peer, time.time())
        return len(told) == len(names) and scrape

    scrape = settle(all_are_told, 6, "both holes told")
    for peer in names:
        assert scrape.get("reachd_path_mtu_bytes", peer=peer) == 2345
        assert info(scrape, peer)[1] == "forward"
        lost = [echo.at for echo in seen.unanswered(BY_NAME[peer].address)
                if len(echo.raw) == MTU and echo.at > cut - 0.05]
        # A cycle has failed after its three attempts, 100 ms apart.
        took = told[peer] - (lost[2] + 0.1)
        assert took < 1.0 + SNAPSHOT_AGE, f"{peer}: told after {took:.3f} s"
    net.heal()
    net.hv.ip("link set eth0 mtu 8999", f"link set eth0 mtu {MTU}")  # ask now, not in 10 minutes
    for peer in names:
        wait_for_verdict(daemon, peer, "ok")


@test
def a_change_of_a_device_is_noticed_at_once(lab):
    net = Jumbo(lab)
    daemon = start(lab, net.hv, *peers("healthy4", "healthy6"), interval="60s")
    for peer in ("healthy4", "healthy6"):
        wait_for_verdict(daemon, peer, "ok")
    for mtu, verdict in ((SMALL, "local"), (MTU, "ok")):
        net.hv.ip(f"link set eth0 mtu {mtu}")
        for peer in ("healthy4", "healthy6"):
            scrape = wait_for_verdict(daemon, peer, verdict, within=1.0 + SNAPSHOT_AGE)
            assert scrape.get("reachd_path_mtu_bytes", peer=peer) == mtu
    found = daemon.api("peers")["peers"]
    assert all(peer["mtu"]["device"] is None for peer in found), found
    by_itself = mtu_json(lab, net.hv, BY_NAME["healthy4"].address)["mtu"]
    assert by_itself == found[0]["mtu"], f"reachctl {by_itself}, the API {found[0]['mtu']}"


# --- Lies


def lies_about(echo):
    """Packet-too-big messages that cannot be true, about a request that was just sent."""
    if echo.family == 6:
        router, here, least, kind, header, destination = "fd77::fe", HV6, 1280, (2, 0), 40, 24
    else:
        router, here, least, kind, header, destination = "10.77.0.254", HV4, 68, (3, 4), 20, 16

    def message(quote, mtu):
        return packets.error_about(quote, router, here, *kind, struct.pack("!I", mtu), 600)

    def changed(at, data):
        return echo.raw[:at] + data + echo.raw[at + len(data):]

    yield message(echo.raw, least - 1)
    yield message(echo.raw, len(echo.raw))
    yield message(echo.raw[:header + 8], 60_000)
    yield message(changed(header + 8, bytes(16)), 1400)  # not our cookie
    yield message(changed(header - 1, b"\x63"), 1400)  # about a packet to somebody else
    yield message(changed(destination, b"\x63")[:header + 8], 1400)
    yield message(changed(header + 4, struct.pack("!H", echo.identifier ^ 0x5a5a)), 1400)
    yield message(echo.raw[:header + 3], 1400)


class Liar:
    """Sees the large requests as they leave, and lies about them before the peer can answer."""

    def __init__(self, lab, place):
        self._seen = places.capture(lab, place.hv)
        self._forger = Forger(place.wire.namespace, "west", place.hv.mac("eth0"))
        self._ends = threading.Event()
        self.sent = 0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        lab.at_end(self.stop)

    def _run(self):
        while not self._ends.is_set():
            for echo in self._seen.drain():
                if not echo.reply and echo.outgoing and len(echo.raw) > SMALL:
                    for packet in lies_about(echo):
                        self._forger.send(packet)
                        self.sent += 1
            self._seen.echoes.clear()
            time.sleep(0.001)

    def stop(self):
        self._ends.set()
        self._thread.join()


@test
def a_peer_that_limits_its_errors(lab):
    """Silence to a large datagram says nothing where nobody answers a small one either."""
    net = Jumbo(lab)
    for key in ("net/ipv4/icmp_ratelimit", "net/ipv6/icmp/ratelimit"):
        net.peer.sysctl(key, 60_000)
    for name in ("reverse4", "reverse6", "forward4", "forward6"):
        case = BY_NAME[name]
        with net.hv.inside():
            spender = socket.socket(socket.AF_INET6 if case.family == 6 else socket.AF_INET,
                                    socket.SOCK_DGRAM)
        for port in range(40_000, 40_020):  # what it may say at once is said
            spender.sendto(b"x", (case.address, port))
        spender.close()
        mtu = mtu_json(lab, net.hv, case.address)["mtu"]
        assert mtu["bytes"] == SMALL and mtu["verdict"] == "black_hole", (name, mtu)
        # That large answers do arrive needs no datagram.
        wanted = "unknown" if name.startswith("reverse") else "forward"
        assert mtu["direction"] == wanted, (name, mtu)


@test
def forged_messages_are_ignored_and_counted(lab):
    place = delayed(lab, 30_000)
    names = ("p4", "p6")
    daemon = start(lab, place.hv, {"name": "p4", "address": PEER4},
                   {"name": "p6", "address": PEER6})
    for peer in names:
        wait_for_verdict(daemon, peer, "ok")
    before = daemon.metrics()
    liar = Liar(lab, place)
    settle(lambda: liar.sent >= 96, 20, "lies told", every=0.1)
    liar.stop()
    time.sleep(SNAPSHOT_AGE)
    after = daemon.metrics()
    for peer in names:
        assert info(after, peer) == ("ok", "none", ""), info(after, peer)
        assert after.get("reachd_path_mtu_bytes", peer=peer) == MTU
        assert after.total("reachd_path_mtu_packets_total", peer=peer, result="too_big") == 0
        assert after.total("reachd_path_mtu_packets_total", peer=peer, result="lost") == 0
    ignored = after.total("reachd_packets_ignored_total") \
        - before.total("reachd_packets_ignored_total")
    # Two of eight are kept from us by the kernel's filter: another identifier, or none. And what
    # is said of an answer that came meanwhile is no lie.
    assert ignored >= liar.sent * 5 / 8, f"{liar.sent} lies, {ignored} counted"
    assert not [line for line in daemon.log().splitlines() if "path MTU to" in line]


# --- reachctl mtu


@test(quick=True)
def reachctl_mtu_in_words(lab):
    net = Jumbo(lab)
    outcome = mtu_of(lab, net.hv, BY_NAME["forward4"].address)
    assert outcome.code == 1 and not outcome.errors and ESCAPE not in outcome.output, outcome
    address = BY_NAME["forward4"].address
    assert outcome.lines[0] == f"MTU to {address} from {HV4} by eth0, expected {MTU}", outcome
    text = outcome.output
    assert "\n    9000  0 of " in text and "answered, no ICMP message\n" in text, text
    assert f"\n    {SMALL}  " in text and f"\n    {SMALL + 1}  0 of " in text, text
    assert "\n✖ E5002 mtu_black_hole: largest packet that passes is 1500 bytes\n" in text, text
    assert f"\n  Direction  towards {address}; large answers from {address} arrive whole\n" in text
    assert "\n  Asked by   raw sockets\n" in text and "\n  Mend       find the hop" in text, text
    outcome = mtu_of(lab, net.hv, BY_NAME["routed4"].address)
    assert ", too big: 10.77.0.254 says 1400\n" in outcome.output, outcome
    outcome = mtu_of(lab, net.hv, "10.77.0.99")
    assert outcome.code == 1 and "○ nothing answers: the MTU is not known" in outcome.output
    outcome = mtu_of(lab, net.hv, "127.0.0.1", "--expected=9000")
    assert outcome.code == 0 and "● packets of 9000 bytes pass, both ways" in outcome.output
    link_local = next(found["local"] for link in net.peer.json("ip -j -6 addr show scope link")
                      for found in link.get("addr_info", []) if "local" in found)
    outcome = mtu_of(lab, net.hv, f"{link_local}%eth0")
    assert outcome.code == 0 and f"MTU to {link_local}%eth0 from fe80::" in outcome.output, outcome


@test
def reachctl_mtu_on_a_terminal(lab):
    net = Jumbo(lab)
    daemon = Daemon(lab, net.hv, configuration())
    code, output = in_terminal(daemon, ["mtu", BY_NAME["forward4"].address])
    assert code == 1, output
    drawn, _, rest = output.partition("MTU to ")
    assert "sent, " in drawn and "\n" not in drawn, repr(output)
    assert drawn.endswith(" \r") and drawn.rsplit("\r", 2)[1].strip() == "", repr(drawn)
    assert f"{ESCAPE}[31m✖" in rest and f"{ESCAPE}[31mmtu_black_hole" in rest, repr(rest)
    code, output = in_terminal(daemon, ["mtu", BY_NAME["forward4"].address, "--json"])
    assert json.loads(output)["code"] == "E5002", output


@test
def reachctl_mtu_without_privileges(lab):
    net = Jumbo(lab)
    binary = copy_for_anyone(lab, "reachctl")
    nobody = {"binary": binary, "wrapper": as_user(NOBODY, NOBODY)}
    outcome = mtu_of(lab, net.hv, BY_NAME["healthy4"].address, **nobody)
    assert outcome.code == 3 and not outcome.output, outcome
    assert outcome.errors.startswith("reachctl: cannot send ICMP ("), outcome
    assert "ping_group_range" in outcome.errors and outcome.errors.count("\n") == 1, outcome
    net.hv.sysctl("net/ipv4/ping_group_range", f"{NOBODY} {NOBODY}")
    for name in ("healthy4", "healthy6", "forward4", "forward6", "reverse4", "routed4", "routed6",
                 "egress4", "egress6"):
        case = BY_NAME[name]
        found = mtu_json(lab, net.hv, case.address, **nobody)
        assert found["sockets"] == "ping", found
        mtu = found["mtu"]
        assert (mtu["verdict"], mtu["bytes"]) == (case.verdict, case.bytes), (case, found)
        assert mtu["direction"] in (case.direction, "unknown"), (case, found)
    outcome = mtu_of(lab, net.hv, BY_NAME["forward4"].address, **nobody)
    assert "Asked by   ping sockets; without CAP_NET_RAW" in outcome.output, outcome


@test
def reachctl_mtu_says_what_is_wrong(lab):
    place = places.switched(lab)
    cases = (
        (["no-such-host.invalid"], 2, "reachctl: no host 'no-such-host.invalid': "),
        (["10.99.9.9"], 1, "reachctl: no route to 10.99.9.9; see: ip route get 10.99.9.9"),
        ([PEER4, "--source", "10.1.2.3"], 1, "reachctl: no route to 10.77.0.11 from 10.1.2.3; "),
        ([PEER4, "--source", "hv1"], 2, "reachctl: --source=hv1: want an address of this host"),
        ([PEER6, "--source", HV4], 2, "reachctl: --source=10.77.0.1 and fd77::11 are of "),
        ([PEER4, "--device", "eth"], 2, "reachctl: no device 'eth'; did you mean eth0?"),
        ([PEER4, "--device", "nonsense"], 2, "reachctl: no device 'nonsense'; see them: ip link"),
        (["fe80::1"], 2, "reachctl: fe80::1 may be on any link: write fe80::1%DEVICE"),
        (["224.0.0.1"], 2, "reachctl: 224.0.0.1 is no address of one host"),
        ([PEER6, "--expected=1279"], 2, "reachctl: --expected=1279: no path of IPv6 has less"),
        ([PEER4, "--expected=65536"], 2, "reachctl: --expected=65536: want 68 to 65535 bytes"),
    )
    for arguments, code, beginning in cases:
        outcome = mtu_of(lab, place.hv, *arguments)
        assert outcome.code == code and outcome.errors.startswith(beginning), (arguments, outcome)
        assert not outcome.output and outcome.errors.count("\n") == 1, outcome
    found = mtu_json(lab, place.hv, PEER4, "--device", "eth0", "--source", HV4)
    assert (found["device"], found["source"], found["mtu"]["bytes"]) == ("eth0", HV4, 1500), found
