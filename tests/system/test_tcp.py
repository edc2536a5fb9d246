"""TCP probes against real servers: outcomes, reasons, times, and nothing left behind."""

import time

from lab import places
from lab.daemon import Daemon, configuration
from lab.metrics import Probe, check_accounting
from lab.network import settle
from lab.places import FAR4, FAR6, PEER4, PEER6
from lab.servers import TcpServer
from lab.testing import SNAPSHOT_AGE, test

OPEN, CLOSED, HANGING = 80, 81, 8888
IN_FLIGHT_MAX = 8  # a time-out's worth of probes, and a burst


def probes(interval="200ms", timeout="300ms", ports=()):
    return {"icmp": {"interval": interval, "timeout": timeout},
            "tcp": {"interval": interval, "timeout": timeout, "ports": list(ports)}}


def peer(name, address, *ports, **more):
    return {"name": name, "address": address, "tcp": {"ports": list(ports)}, **more}


def session(scrape, name, port, **labels):
    return Probe(scrape, {"peer": name, "probe": "tcp", "port": str(port), **labels})


def probe_up(scrape, name, port):
    return scrape.get("reachd_probe_up", peer=name, probe="tcp", port=str(port))


def icmp_up(scrape, name):
    return scrape.get("reachd_probe_up", peer=name, probe="icmp")


def ignore_echoes(namespace, ignore=True):
    for key in ("net/ipv4/icmp_echo_ignore_all", "net/ipv6/icmp/echo_ignore_all"):
        namespace.sysctl(key, int(ignore))


@test(quick=True)
def open_refused_and_silent_are_told_apart(lab):
    place = places.switched(lab)
    taking = {address: TcpServer(place.peer, OPEN, address) for address in (PEER4, PEER6)}
    for address in taking:
        TcpServer(place.peer, HANGING, address, hanging=True)
    daemon = Daemon(lab, place.hv, configuration(
        peer("p4", PEER4, OPEN, CLOSED, HANGING), peer("p6", PEER6, OPEN, CLOSED, HANGING),
        probes=probes()))

    def judged(scrape):
        for name in ("p4", "p6"):
            states = [probe_up(scrape, name, port) for port in (OPEN, CLOSED, HANGING)]
            assert states == [1, 0, 0] and icmp_up(scrape, name) == 1, f"{name}: {states}"
            assert min(session(scrape, name, port).sent for port in (OPEN, CLOSED, HANGING)) > 9
        return True
    scrape = daemon.wait(judged, 8, "a verdict on each port")
    for name, address in (("p4", PEER4), ("p6", PEER6)):
        assert scrape.up(name) == 1
        taken, refused, silent = (session(scrape, name, port)
                                  for port in (OPEN, CLOSED, HANGING))
        for one in (taken, refused, silent):
            check_accounting(one, IN_FLIGHT_MAX)
        assert taken.lost == 0 and not taken.failures, taken
        assert taken.rtt_count == taken.received and 0 < taken.rtt_mean < 0.05, taken
        assert refused.lost == 0 and refused.failures == {"refused": refused.received}, refused
        assert refused.rtt_count == 0, f"a refusal's time is of no connection: {refused}"
        assert silent.received == 0 and silent.failures == {"timeout": silent.lost}, silent
        seen = taking[address].counts()
        assert seen["accepted"] >= taken.received - IN_FLIGHT_MAX and seen["bytes"] == 0, seen
        assert seen["ended"] == 0 and seen["reset"] >= seen["accepted"] - 1, \
            f"ended by a reset, which leaves no TIME-WAIT: {seen}"
    waiting = place.hv.run("ss -tanH state time-wait")
    assert f":{OPEN}" not in waiting, waiting


@test
def retransmitted_requests_are_counted(lab):
    """The kernel sends an unanswered SYN again after a second."""
    place = places.switched(lab)
    TcpServer(place.peer, OPEN, PEER4)
    TcpServer(place.peer, HANGING, PEER4, hanging=True)
    daemon = Daemon(lab, place.hv, configuration(
        peer("p4", PEER4, OPEN, HANGING), probes=probes("500ms", "1500ms")))
    name = "reachd_tcp_syn_retransmits_total"
    scrape = daemon.wait(lambda now: now.get(name, peer="p4", port=str(HANGING)) >= 4, 8,
                         "retransmits")
    silent = session(scrape, "p4", HANGING)
    assert scrape.get(name, peer="p4", port=str(HANGING)) <= silent.lost, \
        f"one each within its 1.5 s: {silent}"
    assert scrape.get(name, peer="p4", port=str(OPEN)) == 0
    assert session(scrape, "p4", OPEN).lost == 0


