"""
Connections that the kernel diverts to us, in network namespaces: with rules that the test loads by hand
(interception.backend "none"), which shows the path of the bytes alone, and with those that the gateway makes.
"""
import json
import os
import re
import signal
import socket
import threading

import pytest

from harness import services
from harness.gateway import BINARY, entry
from harness.netns import Bridged, Pair, Routed, Wire, skip_without_namespaces
from harness.services import Echo, Service, ask, expect_reset, receive
from harness.upstream import WHEELS, Upstream
from harness.wait import until

MARK = 565
SECRET = b"this must never be seen on a wire" * 3


@pytest.fixture(scope="module", autouse=True)
def namespaces():
    skip_without_namespaces()


class Rules:
    """Where rules come from: by hand, or a back end of ours."""

    def __init__(self, backend):
        self.backend = "none" if backend == "hand" else backend
        self.by_hand = backend == "hand"

    def config(self, host, **more):
        """Instances are told apart by their names: namespaces share /run."""
        return {"interception": {"backend": self.backend, "instance": f"{os.getpid()}-{host.label}", **more}}


@pytest.fixture(params=["hand", "nft", "iptables"])
def rules(request):
    return Rules(request.param)


@pytest.fixture
def pair_of_hosts(stack, rules):
    t = Pair.on(stack)
    t.rules = rules
    return t


@pytest.fixture
def routed(stack, rules):
    t = Routed.on(stack)
    t.rules = rules
    return t


@pytest.fixture
def untouched(stack):
    """untouched(host): when all gateways have ended, its rules, routes and policy rules are what they were."""

    def watch(host):
        before = host.state()

        def check():
            assert host.state() == before

        stack.add(host, check)

    return watch


@pytest.fixture
def wire(stack):
    """wire(host, interface): what passes there, all of it checked for the secret when the test ends."""

    def start(host, interface):
        w = Wire(host, interface)
        return stack.add(w, w.finish)

    return start


# ---- rules, as an administrator would write them ----

def divert_out(host, entries):
    """entries: (match, mark, listen port): what this host sends, to an ingress with TPROXY."""
    out = "\n".join(f"{match} meta mark set {mark} return" for match, mark, _ in entries)
    pre = "\n".join(f"meta mark {mark} meta nfproto ipv4 meta l4proto tcp tproxy ip to 127.0.0.1:{port} accept\n"
                    f"meta mark {mark} meta nfproto ipv6 meta l4proto tcp tproxy ip6 to [::1]:{port} accept"
                    for _, mark, port in entries)
    host.run("nft", "-f", "-", stdin=f"""
table inet by_hand {{
  chain out {{
    type route hook output priority mangle;
    meta mark {MARK} return
    fib daddr type != unicast return
    {out}
  }}
  chain pre {{
    type filter hook prerouting priority mangle;
    iif lo jump lo_in
  }}
  chain lo_in {{
    {pre}
  }}
}}
""")
    for mark in {mark for _, mark, _ in entries}:
        for family in ("-4", "-6"):
            host.run("ip", family, "rule", "add", "fwmark", str(mark), "lookup", "239")
    for family in ("-4", "-6"):
        host.run("ip", family, "route", "add", "local", "default", "dev", "lo", "table", "239")


def redirect_in(host, entries, local_output=False, own_mark=MARK):
    """entries: (match, listen port): what comes to this host, to an egress with REDIRECT."""
    rules = "\n".join(f"{match} redirect to :{port}" for match, port in entries)
    output = f"""
  chain output {{
    type nat hook output priority -100;
    meta mark {own_mark} return
    {rules}
  }}""" if local_output else ""
    host.run("nft", "-f", "-", stdin=f"""
table inet by_hand {{
  chain pre {{
    type nat hook prerouting priority dstnat;
    meta mark {own_mark} return
    {rules}
  }}{output}
}}
""")


def tproxy_forwarded(host, interface, port, listen):
    """What this host forwards, to an ingress with scope forward; and answers to the addresses that it borrows."""
    host.run("nft", "-f", "-", stdin=f"""
table inet by_hand {{
  chain pre {{
    type filter hook prerouting priority mangle;
    meta l4proto tcp socket transparent 1 meta mark set 566 accept
    fib daddr type local accept
    iifname {interface} meta nfproto ipv4 tcp dport {port} meta mark set 566 tproxy ip to 127.0.0.1:{listen} accept
    iifname {interface} meta nfproto ipv6 tcp dport {port} meta mark set 566 tproxy ip6 to [::1]:{listen} accept
  }}
}}
""")
    for family in ("-4", "-6"):
        host.run("ip", family, "rule", "add", "fwmark", "566", "lookup", "239")
        host.run("ip", family, "route", "add", "local", "default", "dev", "lo", "table", "239")


