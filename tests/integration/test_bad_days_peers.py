"""Peers that are no gateways, break off, or show too much: a close at once, a reason, and the next one is served."""
import os
import socket
import ssl
import time

import pytest

from harness import h2, racert, tls
from harness.gateway import IS_SANITIZED
from harness.services import ask, expect_closed, expect_reset, receive, receive_all, reset
from harness.wait import established_to, until

SHORT = {"timeouts": {"first_byte": 1, "handshake": 1}}
DECODE_ERROR = bytes.fromhex("15030300020232")


def assert_still_serves(far, echo):
    with tls.dial(far.port) as conn:
        conn.sendall(b"hello")
        assert receive(conn, 5) == b"hello"


# ---- at an egress ----

@pytest.mark.parametrize("greeting", [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"SSH-2.0-OpenSSH_9.2\r\n", bytes(200),
                                      h2.PREFACE], ids=["http", "ssh", "zeros", "h2c"])
def test_plain_text_gets_an_alert_and_a_close(egress, echo, connect, greeting):
    far = egress(echo.port)
    client = connect(far.port)
    client.sendall(greeting)
    try:
        assert receive_all(client) == DECODE_ERROR
    except ConnectionResetError:
        pass  # what we did not read makes the kernel reset
    assert far.wait_flow().reason == "tls_plaintext"
    assert_still_serves(far, echo)


def test_garbage_that_looks_like_tls_ends_at_once(egress, echo, connect):
    far = egress(echo.port)
    for i, junk in enumerate((b"\x16\x03\x01\x00\x40" + os.urandom(64), b"\x16\x03\x01\xff\xff" + os.urandom(70000))):
        client = connect(far.port)
        client.settimeout(5)
        try:
            client.sendall(junk)
            receive_all(client)
        except OSError as e:
            assert not isinstance(e, TimeoutError)
        assert far.wait_flow(i + 1).reason in ("tls_failed", "tls_alert")
    assert_still_serves(far, echo)


def test_an_old_version_of_tls_is_told_so(egress, echo):
    far = egress(echo.port)
    with pytest.raises(ssl.SSLError, match="(?i)protocol.version"):
        tls.dial(far.port, tls.client_side(tls.RAW, version=ssl.TLSVersion.TLSv1_2))
    assert far.wait_flow().reason == "tls_version"
    assert_still_serves(far, echo)


@pytest.mark.parametrize("multiplex,offered", [(None, "http/1.1"), (True, "rats-tls"), (False, "h2")])
def test_another_protocol_than_ours_gets_alert_120(egress, echo, multiplex, offered):
    far = egress(echo.port, mux=multiplex)
    with pytest.raises(ssl.SSLError, match="(?i)no.application.protocol"):
        tls.dial(far.port, tls.client_side(offered))
    assert far.wait_flow().reason == "tls_alpn"


def test_no_protocol_at_all_is_raw(egress, echo):
    far = egress(echo.port)
    with tls.dial(far.port, tls.client_side(None)) as conn:
        conn.sendall(b"hello")
        assert receive(conn, 5) == b"hello"


def test_no_protocol_at_all_is_refused_where_only_multiplexed_is_taken(egress, service):
    far = egress(service.port, mux=True)
    with tls.dial(far.port, tls.client_side(None)) as conn:
        assert tls.is_refused(conn)
    assert far.wait_flow().reason == "tls_alpn"
    assert not service.has_connection()


def test_a_connection_that_says_nothing_ends_in_time(egress, echo, connect):
    far = egress(echo.port, top=SHORT)
    expect_closed(connect(far.port), 3)
    assert far.wait_flow().reason == "first_byte_timeout"


@pytest.mark.parametrize("size", [1, 5, 100])
def test_half_a_hello_ends_in_time(egress, echo, connect, size):
    far = egress(echo.port, top=SHORT)
    _, hello = tls.HandshakeInMemory(tls.client_side(), is_server=False).step()
    client = connect(far.port)
    client.sendall(hello[:size])
    client.settimeout(5)
    try:
        receive_all(client)
    except ConnectionResetError:
        pass
    assert far.wait_flow().reason == "tls_timeout"


def test_half_a_handshake_ends_in_time(egress, echo, connect):
    far = egress(echo.port, top=SHORT)
    _, hello = tls.HandshakeInMemory(tls.client_side(), is_server=False).step()
    client = connect(far.port)
    client.sendall(hello)
    assert client.recv(65536)  # its flight; we never answer
    client.settimeout(5)
    try:
        receive_all(client)
    except ConnectionResetError:
        pass
    assert far.wait_flow().reason == "tls_timeout"


