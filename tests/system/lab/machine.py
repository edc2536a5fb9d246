"""A real virtual machine as a guest: qemu, Debian's kernel, an initramfs of busybox and modules.

Emulated in software (TCG), 128 MB, one at a time on the whole computer. The kernel package is
fetched once with apt-get, unpacked without being installed, and kept in $REACHD_TEST_CACHE, by
default a folder of the user's in the temporary directory. The initramfs is made anew each time.

Inside are eth0 (virtio), the addresses it was given, answers to ping and ARP as Linux gives them,
and an HTTP server on port 80.
"""

import contextlib
import fcntl
import gzip
import json
import os
import pathlib
import platform
import re
import shutil
import signal
import stat
import subprocess
import tempfile
import time

from . import testing
from .guest import BRIDGE, link_local
from .network import CommandFailed, Tap, settle

QEMU = "qemu-system-x86_64"
BUSYBOX = "/bin/busybox"
KERNEL_META_PACKAGE = "linux-image-cloud-amd64"
# What a guest loads, and what a machine that is a hypervisor itself does.
MODULES = {"order": ("virtio_pci", "virtio_net"), "order.hypervisor": ("bridge", "veth")}
MEMORY_MB = 128
UP = "guest: up"

INIT = """#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /www
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
for module in $(cat /modules/order); do insmod /modules/$module.ko; done
ip link set lo up
echo 1 > /proc/sys/net/ipv4/conf/eth0/arp_notify
echo 0 > /proc/sys/net/ipv6/conf/eth0/accept_ra
for word in $(cat /proc/cmdline); do
    case $word in guest.address=*) ip addr add ${word#*=} dev eth0 ;; esac
done
ip link set eth0 up
httpd -p 80 -h /www
echo "%s"
while :; do sleep 3600; done
""" % UP


def cache_folder():
    """Ours alone: what lies there is run as a kernel."""
    folder = os.environ.get("REACHD_TEST_CACHE") or \
        os.path.join(tempfile.gettempdir(), f"reachd-test-cache-{os.getuid()}")
    os.makedirs(folder, mode=0o700, exist_ok=True)
    status = os.lstat(folder)
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o022:
        raise RuntimeError(f"{folder} is not a folder that only this user can write to")
    return folder


@contextlib.contextmanager
def _locked(name, within):
    """Holds a lock of the cache's; the kernel gives it back however the process ends."""
    with open(os.path.join(cache_folder(), name), "w", encoding="ascii") as file:
        deadline = time.monotonic() + within
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{name}: held by another for {within} s") from None
                time.sleep(0.1)
        yield


# The kernel


def _said(command, **options):
    result = subprocess.run(command, capture_output=True, text=True, timeout=180, **options)
    if result.returncode != 0:
        testing.skip(f"no kernel for the guest: {' '.join(command)}: {result.stderr.strip()}")
    return result.stdout


def _kernel_package():
    depends = _said(["apt-cache", "depends", KERNEL_META_PACKAGE])
    found = re.search(r"Depends: (linux-image-\S+)", depends)
    if not found:
        testing.skip(f"no kernel for the guest: apt-cache knows no {KERNEL_META_PACKAGE}")
    return found[1]


def _find(folder, name):
    for where, _, files in os.walk(folder):
        if name in files:
            return os.path.join(where, name)
    raise RuntimeError(f"{name} is not in {folder}")


def _needs(path):
    with open(path, "rb") as file:
        found = re.search(rb"\0depends=([a-z0-9_,]*)\0", file.read())
    return [name for name in found[1].decode().split(",") if name] if found else []


def _add_module(folder, name, order):
    """`order` gets the module's file, after those it needs."""
    path = _find(folder, f"{name}.ko")
    for needed in _needs(path):
        _add_module(folder, needed, order)
    if path not in order:
        order.append(path)


def _unpack_kernel(target):
    """The kernel and the modules that the guest needs, into a folder that does not exist yet."""
    work = tempfile.mkdtemp(prefix="kernel-", dir=cache_folder())
    try:
        _said(["apt-get", "-q", "download", _kernel_package()], cwd=work)
        package = next(name for name in os.listdir(work) if name.endswith(".deb"))
        tree, made = os.path.join(work, "tree"), os.path.join(work, "made")
        os.mkdir(made)
        _said(["dpkg", "-x", os.path.join(work, package), tree])
        kernel = next(name for name in os.listdir(os.path.join(tree, "boot"))
                      if name.startswith("vmlinuz-"))
        shutil.copy(os.path.join(tree, "boot", kernel), os.path.join(made, "vmlinuz"))
        for name, modules in MODULES.items():
            order = []
            for module in modules:
                _add_module(os.path.join(tree, "lib", "modules"), module, order)
            for path in order:
                shutil.copy(path, made)
            with open(os.path.join(made, name), "w", encoding="ascii") as file:
                file.write("\n".join(os.path.basename(path)[:-len(".ko")] for path in order))
        os.rename(made, target)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def kernel_folder():
    """vmlinuz, the modules, and their names in the order of loading (MODULES)."""
    folder = os.path.join(cache_folder(), "kernel-2")  # another number for other contents
    with _locked("kernel.lock", within=200):
        if not os.path.isdir(folder):
            _unpack_kernel(folder)
    return folder


