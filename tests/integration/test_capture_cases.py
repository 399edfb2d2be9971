"""
Captured connections in cases of their own (interception.md 8.3, 2 and 7): what an egress takes on its host, ports of
clients that are in use, and the PROXY protocol. The gateways are ours and make their rules, with either back end.
"""
import os
import socket
import threading

import pytest

from harness.netns import Pair, Routed, Wire, skip_without_namespaces
from harness.services import Echo, Service, expect_reset, receive, receive_all
from test_proxy_protocol import header_of, v1, v2

SECRET = b"this must never be seen on a wire" * 3
TO_8080 = {"capture_dst": {"port": 8080}, "ipv6": "capture"}
SO_MARK = 36
SOL_IP, IP_TRANSPARENT = 0, 19


@pytest.fixture(scope="module", autouse=True)
def namespaces():
    skip_without_namespaces()


@pytest.fixture(params=["nft", "iptables"])
def backend(request):
    return request.param


@pytest.fixture
def gateway(tng, backend):
    """gateway(host, "add_egress", netfilter=..., ...): with one entry."""

    def start(host, kind, **netfilter):
        return tng(**{kind: [{"netfilter": {**TO_8080, **netfilter}, "no_ra": True}]}, within=host.within, name=kind,
                   wait="ready", interception={"backend": backend, "instance": f"{os.getpid()}-{host.label}"})

    return start


def echo_on(stack, host, address="0.0.0.0", port=8080):
    with host:
        echo = Echo(address, port)
    return stack.add(echo, echo.close)


def connect_from(host, address, mark=0, port=0):
    with host:
        s = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET)
    s.settimeout(5)
    if mark:
        s.setsockopt(socket.SOL_SOCKET, SO_MARK, mark)
    if port:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind(("", port))
    s.connect(address)
    return s


def is_direct(host, address, mark=0):
    """The echo answers in clear; an egress refuses plain text."""
    with connect_from(host, address, mark) as s:
        try:
            s.sendall(SECRET)
            s.shutdown(socket.SHUT_WR)
            got = receive_all(s)
        except ConnectionResetError:
            got = b""
    assert SECRET not in got or got == SECRET
    return got == SECRET


# ---- what an egress takes on its host ----

@pytest.mark.parametrize("local", [False, True], ids=["", "capture_local_traffic"])
def test_an_egress_takes_what_the_table_says(stack, gateway, local):
    t = Pair.on(stack)
    echo_on(stack, t.s)
    echo_on(stack, t.s, "::")
    echo_on(stack, t.c)
    egress = gateway(t.s, "add_egress", capture_local_traffic=local)
    assert not is_direct(t.c, (t.server_v4, 8080)) and not is_direct(t.c, (t.server_v6, 8080))
    assert egress.wait_flow().reason == "tls_plaintext"
    for own in (t.server_v4, "127.0.0.1", t.server_v6, "::1"):
        assert is_direct(t.s, (own, 8080)) != local, own
        assert is_direct(t.s, (own, 8080), mark=565), own
        assert is_direct(t.s, (own, 8080), mark=0x11000235), own  # others' bits of the mark
        assert is_direct(t.s, (own, 8080), mark=566) != local, own
    assert is_direct(t.s, (t.client_v4, 8080))  # on another host


def test_an_egress_leaves_what_passes_through_its_host_when_no_address_is_named(stack, gateway):
    t = Routed.on(stack)
    echo_on(stack, t.sv)
    echo_on(stack, t.sv, "::")
    gateway(t.gw, "add_egress")
    assert is_direct(t.cl, (t.server_v4, 8080)) and is_direct(t.cl, (t.server_v6, 8080))
    assert not is_direct(t.cl, ("172.28.56.1", 8080))  # that is the host itself


# ---- ports of clients ----

@pytest.fixture
def in_the_clients_name(stack, gateway, request):
    """A router whose ingress dials from its client's address and port; commands on it come before the gateway."""
    t = Routed.on(stack)
    t.gw.lines(getattr(request, "param", ""))
    t.sv.run("ip", "addr", "add", "192.168.56.3/24", "dev", "eth0")
    # By TPROXY, which shows the port that came: REDIRECT leads both destinations to one address, and NAT then has to
    # tell them apart by another port of the client.
    t.egress = gateway(t.sv, "add_egress", transparency={"in": True})
    t.ingress = gateway(t.gw, "add_ingress", scope="forward",
                        transparency={"in": True, "out": True, "client_port": True})
    echo_on(stack, t.sv)
    return t


def answers(app):
    app.sendall(SECRET)
    return receive(app, len(SECRET)) == SECRET


def test_a_client_may_use_its_port_for_two_destinations_at_once(in_the_clients_name):
    t = in_the_clients_name
    apps = [connect_from(t.cl, (to, 8080), port=45000) for to in (t.server_v4, "192.168.56.3")]
    assert all(answers(a) for a in apps)
    for a in apps:
        a.close()
    t.egress.wait_flow(2)
    assert {(f.client, f.out) for f in t.egress.flows()} == {
        (f"{t.client_v4}:45000", f"{to}:8080") for to in (t.server_v4, "192.168.56.3")}


