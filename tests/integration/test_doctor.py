"""tng doctor: what it finds on hosts that are made for it."""
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from harness.gateway import BINARY, Gateway
from harness.netns import Topology, skip_without_namespaces


@pytest.fixture(scope="module", autouse=True)
def namespaces():
    skip_without_namespaces()


@pytest.fixture
def host(stack):
    made = Topology()
    stack.add(made, made.remove)
    return made.host("h")


def doctor(host, *args, before=()):
    done = subprocess.run([*host.within, *before, BINARY, "doctor", *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, check=False, timeout=60)
    assert done.stderr == ""
    return done


class Report:
    def __init__(self, done):
        self.code = done.returncode
        found = json.loads(done.stdout)
        self.checks = found["checks"]
        assert found["ok"] == (self.code == 0) == all(c["result"] != "fail" for c in self.checks)

    def one(self, group, name):
        named = [c for c in self.checks if (c["group"], c["name"]) == (group, name)]
        assert len(named) == 1, named
        return named[0]

    def result(self, group, name):
        return self.one(group, name)["result"]


def report(host, *args, before=()):
    return Report(doctor(host, "--json", *args, before=before))


def test_a_host_that_can_capture_passes_and_is_left_as_it_was(host):
    before = host.state()
    found = report(host)
    assert found.code == 0
    assert found.result("rights", "CAP_NET_ADMIN") == "ok"
    assert found.result("kernel, nftables", "table with an owner") == "ok"
    assert found.result("kernel, iptables-nft", "TPROXY, IPv4") == "ok"
    assert found.one("kernel, routes and sockets", "back end")["found"] == "nft"
    assert host.state() == before


def test_text_says_the_same_as_json(host):
    done = doctor(host)
    assert done.returncode == 0
    assert "  ok      CAP_NET_ADMIN: there\n" in done.stdout
    assert done.stdout.splitlines()[-1].startswith(f"{sum(' ok  ' in l for l in done.stdout.splitlines())} ok, 0 failed")


def test_missing_rights_fail_and_the_features_are_still_tried(host):
    drop = shutil.which("setpriv")
    if drop is None:
        pytest.skip("setpriv is not installed")
    found = report(host, before=(drop, "--bounding-set=-net_admin", "--inh-caps=-all"))
    assert found.code == 1
    assert found.result("rights", "CAP_NET_ADMIN") == "fail"
    assert "AmbientCapabilities" in found.one("rights", "CAP_NET_ADMIN")["advice"]
    # By a user namespace, where those are allowed.
    if not any(c["name"] == "features" for c in found.checks):
        assert found.result("kernel, nftables", "redirect") == "ok"
    assert found.result("filters of others", "INPUT and FORWARD") == "unknown"


def test_both_flavours_in_use_are_told(host):
    if shutil.which("iptables-legacy") is None:
        pytest.skip("iptables-legacy is not installed")
    host.lines("""
        iptables-nft -A INPUT -p udp -j ACCEPT
        iptables-legacy -A INPUT -p udp -j ACCEPT""")
    assert report(host).result("tools", "both flavours") == "warn"


def test_filters_that_are_in_the_way_are_told(host):
    host.lines("""
        iptables -P INPUT DROP
        iptables -A FORWARD -p tcp -j REJECT""")
    found = report(host)
    assert found.one("filters of others", "INPUT")["found"] == "its policy is DROP"
    assert found.result("filters of others", "INPUT") == "warn"
    assert found.result("filters of others", "FORWARD") == "note"  # nothing is forwarded without a configuration


def test_a_rule_that_drops_what_comes_to_the_listener_is_told(host, tmp_path):
    host.run("iptables", "-A", "INPUT", "-p", "udp", "-j", "ACCEPT")
    assert report(host, "-c", config(tmp_path)).result("filters of others", "INPUT") == "ok"
    host.run("iptables", "-A", "INPUT", "-p", "tcp", "--dport", "50000", "-j", "DROP")
    found = report(host, "-c", config(tmp_path)).one("filters of others", "INPUT")
    assert (found["result"], found["found"]) == ("warn", "1 rules that drop or reject")


def test_bridges_that_call_iptables_are_told(host):
    if not Path("/proc/sys/net/bridge").exists():
        pytest.skip("br_netfilter is not loaded")
    host.run("sysctl", "-q", "-w", "net.bridge.bridge-nf-call-iptables=1")
    assert report(host).result("settings", "bridge-nf-call-iptables") == "note"
    host.run("sysctl", "-q", "-w", "net.bridge.bridge-nf-call-iptables=0")
    assert report(host).result("settings", "bridge-nf-call-iptables") == "ok"


def test_a_source_check_by_marks_is_told(host):
    assert report(host).result("settings", "source check") == "ok"
    host.sysctl(net__ipv4__conf__all__src_valid_mark=1)
    assert report(host).result("settings", "source check") == "note"


def test_upstream_running_is_a_failure(host, stack):
    with host:
        s = socket.socket(socket.AF_UNIX)
    stack.add(s, s.close)
    s.bind(b"\0tng")
    found = report(host)
    assert found.code == 1
    assert found.one("gateways", "upstream's TNG")["found"] == f"process {os.getpid()} has bound @tng"


def test_bypass_connects_with_the_mark(host, stack):
    with host:
        s = socket.create_server(("127.0.0.1", 0))
    stack.add(s, s.close)
    port = s.getsockname()[1]
    # Who has not the mark is refused.
    host.run("iptables", "-A", "OUTPUT", "-p", "tcp", "--dport", str(port), "-m", "mark", "!", "--mark", "565", "-j", "REJECT")
    found = report(host, "--bypass", f"127.0.0.1:{port}")
    assert found.result("connections", "past the rules") == "ok"
    s.close()
    found = report(host, "--bypass", f"127.0.0.1:{port}")
    assert found.code == 1
    assert "Connection refused" in found.one("connections", "past the rules")["found"]


@pytest.mark.parametrize("args", [["--bypass"], ["--nothing"], ["word"], ["-c", "a", "--config-content", "{}"]])
def test_a_wrong_command_line_prints_one_line_and_exits_with_2(args):
    done = subprocess.run([BINARY, "precheck", *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("tng precheck: ")


def config(tmp_path, **netfilter):
    made = {"add_ingress": [{"netfilter": {"capture_dst": {"port": 8080}, "listen_port": 50000, "ipv6": "bypass", **netfilter},
                             "no_ra": True}]}
    path = tmp_path / "tng.json"
    path.write_text(json.dumps(made))
    return str(path)


def test_only_what_the_configuration_needs_counts(host, tmp_path):
    host.run("sysctl", "-q", "-w", "net.ipv4.ip_forward=0")
    local = report(host, "-c", config(tmp_path))
    assert not local.one("settings", "forwarding, IPv4")["needed"]
    assert not local.one("kernel, iptables-nft", "set (ipset)")["needed"]
    assert local.one("kernel, nftables", "tproxy, IPv4")["needed"]
    routed = report(host, "-c", config(tmp_path, scope="forward", capture_dst={"ipset": "s", "port": 80}))
    assert routed.one("settings", "forwarding, IPv4")["needed"]
    assert routed.one("kernel, iptables-nft", "set (ipset)")["needed"]
    assert routed.one("kernel, routes and sockets", "back end")["found"] == "iptables"


def test_a_missing_queue_of_nftables_fails_where_no_other_is_taken(host, tmp_path):
    path = Path(config(tmp_path, open_ports="connect_first"))
    found = report(host, "-c", str(path))
    if found.result("kernel, nftables", "queue") == "ok":
        pytest.skip("this kernel has nft_queue")
    assert (found.code, found.result("kernel, nftables", "queue")) == (0, "warn")
    path.write_text(json.dumps({**json.loads(path.read_text()), "interception": {"backend": "nft"}}))
    found = report(host, "-c", str(path))
    assert (found.code, found.result("kernel, nftables", "queue")) == (1, "fail")


@pytest.mark.parametrize("reserved,result", [("50000", "ok"), ("49999,50001-50002", "warn")])
def test_a_listen_port_that_a_client_may_get_is_told(host, tmp_path, reserved, result):
    host.sysctl(net__ipv4__ip_local_port_range="49000 51000", net__ipv4__ip_local_reserved_ports=reserved)
    found = report(host, "-c", config(tmp_path))
    assert (found.code, found.result("settings", "listen_port")) == (0, result)
    host.sysctl(net__ipv4__ip_local_port_range="50001 60000")
    assert report(host, "-c", config(tmp_path)).result("settings", "listen_port") == "ok"


def test_a_listen_port_that_is_found_at_start_is_no_worry(host, tmp_path):
    path = tmp_path / "tng.json"
    path.write_text(json.dumps({"add_egress": [{"netfilter": {"capture_dst": {"port": 8080}}, "no_ra": True}]}))
    assert "listen_port" not in [c["name"] for c in report(host, "-c", str(path)).checks]


def test_a_configuration_without_capture_needs_nothing(host, tmp_path):
    path = tmp_path / "tng.json"
    path.write_text(json.dumps({"add_ingress": [{"mapping": {"in": {"port": 1}, "out": {"host": "127.0.0.1", "port": 2}},
                                                 "no_ra": True}]}))
    found = report(host, "-c", str(path), before=("setpriv", "--bounding-set=-net_admin", "--inh-caps=-all"))
    assert found.code == 0
    assert found.result("rights", "CAP_NET_ADMIN") == "note"


STAND_IN = Path(BINARY).parent / "guard_stand_in"


@pytest.mark.parametrize("backend", ["nft", "iptables"])
def test_rules_that_stand_are_compared_with_the_configuration(host, stack, tmp_path, backend):
    if not STAND_IN.exists():
        pytest.skip(f"{STAND_IN} is not built")
    path = tmp_path / "tng.json"
    path.write_text(json.dumps({"add_ingress": [{"netfilter": {
        "capture_dst": [{"host": "192.0.2.0/24", "port": 8080}, {"host": "2001:db8::/32", "port": 8080}],
        "listen_port": 50000, "ipv6": "capture"}, "no_ra": True}]}))
    gateway = subprocess.Popen([*host.within, STAND_IN, backend, "open", "0", "566"], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, text=True)
    stack.add(gateway, lambda: (gateway.stdin.close(), gateway.stdout.close(), gateway.wait()))
    assert gateway.stdout.readline() == "started\n"
    gateway.stdin.write("apply\n")
    gateway.stdin.flush()
    assert gateway.stdout.readline() == "standing\n"

    found = report(host, "-c", str(path))
    entry = [(c["result"], c["found"]) for c in found.checks if c["name"] == "add_ingress[0]"]
    assert entry == [("fail", "port 50000 does not listen"),
                     ("ok", "rules lead to its port"),
                     ("ok", "policy rule and route of IPv4 stand"),
                     ("ok", "policy rule and route of IPv6 stand")]
    assert found.one("gateways", "0")["found"] == f"runs (process {gateway.pid})"
    assert found.one("rules", "of this instance")["found"] == f"stand ({backend})"

    with host:
        listener = socket.create_server(("127.0.0.1", 50000))
    stack.add(listener, listener.close)
    found = report(host, "-c", str(path))
    assert found.code == 0
    assert found.result("rules", "as configured") == "ok"
    assert not [c for c in found.checks if c["group"] == "to look at the wire"]

    path.write_text(path.read_text().replace("50000", "50001"))
    host.run("ip", "rule", "del", "pref", "5650")
    found = report(host, "-c", str(path))
    # The port is another one in each rule that names it, and nothing else is.
    differ = [c["found"] for c in found.checks if c["name"] == "as configured"]
    assert [re.sub(r" of \d+", "", d).split(": ")[0] for d in differ] == [
        "2 lines are missing", "2 lines are not of the configuration"]
    assert "50001" in differ[0] and "50000" in differ[1]
    wire = {c["name"]: c["found"] for c in found.checks if c["group"] == "to look at the wire"}
    assert wire["add_ingress[0], client's side"].startswith("tcpdump -ni lo 'tcp and ((net 192.0.2.0/24 and port 8080) or ")
    assert set(wire) == {"add_ingress[0], client's side", "add_ingress[0], peer's side"}
    for line in wire.values():  # a filter that tcpdump understands
        host.run(*shlex.split(line), "-d")
    entry = [(c["result"], c["found"]) for c in found.checks if c["name"] == "add_ingress[0]"]
    assert entry[1:3] == [("fail", "no rule leads to its port"), ("fail", "no policy rule and route of IPv4 for mark 0x236")]


def test_a_probe_without_a_gateway_says_what_it_needs(host, tmp_path):
    found = report(host, "-c", config(tmp_path), "--probe")
    assert found.one("connections", "probe")["found"] == "the gateway does not run"


@pytest.mark.parametrize("backend", ["nft", "iptables"])
def test_a_probe_finds_a_gateway_that_captures(host, stack, tmp_path, backend):
    path = Path(config(tmp_path))
    made = {**json.loads(path.read_text()), "interception": {"backend": backend}}
    path.write_text(json.dumps(made))
    # So that there is a way to 192.0.2.1 at all.
    host.lines("""
        ip link add d0 type veth peer name d1
        ip link set d0 up
        ip link set d1 up
        ip addr add 10.99.0.1/24 dev d0
        ip route add default via 10.99.0.2""")
    gateway = Gateway(made, within=host.within)
    stack.add(gateway, gateway.finish)
    gateway.wait_ready()
    found = report(host, "-c", str(path), "--probe")
    probes = [(c["result"], c["found"]) for c in found.checks if (c["group"], c["name"]) == ("connections", "add_ingress[0]")]
    assert probes[0] == ("ok", "to 192.0.2.1:8080: captured")
    assert probes[1][0] == "ok" and probes[1][1].startswith("to 192.0.2.1:8080 with mark 565: not captured")
    assert found.code == 0
    # Nothing fails, but a probe is a look at packets.
    assert found.result("to look at the wire", "add_ingress[0], peer's side") == "note"
    hits = [c["found"] for c in found.checks if c["group"] == "hit counters"]
    if backend == "nft":
        assert hits == ["there are none: counters would cost time with each packet"]
        return
    marking = [h for h in hits if "--dport 8080" in h]
    assert len(marking) == 1 and int(marking[0].split()[0]) > 0
    # Another host is none that was met, and its rule is one that is not of the configuration: the guard would put that right.
    os.kill(gateway.guard, signal.SIGSTOP)
    stack.add(gateway, lambda: os.kill(gateway.guard, signal.SIGCONT))
    host.run("iptables", "-t", "mangle", "-A", "TNG_0_I0_OUT", "-d", "203.0.113.1", "-p", "tcp", "-m", "comment", "--comment",
             "tng:0", "-j", "RETURN")
    found = report(host, "-c", str(path))
    assert found.code == 1
    assert [c["found"].split(":")[0] for c in found.checks if c["name"] == "as configured"] == [
        "1 lines are not of the configuration"]
    assert [c["found"].split()[0] for c in found.checks if c["group"] == "hit counters" and "203.0.113.1" in c["found"]] == ["0"]


NO_PORT = {"capture_dst": [{"port": 8080}], "ipv6": "bypass"}


@pytest.mark.parametrize("backend", ["nft", "iptables"])
@pytest.mark.parametrize("differ", [None, "mark", "order", "taken"])
def test_rules_with_a_port_that_was_found_at_start_are_compared_as_well(host, stack, tmp_path, backend, differ):
    made = {"add_ingress": [{"netfilter": NO_PORT, "no_ra": True}],
            "add_egress": [{"netfilter": {"capture_dst": [{"port": 90}, {"port": 91}]}, "no_ra": True}],
            "interception": {"backend": backend, "instance": f"doctor{os.getpid()}"}}
    if differ == "taken":
        with host:
            taken = socket.create_server(("0.0.0.0", 40000))
        stack.add(taken, taken.close)
    gateway = Gateway(made, within=host.within)
    stack.add(gateway, gateway.finish)
    gateway.wait_ready()
    if differ == "mark":
        made["add_ingress"][0]["netfilter"] = {**NO_PORT, "so_mark": 777}
    elif differ == "order":
        made["add_egress"][0]["netfilter"]["capture_dst"].reverse()
    path = tmp_path / "tng.json"
    path.write_text(json.dumps(made))
    seen = report(host, "-c", str(path))
    found = [(c["result"], c["found"]) for c in seen.checks if c["name"] == "as configured"]
    if differ in (None, "taken"):
        assert [f[0] for f in found] == ["ok"] and seen.code == 0
    elif differ == "mark":
        assert len(found) == 2 and all(f[0] == "fail" for f in found)
        assert re.search(r"0x0*309\b", found[0][1]) and re.search(r"0x0*235\b", found[1][1])
    else:
        assert found == [("fail", "all lines, but in another order")]
