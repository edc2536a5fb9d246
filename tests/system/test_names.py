"""Host names: resolved off the probe loop, looked up again, and said when they are not."""

import os

from lab import places
from lab.daemon import Daemon, configuration
from lab.network import settle
from lab.places import PEER4, PEER6
from lab.testing import test

NSSWITCH = "hosts: files dns\n"
RESOLV = "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n"  # nobody answers there


class Names:
    """The hosts file that the daemon sees; its own mount namespace hides the machine's."""

    def __init__(self, lab, hosts):
        self._hosts = os.path.join(lab.directory, "hosts")
        self.files = {}
        for target, text in (("/etc/hosts", hosts), ("/etc/nsswitch.conf", NSSWITCH),
                             ("/etc/resolv.conf", RESOLV)):
            if not os.path.exists(target):
                continue
            source = os.path.join(lab.directory, os.path.basename(target))
            with open(source, "w", encoding="ascii") as file:
                file.write(text)
            self.files[os.path.realpath(target)] = source

    def change(self, hosts):
        """In place: a bind mount shows the file, not its name."""
        with open(self._hosts, "w", encoding="ascii") as file:
            file.write(hosts)


def address_of(scrape, peer):
    values = scrape.label_values("reachd_peer_up", "address", peer=peer)
    return values[0] if len(values) == 1 else None


@test(quick=True)
def names_of_both_families(lab):
    place = places.switched(lab, peers=2)
    names = Names(lab, f"{PEER4} web.lab both.lab\n{PEER6} six.lab both.lab\n")
    daemon = Daemon(lab, place.hv, configuration(
        {"name": "web", "address": "web.lab"}, {"name": "six", "address": "six.lab"},
        {"name": "four", "address": "both.lab", "family": "ipv4"},
        {"name": "v6", "address": "both.lab", "family": "ipv6"},
        {"address": "web.lab", "source": places.HV4}, interval="100ms"), files=names.files)
    scrape = daemon.wait_up("web", "six", "four", "v6", "web.lab")
    found = {peer: address_of(scrape, peer) for peer in ("web", "six", "four", "v6", "web.lab")}
    assert found == {"web": PEER4, "six": PEER6, "four": PEER4, "v6": PEER6, "web.lab": PEER4}


@test
def unresolved_is_said_and_hurts_nobody(lab):
    place = places.switched(lab, peers=2)
    names = Names(lab, f"{PEER4} web.lab four.lab\n")
    daemon = Daemon(lab, place.hv, configuration(
        {"name": "web", "address": "web.lab"}, {"name": "gone", "address": "nowhere.lab"},
        {"name": "six", "address": "four.lab", "family": "ipv6"},
        interval="100ms", timeout="300ms"), files=names.files)
    daemon.wait_up("web")
    scrape = daemon.wait(lambda now: now.total("reachd_probe_failures_total", peer="gone",
                                               reason="unresolved") >= 3
                         and now.total("reachd_probe_failures_total", peer="six",
                                       reason="unresolved") >= 3, 4, "unresolved counted")
    for peer in ("gone", "six"):
        for name in ("sent", "received", "lost"):
            assert scrape.total(f"reachd_probe_{name}_total", peer=peer) == 0
    assert scrape.total("reachd_discovery_errors_total", source="dns") >= 1
    assert not scrape.probe("web").failures
    names.change(f"{PEER4} web.lab\n10.77.0.12 nowhere.lab\n")
    scrape = daemon.wait_up("gone", within=12)
    assert address_of(scrape, "gone") == "10.77.0.12"


@test(within=90)
def a_name_that_moves_is_followed(lab):
    place = places.switched(lab, peers=3)
    names = Names(lab, f"{PEER4} web.lab\n10.77.0.12 two.lab\n10.77.0.13 two.lab\n")
    daemon = Daemon(lab, place.hv, configuration(
        {"name": "web", "address": "web.lab"}, {"name": "two", "address": "two.lab"},
        interval="200ms"), files=names.files)
    scrape = daemon.wait_up("web", "two")
    kept = address_of(scrape, "two")
    # The other order of the same addresses is no move.
    names.change("10.77.0.12 web.lab\n10.77.0.13 two.lab\n10.77.0.12 two.lab\n")
    scrape = settle(lambda: (now := daemon.metrics()) and address_of(now, "web") == "10.77.0.12"
                    and now, 50, "looked up again", every=0.2)
    assert address_of(scrape, "two") == kept, "kept while still in the answer"
    left = [key for key in scrape.series if {("peer", "web"), ("address", PEER4)} <= key[1]]
    assert not left, f"series of the old address: {left}"
    # A name that is not found any more keeps its last good address.
    names.change("\n")
    settle(lambda: daemon.metrics().total("reachd_discovery_errors_total", source="dns") >= 2,
           50, "lookups fail now", every=0.2)
    scrape = daemon.metrics()
    assert scrape.up("web") == 1 and address_of(scrape, "web") == "10.77.0.12"
    assert scrape.total("reachd_probe_failures_total", peer="web") == 0
