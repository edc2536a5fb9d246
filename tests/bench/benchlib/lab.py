"""What the benchmarks see of processes, of the kernel's counters and of metrics pages.

Owns starting and ending processes, and every reading; judges nothing. All of it works on the
namespace it runs in: tests/bench/run makes one for each section.
"""
import contextlib
import gzip
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

CLOCK_TICKS = os.sysconf("SC_CLK_TCK")
SETPRIV = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups",
           "--inh-caps", "-all,+net_raw", "--ambient-caps", "-all,+net_raw", "--"]
ADDRESSES_PER_NETWORK = 250
STOP_SECONDS = 15


class BenchError(Exception):
    """A measurement that could not be made, with a line for people."""


def targets(count):
    """Loopback addresses in the order of bare_icmp and engine_bench."""
    return [f"127.{1 + (i // ADDRESSES_PER_NETWORK >> 8)}"
            f".{i // ADDRESSES_PER_NETWORK & 255}.{i % ADDRESSES_PER_NETWORK + 1}"
            for i in range(count)]


def read_text(path):
    return pathlib.Path(path).read_text()


class Process:
    """One process and whatever it starts: output in files, ended when the context is left."""

    def __init__(self, command, folder, unprivileged=False, environment=None):
        self.name = os.path.basename(command[0])
        self.output = pathlib.Path(folder, f"{self.name}.out")
        self.errors = pathlib.Path(folder, f"{self.name}.err")
        with self.output.open("wb") as out, self.errors.open("wb") as err:
            self.popen = subprocess.Popen(
                (SETPRIV if unprivileged else []) + list(map(str, command)), stdout=out,
                stderr=err, stdin=subprocess.DEVNULL, env={**os.environ, **(environment or {})},
                start_new_session=True)
        self.pid = self.popen.pid

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop(signal.SIGTERM)

    def stop(self, number, seconds=STOP_SECONDS):
        """Ends it, by force once `seconds` have passed."""
        if self.popen.poll() is None:
            self.popen.send_signal(number)
            try:
                self.popen.wait(seconds)
            except subprocess.TimeoutExpired:
                self.popen.kill()
                self.popen.wait()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    def finish(self, seconds):
        """Waits for its own end; the standard output. BenchError unless it exits 0 in time."""
        try:
            status = self.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            raise BenchError(f"{self.name}: not finished after {seconds:.0f} s") from None
        if status != 0:
            raise BenchError(f"{self.name}: exit status {status}: {self.last_words()}")
        return self.output.read_text(errors="replace")

    def require_running(self):
        if self.popen.poll() is not None:
            raise BenchError(f"{self.name}: ended by itself, exit status "
                             f"{self.popen.returncode}: {self.last_words()}")

    def last_words(self):
        lines = self.errors.read_text(errors="replace").strip().splitlines()
        return " / ".join(lines[-3:])[-300:] or "it said nothing"

    def cpu_seconds(self):
        """User and system time of all threads, since it began."""
        fields = read_text(f"/proc/{self.pid}/stat").rsplit(") ", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS

    def run_seconds(self):
        """The same to the nanosecond, of the threads that are there."""
        tasks = pathlib.Path(f"/proc/{self.pid}/task").iterdir()
        return sum(int(read_text(task / "schedstat").split()[0]) for task in tasks) / 1e9

    def memory_kib(self, field="VmRSS"):
        return status_number(f"/proc/{self.pid}/status", field)

    def voluntary_switches(self):
        tasks = pathlib.Path(f"/proc/{self.pid}/task").iterdir()
        return sum(status_number(task / "status", "voluntary_ctxt_switches") for task in tasks)

    def socket_drops(self):
        """Packets that raw and ping sockets of its namespace dropped (full receive buffers)."""
        total = 0
        for table in ("raw", "raw6", "icmp", "icmp6"):
            with contextlib.suppress(FileNotFoundError):
                rows = read_text(f"/proc/{self.pid}/net/{table}").splitlines()[1:]
                total += sum(int(row.split()[-1]) for row in rows)
        return total


def status_number(path, field):
    return int(re.search(rf"^{field}:\s+(\d+)", read_text(path), re.M)[1])


def kernel_counters(protocol):
    """The kernel's own counters of this namespace (names of RFC 4293 and RFC 4022, as in
    /proc/net/snmp)."""
    lines = [line.split()[1:] for line in read_text("/proc/net/snmp").splitlines()
             if line.startswith(f"{protocol}: ")]
    return dict(zip(lines[0], map(int, lines[1])))


def icmp_counters():
    return kernel_counters("Icmp")


def echo_requests():
    return icmp_counters()["InEchos"]


def settle(process, rate, seconds, requests=echo_requests):
    """Waits until the kernel sees nearly `rate` requests a second, but at most `seconds`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        before = requests()
        time.sleep(1)
        process.require_running()
        if requests() - before >= 0.95 * rate:
            return


class BusyCores:
    """A busy loop pinned to each core, for the time of the context and never beyond `seconds`."""

    LOOP = ("import os, sys, time\n"
            "os.sched_setaffinity(0, {int(sys.argv[1])})\n"
            "end = time.monotonic() + float(sys.argv[2])\n"
            "while time.monotonic() < end:\n"
            "    for _ in range(100000): pass\n")

    def __init__(self, seconds):
        self.seconds = seconds
        self.loops = []

    def __enter__(self):
        self.loops = [subprocess.Popen([sys.executable, "-c", self.LOOP, str(core),
                                        str(self.seconds)])
                      for core in sorted(os.sched_getaffinity(0))]
        return self

    def __exit__(self, *_):
        for loop in self.loops:
            loop.kill()
        for loop in self.loops:
            loop.wait()


class Response:
    """One HTTP response; times in seconds from the moment the request was written."""

    def __init__(self, head, body, first_body_byte, total):
        self.status = int(head.split(None, 2)[1])
        self.headers = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        self.transferred = len(body)
        self.first_body_byte = first_body_byte
        self.total = total
        if self.headers.get(b"transfer-encoding") == b"chunked":
            body = join_chunks(body)
        elif len(body) != int(self.headers.get(b"content-length", len(body))):
            raise BenchError("the response ended before its content-length")
        self.body = body

    def page(self):
        zipped = self.headers.get(b"content-encoding") == b"gzip"
        return Page(gzip.decompress(self.body) if zipped else self.body)


def join_chunks(body):
    parts, at = [], 0
    while True:
        end = body.index(b"\r\n", at)
        size = int(body[at:end].split(b";")[0], 16)
        if size == 0:
            return b"".join(parts)
        parts.append(body[end + 2:end + 2 + size])
        at = end + 2 + size + 2


def fetch(port, path="/metrics", encoding="identity", seconds=30):
    """One GET on a connection of its own, read as fast as it comes."""
    request = (f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
               f"Accept-Encoding: {encoding}\r\nConnection: close\r\n\r\n").encode()
    received, first_body_byte, head = bytearray(), None, b""
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as connection:
        begin = time.monotonic()
        connection.sendall(request)
        while block := connection.recv(1 << 20):
            received += block
            if first_body_byte is None and (end := received.find(b"\r\n\r\n")) >= 0:
                head = bytes(received[:end])
                if len(received) > end + 4:
                    first_body_byte = time.monotonic() - begin
            if time.monotonic() - begin > seconds:
                raise BenchError(f"{path} not whole after {seconds} s")
        total = time.monotonic() - begin
    if not head:
        raise BenchError(f"{path}: the connection was closed without an answer")
    return Response(head, bytes(memoryview(received)[len(head) + 4:]), first_body_byte, total)


def wait_ready(process, port, path, seconds):
    """Until `path` answers 200. BenchError when the process ends or the time is over."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        process.require_running()
        with contextlib.suppress(OSError, BenchError, ValueError):
            if fetch(port, path, seconds=5).status == 200:
                return
        time.sleep(0.2)
    raise BenchError(f"{process.name}: {path} did not answer 200 within {seconds} s")


class Page:
    """A metrics page in the Prometheus text format. A family's samples stand together."""

    def __init__(self, body):
        self.body = b"\n" + body

    def samples(self, name):
        """(text before the value, value) of each sample named exactly `name`."""
        begin = min((at for at in (self.body.find(b"\n" + name.encode() + end)
                                   for end in (b"{", b" ")) if at >= 0), default=None)
        if begin is None:
            return
        end = self.body.find(b"\n#", begin)
        for line in self.body[begin + 1:end if end >= 0 else None].splitlines():
            text, _, value = line.rpartition(b" ")
            if text.split(b"{", 1)[0] == name.encode():
                yield text, float(value)

    def total(self, name):
        return sum(value for _, value in self.samples(name))

    def buckets(self, name):
        """[(upper bound, cumulative count)] of one histogram, ascending, +Inf last."""
        found = [(float(re.search(rb'le="([^"]+)"', text)[1]), value)
                 for text, value in self.samples(name + "_bucket")]
        return sorted(found)


def bucket_difference(later, earlier):
    before = dict(earlier)
    return [(bound, count - before.get(bound, 0)) for bound, count in later]


def share_below(buckets, bound):
    """The share of the samples in the buckets up to `bound`, which must be one of the edges."""
    counts = dict(buckets)
    total = buckets[-1][1] if buckets else 0
    return counts[bound] / total if total and bound in counts else None


def bucket_quantile(buckets, share):
    """As PromQL's histogram_quantile: linear inside the bucket."""
    total = buckets[-1][1] if buckets else 0
    if not total:
        return None
    lower_bound, lower_count = 0.0, 0.0
    for bound, count in buckets:
        if count >= share * total:
            if bound == float("inf"):
                return lower_bound
            inside = (share * total - lower_count) / (count - lower_count)
            return lower_bound + (bound - lower_bound) * inside
        lower_bound, lower_count = bound, count
    return lower_bound


def find_program(*names):
    return next(filter(None, map(shutil.which, names)), None)
