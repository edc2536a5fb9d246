"""Start, stop, privileges, command line and the service manager."""

import os
import signal
import socket
import time

from lab import packets, places
from lab.daemon import (PORT, Daemon, Notifications, configuration, copy_for_anyone, run_once)
from lab.network import settle
from lab.places import PEER4, PEER6
from lab.testing import test

P4 = {"name": "p4", "address": PEER4}
P6 = {"name": "p6", "address": PEER6}
NOBODY = 65534
IN_USER_NAMESPACE = bool(os.environ.get("REACHD_SYSTEM_TEST_USER_NAMESPACE"))


def as_nobody(capabilities=()):
    """A wrapper that leaves an unprivileged user with these capabilities. In a user namespace
    there is only one user: there it drops the capabilities alone."""
    plus = ",".join(["-all", *(f"+{name}" for name in capabilities)])
    user = [] if IN_USER_NAMESPACE else [f"--reuid={NOBODY}", f"--regid={NOBODY}",
                                         "--clear-groups"]
    return ["setpriv", *user, f"--inh-caps={plus}", f"--ambient-caps={plus}",
            f"--bounding-set={plus}", "--no-new-privs"]


def own_group():
    return 0 if IN_USER_NAMESPACE else NOBODY


def write(lab, name, text):
    path = os.path.join(lab.directory, name)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return path


@test(quick=True)
def notifications_in_order(lab):
    place = places.switched(lab)
    notify = Notifications(lab.directory)
    daemon = Daemon(lab, place.hv, configuration(P4, interval="100ms"), notify=notify)
    settle(lambda: notify.count("READY", "1") == 1, 3, "READY=1")
    assert daemon.get("/healthz").status == 200, "ready means serving"
    assert any(message.get("STATUS") for message in notify.drain()), "a STATUS for people"
    assert not notify.count("WATCHDOG", "1"), "no watchdog was asked for"
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    daemon.reload(configuration(P4, P6, interval="100ms"))
    settle(lambda: notify.count("READY", "1") == 2, 3, "READY=1 after RELOADING=1")
    reloading = [message for message in notify.drain() if message.get("RELOADING") == "1"]
    assert len(reloading) == 1
    stamp = int(reloading[0]["MONOTONIC_USEC"])
    assert before <= stamp <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    daemon.reload("{ nonsense", good=False)
    settle(lambda: notify.count("READY", "1") == 3, 3, "READY=1 after a refused reload, too")
    assert daemon.stop() == 0
    assert notify.count("STOPPING", "1") == 1


@test
def reload_before_it_is_ready(lab):
    """Never READY=1 without a topology, and no RELOADING=1 before the first READY=1."""
    for wait in (0.01, 0.03, 0.06):
        notify = Notifications(lab.directory)
        daemon = Daemon(lab, lab.namespace("early"), configuration(), notify=notify, ready=False)
        time.sleep(wait)
        daemon.may_end = True
        daemon.process.send_signal(signal.SIGHUP)
        if daemon.process.poll() is not None:
            continue  # before the handler was there, SIGHUP ends any process
        settle(lambda: notify.count("READY", "1") >= 1 or daemon.process.poll() is not None, 3,
               "READY=1, or the end of a process too young to know SIGHUP")
        order = [key for message in notify.drain() for key in ("READY", "RELOADING")
                 if message.get(key) == "1"]
        assert not order or order[0] == "READY", f"after {wait} s: {order}"
        daemon.stop()


@test
def ready_without_an_answer_or_a_peer(lab):
    """Start-up does not wait for the network to be well."""
    place = places.switched(lab)
    notify = Notifications(lab.directory)
    Daemon(lab, place.hv, configuration({"name": "dead", "address": "10.77.0.99"},
                                        {"name": "lost", "address": "10.200.0.1"},
                                        {"name": "nowhere", "address": "nowhere.invalid"}),
           notify=notify)
    settle(lambda: notify.count("READY", "1") == 1, 3, "READY=1")