def lead_answers_back(host, interface):
    """What comes to connections that were made from foreign addresses."""
    host.run("nft", "-f", "-", stdin=f"""
table inet by_hand_answers {{
  chain pre {{
    type filter hook prerouting priority mangle;
    iifname {interface} meta l4proto tcp socket transparent 1 meta mark set 1 accept
  }}
}}
""")
    host.lines("ip rule add fwmark 1 lookup 100\nip route add local default dev lo table 100")


def captured(netfilter, *, mux=None, **more):
    """A member of add_ingress or add_egress."""
    made = {"netfilter": {**netfilter, **more}, "no_ra": True}
    if mux is not None:
        made["rats_tls"] = {"multiplex": mux}
    return made


TO_8080 = {"capture_dst": {"port": 8080}, "ipv6": "capture"}


@pytest.fixture
def hosts(pair_of_hosts, tng, stack, mode, untouched):
    """hosts(ingress options, egress options): both gateways, rules on both hosts, and two services behind them."""

    def start(near=None, far=None, serve=True):
        t = pair_of_hosts
        if t.rules.by_hand:
            redirect_in(t.s, [("tcp dport 8080 fib daddr type local", 40000)])
            divert_out(t.c, [("tcp dport 8080", 566, 41000)])
        untouched(t.s)
        untouched(t.c)
        t.egress = tng(add_egress=[captured(TO_8080, **(far or {}))], within=t.s.within, name="egress",
                       **t.rules.config(t.s))
        t.ingress = tng(add_ingress=[captured(TO_8080, mux=mode == "mux" or None, listen_port=41000, **(near or {}))],
                        within=t.c.within, name="ingress", **t.rules.config(t.c))
        if serve:
            with t.s:
                t.echo, t.echo6 = Echo("0.0.0.0", 8080), Echo("::", 8080)
            stack.add(t.echo, t.echo.close)
            stack.add(t.echo6, t.echo6.close)
        return t

    return start


def expect_refusal(host, address):
    """The connection is reset at once, if it is made at all."""
    with host:
        try:
            with services.connect(address) as client:
                expect_reset(client, 1)
        except ConnectionResetError:
            pass


def ask_from(host, address, data=SECRET):
    with host:
        return ask(address, data)


@pytest.mark.parametrize("family", ["v4", "v6"])
def test_a_captured_connection_arrives_at_its_destination_and_no_byte_in_clear(hosts, wire, family):
    t = hosts()
    seen = wire(t.c, t.wire)
    server = t.server_v4 if family == "v4" else t.server_v6
    big = os.urandom(200000) + SECRET

    assert ask_from(t.c, (server, 8080)) == SECRET
    assert ask_from(t.c, (server, 8080), big) == big

    for gateway in (t.ingress, t.egress):
        flow = gateway.wait_flow(2)
        assert flow.reason == "done"
        assert flow.out == (f"{server}:8080" if family == "v4" else f"[{server}]:8080")
    client = t.client_v4 if family == "v4" else f"[{t.client_v6}]"
    assert t.ingress.flows()[0].client.startswith(client + ":")
    traffic = seen.stop()
    assert b"\x16\x03\x01" in traffic  # the tunnel was there to be seen
    assert SECRET not in traffic and SECRET[:20] not in traffic


def test_what_the_egress_dials_is_marked_so_that_it_is_not_captured_again(pair_of_hosts, tng, stack):
    t = pair_of_hosts
    egress = tng(add_egress=[captured(TO_8080, so_mark=777, listen_port=41500, capture_local_traffic=True)],
                 within=t.s.within, **t.rules.config(t.s))
    ingress = tng(add_ingress=[captured(TO_8080, listen_port=41000)], within=t.c.within, **t.rules.config(t.c))
    if t.rules.by_hand:
        divert_out(t.c, [("tcp dport 8080", 566, 41000)])
        redirect_in(t.s, [("tcp dport 8080 fib daddr type local", 41500)], local_output=True, own_mark=777)
    with t.s:
        echo = stack.add(Echo("0.0.0.0", 8080), lambda: echo.close())

    assert ask_from(t.c, (t.server_v4, 8080)) == SECRET
    assert egress.wait_flow().reason == ingress.wait_flow().reason == "done"
    # A process beside the service is captured, and speaks no TLS.
    assert SECRET not in ask_from(t.s, (t.server_v4, 8080))
    assert egress.wait_flow(2).reason == "tls_plaintext"


