"""Guests on local bridges: found, named, probed on their own port, and never harmed or believed."""

import random
import select
import socket
import time

from lab import frames, guest
from lab.daemon import Daemon, configuration
from lab.guest_view import (ABSENT4, ABSENT6, CLAIM_TIME, SETTLE_TIME, arp, guests_only, inventory,
                            speak, ups, wait_states)
from lab.machine import virtual_machine
from lab.metrics import check_accounting
from lab.network import settle
from lab.places import HV4, HV6, PEER4, PEER6, ROUTER4
from lab.testing import SNAPSHOT_AGE, test

MAC = "52:54:00:00:00:0b"
EVIL_MAC = "52:54:00:00:00:66"
OTHER_MAC = "02:00:00:00:00:01"
# Of no guest in another test at the same time: its process gives its name to whoever has it.
VM_MAC = "52:54:00:00:56:02"
ETH_P_ALL = 3

ADDRESSES_PER_MAC_MAX, ADDRESSES_PER_PORT_MAX, MACS_PER_PORT_MAX = 4, 64, 64


def ask(hv, port, *addresses):
    """Somebody on the network asks a guest for its addresses, which makes it use them."""
    for address in addresses:
        guest.send_frame(hv, port, frames.solicitation(OTHER_MAC, "fe80::1", address)
                         if ":" in address else
                         frames.arp(frames.REQUEST, OTHER_MAC, ABSENT4, address))


class Listener:
    """All frames of a device, with the direction and the monotonic time they were read at."""

    def __init__(self, lab, namespace, device):
        with namespace.inside():
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW,
                                         socket.htons(ETH_P_ALL))
        self._socket.bind((device, ETH_P_ALL))
        self._socket.setblocking(False)
        lab.at_end(self._socket.close)

    def wait_first(self, within):
        """When the first frame came."""
        ready = select.select([self._socket], [], [], within)[0]
        assert ready, f"no frame within {within} s"
        return time.monotonic()

    def drain(self):
        seen = []
        while True:
            try:
                seen.append(self._socket.recv(65536))
            except BlockingIOError:
                return seen


@test(alone=True, quick=True)
def namespace_guest_is_found_named_and_watched(lab):
    """On a bridge without any address: by ARP and neighbour discovery out of its port."""
    hv = guest.hypervisor(lab, link_local=False)
    inside = guest.NamespaceGuest(lab, hv, "vc0", f"{PEER4}/24", f"{PEER6}/64", mac=MAC)
    inside.namespace.sysctl("net/ipv6/conf/eth0/keep_addr_on_down", 1)
    assert "inet" not in hv.run("ip addr show dev br0") + hv.run("ip addr show dev vc0")
    daemon = Daemon(lab, hv, guests_only(), files=guest.named_namespaces(
        lab, web=inside.namespace))
    assert not daemon.metrics().all("reachd_peer_up"), "nothing is known of it yet"
    speak(inside, PEER4, PEER6)
    scrape = wait_states(daemon, "web", 1, PEER4, PEER6, within=SETTLE_TIME + 2)
    for address in (PEER4, PEER6):
        assert scrape.has("reachd_peer_info", peer="web", address=address, kind="guest",
                          device="vc0", bridge="br0")
        assert scrape.label_values("reachd_probe_up", "probe", address=address) == ["arp"], \
            "without an address the host cannot ping it"
        assert arp(scrape, "web", address).rtt_mean < 0.05
    assert scrape.get("reachd_guests", bridge="br0") == 1
    assert scrape.get("reachd_peers", kind="guest") == 2
    known = inventory(daemon)["vc0"]
    assert (known["name"], known["macs"], known["kind"]) == ("web", [MAC], "veth"), known

    for key in ("all", "eth0"):
        inside.namespace.sysctl(f"net/ipv4/conf/{key}/arp_ignore", 8)
    inside.namespace.filter("input", "icmpv6 type nd-neighbor-solicit drop")
    wait_states(daemon, "web", 0, PEER4, PEER6, within=3)
    for key in ("all", "eth0"):
        inside.namespace.sysctl(f"net/ipv4/conf/{key}/arp_ignore", 0)
    inside.namespace.filter("input")
    scrape = wait_states(daemon, "web", 1, PEER4, PEER6, within=2)

    inside.namespace.ip("link set eth0 down")
    wait_states(daemon, "web", 0, PEER4, PEER6, within=3)
    inside.namespace.ip("link set eth0 up")
    settle(lambda: "LOWER_UP" in hv.run("ip link show vc0"), 2, "it has a carrier")
    time.sleep(0.2)
    # After its link came up an address is left in peace for a while, until it is used again.
    speak(inside, PEER4, PEER6)
    scrape = wait_states(daemon, "web", 1, PEER4, PEER6, within=SETTLE_TIME + 2)
    for address in (PEER4, PEER6):
        check_accounting(arp(scrape, "web", address), 4)
        assert scrape.get("reachd_peer_state_changes_total", address=address) == 4

    hv.ip("link del vc0")
    scrape = daemon.wait(lambda now: not now.has("reachd_peer_info", kind="guest"), 1,
                         "the guest is gone")
    left = [key for key in scrape.series if {("peer", "web"), ("device", "vc0")} & key[1]]
    assert not left, f"series of a gone guest: {left}"
    assert scrape.get("reachd_guests", bridge="br0") == 0
    assert "vc0" not in inventory(daemon)


