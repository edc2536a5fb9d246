"""The host's network as /metrics and /api/v1/topology tell it, against the kernel that has it."""

import json
import re
import shutil
import signal
import socket
import subprocess
import time
import unicodedata

from lab import model, places
from lab.daemon import WITH_SMALL_BUFFERS, Daemon, configuration, copy_for_anyone
from lab.network import Tap, settle
from lab.places import PEER4, PEER6, ROUTER4
from lab.testing import SNAPSHOT_AGE, test
from test_service import IN_USER_NAMESPACE, as_nobody

# INTERFACE.md: netlink fact to metric and event.
TIME_TO_METRIC = 0.1
# Messages of one action are one event: until then it is told (the model waits 25 ms for the rest).
TIME_TO_EVENT = 0.15

P4 = {"name": "p4", "address": PEER4}
PORT_STATES = {"disabled", "listening", "learning", "forwarding", "blocking"}
KINDS = {"physical", "bridge", "veth", "tap", "macvtap", "vf", "vxlan", "bond", "vlan", "ovs",
         "other"}
FULL_BUFFER = 8 << 20
RESIDENT_MAX = 64 << 20


def interface(scrape, device):
    """All that is said of one interface, as one dict; None if there is no word of it."""
    infos = list(scrape.all("reachd_interface_info", device=device))
    if not infos:
        left = [key for key in scrape.series if ("device", device) in key[1]]
        assert not left, f"series of an interface that is not there: {left}"
        return None
    assert len(infos) == 1, f"{device}: {infos}"
    found = {"kind": None, "bridge": None, **dict(infos[0])}
    for name in ("admin_up", "up", "mtu_bytes", "carrier_changes_total"):
        short = name.removesuffix("_bytes").removesuffix("_total")
        found[short] = scrape.get(f"reachd_interface_{name}", device=device)
    states = scrape.all("reachd_bridge_port_state", device=device)
    if states:
        assert {dict(labels)["bridge"] for labels in states} == {found["bridge"]}, states
        assert {dict(labels)["state"] for labels in states} == PORT_STATES, states
        now = [dict(labels)["state"] for labels, value in states.items() if value == 1]
        assert len(now) == 1 and sum(states.values()) == 1, f"one state at a time: {states}"
        found["state"] = now[0]
    else:
        found["state"] = None
    return found


def shows(scrape, device, **expected):
    found = interface(scrape, device)
    assert found is not None, f"no interface {device}"
    wrong = {key: found.get(key) for key, value in expected.items() if found.get(key) != value}
    assert not wrong, f"{device}: {wrong} in place of {expected}"
    return True


def gone(scrape, *devices):
    for device in devices:
        assert interface(scrape, device) is None, f"{device} is still there"
    return True


class Watch:
    """Judges how soon a change is in /metrics: asks once, when the time is over."""

    def __init__(self, daemon):
        self._daemon = daemon
        self._namespace = daemon.namespace

    def after(self, action, condition):
        """`action`: commands for ip, or a function. `condition` of the scrape that is due."""
        time.sleep(SNAPSHOT_AGE)  # so that the one scrape sees the model, and no older snapshot
        if callable(action):
            action()
        else:
            self._namespace.ip(*action.split("; "))
        begin = time.monotonic()
        time.sleep(TIME_TO_METRIC)
        scrape = self._daemon.metrics()
        try:
            assert condition(scrape)
        except (AssertionError, LookupError) as early:
            settle(lambda: condition(self._daemon.metrics()), 3, f"after '{action}', {early}")
            late = time.monotonic() - begin
            raise AssertionError(f"after '{action}': not within {TIME_TO_METRIC} s but "
                                 f"{late:.2f} s: {early}") from None
        return scrape


def start(lab, namespace, *peers, **sections):
    options = {name: sections.pop(name) for name in ("wrapper", "binary") if name in sections}
    sections.setdefault("interval", "100ms")
    sections.setdefault("timeout", "300ms")
    return Daemon(lab, namespace, configuration(*peers, **sections), **options)


# --- Single changes, each within its time


