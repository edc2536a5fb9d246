"""reachctl, the control socket and /api/v1, with the real daemon."""

import fcntl
import grp
import json
import os
import pty
import pwd
import re
import signal
import socket
import stat
import struct
import termios
import time

from lab import places, web
from lab.daemon import (PORT, Daemon, configuration, copy_for_anyone, run_reachctl,
                        user_environment)
from lab.network import Tap, settle
from lab.places import HV4, PEER4, PEER6
from lab.testing import SNAPSHOT_AGE, skip, test
from test_service import IN_USER_NAMESPACE, NOBODY

PEERS = ({"name": "p4", "address": PEER4}, {"name": "p6", "address": PEER6})
ESCAPE = "\x1b"


def start(lab, namespace, *peers, **options):
    sections = {name: options.pop(name) for name in ("web", "control", "host") if name in options}
    return Daemon(lab, namespace, configuration(*peers, interval="100ms", timeout="300ms",
                                                **sections), **options)


def as_user(user, group):
    return ["setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups",
            "--bounding-set=-all", "--inh-caps=-all"]


# --- status


@test(quick=True)
def status_of_a_healthy_host(lab):
    place = places.switched(lab)
    daemon = start(lab, place.hv, *PEERS, host={"name": "hv1"})
    daemon.wait_up("p4", "p6")
    time.sleep(SNAPSHOT_AGE)
    outcome = daemon.reachctl("status")
    assert outcome.code == 0 and not outcome.errors, outcome
    assert outcome.lines[0].startswith("● hv1 is healthy"), outcome.output
    assert re.search(r"\d\d:\d\d:\d\d UTC$", outcome.lines[0]), outcome.lines[0]
    text = outcome.output
    assert ESCAPE not in text, "colour, and not a terminal"
    assert re.search(r"Peers +2 up +RTT median \d", text), text
    assert re.search(r"Topology +2 interfaces, in step", text), text
    assert re.search(r"Agent .*% CPU, .*MiB, .*probes on time", text), text
    quiet = daemon.reachctl("status", "--quiet")
    assert (quiet.code, quiet.output, quiet.errors) == (0, "", ""), quiet
    place.hv.ip("link set eth0 mtu 1400")
    time.sleep(SNAPSHOT_AGE)
    text = daemon.reachctl("status").output
    assert re.search(r"last change .* ago: eth0 mtu 1500 -> 1400", text), text


@test(quick=True)
def status_of_an_unreachable_peer(lab):
    place = places.switched(lab)
    daemon = start(lab, place.hv, *PEERS, {"name": "dead", "address": "10.77.0.99"},
                   host={"name": "hv1"})
    daemon.wait_up("p4", "p6")
    daemon.wait_up("dead", value=0)
    time.sleep(SNAPSHOT_AGE)
    outcome = daemon.reachctl("status")
    assert outcome.code == 1 and not outcome.errors, outcome
    assert outcome.lines[0].startswith("✖ hv1") and "1 of 3 peers" in outcome.lines[0], outcome
    ill = next(line for line in outcome.lines if "dead" in line)
    assert "10.77.0.99" in ill and ill.startswith("✖"), ill
    assert outcome.lines.index(ill) < 4, f"ill things first: {outcome.output}"
    assert not any("p4" in line and "✖" in line for line in outcome.lines), outcome.output
    for arguments in (["status", "--json"], ["--json", "status"]):
        outcome = daemon.reachctl(*arguments)
        assert outcome.code == 1, outcome
        found = json.loads(outcome.output)
        assert found["healthy"] is False and found["peers"]["down"] == 1, found
        assert [peer["peer"] for peer in found["peers"]["unreachable"]] == ["dead"], found
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", found["time"]), found
    quiet = daemon.reachctl("status", "--quiet")
    assert (quiet.code, quiet.output, quiet.errors) == (1, "", ""), quiet
    place.hv.ip("addr add 10.77.0.99/32 dev lo")
    daemon.wait_up("dead")
    time.sleep(SNAPSHOT_AGE)
    assert daemon.reachctl("status").code == 0