def test_entries_side_by_side_take_what_is_theirs(pair_of_hosts, tng, stack, mode):
    t = pair_of_hosts
    mux = mode == "mux" or None
    egress = tng(add_egress=[captured({"capture_dst": {"port": p}}) for p in (8080, 9090)], within=t.s.within,
                 **t.rules.config(t.s))
    ingress = tng(add_ingress=[captured({"capture_dst": {"port": p}}, listen_port=listen, mux=mux)
                               for p, listen in ((8080, 41000), (9090, 41001))], within=t.c.within,
                  **t.rules.config(t.c))
    if t.rules.by_hand:
        redirect_in(t.s, [("tcp dport 8080", 40000), ("tcp dport 9090", 40001)])
        divert_out(t.c, [("tcp dport 8080", 566, 41000), ("tcp dport 9090", 567, 41001)])
    with t.s:
        echoes = [stack.add(Echo(host, port), lambda: None)
                  for host, port in ((t.server_v4, 8080), (t.server_v4, 9090), (t.second_v4, 8080))]

    for host, port in ((t.server_v4, 9090), (t.server_v4, 8080), (t.second_v4, 8080)):
        assert ask_from(t.c, (host, port)) == SECRET
    assert [e.accepted for e in echoes] == [1, 1, 1]
    for gateway, kind in ((ingress, "add_ingress"), (egress, "add_egress")):
        gateway.wait_flow(3)
        assert [(f.entry, f.out) for f in gateway.flows()] == [
            (f"{kind}[1]", f"{t.server_v4}:9090"), (f"{kind}[0]", f"{t.server_v4}:8080"),
            (f"{kind}[0]", f"{t.second_v4}:8080")]
    for echo in echoes:
        echo.close()


@pytest.mark.parametrize("rules", [Rules("hand")], ids=["hand"])
def test_a_taken_port_gives_the_next_one_and_a_configured_one_is_an_error(pair_of_hosts, tng):
    t = pair_of_hosts
    with t.s:
        taken = Service("0.0.0.0", 40000)
        taken6 = Service("::", 40001)
    egress = tng(add_egress=[captured({"capture_dst": {"port": 8080}})], within=t.s.within,
                 **t.rules.config(t.s))
    listening = t.s.run("ss", "-ltnp")
    assert f"0.0.0.0:40002" in listening and "[::]:40002" in listening
    again = tng(add_egress=[captured({"capture_dst": {"port": 8080}}, listen_port=40002)], within=t.s.within,
                wait=None, **t.rules.config(t.s))
    assert again.wait() == 1
    assert again.has_line(r"add_egress\[0\]\.netfilter: listen on 0\.0\.0\.0:40002: Address already in use")
    assert egress.child.poll() is None
    taken.close()
    taken6.close()


@pytest.mark.parametrize("rules", [Rules("hand")], ids=["hand"])
@pytest.mark.parametrize("state", ["ESTAB", "TIME-WAIT"])
def test_a_port_that_a_client_of_this_host_has_is_told_with_what_to_do(pair_of_hosts, tng, stack, state):
    t = pair_of_hosts
    t.s.sysctl(net__ipv4__ip_local_port_range="45003 45003")
    with t.c:
        service = Service(t.client_v4, 9090)
    stack.add(service, service.close)
    with t.s:
        client = services.connect((t.client_v4, 9090))
        listening = Service("0.0.0.0", 30000)
    stack.add(listening, listening.close)
    stack.add(client, client.close)
    peer = service.accept()
    if state == "TIME-WAIT":
        client.close()
        peer.close()
    until("the port is taken", lambda: re.search(rf"(?m)^{state} .*:45003 ", t.s.run("ss", "-tan")))

    def start(**entries):
        gateway = tng(within=t.s.within, wait=None, **entries, **t.rules.config(t.s))
        assert gateway.wait() == 1
        return gateway

    what = r"listen on 0\.0\.0\.0:45003: Address already in use: it is in ip_local_port_range, .*\.ip_local_reserved_ports$"
    to = {"capture_dst": {"port": 8080}}
    assert start(add_egress=[captured(to, listen_port=45003)]).has_line(r"add_egress\[0\]\.netfilter: " + what)
    mapped = {"mapping": {"in": {"port": 45003}, "out": {"host": "127.0.0.1", "port": 1}}, "no_ra": True}
    assert start(add_egress=[mapped]).has_line(r"add_egress\[0\]\.mapping: " + what)
    assert start(add_egress=[captured(to, listen_port=30000)]).has_line(r"0\.0\.0\.0:30000: Address already in use$")


