"""
No application byte leaves in either direction before the verdict: the attestation service is held back, and both sides
are watched. First with our own gateways, then with a peer of the test's own, which sees every byte that arrives.
"""
import ssl

import pytest

from harness import h2, racert, tls
from harness.services import expect_closed, is_quiet, receive
from harness.wait import established_to, until

PAUSE = 0.4  # how long nothing must happen


@pytest.fixture
def held(lab):
    """The lab with its service held back; anchors are told, only evidence waits."""
    lab.fault("hold", "as_rest", call="token")
    return lab


def assert_waiting(lab):
    lab.wait_waiting("as_rest")
    assert lab.verifications() >= 1


@pytest.mark.parametrize("verifier", ["ingress", "egress"])
def test_both_sides_wait_for_the_verdict(pair, service, connect, held, mode, verifier):
    verify, attest = {"verify": held.verify()}, {"attest": held.attest()}
    near, far = pair(service.port, mode, near=verify if verifier == "ingress" else attest,
                     far=attest if verifier == "ingress" else verify)

    client = connect(near.port)
    client.sendall(b"secret of the client")
    assert_waiting(held)
    if verifier == "egress" or mode == "mux":
        assert is_quiet(client, PAUSE)
        assert not service.has_connection(), "the service was dialed before the verdict"
    else:
        # A raw egress that verifies nobody dials at once, but has nothing to tell.
        served = service.accept()
        served.sendall(b"secret of the service")
        assert is_quiet(client, PAUSE), "bytes of a peer that is not verified reached the client"
        assert is_quiet(served, 0), "bytes of the client left before the verdict"

    assert held.release() == 1
    if not (verifier == "ingress" and mode == "raw"):
        served = service.accept()
        served.sendall(b"secret of the service")
    assert receive(served, 20) == b"secret of the client"
    assert receive(client, 21) == b"secret of the service"


@pytest.mark.parametrize("verifier", ["ingress", "egress"])
def test_a_refusal_after_a_long_thought_lets_nothing_through(pair, service, connect, held, mode, verifier):
    held.fault("wrong_measurement", "aa")
    verify, attest = {"verify": held.verify()}, {"attest": held.attest()}
    near, far = pair(service.port, mode, near=verify if verifier == "ingress" else attest,
                     far=attest if verifier == "ingress" else verify)
    client = connect(near.port)
    client.sendall(b"secret")
    assert_waiting(held)

    assert held.release() == 1
    expect_closed(client)
    refused = near if verifier == "ingress" else far
    assert refused.wait_flow().reason == "token_status"
    if service.has_connection():  # of a raw egress that verifies nobody
        expect_closed(service.accept())


def read_what_there_is(conn, duration):
    """Decrypts what comes in this time."""
    conn.settimeout(duration)
    try:
        return conn.recv(65536)
    except TimeoutError:
        return b""


def test_an_ingress_sends_nothing_to_a_server_before_the_verdict(ingress, tls_service, connect, held, mode, tmp_path):
    alpn = tls.MUX if mode == "mux" else tls.RAW
    server = tls_service(tls.server_side(racert.make(tmp_path), alpn))
    near = ingress(server.port, mux=mode == "mux", verify=held.verify())

    client = connect(near.port)
    client.sendall(b"secret")
    conn = server.accept_tls()
    assert_waiting(held)
    assert read_what_there_is(conn, PAUSE) == b"", "the server could decrypt bytes before it was verified"

    held.release()
    if mode == "raw":
        assert receive(conn, 6) == b"secret"
        conn.sendall(b"answer")
        assert receive(client, 6) == b"answer"
        return
    conn.settimeout(10)
    assert receive(conn, len(h2.PREFACE)) == h2.PREFACE
    conn.sendall(h2.settings(max_streams=100))
    h2.read_until(conn, lambda f: f.type == h2.HEADERS)
    # Not even then: what counts is the answer to CONNECT.
    passed = []
    with pytest.raises(TimeoutError):
        conn.settimeout(PAUSE)
        h2.read_until(conn, lambda f: f.type == h2.DATA, passed)
    conn.settimeout(10)
    conn.sendall(h2.frame(h2.HEADERS, h2.END_HEADERS, 1, bytes([h2.STATUS_200])))
    assert h2.read_until(conn, h2.is_data(1)).payload == b"secret"