@test
def host_with_an_address_pings_and_connects_too(lab):
    hv = guest.hypervisor(lab, f"{HV4}/24", f"{HV6}/64")
    inside = guest.NamespaceGuest(lab, hv, "vc0", f"{PEER4}/24", f"{PEER6}/64", mac=MAC)
    names = {"discovery": {"gateways": False, "guests": {"names": {MAC: "db"}}}}
    daemon = Daemon(lab, hv, configuration(**names, probes={
        "icmp": {"interval": "200ms"}, "tcp": {"interval": "200ms", "ports": [81]},
        "arp": {"interval": "200ms"}}))
    speak(inside, PEER4, PEER6)
    own = guest.link_local(MAC)

    def judged(scrape):
        for address in (PEER4, PEER6):
            kinds = {probe: scrape.get("reachd_probe_up", peer="db", address=address, probe=probe)
                     for probe in ("arp", "icmp", "tcp")}
            assert kinds == {"arp": 1, "icmp": 1, "tcp": 0}, f"{address}: {kinds}"
        return True
    scrape = daemon.wait(judged, 6, "a verdict of each kind")
    others = set(ups(scrape, "db")) - {PEER4, PEER6}
    assert others <= {f"{own}%br0"}, others
    # A guest that filters pings is alive; the other way round a neighbour that is silent is down.
    inside.namespace.sysctl("net/ipv4/icmp_echo_ignore_all", 1)
    daemon.wait(lambda now: now.get("reachd_probe_up", address=PEER4, probe="icmp") == 0, 4,
                "no answer to pings")
    assert ups(daemon.metrics(), "db")[PEER4] == 1


@test
def filters_and_containers(lab):
    """What is excluded, or on another bridge, is not even listed as a peer."""
    hv = guest.hypervisor(lab, bridges=("br0", "br1"), link_local=False)
    wanted = guest.TapGuest(lab, hv, "vnet0", PEER4, mac=MAC)
    excluded = guest.TapGuest(lab, hv, "backup-1", "10.77.0.12", mac="52:54:00:00:00:0c")
    elsewhere = guest.TapGuest(lab, hv, "vnet1", "10.77.0.13", mac="52:54:00:00:00:0d",
                               bridge="br1")
    container = guest.NamespaceGuest(lab, hv, "vc0", "10.77.0.14/24", mac="52:54:00:00:00:0e")
    daemon = Daemon(lab, hv, configuration(discovery={"gateways": False, "guests": {
        "containers": False, "bridges": ["br0"], "exclude": ["backup-*"]}}))
    for _ in range(2):
        for one in (wanted, excluded, elsewhere):
            speak(one, one.do("addresses")[0])
        speak(container, "10.77.0.14")
        wait_states(daemon, MAC, 1, PEER4, within=10)
    scrape = daemon.metrics()
    assert set(scrape.label_values("reachd_peer_up", "address")) == {PEER4}
    for silent in (excluded, elsewhere):
        assert not silent.questions(silent.do("addresses")[0]), "it was asked"
    daemon.reload(configuration(discovery={"gateways": False, "guests": True}))
    time.sleep(0.3)  # the new ports are listened on
    for one in (excluded, elsewhere):
        speak(one, one.do("addresses")[0])
    speak(container, "10.77.0.14")
    daemon.wait(lambda now: sum(now.all("reachd_peer_up").values()) == 4, 6, "now all are probed")


