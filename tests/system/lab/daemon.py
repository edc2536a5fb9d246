"""The daemon under test: its configuration file, its process, its metrics, its log."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass

from . import small_buffer, web
from .metrics import Metrics
from .network import settle

PORT = 10862

# A wrapper: the kernel's default receive buffers, whatever the daemon asks for.
WITH_SMALL_BUFFERS = (sys.executable, small_buffer.__file__)


def configuration(*peers, interval="1s", timeout="1s", gateways=False, guests=False, mtu=True,
                  **sections):
    """A configuration for the lab: these peers, loopback listener, no discovery unless asked.

    Where each packet is counted, `mtu` is to be off.
    """
    made = {"web": {"listen": [f"127.0.0.1:{PORT}"]},
            "probes": {"icmp": {"interval": interval, "timeout": timeout}},
            "peers": list(peers),
            "discovery": {"gateways": gateways, "guests": guests}}
    if not mtu:
        made["probes"]["mtu"] = {"enabled": False}
    made.update(sections)
    return made


class Notifications:
    """The service manager's end of NOTIFY_SOCKET."""

    def __init__(self, directory):
        self.path = os.path.join(directory, f"notify-{os.urandom(4).hex()}")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.path)
        os.chmod(self.path, 0o777)
        self._socket.setblocking(False)
        self.seen = []  # (monotonic time read, {name: value})

    def drain(self):
        while True:
            try:
                data = self._socket.recv(65536)
            except BlockingIOError:
                return [message for _, message in self.seen]
            fields = dict(line.split("=", 1) for line in data.decode().splitlines() if "=" in line)
            self.seen.append((time.monotonic(), fields))

    def count(self, name, value):
        return sum(1 for message in self.drain() if message.get(name) == value)

    def close(self):
        self._socket.close()


