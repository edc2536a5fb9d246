"""SIGHUP: what did not change keeps its counters, a bad file is refused whole."""

import os
import signal
import socket
import time

from lab import places, web
from lab.daemon import PORT, Daemon, configuration
from lab.network import settle
from lab.places import PEER4, PEER6
from lab.testing import test

P4 = {"name": "p4", "address": PEER4}
P6 = {"name": "p6", "address": PEER6}
P12 = {"name": "p12", "address": "10.77.0.12"}


def check_counters_went_on(before, after, *peers):
    for peer in peers:
        older, newer = before.probe(peer), after.probe(peer)
        assert newer.sent >= older.sent and newer.received >= older.received > 0, \
            f"{peer}: {older}; then {newer}"
        assert newer.lost == older.lost
        assert before.get("reachd_peer_last_change_timestamp_seconds", peer=peer) == \
            after.get("reachd_peer_last_change_timestamp_seconds", peer=peer)


@test(quick=True)
def peers_come_and_go(lab):
    place = places.switched(lab, peers=3)
    daemon = Daemon(lab, place.hv, configuration(P4, P6, interval="100ms"))
    daemon.wait_up("p4", "p6")
    settle(lambda: daemon.probe("p4").received > 10, 3, "counters")
    before = daemon.metrics()
    daemon.reload(configuration(P12, P4, P6, interval="100ms"))
    after = daemon.wait_up("p4", "p6", "p12")
    check_counters_went_on(before, after, "p4", "p6")
    before = daemon.metrics()
    daemon.reload(configuration(P4, interval="100ms"))
    after = daemon.wait(lambda now: not now.has("reachd_peer_info", peer="p6"), 1, "p6 is gone")
    assert set(after.label_values("reachd_probe_sent_total", "peer")) == {"p4"}
    left = [key for key in after.series if {("peer", "p6"), ("peer", "p12")} & key[1]]
    assert not left, f"series of removed peers: {left}"
    check_counters_went_on(before, after, "p4")
    assert after.get("reachd_peers", kind="host") == 1


@test
def no_probe_is_lost_or_late_for_a_reload(lab):
    place = places.switched(lab)
    seen = places.capture(lab, place.hv)
    daemon = Daemon(lab, place.hv, configuration(P4, P6, interval="50ms", mtu=False))
    daemon.wait_up("p4", "p6")
    seen.clear()
    for _ in range(5):
        daemon.reload(configuration(P4, P6, interval="50ms", mtu=False))
        time.sleep(0.2)
    for peer, address in (("p4", PEER4), ("p6", PEER6)):
        times = [echo.at for echo in seen.requests(address)]
        gap = max(after - before for before, after in zip(times, times[1:]))
        assert gap < 0.15, f"{peer}: {gap} s without a probe"
        assert daemon.probe(peer).lost == 0


@test
def options_of_a_peer_change(lab):
    place = places.switched(lab, peers=3)
    seen = places.capture(lab, place.hv)
    daemon = Daemon(lab, place.hv, configuration(P4, P6, interval="1s", mtu=False))
    daemon.wait_up("p4", "p6")
    quick = dict(P4, icmp={"interval": "50ms", "payload_bytes": 200, "dscp": 8},
                 labels={"rack": "r9"})
    daemon.reload(configuration(quick, P6, interval="1s", mtu=False))
    daemon.wait(lambda now: now.has("reachd_peer_info", peer="p4", rack="r9"), 2, "new label")
    seen.clear()
    time.sleep(1)
    requests = seen.requests(PEER4)
    assert len(requests) > 12, f"{len(requests)} probes in a second"
    assert {(len(echo.payload), echo.traffic_class) for echo in requests[2:]} == {(200, 32)}
    daemon.reload(configuration(dict(P4, address="10.77.0.13"), P6, interval="1s", mtu=False))
    scrape = daemon.wait(lambda now: now.up("p4") == 1, 3, "up at its new address")
    assert scrape.label_values("reachd_peer_up", "address", peer="p4") == ["10.77.0.13"]


@test
def bad_files_are_refused_whole(lab):
    place = places.switched(lab, peers=3)
    daemon = Daemon(lab, place.hv, configuration(P4, P6, interval="100ms"))
    daemon.wait_up("p4", "p6")
    bad = (configuration(P12, interval="100ms", surprise=1), '{ "peers": [',
           configuration(P12, dict(P12), interval="100ms"),
           configuration(dict(P12, adress="x"), interval="-1s"), "")
    for number, config in enumerate(bad):
        daemon.reload(configuration(P4, P6, interval="100ms"))
        before = daemon.metrics()
        daemon.reload(config, good=False)
        after = daemon.metrics()
        assert not after.has("reachd_peer_info", peer="p12"), f"{number}: taken in part"
        name = "reachd_config_last_reload_success_timestamp_seconds"
        assert after.get(name) == before.get(name), f"{number}"
        time.sleep(0.25)
        check_counters_went_on(before, daemon.metrics(), "p4", "p6")
    assert "adress" in daemon.log() and "address" in daemon.log(), "the nearest key is named"
    daemon.reload(configuration(P4, P12, interval="100ms"))
    daemon.wait_up("p4", "p12")