def test_a_client_whose_port_is_taken_is_reset_and_one_with_another_port_is_served(in_the_clients_name):
    """EADDRNOTAVAIL: on the router there is a connection between the same two addresses and ports."""
    t = in_the_clients_name
    with t.gw:
        taken = socket.socket()
    taken.setsockopt(SOL_IP, IP_TRANSPARENT, 1)
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    taken.setsockopt(socket.SOL_SOCKET, SO_MARK, 565)
    taken.settimeout(5)
    taken.bind((t.client_v4, 45000))
    taken.connect((t.server_v4, 8080))
    try:
        with connect_from(t.cl, (t.server_v4, 8080), port=45000) as app:
            expect_reset(app)
    except ConnectionResetError:
        pass  # before we have looked at the connection that was made
    flow = t.ingress.wait_flow()
    assert flow.reason == "source_taken" and f"{t.client_v4}:45000" in flow.why
    with connect_from(t.cl, (t.server_v4, 8080), port=45001) as app:
        assert answers(app)
    taken.close()


STRICT = "".join(f"sysctl -q -w net.ipv4.conf.{i}.rp_filter=1\n" for i in ("all", "eth0", "eth1", "lo"))
ON_THE_ROUTER = {
    "a source check by marks": STRICT + "sysctl -q -w net.ipv4.conf.all.src_valid_mark=1",
    # With a rule of NAT the kernel tracks connections, and both of ours have the same addresses and ports.
    "connections that are tracked": "iptables -t nat -A POSTROUTING -p udp -j ACCEPT\n"
                                    "iptables -A FORWARD -m conntrack --ctstate INVALID -j DROP\n"
                                    "iptables -A INPUT -m conntrack --ctstate INVALID -j DROP",
}


@pytest.mark.parametrize("in_the_clients_name", ON_THE_ROUTER.values(), ids=ON_THE_ROUTER, indirect=True)
def test_a_router_with_settings_of_others_carries_bulk_in_its_clients_name(in_the_clients_name):
    t = in_the_clients_name
    big = os.urandom(2 << 20)
    with connect_from(t.cl, (t.server_v4, 8080), port=45000) as app:
        sender = threading.Thread(target=app.sendall, args=(big,), daemon=True)
        sender.start()
        assert receive(app, len(big)) == big
        sender.join(5)
    assert t.egress.wait_flow().client == f"{t.client_v4}:45000"


# ---- the PROXY protocol ----

@pytest.fixture
def pair_with(stack, gateway):
    """pair_with(near, far): proxy_protocol on either side; the service is driven by hand."""

    def start(near=None, far=None):
        t = Pair.on(stack)
        t.egress = gateway(t.s, "add_egress", **({"proxy_protocol": far} if far else {}))
        t.ingress = gateway(t.c, "add_ingress", **({"proxy_protocol": near} if near else {}))
        with t.s:
            t.service = Service("0.0.0.0", 8080)
        stack.add(t.service, t.service.close)
        wire = Wire(t.c, t.wire)
        t.seen = stack.add(wire, wire.finish)
        return t

    return start


@pytest.mark.parametrize("side", ["near", "far"])
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_the_header_that_is_sent_names_the_destination_that_was_captured(pair_with, side, version):
    t = pair_with(**{side: {"send": version}})
    app = connect_from(t.c, (t.server_v4, 8080))
    app.sendall(SECRET)
    conn = t.service.accept()
    client, server = header_of(conn, version)
    assert receive(conn, len(SECRET)) == SECRET
    assert server == (t.server_v4, 8080)
    assert client[0] == t.client_v4
    # The egress knows its peer, the ingress the application.
    assert (client == app.getsockname()) == (side == "near")
    app.close()
    conn.close()
    seen = t.seen.stop()
    assert b"\x16\x03\x01" in seen
    assert SECRET[:20] not in seen and b"PROXY TCP4" not in seen


@pytest.mark.parametrize("header", [v1(), v2()], ids=["v1", "v2"])
def test_a_captured_client_that_may_send_a_header_is_the_one_that_it_names(pair_with, header):
    t = pair_with(near={"accept_from": ["10.77.0.1/32"]})
    app = connect_from(t.c, (t.server_v4, 8080))
    app.sendall(header + SECRET)
    conn = t.service.accept()
    assert receive(conn, len(SECRET)) == SECRET
    app.close()
    conn.close()
    flow = t.ingress.wait_flow()
    # Whom it speaks for, but not where it goes: that is what the kernel says.
    assert (flow.client, flow.out) == ("192.0.2.1:56324", f"{t.server_v4}:8080")


def test_a_captured_client_that_must_send_a_header_and_does_not_is_ended(pair_with):
    t = pair_with(near={"accept_from": ["10.77.0.1/32"]})
    app = connect_from(t.c, (t.server_v4, 8080))
    app.sendall(b"GET / HTTP/1.1\r\n\r\n" + SECRET)
    expect_reset(app)
    app.close()
    assert t.ingress.wait_flow().client.startswith(f"{t.client_v4}:")
    assert not t.service.has_connection()


def test_a_captured_client_that_must_not_send_a_header_and_does_is_ended(pair_with):
    t = pair_with(near={"accept_from": ["10.77.0.9/32"]})
    app = connect_from(t.c, (t.server_v4, 8080))
    app.sendall(v1() + SECRET)
    expect_reset(app)
    app.close()
    assert t.ingress.wait_flow().client.startswith(f"{t.client_v4}:")
    assert not t.service.has_connection()


def test_an_egress_that_captures_demands_a_header_of_its_peers(pair_with):
    t = pair_with(far={"accept_from": ["10.77.0.1/32"]})
    try:
        with connect_from(t.c, (t.server_v4, 8080)) as app:
            app.sendall(SECRET)
            expect_reset(app)
    except (ConnectionResetError, BrokenPipeError):
        pass
    assert t.egress.wait_flow().client.startswith(f"{t.client_v4}:")
    assert not t.service.has_connection()
