"""
What a client finds that looks for open ports behind an ingress (netfilter.open_ports), in network namespaces.
"""
import os
import re
import signal
import socket
import subprocess
import threading
import time

import pytest

from harness import services
from harness.netns import Bridged, Pair, Routed, Wire, legacy_tools, skip_without_namespaces
from harness.services import Echo, Service, ask, expect_reset
from harness.wait import until

SECRET = b"this must never be seen on a wire" * 3
FIRST, LAST = 8080, 8091
OPEN = (8080, 8087, 8091)


@pytest.fixture(scope="module", autouse=True)
def namespaces():
    skip_without_namespaces()


def has_queue():
    """Whether iptables can hold packets back here (NFQUEUE), found out in a namespace of its own."""
    rule = ["iptables", "-t", "mangle", "-A", "PREROUTING", "-p", "tcp", "-j", "NFQUEUE", "--queue-num", "1"]
    return subprocess.run(["unshare", "-n", *rule], stderr=subprocess.DEVNULL, check=False).returncode == 0


@pytest.fixture
def queue():
    if not has_queue():
        pytest.skip("this kernel or iptables has no NFQUEUE")


def has_queue_of_nft():
    rules = "table inet t { chain c { type filter hook prerouting priority -150; tcp dport 1 queue num 1; }; }"
    return subprocess.run(["unshare", "-n", "nft", rules], stderr=subprocess.DEVNULL, check=False).returncode == 0


SCANS = [("accept", "local", "v4", "raw"),
         *(("negative_cache", *how) for how in (("local", "v4", "raw"), ("local", "v6", "mux"), ("forward", "v4", "mux"),
                                                ("forward", "v6", "raw"))),
         *(("connect_first", scope, family, mode)
           for scope in ("local", "forward") for family in ("v4", "v6") for mode in ("raw", "mux"))]


def instance(host):
    return {"instance": f"{os.getpid()}-{host.label}"}


def state_of(host):
    """Without what the kernel itself adds as links come up."""
    return "\n".join(line for line in host.state().splitlines() if "proto kernel" not in line)


class Found:
    """What connect() says: "open", "closed" (reset), or "silent"."""

    def __init__(self, host, limit=5):
        self.host, self.limit = host, limit

    def at(self, address, port):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with self.host, socket.socket(family) as s:
            s.settimeout(self.limit)
            try:
                s.connect((address, port))
            except ConnectionRefusedError:
                return "closed"
            except TimeoutError:
                return "silent"
            except ConnectionResetError:
                pass  # it was made, and gone again before we looked
            return "open"

    def scan(self, address, ports):
        return {p: self.at(address, p) for p in ports}


class Scene:
    pass


@pytest.fixture
def scene(stack, tng):
    """
    scene(open_ports, ...): gateways on both hosts of a pair, or an ingress on a router, or on a bridge (scope "bridge").
    The egress captures what is for the open ports (egress_all: for all), so that the ingress's dial to any other one is
    refused by the host itself. tools: "legacy", "nft" or "iptables", for the ingress.
    """

    def start(open_ports, mode="raw", *, scope="local", tools="auto", egress_all=False, near=None, top=None, serve=OPEN,
              echo=True, verify=None):
        t = Scene()
        net = {"local": Pair, "forward": Routed, "bridge": Bridged}[scope].on(stack)
        t.net = net
        if scope == "local":
            t.client, t.gw, t.server = net.c, net.c, net.s
        else:
            t.client, t.gw, t.server = net.cl, net.br if scope == "bridge" else net.gw, net.sv
        t.v4, t.v6 = net.server_v4, net.server_v6
        ports = {"port": FIRST, "port_end": LAST}
        before = {h: state_of(h) for h in (t.gw, t.server)}

        def unchanged():
            for h, state in before.items():
                assert state_of(h) == state

        stack.add(t, unchanged)
        far = {"capture_dst": ports if egress_all else [{"port": p} for p in serve], "ipv6": "capture"}
        t.egress = tng(add_egress=[{"netfilter": far, "no_ra": True}], within=t.server.within, name="egress",
                       interception=instance(t.server))
        entry = {"netfilter": {"capture_dst": ports, "ipv6": "capture", "open_ports": open_ports,
                               "scope": "local" if scope == "local" else "forward", **(near or {})}, **({"verify": verify} if verify else {"no_ra": True})}
        if mode == "mux":
            entry["rats_tls"] = {"multiplex": True}
        backend = "iptables" if tools == "legacy" else tools
        t.ingress = tng(add_ingress=[entry], within=(*t.gw.within, *(legacy_tools() if tools == "legacy" else ())),
                        name="ingress", interception={**instance(t.gw), "backend": backend}, **(top or {}))
        t.echoes = []
        with t.server:
            for p in serve if echo else ():
                t.echoes += [Echo("0.0.0.0", p), Echo("::", p)]
        for e in t.echoes:
            stack.add(e, e.close)
        t.found = Found(t.client)
        return t

    return start


