"""The laboratory's guests and servers do what the other tests believe."""

import time

from lab import frames, guest, places, servers
from lab.machine import virtual_machine
from lab.network import settle
from lab.places import HV4, HV6, PEER4, PEER6
from lab.testing import test

MAC = "52:54:00:00:00:0b"
OTHER_MAC = "02:00:00:00:00:01"
# Of no guest in another test at the same time: its process gives its name to whoever has it.
VM_MAC = "52:54:00:00:56:01"


@test
def servers_are_open_closed_and_hanging(lab):
    place = places.switched(lab)
    for address in (PEER4, PEER6):
        taking = servers.TcpServer(place.peer, 80, address)
        servers.TcpServer(place.peer, 8888, address, hanging=True)
        assert [servers.connect(place.hv, address, port) for port in (80, 79, 8888)] == \
            ["open", "refused", "timeout"], address
        settle(lambda: taking.counts()["ended"] == 1, 1, "the end of the connection is seen")
        assert taking.counts() == {"accepted": 1, "reset": 0, "ended": 1, "bytes": 0, "open": 0}
        assert taking.clients()[0][0] == {PEER4: HV4, PEER6: HV6}[address]
        taking.close()
        assert servers.connect(place.hv, address, 80) == "refused"


@test
def namespace_guest(lab):
    hv = guest.hypervisor(lab, f"{HV4}/24", f"{HV6}/64")
    inside = guest.NamespaceGuest(lab, hv, "vc0", f"{PEER4}/24", f"{PEER6}/64", mac=MAC)
    for address in (PEER4, PEER6, f"{guest.link_local(MAC)}%br0"):
        assert places.ping(hv, address, count=2).received == 2, address
    assert inside.flags(PEER6) and "tentative" not in inside.flags(PEER6)
    # With an answer from elsewhere the kernel gives a new address up.
    rival = guest.TapGuest(lab, hv, "vnet0", "fd77::77", mac=OTHER_MAC)
    inside.add_after_detection("fd77::77/64")
    settle(lambda: "dadfailed" in inside.flags("fd77::77"), 5, "the address is given up")
    assert any(seen.sender == "::" and seen.source_mac == MAC
               for seen in rival.questions("fd77::77"))
    assert inside.flags("fd77::78") is None


@test
def named_namespaces_are_seen_by_one_process(lab):
    hv = guest.hypervisor(lab)
    inside = guest.NamespaceGuest(lab, hv, "vc0")
    seen = hv.popen("ip netns list", files=guest.named_namespaces(lab, web=inside.namespace),
                    stdout=-1, text=True).communicate()[0]
    assert seen.split()[0] == "web", seen
    assert "web" not in hv.run("ip netns list").split()


@test
def tap_guest_answers_and_remembers(lab):
    hv = guest.hypervisor(lab, f"{HV4}/24", f"{HV6}/64")
    inside = guest.TapGuest(lab, hv, "vnet0", PEER4, PEER6, mac=MAC)
    for address, none in ((PEER4, HV4), (PEER6, HV6)):
        assert places.ping(hv, address, count=2).received == 2
        question = inside.questions(address)[0]
        bridge = hv.mac("br0")
        group = frames.BROADCAST if address == PEER4 else "33:33:ff:00:00:11"
        assert question == frames.Question("arp" if address == PEER4 else "nd", bridge, group,
                                           bridge, none, address), question
    inside.do("forget")
    inside.do("answer", answering=False)
    assert places.ping(hv, PEER4, count=2, wait=0.2).received == 0
    inside.announce(PEER4)
    settle(lambda: MAC in hv.run("bridge fdb show br br0"), 1, "its MAC is learnt")
    inside.close()
    settle(lambda: "vnet0" not in hv.run("ip -br link"), 1, "the tap is gone")


@test
def tap_guest_answers_without_an_address_on_the_host(lab):
    hv = guest.hypervisor(lab, link_local=False)
    inside = guest.TapGuest(lab, hv, "vnet0", PEER4, PEER6, mac=MAC)
    assert "inet" not in hv.run("ip addr show dev br0") + hv.run("ip addr show dev vnet0")
    for frame in (frames.arp(frames.REQUEST, OTHER_MAC, "0.0.0.0", PEER4, destination=MAC),
                  frames.solicitation(OTHER_MAC, "fe80::1", PEER6, MAC, PEER6)):
        guest.send_frame(hv, "vnet0", frame)
    settle(lambda: inside.do("counts")["answers"] == 2, 1, "both are answered")
    assert [seen.destination_mac for seen in inside.questions()] == [MAC, MAC]


@test
def tap_guest_claims_an_address(lab):
    hv = guest.hypervisor(lab, f"{HV4}/24")
    inside = guest.TapGuest(lab, hv, "vnet0", mac=MAC)
    inside.do("claim", address=PEER4)
    settle(lambda: inside.do("addresses") == [PEER4], 3, "nobody objected")
    assert places.ping(hv, PEER4, count=1).received == 1
    # An ARP probe by another during the claim is a rival's (RFC 5227, section 2.1.1).
    inside.do("claim", address="10.77.0.12")
    guest.send_frame(hv, "vnet0", frames.arp(frames.REQUEST, OTHER_MAC, "0.0.0.0", "10.77.0.12"))
    settle(inside.conflicts, 1, "the conflict is seen")
    time.sleep(1.5)
    assert inside.do("addresses") == [PEER4]
    assert inside.conflicts() == [["10.77.0.12", OTHER_MAC, "claimed"]]


@test
def crowd_of_tap_guests(lab):
    hv = guest.hypervisor(lab, "10.77.0.1/16")
    crowd = guest.TapCrowd(lab, hv, 300)
    crowd.announce()
    learnt = hv.run("bridge fdb show br br0")
    assert all(one["mac"] in learnt for one in crowd.guests)
    for place in (0, 299):
        address = crowd.guests[place]["addresses"][0]
        settle(lambda to=address: places.ping(hv, to, count=1).received, 10, address)
    crowd.do(299, "answer", answering=False)
    assert places.ping(hv, crowd.guests[299]["addresses"][0], count=1, wait=0.2).received == 0
    assert crowd.counts()["pings"] >= 2
    crowd.close()
    settle(lambda: "vnet" not in hv.run("ip -br link"), 2, "the taps are gone")


@test(within=300)
def virtual_machine_boots_hangs_and_goes_on(lab):
    hv = guest.hypervisor(lab, f"{HV4}/24", f"{HV6}/64")
    with virtual_machine(lab, hv, "web01", f"{PEER4}/24", f"{PEER6}/64", mac=VM_MAC) as machine:
        machine.wait_up(within=120)
        with open(f"/proc/{machine.pid}/cmdline", encoding="utf-8") as file:
            assert {"guest=web01,debug-threads=on", machine.uuid} < set(file.read().split("\0"))
        assert hv.mac("vnet0") == "fe" + VM_MAC[2:]
        for address in (PEER4, PEER6, f"{machine.link_local}%br0"):
            settle(lambda to=address: places.ping(hv, to, count=1).received, 10, address)
        assert servers.connect(hv, PEER4, 80, within=5) == "open"
        assert servers.connect(hv, PEER4, 81, within=5) == "refused"
        machine.pause()
        assert places.ping(hv, PEER4, count=2, wait=0.3).received == 0
        assert "LOWER_UP" in hv.run("ip link show vnet0")
        machine.resume()
        settle(lambda: places.ping(hv, PEER4, count=1).received, 5, "an answer after the pause")
    assert "vnet0" not in hv.run("ip -br link")
