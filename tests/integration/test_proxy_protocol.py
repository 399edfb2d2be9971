"""The PROXY protocol in front of what we accept, and in front of what we carry."""
import socket
import struct
import threading

import pytest

from harness import ports
from harness.gateway import entry
from harness.services import Service, expect_reset, is_quiet, receive, receive_all

V2 = b"\r\n\r\n\0\r\nQUIT\n"
CLIENT, SERVER = ("192.0.2.1", 56324), ("198.51.100.7", 443)


def v1(client=CLIENT, server=SERVER):
    return f"PROXY TCP4 {client[0]} {server[0]} {client[1]} {server[1]}\r\n".encode()


def v2(client=CLIENT, server=SERVER, tlvs=b""):
    addrs = socket.inet_aton(client[0]) + socket.inet_aton(server[0]) + struct.pack("!HH", client[1], server[1])
    return V2 + b"\x21\x11" + struct.pack("!H", len(addrs) + len(tlvs)) + addrs + tlvs


HEADERS = {"v1": v1(), "v2": v2(), "v2 with tlvs": v2(tlvs=b"\x04\x00\x03abc")}


@pytest.fixture
def carry(tng, mode):
    """carry(port of the service, near, far): a pair with proxy_protocol on either side; its ingress and egress."""

    def start(to, near=None, far=None, **top):
        egress = entry(ports.free_port(), to)
        ingress = entry(ports.free_port(), egress["mapping"]["in"]["port"], mux=mode == "mux" or None)
        for made, proxy in ((ingress, near), (egress, far)):
            if proxy is not None:
                made["mapping"]["proxy_protocol"] = proxy
        far_end = tng(add_egress=[egress], name="egress", **top)
        return tng(add_ingress=[ingress], name="ingress", **top), far_end

    return start


