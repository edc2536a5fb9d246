"""The real Prometheus of Debian scrapes the daemon and answers questions about it."""

import json
import os
import shutil
import subprocess
import time
import urllib.parse

from lab import places, web
from lab.daemon import Daemon, configuration
from lab.network import settle
from lab.places import PEER4, PEER6
from lab.testing import skip, test

PROMETHEUS_PORT = 19090
CONFIG = """global: { scrape_interval: 1s, evaluation_interval: 1s }
scrape_configs:
- job_name: reachd
  static_configs: [ { targets: ["127.0.0.1:10862"] } ]
"""


class Prometheus:
    def __init__(self, lab, namespace):
        if not shutil.which("prometheus"):
            skip("prometheus is not installed (Debian package prometheus)")
        self._namespace = namespace
        directory = os.path.join(lab.directory, "prometheus")
        os.mkdir(directory)
        path = os.path.join(directory, "prometheus.yml")
        with open(path, "w", encoding="ascii") as file:
            file.write(CONFIG)
        self._log = open(os.path.join(directory, "log"), "wb")
        self._process = namespace.popen(
            ["prometheus", f"--config.file={path}", f"--storage.tsdb.path={directory}/data",
             f"--web.listen-address=127.0.0.1:{PROMETHEUS_PORT}", "--log.level=warn"],
            stdin=subprocess.DEVNULL, stdout=self._log, stderr=subprocess.STDOUT)
        lab.at_end(self._process.kill)

    def get(self, path, **parameters):
        query = urllib.parse.urlencode(parameters)
        response = web.request(self._namespace, PROMETHEUS_PORT, f"/api/v1/{path}?{query}")
        answer = json.loads(response.text)
        assert answer["status"] == "success", answer
        return answer["data"]

    def query(self, expression):
        """{labels: value} of an instant query."""
        return {tuple(sorted(series["metric"].items())): float(series["value"][1])
                for series in self.get("query", query=expression)["result"]}

    def value(self, expression):
        found = self.query(expression)
        if len(found) != 1:
            raise LookupError(f"{expression}: {found}")
        return next(iter(found.values()))


@test(within=120)
def prometheus_scrapes_and_answers(lab):
    place = places.wired(lab, peers=3)
    place.peer.filter(
        "input", "ip daddr 10.77.0.12 icmp type echo-request numgen inc mod 4 0 drop",
        "ip daddr 10.77.0.13 icmp type echo-request reject with icmp type admin-prohibited")
    place.wire.do("delay both 1500")
    daemon = Daemon(lab, place.hv, configuration(
        {"name": "well", "address": PEER4, "labels": {"rack": "r1"}},
        {"name": "well6", "address": PEER6},
        {"name": "lossy", "address": "10.77.0.12"}, {"name": "filtered", "address": "10.77.0.13"},
        interval="100ms", timeout="300ms"))
    prometheus = Prometheus(lab, place.hv)
    settle(lambda: prometheus.value('up{job="reachd"}') == 1, 15, "up == 1", every=0.2)
    settle(lambda: prometheus.value('count_over_time(up{job="reachd"}[1m])') >= 16, 30,
           "16 scrapes", every=0.5)
    assert prometheus.value('min_over_time(up{job="reachd"}[1m])') == 1
    targets = prometheus.get("targets")["activeTargets"]
    assert targets[0]["lastError"] == "" and targets[0]["health"] == "up", targets

    ratio = "increase(reachd_probe_lost_total{{peer='{0}'}}[12s]) / " \
            "increase(reachd_probe_sent_total{{peer='{0}'}}[12s])"
    assert prometheus.value(ratio.format("well")) == 0
    lossy = prometheus.value(ratio.format("lossy"))
    assert 0.2 < lossy < 0.3, f"loss ratio {lossy}, the filter drops a quarter"
    assert prometheus.value(ratio.format("filtered")) > 0.9

    median = "histogram_quantile(0.5, rate(reachd_probe_rtt_seconds_bucket{peer='%s'}[12s]))"
    for peer in ("well", "well6", "lossy"):
        value = prometheus.value(median % peer)
        assert 0.002 < value <= 0.005, f"median of {peer}: {value}, the wire takes 3 ms"
    total = "histogram_quantile(0.5, sum by (le) (rate(reachd_host_rtt_seconds_bucket[12s])))"
    assert 0.002 < prometheus.value(total) <= 0.005
    pace = prometheus.value("rate(reachd_probe_sent_total{peer='well'}[12s])")
    assert 9 < pace < 11, f"{pace} probes a second"

    down = prometheus.query("reachd_peer_up == 0")
    assert [dict(labels)["peer"] for labels in down] == ["filtered"], down
    assert prometheus.value("reachd_probe_failures_total{peer='filtered'}") > 10
    assert dict(next(iter(prometheus.query("reachd_probe_failures_total{peer='filtered'}"))))[
        "reason"] == "prohibited"
    joined = prometheus.query("reachd_peer_up * on (peer, address) group_left (rack) "
                              "reachd_peer_info{rack!=''}")
    assert len(joined) == 1 and dict(next(iter(joined)))["rack"] == "r1", joined
    assert prometheus.value("changes(reachd_peer_up{peer='lossy'}[12s])") == 0
    assert prometheus.query("reachd_build_info")
    metadata = prometheus.get("metadata")
    assert metadata["reachd_probe_sent_total"][0]["type"] == "counter"
    assert metadata["reachd_probe_rtt_seconds"][0]["type"] == "histogram"

    # A peer that goes: its series become stale at once, not after five minutes.
    daemon.reload(configuration({"name": "well", "address": PEER4}, interval="100ms"))
    settle(lambda: not prometheus.query("reachd_peer_up{peer='lossy'}"), 5, "stale", every=0.2)
    time.sleep(1)
    assert prometheus.value("reachd_peer_up{peer='well'}") == 1