# The initramfs


def _entry(name, mode, content=b"", device=(0, 0)):
    """One file of a cpio archive in the "newc" format (the kernel's initramfs buffer format)."""
    path = name.encode() + b"\0"
    fields = (0, mode, 0, 0, 1, 0, len(content), 0, 0, *device, len(path), 0)
    entry = b"070701" + b"".join(b"%08x" % field for field in fields) + path
    entry += b"\0" * (-len(entry) % 4)
    return entry + content + b"\0" * (-len(content) % 4)


def _contents(path):
    with open(path, "rb") as file:
        return file.read()


def _libraries(program):
    """Paths of what a program is linked to, the loader too."""
    listed = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    return re.findall(r"(/\S+) \(0x", listed)


def _with_folders(paths):
    """The folders that hold these paths, from the top."""
    return sorted({folder for path in paths for folder in map(str, pathlib.PurePath(path).parents)
                   if folder not in (".", "/")})


def make_initramfs(target, init=INIT, programs=()):
    """`programs` of this computer get into /bin, and their libraries to where they are here."""
    folder = kernel_folder()
    files = {"init": init.encode(), "bin/busybox": _contents(BUSYBOX)}
    for program in programs:
        files[f"bin/{os.path.basename(program)}"] = _contents(program)
        files |= {path[1:]: _contents(path) for path in _libraries(program)}
    files |= {f"modules/{name}": _contents(os.path.join(folder, name))
              for name in sorted(os.listdir(folder)) if name != "vmlinuz"}
    archive = [_entry(name, stat.S_IFDIR | 0o755) for name in ("dev", *_with_folders(files))]
    archive.append(_entry("dev/console", stat.S_IFCHR | 0o600, device=(5, 1)))
    archive += [_entry(path, stat.S_IFREG | 0o755, data) for path, data in files.items()]
    archive.append(_entry("TRAILER!!!", 0))
    with gzip.open(target, "wb", compresslevel=1) as file:
        file.write(b"".join(archive))


def require():
    """Skips the test where no virtual machine can run."""
    if platform.machine() != "x86_64":
        testing.skip(f"no virtual machine: its kernel is x86_64, this is {platform.machine()}")
    for program, package in ((QEMU, "qemu-system-x86"), (BUSYBOX, "busybox-static"),
                             ("apt-get", "apt"), ("dpkg", "dpkg")):
        if not shutil.which(program):
            testing.skip(f"no virtual machine: {program} is missing (Debian package {package})")
    Tap.require()


