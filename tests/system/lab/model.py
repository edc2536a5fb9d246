"""The daemon's model of the network beside the kernel's own account of it (ip -d -j).

Both become {index: {field: value}} with the same fields, so that a difference can be named.
"""

import re
import time

from .testing import SNAPSHOT_AGE

# INTERFACE.md's words for the kernel's kinds; what is in neither is "other".
KINDS = {"bridge": "bridge", "veth": "veth", "macvtap": "macvtap", "vxlan": "vxlan",
         "bond": "bond", "vlan": "vlan", "openvswitch": "ovs"}

UNTOLD = "changed, not told"


def _kind(link):
    info = link.get("linkinfo", {})
    if "info_kind" not in info:
        return "other" if link["link_type"] == "loopback" else "physical"
    if info["info_kind"] == "tun":
        return "tap" if info["info_data"].get("type") == "tap" else "other"
    return KINDS.get(info["info_kind"], "other")


def _port(link):
    info = link.get("linkinfo", {})
    if info.get("info_slave_kind") != "bridge":
        return None
    data = info["info_slave_data"]
    return {"state": data["state"], "isolated": data["isolated"]}


def _lower(link):
    """The device below or the other end, by name; a VXLAN tells it among its own settings."""
    return link.get("link") or link.get("linkinfo", {}).get("info_data", {}).get("link")


def _carrier(link):
    """UNTOLD while the kernel has changed it, but not said so: it tells of 100 virtual links a
    second, and sets their operational state with that."""
    carrier = "LOWER_UP" in link["flags"]
    told = _kind(link) not in ("veth", "bridge") or carrier == (link["operstate"] == "UP")
    return carrier if told else UNTOLD


def _addresses(link):
    return sorted(f"{entry['local']}/{entry['prefixlen']}" for entry in link.get("addr_info", []))


def kernel_links(namespace):
    """As the kernel tells it now."""
    addresses = {link["ifindex"]: _addresses(link) for link in namespace.json("ip -j addr show")}
    return {link["ifindex"]: {
        "name": link["ifname"],
        "kind": _kind(link),
        "mtu_bytes": link["mtu"],
        "admin_up": "UP" in link["flags"],
        "carrier": _carrier(link),
        "oper_state": link["operstate"].lower(),
        "mac": link.get("address"),
        "master": link.get("master"),
        "lower": _lower(link),
        "lower_namespace": link.get("link_netnsid"),
        "port": _port(link),
        "addresses": addresses.get(link["ifindex"], []),
    } for link in namespace.json("ip -d -j link show")}


def model_links(document):
    """As reachd tells it: the object of /api/v1/topology."""
    fields = ("name", "kind", "mtu_bytes", "admin_up", "carrier", "mac", "master", "lower",
              "lower_namespace", "port")
    return {link["index"]: {
        **{field: link[field] for field in fields},
        "oper_state": link["oper_state"].replace("_", ""),
        # The zone of a link-local address is the device, which the kernel does not repeat.
        "addresses": sorted(re.sub("%[^/]*", "", text) for text in link["addresses"]),
    } for link in document["links"]}


def differences(dumps, model):
    """In words; none: each thing the model says, the kernel said in one of the dumps."""
    found = []
    for index in set(model).union(*dumps):
        accounts = [dump[index] for dump in dumps if index in dump]
        if index not in model:
            if len(accounts) == len(dumps):
                found.append(f"#{index} {accounts[-1]['name']} is not in the model")
        elif not accounts:
            found.append(f"#{index} {model[index]['name']} is in the model only")
        else:
            found += [f"#{index} {accounts[-1]['name']}: {field} {said!r}, "
                      f"the kernel says {accounts[-1][field]!r}"
                      for field, said in model[index].items()
                      if all(account[field] not in (said, UNTOLD) for account in accounts)]
    return found


def wait_in_step(daemon, within=1.0):
    """The model equals what the kernel dumps, at most `within` seconds from now; returns it.

    The kernel goes on changing its tables after a storm (carriers of virtual devices: 100 links a
    second): what it says now or said since this began is right.
    """
    begin = time.monotonic()
    dumps = [kernel_links(daemon.namespace)]
    while True:
        asked = time.monotonic()
        model = model_links(daemon.api("topology"))
        dumps.append(kernel_links(daemon.namespace))
        wrong = differences(dumps, model)
        if not wrong:
            return model
        assert asked - begin < within + SNAPSHOT_AGE, \
            f"not in step {asked - begin:.2f} s later, {len(wrong)} differences: {wrong[:8]}"
        time.sleep(0.02)
