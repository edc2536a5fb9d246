"""The laboratory itself: its wire, routers and filters do what the other tests believe."""

import os
import time

from lab import packets, places
from lab.places import FAR4, FAR6, HV4, PEER4, PEER6
from lab.testing import test


@test(quick=True)
def switch_carries_both_families(lab):
    place = places.switched(lab, peers=2)
    for address in (PEER4, PEER6, "10.77.0.12", "fd77::12"):
        assert places.ping(place.hv, address, count=2).received == 2


@test
def wire_delays(lab):
    place = places.wired(lab)
    assert places.ping(place.hv, PEER4).mean < 0.005
    place.wire.do("delay both 10000")
    for address in (PEER4, PEER6):
        rtt = places.ping(place.hv, address).minimum
        assert 0.020 <= rtt < 0.025, f"{rtt} s through 10 ms each way"


@test
def wire_drops_and_duplicates(lab):
    place = places.wired(lab)
    place.wire.do("drop east 3")
    assert places.ping(place.hv, PEER4, wait=0.3).received == 2
    place.wire.do("duplicate west 2")
    assert places.ping(place.hv, PEER6).duplicates == 2
    place.wire.do("every east 4")
    assert places.ping(place.hv, PEER4, count=20, interval=0.02, wait=0.3).received == 15
    counts = place.wire.counts()
    assert (counts["dropped"], counts["duplicated"]) == (8, 2), counts
    place.wire.do("cut both")
    assert places.ping(place.hv, PEER4, count=2, wait=0.3).received == 0


@test
def wire_holds_a_reply_back(lab):
    place = places.wired(lab)
    seen = places.capture(lab, place.hv)
    places.ping(place.hv, PEER4, count=1)
    place.wire.do("hold west 1 150000")
    places.ping(place.hv, PEER4, count=5, interval=0.05)
    order = [reply.sequence for reply in seen.replies(PEER4)][1:]
    assert sorted(order) == [1, 2, 3, 4, 5] and order[0] != 1, order


@test
def router_forwards_and_routes_loop(lab):
    place = places.routed(lab)
    assert places.ping(place.hv, FAR4).received == 5
    assert places.ping(place.hv, FAR6).received == 5
    place.beyond.ip("route add 10.66.0.0/24 via 10.99.0.1")
    place.router.ip("route add 10.66.0.0/24 via 10.99.0.2")
    output = place.hv.run("ping -n -c 1 -W 1 10.66.0.1", check=False)
    assert "Time to live exceeded" in output, output


@test
def forged_packets_are_well_formed(lab):
    place = places.switched(lab)
    seen = places.capture(lab, place.hv)
    places.ping(place.hv, PEER4, count=1)
    places.ping(place.hv, PEER6, count=1)
    for request, reply in zip(seen.requests(), seen.replies()):
        forged = packets.parse_echo(packets.echo_reply_to(request))
        assert forged.payload == reply.payload and forged.key == reply.key
        message = packets.echo_reply_to(request)[20 if request.family == 4 else 40:]
        assert message == reply.raw[20 if request.family == 4 else 40:], "checksum"
    assert len(seen.replies()) == 2
    assert [abs(echo.at - time.time()) < 5 for echo in seen.drain()] == [True] * 4


@test
def nothing_is_left_in_the_file_system(lab):
    names = os.listdir("/run/netns") if os.path.isdir("/run/netns") else []
    place = places.switched(lab)
    assert (os.listdir("/run/netns") if os.path.isdir("/run/netns") else []) == names
    assert place.hv.run("ip -4 addr show dev eth0").count(HV4) == 1