@test
def watchdog_is_fed(lab):
    place = places.switched(lab)
    notify = Notifications(lab.directory)
    daemon = Daemon(lab, place.hv, configuration(P4), notify=notify,
                    environment={"WATCHDOG_USEC": "800000"})
    notify.drain()
    begin = time.monotonic()
    while time.monotonic() < begin + 4:
        notify.drain()
        time.sleep(0.02)
    fed = [at for at, message in notify.seen if message.get("WATCHDOG") == "1" and at > begin]
    assert len(fed) >= 6, f"fed {len(fed)} times in 4 s"
    gaps = [after - before for before, after in zip([begin, *fed], [*fed, time.monotonic()])]
    assert max(gaps) < 0.7, f"fed after {max(gaps)} s of 0.8"
    daemon.send_signal(signal.SIGSTOP)
    notify.drain()
    count = notify.count("WATCHDOG", "1")
    time.sleep(1)
    assert notify.count("WATCHDOG", "1") <= count, "a stopped daemon feeds nothing"
    daemon.send_signal(signal.SIGCONT)
    settle(lambda: notify.count("WATCHDOG", "1") > count, 2, "fed again")


@test
def watchdog_of_an_idle_daemon(lab):
    notify = Notifications(lab.directory)
    Daemon(lab, lab.namespace("empty"), configuration(), notify=notify,
           environment={"WATCHDOG_USEC": "1000000"})
    settle(lambda: notify.count("WATCHDOG", "1") >= 4, 3, "fed without any peer")


@test
def another_process_s_watchdog_is_not_fed(lab):
    notify = Notifications(lab.directory)
    Daemon(lab, lab.namespace("empty"), configuration(), notify=notify,
           environment={"WATCHDOG_USEC": "200000", "WATCHDOG_PID": "1"})
    time.sleep(0.6)
    assert notify.count("READY", "1") == 1 and not notify.count("WATCHDOG", "1")


@test(quick=True)
def signals_stop_it(lab):
    place = places.switched(lab)
    for number in (signal.SIGTERM, signal.SIGINT):
        daemon = Daemon(lab, place.hv, configuration(P4, P6, interval="20ms"))
        daemon.wait_up("p4", "p6")
        assert daemon.stop(number) == 0, f"signal {number}"


@test
def stops_with_clients_and_lookups_hanging(lab):
    place = places.switched(lab)
    with place.hv.inside():
        silent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        silent.bind(("127.0.0.1", 53))  # a name server that never answers
    resolv = write(lab, "resolv", "nameserver 127.0.0.1\noptions timeout:30 attempts:3\n")
    nsswitch = write(lab, "nsswitch", "hosts: dns\n")
    files = {os.path.realpath("/etc/resolv.conf"): resolv}
    if os.path.exists("/etc/nsswitch.conf"):
        files["/etc/nsswitch.conf"] = nsswitch
    daemon = Daemon(lab, place.hv, configuration(
        P4, *({"name": f"n{n}", "address": f"n{n}.example.net"} for n in range(5))), files=files)
    daemon.wait_up("p4")
    with place.hv.inside():
        clients = [socket.create_connection(("127.0.0.1", PORT)) for _ in range(20)]
    for number, client in enumerate(clients):
        client.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n"[:number * 2])
    time.sleep(0.2)
    assert daemon.stop() == 0
    silent.close()


@test
def stops_while_starting(lab):
    for wait in (0, 0.005, 0.02, 0.05, 0.1):
        daemon = Daemon(lab, lab.namespace("start"), configuration(), ready=False)
        daemon.may_end = True
        time.sleep(wait)
        code = daemon.stop()
        assert code in (0, -signal.SIGTERM), f"after {wait} s: {code}: {daemon.log()}"


@test(quick=True)
def address_in_use(lab):
    space = lab.namespace("hv1")
    with space.inside():
        other = socket.create_server(("127.0.0.1", PORT))
    path = write(lab, "config", '{"web": {"listen": ["127.0.0.1:10862"]}}')
    code, output, errors = run_once(lab, ["--config", path], namespace=space)
    assert code == 1, f"exit {code}: {errors}"
    lines = [line for line in errors.splitlines() if "10862" in line]
    assert lines and "in use" in lines[0].lower(), errors
    assert "127.0.0.1" in lines[0], errors
    other.close()


@test
def listen_address_that_is_not_ours(lab):
    path = write(lab, "config", '{"web": {"listen": ["192.0.2.1:10862"]}}')
    code, _, errors = run_once(lab, ["--config", path])
    assert code == 1 and "192.0.2.1" in errors, f"exit {code}: {errors}"


