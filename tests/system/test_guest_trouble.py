"""Guests where the daemon lacks something: privileges, descriptors, time, its last moments."""

import json
import os
import signal
import time

from lab import guest, places
from lab.daemon import Daemon, configuration, copy_for_anyone
from lab.guest_view import SETTLE_TIME, guests_only, inventory, speak, wait_states
from lab.network import settle
from lab.places import HV4, PEER4
from lab.slow_files import SlowFiles
from lab.testing import test
from test_service import as_nobody

MAC = "52:54:00:00:00:0b"
SELF = {"name": "self", "address": "127.0.0.1"}


def lines_with(daemon, *words):
    return [line for line in daemon.log().splitlines() if all(word in line for word in words)]


@test
def guests_without_raw_sockets(lab):
    """Nothing can be heard on ports and nobody asked there; what the bridge learns, and pings of
    the guests that the host's own neighbour table knows, are still something."""
    hv = guest.hypervisor(lab, f"{HV4}/24", link_local=False)
    hv.sysctl("net/ipv4/ping_group_range", "0 2147483647")
    guests = [guest.TapGuest(lab, hv, f"vnet{n}", f"10.77.0.{20 + n}", mac=f"52:54:00:00:00:2{n}")
              for n in range(3)]
    daemon = Daemon(lab, hv, configuration(SELF, guests=True), wrapper=as_nobody(),
                    binary=copy_for_anyone(lab))
    daemon.wait_up("self", within=10)
    for one in guests:
        settle(lambda to=one.do("addresses")[0]: places.ping(hv, to, count=1).received, 10,
               "a ping")

    def judged(scrape):
        for one in guests:
            address = one.do("addresses")[0]
            assert scrape.label_values("reachd_probe_up", "probe", address=address) == ["icmp"]
            assert scrape.get("reachd_peer_up", address=address) == 1, address
            assert scrape.has("reachd_peer_info", address=address, kind="guest", device=one.port)
        return True
    daemon.wait(judged, 20, "the guests, by ping")
    assert {one["macs"][0] for one in inventory(daemon).values()} == {one.mac for one in guests}
    said = lines_with(daemon, "cannot be asked by ARP")
    assert len(said) == 1 and "not permitted" in said[0], said
    assert len(lines_with(daemon, "CAP_NET_RAW")) == 1, daemon.log()
    scrape = daemon.metrics()
    assert scrape.get("reachd_discovery_errors_total", source="guests") >= len(guests)
    assert scrape.get("reachd_peer_up", peer="self") == 1
    assert scrape.total("reachd_probe_lost_total") == 0
    assert len(daemon.log().splitlines()) < 20, daemon.log()


@test(within=120)
def ports_beyond_the_descriptors(lab):
    """It lives, serves, says so once and asks whom it can."""
    hv = guest.hypervisor(lab, link_local=False)
    count, descriptors = 200, 160
    crowd = guest.TapCrowd(lab, hv, count)
    daemon = Daemon(lab, hv, configuration(SELF, guests=True),
                    wrapper=["prlimit", f"--nofile={descriptors}:{descriptors}", "--"],
                    ready=False)
    daemon.wait_ready(within=20)
    for place, one in enumerate(crowd.guests):
        crowd.do(place, "ask", sender=one["addresses"][0], target="10.77.255.254")

    def judged(scrape):
        up = scrape.all("reachd_probe_up", probe="arp")
        assert len(up) >= descriptors // 4, f"{len(up)} are asked"  # the share of ports
        assert set(up.values()) == {1}, up
        return True
    daemon.wait(judged, 20, "some guests are up")
    daemon.wait_up("self", within=10)
    said = lines_with(daemon, "cannot be asked by ARP")
    assert len(said) == 1 and "oo many" in said[0], said
    scrape = daemon.metrics()
    asked = len(scrape.all("reachd_probe_up", probe="arp"))
    assert scrape.get("reachd_discovery_errors_total", source="guests") >= count - asked
    assert scrape.get("reachd_peer_up", peer="self") == 1
    assert scrape.total("reachd_probe_lost_total") == 0
    assert len(daemon.log().splitlines()) < 30, daemon.log()
    assert daemon.reachctl("guests").code in (0, 1), "the control socket answers"


@test
def stops_while_names_are_slow_to_find(lab):
    hv = guest.hypervisor(lab, link_local=False)
    slow = SlowFiles(lab, [f"vm{n}.xml" for n in range(500)], seconds_each=1.5)
    inside = guest.TapGuest(lab, hv, "vnet0", PEER4, mac=MAC)
    daemon = Daemon(lab, hv, guests_only())
    speak(inside, PEER4)
    settle(lambda: slow.looked_up, 10, "it looks for names")
    assert daemon.metrics().has("reachd_build_info"), "meanwhile it serves"
    assert daemon.stop() == 0
    assert slow.looked_up <= 2, "it has stopped looking"


@test(within=120)
def run_time_file_survives_being_killed(lab):
    hv = guest.hypervisor(lab, link_local=False)
    inside = guest.TapGuest(lab, hv, "vnet0", PEER4, mac=MAC)
    daemon = Daemon(lab, hv, guests_only())
    speak(inside, PEER4)
    wait_states(daemon, MAC, 1, PEER4, within=SETTLE_TIME + 10)
    path = os.path.join(daemon.runtime, "guests.json")

    def kept():
        assert os.path.exists(path), "no file yet"
        with open(path, encoding="utf-8") as file:
            return PEER4 in json.dumps(json.load(file))
    settle(kept, 45, "the address is in the file", every=0.2)
    for wait in (0.0, 0.05, 0.3, 1.0):
        daemon.may_end = True
        daemon.send_signal(signal.SIGKILL)
        daemon.process.wait(5)
        assert kept(), "the file is whole, whatever was going on"
        daemon = Daemon(lab, hv, guests_only(),
                        environment={"RUNTIME_DIRECTORY": os.path.dirname(path)}, ready=False)
        time.sleep(wait)  # killed again after this
    daemon.wait_ready(within=10)

    def known():
        found = inventory(daemon)["vnet0"]["addresses"]
        assert [(one["address"], one["how"]) for one in found] == [(PEER4, "run_time_file")], found
        return True
    settle(known, 10, "known again, though the guest has not said a word")
    scrape = wait_states(daemon, MAC, 1, PEER4, within=SETTLE_TIME + 10)
    assert scrape.total("reachd_probe_lost_total") == 0
    left = set(os.listdir(os.path.dirname(path))) - {"guests.json", "control.sock"}
    assert not left, f"left in the run-time directory: {left}"