@test(alone=True, quick=True)
def life_of_a_veth_pair(lab):
    hv, guest = lab.namespace("hv1"), lab.namespace("guest")
    hv.ip("link add br0 type bridge forward_delay 0 stp_state 0", "link set br0 up")
    daemon = start(lab, hv)
    watch = Watch(daemon)
    assert gone(daemon.metrics(), "v0", "v1", "new")

    scrape = watch.after("link add v0 type veth peer name v1", lambda now: (
        shows(now, "v0", kind="veth", bridge=None, admin_up=0, up=0, mtu=1500, state=None)
        and shows(now, "v1", kind="veth", mac=hv.mac("v1"))))
    assert scrape.get("reachd_interfaces", kind="veth") == 2
    watch.after("link set v0 up; link set v1 up", lambda now: (
        shows(now, "v0", admin_up=1, up=1) and shows(now, "v1", admin_up=1, up=1)))
    watch.after("link set v0 mtu 9000", lambda now: (
        shows(now, "v0", mtu=9000) and shows(now, "v1", mtu=1500)))
    watch.after("link set v0 address 02:00:00:00:00:0a", lambda now: (
        shows(now, "v0", mac="02:00:00:00:00:0a")))
    watch.after("link set v0 master br0", lambda now: (
        shows(now, "v0", bridge="br0", state="forwarding") and shows(now, "br0", state=None)))
    flaps = interface(daemon.metrics(), "v0")["carrier_changes"]
    watch.after("link set v1 down", lambda now: (
        shows(now, "v0", admin_up=1, up=0, state="disabled", carrier_changes=flaps + 1)
        and shows(now, "v1", admin_up=0, up=0)))
    watch.after("link set v1 up", lambda now: (
        shows(now, "v0", up=1, state="forwarding", carrier_changes=flaps + 2)))
    watch.after("link set v0 down", lambda now: (
        shows(now, "v0", admin_up=0, up=0) and shows(now, "v1", admin_up=1, up=0)))
    watch.after("link set v0 name new", lambda now: (
        gone(now, "v0") and shows(now, "new", bridge="br0", mtu=9000)))
    watch.after("link set new up", lambda now: shows(now, "new", up=1, state="forwarding"))
    watch.after("link set new nomaster", lambda now: (
        shows(now, "new", bridge=None, state=None, up=1)))
    watch.after(f"link set new netns {guest.path}", lambda now: (
        gone(now, "new") and shows(now, "v1", up=0)))
    watch.after(lambda: guest.ip(f"link set new netns {hv.path}"), lambda now: (
        shows(now, "new", kind="veth", admin_up=0, bridge=None, mtu=9000)))
    scrape = watch.after("link del v1", lambda now: gone(now, "new", "v1"))
    assert scrape.get("reachd_interfaces", kind="veth") == 0
    model.wait_in_step(daemon)


@test(alone=True)
def names_and_indexes_used_again(lab):
    hv = lab.namespace("hv1")
    daemon = start(lab, hv)
    watch = Watch(daemon)
    watch.after("link add v0 index 70 type veth peer name v1 index 71; link set v0 up; "
                "link set v1 up", lambda now: shows(now, "v0", kind="veth", up=1))
    # The same index, another device. In one breath: the model sees both within one wake-up.
    watch.after("link del v0; link add other index 70 type bridge", lambda now: (
        gone(now, "v0", "v1") and shows(now, "other", kind="bridge", up=0)))
    # The same index and name, another kind: neither says that it is another device.
    watch.after("link del other; link add other index 70 mtu 1400 type vxlan id 5 dstport 4789",
                lambda now: shows(now, "other", kind="vxlan", mtu=1400, carrier_changes=0))
    # The same name, another index.
    watch.after("link del other; link add other index 72 type bridge", lambda now: (
        shows(now, "other", kind="bridge", mtu=1500)))
    # Names change hands.
    watch.after("link add one type bridge; link add two mtu 1300 type bridge", lambda now: (
        shows(now, "one", mtu=1500) and shows(now, "two", mtu=1300)))
    watch.after("link set one name x; link set two name one; link set x name two", lambda now: (
        shows(now, "two", mtu=1500) and shows(now, "one", mtu=1300) and gone(now, "x")))
    generations = {link["name"]: link["generation"] for link in daemon.api("topology")["links"]}
    assert len(set(generations.values())) == len(generations), generations
    model.wait_in_step(daemon)


