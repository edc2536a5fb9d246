"""Network namespaces, cables, switches and wires, and commands run in them.

A namespace lives exactly as long as the descriptor that the test process holds: it has no name in
/run/netns, so that nothing is left behind even when the test is killed. While a test runs it can be
entered from outside with `nsenter --net=/proc/PID/fd/N` (both are in Namespace.path). Each process
started here is killed with the test process.
"""

import contextlib
import fcntl
import itertools
import json
import os
import shlex
import socket
import struct
import subprocess
import time

from . import kernel, testing


SIOCGIFHWADDR = 0x8927


class CommandFailed(Exception):
    pass


class Namespace:
    """One network namespace: a host, a router, a switch."""

    def __init__(self, name):
        self.name = name
        own = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            kernel.unshare(kernel.CLONE_NEWNET)
            try:
                self.descriptor = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            finally:
                kernel.setns(own, kernel.CLONE_NEWNET)
        finally:
            os.close(own)
        self.path = f"/proc/{os.getpid()}/fd/{self.descriptor}"
        self._children = []
        self.sysctl("net/ipv6/conf/all/accept_dad", 0)
        self.sysctl("net/ipv6/conf/default/accept_dad", 0)
        self.sysctl("net/ipv6/conf/default/router_solicitations", 0)
        self.sysctl("net/ipv6/conf/default/accept_ra", 0)
        self.run("ip link set lo up")

    @contextlib.contextmanager
    def inside(self):
        """This thread is in the namespace for the block: sockets made there stay there."""
        own = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            kernel.setns(self.descriptor, kernel.CLONE_NEWNET)
            try:
                yield
            finally:
                kernel.setns(own, kernel.CLONE_NEWNET)
        finally:
            os.close(own)

    def sysctl(self, key, value):
        with self.inside(), open(f"/proc/sys/{key}", "w", encoding="ascii") as file:
            file.write(f"{value}")

    def read_sysctl(self, key):
        with self.inside(), open(f"/proc/sys/{key}", encoding="ascii") as file:
            return file.read().strip()

    def popen(self, command, files=None, **options):
        """Starts a command here. `files` {"/etc/hosts": path} are seen by this command alone."""
        arguments = shlex.split(command) if isinstance(command, str) else list(command)
        parent = os.getpid()

        def enter():
            kernel.die_with_parent(parent)
            kernel.setns(self.descriptor, kernel.CLONE_NEWNET)
            if files:
                kernel.unshare(kernel.CLONE_NEWNS)
                kernel.mount(None, "/", None, kernel.MS_REC | kernel.MS_PRIVATE)
                for target, source in files.items():
                    kernel.mount(source, target, None, kernel.MS_BIND)

        process = subprocess.Popen(arguments, preexec_fn=enter, **options)
        self._children.append(process)
        return process

    def run(self, command, check=True, stdin=None, within=20):
        """Runs a command here to its end; returns its output. Failing is an exception."""
        process = self.popen(command, stdin=subprocess.PIPE if stdin is not None
                             else subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, text=True, errors="replace")
        try:
            output, errors = process.communicate(stdin, timeout=within)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise CommandFailed(f"{self.name}: {command}: not done after {within} s") from None
        self._children.remove(process)
        if check and process.returncode != 0:
            raise CommandFailed(f"{self.name}: {command}: exit {process.returncode}: "
                                f"{errors.strip()}")
        return output

    def ip(self, *commands):
        """Several `ip` commands in one process: fast, and the first failure is an exception."""
        self.run("ip -batch -", stdin="\n".join(commands) + "\n")

    def bridge(self, *commands):
        """Several `bridge` commands in one process."""
        self.run("bridge -batch -", stdin="\n".join(commands) + "\n")

    def json(self, command):
        """The output of a command that speaks JSON; none is an empty list."""
        return json.loads(self.run(command, within=60) or "[]")

    def filter(self, hook, *rules):
        """Packet filter rules (nft) on the hook input, output or forward; none: all are removed."""
        text = "flush ruleset\n"
        if rules:
            lines = "\n".join(rules)
            text += (f"table inet filter {{\nchain {hook} {{\n"
                     f"type filter hook {hook} priority 0\n{lines}\n}}\n}}\n")
        self.run("nft -f -", stdin=text)

    def mac(self, device):
        with self.inside(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            answer = fcntl.ioctl(probe, SIOCGIFHWADDR, struct.pack("256s", device.encode()))
            return answer[18:24].hex(":")

    def stop_children(self):
        for process in self._children:
            if process.poll() is None:
                process.kill()
        for process in self._children:
            process.wait()
        self._children.clear()

    def close(self):
        self.stop_children()
        os.close(self.descriptor)


class Tap:
    """A tap as a virtual machine holds it: attached, and its frames read by nobody."""

    _TUNSETIFF = 0x400454CA
    _IFF_TAP, _IFF_NO_PI = 0x2, 0x1000

    def __init__(self, namespace, name):
        with namespace.inside():
            self.descriptor = self._open()
            fcntl.ioctl(self.descriptor, self._TUNSETIFF,
                        struct.pack("16sH22x", name.encode(), self._IFF_TAP | self._IFF_NO_PI))

    @staticmethod
    def _open():
        try:
            return os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            testing.skip(f"no taps: {error}")

    @classmethod
    def require(cls):
        """Skips the test where there are none."""
        os.close(cls._open())

    def close(self):
        """A tap that is not persistent goes away with this."""
        os.close(self.descriptor)


class Wire:
    """The userspace wire between two devices of one namespace; see wire.cpp for the commands."""

    def __init__(self, binary, namespace):
        self.namespace = namespace
        self._process = namespace.popen([binary, "west", "east"], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True, bufsize=1)
        self._expect("ready")

    def _expect(self, word):
        line = self._process.stdout.readline()
        if not line.startswith(word):
            raise CommandFailed(f"wire: expected '{word}', got '{line.strip()}'")
        return line.split()[1:]

    def do(self, command):
        """One command; in force when this returns."""
        self._process.stdin.write(command + "\n")
        return self._expect("ok")

    def counts(self):
        """Echo packets so far: {"requests", "replies", "dropped", "duplicated", "held"}."""
        words = self.do("counts")
        return dict(zip(words[0::2], map(int, words[1::2])))


class Lab:
    """All that one test built, and the end of it."""

    def __init__(self, binary_dir, directory):
        self.binary_dir = binary_dir
        self.directory = directory  # private to the test, removed after it
        self._namespaces = []
        self._closers = []
        self.daemons = []
        self._veth_numbers = itertools.count()

    def namespace(self, name):
        space = Namespace(name)
        self._namespaces.append(space)
        return space

    def at_end(self, closer):
        self._closers.append(closer)

    def check_daemons(self):
        """After a test that passed: no daemon has crashed, and each stops as it should."""
        for daemon in self.daemons:
            daemon.check_end()

    def describe(self):
        """With a test that failed: what the daemons said last."""
        for daemon in self.daemons:
            daemon.describe()

    def cable(self, one, one_device, other, other_device):
        """A veth pair, both ends up."""
        number = next(self._veth_numbers)
        left, right = f"l{number}", f"r{number}"
        one.ip(f"link add {left} type veth peer name {right} netns {other.path}",
               f"link set {left} name {one_device}", f"link set {one_device} up")
        other.ip(f"link set {right} name {other_device}", f"link set {other_device} up")

    def switch(self, name="switch"):
        space = self.namespace(name)
        space.ip("link add br0 type bridge forward_delay 0 stp_state 0", "link set br0 up")
        return space

    def plug(self, host, device, switch, port):
        """A cable from a host to a port of a switch."""
        self.cable(host, device, switch, port)
        switch.ip(f"link set {port} master br0")

    def wire(self, one, one_device, other, other_device):
        """A cable with the userspace wire in it: west is `one`, east is `other`."""
        middle = self.namespace(f"wire-{one.name}-{other.name}")
        middle.sysctl("net/ipv6/conf/default/disable_ipv6", 1)
        self.cable(one, one_device, middle, "west")
        self.cable(other, other_device, middle, "east")
        return Wire(os.path.join(self.binary_dir, "wire"), middle)

    def close(self):
        for closer in reversed(self._closers):
            with contextlib.suppress(Exception):
                closer()
        for space in reversed(self._namespaces):
            with contextlib.suppress(Exception):
                space.close()


def settle(condition, within, what, every=0.02):
    """Waits until condition() is true and returns its value; else fails, saying what is missing.

    A condition may raise AssertionError or LookupError for "not yet"; the last one is reported.
    """
    deadline = time.monotonic() + within
    last = None
    while True:
        try:
            value = condition()
            if value:
                return value
            last = None
        except (AssertionError, LookupError, ConnectionError, TimeoutError) as error:
            last = error
        if time.monotonic() >= deadline:
            detail = f" ({last})" if last else ""
            raise AssertionError(f"not within {within} s: {what}{detail}")
        time.sleep(every)
