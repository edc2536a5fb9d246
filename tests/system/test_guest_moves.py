"""Whose a MAC is: guests that take another's, move to another port, or live in another VLAN."""

import json
import os
import re
import shutil
import time

from lab import frames, guest, machine
from lab.daemon import Daemon
from lab.guest_view import (ABSENT4, SETTLE_TIME, arp, guests_only, inventory, speak, ups,
                            wait_states)
from lab.metrics import Metrics, check_accounting
from lab.network import settle
from lab.places import PEER4
from lab.testing import SNAPSHOT_AGE, test

MAC = "52:54:00:00:00:0b"
EVIL_MAC = "52:54:00:00:00:66"


def device_of(scrape, address):
    """The ports behind which an address is said to be."""
    return scrape.label_values("reachd_peer_info", "device", kind="guest", address=address)


def wait_on_port(daemon, port, within):
    """The guest is up, and bound to this port alone."""
    def check(scrape):
        assert device_of(scrape, PEER4) == [port], device_of(scrape, PEER4)
        assert ups(scrape, MAC) == {PEER4: 1}, ups(scrape, MAC)
        return True
    return daemon.wait(check, within + SNAPSHOT_AGE, f"{MAC} is up on {port}")


@test(within=90)
def another_guests_mac_is_not_taken(lab):
    """The bridge believes the thief; whoever owns the MAC still answers on its own port."""
    hv = guest.hypervisor(lab, link_local=False)
    owner = guest.TapGuest(lab, hv, "vnet0", PEER4, mac=MAC)
    thief = guest.TapGuest(lab, hv, "vnet1", "10.77.0.66", mac=EVIL_MAC)
    daemon = Daemon(lab, hv, guests_only())
    settle(lambda: {"vnet0", "vnet1"} <= set(inventory(daemon)), 10, "both ports are heard")
    speak(owner, PEER4)
    speak(thief, "10.77.0.66")
    wait_on_port(daemon, "vnet0", SETTLE_TIME + 10)
    wait_states(daemon, EVIL_MAC, 1, "10.77.0.66", within=10)
    forged = (frames.arp(frames.REQUEST, MAC, PEER4, ABSENT4),
              frames.arp(frames.REQUEST, MAC, PEER4, PEER4),
              frames.arp(frames.REPLY, MAC, PEER4, "10.77.0.66", EVIL_MAC),
              frames.arp(frames.REQUEST, MAC, "10.77.0.67", ABSENT4))
    stolen = 0
    end = time.monotonic() + 15  # longer than a MAC's owner may be silent within its bridge
    while time.monotonic() < end:
        for frame in forged:
            thief.send(frame)
        stolen += any(line.split()[0] == MAC and "vnet1" in line.split()
                      for line in hv.run("bridge fdb show br br0").splitlines())
        scrape = daemon.metrics()
        assert device_of(scrape, PEER4) == ["vnet0"], device_of(scrape, PEER4)
        assert MAC not in inventory(daemon)["vnet1"]["macs"]
        time.sleep(0.1)
    assert stolen, "the bridge was never deceived: this proves nothing"
    scrape = wait_on_port(daemon, "vnet0", 1)
    one = arp(scrape, MAC, PEER4)
    check_accounting(one, 4)
    assert one.received >= 10 and one.lost == 0, one
    assert scrape.get("reachd_peer_state_changes_total", peer=MAC, address=PEER4) == 0
    assert ups(scrape, EVIL_MAC) == {"10.77.0.66": 1}, "its own address is its own"
    assert scrape.get("reachd_discovery_errors_total", source="guests") > 0, "counted"
    said = [line for line in daemon.log().splitlines() if MAC in line and "refused" in line]
    assert 1 <= len(said) <= 3 and "vnet1" in said[0], said
    assert len(daemon.log().splitlines()) < 200, "a thief does not fill the log"