@pytest.mark.parametrize("way", ["fin", "rst"])
def test_a_peer_that_leaves_in_the_handshake(egress, echo, connect, way):
    far = egress(echo.port)
    _, hello = tls.HandshakeInMemory(tls.client_side(), is_server=False).step()
    client = connect(far.port)
    client.sendall(hello[:50])
    if way == "rst":
        reset(client)
    else:
        client.close()
    assert far.wait_flow().reason == "peer_closed"
    assert_still_serves(far, echo)


def test_a_hello_byte_by_byte_is_a_hello(egress, echo, connect):
    far = egress(echo.port)
    hand = tls.HandshakeInMemory(tls.client_side(), is_server=False)
    over, flight = hand.step()
    raw = connect(far.port)
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    while not over:
        for i in range(len(flight)):
            raw.sendall(flight[i:i + 1])
        over, flight = hand.step(raw.recv(65536))
    raw.sendall(flight)
    hand.tls.write(b"hello")
    raw.sendall(hand.outgoing.read())
    hand.incoming.write(raw.recv(65536))
    assert hand.tls.read(5) == b"hello"


def test_bytes_behind_the_tunnel_that_are_no_records_are_a_reset_for_the_service(egress, service):
    far = egress(service.port)
    conn = tls.dial(far.port)
    served = service.accept()
    raw = conn.detach()
    with socket.socket(fileno=raw) as s:
        s.sendall(b"\x17\x03\x03\x00\x20" + os.urandom(32))
        expect_reset(served)
    assert far.wait_flow().reason == "tunnel_protocol"


def test_a_tunnel_cut_off_without_close_notify_is_a_reset_for_the_service(egress, service):
    far = egress(service.port)
    conn = tls.dial(far.port)
    served = service.accept()
    os.close(conn.detach())
    expect_reset(served)
    assert far.wait_flow().reason == "tunnel_truncated"


# ---- HTTP/2 that is none ----

def test_a_request_that_is_no_connect_is_refused(egress, service, stack):
    far = egress(service.port)
    conn = tls.dial(far.port, tls.client_side(tls.MUX))
    stack.connections.append(conn.close)
    get = bytes([0x82, 0x84, 0x87, 0x41, 0x01]) + b"x"  # :method GET, :path /, :scheme https, :authority x
    conn.sendall(h2.PREFACE + h2.settings() + h2.frame(h2.HEADERS, h2.END_HEADERS | h2.END_STREAM, 1, get))
    answer = h2.read_until(conn, lambda f: f.stream == 1 and f.type in (h2.HEADERS, h2.RST_STREAM))
    assert answer.type == h2.RST_STREAM or answer.payload[0] != h2.STATUS_200
    assert not service.has_connection()


def test_no_preface_ends_the_session(egress, service):
    far = egress(service.port)
    with tls.dial(far.port, tls.client_side(tls.MUX)) as conn:
        conn.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        conn.settimeout(5)
        try:
            while conn.recv(65536):
                pass
        except (ssl.SSLError, ConnectionError):
            pass
    assert not service.has_connection()


def test_a_session_without_a_byte_is_tolerated(egress, echo):
    """Upstream's ingress makes more sessions than it uses."""
    far = egress(echo.port)
    for _ in range(3):
        tls.dial(far.port, tls.client_side(tls.MUX)).close()
    until("the sessions are gone", lambda: established_to(far.port) == 0)
    assert not [line for line in far.lines if " WARN flow" in line]
    assert_still_serves(far, echo)


def test_a_reset_stream_is_a_reset_for_the_service(egress, service, stack):
    far = egress(service.port)
    conn = tls.dial(far.port, tls.client_side(tls.MUX))
    stack.connections.append(conn.close)
    for number, (stream, code) in enumerate(((1, h2.CONNECT_ERROR), (3, h2.CANCEL), (5, h2.NO_ERROR)), 1):
        h2.open_stream(conn, stream)
        served = service.accept()
        h2.read_until(conn, h2.is_answer(stream))
        conn.sendall(h2.reset(stream, code))
        expect_reset(served)
        assert far.wait_flow(number).reason == "tunnel_reset"


def test_a_reset_of_the_service_is_connect_error(egress, service, stack):
    far = egress(service.port)
    conn = tls.dial(far.port, tls.client_side(tls.MUX))
    stack.connections.append(conn.close)
    h2.open_stream(conn)
    served = service.accept()
    h2.read_until(conn, h2.is_answer(1))
    reset(served)
    told = h2.read_until(conn, h2.is_reset(1))
    assert int.from_bytes(told.payload, "big") == h2.CONNECT_ERROR