@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize("pieces", [1, 7, 1000])
def test_a_header_from_who_may_send_one_tells_the_client(carry, connect, service, header, pieces):
    near, _ = carry(service.port, near={"accept_from": ["127.0.0.0/8"]})
    client = connect(near.port)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    data = HEADERS[header] + b"hello"
    size = -(-len(data) // min(pieces, len(data)))
    for at in range(0, len(data), size):
        client.sendall(data[at:at + size])
    conn = service.accept()
    assert receive(conn, 5) == b"hello"
    client.close()
    conn.close()
    assert near.wait_flow().client == "192.0.2.1:56324"


@pytest.mark.parametrize("header", [b"PROXY UNKNOWN\r\n", V2 + b"\x20\x00\x00\x00"])
def test_a_header_without_addresses_leaves_those_of_the_connection(carry, connect, service, header):
    near, _ = carry(service.port, near={"accept_from": ["127.0.0.1/32"]})
    client = connect(near.port)
    own = client.getsockname()[1]
    client.sendall(header + b"hello")
    conn = service.accept()
    assert receive(conn, 5) == b"hello"
    client.close()
    conn.close()
    assert near.wait_flow().client == f"127.0.0.1:{own}"


@pytest.mark.parametrize("bad", [b"GET / HTTP/1.1\r\n\r\n", b"PROXY TCP4 1.2.3.4 1.2.3.5 1 65536\r\n",
                                 b"PROXY" + b"x" * 200, b"PROXY " + b"x" * 200, V2 + b"\x21\x11\x00\x04abcd", V2 + b"\x21\x11\xff\xff"])
def test_who_must_send_a_header_and_does_not_is_ended(carry, connect, service, bad):
    near, _ = carry(service.port, near={"accept_from": ["127.0.0.0/8"]})
    client = connect(near.port)
    client.sendall(bad)
    assert _ended(client)
    assert near.wait_flow().reason == "proxy_header"
    assert not service.has_connection()


def _ended(client):
    client.settimeout(5)
    try:
        return client.recv(1) == b""
    except ConnectionResetError:
        return True


@pytest.mark.parametrize("begin", [b"", b"PROXY TCP4 1.2.3.4"])
def test_a_header_that_does_not_come_is_waited_for_in_vain(carry, connect, service, begin):
    near, _ = carry(service.port, near={"accept_from": ["127.0.0.0/8"]}, timeouts={"first_byte": 0.3})
    client = connect(near.port)
    client.sendall(begin)
    assert _ended(client)
    assert near.wait_flow().reason == "first_byte_timeout"
    assert not service.has_connection()


def test_a_header_that_is_cut_off_by_the_end_is_none(carry, connect, service):
    near, _ = carry(service.port, near={"accept_from": ["127.0.0.0/8"]})
    client = connect(near.port)
    client.sendall(v1()[:-1])
    client.shutdown(socket.SHUT_WR)
    assert _ended(client)
    assert near.wait_flow().reason == "proxy_header"


@pytest.mark.parametrize("header", HEADERS)
def test_a_header_from_anybody_else_ends_the_connection(carry, connect, service, header):
    near, _ = carry(service.port, near={"accept_from": ["10.0.0.0/8"]})
    client = connect(near.port)
    client.sendall(HEADERS[header] + b"hello")
    expect_reset(client)
    assert near.wait_flow().reason == "proxy_header"
    if service.has_connection():  # it may have been dialed, but has heard nothing
        with pytest.raises(ConnectionResetError):
            assert service.accept().recv(1) == b"x"


def test_anybody_else_may_speak_or_wait_for_the_service_to_do_so(carry, connect, service):
    near, _ = carry(service.port, near={"accept_from": ["10.0.0.0/8"]})
    client = connect(near.port)
    conn = service.accept()
    conn.sendall(b"220 who are you?")
    assert receive(client, 16) == b"220 who are you?"
    client.sendall(b"PRO")  # as a header begins
    assert is_quiet(conn, 0.2)
    client.sendall(b"BLEM")
    assert receive(conn, 7) == b"PROBLEM"
    client.close()
    conn.close()

    ends = connect(near.port)
    ends.sendall(b"PROX")
    ends.shutdown(socket.SHUT_WR)
    assert receive_all(service.accept()) == b"PROX"


def test_an_egress_demands_a_header_from_its_peers(tng, connect, service):
    egress = entry(ports.free_port(), service.port)
    egress["mapping"]["proxy_protocol"] = {"accept_from": ["127.0.0.0/8"]}
    far = tng(add_egress=[egress], name="egress")
    near = tng(add_ingress=[entry(ports.free_port(), far.port)], name="ingress")
    client = connect(near.port)
    client.sendall(b"hello")
    assert _ended(client)
    flow = far.wait_flow()
    assert flow.reason == "proxy_header"
    assert not service.has_connection()


def test_a_peer_behind_a_load_balancer_is_told_to_the_service(tng, stack, connect, service, mode):
    """ingress - (balancer that adds a header) - egress: the service hears of the address that the balancer tells."""
    egress = entry(ports.free_port(), service.port)
    egress["mapping"]["proxy_protocol"] = {"accept_from": ["127.0.0.0/8"], "send": "v2"}
    far = tng(add_egress=[egress], name="egress")
    balancer = Service()
    stack.add(balancer, balancer.close)
    near = tng(add_ingress=[entry(ports.free_port(), balancer.port, mux=mode == "mux" or None)], name="ingress")
    client = connect(near.port)
    client.sendall(b"hello")
    inner, outer = balancer.accept(), connect(far.port)
    outer.sendall(v1())
    pump(inner, outer)
    conn = service.accept()
    assert receive(conn, len(v2()) + 5) == v2() + b"hello"
    for sock in (client, conn, inner, outer):
        sock.close()


@pytest.mark.parametrize("side", ["near", "far"])
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_the_header_that_is_sent_comes_first_and_once_for_each_connection(carry, connect, service, mode, side, version):
    near, far = carry(service.port, workers=1, **{side: {"send": version}})
    seen = set()
    for _ in range(3):
        client = connect(near.port)
        client.sendall(b"hello")
        conn = service.accept()
        shown, reached = header_of(conn, version)
        assert receive(conn, 5) == b"hello"
        if side == "near":
            assert (shown, reached) == (client.getsockname(), ("127.0.0.1", near.port))
        else:
            assert (shown[0], reached) == ("127.0.0.1", ("127.0.0.1", far.port))
        seen.add(shown)
        conn.sendall(b"answer")
        conn.shutdown(socket.SHUT_WR)
        assert receive_all(client) == b"answer"
        client.close()
    # The egress knows its peer only, which in a session is always the same.
    assert len(seen) == (1 if side == "far" and mode == "mux" else 3)


def test_a_header_is_passed_on_with_what_it_said(carry, connect, service):
    near, _ = carry(service.port, near={"accept_from": ["127.0.0.1/32"], "send": "v2"}, far={"send": "v1"})
    client = connect(near.port)
    client.sendall(v1() + b"hello")
    conn = service.accept()
    got = receive(conn, 6)
    while not got.endswith(b"\r\n"):
        got += receive(conn, 1)
    assert got.startswith(b"PROXY TCP4 127.0.0.1 127.0.0.1 ")
    assert receive(conn, len(v2()) + 5) == v2() + b"hello"


def test_a_service_hears_of_its_client_before_that_says_a_word(carry, connect, service):
    near, _ = carry(service.port, near={"send": "v1"})
    client = connect(near.port)
    conn = service.accept()
    expected = v1(client.getsockname(), ("127.0.0.1", near.port))
    assert receive(conn, len(expected)) == expected


def header_of(conn, version):
    """The two addresses that the header on conn says, which is taken off."""
    if version == "v1":
        line = b""
        while not line.endswith(b"\r\n"):
            line += receive(conn, 1)
        _, _, client, server, *the_ports = line.decode().split()
        made = (client, int(the_ports[0])), (server, int(the_ports[1]))
        assert line == v1(*made)
        return made
    head = receive(conn, len(v2()))
    the_ports = struct.unpack("!HH", head[24:28])
    made = (socket.inet_ntoa(head[16:20]), the_ports[0]), (socket.inet_ntoa(head[20:24]), the_ports[1])
    assert head == v2(*made)
    return made


def pump(one, other):
    """Carries bytes between two connections until both are closed."""
    def carry_from(a, b):
        try:
            while data := a.recv(65536):
                b.sendall(data)
            b.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    for a, b in ((one, other), (other, one)):
        threading.Thread(target=carry_from, args=(a, b), daemon=True).start()