@pytest.mark.parametrize("address", ["127.0.0.1", "own", "::1", "own6"])
def test_a_connection_to_the_listener_itself_ends_in_one_hop(hosts, address):
    t = hosts()
    own = {"own": (t.client_v4, t.server_v4), "own6": (t.client_v6, t.server_v6)}.get(address, (address, address))

    for host, to, port, gateway in ((t.c, own[0], 41000, t.ingress), (t.s, own[1], 40000, t.egress)):
        if gateway is t.ingress and address.startswith("own"):
            continue  # it listens on loopback only
        expect_refusal(host, (to, port))
        flow = gateway.wait_flow()
        assert flow.reason in ("recursion", "no_destination")
        assert " refused: " in flow.line
        if flow.reason == "recursion":
            assert flow.out == (f"[{to}]:{port}" if ":" in to else f"{to}:{port}")


def test_a_remote_client_of_the_listener_ends_in_one_hop(hosts):
    t = hosts()
    expect_refusal(t.c, (t.server_v4, 40000))
    assert t.egress.wait_flow().reason == "recursion"


def test_a_killed_gateway_resets_its_applications(hosts, wire):
    t = hosts()
    seen = wire(t.c, t.wire)
    with t.c:
        client = services.connect((t.server_v4, 8080))
    client.sendall(SECRET)
    assert receive(client, len(SECRET)) == SECRET
    t.ingress.kill()
    expect_reset(client)
    client.close()
    assert SECRET not in seen.stop()


def test_while_draining_what_is_open_goes_on_and_what_comes_is_reset(hosts):
    t = hosts()
    with t.c:
        client = services.connect((t.server_v4, 8080))
    client.sendall(b"before")
    assert receive(client, 6) == b"before"
    for gateway in (t.ingress, t.egress):
        gateway.send_signal(signal.SIGTERM)
        gateway.wait_line("draining")
    client.sendall(b"after")
    assert receive(client, 5) == b"after"
    expect_refusal(t.c, (t.server_v4, 8080))
    client.shutdown(socket.SHUT_WR)
    assert services.receive_all(client) == b""
    client.close()
    assert t.ingress.wait() == 0 and t.egress.wait() == 0
    assert [f.reason for f in t.ingress.flows()] == ["done"]


def test_a_service_that_refuses_is_a_reset_for_its_client(hosts):
    t = hosts(serve=False)
    expect_refusal(t.c, (t.server_v4, 8080))
    assert t.egress.wait_flow().reason == "service_refused"


# ---- transparency, routed ----

@pytest.fixture
def gateway_between(routed, tng, stack, mode):
    """An ingress on the router, for what it forwards, and an egress beside the server."""

    def start(transparency):
        t = routed
        t.egress = tng(add_egress=[captured(TO_8080)], within=t.sv.within, name="egress", **t.rules.config(t.sv))
        t.ingress = tng(add_ingress=[captured(TO_8080, mux=mode == "mux" or None, listen_port=41000, scope="forward",
                                              transparency=transparency)],
                        within=t.gw.within, name="ingress", **t.rules.config(t.gw))
        if t.rules.by_hand:
            tproxy_forwarded(t.gw, "eth1", 8080, 41000)
            redirect_in(t.sv, [("tcp dport 8080 fib daddr type local", 40000)])
        with t.sv:
            t.echo, t.echo6 = Echo("0.0.0.0", 8080), Echo("::", 8080)
        stack.add(t.echo, t.echo.close)
        stack.add(t.echo6, t.echo6.close)
        return t

    return start


TYPES = {
    "inbound": {"in": True},
    "full": {"in": True, "out": True},
    "full with port": {"in": True, "out": True, "client_port": True},
}