def expected(ports):
    return {p: "open" if p in OPEN else "closed" for p in ports}


PORTS = range(FIRST, LAST + 1)


@pytest.mark.parametrize("value,scope,family,mode", SCANS)
def test_a_scan_finds_what_the_value_says(scene, value, scope, family, mode):
    if value == "connect_first" and not has_queue():
        pytest.skip("this kernel or iptables has no NFQUEUE")
    t = scene(value, mode, scope=scope, egress_all=mode == "mux")
    address = t.v4 if family == "v4" else t.v6
    first = t.found.scan(address, PORTS)
    if value == "connect_first":
        assert first == expected(PORTS)
    else:
        assert first == {p: "open" for p in PORTS}
    if value == "negative_cache":
        until("the closed ones are in the set",
              lambda: refused_set(t, family[1]).count("expires") == len(PORTS) - len(OPEN))
    second = t.found.scan(address, PORTS)
    assert second == (expected(PORTS) if value != "accept" else first)
    with t.client:
        for p in OPEN:
            assert ask((address, p), SECRET) == SECRET


def scan_and_ask(t, address):
    assert t.found.scan(address, PORTS) == expected(PORTS)
    with t.client:
        for p in OPEN:
            assert ask((address, p), SECRET) == SECRET


@pytest.mark.parametrize("family", ["v4", "v6"])
@pytest.mark.parametrize("scope", ["local", "forward", "bridge"])
def test_connect_first_holds_with_iptables_legacy(queue, scene, mode, scope, family):
    t = scene("connect_first", mode, scope=scope, tools="legacy", egress_all=mode == "mux")
    assert t.ingress.has_line(r"the rules of instance .* stand \(iptables-legacy\)")
    scan_and_ask(t, t.v4 if family == "v4" else t.v6)


@pytest.mark.parametrize("family", ["v4", "v6"])
@pytest.mark.parametrize("forwarding", [0, 1])
@pytest.mark.parametrize("scope", ["forward", "bridge"])
def test_connect_first_holds_whether_the_host_forwards_or_not(queue, scene, mode, scope, forwarding, family):
    t = scene("connect_first", mode, scope=scope, egress_all=mode == "mux")
    t.gw.sysctl(net__ipv4__ip_forward=forwarding, net__ipv6__conf__all__forwarding=forwarding)
    scan_and_ask(t, t.v4 if family == "v4" else t.v6)


@pytest.mark.parametrize("family", ["v4", "v6"])
@pytest.mark.parametrize("scope", ["local", "forward", "bridge"])
def test_connect_first_holds_with_the_queue_of_nftables(scene, mode, scope, family):
    if not has_queue_of_nft():
        pytest.skip("this kernel has no nft_queue")
    t = scene("connect_first", mode, scope=scope, tools="nft", egress_all=mode == "mux")
    assert t.ingress.has_line(r"the rules of instance .* stand \(nft\)")
    scan_and_ask(t, t.v4 if family == "v4" else t.v6)