def test_an_egress_announces_at_least_10000_streams(egress, service, stack):
    far = egress(service.port)
    conn = tls.dial(far.port, tls.client_side(tls.MUX))
    stack.connections.append(conn.close)
    conn.sendall(h2.PREFACE + h2.settings())
    told = h2.read_until(conn, lambda f: f.type == h2.SETTINGS and not f.flags & h2.ACK)
    values = {told.payload[i] << 8 | told.payload[i + 1]: int.from_bytes(told.payload[i + 2:i + 6], "big")
              for i in range(0, len(told.payload), 6)}
    assert values[3] >= 10000


# ---- at an ingress ----

@pytest.mark.parametrize("answer,reason", [
    (b"HTTP/1.1 400 Bad Request\r\n\r\n", "tls_plaintext"), (b"", "peer_closed"),
    (b"\x15\x03\x03\x00\x02\x02\x28", "tls_alert"), (b"\x16\x03\x03\x00\x10" + bytes(16), "tls_failed")],
    ids=["http", "nothing", "alert", "junk"])
def test_a_server_that_is_no_egress_closes_the_client_at_once(ingress, service, connect, mode, answer, reason):
    near = ingress(service.port, mux=mode == "mux")
    client = connect(near.port)
    client.sendall(b"secret")
    served = service.accept()
    assert served.recv(65536, socket.MSG_PEEK)[0] == 22
    served.sendall(answer)
    served.close()
    expect_closed(client, 3)
    assert near.wait_flow().reason in (reason, "peer_closed")


def test_a_server_that_says_nothing_ends_in_time(ingress, service, connect, mode):
    near = ingress(service.port, mux=mode == "mux", top=SHORT)
    client = connect(near.port)
    service.accept()
    expect_closed(client, 4)
    assert near.wait_flow().reason == "tls_timeout"


def test_a_server_of_tls_1_2_is_refused(ingress, tls_service, connect, mode, tmp_path):
    server = tls_service(tls.server_side(tls.plain_certificate(tmp_path), tls.MUX if mode == "mux" else tls.RAW,
                                         version=ssl.TLSVersion.TLSv1_2))
    near = ingress(server.port, mux=mode == "mux")
    client = connect(near.port)
    with pytest.raises(ssl.SSLError):
        server.accept_tls()
    server.hang_up()
    expect_closed(client, 3)
    assert near.wait_flow().reason in ("tls_version", "tls_alert")


def test_a_server_that_does_not_multiplex(ingress, tls_service, connect, tmp_path):
    server = tls_service(tls.server_side(tls.plain_certificate(tmp_path), None))
    near = ingress(server.port, mux=True)
    client = connect(near.port)
    with pytest.raises(ssl.SSLError):
        server.accept_tls()
    expect_closed(client, 3)
    assert near.wait_flow().reason == "tls_alpn"


def test_a_server_without_alpn_is_raw(ingress, tls_service, connect, tmp_path):
    server = tls_service(tls.server_side(tls.plain_certificate(tmp_path), None))
    near = ingress(server.port)
    client = connect(near.port)
    conn = server.accept_tls()
    client.sendall(b"hello")
    assert receive(conn, 5) == b"hello"


@pytest.mark.parametrize("make,reason", [
    (lambda folder: racert.make(folder, bound_to=racert.other_key()), "binding_mismatch"),
    (lambda folder: racert.make(folder, extension=b"\xff\x00"), "evidence_invalid"),
    (lambda folder: racert.make(folder, extension=b""), "evidence_invalid"),
    (lambda folder: racert.make(folder, extension=racert.tagged(60000, b"x")), "model_mismatch"),
    (lambda folder: racert.make(folder, extension=racert.tagged(racert.TAG_TOKEN, b"a.b.c")), "model_mismatch"),
    (lambda folder: racert.make(folder, measurement="ba" * 32), "token_status"),
], ids=["another key", "junk", "empty", "unknown tag", "a token", "another measurement"])
def test_evidence_that_is_wrong_in_one_place(ingress, tls_service, connect, lab, tmp_path, make, reason):
    server = tls_service(tls.server_side(make(tmp_path)))
    near = ingress(server.port, verify=lab.verify())
    client = connect(near.port)
    client.sendall(b"secret")
    conn = server.accept_tls()
    assert tls.is_refused(conn)
    expect_closed(client, 3)
    assert near.wait_flow().reason == reason


# ---- evidence of any size ----

def test_evidence_of_1_mib_is_accepted(pair, echo, lab, mode):
    lab.fault("evidence_size", "aa", bytes=1 << 20)
    near, far = pair(echo.port, mode, near={"verify": lab.verify(), "attest": lab.attest()},
                     far={"verify": lab.verify(), "attest": lab.attest()})
    assert ask(near.port) == b"hello"
    assert near.wait_flow().tee == far.wait_flow().tee == "sample"


