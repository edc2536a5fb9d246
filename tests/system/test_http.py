"""The web side: what it serves, and clients that are slow, huge, many or rude."""

import contextlib
import gzip
import socket
import time

from lab import places, web
from lab.daemon import PORT, Daemon, configuration
from lab.metrics import Metrics
from lab.network import settle
from lab.places import HV4, HV6, PEER4, PEER6
from lab.testing import test

PEERS = ({"name": "p4", "address": PEER4}, {"name": "p6", "address": PEER6})


def start(lab, peers=PEERS, **sections):
    place = places.switched(lab)
    daemon = Daemon(lab, place.hv, configuration(*peers, interval="50ms", timeout="500ms",
                                                 **sections))
    daemon.wait_up(*(peer["name"] for peer in peers))
    return place, daemon


def is_closed(connection, within=12.0):
    """Whether the server ends the connection, after whatever it says."""
    connection.settimeout(within)
    try:
        while connection.recv(65536):
            pass
        return True
    except ConnectionError:
        return True
    except TimeoutError:
        return False


@contextlib.contextmanager
def undisturbed(daemon):
    """Within the block no probe is lost or late, and afterwards scraping works."""
    before = daemon.metrics()
    yield
    after = daemon.wait(lambda now: all(
        now.probe(peer).received >= before.probe(peer).received + 5 for peer in ("p4", "p6")), 3,
        "probing goes on")
    for peer in ("p4", "p6"):
        assert after.probe(peer).lost == before.probe(peer).lost, f"{peer}: {after.probe(peer)}"

    def late(scrape):
        count = scrape.get("reachd_probe_delay_seconds_count")
        return count, count - scrape.get("reachd_probe_delay_seconds_bucket", le="0.05")
    count, delayed = (new - old for new, old in zip(late(after), late(before)))
    assert delayed <= 0.03 * count + 1, f"{delayed} of {count} probes were sent 50 ms late"


@test(quick=True)
def paths_and_methods(lab):
    place, daemon = start(lab, web={"listen": [":10862"]})
    for path in ("/metrics", "/healthz", "/readyz", "/-/healthy", "/-/ready", "/"):
        response = daemon.get(path)
        assert response.status == 200 and response.body, f"{path}: {response.status}"
    for path in ("/nope", "/metrics/x", "/metric", "//metrics", "/%2e%2e/metrics", "/api/v2"):
        assert daemon.get(path).status == 404, path
    assert daemon.get("/metrics?name=x").status == 200, "a query is no other path"
    for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW"):
        response = daemon.get("/metrics", method=method)
        assert response.status in ((405,) if method != "BREW" else (400, 405, 501)), method
        if response.status == 405:
            allowed = response.headers["allow"]
            assert "GET" in allowed and "HEAD" in allowed, f"{method}: Allow: {allowed}"
    whole, head = daemon.get("/healthz"), daemon.get("/healthz", method="HEAD")
    assert head.status == 200 and not head.body
    assert head.headers["content-type"] == whole.headers["content-type"]
    assert head.headers.get("content-length") == whole.headers.get("content-length")
    assert daemon.get("/metrics", method="HEAD").status == 200
    for address in (HV4, HV6):
        assert web.request(place.peer, PORT, "/metrics", address=address).status == 200
        assert web.request(place.peer, PORT, "/healthz", address=address).status == 200
        status = web.request(place.peer, PORT, "/", address=address).status
        assert status in (403, 404), f"/ for a client that is not local: {status}"


@test
def gzip_is_the_same_text(lab):
    place, daemon = start(lab)
    with web.connect(place.hv, PORT) as connection:
        reader = web.Reader(connection)
        for _ in range(20):
            # Both from one snapshot: sent together, answered in order.
            connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
                               b"GET /metrics HTTP/1.1\r\nHost: x\r\n"
                               b"Accept-Encoding: gzip\r\n\r\n")
            plain, packed = reader.response(), reader.response()
            assert packed.headers["content-encoding"] == "gzip"
            assert "content-encoding" not in plain.headers
            unpacked = gzip.decompress(packed.body).decode()
            if [line for line in plain.text.splitlines() if line.startswith("reachd_probe_")] == \
                    [line for line in unpacked.splitlines() if line.startswith("reachd_probe_")]:
                break
            time.sleep(0.1)
        else:
            raise AssertionError("never the same")
        assert set(Metrics(plain.text).series) == set(Metrics(unpacked).series)
        assert len(packed.body) < len(plain.body) / 3
    for coding, packed in (("identity", False), ("gzip;q=0", False), ("deflate", False),
                           ("br, gzip;q=0.5", True)):
        response = daemon.get("/metrics", headers={"Accept-Encoding": coding})
        assert (response.headers.get("content-encoding") == "gzip") == packed, coding
        Metrics(response.text)