@test(alone=True)
def states_of_bridge_ports(lab):
    hv = lab.namespace("hv1")
    hv.ip("link add br0 type bridge forward_delay 0 stp_state 0", "link set br0 up",
          *(f"link add p{n} type veth peer name g{n}" for n in (1, 2)),
          *(f"link set {device} up" for device in ("p1", "p2", "g1", "g2")))
    daemon = start(lab, hv)
    watch = Watch(daemon)
    watch.after("link set p1 master br0; link set p2 master br0", lambda now: (
        shows(now, "p1", state="forwarding") and shows(now, "p2", state="forwarding")))
    watch.after(lambda: hv.bridge("link set dev p1 state 0"), lambda now: (
        shows(now, "p1", state="disabled", up=1) and shows(now, "p2", state="forwarding")))
    watch.after(lambda: hv.bridge("link set dev p2 isolated on"), lambda now: True)
    ports = {link["name"]: link["port"] for link in daemon.api("topology")["links"]}
    assert ports == {"lo": None, "br0": None, "g1": None, "g2": None,
                     "p1": {"state": "disabled", "isolated": False},
                     "p2": {"state": "forwarding", "isolated": True}}, ports
    # With STP a port has to listen and to learn before it forwards.
    hv.ip("link set br0 type bridge stp_state 1 forward_delay 200")
    watch.after("link set p2 down", lambda now: shows(now, "p2", state="disabled", up=0))
    watch.after("link set p2 up", lambda now: shows(now, "p2", state="listening"))
    daemon.wait(lambda now: shows(now, "p2", state="learning"), 3, "learning after 2 s")
    daemon.wait(lambda now: shows(now, "p2", state="forwarding"), 3, "forwarding after 4 s")
    watch.after("link set br0 type bridge stp_state 0", lambda now: True)
    bridge = next(link for link in daemon.api("topology")["links"] if link["name"] == "br0")
    assert bridge["bridge"]["stp"] is False and bridge["bridge"]["forward_delay_seconds"] == 2
    watch.after("link set br0 down; link set br0 name lan0; link set lan0 up", lambda now: (
        gone(now, "br0") and shows(now, "p1", bridge="lan0") and shows(now, "p2", bridge="lan0")))
    # The ports of a bridge that goes away are free, and keep running.
    watch.after("link del lan0", lambda now: (
        gone(now, "lan0") and shows(now, "p2", bridge=None, state=None, up=1)))
    assert not daemon.metrics().all("reachd_bridge_port_state")
    model.wait_in_step(daemon)


@test(alone=True)
def every_kind_of_device(lab):
    Tap.require()
    hv, guest = lab.namespace("hv1"), lab.namespace("guest")
    daemon = start(lab, hv)
    watch = Watch(daemon)
    scrape = daemon.metrics()
    assert set(scrape.label_values("reachd_interfaces", "kind")) == KINDS, "zeros included"
    assert scrape.get("reachd_interfaces", kind="other") == 1, "lo"
    watch.after("link add e0 type veth peer name e1; link set e0 up; link set e1 up",
                lambda now: shows(now, "e0", kind="veth", up=1))
    watch.after("tuntap add t0 mode tap; tuntap add u0 mode tun", lambda now: (
        shows(now, "t0", kind="tap") and shows(now, "u0", kind="other")))
    watch.after("link add mv link e0 type macvlan mode bridge; "
                "link add mt link e0 type macvtap mode bridge", lambda now: (
                    shows(now, "mv", kind="other") and shows(now, "mt", kind="macvtap")))
    watch.after("link add vx type vxlan id 4242 dev e0 dstport 4789; link add br0 type bridge",
                lambda now: shows(now, "vx", kind="vxlan") and shows(now, "br0", kind="bridge"))
    watch.after(f"link add far type veth peer name eth0 netns {guest.path}", lambda now: (
        shows(now, "far", kind="veth") and gone(now, "eth0")))
    found = model.wait_in_step(daemon)
    links = {link["name"]: link for link in daemon.api("topology")["links"]}
    assert links["vx"]["vni"] == 4242 and links["vx"]["lower"] == "e0"
    assert links["mv"]["lower"] == links["mt"]["lower"] == "e0"
    assert links["e0"]["lower"] == "e1" and links["e0"]["lower_namespace"] is None
    assert links["far"]["lower"] is None and links["far"]["lower_namespace"] is not None
    assert len(found) == len(links), f"names twice: {links}"
    watch.after("link del e0; link del t0; link del u0; link del br0", lambda now: (
        gone(now, "e0", "e1", "mv", "mt", "vx", "t0", "u0", "br0")))
    model.wait_in_step(daemon)