@test(quick=True)
def bad_configuration(lab):
    path = write(lab, "bad.json", '{\n  "peers": [\n    { "adress": "10.0.0.1" },\n'
                 '    { "address": "10.0.0.2", "icmp": { "interval": 3 } },\n'
                 '    { "address": "10.0.0.300" }\n  ],\n  "peers": []\n}\n')
    for arguments in (["--config", path], ["--config.file", path], ["--check", "--config", path],
                      ["--config.check", "--config.file", path]):
        code, output, errors = run_once(lab, arguments)
        assert code == 2, f"{arguments}: exit {code}: {errors}"
        assert f"{path}:3: /peers/0/adress: " in errors, errors
        assert 'did you mean "address"?' in errors, errors
        assert f"{path}:4: /peers/1/icmp/interval: " in errors, errors
        assert "/peers/2/address" in errors, f"all errors at once: {errors}"
        assert "7: /peers" in errors and "duplicate" in errors.lower(), errors


@test
def later_keys_are_refused_by_name(lab):
    path = write(lab, "later.json", '{\n"mesh": { "levels": ["rack"] }\n}\n')
    code, _, errors = run_once(lab, ["--config", path, "--check"])
    assert code == 2 and "not available in this version" in errors and "/mesh" in errors, errors


@test
def missing_configuration(lab):
    code, _, errors = run_once(lab, ["--config", "/nonexistent/reachd.json"])
    assert code == 2, f"exit {code}: {errors}"
    assert "/nonexistent/reachd.json" in errors and "No such file" in errors, errors
    code, _, errors = run_once(lab, ["--config", lab.directory])
    assert code == 2 and lab.directory in errors, f"a directory: exit {code}: {errors}"


@test
def command_line(lab):
    good = write(lab, "good.json", '{ "peers": [ { "address": "10.0.0.1" } ] } // fine\n')
    code, output, errors = run_once(lab, ["--check", "--config", good])
    assert code == 0, f"exit {code}: {errors}"
    code, output, _ = run_once(lab, ["--version"])
    assert code == 0 and output.startswith("reachd "), output
    code, output, _ = run_once(lab, ["--help"])
    assert code == 0
    for option in ("--config", "--check", "--log-level", "--version"):
        assert option in output, f"{option} is not in --help"
    code, _, errors = run_once(lab, ["--web.config.file", "web.yml"])
    assert code == 2 and "not available in this version" in errors, errors
    code, _, errors = run_once(lab, ["--config", ""])
    assert code == 2, f"an empty name is no default: {code}: {errors}"
    for wrong in (["--nonsense"], ["--log-level", "shouting"], ["stray"], ["--config"]):
        code, output, errors = run_once(lab, wrong)
        assert code == 2 and errors.strip(), f"{wrong}: exit {code}: {errors}"


@test
def listen_address_option(lab):
    space = lab.namespace("hv1")
    daemon = Daemon(lab, space, configuration(),
                    ["--web.listen-address", "127.0.0.1:10901", "--web.listen-address=:10902"],
                    ready=False)
    settle(lambda: daemon.get("/readyz", port=10901).status == 200, 3, "the first")
    assert daemon.get("/readyz", port=10902).status == 200
    assert daemon.get("/readyz", port=10902, address="::1").status == 200


@test(quick=True)
def unprivileged_with_net_raw_only(lab):
    place = places.switched(lab)
    seen = places.capture(lab, place.hv)
    daemon = Daemon(lab, place.hv, configuration(P4, P6, interval="100ms", timeout="300ms"),
                    wrapper=as_nobody(["net_raw"]), binary=copy_for_anyone(lab))
    with open(f"/proc/{daemon.process.pid}/status", encoding="ascii") as file:
        status = dict(line.split(":\t", 1) for line in file.read().splitlines() if ":\t" in line)
    assert int(status["CapEff"], 16) == 1 << 13, f"CapEff {status['CapEff']}"
    daemon.wait_up("p4", "p6")
    settle(lambda: daemon.probe("p4").received > 10, 3, "answers")
    scrape = daemon.metrics()
    assert scrape.get("reachd_probe_user_stamped_total", probe="icmp") == 0
    for peer in ("p4", "p6"):
        assert scrape.probe(peer).lost == 0
    sockets = scrape.label_values("reachd_socket_receive_buffer_bytes", "socket")
    assert {"icmp4", "icmp6"} <= set(sockets), sockets
    place.peer.filter("input", "icmp type echo-request drop", "icmpv6 type echo-request drop")
    daemon.wait_up("p4", "p6", value=0)
    assert seen.requests(PEER4)
    daemon.reload(configuration(P4, interval="100ms"))
    assert daemon.stop() == 0