@pytest.mark.parametrize("family", ["v4", "v6"])
@pytest.mark.parametrize("kind", TYPES)
def test_a_router_shows_the_addresses_that_its_type_says(gateway_between, wire, kind, family):
    t = gateway_between(TYPES[kind])
    seen = [wire(t.gw, "eth0")]
    client, server = ((t.client_v4, t.server_v4) if family == "v4" else (t.client_v6, t.server_v6))
    gw = {"v4": "192.168.56.1", "v6": "fd02::1"}[family]

    def text(host):
        return f"[{host}]" if ":" in host else host

    with t.cl:
        with services.connect((server, 8080)) as app:
            bulk = os.urandom(1 << 20) + SECRET
            sender = threading.Thread(target=app.sendall, args=(bulk,))
            sender.start()
            assert receive(app, len(bulk)) == bulk
            sender.join()
            assert app.getpeername()[:2] == (server, 8080)
            port = app.getsockname()[1]
            app.shutdown(socket.SHUT_WR)
            assert services.receive_all(app) == b""
    flow = t.ingress.wait_flow()
    assert (flow.client, flow.out, flow.reason) == (f"{text(client)}:{port}", f"{text(server)}:8080", "done")
    peer = t.egress.wait_flow().client.rsplit(":", 1)
    assert peer[0] == text(client if "full" in kind else gw)
    if kind == "full with port":
        assert int(peer[1]) == port
    assert SECRET not in seen[0].stop()


@pytest.mark.parametrize("variation", ["ip_forward=0", "rp_filter=1"])
def test_a_router_does_not_need_to_forward(gateway_between, variation):
    t = gateway_between(TYPES["full"])
    if variation == "ip_forward=0":
        t.gw.sysctl(net__ipv4__ip_forward=0)
    else:
        t.gw.sysctl(**{f"net__ipv4__conf__{i}__rp_filter": 1 for i in ("all", "eth0", "eth1", "lo")})
    assert ask_from(t.cl, (t.server_v4, 8080)) == SECRET


@pytest.mark.parametrize("mode", ["raw"])  # in a session they share a port
def test_a_client_without_a_port_left_is_reset(gateway_between):
    t = gateway_between(TYPES["full"])
    t.gw.run("sysctl", "-q", "-w", "net.ipv4.ip_local_port_range=40000 40009")
    clients = []
    with t.cl:
        for _ in range(10):
            clients.append(services.connect((t.server_v4, 8080)))
        for c in clients:
            c.sendall(b"x")
            assert receive(c, 1) == b"x"
    expect_refusal(t.cl, (t.server_v4, 8080))
    flow = t.ingress.wait_flow()
    assert flow.reason == "source_taken" and t.client_v4 in flow.why
    for c in clients:
        c.close()


@pytest.mark.parametrize("kind", ["out", "both"])
def test_an_egress_on_the_router_dials_in_the_name_of_its_client(routed, tng, stack, mode, kind):
    """cl: application and ingress; gw: egress for what it forwards; sv: the service, which sees the client's."""
    t = routed
    if t.rules.by_hand and kind != "out":
        pytest.skip("by hand with REDIRECT only")
    to = {"capture_dst": {"host": "192.168.56.2/32", "port": 8080}}
    egress = tng(add_egress=[captured(to, transparency=EGRESS_TYPES[kind])], within=t.gw.within, **t.rules.config(t.gw))
    tng(add_ingress=[captured(to, mux=mode == "mux" or None, listen_port=41000)], within=t.cl.within,
        **t.rules.config(t.cl))
    if t.rules.by_hand:
        divert_out(t.cl, [("ip daddr 192.168.56.2 tcp dport 8080", 566, 41000)])
        redirect_in(t.gw, [("iifname eth1 ip daddr 192.168.56.2 tcp dport 8080", 40000)])
        lead_answers_back(t.gw, "eth0")
    with t.sv:
        service = Service("0.0.0.0", 8080)
    stack.add(service, service.close)
    with t.cl:
        app = services.connect((t.server_v4, 8080))
    big = os.urandom(1 << 20)
    app.sendall(SECRET)
    conn = service.accept()
    assert receive(conn, len(SECRET)) == SECRET
    assert conn.getpeername()[0] == t.client_v4
    app.shutdown(socket.SHUT_WR)
    sender = threading.Thread(target=lambda: (conn.sendall(big), conn.close()))
    sender.start()
    assert services.receive_all(app) == big
    sender.join()
    app.close()
    flow = egress.wait_flow()
    assert (flow.out, flow.reason) == ("192.168.56.2:8080", "done")


# ---- bridged ----