@test
def one_connection_for_many_requests(lab):
    place, daemon = start(lab)
    with web.connect(place.hv, PORT) as connection:
        reader = web.Reader(connection)
        for _ in range(50):
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert reader.response().status == 200
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" * 30)
        connection.sendall(b"GET /nope HTTP/1.1\r\nHost: x\r\n\r\n")
        statuses = [reader.response().status for _ in range(31)]
        assert statuses == [200] * 30 + [404], statuses
        connection.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        assert reader.response().status == 200
        assert is_closed(connection, 2), "HTTP/1.0 closes"


@test
def malformed_requests(lab):
    place, daemon = start(lab)
    bad = (b"\r\n\r\n\r\n", b"GET\r\n\r\n", b"GET /metrics\r\n\r\n", b"\x16\x03\x01\x02\x00" * 50,
           b"GET /metrics HTTP/9.9\r\nHost: x\r\n\r\n",
           b"GET /metrics HTTP/1.1\r\nHost x\r\n\r\n",
           b"GET /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
           b"GET /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
           b"GET /metrics HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n",
           b"GET /met\0rics HTTP/1.1\r\nHost: x\r\n\r\n",
           b"GET " + b"/" * 20000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
           b"GET /metrics HTTP/1.1\r\n" + b"X: y\r\n" * 20000 + b"\r\n",
           b"GET /metrics HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 100000 + b"\r\n\r\n",
           bytes(range(256)) * 20)
    with undisturbed(daemon):
        for request in bad:
            with web.connect(place.hv, PORT) as connection:
                connection.settimeout(3)
                data = b""
                try:
                    connection.sendall(request)
                    connection.shutdown(socket.SHUT_WR)
                    while piece := connection.recv(65536):
                        data += piece
                except ConnectionError:
                    pass
                except TimeoutError:
                    raise AssertionError(f"no answer and no end: {request[:60]}") from None
                status = data.split(b" ", 2)[1] if data.startswith(b"HTTP/") else b"4closed"
                assert status.startswith(b"4") or status in (b"505", b"501"), \
                    f"{request[:60]}: {status}"


@test
def request_line_of_a_megabyte(lab):
    place, daemon = start(lab)
    with undisturbed(daemon):
        memory = daemon.metrics().get("process_resident_memory_bytes")
        for _ in range(20):
            with web.connect(place.hv, PORT) as connection:
                with contextlib.suppress(ConnectionError):
                    connection.sendall(b"GET /" + b"a" * (1 << 20))
                    connection.sendall(b" HTTP/1.1\r\nHost: x\r\n\r\n")
                assert is_closed(connection, 3), "the connection stays open"
        grown = daemon.metrics().get("process_resident_memory_bytes") - memory
        assert grown < 8 << 20, f"{grown} bytes more memory"


@test(alone=True, within=90)
def five_hundred_idle_connections(lab):
    place, daemon = start(lab)
    with undisturbed(daemon), contextlib.ExitStack() as stack:
        idle = []
        for number in range(500):
            with contextlib.suppress(ConnectionError, TimeoutError):
                connection = stack.enter_context(web.connect(place.hv, PORT, within=2))
                if number % 3 == 1:
                    connection.sendall(b"GET /metr")
                idle.append(connection)
        # All are taken: who has not asked for a second makes room, until then it is 503.
        settle(lambda: daemon.get("/metrics", within=2).status == 200, 2, "a scrape gets through")
        for _ in range(10):
            begin = time.monotonic()
            scrape = daemon.metrics(within=2.0)
            assert time.monotonic() - begin < 1.0, "a slow scrape"
            time.sleep(0.1)
        assert scrape.get("process_open_fds") < 256 + 60, scrape.get("process_open_fds")
        # 10 s for a header: then all of them are gone.
        deadline = time.monotonic() + 13
        for connection in idle:
            assert is_closed(connection, max(0.1, deadline - time.monotonic())), "still open"
        settle(lambda: daemon.metrics().get("process_open_fds") < 40, 3, "all closed")