def test_8_mib_are_refused_from_their_length_by_an_ingress(ingress, service, connect, lab, tmp_path):
    """Only the beginning of the server's flight is ever sent."""
    near = ingress(service.port, verify=lab.verify())
    client = connect(near.port)
    raw = service.accept()
    hand = tls.HandshakeInMemory(tls.server_side(racert.make(tmp_path, pad=8 << 20)), is_server=True)
    _, flight = hand.step(tls.client_hello(raw))
    assert len(flight) > 8 << 20
    raw.sendall(flight[:40000])
    expect_closed(client, 3)
    assert near.wait_flow().reason == "certificate_too_large"
    assert lab.verifications() == 0


def test_8_mib_are_refused_from_their_length_by_an_egress(egress, service, connect, lab, tmp_path):
    far = egress(service.port, verify=lab.verify())
    hand = tls.HandshakeInMemory(tls.client_side(tls.RAW, racert.make(tmp_path, pad=8 << 20)), is_server=False)
    _, hello = hand.step()
    raw = connect(far.port)
    raw.sendall(hello)
    over, flight = False, b""
    while not over:
        over, flight = hand.step(raw.recv(65536))
    raw.sendall(flight[:40000])
    raw.settimeout(3)
    try:
        receive_all(raw)
    except ConnectionResetError:
        pass
    assert far.wait_flow().reason == "certificate_too_large"
    assert not service.has_connection()


def test_the_bound_can_be_set(ingress, tls_service, connect, lab, tmp_path):
    server = tls_service(tls.server_side(racert.make(tmp_path, pad=20000)))
    near = ingress(server.port, verify=lab.verify(), top={"limits": {"certificate_size": "16KiB"}})
    client = connect(near.port)
    try:
        server.accept_tls()
    except (ssl.SSLError, ConnectionError):
        pass
    expect_closed(client, 3)
    assert near.wait_flow().reason == "certificate_too_large"


def test_what_waits_for_a_slow_reader_is_charged_once(ingress, egress, echo, lab):
    """A client that reads nothing of a large flight and goes on byte by byte, which once charged the flight each time."""
    lab.fault("evidence_size", "aa", bytes=1 << 20)
    far = egress(echo.port, attest=lab.attest(), top={"limits": {"handshake_memory": "32MiB"}})
    near = ingress(far.port, verify=lab.verify())
    hand = tls.HandshakeInMemory(tls.client_side(tls.RAW), is_server=False)
    with socket.socket() as raw:
        # Small segments and no window: or the kernel would take the whole flight from the egress.
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        raw.connect(("127.0.0.1", far.port))
        raw.sendall(hand.step()[1])
        until("the flight waits", lambda: raw.recv(1, socket.MSG_PEEK))
        for byte in b"\x17\x03\x03\x40\x00" + bytes(95):
            raw.sendall(bytes([byte]))
            time.sleep(0.005)
        assert not any(f.reason == "handshake_memory" for f in far.flows())
        assert ask(near.port) == b"hello"


def test_all_handshakes_together_stay_within_their_bound(egress, service, connect, lab, tmp_path):
    """Twelve clients that show 3 MiB each and never end, where 8 MiB are allowed in all."""
    far = egress(service.port, verify=lab.verify(),
                 top={"limits": {"handshake_memory": "8MiB"}})
    credential = racert.make(tmp_path, pad=3 << 20)
    before = far.memory_kib()
    clients = []
    for _ in range(12):
        hand = tls.HandshakeInMemory(tls.client_side(tls.RAW, credential), is_server=False)
        _, hello = hand.step()
        raw = connect(far.port)
        raw.sendall(hello)
        clients.append(raw)
        over, flight = False, b""
        try:
            while not over:
                over, flight = hand.step(raw.recv(65536))
            raw.sendall(flight[:-100])
        except OSError:
            pass  # refused, some of them before they could show anything
    grown = far.memory_kib() - before
    if not IS_SANITIZED:  # whose heap keeps what was freed
        assert grown < 24 << 10, f"{grown} KiB"
    until("all are refused but those that fit",
          lambda: len([f for f in far.flows() if f.reason == "handshake_memory"]) >= 12 - 8 // 3)
    for raw in clients:
        raw.close()
    until("all are gone", lambda: far.counters()["flows_active"] == 0)
    with tls.dial(far.port, tls.client_side(tls.RAW, racert.make(tmp_path))) as conn:
        conn.sendall(b"hello")
        assert receive(service.accept(), 5) == b"hello"
