"""Limits: reached with a counter and without harm."""

import os
import time

from lab import places
from lab.daemon import Daemon, configuration, run_once
from lab.metrics import check_accounting
from lab.network import settle
from lab.testing import test


def loopback_peers(number):
    return [{"name": f"peer-{n}", "address": f"127.1.{n // 250}.{n % 250 + 1}"}
            for n in range(number)]


@test
def probes_per_second(lab):
    place = places.switched(lab)
    seen = places.capture(lab, place.hv, "lo")
    daemon = Daemon(lab, place.hv, configuration(*loopback_peers(20), interval="100ms",
                                                 limits={"probes_per_second": 50}), ready=False)
    settle(lambda: daemon.metrics().total("reachd_probe_sent_total") > 50, 5, "some are sent")
    seen.clear()
    before = daemon.metrics()
    time.sleep(3)
    after = daemon.metrics()
    sent = len([echo for echo in seen.requests() if echo.outgoing])
    assert 100 <= sent <= 170, f"{sent} probes in 3 s, 50 a second are allowed"
    skipped = {reason: after.get("reachd_probes_skipped_total", reason=reason)
               - before.get("reachd_probes_skipped_total", reason=reason)
               for reason in ("rate_limit", "throttle", "busy")}
    assert 350 < sum(skipped.values()) < 500, f"200 a second are due: {skipped}"
    assert after.get("reachd_throttle_ratio") == 1 and not skipped["throttle"], \
        f"the loop is not late, so nothing is throttled: {skipped}"
    assert after.total("reachd_probe_lost_total") == 0, "what is skipped is not lost"
    assert after.total("reachd_probe_failures_total") == 0
    share = [after.probe(f"peer-{n}").sent for n in range(20)]
    assert min(share) > 0, f"some are never asked: {share}"


@test
def more_peers_than_allowed(lab):
    path = os.path.join(lab.directory, "many.json")
    with open(path, "w", encoding="ascii") as file:
        file.write('{ "limits": { "peers": 2 }, "peers": [ {"address": "10.0.0.1"}, '
                   '{"address": "10.0.0.2"}, {"address": "10.0.0.3"} ] }')
    code, _, errors = run_once(lab, ["--config", path, "--check"])
    assert code == 2 and "/peers" in errors and "limits" in errors, f"exit {code}: {errors}"


@test
def series(lab):
    place = places.switched(lab)
    daemon = Daemon(lab, place.hv, configuration(*loopback_peers(200), interval="200ms",
                                                 limits={"series": 1000}))
    scrape = daemon.metrics()
    reachd = [name for name, _ in scrape.series if name.startswith("reachd_")]
    assert len(reachd) <= 1100, f"{len(reachd)} series"
    settle(lambda: daemon.metrics().get("reachd_series_dropped_total") > 0, 2, "dropped, counted")
    assert daemon.metrics().has("reachd_build_info") and daemon.metrics().has("reachd_peers")
    assert daemon.metrics().get("reachd_peers", kind="host") == 200, "all are probed"


@test(alone=True)
def two_thousand_peers(lab):
    space = lab.namespace("hv1")
    daemon = Daemon(lab, space, configuration(*loopback_peers(2000)))
    time.sleep(5)
    scrape = daemon.metrics()
    for n in range(0, 2000, 37):
        check_accounting(scrape.probe(f"peer-{n}"))
    assert scrape.total("reachd_probe_lost_total") == 0
    assert len(scrape.all("reachd_peer_up")) == 2000
    assert sum(scrape.all("reachd_peer_up").values()) == 2000
    assert scrape.total("reachd_probes_skipped_total") == 0
    received = scrape.total("reachd_probe_received_total")
    assert scrape.get("reachd_probe_user_stamped_total", probe="icmp") <= received / 1000
    count = scrape.get("reachd_probe_delay_seconds_count")
    late = count - scrape.get("reachd_probe_delay_seconds_bucket", le="0.05")
    assert late <= count * 0.02, f"{late} of {count} probes were sent 50 ms late"