@pytest.mark.parametrize("rules", [Rules("hand")], ids=["hand"])
@pytest.mark.parametrize("family", ["v4", "v6"])
@pytest.mark.parametrize("kind", ["full", "full with port"])
def test_a_bridge_may_hold_the_ingress(rules, tng, stack, wire, kind, family):
    """br: frames for the service are pulled out of the bridge (4.3), and the ingress answers and dials in their names."""
    t = Bridged.on(stack)
    egress = tng(add_egress=[captured(TO_8080)], within=t.sv.within, **rules.config(t.sv))
    tng(add_ingress=[captured(TO_8080, listen_port=41000, scope="forward", transparency=TYPES[kind])],
        within=t.br.within, **rules.config(t.br))
    mac = json.loads(t.br.run("ip", "-j", "link", "show", "br0"))[0]["address"]
    t.br.run("nft", "-f", "-", stdin=f"""
table bridge by_hand {{
  chain pre {{
    type filter hook prerouting priority -300;
    iifname eth1 ether type {{ ip, ip6 }} tcp dport 8080 ether daddr set {mac} meta pkttype set host
    iifname eth0 ether type {{ ip, ip6 }} tcp sport 8080 ether daddr set {mac} meta pkttype set host
  }}
}}
""")
    tproxy_forwarded(t.br, "br0", 8080, 41000)
    redirect_in(t.sv, [("tcp dport 8080 fib daddr type local", 40000)])
    client, server = (t.client_v4, t.server_v4) if family == "v4" else (t.client_v6, t.server_v6)
    with t.sv:
        echo = Echo("0.0.0.0" if family == "v4" else "::", 8080)
    stack.add(echo, echo.close)
    seen = wire(t.br, "eth0")
    with t.cl:
        app = services.connect((server, 8080))
    app.sendall(SECRET)
    assert receive(app, len(SECRET)) == SECRET
    port = app.getsockname()[1]
    app.close()
    peer, peer_port = egress.wait_flow().client.rsplit(":", 1)
    assert peer.strip("[]") == client
    if kind == "full with port":
        assert int(peer_port) == port
    assert SECRET[:20] not in seen.stop()


# ---- rules of ours only ----

OURS = pytest.mark.parametrize("rules", [Rules("nft"), Rules("iptables")], ids=["nft", "iptables"])

EGRESS_TYPES = {
    "in": {"in": True},
    "out": {"out": True},
    "both": {"in": True, "out": True},
}


@OURS
@pytest.mark.parametrize("family", ["v4", "v6"])
@pytest.mark.parametrize("kind", EGRESS_TYPES)
def test_an_egress_beside_its_service_shows_what_its_type_says(hosts, stack, kind, family, mode):
    t = hosts(far={"transparency": EGRESS_TYPES[kind]}, serve=False)
    server, client = (t.server_v4, t.client_v4) if family == "v4" else (t.server_v6, t.client_v6)
    with t.s:
        service = Service("0.0.0.0" if family == "v4" else "::", 8080)
    stack.add(service, service.close)
    with t.c:
        app = services.connect((server, 8080))
    app.sendall(SECRET)
    conn = service.accept()
    assert receive(conn, len(SECRET)) == SECRET
    conn.sendall(b"answer")
    assert receive(app, 6) == b"answer"
    assert conn.getpeername()[0] == (server if kind == "in" else client)
    app.close()
    conn.close()
    assert t.egress.wait_flow().reason == "done"


@OURS
@pytest.mark.parametrize("family", ["v4", "v6"])
def test_redirect_carries_as_tproxy_does(hosts, wire, family):
    t = hosts(near={"method": "redirect"})
    seen = wire(t.c, t.wire)
    server = t.server_v4 if family == "v4" else t.server_v6
    big = os.urandom(200000) + SECRET
    assert ask_from(t.c, (server, 8080), big) == big
    assert t.ingress.wait_flow().out == (f"{server}:8080" if family == "v4" else f"[{server}]:8080")
    with t.c:
        client = services.connect((server, 8080))
    client.sendall(SECRET)
    assert receive(client, len(SECRET)) == SECRET
    t.ingress.kill()
    with pytest.raises(OSError):
        while True:
            client.sendall(SECRET)
    client.close()
    assert SECRET[:20] not in seen.stop()