class VirtualMachine:
    """Made by virtual_machine()."""

    def __init__(self, lab, hv, name, *addresses, port="vnet0", bridge=BRIDGE,
                 mac="52:54:00:12:34:56", uuid="5a1ab9f4-0b8c-4a43-bd0c-5f3dc1d3c0a1",
                 json_device=False, arguments=()):
        self.hv, self.name, self.port, self.mac, self.uuid = hv, name, port, mac, uuid
        folder = tempfile.mkdtemp(prefix="vm-", dir=lab.directory)
        self._console = os.path.join(folder, "console")
        self._initramfs = os.path.join(folder, "initramfs")
        make_initramfs(self._initramfs)
        self._begin = time.monotonic()
        self.process = hv.popen([*self._command(addresses, json_device), *arguments],
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, text=True, bufsize=1)
        self._answer("QMP")
        self.do("qmp_capabilities")
        tap_mac = "fe" + mac[2:]  # libvirt's rule
        hv.ip(f"link set {port} address {tap_mac}",
              *([f"link set {port} master {bridge}"] if bridge else []), f"link set {port} up")
        self.do("cont")

    def _command(self, addresses, json_device):
        words = " ".join(f"guest.address={address}" for address in addresses)
        device = {"netdev": "hostnet0", "id": "net0", "mac": self.mac, "romfile": ""}
        plain = ",".join(["virtio-net-pci", *(f"{key}={device[key]}" for key in device)])
        in_json = json.dumps({"driver": "virtio-net-pci", **device})
        return [QEMU, "-name", f"guest={self.name},debug-threads=on", "-S",
                "-machine", "pc,accel=tcg", "-m", str(MEMORY_MB), "-smp", "1",
                "-uuid", self.uuid, "-no-user-config", "-nodefaults", "-display", "none",
                "-serial", f"file:{self._console}", "-qmp", "stdio",
                "-kernel", os.path.join(kernel_folder(), "vmlinuz"), "-initrd", self._initramfs,
                "-append", f"console=ttyS0 quiet panic=-1 mitigations=off {words}",
                "-netdev", f"tap,id=hostnet0,ifname={self.port},script=no,downscript=no",
                "-device", in_json if json_device else plain]

    def _answer(self, key):
        """The next line of qemu's monitor that has this key; events in between are not kept."""
        while True:
            line = self.process.stdout.readline()
            if not line:
                raise CommandFailed(f"{QEMU} ended with {self.process.wait()}")
            if not line.startswith("{"):
                raise CommandFailed(f"{QEMU}: {line.strip()}")
            message = json.loads(line)
            if "error" in message:
                raise CommandFailed(f"{QEMU}: {message['error']['desc']}")
            if key in message:
                return message[key]

    def do(self, command, **arguments):
        """A command of qemu's monitor (QMP), such as "system_reset"."""
        self.process.stdin.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        return self._answer("return")

    @property
    def pid(self):
        return self.process.pid

    @property
    def link_local(self):
        return link_local(self.mac)

    def console(self):
        with open(self._console, encoding="utf-8", errors="replace") as file:
            return file.read()

    def times_up(self):
        """How often it has booted so far."""
        return self.console().count(UP)

    def wait_up(self, times=1, within=60.0):
        """Its addresses are set, though those of IPv6 still tentative (its kernel makes sure for a
        second or two that nobody else has them); returns the seconds since qemu was started."""
        settle(lambda: self.times_up() >= times, within, f"{self.name} is up")
        return time.monotonic() - self._begin

    def pause(self):
        """As a guest that hangs: its tap keeps its carrier."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self):
        self.process.send_signal(signal.SIGCONT)

    def reset(self):
        """The reset button; wait_up(times=2) waits for the end of it."""
        self.do("system_reset")

    def set_link(self, up):
        """The cable inside qemu: the guest loses its carrier, the tap does not."""
        self.do("set_link", name="net0", up=up)

    def close(self):
        """As a power cut: the tap goes away."""
        self.process.kill()
        self.process.wait()


@contextlib.contextmanager
def virtual_machine(lab, hv, name, *addresses, **options):
    """A virtual machine for the block; addresses have prefix lengths. See VirtualMachine."""
    require()
    with _locked("machine.lock", within=200):
        machine = VirtualMachine(lab, hv, name, *addresses, **options)
        try:
            yield machine
        finally:
            machine.close()


SCRIPT_HEAD = """#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /run /tmp
/bin/busybox --install -s /tmp
export PATH=/bin:/tmp
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mount -t tmpfs run /run
for module in $(cat /modules/order.hypervisor); do insmod /modules/$module.ko; done
ip() { /bin/ip "$@"; }  # not the one in busybox, which knows little
ip link set lo up
"""
SCRIPT_MEMORY_MB = 512
SCRIPT_END = "script: end"


def run_script(lab, script, programs, within):
    """A virtual machine without any network that runs a shell script as a hypervisor of its own;
    returns what it wrote. `programs` are this computer's, `ip` must be among them, and there is
    busybox. For what this computer's kernel lacks."""
    require()
    folder = tempfile.mkdtemp(prefix="vm-", dir=lab.directory)
    initramfs, console = os.path.join(folder, "initramfs"), os.path.join(folder, "console")
    init = f"{SCRIPT_HEAD}{script}\necho '{SCRIPT_END}'\npoweroff -f\n"
    make_initramfs(initramfs, init, programs)
    command = [QEMU, "-machine", "pc,accel=tcg", "-m", str(SCRIPT_MEMORY_MB), "-smp", "1",
               "-no-user-config", "-nodefaults", "-display", "none", "-no-reboot",
               "-serial", f"file:{console}",
               "-kernel", os.path.join(kernel_folder(), "vmlinuz"), "-initrd", initramfs,
               "-append", "console=ttyS0 quiet panic=-1 mitigations=off"]
    with _locked("machine.lock", within=200):
        machine = lab.namespace("script").popen(command, stdin=subprocess.DEVNULL)

        def ended():
            text = _contents(console).decode(errors="replace") if os.path.exists(console) else ""
            assert SCRIPT_END in text or machine.poll() is None, f"{QEMU} ended: {text}"
            return text if SCRIPT_END in text else None
        try:
            return settle(ended, within, "the script's end", every=0.2)
        except AssertionError:
            print(_contents(console).decode(errors="replace"))
            raise
        finally:
            machine.kill()
            machine.wait()