@test
def ends_of_veth_pairs(lab):
    """The kernel tells of an end before it has another one, and is silent when that one moves."""
    hv, guest = lab.namespace("hv1"), lab.namespace("guest")
    daemon = start(lab, hv)
    hv.ip("link add v0 type veth peer name v1")
    model.wait_in_step(daemon)
    hv.ip(f"link set v1 netns {guest.path}")
    model.wait_in_step(daemon)
    guest.ip(f"link set v1 netns {hv.path}")
    model.wait_in_step(daemon)
    guest.ip("link add g0 type veth peer name g1")
    guest.ip(f"link set g1 netns {hv.path}")
    guest.ip(f"link set g0 netns {hv.path}")
    model.wait_in_step(daemon)
    assert not [line for line in daemon.log().splitlines() if "lower" in line], \
        f"the other end is no news of its own: {daemon.log()}"


@test(alone=True)
def a_hypervisor_is_known_by_its_taps(lab):
    hv = lab.namespace("hv1")
    daemon = start(lab, hv)
    scrape = daemon.metrics()
    labels = dict(next(iter(scrape.all("reachd_host_info"))))
    assert labels["role"] in ("physical", "guest"), labels
    assert labels["virtualization"], labels
    assert (labels["role"] == "guest") == (labels["virtualization"] != "none"), labels
    tap = None

    def plug():
        nonlocal tap
        tap = Tap(hv, "vnet0")
        hv.ip("link set vnet0 master br0 up")
    hv.ip("link add br0 type bridge", "link set br0 up")
    watch = Watch(daemon)
    scrape = watch.after(plug, lambda now: (
        shows(now, "vnet0", kind="tap", admin_up=1, up=1)
        and now.has("reachd_host_info", role="hypervisor")))
    assert len(scrape.all("reachd_host_info")) == 1, "the role before it is gone"
    watch.after(lambda: tap.close(), lambda now: gone(now, "vnet0"))
    assert daemon.metrics().has("reachd_host_info", role="hypervisor"), "it stays one"


@test(alone=True)
def addresses_come_and_go(lab):
    hv = lab.namespace("hv1")
    hv.ip("link add v0 type veth peer name v1", "link set v0 up", "link set v1 up")
    daemon = start(lab, hv)

    def addresses(device):
        links = {link["name"]: link["addresses"] for link in daemon.api("topology")["links"]}
        return {text for text in links[device] if not text.startswith("fe80")}

    for commands, expected in (
            (["addr add 10.1.2.3/24 dev v0", "addr add fd01::3/64 dev v0"],
             {"10.1.2.3/24", "fd01::3/64"}),
            (["addr add 10.1.2.4/24 dev v0", "addr del fd01::3/64 dev v0"],
             {"10.1.2.3/24", "10.1.2.4/24"}),
            (["addr add 192.0.2.1 peer 192.0.2.2/32 dev v0", "addr flush dev v0 to 10.1.0.0/16"],
             {"192.0.2.1/32"})):
        time.sleep(SNAPSHOT_AGE)
        hv.ip(*commands)
        time.sleep(TIME_TO_METRIC)
        assert addresses("v0") == expected, f"after {commands}: {addresses('v0')}"
    hv.ip("addr add 10.1.2.5/24 dev v1")
    model.wait_in_step(daemon)
    hv.ip("link del v0")
    model.wait_in_step(daemon)


# --- Events: one line for one action


def link_lines(daemon, device, begin=0):
    """What the log says of a device, without the time in front."""
    lines = daemon.log()[begin:].splitlines()
    return [match[1] for line in lines
            if (match := re.search(rf": link {re.escape(device)}: (.*)", line))]


