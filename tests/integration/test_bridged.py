"""What passes through a bridge is captured there (interception.md 4.3), with rules of ours, in network namespaces."""
import json
import os
import shutil
import signal
import subprocess
import threading
from pathlib import Path

import pytest

from harness import services
from harness.gateway import BINARY
from harness.netns import Bridged, Wire, skip_without_namespaces
from harness.services import Echo, Service, receive
from harness.wait import until

SECRET = b"this must never be seen on a wire" * 3
TO_8080 = {"capture_dst": {"port": 8080}, "ipv6": "capture"}
FULL = {"in": True, "out": True}


@pytest.fixture(scope="module", autouse=True)
def namespaces():
    skip_without_namespaces()
    if shutil.which("ebtables") is None:
        pytest.skip("ebtables is not installed")


@pytest.fixture(params=["nft", "iptables"])
def backend(request):
    return request.param


def interception(host, backend, **more):
    return {"interception": {"backend": backend, "instance": f"{os.getpid()}-{host.label}", **more}}


def bridge_state(host):
    """Rules of bridges, without the empty built-in chains that ebtables makes when it is first used."""
    kept = [line for line in host.run("ebtables", "-t", "nat", "-L").splitlines() if "Bridge" not in line and line]
    return host.run("nft", "list", "tables", "inet"), "TNG" in host.run("nft", "list", "ruleset"), kept


@pytest.fixture
def bridged(stack, tng, backend):
    """bridged(ingress options): an ingress on the bridge, an egress beside the server, services on 8080 and 9090."""

    def start(on_exit="open", **more):
        t = Bridged.on(stack)
        t.before = t.br.state(), bridge_state(t.br)
        t.egress = tng(add_egress=[{"netfilter": TO_8080, "no_ra": True}], within=t.sv.within, name="egress",
                       **interception(t.sv, backend))
        options = {**TO_8080, "scope": "forward", "transparency": FULL, **more}
        t.config = interception(t.br, backend, on_exit=on_exit)
        t.ingress = tng(add_ingress=[{"netfilter": options, "no_ra": True}], within=t.br.within, name="ingress",
                        **t.config)
        with t.sv:
            for port in (8080, 9090):
                for any_address in ("0.0.0.0", "::"):
                    echo = Echo(any_address, port)
                    stack.add(echo, echo.close)
        t.wires = [stack.add(w, w.finish) for w in (Wire(t.br, "eth0"),)]
        return t

    return start


def nothing_in_clear(t):
    traffic = t.wires[0].stop()
    assert b"\x16\x03\x01" in traffic
    assert SECRET[:20] not in traffic


def exchange(t, address, data):
    with t.cl:
        app = services.connect(address)
    sender = threading.Thread(target=app.sendall, args=(data,))
    sender.start()
    assert receive(app, len(data)) == data
    sender.join()
    name = app.getsockname()
    app.close()
    return name


TYPES = {
    "inbound": {"in": True},
    "full": FULL,
    "full with port": {"in": True, "out": True, "client_port": True},
}


@pytest.mark.parametrize("family", ["v4", "v6"])
@pytest.mark.parametrize("kind", TYPES)
def test_what_passes_through_a_bridge_is_captured_as_its_type_says(bridged, kind, family):
    t = bridged(transparency=TYPES[kind])
    client, server = (t.client_v4, t.server_v4) if family == "v4" else (t.client_v6, t.server_v6)
    own = "192.168.56.11" if family == "v4" else "fd56::11"
    name = exchange(t, (server, 8080), os.urandom(1 << 20) + SECRET)
    assert name[0] == client
    flow = t.ingress.wait_flow()
    assert (flow.reason, flow.out.rsplit(":", 1)[0].strip("[]")) == ("done", server)
    peer, port = t.egress.wait_flow().client.rsplit(":", 1)
    assert peer.strip("[]") == (own if kind == "inbound" else client)
    if kind == "full with port":
        assert int(port) == name[1]
    nothing_in_clear(t)


def test_redirect_takes_what_passes_through_a_bridge(bridged):
    t = bridged(method="redirect", transparency={})
    exchange(t, (t.server_v4, 8080), SECRET)
    assert t.ingress.wait_flow().out == f"{t.server_v4}:8080"
    nothing_in_clear(t)


