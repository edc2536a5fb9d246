"""Guests as the daemon tells of them, and guests made to say something of themselves."""

from . import frames, guest
from .daemon import configuration
from .metrics import Probe
from .testing import SNAPSHOT_AGE

ABSENT4, ABSENT6 = "10.77.0.99", "fd77::99"  # for guests to ask for

# From a port that comes up to the first probe of an address in use; and from the claim of one.
SETTLE_TIME, CLAIM_TIME = 2.0, 10.0


def guests_only(**sections):
    return configuration(guests=True, **sections)


def arp(scrape, name, address):
    return Probe(scrape, {"peer": name, "address": address, "probe": "arp"})


def ups(scrape, name):
    """{address: reachd_peer_up} of a guest."""
    return {dict(have)["address"]: value
            for have, value in scrape.all("reachd_peer_up", peer=name).items()}


def wait_states(daemon, name, value, *addresses, within):
    """Exactly these addresses of the guest are probed, and in this state."""
    wanted = {address: value for address in addresses}

    def check(scrape):
        assert ups(scrape, name) == wanted, f"{ups(scrape, name)}"
        return True
    return daemon.wait(check, within + SNAPSHOT_AGE, f"{name}: {wanted}")


def inventory(daemon):
    """The guests of the API, by device."""
    return {one["device"]: one for one in daemon.api("guests")["guests"]}


def speak(inside, *sources):
    """A guest uses its addresses: it asks for a neighbour."""
    for source in sources:
        target = ABSENT6 if ":" in source else ABSENT4
        if isinstance(inside, guest.TapGuest):
            inside.do("ask", sender=source, target=target)
        elif ":" in source:
            inside.send(frames.solicitation(inside.mac, source, target))
        else:
            inside.send(frames.arp(frames.REQUEST, inside.mac, source, target))
