"""Every TLS session stands on its own verdict: nothing of an earlier one opens the next."""
import re
import socket
import subprocess
import threading

import pytest

from harness import ports, racert, tls
from harness.process import Process
from harness.services import LOOPBACK, expect_closed, receive
from harness.wait import DEADLINE, until


def alpn_of(mode):
    return tls.MUX if mode == "mux" else tls.RAW


def come_back(port, ctx, session):
    conn = tls.dial(port, ctx, session=session)
    assert not conn.session_reused, "a session was resumed"
    return conn


def test_a_refused_client_stays_refused_whatever_it_brings(egress, service, lab, mode, tmp_path):
    far = egress(service.port, verify=lab.verify())
    ctx = tls.client_side(alpn_of(mode), tls.plain_certificate(tmp_path))
    session = None

    for i in range(4):
        with come_back(far.port, ctx, session) as conn:
            assert tls.is_refused(conn)
            assert not conn.session.has_ticket
            session = conn.session
        assert far.wait_flow(i + 1).reason == "no_evidence"
    assert not service.has_connection()


def test_an_accepted_client_gets_no_ticket_and_is_judged_again(egress, echo, lab, tmp_path):
    far = egress(echo.port, verify=lab.verify(verdict_max_age=0))
    ctx = tls.client_side(tls.RAW, racert.make(tmp_path))
    session = None

    for i in range(3):
        with come_back(far.port, ctx, session) as conn:
            conn.sendall(b"hello")
            assert receive(conn, 5) == b"hello"
            assert not conn.session.has_ticket
            session = conn.session
        assert lab.verifications() == i + 1


def test_a_client_that_was_accepted_is_refused_when_the_service_refuses_it(egress, echo, lab, tmp_path):
    far = egress(echo.port, verify=lab.verify(verdict_max_age=1))
    ctx = tls.client_side(tls.RAW, racert.make(tmp_path))
    with tls.dial(far.port, ctx) as conn:
        conn.sendall(b"hello")
        assert receive(conn, 5) == b"hello"
        session = conn.session

    lab.fault("refuse", "as_rest", call="token")

    def is_refused_now():
        with come_back(far.port, ctx, session) as again:
            try:
                again.sendall(b"hello")
                return tls.is_refused(again)
            except OSError:
                return True

    until("the verdict has run out", is_refused_now)
    assert is_refused_now()


def test_an_ingress_offers_no_session_to_a_server_that_gave_tickets(ingress, tls_service, connect, tmp_path):
    server = tls_service(tls.server_side(tls.plain_certificate(tmp_path)))
    near = ingress(server.port)

    for _ in range(3):
        client = connect(near.port)
        raw = server.accept()
        hello = raw.recv(65536, socket.MSG_PEEK)
        extensions = tls.hello_extensions(hello)
        assert tls.EXT_PSK not in extensions
        assert tls.EXT_EARLY_DATA not in extensions
        conn = server.ctx.wrap_socket(raw, server_side=True)  # sends two tickets behind the handshake
        server.open.append(conn)
        client.sendall(b"question")
        assert receive(conn, 8) == b"question"
        conn.sendall(b"answer")
        assert receive(client, 6) == b"answer"
        assert not conn.session_reused


def test_an_impostor_with_tickets_stays_refused(ingress, tls_service, connect, lab, mode, tmp_path):
    """Upstream 2.10 to 2.12 takes it for attested when it comes back (upstream's defect S2)."""
    server = tls_service(tls.server_side(tls.plain_certificate(tmp_path), alpn_of(mode)))
    near = ingress(server.port, mux=mode == "mux", verify=lab.verify())

    for i in range(3):
        client = connect(near.port)
        client.sendall(b"secret")
        raw = server.accept()
        extensions = tls.hello_extensions(raw.recv(65536, socket.MSG_PEEK))
        assert tls.EXT_PSK not in extensions
        conn = server.ctx.wrap_socket(raw, server_side=True)
        assert tls.is_refused(conn)
        conn.close()
        expect_closed(client)
        assert near.wait_flow(i + 1).reason == "no_evidence"