@test(alone=True)
def questions_do_no_harm(lab):
    """Unicast, from nobody or from the configured sender, and never when the guest may be checking
    whether its address is free."""
    hv = guest.hypervisor(lab, link_local=False)
    inside = guest.TapGuest(lab, hv, "vnet0", PEER4, PEER6, mac=MAC)
    fresh = guest.TapGuest(lab, hv, "vnet1", mac="52:54:00:00:00:0c")
    kernel = guest.NamespaceGuest(lab, hv, "vc0", f"{ABSENT6}/64", mac="52:54:00:00:00:0d")
    daemon = Daemon(lab, hv, guests_only())
    speak(inside, PEER4, PEER6)
    kernel.send(frames.solicitation(kernel.mac, ABSENT6, PEER6))
    begin = time.monotonic()
    fresh.do("claim", address="10.77.0.12")
    wait_states(daemon, MAC, 1, PEER4, PEER6, within=SETTLE_TIME + 2)
    daemon.wait(lambda now: now.get("reachd_peer_up", address=ABSENT6) == 1, 4, "all are up")
    port_mac = "fe" + MAC[2:]
    for address, sender in ((PEER4, "0.0.0.0"), (PEER6, guest.link_local(port_mac))):
        asked = [q for q in inside.questions(address) if q.source_mac != kernel.mac]
        assert {(q.destination_mac, q.source_mac, q.sender) for q in asked} == \
            {(MAC, port_mac, sender)}, asked

    # It loses its address and takes it again, as after a reboot. In between nobody asks for it.
    inside.do("forget")
    settle(lambda: inside.questions(PEER4), 2, "a question has just come, and none is due")
    lost = arp(daemon.metrics(), MAC, PEER4).lost
    inside.do("remove", address=PEER4)
    inside.do("claim", address=PEER4)
    checked = time.monotonic()
    settle(lambda: PEER4 in inside.do("addresses"), 3, "it keeps its address")
    assert not inside.conflicts(), inside.conflicts()
    # The same with a real kernel's duplicate address detection.
    kernel.namespace.ip(f"addr del {ABSENT6}/64 dev eth0")
    kernel.add_after_detection(f"{ABSENT6}/64")
    settle(lambda: "tentative" not in kernel.flags(ABSENT6), 4, "detection is over")
    assert "dadfailed" not in kernel.flags(ABSENT6)

    # An address that was only claimed is not asked for early.
    daemon.wait(lambda now: now.get("reachd_peer_up", address="10.77.0.12") == 1,
                CLAIM_TIME + 5, "the new address is up")
    first = fresh.questions("10.77.0.12")[0]
    assert first.at - begin >= CLAIM_TIME, f"after {first.at - begin} s"
    assert not fresh.conflicts(), fresh.conflicts()
    settle(lambda: [q for q in inside.questions(PEER4) if q.at > checked], CLAIM_TIME + 3,
           "it is asked again")
    again = next(q.at for q in inside.questions(PEER4) if q.at > checked)
    assert again - checked >= CLAIM_TIME, f"after {again - checked} s"
    scrape = wait_states(daemon, MAC, 1, PEER4, PEER6, within=2)
    assert arp(scrape, MAC, PEER4).lost == lost, "what was not asked is not lost"
    assert scrape.total("reachd_peer_state_changes_total") == 0