@test(alone=True)
def several_messages_of_one_action_are_one_event(lab):
    hv, guest = lab.namespace("hv1"), lab.namespace("guest")
    hv.ip("link add br0 address 02:00:00:00:00:01 type bridge forward_delay 0 stp_state 0",
          "link set br0 up")
    daemon = start(lab, hv)
    assert not link_lines(daemon, "br0"), "what was there before is no event"

    def told(command, device, *words):
        begin, before = len(daemon.log()), daemon.metrics().total("reachd_netlink_messages_total")
        hv.ip(command)
        settle(lambda: link_lines(daemon, device, begin), TIME_TO_EVENT + 0.1, f"{command} is told")
        time.sleep(SNAPSHOT_AGE)
        lines = link_lines(daemon, device, begin)
        assert len(lines) == 1, f"one event for '{command}': {lines}"
        missing = [word for word in words if word not in lines[0]]
        assert not missing, f"'{command}': no {missing} in '{lines[0]}'"
        return daemon.metrics().total("reachd_netlink_messages_total") - before

    told("link add v0 type veth peer name v1", "v0", "appeared", "veth")
    told("link set v1 up", "v1", "switched on")
    told("link set v0 up", "v0", "switched on", "carrier")
    messages = told("link set v0 master br0", "v0", "joined bridge br0")
    assert messages >= 3, f"{messages} messages: the test proves nothing"
    told("link set v0 mtu 9000", "v0", "mtu 1500 -> 9000")
    told("link set v0 address 02:00:00:00:00:0b", "v0", "02:00:00:00:00:0b")
    told("link set v1 down", "v0", "carrier")
    told("link set v0 nomaster", "v0", "left bridge br0")
    told("addr add 10.1.2.3/24 dev v0", "v0", "10.1.2.3/24")
    told("link set v0 down", "v0", "switched off")
    told("link set v0 name new", "new", "v0")
    told(f"link set new netns {guest.path}", "new")
    told("link del v1", "v1", "removed")


@test
def a_storm_does_not_fill_the_log(lab):
    hv = lab.namespace("hv1")
    daemon = start(lab, hv)
    hv.ip(*(f"link add a{n} group 7 type veth peer name b{n}" for n in range(400)))
    hv.run("ip link del group 7")
    model.wait_in_step(daemon)
    lines = [line for line in daemon.log().splitlines() if ": link " in line]
    assert 1 <= len(lines) <= 50, f"{len(lines)} lines about links in a few seconds"
    settle(lambda: re.search(r"and \d+ more changes of links", daemon.log()), 12,
           "the rest is told as a number", every=0.2)


# --- Counters


def send_frames(namespace, device, destination, count, ethertype=0x88B5):
    """Frames for nobody: an ethertype for local experiments (IEEE 802)."""
    with namespace.inside(), socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sender:
        sender.setsockopt(socket.SOL_SOCKET, 32, 8 << 20)  # SO_SNDBUFFORCE: not held back
        sender.bind((device, ethertype))
        frame = (bytes.fromhex(destination.replace(":", "")) + b"\x02\0\0\0\0\x07"
                 + ethertype.to_bytes(2, "big") + bytes(50))
        for _ in range(count):
            sender.send(frame)


@test
def counters_are_read_and_never_fall(lab):
    place = places.switched(lab)
    daemon = start(lab, place.hv)
    tap = Tap(place.hv, "vnet0")
    place.hv.ip("link set vnet0 txqueuelen 10", "link set vnet0 up")
    names = [f"reachd_interface_{direction}_{what}_total"
             for direction in ("receive", "transmit") for what in ("errors", "drops")]

    def counters(scrape):
        return {(name, device): scrape.get(name, device=device)
                for name in names for device in ("eth0", "vnet0", "lo")}
    before = settle(lambda: counters(daemon.metrics()), 6, "read every 5 s")
    receive = daemon.metrics().get("reachd_interface_receive_drops_total", device="eth0")
    transmit = daemon.metrics().get("reachd_interface_transmit_drops_total", device="vnet0")
    send_frames(place.peer, "eth0", place.hv.mac("eth0"), 300)
    send_frames(place.hv, "vnet0", "02:00:00:00:00:99", 200)

    def counted(now):
        dropped = now.get("reachd_interface_receive_drops_total", device="eth0") - receive
        full = now.get("reachd_interface_transmit_drops_total", device="vnet0") - transmit
        assert dropped >= 300, f"{dropped} of 300 frames of an unknown ethertype"
        assert full >= 150, f"{full} of the 200 frames for a tap with room for 10"
        return True
    scrape = daemon.wait(counted, 7, "drops are counted")
    fallen = {key: value for key, value in counters(scrape).items() if value < before[key]}
    assert not fallen, f"counters fell: {fallen}"
    kernel = {link["ifname"]: link["stats64"]
              for link in place.hv.json("ip -s -j link show")}
    assert scrape.get("reachd_interface_transmit_drops_total", device="vnet0") \
        == kernel["vnet0"]["tx"]["dropped"]
    tap.close()
    # A device of the same name and kind is another one: it starts afresh, or is not read yet.
    tap = Tap(place.hv, "vnet0")
    time.sleep(SNAPSHOT_AGE + TIME_TO_METRIC)
    scrape = daemon.metrics()
    assert scrape.has("reachd_interface_info", device="vnet0")
    assert scrape.get("reachd_interface_transmit_drops_total", 0.0, device="vnet0") == 0
    tap.close()