@OURS
@pytest.mark.parametrize("kind", ["out", "with port"])
def test_a_mapping_may_dial_in_the_name_of_its_client(routed, tng, stack, mode, kind):
    """gw: an egress with mapping for ingresses in cl; the service in sv sees the address of the ingress."""
    if kind == "with port" and mode == "mux":
        pytest.skip("the port of a session is that of one stream only")
    t = routed
    far = entry(("0.0.0.0", 8443), (t.server_v4, 8080))
    far["mapping"]["transparency"] = {"out": True, "client_port": kind == "with port"}
    egress = tng(add_egress=[far], within=t.gw.within, **t.rules.config(t.gw))
    near = tng(add_ingress=[entry(9000, ("172.28.56.1", 8443), mux=mode == "mux" or None)],
               within=t.cl.within)
    with t.sv:
        service = Service("0.0.0.0", 8080)
    stack.add(service, service.close)
    with t.cl:
        app = services.connect(("127.0.0.1", near.port))
    app.sendall(SECRET)
    conn = service.accept()
    assert receive(conn, len(SECRET)) == SECRET
    seen = conn.getpeername()
    big = os.urandom(1 << 20)
    sender = threading.Thread(target=lambda: (conn.sendall(big), conn.close()))
    sender.start()
    assert receive(app, len(big)) == big
    sender.join()
    app.close()
    assert seen[0] == t.client_v4
    if kind == "with port":
        assert egress.wait_flow().client == f"{seen[0]}:{seen[1]}"


@OURS
@pytest.mark.parametrize("family", ["v4", "v6"])
def test_an_ingress_beside_its_application_may_dial_in_its_name(hosts, wire, family):
    t = hosts(near={"transparency": {"out": True}})
    seen = wire(t.c, t.wire)
    server, client = (t.server_v4, t.client_v4) if family == "v4" else (t.server_v6, t.client_v6)
    big = os.urandom(1 << 20) + SECRET
    assert ask_from(t.c, (server, 8080), big) == big
    assert t.egress.wait_flow().client.rsplit(":", 1)[0].strip("[]") == client
    assert SECRET[:20] not in seen.stop()


@OURS
@pytest.mark.parametrize("mode", ["raw"])
def test_an_application_beside_the_ingress_keeps_its_port_to_itself(hosts):
    """It is the same host, so its connection and ours would be one: the application is reset."""
    t = hosts(near={"transparency": {"out": True, "client_port": True}, "scope": "both"})
    expect_refusal(t.c, (t.server_v4, 8080))
    assert t.ingress.wait_flow().reason == "source_taken"


@OURS
def test_a_guard_that_is_killed_takes_the_gateway_along(hosts):
    t = hosts()
    with t.c:
        client = services.connect((t.server_v4, 8080))
    client.sendall(b"x")
    assert receive(client, 1) == b"x"
    with open(f"/proc/{t.ingress.pid}/task/{t.ingress.pid}/children", encoding="ascii") as f:
        guard = int(f.read().split()[0])
    os.kill(guard, signal.SIGKILL)
    expect_reset(client)
    client.close()
    assert t.ingress.wait() == 1
    assert t.ingress.has_line("the process that guards the rules has ended")


@OURS
def test_what_is_diverted_never_shows_around_start_and_stop(pair_of_hosts, tng, stack, wire, mode):
    """A service that speaks in clear, and a client that asks all the time: once captured, no byte of it is seen."""
    t = pair_of_hosts
    with t.s:
        echo = stack.add(Echo("0.0.0.0", 8080), lambda: None)
    egress = tng(add_egress=[captured(TO_8080)], within=t.s.within, **t.rules.config(t.s))
    ingress = tng(add_ingress=[captured(TO_8080, mux=mode == "mux" or None)], within=t.c.within,
                  **t.rules.config(t.c))
    seen = wire(t.c, t.wire)
    with t.c:
        clients = [services.connect((t.server_v4, 8080)) for _ in range(5)]
    for c in clients:
        c.sendall(SECRET)
        assert receive(c, len(SECRET)) == SECRET
    # They go on with their bytes for as long as they are let.
    ingress.send_signal(signal.SIGTERM)
    ingress.wait_line("draining")
    ingress.send_signal(signal.SIGTERM)
    for c in clients:
        with pytest.raises(OSError):
            while True:
                c.sendall(SECRET)
        c.close()
    ingress.wait()
    until("nothing of ours is left", lambda: "tng" not in t.c.run("nft", "list", "ruleset").lower())
    assert SECRET[:20] not in seen.stop()
    egress.stop()
    echo.close()


@OURS
@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL], ids=["SIGTERM", "SIGKILL"])
def test_on_exit_drop_leaves_nothing_that_gets_through(pair_of_hosts, tng, stack, wire, end):
    t = pair_of_hosts
    before = t.c.state()
    with t.s:
        echo = Echo("0.0.0.0", 8080)  # would answer in clear
    stack.add(echo, echo.close)
    config = t.rules.config(t.c, on_exit="drop")
    ingress = tng(add_ingress=[captured(TO_8080)], within=t.c.within, **config)
    tng(add_egress=[captured(TO_8080)], within=t.s.within, **t.rules.config(t.s))
    assert ask_from(t.c, (t.server_v4, 8080)) == SECRET
    seen = wire(t.c, t.wire)
    ingress.send_signal(end)
    ingress.wait()
    for _ in range(3):
        assert is_refused(t.c, (t.server_v4, 8080))
    assert SECRET[:20] not in seen.stop()
    t.c.run(BINARY, "cleanup-iptables", "--instance", config["interception"]["instance"])
    assert t.c.state() == before