@test
def ping_sockets_where_there_is_no_capability(lab):
    place = places.routed(lab)
    place.hv.sysctl("net/ipv4/ping_group_range", f"{own_group()} {own_group()}")
    place.router.ip("route add prohibit 10.66.2.0/24", "route add prohibit fd66:2::/64")
    peers = [{"name": "p4", "address": places.FAR4}, {"name": "p6", "address": places.FAR6},
             {"name": "no4", "address": "10.66.2.1"}, {"name": "no6", "address": "fd66:2::1"},
             {"name": "r4", "address": places.ROUTER4}]
    daemon = Daemon(lab, place.hv, configuration(*peers, interval="100ms", timeout="300ms"),
                    wrapper=as_nobody(), binary=copy_for_anyone(lab))
    daemon.wait_up("p4", "p6", "r4")
    settle(lambda: daemon.probe("p4").received > 10, 3, "answers")
    scrape = daemon.metrics()
    for peer in ("p4", "p6", "r4"):
        assert scrape.probe(peer).lost == 0, scrape.probe(peer)
        assert scrape.probe(peer).rtt_mean < 0.01
    assert scrape.get("reachd_probe_user_stamped_total", probe="icmp") == 0
    daemon.wait(lambda now: now.probe("no4").failures.get("prohibited", 0) > 2
                and now.probe("no6").failures.get("prohibited", 0) > 2, 5, "ICMP errors")
    lines = [line for line in daemon.log().splitlines() if "ping" in line.lower()]
    assert 1 <= len(lines) <= 2, f"said once (a family): {lines}"
    assert any("CAP_NET_RAW" in line for line in lines), lines


@test
def neither_capability_nor_ping_socket(lab):
    """A new namespace allows ping sockets to no group."""
    place = places.switched(lab)
    daemon = Daemon(lab, place.hv, configuration(P4), wrapper=as_nobody(),
                    binary=copy_for_anyone(lab), ready=False)
    daemon.may_end = True
    assert daemon.process.wait(3) == 1, daemon.log()
    assert "CAP_NET_RAW" in daemon.log() and "ping_group_range" in daemon.log(), daemon.log()


@test
def ping_socket_ignores_forgeries(lab):
    """The fallback checks answers as strictly; the kernel has set the identifier."""
    place = places.switched(lab, peers=2)
    place.hv.sysctl("net/ipv4/ping_group_range", f"{own_group()} {own_group()}")
    daemon = Daemon(lab, place.hv, configuration(P4, P6, interval="100ms", timeout="300ms"),
                    wrapper=as_nobody(), binary=copy_for_anyone(lab))
    daemon.wait_up("p4", "p6")
    place.peer.filter("output", "icmp type echo-reply drop", "icmpv6 type echo-reply drop")
    daemon.wait_up("p4", "p6", value=0)
    received = {peer: daemon.probe(peer).received for peer in ("p4", "p6")}
    from test_hostile_packets import OTHER, Responder, flip

    def answer(request):
        yield packets.echo_reply_to(request, source=OTHER[request.family])
        for at in (0, 7, 15):
            yield packets.echo_reply_to(request, payload=flip(request.payload, at))
        yield packets.echo_reply_to(request, payload=b"")
    responder = Responder(lab, place, answer)
    settle(lambda: responder.sent > 200, 5, "forgeries sent", every=0.1)
    for peer in ("p4", "p6"):
        assert daemon.probe(peer).received == received[peer]


@test
def without_a_runtime_directory(lab):
    place = places.switched(lab)
    daemon = Daemon(lab, place.hv, configuration(P4, interval="100ms"),
                    environment={"RUNTIME_DIRECTORY": "/nonexistent/reachd"})
    daemon.wait_up("p4")
    assert daemon.stop() == 0
