"""MTUs of the host's own devices: what does not fit is known before any probe is lost."""

from lab.daemon import Daemon, configuration
from lab.network import settle
from lab.places import HV4, HV6, PEER4, PEER6, ping
from lab.testing import SNAPSHOT_AGE, test

JUMBO, SMALL, TUNNEL = 9000, 1500, 1450


def misfits(daemon):
    """(conflict, larger, smaller, what fits) of those that lose traffic."""
    return {(found["conflict"], found["larger"], found["smaller"], found["smaller_bytes"])
            for found in daemon.api("status")["mtu_inconsistencies"]
            if found["conflict"] != "port_below_uplink"}


def wait_for_misfits(daemon, *expected):
    settle(lambda: misfits(daemon) == set(expected), 1.0 + SNAPSHOT_AGE, f"misfits {expected}")


def bridged(lab):
    """hv1 has br0 at 9000 with its addresses above a tunnel of 1450, the peer its other end."""
    hv, peer = lab.namespace("hv1"), lab.namespace("peer")
    lab.cable(hv, "eth0", peer, "eth0")
    for space, here, there in ((hv, 1, 11), (peer, 11, 1)):
        space.ip(f"addr add 10.70.0.{here}/24 dev eth0",
                 f"link add uplink type vxlan id 20 dev eth0 remote 10.70.0.{there} dstport 4789",
                 f"link set uplink mtu {TUNNEL} up")
    hv.ip("link add br0 type bridge", "link set uplink master br0", f"link set br0 mtu {JUMBO} up",
          f"addr add {HV4}/24 dev br0", f"addr add {HV6}/64 dev br0 nodad")
    peer.ip(f"addr add {PEER4}/24 dev uplink", f"addr add {PEER6}/64 dev uplink nodad")
    return hv, peer


@test
def a_small_uplink_below_the_bridge(lab):
    hv, peer = bridged(lab)
    settle(lambda: ping(hv, PEER4, count=1).received, 5, f"{PEER4} answers")
    daemon = Daemon(lab, hv, configuration({"name": "p4", "address": PEER4},
                                           {"name": "p6", "address": PEER6}))
    wait_for_misfits(daemon, ("bridge_above_uplink", "br0", "uplink", TUNNEL))
    for name in ("p4", "p6"):
        scrape = daemon.wait(
            lambda scrape, name=name: scrape.get("reachd_path_mtu_bytes", peer=name) == TUNNEL,
            5, f"{name} is limited by its port")
        assert scrape.get("reachd_path_mtu_expected_bytes", peer=name) == JUMBO
        assert scrape.get("reachd_path_mtu_info", peer=name, verdict="local",
                          direction="none") == 1, name
    # Known from the bridge's own table: nothing had to be lost. The other was not known to it yet.
    assert scrape.total("reachd_path_mtu_packets_total", peer="p4", result="lost") == 0
    found = {one["name"]: one["mtu"]["device"] for one in daemon.api("peers")["peers"]}
    assert found == {"p4": "uplink", "p6": "uplink"}, found
    assert "(bridge_above_uplink): br0 has 9000, uplink takes 1450" in daemon.log()
    for space in (peer, hv):
        space.ip(f"link set eth0 mtu {JUMBO + 50}", f"link set uplink mtu {JUMBO}")
    wait_for_misfits(daemon)
    for name in ("p4", "p6"):
        daemon.wait(lambda scrape, name=name:
                    scrape.get("reachd_path_mtu_bytes", peer=name) == JUMBO, 2, f"{name} is well")
    words = "MTUs fit again (bridge_above_uplink): br0 no longer has more than uplink takes"
    assert words in daemon.log(), daemon.log()


@test
def devices_that_do_not_fit(lab):
    """Each pair is named at once, and no longer when it is mended."""
    hv, other = lab.namespace("hv1"), lab.namespace("other")
    lab.cable(hv, "eth0", other, "eth0")
    hv.ip(f"addr add {HV4}/24 dev eth0", f"addr add {HV6}/64 dev eth0 nodad")
    daemon = Daemon(lab, hv, configuration())
    wait_for_misfits(daemon)
    hv.ip("link add left type veth peer name right", f"link set left mtu {JUMBO}")
    ends = ("veth_ends", "left", "right", SMALL)
    wait_for_misfits(daemon, ends)
    hv.ip("link add vx4 type vxlan id 1 dev eth0 remote 10.77.0.9 dstport 4789",
          "link add vx6 type vxlan id 2 dev eth0 remote fd77::9 dstport 4790",
          "link set eth0 mtu 1480")
    wait_for_misfits(daemon, ends, ("overlay_above_underlay", "vx4", "eth0", 1430),
                     ("overlay_above_underlay", "vx6", "eth0", 1410))
    hv.ip("link set vx4 mtu 1430", "link set vx6 mtu 1410")
    wait_for_misfits(daemon, ends)
    hv.ip("link add br0 type bridge", "link add tap0 type veth peer name tap1",
          f"link set tap0 mtu {JUMBO} master br0", f"link set tap1 mtu {JUMBO}",
          "link set vx4 master br0", f"link set br0 mtu {JUMBO}")
    wait_for_misfits(daemon, ends, ("port_above_uplink", "tap0", "vx4", 1430))
    status = daemon.reachctl("status")
    assert "br0: port tap0 has MTU 9000, uplink vx4 takes 1430" in status.output, status
    assert "left has MTU 9000, its other end right takes 1500" in status.output, status
    hv.ip("link del left", "link set tap0 mtu 1430", "link set tap1 mtu 1430")
    wait_for_misfits(daemon)
    log = daemon.log()
    for pair in ("left has 9000, right takes 1500", "vx4 has 1450, eth0 takes 1430",
                 "vx6 has 1430, eth0 takes 1410", "tap0 has 9000, vx4 takes 1430"):
        assert log.count(f": {pair}") == 1, (pair, log)
    assert "MTUs fit again (port_above_uplink): tap0 no longer has more than vx4 takes" in log, log


@test
def a_tunnel_expects_what_its_underlay_leaves(lab):
    """By IPv4 and by IPv6, and a peer behind it is measured through it."""
    hv, far = lab.namespace("hv1"), lab.namespace("far")
    lab.cable(hv, "eth0", far, "eth0")
    for space, here, there in ((hv, 1, 11), (far, 11, 1)):
        space.ip(f"addr add 10.77.0.{here}/24 dev eth0", f"addr add fd77::{here}/64 dev eth0 nodad")
        space.ip("link set eth0 mtu 9000")
        for number, remote in ((4, f"10.77.0.{there}"), (6, f"fd77::{there}")):
            space.ip(f"link add vx{number} type vxlan id {number} dev eth0 remote {remote} "
                     f"dstport 478{number}",
                     f"link set vx{number} up",
                     f"addr add 10.9{number}.0.{here}/24 dev vx{number}")
        space.ip(f"link set eth0 mtu {SMALL}")  # the kernel leaves the tunnels at what they were
    daemon = Daemon(lab, hv, configuration({"name": "over4", "address": "10.94.0.11"},
                                           {"name": "over6", "address": "10.96.0.11"}))
    for name, fits in (("over4", SMALL - 50), ("over6", SMALL - 70)):
        scrape = daemon.wait(lambda scrape, name=name:
                             scrape.get("reachd_path_mtu_mismatch", peer=name) == 0
                             and scrape.get("reachd_path_mtu_bytes", peer=name) is not None,
                             10, f"{name} is measured")
        assert scrape.get("reachd_path_mtu_expected_bytes", peer=name) == fits, name
        assert scrape.get("reachd_path_mtu_bytes", peer=name) == fits, name