def test_where_nftables_has_no_queue_the_start_says_what_to_do(stack, tng):
    if has_queue_of_nft():
        pytest.skip("this kernel has nft_queue")
    net = Pair.on(stack)
    entry = {"netfilter": {"capture_dst": {"port": 80}, "open_ports": "connect_first"}, "no_ra": True}
    before = state_of(net.c)
    ingress = tng(add_ingress=[entry], within=net.c.within, wait=None, interception={**instance(net.c), "backend": "nft"})
    assert ingress.wait() == 1
    assert ingress.has_line(r'open_ports "connect_first": this kernel has no queue of nftables .* "iptables"')
    assert state_of(net.c) == before


SILENT = """
table inet test {
  chain pre {
    type filter hook prerouting priority -300;
    tcp dport 8080 tcp flags & (syn | ack) == syn drop
  }
}
"""


@pytest.fixture
def silence(stack):
    """silence(t, port): the server's host answers no first packet to this port, until what is returned is called."""

    def start(t, port=8080):
        def stop():
            t.server.run("nft", "delete", "table", "inet", "test", check=False)

        t.server.run("nft", "-f", "-", stdin=SILENT.replace("8080", str(port)))
        stack.add(t, stop)
        return stop

    return start


# ---- negative_cache ----

def refused_set(t, family="4"):
    return t.gw.run("nft", "list", "set", "inet", f"tng_{instance(t.gw)['instance']}", f"i0_refused{family}")


def test_a_refused_port_is_forgotten_after_its_time(scene):
    t = scene("negative_cache", near={"negative_cache_timeout": 1}, serve=(8080,))
    assert t.found.at(t.v4, 8090) == "open"
    until("the port is refused", lambda: t.found.at(t.v4, 8090) == "closed")
    with t.server:
        echo = Echo("0.0.0.0", 8090)
    try:
        until("it is asked again", lambda: t.found.at(t.v4, 8090) == "open")
        assert "8090" not in refused_set(t)
    finally:
        echo.close()


def test_the_first_client_of_a_closed_port_is_reset(scene):
    t = scene("negative_cache")
    with t.client:
        try:
            with services.connect((t.v4, 8090)) as client:
                expect_reset(client)
        except ConnectionResetError:
            pass  # it came before we looked
    assert t.ingress.wait_flow().reason == "peer_refused"


def test_a_peer_that_refuses_us_is_not_remembered(scene):
    """It is there: the service itself, on a port that no egress captures."""
    t = scene("negative_cache")
    with t.server:
        plain = Service("0.0.0.0", 8090)
    try:
        for _ in range(2):
            with t.client, services.connect((t.v4, 8090)) as client:
                peer = plain.accept()
                peer.sendall(b"220 I speak no TLS\r\n")
                expect_reset(client)
        t.ingress.wait_flow(2)
        assert [f.reason for f in t.ingress.flows()] == ["tls_plaintext"] * 2
        assert "expires" not in refused_set(t)
    finally:
        plain.close()


VERIFY = {"as_addr": "http://127.0.0.1:9", "policy_ids": ["default"]}


@pytest.mark.parametrize("value,finds", [("negative_cache", "open"), ("connect_first", "closed")])
def test_a_peer_that_is_not_believed_is_no_open_port_and_not_remembered(scene, mode, value, finds):
    if value == "connect_first" and not has_queue():
        pytest.skip("this kernel or iptables has no NFQUEUE")
    t = scene(value, mode, verify=VERIFY)
    for i in range(2):
        assert t.found.at(t.v4, 8080) == finds
        assert t.ingress.wait_flow(i + 1).reason == "no_evidence"
    if mode == "mux":  # else the egress dials its service when the handshake is done
        assert t.echoes[0].accepted == 0