@test
def one_way_that_answers_is_enough(lab):
    """A firewall that drops pings does not make a host look dead, and a refusal is an answer."""
    place = places.switched(lab, peers=3)
    ignore_echoes(place.peer)
    ports = {"open": OPEN, "closed": CLOSED, "silent": HANGING}
    peers = []
    for number, (what, port) in enumerate(ports.items(), 11):
        for family, address in ((4, f"10.77.0.{number}"), (6, f"fd77::{number}")):
            peers.append(peer(f"{what}{family}", address, port))
            if what != "closed":
                TcpServer(place.peer, port, address, hanging=what == "silent")
    daemon = Daemon(lab, place.hv, configuration(*peers, probes=probes()))
    wanted = {"open": (0, 1, 1), "closed": (0, 0, 1), "silent": (0, 0, 0)}

    def judged(scrape):
        for what, port in ports.items():
            for name in (f"{what}4", f"{what}6"):
                states = icmp_up(scrape, name), probe_up(scrape, name, port), scrape.up(name)
                assert states == wanted[what], f"{name}: icmp, tcp and peer up: {states}"
        return True
    daemon.wait(judged, 6, "verdicts on all")
    ignore_echoes(place.peer, False)
    daemon.wait_up("silent4", "silent6", within=3)


@test(alone=True)
def port_opens_and_closes_in_time(lab):
    place = places.switched(lab)
    server = TcpServer(place.peer, OPEN, PEER4)
    daemon = Daemon(lab, place.hv, configuration(peer("p4", PEER4, OPEN),
                                                 probes=probes("1s", "500ms")))
    daemon.wait(lambda now: probe_up(now, "p4", OPEN) == 1, 4, "up")
    for _ in range(2):
        server.close()
        daemon.wait(lambda now: probe_up(now, "p4", OPEN) == 0, 2 + SNAPSHOT_AGE,
                    "down within an interval and a second")
        server = TcpServer(place.peer, OPEN, PEER4)
        daemon.wait(lambda now: probe_up(now, "p4", OPEN) == 1, 2 + SNAPSHOT_AGE,
                    "up within an interval and a second")
    scrape = daemon.metrics()
    assert scrape.up("p4") == 1
    assert scrape.get("reachd_peer_state_changes_total", peer="p4") == 0, "ping always answered"
    one = session(scrape, "p4", OPEN)
    check_accounting(one, IN_FLIGHT_MAX)
    assert one.lost == 0 and one.failures["refused"] >= 2, one


@test(alone=True)
def host_goes_and_comes_back_in_time(lab):
    """Only TCP tells: silence takes a time-out longer than a refusal."""
    place = places.switched(lab)
    TcpServer(place.peer, OPEN, PEER4)
    daemon = Daemon(lab, place.hv, configuration(peer("p4", PEER4, OPEN, icmp=False),
                                                 probes=probes("1s", "500ms")))
    daemon.wait_up("p4")
    place.peer.filter("input", f"tcp dport {OPEN} drop")
    daemon.wait_up("p4", value=0, within=1 + 0.5 + 1 + SNAPSHOT_AGE)
    place.peer.filter("input")
    daemon.wait_up("p4", within=2 + SNAPSHOT_AGE)
    one = session(daemon.metrics(), "p4", OPEN)
    check_accounting(one, IN_FLIGHT_MAX)
    assert set(one.failures) == {"timeout"}, one


