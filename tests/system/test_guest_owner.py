"""Names of virtual machines that ordinary users run: theirs count on their own taps only."""

import subprocess

from lab import guest
from lab.daemon import Daemon
from lab.guest_view import guests_only, inventory
from lab.machine import QEMU, require
from lab.network import settle
from lab.testing import SNAPSHOT_AGE, test

OWNER, OTHER = 4711, 4712
MAC, OTHER_MAC = "52:54:00:00:47:11", "52:54:00:00:47:12"


def machine(hv, uid, name, *macs):
    """A virtual machine of this user, made and never started: only its process counts. Its cards
    have no tap, which such a user may not open everywhere: the MAC of the tap tells whose it is."""
    cards = [word for mac in macs for word in ("-device", f"virtio-net-pci,mac={mac},romfile=")]
    return hv.popen(["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups",
                     QEMU, "-name", f"guest={name}", "-S", "-machine", "pc,accel=tcg", "-m", "32",
                     "-no-user-config", "-nodefaults", "-display", "none", *cards],
                    stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@test()
def machine_of_a_user_is_named_on_his_own_tap(lab):
    require()
    hv = guest.hypervisor(lab, link_local=False)
    for port, mac, owner in (("vnet0", MAC, f" user {OWNER}"), ("vnet1", OTHER_MAC, "")):
        hv.ip(f"tuntap add {port} mode tap{owner}",
              f"link set {port} address fe{mac[2:]}",  # libvirt's rule
              f"link set {port} master br0", f"link set {port} up")
    processes = [machine(hv, OTHER, "liar", MAC, OTHER_MAC), machine(hv, OWNER, "web01", MAC)]
    try:
        daemon = Daemon(lab, hv, guests_only())

        def found():
            assert all(process.poll() is None for process in processes)
            known = inventory(daemon)["vnet0"]
            assert (known["name"], known["vm"], known["macs"]) == ("web01", "web01", [MAC]), known
            return True
        settle(found, 5 + SNAPSHOT_AGE, "the machine is named")
        assert not inventory(daemon)["vnet1"].get("vm"), inventory(daemon)
    finally:
        for process in processes:
            process.kill()
            process.wait()