def test_a_destination_that_is_silent_is_remembered_too(scene, silence):
    t = scene("negative_cache", top={"timeouts": {"connect": 0.3}})
    silence(t, 8090)
    assert t.found.at(t.v4, 8090) == "open"
    until("the port is refused", lambda: t.found.at(t.v4, 8090) == "closed")
    assert t.ingress.flows()[0].reason == "peer_timeout"


def test_negative_cache_does_not_start_with_iptables(tng, stack):
    net = Pair.on(stack)
    entry = {"netfilter": {"capture_dst": [{"port": 80}, {"ipset": "some"}], "open_ports": "negative_cache"},
             "no_ra": True}
    ingress = tng(add_ingress=[entry], within=net.c.within, wait=None, interception=instance(net.c))
    assert ingress.wait() == 1
    assert ingress.has_line(r"add_ingress\[0\]\.netfilter\.open_ports: \"negative_cache\" needs nftables, but ")


# ---- connect_first ----

@pytest.mark.parametrize("scope", ["local", "forward"])
def test_connect_first_makes_one_connection_for_each_client(queue, scene, mode, scope):
    t = scene("connect_first", mode, scope=scope)
    with t.client:
        for _ in range(20):
            assert ask((t.v4, 8080), SECRET) == SECRET
    t.ingress.wait_flow(20)
    t.egress.wait_flow(20)
    assert [f.reason for f in t.ingress.flows()] == ["done"] * 20
    assert [f.reason for f in t.egress.flows()] == ["done"] * 20
    assert t.echoes[0].accepted == 20


def test_the_service_may_speak_first(queue, scene, mode):
    t = scene("connect_first", mode, echo=False)
    with t.server:
        service = Service("0.0.0.0", 8080)
    try:
        with t.client, services.connect((t.v4, 8080)) as client:
            peer = service.accept()
            peer.sendall(SECRET)
            assert services.receive(client, len(SECRET)) == SECRET
    finally:
        service.close()


class Asking:
    """A connection that is being made."""

    def __init__(self, host, address, port):
        with host:
            self.sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
        self.sock.setblocking(False)
        self.sock.connect_ex((address, port))
        self.port = self.sock.getsockname()[1]

    def ends(self, deadline=10):
        self.sock.settimeout(deadline)
        end = time.monotonic() + deadline
        while time.monotonic() < end:
            error = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if error:
                return os.strerror(error)
            try:
                self.sock.getpeername()
                return "open"
            except OSError:
                time.sleep(0.01)
        return "silent"


def syns(traffic):
    """Address and port of those who sent the first packets of IPv4 to port 8080 in a capture file."""
    found = re.findall(rb"\x45.{8}\x06..(.{4}).{4}(..)\x1f\x90.{8}[\x50-\xf0]\x02", traffic, re.S)
    return [(address, int.from_bytes(port, "big")) for address, port in found]


def clients_of(traffic):
    return set(syns(traffic))


@pytest.mark.parametrize("scope", ["local", "forward"])
def test_packets_that_are_sent_again_while_the_first_one_waits_ask_nobody(queue, scene, stack, silence, scope):
    t = scene("connect_first", scope=scope)
    speak = silence(t)
    wire = Wire(t.gw, "v0" if scope == "local" else "eth0")
    stack.add(wire, wire.finish)
    lo = Wire(t.gw, "lo" if scope == "local" else "eth1")
    stack.add(lo, lo.finish)
    asking = Asking(t.client, t.v4, 8080)
    until("it is sent again", lambda: len(syns(lo.file.read_bytes())) >= 2)
    speak()
    assert asking.ends() == "open"
    asking.sock.settimeout(10)
    asking.sock.sendall(SECRET)
    assert services.receive(asking.sock, len(SECRET)) == SECRET
    asking.sock.close()
    assert t.egress.wait_flow().reason == "done"
    assert t.echoes[0].accepted == 1
    assert SECRET not in wire.stop()


