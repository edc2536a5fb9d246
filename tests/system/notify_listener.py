"""A stand-in for the service manager: binds a NOTIFY_SOCKET and collects what a daemon says there.

    with NotifyListener() as notify:
        daemon = subprocess.Popen([...], env={**os.environ, **notify.environment()})
        ready = notify.wait_for("READY", "1", timeout=5)
        print(ready.time, ready.fields.get("STATUS"))

Times are CLOCK_MONOTONIC in seconds (time.monotonic()), comparable with MONOTONIC_USEC / 1e6.
It judges nothing: what must have been said, and when, is the business of the tests.
"""

import os
import shutil
import socket
import tempfile
import threading
import time
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Message:
    """One datagram: when it came, who sent it, and its assignments in order."""

    time: float
    pid: int
    text: str
    fields: dict = field(default_factory=dict)


def parse_fields(text):
    """Assignments of one notification. A line without '=' breaks the protocol: ValueError."""
    fields = {}
    for line in text.splitlines():
        name, separator, value = line.partition("=")
        if not separator or not name:
            raise ValueError(f"not an assignment: {line!r}")
        fields[name] = value
    return fields


class NotifyListener:
    """Collects messages in a thread of its own, so that arrival times do not depend on the test."""

    MESSAGES_MAX = 100_000
    BYTES_MAX = 65536

    def __init__(self, watchdog_seconds=None):
        self._watchdog_seconds = watchdog_seconds
        self._directory = tempfile.mkdtemp(prefix="reachd-notify-")
        self.path = os.path.join(self._directory, "notify")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._socket.bind(self.path)
        os.chmod(self._directory, 0o755)  # the daemon may run as another user
        os.chmod(self.path, 0o777)
        self._changed = threading.Condition()
        self._messages = []
        self._errors = []
        self._closing = False
        self._thread = threading.Thread(target=self._receive, name="notify", daemon=True)
        self._thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def environment(self, watchdog_pid=None):
        """What the daemon's environment needs. Without `watchdog_pid` the watchdog is anybody's."""
        environment = {"NOTIFY_SOCKET": self.path}
        if self._watchdog_seconds is not None:
            environment["WATCHDOG_USEC"] = str(int(self._watchdog_seconds * 1_000_000))
            if watchdog_pid is not None:
                environment["WATCHDOG_PID"] = str(watchdog_pid)
        return environment

    def messages(self, name=None, value=None, since=0.0):
        """All messages so far, or those with assignment `name` (and `value`) since that time."""
        with self._changed:
            self._raise_errors()
            return [m for m in self._messages if m.time >= since and _has(m, name, value)]

    def wait_for(self, name, value=None, timeout=5.0, since=0.0):
        """The first such message, now or within `timeout` seconds; else TimeoutError."""
        deadline = time.monotonic() + timeout
        with self._changed:
            seen = 0
            while True:
                self._raise_errors()
                for message in self._messages[seen:]:
                    if message.time >= since and _has(message, name, value):
                        return message
                seen = len(self._messages)
                remaining = deadline - time.monotonic()
                if remaining <= 0:
                    said = [m.text for m in self._messages[-20:]]
                    raise TimeoutError(f"no {name}={value or '…'} within {timeout} s; said: {said}")
                self._changed.wait(remaining)

    def gaps(self, name, value=None, since=0.0):
        """Seconds between successive messages with that assignment (the watchdog's rhythm)."""
        times = [m.time for m in self.messages(name, value, since)]
        return [later - earlier for earlier, later in zip(times, times[1:])]

    def close(self):
        """Idempotent; removes the socket."""
        if self._closing:
            return
        self._closing = True
        self._socket.shutdown(socket.SHUT_RDWR)  # wakes the thread
        self._thread.join(5)
        self._socket.close()
        shutil.rmtree(self._directory, ignore_errors=True)

    def _receive(self):
        credentials_size = socket.CMSG_SPACE(12)
        while not self._closing:
            try:
                data, ancillary, flags, _ = self._socket.recvmsg(self.BYTES_MAX, credentials_size)
            except OSError:
                return
            arrived = time.monotonic()
            if not data and self._closing:
                return
            self._keep(arrived, data, ancillary, flags)

    def _keep(self, arrived, data, ancillary, flags):
        pid = 0
        for level, kind, payload in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS:
                pid = int.from_bytes(payload[:4], "little", signed=True)
        with self._changed:
            try:
                if flags & socket.MSG_TRUNC or len(self._messages) >= self.MESSAGES_MAX:
                    raise ValueError("message too long, or too many messages")
                text = data.decode("utf-8")
                self._messages.append(Message(arrived, pid, text, parse_fields(text)))
            except ValueError as error:
                self._errors.append(f"{error}: {data[:200]!r}")
            self._changed.notify_all()

    def _raise_errors(self):
        if self._errors:
            raise AssertionError("bad notifications: " + "; ".join(self._errors))


def _has(message, name, value):
    if name is None:
        return True
    return name in message.fields and (value is None or message.fields[name] == value)