# ---- early data, by openssl, whose tickets allow it ----

class OpensslServer(Process):
    """s_server whose tickets allow early data. It answers requests (-www), because an answer comes behind the
    tickets: a server that has nothing to say may not have sent them yet when its client leaves."""

    def __init__(self, credential):
        self.port = ports.free_port()
        super().__init__(["openssl", "s_server", "-accept", str(self.port), "-cert", credential.path, "-key",
                          credential.path, "-tls1_3", "-alpn", "rats-tls", "-www", "-max_early_data", "16384"],
                         "openssl s_server")
        self.wait_line("^ACCEPT")


class OpensslClient:
    """s_client, spoken to as at a terminal."""

    def __init__(self, port, *args):
        self.child = subprocess.Popen(
            ["openssl", "s_client", "-connect", f"{LOOPBACK}:{port}", "-tls1_3", "-alpn", "rats-tls", *args],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.killer = threading.Timer(DEADLINE, self.child.kill)
        self.said = b""

    def __enter__(self):
        self.killer.start()
        return self

    def __exit__(self, *_):
        self.killer.cancel()
        self.child.kill()
        self.child.wait()

    def say(self, line):
        self.child.stdin.write(line + b"\n")
        self.child.stdin.flush()

    def wait_for(self, text):
        while text not in self.said:
            part = self.child.stdout.read1(65536)
            assert part, f"openssl s_client did not say {text}:\n{self.text}"
            self.said += part

    @property
    def text(self):
        return self.said.decode("utf-8", "replace")

    def ask(self, line):
        self.say(line)
        self.wait_for(b"\n" + line)


def test_early_data_is_refused_and_the_connection_works(egress, echo, stack, tmp_path):
    server = OpensslServer(tls.plain_certificate(tmp_path))
    stack.add(server, server.kill)
    ticket, early = tmp_path / "ticket.pem", tmp_path / "early"
    with OpensslClient(server.port, "-sess_out", str(ticket)) as client:
        client.say(b"GET / HTTP/1.0\r\n\r")
        client.wait_for(b"Max Early Data: 16384")
    until("the ticket is written", lambda: ticket.exists() and ticket.stat().st_size > 0)
    early.write_bytes(b"too early " * 100)

    far = egress(echo.port)
    with OpensslClient(far.port, "-sess_in", str(ticket), "-early_data", str(early)) as client:
        client.ask(b"on time")

    assert "Early data was rejected" in client.text
    assert re.search(r"^New, TLSv1\.3", client.text, re.M), client.text
    assert "too early" not in client.text
    assert echo.received == len("on time\n")


def test_openssl_sees_tls_1_3_and_no_ticket(egress, echo):
    far = egress(echo.port)
    with OpensslClient(far.port) as client:
        client.ask(b"hello")
    assert "New, TLSv1.3" in client.text
    assert "ALPN protocol: rats-tls" in client.text
    assert "New Session Ticket" not in client.text


@pytest.mark.parametrize("suite", ["TLS_AES_256_GCM_SHA384", "TLS_AES_128_GCM_SHA256",
                                   "TLS_CHACHA20_POLY1305_SHA256"])
@pytest.mark.parametrize("group", ["X25519", "P-256", "P-384"])
def test_every_suite_and_group_that_upstream_knows(egress, echo, suite, group):
    far = egress(echo.port)
    with OpensslClient(far.port, "-ciphersuites", suite, "-groups", group) as client:
        client.ask(b"hello")
    assert f"Cipher is {suite}" in client.text


@pytest.mark.parametrize("letter", ["K", "k"], ids=["both directions", "ours"])
def test_key_updates_of_openssl_are_followed(egress, echo, letter):
    """K and k at the start of a line make s_client change its keys; K asks the other side to do the same."""
    far = egress(echo.port)
    with OpensslClient(far.port) as client:
        client.ask(b"before")
        for _ in range(3):
            client.said = b""
            client.say(letter.encode())
            client.wait_for(b"KEYUPDATE")
            client.ask(b"after")