@pytest.mark.parametrize("scope", ["local", "forward"])
def test_a_gateway_that_is_killed_while_packets_wait_lets_none_through(queue, scene, stack, silence, scope):
    t = scene("connect_first", scope=scope)
    t.egress.send_signal(signal.SIGTERM)
    t.egress.wait()
    silence(t)
    wire = Wire(t.gw, "v0" if scope == "local" else "eth0")
    stack.add(wire, wire.finish)
    client = socket.inet_aton(t.net.client_v4)
    asking = [Asking(t.client, t.v4, 8080) for _ in range(20)]
    until("all wait", lambda: queue_length(t.gw) == 20)
    until("all are dialed", lambda: len(clients_of(wire.file.read_bytes())) >= 20)
    t.ingress.child.kill()
    t.ingress.child.wait()
    # What is asked for again when the rules are gone would be in clear, and may be (interception.on_exit).
    for a in asking:
        a.sock.close()
    t.ingress.wait()  # the guard has ended as well
    assert "TNG_" not in t.gw.run("iptables-save")
    assert not clients_of(wire.stop()) & {(client, a.port) for a in asking}


def queue_length(host):
    """Packets that wait for us, in all queues of this host."""
    lines = host.run("cat", "/proc/net/netfilter/nfnetlink_queue").splitlines()
    return sum(int(line.split()[2]) for line in lines)


def test_a_second_reader_of_the_queue_is_refused_by_name(queue, scene, tng):
    t = scene("connect_first")
    other = {"netfilter": {"capture_dst": {"port": 1}, "open_ports": "connect_first"}, "no_ra": True}
    again = tng(add_ingress=[other], within=t.gw.within, wait=None,
                interception={**instance(t.gw), "backend": "none"})
    assert again.wait() == 1
    assert again.has_line(r"open_ports \"connect_first\": read netfilter queue \d+: another process reads it")


UDP_SEGMENT = 103


def test_packets_that_come_while_the_queues_are_opened_do_not_stay_there(queue, stack, tng):
    """The rules stand before the gateway does, and lead to the first one of many queues."""
    net = Pair.on(stack)
    net.c.run("iptables", "-t", "mangle", "-A", "PREROUTING", "-p", "udp", "-j", "NFQUEUE", "--queue-num", "2350")
    opened = threading.Event()

    def send():
        with net.s:
            s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with s:
            s.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 1)
            s.connect((net.client_v4, 9))
            while not opened.is_set():
                s.send(b"x" * 60)  # as many packets

    sender = threading.Thread(target=send)
    sender.start()
    stack.add(sender, lambda: (opened.set(), sender.join()))
    entries = [{"netfilter": {"capture_dst": {"port": 1 + i}, "open_ports": "connect_first", "listen_port": 20000 + i},
                "no_ra": True} for i in range(500)]
    tng(add_ingress=entries, within=net.c.within, interception={"backend": "none"})
    opened.set()
    sender.join()
    until("no packet waits", lambda: queue_length(net.c) == 0)


def test_a_client_that_does_not_come_costs_its_tunnel_for_a_while_only(queue, scene):
    """A half-open scan: the answer to the first packet is answered with a reset."""
    t = scene("connect_first")
    t.client.run("nft", "-f", "-", stdin="""
table inet test {
  chain out {
    type filter hook output priority -300;
    tcp dport 8080 meta mark != 565 tcp flags & (syn | ack) == ack drop
  }
}
""")
    asking = Asking(t.client, t.v4, 8080)
    assert asking.ends() == "open"  # so it believes; its last packet is lost
    asking.sock.close()
    assert t.ingress.wait_flow(deadline=20).reason == "client_absent"
    t.client.run("nft", "delete", "table", "inet", "test")
    with t.client:
        assert ask((t.v4, 8080), SECRET) == SECRET


def rss(gateway):
    return int(re.search(r"VmRSS:\s+(\d+)", open(f"/proc/{gateway.child.pid}/status").read()).group(1))