@test
def configured_sender(lab):
    hv = guest.hypervisor(lab, link_local=False)
    inside = guest.TapGuest(lab, hv, "vnet0", PEER4, mac=MAC)
    daemon = Daemon(lab, hv, guests_only(probes={"arp": {"sender": ROUTER4}}))
    speak(inside, PEER4)
    wait_states(daemon, MAC, 1, PEER4, within=SETTLE_TIME + 8)
    assert {q.sender for q in inside.questions(PEER4)} == {ROUTER4}


@test
def macvtap_is_listed_and_never_sent_on(lab):
    """A frame sent on it would go to the wire, not to the guest."""
    hv, switch = guest.hypervisor(lab, link_local=False), lab.switch()
    lab.plug(hv, "eth0", switch, "p-hv1")
    hv.ip(f"link add link eth0 name macvtap0 address {MAC} type macvtap mode bridge",
          "link set macvtap0 up")
    daemon = Daemon(lab, hv, guests_only(probes={"arp": {"interval": "100ms"}}))
    time.sleep(0.3)
    wire = Listener(lab, switch, "p-hv1")
    # The guest's own frames pass the device on their way out; those that come in are others'.
    question = frames.arp(frames.REQUEST, MAC, PEER4, ABSENT4)
    guest.send_frame(hv, "macvtap0", question)
    guest.send_frame(switch, "p-hv1", frames.arp(frames.REQUEST, OTHER_MAC, HV4, ABSENT4))

    def learnt():
        known = inventory(daemon)["macvtap0"]
        assert [one["address"] for one in known["addresses"]] == [PEER4], known
        assert (known["kind"], known["macs"]) == ("macvtap", [MAC]), known
        return known
    settle(learnt, 3, "its address is learnt, and no other")
    time.sleep(SETTLE_TIME + 1.5)
    known = learnt()
    assert known["addresses"][0]["not_probed"] and not known["addresses"][0]["probes"], known
    asked = [one for one in map(frames.read_question, wire.drain())
             if one and one.source_mac != OTHER_MAC]
    assert [one for one in asked if one.kind == "arp"] == [frames.read_question(question)], asked
    assert not daemon.metrics().has("reachd_peer_up", address=PEER4)


def forge(evil, *claimed):
    for address in claimed:
        evil.send(frames.arp(frames.REPLY, EVIL_MAC, address, PEER4, MAC, destination=MAC))
        evil.send(frames.arp(frames.REQUEST, EVIL_MAC, address, address))
        evil.send(frames.arp(frames.REQUEST, EVIL_MAC, address, ABSENT4))


def storm(evil, seed, count):
    """Random senders and addresses, in all forms."""
    chance = random.Random(seed)
    for number in range(count):
        mac = f"52:54:01:{chance.randrange(256):02x}:{chance.randrange(256):02x}:" \
              f"{chance.randrange(256):02x}"
        four = f"10.77.{chance.randrange(256)}.{chance.randrange(1, 255)}"
        kind = number % 4
        if kind == 0:
            evil.send(frames.arp(frames.REQUEST, mac, four, ABSENT4))
        elif kind == 1:
            evil.send(frames.arp(frames.REPLY, EVIL_MAC, four, PEER4, MAC))
        elif kind == 2:
            evil.send(frames.arp(frames.REQUEST, mac, four, four, source=EVIL_MAC))
        else:
            evil.send(frames.advertisement(mac, f"fd77::{chance.randrange(1, 65536):x}"))
    flood = frames.arp(frames.REQUEST, EVIL_MAC, "10.77.9.9", "10.77.9.10")
    for _ in range(20):
        evil.do("storm", frame=flood.hex(), count=1000)