# --- Storms: a thousand veth pairs on a bridge


def storm_up(namespace, pairs=1000):
    """At full speed: one batch creates, enslaves and switches on, one message the other ends."""
    lines = [line for n in range(pairs) for line in (
        f"link add a{n} group 7 type veth peer name b{n} group 8",
        f"link set a{n} master br0", f"link set a{n} up")]
    namespace.ip(*lines)
    namespace.run("ip link set group 8 up")


def storm_down(namespace):
    namespace.run("ip link del group 7")


def with_bridge(lab):
    place = places.switched(lab)
    place.hv.ip("link add br0 type bridge forward_delay 0 stp_state 0", "link set br0 up")
    # Each IPv6 address of 2000 links would be one more, and make a storm on the bridge itself.
    place.hv.sysctl("net/ipv6/conf/default/disable_ipv6", 1)
    return place


def check_probing(daemon, before):
    """Whatever netlink did meanwhile: no probe was lost, and nobody was called down."""
    after = daemon.metrics()
    assert after.probe("p4").lost == 0, after.probe("p4")
    assert after.probe("p4").received > before.probe("p4").received
    assert after.up("p4") == 1
    assert after.total("reachd_peer_state_changes_total") == \
        before.total("reachd_peer_state_changes_total")
    return after


def storm(lab, **options):
    place = with_bridge(lab)
    daemon = start(lab, place.hv, P4, timeout="1s", **options)
    before = daemon.wait_up("p4")
    for _ in range(2):
        storm_up(place.hv)
        found = model.wait_in_step(daemon)
        assert len(found) >= 2003, f"{len(found)} links"
        scrape = daemon.metrics()
        assert scrape.get("reachd_interfaces", kind="veth") == 2001
        assert len(scrape.all("reachd_bridge_port_state", bridge="br0", state="forwarding")) == 1000
        storm_down(place.hv)
        found = model.wait_in_step(daemon)
        assert len(found) == 3, f"{len(found)} links"
    return check_probing(daemon, before)


@test(alone=True)
def storm_with_the_full_buffer(lab):
    scrape = storm(lab)
    size = scrape.get("reachd_socket_receive_buffer_bytes", socket="netlink")
    if not IN_USER_NAMESPACE:
        assert size >= FULL_BUFFER, f"{size} bytes with CAP_NET_ADMIN"
    if size >= FULL_BUFFER:
        assert scrape.get("reachd_netlink_overruns_total") == 0
        assert scrape.get("reachd_netlink_resyncs_total") == 0, "not a message was doubted"
    assert scrape.total("reachd_netlink_ignored_total") == 0


@test(alone=True)
def storm_without_privileges(lab):
    """CAP_NET_RAW alone, as the package runs it, and the kernel's default buffer."""
    scrape = storm(lab, wrapper=(*WITH_SMALL_BUFFERS, *as_nobody(["net_raw"])),
                   binary=copy_for_anyone(lab))
    size = scrape.get("reachd_socket_receive_buffer_bytes", socket="netlink")
    with open("/proc/sys/net/core/rmem_default", encoding="ascii") as file:
        assert size == int(file.read()), f"{size} bytes"
    # A fast machine reads as fast as another one writes; standing still makes it sure, see below.
    if scrape.get("reachd_netlink_overruns_total"):
        assert scrape.get("reachd_netlink_resyncs_total") >= 1


def storm_during_a_standstill(lab, **options):
    place = with_bridge(lab)
    daemon = start(lab, place.hv, P4, timeout="1s", **options)
    before = daemon.wait_up("p4")
    links = model.wait_in_step(daemon)
    daemon.send_signal(signal.SIGSTOP)
    begin = time.monotonic()
    storm_up(place.hv)
    storm_down(place.hv)
    storm_up(place.hv, pairs=500)
    time.sleep(max(0.0, begin + 5 - time.monotonic()))
    go_on = time.time()
    daemon.send_signal(signal.SIGCONT)
    found = model.wait_in_step(daemon, within=1.0)
    assert len(found) == len(links) + 1000, f"{len(found)} links"
    time.sleep(1.2)
    scrape = check_probing(daemon, before)
    if scrape.get("reachd_netlink_overruns_total"):
        assert scrape.get("reachd_netlink_resyncs_total") >= 1
        assert scrape.get("reachd_topology_last_sync_timestamp_seconds") >= go_on - 0.01
    return scrape


