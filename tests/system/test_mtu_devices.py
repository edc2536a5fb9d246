"""MTUs of the host's own devices: what does not fit is known before any probe is lost."""

from lab.daemon import Daemon, configuration
from lab.network import settle
from lab.places import HV4, HV6, PEER4, PEER6, ping
from lab.testing import SNAPSHOT_AGE, test

JUMBO, SMALL = 9000, 1500


def misfits(daemon):
    """(conflict, larger, smaller, what fits) of those that lose traffic."""
    return {(found["conflict"], found["larger"], found["smaller"], found["smaller_bytes"])
            for found in daemon.api("status")["mtu_inconsistencies"]
            if found["conflict"] != "port_below_uplink"}


def wait_for_misfits(daemon, *expected):
    settle(lambda: misfits(daemon) == set(expected), 1.0 + SNAPSHOT_AGE, f"misfits {expected}")


def bridged(lab):
    """hv1's br0 at 9000 with its addresses, above an eth0 of 1500; the peer has 9000."""
    hv, peer = lab.namespace("hv1"), lab.namespace("peer")
    lab.cable(hv, "eth0", peer, "eth0")
    hv.ip("link add br0 type bridge", "link set eth0 master br0", f"link set br0 mtu {JUMBO} up",
          f"addr add {HV4}/24 dev br0", f"addr add {HV6}/64 dev br0 nodad")
    peer.ip(f"link set eth0 mtu {JUMBO}", f"addr add {PEER4}/24 dev eth0",
            f"addr add {PEER6}/64 dev eth0 nodad")
    return hv, peer


@test
def a_small_uplink_below_the_bridge(lab):
    hv, peer = bridged(lab)
    for address in (PEER4, PEER6):
        settle(lambda address=address: ping(hv, address, count=1).received, 5, f"{address} answers")
    daemon = Daemon(lab, hv, configuration({"name": "p4", "address": PEER4},
                                           {"name": "p6", "address": PEER6}))
    wait_for_misfits(daemon, ("bridge_above_uplink", "br0", "eth0", SMALL))
    for name in ("p4", "p6"):
        scrape = daemon.wait(
            lambda scrape, name=name: scrape.get("reachd_path_mtu_bytes", peer=name) == SMALL,
            5, f"{name} is limited by eth0")
        assert scrape.get("reachd_path_mtu_expected_bytes", peer=name) == JUMBO
        assert scrape.get("reachd_path_mtu_info", peer=name, verdict="local",
                          direction="none") == 1, name
        # Known from the bridge's own table: nothing had to be lost.
        assert scrape.total("reachd_path_mtu_packets_total", peer=name, result="lost") == 0
    found = {one["name"]: one["mtu"]["device"] for one in daemon.api("peers")["peers"]}
    assert found == {"p4": "eth0", "p6": "eth0"}, found
    assert "(bridge_above_uplink): br0 has 9000, eth0 takes 1500" in daemon.log()
    hv.ip(f"link set eth0 mtu {JUMBO}")
    wait_for_misfits(daemon)
    for name in ("p4", "p6"):
        daemon.wait(lambda scrape, name=name:
                    scrape.get("reachd_path_mtu_bytes", peer=name) == JUMBO, 2, f"{name} is well")
    assert "MTUs of br0 and eth0 are no longer 9000 and 1500" in daemon.log()


@test
def devices_that_do_not_fit(lab):
    """Each pair is named within the time that is promised, and goes when it is mended."""
    hv = lab.namespace("hv1")
    other = lab.namespace("other")
    lab.cable(hv, "eth0", other, "eth0")
    hv.ip(f"addr add {HV4}/24 dev eth0", f"addr add {HV6}/64 dev eth0 nodad")
    daemon = Daemon(lab, hv, configuration())
    wait_for_misfits(daemon)
    hv.ip("link add left type veth peer name right", f"link set left mtu {JUMBO}")
    ends = ("veth_ends", "left", "right", SMALL)
    wait_for_misfits(daemon, ends)
    hv.ip("link add vx4 type vxlan id 1 dev eth0 remote 10.77.0.9 dstport 4789",
          "link set vx4 mtu 1500")
    over_ipv4 = ("overlay_above_underlay", "vx4", "eth0", SMALL - 50)
    wait_for_misfits(daemon, ends, over_ipv4)
    hv.ip("link set vx4 mtu 1450")
    wait_for_misfits(daemon, ends)
    hv.ip("link add vx6 type vxlan id 2 dev eth0 remote fd77::9 dstport 4789",
          "link set vx6 mtu 1450")
    over_ipv6 = ("overlay_above_underlay", "vx6", "eth0", SMALL - 70)
    wait_for_misfits(daemon, ends, over_ipv6)
    hv.ip("link add br0 type bridge", "link add tap0 type veth peer name tap1",
          f"link set tap0 mtu {JUMBO} master br0", f"link set tap1 mtu {JUMBO}",
          f"link set br0 mtu {JUMBO}", "link add link eth0 name eth0.20 type vlan id 20",
          "link set eth0.20 master br0", f"link set br0 mtu {JUMBO}")
    guest = ("port_above_uplink", "tap0", "eth0.20", SMALL)
    wait_for_misfits(daemon, ends, over_ipv6, guest)
    status = daemon.reachctl("status")
    assert "br0: port tap0 has MTU 9000, uplink eth0.20 takes 1500" in status.output, status
    assert "left has MTU 9000, its other end right takes 1500" in status.output, status
    hv.ip("link del left", "link del vx6", f"link set tap0 mtu {SMALL}")
    wait_for_misfits(daemon)
    log = daemon.log()
    assert log.count("MTUs do not fit") == 4 and log.count("are no longer") == 4, log


@test
def a_tunnel_expects_what_its_underlay_leaves(lab):
    """By IPv4 and by IPv6, and a peer behind it is measured through it."""
    hv, far = lab.namespace("hv1"), lab.namespace("far")
    lab.cable(hv, "eth0", far, "eth0")
    for space, here, there in ((hv, 1, 11), (far, 11, 1)):
        space.ip(f"addr add 10.77.0.{here}/24 dev eth0", f"addr add fd77::{here}/64 dev eth0 nodad")
        for number, remote in ((4, f"10.77.0.{there}"), (6, f"fd77::{there}")):
            space.ip(f"link add vx{number} type vxlan id {number} dev eth0 remote {remote} "
                     f"dstport 478{number}",
                     f"link set vx{number} mtu {SMALL} up",
                     f"addr add 10.9{number}.0.{here}/24 dev vx{number}")
    daemon = Daemon(lab, hv, configuration({"name": "over4", "address": "10.94.0.11"},
                                           {"name": "over6", "address": "10.96.0.11"}))
    for name, fits in (("over4", SMALL - 50), ("over6", SMALL - 70)):
        scrape = daemon.wait(lambda scrape, name=name:
                             scrape.get("reachd_path_mtu_mismatch", peer=name) == 0
                             and scrape.get("reachd_path_mtu_bytes", peer=name) is not None,
                             10, f"{name} is measured")
        assert scrape.get("reachd_path_mtu_expected_bytes", peer=name) == fits, name
        assert scrape.get("reachd_path_mtu_bytes", peer=name) == fits, name