def test_an_ingress_never_sends_to_a_server_without_evidence(ingress, tls_service, connect, lab, mode, tmp_path):
    alpn = tls.MUX if mode == "mux" else tls.RAW
    server = tls_service(tls.server_side(tls.plain_certificate(tmp_path), alpn))
    near = ingress(server.port, mux=mode == "mux", verify=lab.verify())

    for _ in range(3):
        client = connect(near.port)
        client.sendall(b"secret" * 20000)
        conn = server.accept_tls()
        conn.settimeout(5)
        try:
            assert conn.recv(65536) == b""
        except (ssl.SSLError, ConnectionError):
            pass
        expect_closed(client)
    assert near.wait_flow(3).reason == "no_evidence"
    assert lab.verifications() == 0, "the service is asked about evidence only"


def test_an_egress_takes_nothing_from_a_client_before_the_verdict(egress, service, stack, held, mode, tmp_path):
    far = egress(service.port, verify=held.verify())
    ctx = tls.client_side(tls.MUX if mode == "mux" else tls.RAW, racert.make(tmp_path))
    conn = tls.dial(far.port, ctx)
    stack.connections.append(conn.close)

    if mode == "mux":
        h2.open_stream(conn)
        conn.sendall(h2.data(1, b"secret"))
    else:
        conn.sendall(b"secret")
    assert_waiting(held)
    assert read_what_there_is(conn, PAUSE) == b""
    assert not service.has_connection(), "the service was dialed before the verdict"

    held.release()
    served = service.accept()
    assert receive(served, 6) == b"secret"
    served.sendall(b"answer")
    if mode == "mux":
        answer = h2.read_until(conn, h2.is_answer(1))
        assert answer.payload[0] == h2.STATUS_200
        assert h2.read_until(conn, h2.is_data(1)).payload == b"answer"
    else:
        assert receive(conn, 6) == b"answer"


@pytest.mark.parametrize("certificate", ["none", "plain"])
def test_an_egress_never_dials_for_a_client_without_evidence(egress, service, lab, mode, tmp_path, certificate):
    far = egress(service.port, verify=lab.verify())
    credential = tls.plain_certificate(tmp_path) if certificate == "plain" else None
    ctx = tls.client_side(tls.MUX if mode == "mux" else tls.RAW, credential)

    for i in range(3):
        with tls.dial(far.port, ctx) as conn:
            try:
                conn.sendall(b"secret")
            except OSError:
                pass
            assert tls.is_refused(conn)
        assert far.wait_flow(i + 1).reason == ("tls_no_certificate" if certificate == "none" else "no_evidence")
    assert not service.has_connection()
    assert lab.verifications() == 0


def test_the_service_is_not_asked_about_a_peer_that_has_not_proved_its_key(egress, service, connect, lab, tmp_path):
    """Somebody shows a certificate with good evidence, but stops before the handshake is over."""
    far = egress(service.port, verify=lab.verify(), top={"timeouts": {"handshake": 1}})
    ctx = tls.client_side(tls.RAW, racert.make(tmp_path))
    hand = tls.HandshakeInMemory(ctx, is_server=False)
    _, hello = hand.step()
    raw = connect(far.port)
    raw.sendall(hello)
    flight = b""
    over = False
    while not over:
        part = raw.recv(65536)
        assert part
        over, flight = hand.step(part)
    raw.sendall(flight[:-40])  # without the end of Finished

    flow = far.wait_flow()
    assert flow.reason == "tls_timeout"
    assert lab.verifications() == 0
    assert not service.has_connection()


def test_a_verdict_that_never_comes_ends_the_connection(pair, service, connect, held, mode):
    near, _ = pair(service.port, mode, near={"verify": held.verify()}, far={"attest": held.attest()},
                   near_top={"timeouts": {"verify": 1}})
    expect_closed(connect(near.port), 5)
    assert near.wait_flow().reason == "as_timeout"
    until("the call that nobody waits for is cancelled", lambda: established_to(held.rest_port) == 0, 3)