@test
def missing_file_is_refused_too(lab):
    place = places.switched(lab)
    daemon = Daemon(lab, place.hv, configuration(P4, interval="100ms"))
    daemon.wait_up("p4")
    os.remove(daemon.config_path)
    daemon.send_signal(signal.SIGHUP)
    daemon.wait(lambda now: now.get("reachd_config_last_reload_successful") == 0, 2, "refused")
    daemon.wait_up("p4")


@test
def listener_moves(lab):
    place = places.switched(lab)
    daemon = Daemon(lab, place.hv, configuration(P4, interval="100ms"))
    before = daemon.wait_up("p4")
    moved = configuration(P4, interval="100ms", web={"listen": ["127.0.0.1:10900", "[::1]:10901"]})
    daemon.write_config(moved)
    daemon.send_signal(signal.SIGHUP)
    settle(lambda: daemon.get("/healthz", port=10900).status == 200, 2, "the new port answers")
    assert daemon.get("/healthz", port=10901, address="::1").status == 200

    def refused():
        try:
            web.connect(place.hv, PORT).close()
            return False
        except ConnectionRefusedError:
            return True
    settle(refused, 2, "the old port is closed")
    check_counters_went_on(before, daemon.metrics(port=10900), "p4")


@test
def listener_in_use_is_refused_whole(lab):
    place = places.switched(lab, peers=2)
    with place.hv.inside():
        other = socket.create_server(("127.0.0.1", 10900))
    daemon = Daemon(lab, place.hv, configuration(P4, interval="100ms"))
    daemon.wait_up("p4")
    daemon.reload(configuration(P4, P12, interval="100ms", web={"listen": ["127.0.0.1:10900"]}),
                  good=False)
    assert not daemon.metrics().has("reachd_peer_info", peer="p12"), "taken in part"
    assert "10900" in daemon.log(), "the log names the address"
    other.close()
    daemon.write_config(configuration(P4, P12, interval="100ms",
                                      web={"listen": ["127.0.0.1:10900"]}))
    daemon.send_signal(signal.SIGHUP)
    settle(lambda: daemon.metrics(port=10900).up("p12") == 1, 3, "taken once the port is free")


@test
def many_signals_at_once(lab):
    place = places.switched(lab)
    daemon = Daemon(lab, place.hv, configuration(P4, interval="100ms"))
    before = daemon.wait_up("p4")
    for _ in range(200):
        daemon.send_signal(signal.SIGHUP)
    time.sleep(0.5)
    check_counters_went_on(before, daemon.wait_up("p4"), "p4")
    assert daemon.metrics().get("reachd_config_last_reload_successful") == 1


@test
def what_needs_a_restart_says_so(lab):
    place = places.switched(lab)
    daemon = Daemon(lab, place.hv, configuration(P4, interval="100ms", host={"name": "one"}))
    daemon.wait_up("p4")
    daemon.reload(configuration(P4, interval="100ms", host={"name": "two"}))
    settle(lambda: any("host" in line and "restart" in line
                       for line in daemon.log().splitlines()), 2, "the log says: restart")
    assert daemon.metrics().label_values("reachd_host_info", "host") == ["one"]


@test
def reloads_leave_nothing_behind(lab):
    place = places.switched(lab, peers=3)
    daemon = Daemon(lab, place.hv, configuration(P4, interval="100ms"))
    daemon.wait_up("p4")
    files = daemon.metrics().get("process_open_fds")
    for number in range(12):
        port = 10870 + number % 2
        daemon.write_config(configuration(P4, *([P12] * (number % 2)), interval="100ms", web={
            "listen": [f"127.0.0.1:{PORT}", f"127.0.0.1:{port}"]}))
        daemon.send_signal(signal.SIGHUP)
        settle(lambda: daemon.get("/healthz", port=port).status == 200, 2, f"port {port}")
    after = settle(lambda: (now := daemon.metrics()) and
                   now.get("process_open_fds") <= files + 2 and now, 3, "descriptors are closed")
    assert after.probe("p4").lost == 0