def test_other_traffic_passes_the_bridge_as_before(bridged):
    t = bridged(exclude_dst=[{"host": "192.168.56.3/32", "port": 8080}], capture_dst=[{"port": 8080}, {"port": 80}])
    exchange(t, (t.server_v4, 9090), b"another port")
    exchange(t, (t.server_v6, 9090), b"another port")
    t.egress.stop()
    exchange(t, (t.server_v4, 8080), b"excluded")
    assert t.ingress.flows() == []


@pytest.mark.parametrize("forwarding", [0, 1])
def test_ipv6_that_is_refused_does_not_pass_the_bridge(bridged, forwarding):
    """Where this host forwards, by a reset; else by silence."""
    t = bridged(ipv6="reject")
    t.br.sysctl(net__ipv6__conf__all__forwarding=forwarding)
    t.egress.stop()  # the service would answer in clear
    with t.cl, pytest.raises(ConnectionRefusedError if forwarding else TimeoutError):
        services.connect((t.server_v6, 8080), 1)
    exchange(t, (t.server_v6, 9090), b"another port")


def test_ipv6_that_is_none_of_ours_passes_the_bridge(bridged):
    t = bridged(ipv6="bypass")
    t.egress.stop()
    exchange(t, (t.server_v6, 8080), b"in clear")
    assert t.ingress.flows() == []


@pytest.mark.parametrize("named", ["eth1", "br0"])
def test_in_ifname_may_name_a_port_or_the_bridge(bridged, named):
    t = bridged(in_ifname=[named])
    exchange(t, (t.server_v4, 8080), SECRET)
    assert t.ingress.wait_flow().reason == "done"
    nothing_in_clear(t)


def test_what_comes_in_by_a_port_that_is_not_named_passes(bridged):
    """Here the server is where the entry captures, and the client is not."""
    t = bridged(in_ifname=["eth0"], transparency={"in": True})
    t.egress.stop()
    exchange(t, (t.server_v4, 8080), b"by another port")
    assert t.ingress.flows() == []


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL], ids=["SIGTERM", "SIGKILL"])
def test_nothing_is_left_on_the_bridge(bridged, end):
    t = bridged()
    exchange(t, (t.server_v4, 8080), SECRET)
    with t.cl:
        app = services.connect((t.server_v4, 8080))
    app.sendall(SECRET)
    assert receive(app, len(SECRET)) == SECRET
    t.ingress.send_signal(end)
    until("the application is reset", lambda: is_reset(app), 10)
    t.ingress.wait()
    until("nothing is left", lambda: (t.br.state(), bridge_state(t.br)) == t.before, 10)
    nothing_in_clear(t)
    # From here on nobody is between them.
    t.egress.stop()
    exchange(t, (t.server_v4, 8080), b"in clear")


def is_reset(app):
    try:
        app.sendall(SECRET)
        return False
    except OSError:
        return True


def test_on_exit_drop_keeps_the_bridge_closed_until_it_is_cleaned_up(bridged):
    t = bridged(on_exit="drop")
    exchange(t, (t.server_v4, 8080), SECRET)
    t.egress.stop()  # the service would answer in clear
    t.ingress.kill()
    for address in (t.server_v4, t.server_v6):
        with t.cl, pytest.raises(OSError):
            services.connect((address, 8080), 1)
    exchange(t, (t.server_v4, 9090), b"another port")
    nothing_in_clear(t)
    until("its guard has ended", lambda: "runs as process" not in clean_up(t, "--dry-run"))
    assert "bridge" in clean_up(t, "--dry-run") or "ebtables" in clean_up(t, "--dry-run")
    clean_up(t)
    assert (t.br.state(), bridge_state(t.br)) == t.before


def clean_up(t, *options):
    name = t.config["interception"]["instance"]
    return t.br.run(BINARY, "cleanup-iptables", "--instance", name, *options)


@pytest.mark.parametrize("backend", ["iptables"])
def test_a_start_over_what_a_killed_one_has_left_makes_one_copy(bridged, tng, backend):
    t = bridged(on_exit="drop")
    once = t.br.run("ebtables", "-t", "nat", "-L")
    t.ingress.kill()
    until("its guard has ended", lambda: "runs as process" not in clean_up(t, "--dry-run"))
    again = tng(**t.ingress.config, within=t.br.within, name="again")
    assert t.br.run("ebtables", "-t", "nat", "-L") == once
    exchange(t, (t.server_v4, 8080), SECRET)
    assert again.wait_flow().reason == "done"


