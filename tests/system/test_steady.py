"""Nothing is wrong: what the daemon sends, what it says about it, and in which words."""

import shutil
import subprocess
import time

from lab import places
from lab.daemon import Daemon, configuration
from lab.metrics import check_accounting
from lab.places import HV4, PEER4, PEER6
from lab.testing import skip, test

PEERS = ({"name": "p4", "address": PEER4}, {"name": "p6", "address": PEER6})

# Every family of this version that is there from the start, and its type.
FAMILIES = {
    "reachd_peer_up": "gauge",
    "reachd_peer_state_changes_total": "counter",
    "reachd_peer_last_change_timestamp_seconds": "gauge",
    "reachd_peer_info": "gauge",
    "reachd_probe_up": "gauge",
    "reachd_probe_rtt_seconds": "histogram",
    "reachd_host_rtt_seconds": "histogram",
    "reachd_probe_sent_total": "counter",
    "reachd_probe_received_total": "counter",
    "reachd_probe_lost_total": "counter",
    "reachd_probe_late_total": "counter",
    "reachd_probe_duplicates_total": "counter",
    "reachd_probe_reordered_total": "counter",
    "reachd_probe_samples_discarded_total": "counter",
    "reachd_probe_user_stamped_total": "counter",
    "reachd_probe_jitter_seconds": "gauge",
    "reachd_path_mtu_bytes": "gauge",
    "reachd_path_mtu_expected_bytes": "gauge",
    "reachd_path_mtu_mismatch": "gauge",
    "reachd_path_mtu_info": "gauge",
    "reachd_path_mtu_packets_total": "counter",
    "reachd_netlink_messages_total": "counter",
    "reachd_netlink_overruns_total": "counter",
    "reachd_netlink_resyncs_total": "counter",
    "reachd_topology_last_sync_timestamp_seconds": "gauge",
    "reachd_peers": "gauge",
    "reachd_socket_receive_buffer_bytes": "gauge",
    "reachd_discovery_errors_total": "counter",
    "reachd_probe_delay_seconds": "histogram",
    "reachd_probes_skipped_total": "counter",
    "reachd_throttle_ratio": "gauge",
    "reachd_series": "gauge",
    "reachd_series_dropped_total": "counter",
    "reachd_config_last_reload_successful": "gauge",
    "reachd_config_last_reload_success_timestamp_seconds": "gauge",
    "reachd_build_info": "gauge",
    "reachd_host_info": "gauge",
    "process_cpu_seconds_total": "counter",
    "process_open_fds": "gauge",
    "process_max_fds": "gauge",
    "process_virtual_memory_bytes": "gauge",
    "process_resident_memory_bytes": "gauge",
    "process_start_time_seconds": "gauge",
}
RTT_EDGES = [0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.02, 0.1, 1]


def check_against_capture(daemon, seen, peer, address):
    """sent_total is the number of packets on the cable; the snapshot may be 250 ms old."""
    begin = time.time()
    sent = daemon.probe(peer).sent
    end = time.time()
    requests = seen.requests(address)
    at_least = sum(1 for echo in requests if echo.at < begin - 0.4)
    at_most = sum(1 for echo in requests if echo.at <= end)
    assert at_least <= sent <= at_most, f"{peer}: sent {sent}, on the cable {at_least}..{at_most}"


@test(quick=True, alone=True)
def both_families_are_up_and_counted(lab):
    place = places.switched(lab)
    seen = places.capture(lab, place.hv)
    daemon = Daemon(lab, place.hv, configuration(*PEERS, interval="100ms", timeout="500ms",
                                                   mtu=False))
    daemon.wait_up("p4", "p6")
    deadline = time.monotonic() + 3
    while time.monotonic() < deadline:
        scrape = daemon.metrics()
        for peer, address in (("p4", PEER4), ("p6", PEER6)):
            check_accounting(scrape.probe(peer))
            check_against_capture(daemon, seen, peer, address)
        time.sleep(0.1)
    scrape = daemon.metrics()
    for peer, address in (("p4", PEER4), ("p6", PEER6)):
        probe = scrape.probe(peer)
        assert probe.received >= 25, probe
        assert not probe.failures and not probe.lost, probe
        assert (probe.late, probe.duplicates, probe.reordered) == (0, 0, 0), probe
        assert abs(probe.rtt_count - probe.received) <= 1, probe
        usual = places.ping(place.hv, address, count=20, interval=0.02)
        assert usual.minimum / 4 < probe.rtt_mean < usual.mean * 2 + 0.0005, \
            f"{peer}: mean rtt {probe.rtt_mean}, ping says {usual}"
        assert scrape.get("reachd_peer_state_changes_total", peer=peer) == 0
        assert scrape.get("reachd_probe_up", peer=peer, probe="icmp", address=address) == 1
        assert scrape.get("reachd_peer_info", peer=peer, address=address, kind="host") == 1
    assert scrape.get("reachd_probe_user_stamped_total", probe="icmp") == 0
    assert scrape.total("reachd_probe_samples_discarded_total") == 0
    assert scrape.total("reachd_probes_skipped_total") == 0
    assert scrape.get("reachd_peers", kind="host") == 2
    assert scrape.get("reachd_throttle_ratio") == 1