def flood(host, address, ports, count):
    """count clients that do not wait for an answer. Returns them, open."""
    return [Asking(host, address, ports[i % len(ports)]) for i in range(count)]


@pytest.mark.parametrize("way", ["closed", "silent"])
@pytest.mark.parametrize("flooded", ["negative_cache", "connect_first"])
def test_a_flood_is_bounded_and_others_are_served(scene, silence, flooded, way):
    if flooded == "connect_first" and not has_queue():
        pytest.skip("this kernel or iptables has no NFQUEUE")
    t = scene(flooded, top={"limits": {"pending_syns": 64}, "timeouts": {"connect": 30}})
    if way == "silent":
        silence(t, 8088)
    with t.client:
        assert ask((t.v4, 8080), SECRET) == SECRET
    before = rss(t.ingress)
    for _ in range(10):
        some = flood(t.client, t.v4, (8088, 8089) if way == "closed" else (8088,), 500)
        with t.client:
            assert ask((t.v4, 8080), SECRET) == SECRET
        if flooded == "connect_first" and way == "silent":
            assert queue_length(t.gw) <= 64 + 1024
            assert t.ingress.counters()["flows_active"] <= 64 + 8
            assert t.ingress.has_line(r"64 clients wait for their tunnels .* gives way")
        for s in some:
            s.sock.close()
    assert t.ingress.child.poll() is None
    if flooded == "connect_first":
        until("at most limits.pending_syns wait", lambda: queue_length(t.gw) <= 64)
    assert rss(t.ingress) - before < 200 << 10
    with t.client:
        assert ask((t.v4, 8080), SECRET) == SECRET


def test_who_waits_has_the_place_of_its_connection(queue, scene, mode):
    t = scene("connect_first", mode, top={"limits": {"connections": 1}})
    with t.client:
        for _ in range(2):
            assert ask((t.v4, 8080), SECRET) == SECRET


def test_a_peer_with_which_there_is_no_tunnel_is_closed(queue, scene):
    t = scene("connect_first")
    with t.server:
        plain = Service("0.0.0.0", 8090)
    threading.Thread(target=lambda: plain.accept().sendall(b"220 I speak no TLS\r\n"), daemon=True).start()
    try:
        assert t.found.at(t.v4, 8090) == "closed"
        assert t.ingress.wait_flow().reason == "tls_plaintext"
    finally:
        plain.close()


def test_the_service_is_told_of_the_client_whose_tunnel_came_first(queue, scene, mode):
    t = scene("connect_first", mode, near={"proxy_protocol": {"send": "v1"}})
    with t.client, services.connect((t.v4, 8080)) as client:
        header = f"PROXY TCP4 {t.net.client_v4} {t.v4} {client.getsockname()[1]} 8080\r\n".encode()
        client.sendall(SECRET)
        assert services.receive(client, len(header) + len(SECRET)) == header + SECRET
    assert t.echoes[0].accepted == 1


def test_the_first_packet_tells_in_whose_name_is_dialed(queue, scene, mode):
    t = scene("connect_first", mode, scope="forward", near={"transparency": {"in": True, "out": True}})
    with t.client:
        assert ask((t.v4, 8080), SECRET) == SECRET
    assert t.egress.wait_flow().client.startswith(t.net.client_v4 + ":")
    assert t.found.at(t.v4, 8090) == "closed"


def test_while_draining_a_first_packet_is_reset(queue, scene):
    t = scene("connect_first")
    with t.client:
        client = services.connect((t.v4, 8080))
        client.sendall(b"before")
        assert services.receive(client, 6) == b"before"
        t.ingress.send_signal(signal.SIGTERM)
        t.ingress.wait_line("draining")
        assert t.found.at(t.v4, 8080) == "closed"
        client.sendall(b"after")
        assert services.receive(client, 5) == b"after"
        client.shutdown(socket.SHUT_WR)
        assert services.receive_all(client) == b""
    assert t.ingress.wait() == 0