@test(alone=True)
def standstill_during_a_storm(lab):
    storm_during_a_standstill(lab)


@test(alone=True)
def standstill_during_a_storm_with_a_small_buffer(lab):
    scrape = storm_during_a_standstill(lab, binary=copy_for_anyone(lab),
                                       wrapper=(*WITH_SMALL_BUFFERS, *as_nobody(["net_raw"])))
    assert scrape.get("reachd_netlink_overruns_total") >= 1, "200 kB do not hold 10,000 messages"


# --- Large tables


def ignored(daemon, reason):
    return daemon.metrics().get("reachd_netlink_ignored_total", reason=reason)


def check_memory(daemon):
    resident = daemon.resident_bytes()
    assert resident <= RESIDENT_MAX, f"{resident >> 20} MiB"


def wait_gateways(daemon, *expected):
    def check():
        found = [(gateway["address"], gateway["device"])
                 for gateway in daemon.api("topology")["default_gateways"]]
        assert sorted(found) == sorted(expected), found
        return True
    settle(check, 1 + SNAPSHOT_AGE, f"default gateways {expected}")


def routes_are(daemon, expected, within):
    settle(lambda: daemon.api("topology")["routes"]["ipv4"] == expected, within,
           f"{expected} IPv4 routes", every=0.1)


def kernel_routes(namespace):
    return len(namespace.run("ip -4 route show table main").splitlines())


@test
def the_table_of_a_router(lab):
    """50,000 routes: more than are kept; the default gateway is right all the same."""
    place = places.routed(lab)
    daemon = start(lab, place.hv, {"name": "far", "address": places.FAR4}, gateways=True)
    daemon.wait_up("far")
    few = kernel_routes(place.hv)
    routes_are(daemon, few, 1)
    many = [f"{20 + n // 65536}.{n // 256 % 256}.{n % 256}.0/24" for n in range(50_000)]
    place.hv.ip(*(f"route add {prefix} via {ROUTER4}" for prefix in many[:10_000]))
    routes_are(daemon, few + 10_000, 2)
    place.hv.ip(*(f"route add {prefix} via {ROUTER4}" for prefix in many[10_000:]))
    settle(lambda: ignored(daemon, "route_limit") >= 30_000, 5, "beyond the limit they are counted")
    assert 16_000 <= daemon.api("topology")["routes"]["ipv4"] <= 17_408
    place.hv.ip("route replace default via 10.77.0.253")
    wait_gateways(daemon, ("10.77.0.253", "eth0"), (places.ROUTER6, "eth0"))
    place.hv.ip(f"route replace default via {ROUTER4}",
                "route add default via 10.77.0.252 metric 9")
    wait_gateways(daemon, (ROUTER4, "eth0"), ("10.77.0.252", "eth0"), (places.ROUTER6, "eth0"))
    place.hv.ip("route del default metric 9")
    check_memory(daemon)
    place.hv.ip(*(f"route del {prefix}" for prefix in many))
    wait_gateways(daemon, (ROUTER4, "eth0"), (places.ROUTER6, "eth0"))
    routes_are(daemon, few, 3)
    # A new start meets them all in one dump.
    place.hv.ip(*(f"route add {prefix} via {ROUTER4}" for prefix in many))
    daemon.stop()
    daemon = start(lab, place.hv, {"name": "far", "address": places.FAR4}, gateways=True)
    daemon.wait_up("far")
    assert ignored(daemon, "route_limit") >= 30_000
    wait_gateways(daemon, (ROUTER4, "eth0"), (places.ROUTER6, "eth0"))
    check_memory(daemon)
    assert daemon.probe("far").lost == 0