@test(alone=True, within=120)
def hostile_guest_harms_itself_only(lab):
    hv = guest.hypervisor(lab, f"{HV4}/16", f"{HV6}/64")
    good = guest.NamespaceGuest(lab, hv, "vnet0", f"{PEER4}/16", f"{PEER6}/64", mac=MAC)
    evil = guest.TapGuest(lab, hv, "vnet1", "10.77.0.66", mac=EVIL_MAC)
    hv.ip(f"route add default via {ROUTER4}")
    daemon = Daemon(lab, hv, configuration(guests=True, gateways=True, interval="200ms"))
    speak(good, PEER4, PEER6)
    speak(evil, "10.77.0.66")
    wait_states(daemon, MAC, 1, PEER4, PEER6, within=SETTLE_TIME + 3)
    # On a new device the first packets wait for the host's own neighbour discovery.
    before = daemon.metrics()
    refused = before.get("reachd_discovery_errors_total", source="guests", default=0.0)
    memory = daemon.resident_bytes()

    forge(evil, HV4, ROUTER4, PEER4, "10.77.255.255", "224.0.0.1", "127.0.0.1")
    evil.send(frames.advertisement(EVIL_MAC, HV6))
    evil.send(frames.advertisement(EVIL_MAC, PEER6))
    daemon.wait(lambda now: now.get("reachd_discovery_errors_total", source="guests")
                >= refused + 10, 2, "forged claims are counted")
    for address, whose in ((HV4, "host"), (ROUTER4, "gateway"), (PEER4, MAC)):
        assert any(address in line and "refused" in line and whose in line
                   for line in daemon.log().splitlines()), f"a line about {address}"
    for seed in range(3):
        storm(evil, seed, 1000)
    time.sleep(SETTLE_TIME + 1)

    after = daemon.metrics()
    known = inventory(daemon)["vnet1"]
    assert len(known["macs"]) <= MACS_PER_PORT_MAX, len(known["macs"])
    assert len(known["addresses"]) <= ADDRESSES_PER_PORT_MAX, len(known["addresses"])
    for mac in known["macs"]:
        owned = [one for one in known["addresses"] if one["mac"] == mac]
        assert len(owned) <= ADDRESSES_PER_MAC_MAX, owned
    assert not {one["address"] for one in known["addresses"]} & {HV4, ROUTER4, PEER4, HV6, PEER6}
    assert not after.has("reachd_peer_info", kind="guest", address=HV4)
    assert not after.has("reachd_peer_info", kind="guest", address=ROUTER4)
    assert {dict(have)["device"] for have in after.all(
        "reachd_peer_info", kind="guest", address=PEER4)} == {"vnet0"}
    assert after.get("reachd_peers", kind="guest") <= ADDRESSES_PER_PORT_MAX + 2
    assert daemon.resident_bytes() < memory + (16 << 20), \
        f"{memory} bytes, then {daemon.resident_bytes()}"
    assert len(daemon.log().splitlines()) < 100, "a guest does not fill the log"
    assert all(ups(after, MAC).values()), ups(after, MAC)
    for address in (PEER4, PEER6):
        one = arp(after, MAC, address)
        check_accounting(one, 4)
        assert one.lost == arp(before, MAC, address).lost, f"{address}: {one}"
        assert after.get("reachd_peer_state_changes_total", peer=MAC, address=address) == 0


