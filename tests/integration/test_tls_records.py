"""
libssl's record layer in place of ours: what applications see does not change, whoever is at the other end. All other
tests can be run with it as well: TNG_TLS_RECORDS=libssl.
"""
import os
import socket

import pytest

from harness import ports
from harness.gateway import entry, run_launch
from harness.services import ask, digest, expect_end, expect_reset, is_quiet, receive, receive_all, reset
from harness.upstream import WHEELS, Upstream

WAYS = [("own", "libssl"), ("libssl", "own"), ("libssl", "libssl")]


@pytest.fixture(params=WAYS, ids=["-".join(way) for way in WAYS])
def ends(request, pair, mode):
    """ends(port): an ingress and an egress of which one or both have libssl's record layer."""
    near, far = request.param

    def start(to, **options):
        return pair(to, mode, near_top={"tls_records": near}, far_top={"tls_records": far}, **options)

    return start


@pytest.mark.parametrize("size", [0, 1, 16385, 1000003, 8 << 20])
def test_bytes_come_back_as_they_went(ends, echo, size):
    near, far = ends(echo.port)
    sent = os.urandom(size)

    assert digest(ask(near.port, sent)) == digest(sent)
    for gateway in (near, far):
        flow = gateway.wait_flow()
        assert (flow.reason, flow.bytes) == ("done", (size, size))


def test_an_attested_tunnel_carries_bytes(ends, echo, lab):
    both = {"attest": lab.attest(), "verify": lab.verify()}
    near, far = ends(echo.port, near=both, far=both)

    for i in range(3):
        assert ask(near.port, b"hello") == b"hello"
        assert near.wait_flow(i + 1).tee == far.wait_flow(i + 1).tee == "sample"


@pytest.mark.parametrize("first", ["client", "service"])
def test_each_direction_ends_by_itself(ends, service, both_ends, first):
    near, far = ends(service.port)
    client, served = both_ends(near)
    ended, other = (client, served) if first == "client" else (served, client)

    ended.sendall(b"question")
    ended.shutdown(socket.SHUT_WR)
    assert receive_all(other) == b"question"
    assert is_quiet(ended, 0.3)
    other.sendall(b"answer" * 1000)
    other.close()
    assert receive_all(ended) == b"answer" * 1000
    ended.close()
    assert near.wait_flow().reason == far.wait_flow().reason == "done"


def test_a_reset_of_the_client_is_a_reset_for_the_service(ends, service, both_ends):
    near, far = ends(service.port)
    client, served = both_ends(near)
    client.sendall(b"ping")
    assert receive(served, 4) == b"ping"

    reset(client)
    expect_reset(served)
    assert near.wait_flow().reason == "client_reset"
    assert far.wait_flow().reason in ("tunnel_reset", "tunnel_truncated")


def test_a_reset_of_the_service_after_an_end_is_a_reset_for_the_client(ends, service, both_ends):
    near, far = ends(service.port)
    client, served = both_ends(near)
    client.shutdown(socket.SHUT_WR)
    expect_end(served)

    reset(served)
    expect_reset(client)
    assert far.wait_flow().reason == "service_reset"
    assert near.wait_flow().reason in ("tunnel_reset", "tunnel_truncated")


def test_a_peer_that_verifies_tells_us_that_we_present_nothing(ingress, egress, service, connect, lab):
    """Its alert comes when our handshake is over: libssl's record layer reads it."""
    far = egress(service.port, verify=lab.verify())
    near = ingress(far.port, top={"tls_records": "libssl"})

    connect(near.port).sendall(b"secret")
    assert "add \"attest\" to this entry" in near.wait_flow().why
    assert not service.has_connection()


def test_the_log_says_so(ingress):
    ready = r" ready: .* TLS records by libssl$"
    ingress(ports.free_port(), top={"tls_records": "libssl"}).wait_line(ready)
    own = ingress(ports.free_port(), top={"tls_records": "own"})
    assert not any("libssl" in line for line in own.lines)


def test_another_name_is_refused():
    ended = run_launch({"tls_records": "gnutls", "add_ingress": [entry(ports.free_port(), 1)]})
    assert ended.returncode != 0
    assert "tls_records: expected \"own\" or \"libssl\", found \"gnutls\"" in ended.stderr


@pytest.mark.upstream
@pytest.mark.parametrize("version", WHEELS)
@pytest.mark.parametrize("ours", ["ingress", "egress"])
def test_upstream_as_the_other_end(stack, ingress, egress, echo, service, connect, mode, version, ours):
    mux = True if mode == "mux" else None
    top = {"tls_records": "libssl"}

    def upstream(**config):
        u = Upstream(version, config)
        stack.add(u, u.finish)
        return u.wait_ready()

    def start(to):
        if ours == "egress":
            return upstream(add_ingress=[entry(ports.free_port(), egress(to, top=top).port, mux=mux)])
        far = upstream(add_egress=[entry(ports.free_port(), to, mux=mux)])
        return ingress(far.port, mux=mux, top=top)

    near = start(echo.port)
    for size in (5, 300000, 24 << 20):
        sent = os.urandom(size)
        assert digest(ask(near.port, sent)) == digest(sent)

    client = connect(start(service.port).port)
    served = service.accept()
    client.sendall(b"question")
    client.shutdown(socket.SHUT_WR)
    assert receive_all(served) == b"question"
    served.sendall(b"answer")
    served.shutdown(socket.SHUT_WR)
    assert receive_all(client) == b"answer"