@test
def routers_word_is_the_reason(lab):
    place = places.routed(lab)
    for address in (FAR4, FAR6):
        TcpServer(place.peer, OPEN, address)
    daemon = Daemon(lab, place.hv, configuration(
        peer("f4", FAR4, OPEN, icmp=False), peer("f6", FAR6, OPEN, icmp=False), probes=probes()))
    daemon.wait_up("f4", "f6")

    def check_reason(reason):
        scrape = daemon.wait(lambda now: all(
            session(now, name, OPEN).failures.get(reason, 0) >= 3 for name in ("f4", "f6")), 4,
            f"{reason}, not only a time-out")
        for name in ("f4", "f6"):
            check_accounting(session(scrape, name, OPEN), IN_FLIGHT_MAX)

    # Linux sends five such errors of its routing table in a row, then one a second.
    place.router.ip(f"route add prohibit {FAR4}/32", f"route add prohibit {FAR6}/128")
    check_reason("prohibited")
    daemon.wait_up("f4", "f6", value=0)
    place.router.ip(f"route del prohibit {FAR4}/32", f"route del prohibit {FAR6}/128")
    for rejection, reason in (("icmpx host-unreachable", "host_unreachable"),
                              ("icmpx no-route", "net_unreachable"),
                              ("icmpx port-unreachable", "port_unreachable")):
        daemon.wait_up("f4", "f6")
        place.router.filter("forward", f"tcp dport {OPEN} reject with {rejection}")
        check_reason(reason)
        daemon.wait_up("f4", "f6", value=0)
        place.router.filter("forward")
    daemon.wait_up("f4", "f6")
    place.router.filter("forward", f"tcp dport {OPEN} reject with tcp reset")
    check_reason("refused")
    daemon.wait_up("f4", "f6")


@test
def own_trouble_is_not_loss(lab):
    place = places.switched(lab)
    TcpServer(place.peer, OPEN, PEER4)
    daemon = Daemon(lab, place.hv, configuration(
        peer("p4", PEER4, OPEN), peer("nowhere4", "203.0.113.1", OPEN, icmp=False),
        peer("nowhere6", "2001:db8::1", OPEN, icmp=False), probes=probes()), ready=False)
    for name in ("nowhere4", "nowhere6"):
        scrape = daemon.wait(lambda now, who=name: session(now, who, OPEN).failures
                             .get("no_route", 0) >= 5, 5, f"{name}: no_route")
        one = session(scrape, name, OPEN)
        assert (one.sent, one.lost, set(one.failures)) == (0, 0, {"no_route"}), one
    # What was not sent is no sign of life either, nor of death: the other way decides.
    assert daemon.metrics().up("p4") == 1 and session(daemon.metrics(), "p4", OPEN).lost == 0
    place.hv.ip("link set eth0 down")
    settle(lambda: session(daemon.metrics(), "p4", OPEN).failures.get("no_route", 0) >= 3, 4,
           "our own cable is no matter of the peer's")
    before = session(daemon.metrics(), "p4", OPEN)
    check_accounting(before, IN_FLIGHT_MAX)
    time.sleep(1)
    after = session(daemon.metrics(), "p4", OPEN)
    assert (after.sent, after.lost) == (before.sent, before.lost), f"{before}; then {after}"


@test
def own_firewalls_word_is_the_reason(lab):
    """What it rejects has not left the host; of its DROP the kernel tells a socket nothing."""
    place = places.switched(lab)
    for address in (PEER4, PEER6):
        TcpServer(place.peer, OPEN, address)
    daemon = Daemon(lab, place.hv, configuration(peer("p4", PEER4, OPEN), peer("p6", PEER6, OPEN),
                                                 probes=probes()))
    daemon.wait(lambda now: probe_up(now, "p4", OPEN) == probe_up(now, "p6", OPEN) == 1, 4, "up")
    place.hv.filter("output", f"tcp dport {OPEN} reject with icmpx admin-prohibited")
    for name in ("p4", "p6"):
        scrape = daemon.wait(lambda now, who=name: session(now, who, OPEN).failures
                             .get("local_firewall", 0) >= 3, 4, f"{name}: local_firewall")
        one = session(scrape, name, OPEN)
        check_accounting(one, IN_FLIGHT_MAX)
        assert set(one.failures) == {"local_firewall"} and one.lost == 0, one
        daemon.wait(lambda now, who=name: (now.up(who), probe_up(now, who, OPEN)) == (1, 0), 4,
                    f"{name}: its port is out of reach, ping is not")


@test
def source_and_device(lab):
    place = places.switched(lab)
    place.hv.ip("addr add 10.77.0.2/24 dev eth0", "addr add fd77::2/64 dev eth0")
    servers = {address: TcpServer(place.peer, OPEN, address) for address in (PEER4, PEER6)}
    daemon = Daemon(lab, place.hv, configuration(
        peer("p4", PEER4, OPEN, source="10.77.0.2", device="eth0"),
        peer("p6", PEER6, OPEN, source="fd77::2"), probes=probes()))
    daemon.wait(lambda now: probe_up(now, "p4", OPEN) == probe_up(now, "p6", OPEN) == 1, 4, "up")
    assert {client[0] for client in servers[PEER4].clients()} == {"10.77.0.2"}
    assert {client[0] for client in servers[PEER6].clients()} == {"fd77::2"}