@test
def a_switch_full_of_stations(lab):
    """100,000 forwarding entries and 10,000 neighbours."""
    place = places.switched(lab)
    hv = place.hv
    hv.ip("link add br0 type bridge", "link add p0 type veth peer name q0",
          "link add p1 type veth peer name q1", "link set p0 master br0", "link set p1 master br0",
          "link add n0 type veth peer name n1", "link set n0 up", "link set n1 up",
          "addr add 10.254.0.1/16 dev n0")
    daemon = start(lab, hv, P4)
    daemon.wait_up("p4")
    quiet = daemon.api("topology")
    stations = [f"02:00:00:{n >> 16:02x}:{n >> 8 & 255:02x}:{n & 255:02x}" for n in range(100_000)]
    hv.bridge(*(f"fdb add {mac} dev p{n % 2} master static" for n, mac in enumerate(stations)))
    hv.ip(*(f"neigh add 10.254.{n // 250 + 1}.{n % 250 + 1} lladdr {mac} dev n0"
            for n, mac in enumerate(stations[:10_000])))

    def counts(fdb, neighbours):
        now = daemon.api("topology")
        found = now["fdb_entries"], now["neighbours"]
        # Neighbours of the probes come and go as the kernel likes.
        assert found[0] == fdb and abs(found[1] - neighbours) <= 8, f"{found} of {fdb, neighbours}"
        return True
    settle(lambda: counts(quiet["fdb_entries"] + 100_000, quiet["neighbours"] + 10_000), 3,
           "all are known", every=0.1)
    check_memory(daemon)
    hv.ip("link del q0", "link set n0 down")  # half of the entries, and all neighbours of n0
    settle(lambda: counts(quiet["fdb_entries"] + 50_000, quiet["neighbours"]), 3,
           "they go with their port", every=0.1)
    hv.ip("link del br0")
    settle(lambda: counts(0, quiet["neighbours"]), 3, "and with the bridge", every=0.1)
    scrape = daemon.metrics()
    assert scrape.probe("p4").lost == 0 and scrape.up("p4") == 1
    assert scrape.total("reachd_netlink_ignored_total") == 0
    check_memory(daemon)


# --- Names that nobody expects

ODD_NAMES = (
    b'q"uote', b"back\\slash", b"\\xff\\xfe", b"\xff\xfe", b"\x01ctl", b"del\x7f", b"a=1,b{}",
    b"';drop--", b"${x}`y`", b"<b>&amp;", b"#c", b"*?[a]", "gr\u00fcn".encode(),
    "\u7f51\u6865".encode(), b"\xc2\x9b31m", b"\xc0\x80", b"\xed\xa1\x80", b"\xf5\x80\x80\x80")


def plain_bytes(text):
    """The name that safe text stands for."""
    return b"".join(bytes([int(piece[2:], 16)]) if re.fullmatch(r"\\x[0-9a-f]{2}", piece)
                    else piece.encode() for piece in re.split(r"(\\x[0-9a-f]{2})", text) if piece)


def is_safe(text):
    return all(unicodedata.category(character) not in ("Cc", "Cs") for character in text)


@test
def hostile_names(lab):
    hv = lab.namespace("hv1")
    daemon = start(lab, hv)
    taken = []
    for name in ODD_NAMES:
        hv.run([b"ip", b"link", b"add", b"name", name, b"type", b"bridge"])
        taken.append(name)
    scrape = daemon.wait(lambda now: now.get("reachd_interfaces", kind="bridge") == len(taken),
                         1, "all are there")
    names = scrape.label_values("reachd_interface_info", "device", kind="bridge")
    assert sorted(map(plain_bytes, names)) == sorted(taken), names
    assert all(map(is_safe, names)), names
    for name in names:
        assert shows(scrape, name, kind="bridge", mtu=1500)
    assert len(scrape.all("reachd_interface_up")) == len(taken) + 1
    links = json.loads(daemon.get("/api/v1/topology").text)["links"]
    assert sorted(link["name"] for link in links if link["kind"] == "bridge") == sorted(names)
    if shutil.which("promtool"):
        checked = subprocess.run(["promtool", "check", "metrics"], input=scrape.text, text=True,
                                 capture_output=True, check=False)
        assert checked.returncode == 0, checked.stderr
    assert "\x1b" not in daemon.log() and "\x01" not in daemon.log(), "the log is for terminals"
    outcome = daemon.reachctl("topology", "--all")
    assert outcome.code == 0, outcome
    shown = outcome.output.replace("\n", "")
    assert is_safe(shown), "a name could steer the terminal"
    for name in names:
        assert name in outcome.output, f"{name} is not in {outcome.output}"