@test(alone=True)
def probes_keep_their_pace(lab):
    place = places.switched(lab, peers=5)
    seen = places.capture(lab, place.hv)
    peers = [{"name": f"p{n}", "address": f"10.77.0.{n}"} for n in range(11, 16)]
    daemon = Daemon(lab, place.hv, configuration(*peers, interval="200ms", mtu=False))
    daemon.wait_up(*(peer["name"] for peer in peers))
    seen.clear()
    time.sleep(4)
    phases = []
    for peer in peers:
        times = [echo.at for echo in seen.requests(peer["address"])]
        assert 19 <= len(times) <= 21, f"{len(times)} probes in 4 s at 200 ms"
        mean = (times[-1] - times[0]) / (len(times) - 1)
        assert abs(mean - 0.2) < 0.004, f"mean interval {mean}"
        gaps = [after - before for before, after in zip(times, times[1:])]
        assert min(gaps) > 0.1 and max(gaps) < 0.3, f"gaps {min(gaps)} .. {max(gaps)}"
        phases.append(times[0] % 0.2)
    assert len({round(phase, 2) for phase in phases}) > 1, f"all at once: {phases}"
    delay = daemon.metrics()
    late = (delay.get("reachd_probe_delay_seconds_count")
            - delay.get("reachd_probe_delay_seconds_bucket", le="0.05"))
    assert late <= 0.02 * delay.get("reachd_probe_delay_seconds_count"), f"{late} sent 50 ms late"


@test
def packets_are_as_configured(lab):
    place = places.switched(lab, peers=4)
    place.hv.ip("addr add 10.77.0.2/24 dev eth0", "link set eth0 mtu 9100")
    place.peer.ip("link set eth0 mtu 9100")
    place.switch.ip("link set p-hv1 mtu 9100", "link set p-peer mtu 9100", "link set br0 mtu 9100")
    seen = places.capture(lab, place.hv)
    daemon = Daemon(lab, place.hv, configuration(
        {"name": "plain", "address": PEER4},
        {"name": "long", "address": "10.77.0.12", "icmp": {"payload_bytes": 1400, "dscp": 46}},
        {"name": "short", "address": "fd77::12", "icmp": {"payload_bytes": 16, "dscp": 10}},
        {"name": "bound", "address": "10.77.0.13", "source": "10.77.0.2", "device": "eth0"},
        {"name": "big", "address": "10.77.0.14", "icmp": {"payload_bytes": 9000}},
        interval="200ms", mtu=False))
    daemon.wait_up("plain", "long", "short", "bound", "big")
    for address, size, traffic_class in ((PEER4, 56, 0), ("10.77.0.12", 1400, 46 << 2),
                                         ("fd77::12", 16, 10 << 2), ("10.77.0.13", 56, 0),
                                         ("10.77.0.14", 9000, 0)):
        request = seen.requests(address)[-1]
        assert len(request.payload) == size, f"{address}: payload of {len(request.payload)}"
        assert request.traffic_class == traffic_class, f"{address}: {request.traffic_class}"
    assert {echo.source for echo in seen.requests("10.77.0.13")} == {"10.77.0.2"}
    assert {echo.source for echo in seen.requests(PEER4)} == {HV4}
    assert daemon.metrics().has("reachd_peer_info", peer="bound", source="10.77.0.2",
                                device="eth0")


@test
def each_family_of_metrics_is_there(lab):
    place = places.switched(lab)
    daemon = Daemon(lab, place.hv, configuration(
        *PEERS, interval="200ms",
        host={"name": "rack1-hv\"1\\", "labels": {"zone": "z1"}}))
    scrape = daemon.wait_up("p4", "p6")
    missing = {name: kind for name, kind in FAMILIES.items() if scrape.types.get(name) != kind}
    assert not missing, f"missing or of another type: {missing}"
    assert scrape.has("reachd_host_info", host="rack1-hv\"1\\", zone="z1")
    reasons = scrape.label_values("reachd_probes_skipped_total", "reason")
    assert reasons == ["busy", "rate_limit", "throttle"], reasons
    reasons = scrape.label_values("reachd_probe_samples_discarded_total", "reason", probe="icmp")
    assert reasons == ["ambiguous", "clock_step", "starved"], reasons
    edges = scrape.label_values("reachd_probe_rtt_seconds_bucket", "le", peer="p4")
    assert sorted(float(edge) for edge in edges) == RTT_EDGES + [float("inf")], edges
    assert "1.0" in edges, "le is canonical"
    assert not scrape.has("reachd_probe_failures_total"), "a reason appears when it occurs"
    assert abs(scrape.get("process_start_time_seconds") - time.time()) < 60
    series = sum(1 for name, _ in scrape.series if name.startswith("reachd_"))
    assert 0.8 * series <= scrape.get("reachd_series") <= 1.5 * len(scrape.series), \
        f"reachd_series {scrape.get('reachd_series')}, counted {series} of {len(scrape.series)}"


@test
def promtool_finds_no_fault(lab):
    if not shutil.which("promtool"):
        skip("promtool is not installed (Debian package prometheus)")
    place = places.routed(lab)
    daemon = Daemon(lab, place.hv, configuration(
        {"name": "far", "address": places.FAR4}, {"name": "dead", "address": "10.77.0.99"},
        {"name": "label \"quoted\"\\", "address": places.FAR6, "labels": {"rack": "r\"1\\"}},
        interval="100ms", timeout="200ms", gateways=True))
    daemon.wait(lambda now: now.up("far") == 1 and now.up("dead") == 0, 5, "far up, dead down")
    text = daemon.get("/metrics").text
    process = place.hv.popen(["promtool", "check", "metrics"], stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    output, errors = process.communicate(text, timeout=10)
    assert process.returncode == 0 and not (output + errors).strip(), output + errors