@OURS
@pytest.mark.parametrize("mode", ["raw"])
def test_five_seconds_after_sigterm_nothing_of_ours_is_left_although_a_connection_was_open(hosts, wire):
    t = hosts()  # which compares what is left
    seen = wire(t.c, t.wire)
    with t.c:
        client = services.connect((t.server_v4, 8080))
    client.sendall(SECRET)
    assert receive(client, len(SECRET)) == SECRET
    t.ingress.send_signal(signal.SIGTERM)
    assert t.ingress.wait(5) == 0
    with pytest.raises(ConnectionResetError):
        client.sendall(SECRET)
        client.sendall(SECRET)
    client.close()
    assert SECRET[:20] not in seen.stop()


@OURS
@pytest.mark.parametrize("mode", ["raw"], indirect=True)
def test_when_somebody_takes_our_policy_rule_away_nothing_goes_on_in_clear(hosts, wire):
    t = hosts()
    seen = wire(t.c, t.wire)
    with t.c:
        client = services.connect((t.server_v4, 8080))
    t.c.run("ip", "rule", "del", "pref", "5650")
    client.sendall(SECRET)
    assert is_refused(t.c, (t.server_v4, 8080))
    client.close()
    assert SECRET[:20] not in seen.stop()


def is_refused(host, address):
    with host:
        try:
            with services.connect(address, 1) as app:
                app.sendall(SECRET)
                return app.recv(1) == b""
        except OSError:
            return True


@pytest.mark.parametrize("rules", [Rules("hand")], ids=["hand"])
@pytest.mark.parametrize("kind", ["add_ingress", "add_egress"])
def test_without_the_right_the_start_says_what_is_missing(pair_of_hosts, tng, kind):
    t = pair_of_hosts
    without = (*t.c.within, "setpriv", "--bounding-set=-net_admin,-net_raw")
    gateway = tng(**{kind: [captured(TO_8080)]}, within=without, wait=None, **t.rules.config(t.c))
    assert gateway.wait() == 1
    assert gateway.has_line(rf"{kind}\[0\]: the capability CAP_NET_ADMIN is missing \(.*\), or write mode mapping: "
                            "SO_MARK")


# ---- with the released gateway on either side ----

@pytest.mark.upstream
@pytest.mark.parametrize("rules", [Rules("nft")], ids=["nft"])
@pytest.mark.parametrize("version", WHEELS)
@pytest.mark.parametrize("ours", ["ingress", "egress"])
def test_one_side_of_ours_and_one_of_upstream(pair_of_hosts, tng, stack, wire, mode, version, ours):
    t = pair_of_hosts
    mux = mode == "mux" or None

    def upstream(host, chain, **config):
        u = Upstream(version, config, within=host.within)
        stack.add(u, u.finish)
        until(f"{u.name} has its rules: {u.output}", lambda: chain in host.run("iptables-save"))
        return u

    dst = {"capture_dst": {"port": 8080}}
    if ours == "ingress":
        upstream(t.s, "-j TNG_EGRESS_0", add_egress=[captured(dst, mux=mux)])
        mine = tng(add_ingress=[captured(dst, mux=mux)], within=t.c.within, **t.rules.config(t.c))
    else:
        mine = tng(add_egress=[captured(dst)], within=t.s.within, **t.rules.config(t.s))
        upstream(t.c, "-j TNG_INGRESS_0_OUTPUT_STAGE_1", add_ingress=[captured(dst, mux=mux)])
    seen = wire(t.c, t.wire)
    with t.s:
        echo = stack.add(Echo("0.0.0.0", 8080), lambda: echo.close())
    for data in (SECRET, os.urandom(100000) + SECRET):
        with t.c:
            with services.connect((t.server_v4, 8080)) as app:
                app.settimeout(10)
                app.sendall(data)
                assert receive(app, len(data)) == data
    assert echo.accepted == 2
    assert mine.wait_flow(2).out == f"{t.server_v4}:8080"
    assert SECRET[:20] not in seen.stop()