@test(within=120)
def migrated_guest_is_followed(lab):
    hv = guest.hypervisor(lab, link_local=False)
    first = guest.TapGuest(lab, hv, "vnet0", PEER4, mac=MAC)
    daemon = Daemon(lab, hv, guests_only())
    settle(lambda: "vnet0" in inventory(daemon), 10, "the port is heard")
    speak(first, PEER4)
    wait_on_port(daemon, "vnet0", SETTLE_TIME + 10)

    # Gone here, back there.
    first.close()
    daemon.wait(lambda now: not now.has("reachd_peer_info", kind="guest"), 5, "it is gone")
    second = guest.TapGuest(lab, hv, "vnet5", PEER4, mac=MAC)
    settle(lambda: "vnet5" in inventory(daemon), 5, "the new port is known")
    speak(second, PEER4)
    wait_on_port(daemon, "vnet5", SETTLE_TIME + 10)

    # Both are there for a moment: the old one is still running and answers.
    third = guest.TapGuest(lab, hv, "vnet6", PEER4, mac=MAC)
    settle(lambda: "vnet6" in inventory(daemon), 5, "the third port is known")
    third.do("answer", answering=False)
    speak(third, PEER4)
    time.sleep(1)
    wait_on_port(daemon, "vnet5", 1)

    # Now it runs there; the old tap is still there, and nobody in it.
    second.do("answer", answering=False)
    third.do("answer", answering=True)

    def moved(scrape):
        third.announce(PEER4)  # as QEMU does for a while after the migration
        speak(third, PEER4)
        return device_of(scrape, PEER4) == ["vnet6"]
    daemon.wait(moved, 30, "its new port")
    second.close()
    scrape = wait_on_port(daemon, "vnet6", SETTLE_TIME + 15)
    assert len(scrape.all("reachd_peer_up")) == 1, "one guest, one series"
    settle(lambda: set(inventory(daemon)) == {"vnet6"}, 5, "the old port is gone")
    # Whoever has just arrived must not take our questions for another that wants its address.
    assert not [how for _, _, how in third.conflicts() if how == "claimed"], third.conflicts()


# The kernel of the computer that tests may have no VLAN filtering, so Debian's own does this.
VLAN_SCRIPT = """
ip link add br0 type bridge vlan_filtering 1 vlan_default_pvid 0
ip link set br0 up
vlan=10
for name in red blue; do
    ip netns add $name
    ip link add v-$name type veth peer name eth0 netns $name
    ip link set v-$name master br0 up
    bridge vlan add dev v-$name vid $vlan pvid untagged
    ip -n $name addr add 10.77.0.11/24 dev eth0
    ip -n $name link set eth0 up
    vlan=$((vlan + 10))
done
echo '{"discovery": {"gateways": false}}' > /run/reachd.json
mkdir /run/reachd
RUNTIME_DIRECTORY=/run/reachd reachd --config /run/reachd.json > /run/log 2>&1 &
daemon=$!
tell() {
    kill -0 $daemon && echo "begin $1"
    reachctl guests --json --socket /run/reachd/control.sock | tr -d '\\n'
    echo
    wget -q -O - http://127.0.0.1:10862/metrics
    echo "end $1"
}
wait_for() {
    for i in $(seq 100); do
        wget -q -O - http://127.0.0.1:10862/metrics | grep '^reachd_peer_up' > /run/ups
        [ "$(grep -c ' 1$' /run/ups) $(grep -c ' 0$' /run/ups)" = "$1" ] && return
        for name in red blue; do ip netns exec $name ping -c 1 -W 1 10.77.0.99 > /run/ping; done
    done
}
wait_for '2 0'
tell both
ip -n red link set eth0 down
wait_for '1 1'
tell one
kill $daemon
wait $daemon
echo "exit $?"
cat /run/log
"""


def told(console, name):
    """(the guests by device, the metrics) of one point of the script."""
    console = console.replace("\r\n", "\n")
    found = re.search(rf"begin {name}\n(\{{.*\}})\n(# .*?)end {name}\n", console, re.S)
    assert found, console
    guests = {one["device"]: one for one in json.loads(found[1])["guests"]}
    return guests, Metrics(found[2])


@test(alone=True, within=300)
def same_address_in_two_vlans(lab):
    programs = [os.path.join(lab.binary_dir, "reachd"), os.path.join(lab.binary_dir, "reachctl"),
                shutil.which("ip"), shutil.which("bridge")]
    console = machine.run_script(lab, VLAN_SCRIPT, programs, within=240)
    guests, scrape = told(console, "both")
    for name in ("red", "blue"):
        known = guests[f"v-{name}"]
        assert (known["name"], known["bridge"]) == (name, "br0"), known
        assert [one["address"] for one in known["addresses"]] == [PEER4], known
        assert scrape.get("reachd_peer_up", peer=name, address=PEER4) == 1
        assert scrape.get("reachd_peer_info", peer=name, address=PEER4, kind="guest",
                          device=f"v-{name}", bridge="br0") == 1
        check_accounting(arp(scrape, name, PEER4), 4)
    assert scrape.get("reachd_guests", bridge="br0") == 2
    _, scrape = told(console, "one")
    assert ups(scrape, "red") == {PEER4: 0} and ups(scrape, "blue") == {PEER4: 1}, console
    assert arp(scrape, "blue", PEER4).lost == 0
    assert "exit 0" in console, console