@test(alone=True, within=120)
def crowd_and_restart(lab):
    hv = guest.hypervisor(lab, link_local=False)
    count = 300
    crowd = guest.TapCrowd(lab, hv, count)
    daemon = Daemon(lab, hv, guests_only())
    macs = {one["mac"] for one in crowd.guests}
    addresses = {one["addresses"][0] for one in crowd.guests}
    for place, one in enumerate(crowd.guests):
        crowd.do(place, "ask", sender=one["addresses"][0], target=ABSENT4)

    def all_up(scrape):
        up = {(dict(have)["peer"], dict(have)["address"])
              for have, value in scrape.all("reachd_peer_up").items() if value == 1}
        wanted = {(one["mac"], one["addresses"][0]) for one in crowd.guests}
        assert up == wanted, f"{len(up & wanted)} of {count} are up, others: {up - wanted}"
        return True
    daemon.wait(all_up, SETTLE_TIME + 8, "all are found and up")
    begin, cpu = time.monotonic(), daemon.metrics().get("process_cpu_seconds_total")
    time.sleep(6)
    scrape = daemon.metrics()
    share = (scrape.get("process_cpu_seconds_total") - cpu) / (time.monotonic() - begin)
    print(f"{count} guests: {share:.1%} of a core, {daemon.resident_bytes() >> 20} MB")
    assert share < 0.4, f"{share:.1%} of a core for {count} questions a second"
    assert scrape.total("reachd_probe_lost_total") == 0
    assert scrape.total("reachd_probes_skipped_total") == 0
    assert scrape.get("reachd_guests", bridge="br0") == count

    daemon.stop()
    begin = time.monotonic()
    again = Daemon(lab, hv, guests_only(), environment={"RUNTIME_DIRECTORY": daemon.runtime})

    def complete():
        known = again.api("guests")["guests"]
        assert len(known) == count, f"{len(known)} guests"
        assert {one["name"] for one in known} == macs, "names"
        assert {mac for one in known for mac in one["macs"]} == macs, "MACs"
        found = {address["address"] for one in known for address in one["addresses"]}
        assert found == addresses, f"{len(found)} addresses"
        return known
    known = settle(complete, begin + 3 - time.monotonic() + SNAPSHOT_AGE, "the inventory", 0.1)
    ways = {address["how"] for one in known for address in one["addresses"]}
    assert ways == {"run_time_file"}, ways
    print(f"complete {time.monotonic() - begin:.2f} s after the restart")
    again.wait(all_up, 6, "all are up again, though none has said a word")
    assert again.metrics().total("reachd_probe_lost_total") == 0


@test(alone=True, within=300)
def virtual_machine_is_found_and_watched(lab):
    hv = guest.hypervisor(lab, link_local=False)
    daemon = Daemon(lab, hv, guests_only())
    with virtual_machine(lab, hv, "web01", f"{PEER4}/24", f"{PEER6}/64", mac=VM_MAC) as machine:
        begin = Listener(lab, hv, "vnet0").wait_first(within=120)

        def found():
            known = inventory(daemon)["vnet0"]
            assert (known["name"], known["vm"]) == ("web01", "web01"), known
            assert known["macs"] == [VM_MAC], known
            assert known["uuid"] == machine.uuid, known
            return True
        settle(found, begin + 2 + SNAPSHOT_AGE - time.monotonic(), "found and named")
        machine.wait_up(within=60)

        def in_use():  # not before its own detection of duplicate addresses is over
            ask(hv, "vnet0", PEER4, PEER6)
            known = {one["address"] for one in inventory(daemon)["vnet0"]["addresses"]}
            assert {PEER4, PEER6} <= known, known
            return True
        settle(in_use, 6, "both addresses are in use", every=0.3)

        def judged(scrape):
            known = inventory(daemon)["vnet0"]["addresses"]
            # The link-local one too: while the guest checks it, all of its addresses rest.
            assert {PEER4, PEER6} < set(ups(scrape, "web01")), known
            return True
        scrape = daemon.wait(judged, 2 * CLAIM_TIME + 5, "its addresses are judged")
        assert all(ups(scrape, "web01").values()), ups(scrape, "web01")
        assert "inet" not in hv.run("ip addr show dev br0") + hv.run("ip addr show dev vnet0")
        assert set(scrape.label_values("reachd_probe_up", "probe")) == {"arp"}
        assert scrape.has("reachd_peer_info", peer="web01", address=PEER4, kind="guest",
                          device="vnet0", bridge="br0", vm="web01")
        assert scrape.has("reachd_interface_info", device="vnet0", kind="tap", vm="web01")
        time.sleep(2)  # what its start has cost is past
        addresses = tuple(ups(daemon.metrics(), "web01"))
        for _ in range(2):
            machine.pause()
            wait_states(daemon, "web01", 0, *addresses, within=3)
            machine.resume()
            wait_states(daemon, "web01", 1, *addresses, within=2)
    scrape = daemon.wait(lambda now: not now.has("reachd_peer_info", kind="guest"), 1, "it is gone")
    assert not [key for key in scrape.series if {("peer", "web01"), ("vm", "web01")} & key[1]]