class Daemon:
    """One reachd process in a namespace."""

    def __init__(self, lab, namespace, config, arguments=(), environment=None, wrapper=(),
                 files=None, notify=None, binary=None, ready=True):
        self.namespace = namespace
        number = len(os.listdir(lab.directory))
        # Short names: the path of a Unix socket has 107 bytes at most.
        self.directory = os.path.join(lab.directory, f"d{number}")
        os.mkdir(self.directory)
        self.runtime = os.path.join(self.directory, "run")
        os.mkdir(self.runtime)
        os.chmod(self.runtime, 0o777)
        self.control = os.path.join(self.runtime, "control.sock")
        self.reachctl_program = os.path.join(lab.binary_dir, "reachctl")
        self.config_path = os.path.join(self.directory, "reachd.json")
        self.write_config(config)
        self.log_path = os.path.join(self.directory, "log")
        binary = binary or os.path.join(lab.binary_dir, "reachd")
        variables = {name: value for name, value in os.environ.items()
                     if name not in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID",
                                     "JOURNAL_STREAM", "INVOCATION_ID")}
        variables["RUNTIME_DIRECTORY"] = self.runtime
        if notify:
            variables["NOTIFY_SOCKET"] = notify.path
        variables.update(environment or {})
        with open(self.log_path, "wb") as log:
            self.process = namespace.popen(
                [*wrapper, binary, "--config", self.config_path, *arguments], files=files,
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=variables)
        self.may_end = False  # set where another end than exit 0 is expected
        lab.daemons.append(self)
        if ready:
            self.wait_ready()

    def write_config(self, config):
        """Replaces the file in one step, as configuration management does."""
        text = config if isinstance(config, str) else json.dumps(config, indent=2)
        with open(self.config_path + ".new", "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(self.config_path + ".new", 0o644)
        os.replace(self.config_path + ".new", self.config_path)

    def wait_ready(self, within=5.0):
        def answers():
            if self.process.poll() is not None:
                raise RuntimeError(f"reachd ended with {self.process.returncode}: {self.log()}")
            return self.get("/readyz").status == 200
        settle(answers, within, "/readyz is 200")

    def get(self, path, port=PORT, **options):
        return web.request(self.namespace, port, path, **options)

    def metrics(self, port=PORT, **options):
        response = self.get("/metrics", port, **options)
        assert response.status == 200, f"/metrics: {response.status}"
        return Metrics(response.text)

    def api(self, name):
        """GET /api/v1/NAME as an object."""
        response = self.get(f"/api/v1/{name}")
        assert response.status == 200, f"/api/v1/{name}: {response.status} {response.body[:200]}"
        return json.loads(response.text)

    def reachctl(self, *arguments, **options):
        """Asks this daemon over its control socket; see run_reachctl()."""
        return run_reachctl(self.namespace, [*arguments, "--socket", self.control],
                            options.pop("binary", self.reachctl_program), **options)

    def resident_bytes(self):
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as file:
            lines = dict(line.split(":", 1) for line in file)
        return int(lines["VmRSS"].split()[0]) * 1024

    def probe(self, peer, **labels):
        return self.metrics().probe(peer, **labels)

    def wait(self, condition, within, what):
        """Waits for condition(metrics); returns the scrape that fulfilled it."""
        def check():
            scrape = self.metrics()
            return scrape if condition(scrape) else None
        return settle(check, within, what)

    def wait_up(self, *peers, value=1, within=5.0):
        def all_are(scrape):
            states = {peer: scrape.up(peer) for peer in peers}
            assert all(state == value for state in states.values()), f"peer_up {states}"
            return True
        return self.wait(all_are, within, f"reachd_peer_up {value} of {', '.join(peers)}")

    def send_signal(self, number):
        self.process.send_signal(number)

    def reload(self, config, good=True, within=3.0):
        """Writes the file, sends SIGHUP and waits until it was taken (or refused)."""
        before = self.metrics()
        name = "reachd_config_last_reload_success_timestamp_seconds"
        self.write_config(config)
        self.send_signal(signal.SIGHUP)
        if good:
            self.wait(lambda now: now.get(name) > before.get(name)
                      and now.get("reachd_config_last_reload_successful") == 1, within, "reloaded")
        else:
            self.wait(lambda now: now.get("reachd_config_last_reload_successful") == 0, within,
                      "reload refused")

    def stop(self, number=signal.SIGTERM, within=2.0):
        """Ends it as a service manager does; returns the exit code."""
        self.send_signal(number)
        try:
            return self.process.wait(within)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running {within} s after signal {number}") from None

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as file:
            return file.read()

    def check_end(self):
        code = self.process.poll()
        if code is None:
            self.send_signal(signal.SIGCONT)
            code = self.stop(within=5.0)
        assert code == 0 or self.may_end, f"reachd ended with {code}"

    def describe(self):
        print(f"--- {self.directory}, exit {self.process.poll()}:")
        print("\n".join(self.log().splitlines()[-40:]))


def run_once(lab, arguments, within=5.0, namespace=None, binary=None, environment=None):
    """Runs reachd to its end; returns (exit code, stdout, stderr)."""
    namespace = namespace or lab.namespace("once")
    binary = binary or os.path.join(lab.binary_dir, "reachd")
    variables = dict(os.environ, RUNTIME_DIRECTORY=lab.directory, **(environment or {}))
    process = namespace.popen([binary, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              stdin=subprocess.DEVNULL, text=True, env=variables)
    try:
        output, errors = process.communicate(timeout=within)
    except subprocess.TimeoutExpired:
        process.kill()
        raise AssertionError(f"reachd {' '.join(arguments)} still runs after {within} s") from None
    return process.returncode, output, errors


@dataclass
class Outcome:
    """How a program ended."""

    code: int
    output: str
    errors: str

    @property
    def lines(self):
        return self.output.splitlines()


def user_environment(changes=None):
    """What a user's shell sets for programs that write to people: UTF-8, a terminal with colour."""
    variables = {name: value for name, value in os.environ.items()
                 if name not in ("NO_COLOR", "COLUMNS", "LANG", "LANGUAGE")
                 and not name.startswith("LC_")}
    return {**variables, "LC_ALL": "C.UTF-8", "TERM": "xterm", **(changes or {})}


def run_reachctl(namespace, arguments, binary, wrapper=(), environment=None, within=5.0):
    """Runs reachctl to its end, its output in a pipe; see user_environment()."""
    process = namespace.popen([*wrapper, binary, *arguments], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
                              env=user_environment(environment))
    try:
        output, errors = process.communicate(timeout=within)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise AssertionError(f"reachctl {' '.join(arguments)}: runs longer than {within} s") \
            from None
    return Outcome(process.returncode, output.decode(), errors.decode())


def copy_for_anyone(lab, program="reachd"):
    """A copy of a program that an unprivileged user can reach and run."""
    target = os.path.join(lab.directory, program)
    shutil.copy(os.path.join(lab.binary_dir, program), target)
    os.chmod(target, 0o755)
    return target