@test
def reload_adds_and_removes_ports(lab):
    place = places.switched(lab)
    for port in (OPEN, 443):
        TcpServer(place.peer, port, PEER4)
    daemon = Daemon(lab, place.hv, configuration(peer("p4", PEER4, OPEN), probes=probes()))
    before = daemon.wait(lambda now: session(now, "p4", OPEN).received > 10, 5, "counters")
    daemon.reload(configuration(peer("p4", PEER4, OPEN, 443), probes=probes()))
    after = daemon.wait(lambda now: probe_up(now, "p4", 443) == 1, 3, "the new port is up")
    older, newer = session(before, "p4", OPEN), session(after, "p4", OPEN)
    assert newer.received >= older.received > 10 and newer.lost == 0, f"{older}; then {newer}"
    assert after.probe("p4").received >= before.probe("p4").received
    assert session(after, "p4", 443).sent < newer.sent
    daemon.reload(configuration(peer("p4", PEER4, 443), probes=probes()))
    settle(lambda: not daemon.metrics().all("reachd_probe_sent_total", port=str(OPEN)), 1,
           "the port's series leave with it")
    last = daemon.metrics()
    assert not [key for key in last.series if ("port", str(OPEN)) in key[1]]
    assert session(last, "p4", 443).received >= session(after, "p4", 443).received > 0


@test
def defaults_give_every_peer_ports(lab):
    place = places.switched(lab, peers=2)
    TcpServer(place.peer, OPEN)
    daemon = Daemon(lab, place.hv, configuration(
        {"name": "a", "address": PEER4}, {"name": "b", "address": "10.77.0.12"},
        {"name": "c", "address": PEER6, "tcp": False}, probes=probes(ports=[OPEN])))
    daemon.wait(lambda now: probe_up(now, "a", OPEN) == probe_up(now, "b", OPEN) == 1, 4, "up")
    assert not daemon.metrics().has("reachd_probe_sent_total", peer="c", probe="tcp")


@test(alone=True)
def five_hundred_ports_leave_no_descriptor(lab):
    place = places.switched(lab)
    place.peer.ip("route add local 10.66.0.0/16 dev lo")
    place.hv.ip(f"route add 10.66.0.0/16 via {PEER4}")
    TcpServer(place.peer, OPEN)
    TcpServer(place.peer, HANGING, hanging=True)
    peers = [peer(f"n{n}", f"10.66.{n // 250}.{n % 250 + 1}", OPEN if n % 2 else HANGING,
                  CLOSED, icmp=False) for n in range(250)]
    quiet = configuration(probes=probes("1s", "500ms"))
    daemon = Daemon(lab, place.hv, quiet)
    idle = daemon.metrics().get("process_open_fds")
    daemon.reload(dict(quiet, peers=peers))
    scrape = daemon.wait(lambda now: len(now.all("reachd_peer_up")) == 250
                         and now.total("reachd_probe_sent_total", probe="tcp") > 2500, 15,
                         "each was judged")
    assert all(scrape.all("reachd_peer_up").values()), "an answer of either port is one"
    for n in range(0, 250, 7):
        one = session(scrape, f"n{n}", OPEN if n % 2 else HANGING)
        check_accounting(one, IN_FLIGHT_MAX)
        assert (one.lost, one.failures) == (0, {}) if n % 2 else one.received == 0, one
        assert session(scrape, f"n{n}", CLOSED).lost == 0
    skipped = scrape.all("reachd_probes_skipped_total")
    assert not any(skipped.values()), skipped
    # 125 sockets wait for an answer at most half a second each, and for a burst's beside them.
    assert scrape.get("process_open_fds") < idle + 700
    memory = daemon.resident_bytes()
    time.sleep(3)
    assert daemon.resident_bytes() < memory + (2 << 20), "no memory a connection either"
    daemon.reload(quiet)
    settle(lambda: daemon.metrics().get("process_open_fds") <= idle + 1, 3,
           f"all sockets are closed, as before ({idle})")
    left = place.hv.run("ss -tanH state syn-sent")
    assert not left, f"connections of nobody: {left}"