def test_bridged_packets_that_pass_iptables_are_told_at_the_start_and_by_the_doctor(bridged, backend, tng):
    if not Path("/proc/sys/net/bridge").exists():
        pytest.skip("br_netfilter is not loaded")
    t = bridged()
    t.br.run("sysctl", "-q", "-w", "net.bridge.bridge-nf-call-iptables=1")
    assert not t.ingress.has_line("bridge-nf-call")
    assert t.ingress.stop() == 0
    again = tng(**t.ingress.config, within=t.br.within, name="again")
    assert again.has_line(r"WARN interception: .*net\.bridge\.bridge-nf-call-iptables is 1")
    assert checks(t)["settings", "bridge-nf-call-iptables"] == "fail"
    t.br.run("sysctl", "-q", "-w", "net.bridge.bridge-nf-call-iptables=0")
    assert checks(t)["settings", "bridge-nf-call-iptables"] == "ok"


def checks(t):
    command = [*t.br.within, BINARY, "doctor", "--json", "--config-content", json.dumps(t.ingress.config)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=60, check=False)
    return {(c["group"], c["name"]): c["result"] for c in json.loads(done.stdout)["checks"]}


def test_the_doctor_sees_a_port_that_has_come_later_and_another_address(bridged, backend):
    t = bridged()
    found = checks(t)
    assert (found["rules", "eth0"], found["rules", "eth1"]) == ("ok", "ok")
    t.br.lines("""
        ip link add later address fe:ff:ff:ff:ff:fe type veth peer name later-peer
        ip link set later master br0""")
    found = checks(t)
    assert (found["rules", "eth0"], found["rules", "later"]) == ("ok", "fail")
    t.br.run("ip", "link", "set", "br0", "address", "02:00:00:00:00:01")
    assert checks(t)["rules", "eth0"] == ("warn" if backend == "nft" else "ok")


@pytest.mark.parametrize("backend", ["iptables"])
def test_an_ipset_is_refused_where_it_cannot_be_asked(stack, tng, backend):
    t = Bridged.on(stack)
    gateway = tng(add_ingress=[{"netfilter": {"capture_dst": {"ipset": "some"}, "scope": "forward"}, "no_ra": True}],
                  within=t.br.within, wait=None, **interception(t.br, backend))
    assert gateway.wait() == 1
    assert gateway.has_line(r"add_ingress\[0\]\.netfilter: an ipset cannot be used for what passes through a bridge")


EGRESS_TYPES = {
    "explicit": {},
    "out": {"out": True},
    "both": {"in": True, "out": True},
}


@pytest.mark.parametrize("family", ["v4", "v6"])
@pytest.mark.parametrize("kind", EGRESS_TYPES)
def test_a_bridge_may_hold_the_egress(stack, tng, backend, kind, family):
    """cl has the ingress; the service in sv has no gateway, and what passes to it through br is the tunnel."""
    t = Bridged.on(stack)
    client, server = (t.client_v4, t.server_v4) if family == "v4" else (t.client_v6, t.server_v6)
    dst = {"capture_dst": {"host": server, "port": 8080}}
    egress = tng(add_egress=[{"netfilter": {**dst, "transparency": EGRESS_TYPES[kind]}, "no_ra": True}],
                 within=t.br.within, name="egress", **interception(t.br, backend))
    tng(add_ingress=[{"netfilter": dst, "no_ra": True}], within=t.cl.within, name="ingress",
        **interception(t.cl, backend))
    with t.sv:
        service = Service("::" if family == "v6" else "0.0.0.0", 8080)
    stack.add(service, service.close)
    wire = Wire(t.br, "eth1")
    stack.add(wire, wire.finish)
    with t.cl:
        app = services.connect((server, 8080))
    app.sendall(SECRET)
    conn = service.accept()
    assert receive(conn, len(SECRET)) == SECRET
    big = os.urandom(200000)
    sender = threading.Thread(target=conn.sendall, args=(big,))
    sender.start()
    assert receive(app, len(big)) == big
    sender.join()
    own = "192.168.56.11" if family == "v4" else "fd56::11"
    assert conn.getpeername()[0] == (own if kind == "explicit" else client)
    app.close()
    conn.close()
    assert egress.wait_flow().reason == "done"
    traffic = wire.stop()
    assert b"\x16\x03\x01" in traffic and SECRET[:20] not in traffic