def in_terminal(daemon, arguments, columns=80, environment=None):
    """reachctl on a terminal of its own: (exit code, output)."""
    here, there = pty.openpty()
    fcntl.ioctl(there, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = daemon.namespace.popen(
        [daemon.reachctl_program, *arguments, "--socket", daemon.control], stdin=there,
        stdout=there, stderr=there, env=user_environment(environment))
    os.close(there)
    output = b""
    try:
        while piece := os.read(here, 65536):
            output += piece
    except OSError:
        pass  # EIO: the other end is closed
    os.close(here)
    return process.wait(5), output.decode().replace("\r\n", "\n")


@test
def terminals_and_locales(lab):
    place = places.switched(lab)
    long = {"name": "a-peer-with-a-name-that-is-very-much-longer-than-it-has-to-be-0123456789",
            "address": "10.77.0.99"}
    daemon = start(lab, place.hv, *PEERS, long, host={"name": "hv1"})
    daemon.wait_up("p4", "p6")
    daemon.wait_up(long["name"], value=0)
    for command in ("status", "topology"):
        code, text = in_terminal(daemon, [command])
        assert ESCAPE in text, f"colour on a terminal: {text}"
        plain = re.sub(r"\x1b\[[0-9;]*m", "", text)
        assert ESCAPE not in plain, f"only colours: {plain!r}"
        assert max(map(len, plain.splitlines())) <= 80, plain
        for environment, arguments in (({"NO_COLOR": "1"}, []), ({"TERM": "dumb"}, []),
                                       ({}, ["--color=never"])):
            code, text = in_terminal(daemon, [command, *arguments], environment=environment)
            assert ESCAPE not in text, f"{environment} {arguments}: {text!r}"
        outcome = daemon.reachctl(command, "--color=always")
        assert ESCAPE in outcome.output, outcome
        outcome = daemon.reachctl(command, environment={"LC_ALL": "C"})
        assert outcome.output.isascii(), f"ASCII alone in the C locale: {outcome.output}"
    outcome = daemon.reachctl("status", environment={"COLUMNS": "40"})
    assert long["name"] in outcome.output, "nothing is cut where there is no terminal"


# --- topology


def with_guests(lab):
    """eth0 and a tap and a container on br0; an uplink-less bridge; a NIC that is off."""
    place = places.switched(lab)
    guest = lab.namespace("guest")
    tap = Tap(place.hv, "vnet1")
    place.hv.ip("link add br0 type bridge forward_delay 0 stp_state 0", "link set br0 up",
                "addr flush dev eth0", "link set eth0 master br0", f"addr add {HV4}/24 dev br0",
                f"addr add {places.HV6}/64 dev br0", "link set vnet1 master br0",
                "link set vnet1 up", f"link add vethc type veth peer name eth0 netns {guest.path}",
                "link set vethc master br0", "link set vethc up",
                "link add br1 type bridge", "link set br1 up mtu 1400")
    guest.ip("link set eth0 up")
    return place, tap


@test(quick=True)
def topology_as_a_tree(lab):
    place, tap = with_guests(lab)
    daemon = start(lab, place.hv, host={"name": "hv1"})
    time.sleep(SNAPSHOT_AGE)
    outcome = daemon.reachctl("topology")
    assert outcome.code == 0 and not outcome.errors, outcome
    text, lines = outcome.output, outcome.lines
    assert lines[0] == "hv1", text
    line_of = {name: next((line for line in lines if re.search(rf"\b{name}\b", line)), "")
               for name in ("br0", "br1", "vnet1", "vethc", "lo")}
    assert HV4 + "/24" in line_of["br0"] and "bridge" in line_of["br0"], text
    assert "tap" in line_of["vnet1"] and "●" in line_of["vnet1"], text
    assert "veth" in line_of["vethc"], text
    assert "1400" in line_of["br1"], text
    assert not line_of["lo"], f"loopback is no news: {text}"
    assert line_of["vnet1"].index("vnet1") > line_of["br0"].index("br0"), f"no tree: {text}"
    everything = daemon.reachctl("topology", "--all").output
    assert re.search(r"\blo\b", everything), everything
    one = daemon.reachctl("topology", "vnet1").output
    assert "vnet1" in one and "br0" in one and "vethc" not in one and "br1" not in one, one
    globbed = daemon.reachctl("topology", "vnet*").output
    assert globbed == one, f"{globbed} for {one}"
    outcome = daemon.reachctl("topology", "vnet2")
    assert outcome.code == 2 and not outcome.output, outcome
    assert "vnet2" in outcome.errors and "vnet1" in outcome.errors, "the nearest name"
    assert len(outcome.errors.splitlines()) == 1, outcome.errors
    tap.close()
    time.sleep(SNAPSHOT_AGE)
    assert "vnet1" not in daemon.reachctl("topology").output


# --- peers


@test(quick=True)
def peers_ill_first(lab):
    place = places.switched(lab)
    daemon = start(lab, place.hv, *PEERS, {"name": "dead", "address": "10.77.0.99"},
                   host={"name": "hv1"})
    daemon.wait_up("p4", "p6")
    daemon.wait_up("dead", value=0)
    time.sleep(SNAPSHOT_AGE)
    outcome = daemon.reachctl("peers")
    assert outcome.code == 1 and not outcome.errors, outcome
    assert outcome.lines[0].split()[:3] == ["PEER", "ADDRESS", "KIND"], outcome.output
    assert re.match(r"✖ dead +10\.77\.0\.99 +host +down +- +- +100 % +- +\S+  [a-z ]+$",
                    outcome.lines[1]), outcome.output
    assert [line[:4] for line in outcome.lines[2:4]] == ["● p4", "● p6"], outcome.output
    assert outcome.lines[4] == "3 peers: 2 up, 1 down.", outcome.output
    one = daemon.reachctl("peers", "p4", "--no-legend")
    assert one.code == 0 and len(one.lines) == 1 and one.lines[0].startswith("● p4"), one
    assert daemon.reachctl("peers", "10.77.0.9?").code == 1
    wrong = daemon.reachctl("peers", "daed")
    assert wrong.code == 2 and not wrong.output, wrong
    assert wrong.errors.strip() == \
        "reachctl: no peer 'daed'; near: dead. All: reachctl peers --all", wrong.errors
    found = {peer["name"]: peer for peer in json.loads(daemon.reachctl("peers", "--json").output)[
        "peers"]}
    for name in ("p4", "p6", "dead"):
        probe, = found[name]["probes"]
        assert probe["probe"] == "icmp" and probe["port"] is None, probe
        flight = probe["sent"] - probe["received"] - probe["lost"]
        assert flight >= 0, probe
    assert found["dead"]["state"] == "down" and found["dead"]["rtt_seconds"] is None, found
    assert 0 < found["p4"]["rtt_seconds"] < 0.1, found


@test(quick=True)
def a_path_mtu_that_is_too_small(lab):
    place = places.switched(lab)
    daemon = start(lab, place.hv, {**PEERS[0], "mtu": {"expected_bytes": 9000}}, PEERS[1],
                   host={"name": "hv1"})
    daemon.wait_up("p4", "p6")
    daemon.wait(lambda scrape: scrape.get("reachd_path_mtu_mismatch", peer="p4") == 1
                and scrape.get("reachd_path_mtu_bytes", peer="p6") == 1500, 5, "both measured")
    time.sleep(SNAPSHOT_AGE)
    outcome = daemon.reachctl("peers")
    assert outcome.code == 1 and not outcome.errors, outcome
    assert re.match(r"▲ p4 +\S+ +host +degraded +\S+ .s +\S+ .s +\S+ % +1500 +mtu_mismatch$",
                    outcome.lines[1]), outcome.output
    assert re.match(r"● p6 .* % +1500 +\d+s$", outcome.lines[2]), outcome.output
    assert outcome.lines[3] == "2 peers: 1 up, 1 degraded.", outcome.output
    outcome = daemon.reachctl("status")
    assert outcome.code == 1 and not outcome.errors, outcome
    assert outcome.lines[0].startswith("▲ hv1: 1 path MTU mismatched"), outcome.output
    assert "  Path MTU   1 of 2 as expected, 1 mismatched" in outcome.lines, outcome.output
    found = json.loads(daemon.reachctl("peers", "--json").output)["peers"][0]["mtu"]
    assert (found["verdict"], found["bytes"], found["device"]) == ("local", 1500, "eth0"), found


@test(quick=True)
def json_is_the_api_s(lab):
    place, _ = with_guests(lab)
    daemon = start(lab, place.hv, *PEERS, host={"name": "hv1"})
    daemon.wait_up("p4", "p6")
    for command in ("topology", "status", "peers", "guests"):
        outcome = daemon.reachctl(command, "--json")
        assert outcome.code == 0, outcome
        ours, theirs = json.loads(outcome.output), daemon.api(command)
        for document in (ours, theirs):
            document.pop("sequence"), document.pop("time")
        if command == "topology":
            for link in ours["links"] + theirs["links"]:
                link.pop("guest")  # its round-trip times are newer each time
            assert ours == theirs, f"{ours} {theirs}"
        elif command == "status":
            assert ours.keys() == theirs.keys(), ours
            assert ours["host"] == theirs["host"] and ours["peers"].keys() == theirs["peers"].keys()
        else:
            assert ours.keys() == theirs.keys(), ours
            assert [item.keys() for item in ours[command]] == \
                [item.keys() for item in theirs[command]], ours
    assert daemon.reachctl("topology", "--json").output.count("\n") <= 1, "one object, one line"


@test(within=90)
def two_thousand_devices(lab):
    hv = lab.namespace("hv1")
    hv.sysctl("net/ipv6/conf/default/disable_ipv6", 1)
    hv.ip("link add br0 type bridge", "link set br0 up",
          *(f"link add a{n} type veth peer name b{n}" for n in range(1000)),
          *(f"link set a{n} master br0" for n in range(1000)))
    daemon = start(lab, hv)
    begin = time.monotonic()
    outcome = daemon.reachctl("topology", "--all")
    took = time.monotonic() - begin
    assert outcome.code == 0 and "a999" in outcome.output and "b999" in outcome.output
    assert took < 2, f"{took:.2f} s for 2000 devices"


# --- When it cannot


@test(quick=True)
def without_a_daemon(lab):
    program = os.path.join(lab.binary_dir, "reachctl")
    space = lab.namespace("empty")
    path = os.path.join(lab.directory, "no.sock")
    for arguments in (["status"], ["topology"], ["status", "--json"], ["status", "--quiet"]):
        outcome = run_reachctl(space, [*arguments, "--socket", path], program)
        assert outcome.code == 3 and not outcome.output, outcome
        assert len(outcome.errors.splitlines()) == 1, outcome.errors
        assert outcome.errors.startswith("reachctl: reachd is not running"), outcome.errors
        assert path in outcome.errors and "systemctl start reachd" in outcome.errors
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(path)
    outcome = run_reachctl(space, ["status", "--socket", path], program)
    assert outcome.code == 3 and "systemctl start reachd" in outcome.errors, outcome


@test(quick=True)
def wrong_usage(lab):
    program = os.path.join(lab.binary_dir, "reachctl")
    space = lab.namespace("empty")

    def run(*arguments):
        return run_reachctl(space, arguments, program)
    for arguments in ([], ["--nonsense"], ["status", "--nonsense"], ["status", "stray"],
                      ["status", "--color=mauve"], ["--socket"], ["statsu"]):
        outcome = run(*arguments)
        assert outcome.code == 2 and outcome.errors and not outcome.output, f"{arguments} {outcome}"
    assert "status" in run("statsu").errors, "the nearest command"
    for command in ("faults", "watch", "diagnose"):
        outcome = run(command)
        assert outcome.code == 2 and "not available in this version" in outcome.errors, outcome
    for arguments in (["--help"], ["status", "--help"], ["topology", "--help"]):
        outcome = run(*arguments)
        assert outcome.code == 0 and "--json" in outcome.output and not outcome.errors, outcome
    assert run("--version").output.startswith("reachctl ")


@test
def a_daemon_that_does_not_answer(lab):
    space = lab.namespace("empty")
    daemon = start(lab, space)
    daemon.send_signal(signal.SIGSTOP)
    outcome = daemon.reachctl("status", within=10)
    assert outcome.code == 3 and len(outcome.errors.splitlines()) == 1, outcome
    daemon.send_signal(signal.SIGCONT)
    settle(lambda: daemon.reachctl("status").code == 0, 3, "it answers again")
    path = os.path.join(lab.directory, "rude.sock")
    with socket.socket(socket.AF_UNIX) as rude:
        rude.bind(path)
        rude.listen()
        for answer in (b"", b"220 mail ready\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\nnot json",
                       b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]",
                       b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
                       b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"):
            process = space.popen([os.path.join(lab.binary_dir, "reachctl"), "status", "--socket",
                                   path], stdout=-1, stderr=-1, stdin=-3, text=True)
            client, _ = rude.accept()
            client.recv(4096)
            client.sendall(answer)
            client.close()
            output, errors = process.communicate(timeout=8)
            assert process.returncode == 3, f"{answer}: exit {process.returncode}"
            assert not output, f"{answer}: {output}"
            assert len(errors.splitlines()) == 1, f"{answer}: {errors}"


# --- The socket in the file system


@test(quick=True)
def life_of_the_socket_file(lab):
    space = lab.namespace("hv1")
    path = os.path.join(lab.directory, "control.sock")
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(path)  # a predecessor that was killed
    daemon = start(lab, space, control={"socket": path})
    found = os.stat(path)
    assert stat.S_ISSOCK(found.st_mode) and stat.S_IMODE(found.st_mode) == 0o660, oct(found.st_mode)
    program = os.path.join(lab.binary_dir, "reachctl")
    assert run_reachctl(space, ["status", "--socket", path], program).code == 0
    # Another daemon in another namespace, the same path: it must not take the socket over.
    second = start(lab, lab.namespace("other"), control={"socket": path}, ready=False)
    second.may_end = True
    settle(lambda: path in second.log(), 3, "the second says why")
    assert "another daemon" in second.log(), second.log()
    if second.process.poll() is None:
        second.stop()
    assert run_reachctl(space, ["status", "--socket", path], program).code == 0
    assert daemon.stop() == 0
    assert not os.path.exists(path), "removed at the end"
    # Where it cannot be made, the daemon runs without it.
    occupied = os.path.join(lab.directory, "directory")
    os.mkdir(occupied)
    for bad in ("/nonexistent/control.sock", occupied):
        daemon = start(lab, lab.namespace("hv2"), control={"socket": bad})
        assert daemon.log().count(bad) == 1, f"said once: {daemon.log()}"
        assert daemon.stop() == 0
    daemon = start(lab, lab.namespace("hv3"))
    assert os.path.exists(daemon.control), "by default in the run-time directory"
    daemon.process.kill()
    daemon.may_end = True
    daemon.process.wait()
    assert os.path.exists(daemon.control), "a killed daemon leaves it"


@test(quick=True)
def who_may_use_the_socket(lab):
    if IN_USER_NAMESPACE:
        skip("a user namespace of one user has no other users")
    program = copy_for_anyone(lab, "reachctl")
    user = pwd.getpwuid(NOBODY).pw_name
    group = next(entry for entry in grp.getgrall() if entry.gr_gid not in (0, NOBODY))
    daemon = start(lab, lab.namespace("hv1"),
                   wrapper=["setpriv", f"--regid={group.gr_gid}", "--clear-groups"])
    assert os.stat(daemon.control).st_gid == group.gr_gid

    def outcome_of(user, group):
        return daemon.reachctl("status", binary=program, wrapper=as_user(user, group))

    def is_refused(outcome, *remedy):
        assert outcome.code == 3 and not outcome.output, outcome
        assert len(outcome.errors.splitlines()) == 1, outcome.errors
        assert outcome.errors.startswith(f"reachctl: not allowed to use {daemon.control}; "), \
            outcome.errors
        assert all(word in outcome.errors for word in remedy), outcome.errors
    assert outcome_of(0, 0).code == 0
    assert outcome_of(NOBODY, group.gr_gid).code == 0, "the daemon's own group"
    is_refused(outcome_of(NOBODY, NOBODY), f"usermod -aG {group.gr_name} {user}")
    # Whatever the file's mode says, the daemon looks at who asks.
    os.chmod(daemon.control, 0o666)
    is_refused(outcome_of(NOBODY, NOBODY), f"usermod -aG {group.gr_name} {user}")
    assert outcome_of(NOBODY, group.gr_gid).code == 0
    # Nobody is told to join the group root.
    daemon = start(lab, lab.namespace("hv2"))
    is_refused(outcome_of(NOBODY, NOBODY), "sudo reachctl")
    os.chmod(daemon.control, 0o666)
    is_refused(outcome_of(NOBODY, NOBODY), "sudo reachctl")


# --- The API over TCP


@test(quick=True)
def api_for_local_clients_only(lab):
    place = places.switched(lab)
    for opened in (False, True):
        daemon = start(lab, place.hv, *PEERS, web={"listen": [":10862"], "open": opened})
        for name in ("status", "peers", "guests", "topology"):
            path = f"/api/v1/{name}"
            assert daemon.get(path).status == 200
            assert daemon.get(path, address="::1").status == 200
            for address in (HV4, places.HV6):
                answer = web.request(place.peer, PORT, path, address=address)
                assert answer.status == (200 if opened else 403), f"{address}: {answer.status}"
                assert opened or json.loads(answer.text)["error"]["remedy"], answer.text
        assert daemon.stop() == 0


@test(quick=True)
def api_manners(lab):
    place = places.switched(lab)
    daemon = start(lab, place.hv, *PEERS)
    for name in ("status", "peers", "guests", "topology"):
        path = f"/api/v1/{name}"
        answer = daemon.get(path)
        assert answer.headers["content-type"].startswith("application/json"), answer.headers
        sequence = json.loads(answer.text)["sequence"]
        assert answer.headers["etag"] == f'"{sequence}"', answer.headers
        head = daemon.get(path, method="HEAD")
        assert head.status == 200 and not head.body
        packed = daemon.get(path, headers={"Accept-Encoding": "gzip"})
        assert packed.headers["content-encoding"] == "gzip"
        assert json.loads(packed.text).keys() == json.loads(answer.text).keys()
        unknown = daemon.get(path + "?nonsense=1")
        assert unknown.status == 400, unknown.status
        assert json.loads(unknown.text)["error"]["message"], unknown.text
        assert daemon.get(path, method="POST").status == 405
    # A snapshot lives a quarter of a second: one of some attempts meets the same one twice.
    for _ in range(20):
        tag = daemon.get("/api/v1/topology").headers["etag"]
        again = daemon.get("/api/v1/topology", headers={"If-None-Match": tag})
        if again.status == 304:
            assert not again.body and again.headers["etag"] == tag
            break
    else:
        raise AssertionError("never 304")
    assert daemon.get("/api/v1/nope").status == 404