@test
def connections_are_limited(lab):
    place, daemon = start(lab, limits={"connections": 10})
    with undisturbed(daemon), contextlib.ExitStack() as stack:
        for _ in range(40):
            with contextlib.suppress(ConnectionError):
                stack.enter_context(web.connect(place.hv, PORT))
        settle(lambda: daemon.metrics(within=2).get("process_open_fds") <= 40, 5, "no more open")


def reader_that_takes_nothing(stack, place):
    """Asks for much, and reads none of it."""
    with place.hv.inside():
        connection = stack.enter_context(socket.socket())
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect(("127.0.0.1", PORT))
    connection.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 40)
    return connection


def is_ended_by(connection, byte):
    """One byte more, and whether the server has had enough."""
    try:
        connection.sendall(byte)
        connection.settimeout(0.001)
        return not connection.recv(1)
    except TimeoutError:
        return False
    except ConnectionError:
        return True


@test(alone=True, within=90)
def slow_clients(lab):
    """Slowloris: a byte a second. And readers that take nothing of a large answer."""
    place = places.switched(lab)
    daemon = Daemon(lab, place.hv, configuration(
        *PEERS, *({"name": f"peer-{n}", "address": f"127.0.1.{n}"} for n in range(1, 200)),
        interval="50ms", timeout="500ms"))
    daemon.wait_up("p4", "p6")
    with undisturbed(daemon), contextlib.ExitStack() as stack:
        drips = [stack.enter_context(web.connect(place.hv, PORT)) for _ in range(20)]
        for _ in range(10):
            reader_that_takes_nothing(stack, place)
        text = b"GET /metrics HTTP/1.1\r\nHost: dripping\r\n"
        begin = time.monotonic()
        open_drips = set(drips)
        while open_drips and time.monotonic() < begin + 14:
            for connection in list(open_drips):
                if is_ended_by(connection, text[:1]):
                    open_drips.discard(connection)
            text = text[1:] or b"x"
            started = time.monotonic()
            daemon.metrics(within=2.0)
            assert time.monotonic() - started < 1.0, "a slow scrape"
            time.sleep(0.5)
        assert not open_drips, f"{len(open_drips)} slow headers are still open after 14 s"
        # More of them than scrapes are allowed at once: the longest without progress makes room.
        for _ in range(20):
            reader_that_takes_nothing(stack, place)
        settle(lambda: daemon.get("/metrics", within=2).status == 200, 8, "a scrape gets through",
               every=0.1)


@test
def clients_that_never_read(lab):
    """All connections taken by clients that ask without end and take no answer."""
    place, daemon = start(lab, limits={"connections": 8})
    with undisturbed(daemon), contextlib.ExitStack() as stack:
        question = b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n" * 500
        for _ in range(8):
            connection = stack.enter_context(web.connect(place.hv, PORT))
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.setblocking(False)
            with contextlib.suppress(BlockingIOError, ConnectionError):
                while connection.send(question):
                    pass
        settle(lambda: daemon.get("/metrics", within=2).status == 200, 10, "a scrape gets through",
               every=0.2)


def scrape_together(place, number):
    """That many scrapes at the same time; the answers' (status, headers)."""
    connections = [web.connect(place.hv, PORT) for _ in range(number)]
    for place_in_row, connection in enumerate(connections):
        gzipped = b"Accept-Encoding: gzip\r\n" if place_in_row % 2 else b""
        connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n" + gzipped + b"\r\n")
    answers = []
    for connection in connections:
        response = web.Reader(connection).response()
        answers.append((response.status, response.headers))
        connection.close()
    return answers


@test
def concurrent_scrapes(lab):
    place, daemon = start(lab)
    with undisturbed(daemon):
        for _ in range(10):
            statuses = [status for status, _ in scrape_together(place, 12)]
            assert statuses == [200] * 12, statuses
        for _ in range(5):
            answers = scrape_together(place, 60)
            assert sum(status == 200 for status, _ in answers) >= 12
            for status, headers in answers:
                assert status == 200 or status == 503 and "retry-after" in headers, headers


@test
def clients_that_vanish(lab):
    place, daemon = start(lab)
    linger = b"\x01\0\0\0\0\0\0\0"
    with undisturbed(daemon):
        for number in range(200):
            connection = web.connect(place.hv, PORT)
            connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"[:number])
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            connection.close()
        settle(lambda: daemon.metrics().get("process_open_fds") < 40, 3, "all closed")
