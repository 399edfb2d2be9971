"""
An attestation service behind https: libcurl checks its certificate against the system's anchors and its name, and
whatever is wrong with it ends connections without a byte of the application.
"""
import asyncio
import datetime
import ipaddress
import os
import ssl
import subprocess
import threading

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from harness import ports
from harness.gateway import entry
from harness.services import expect_closed
from harness.tls import Credential

BUNDLE = "/etc/ssl/certs/ca-certificates.crt"  # of Debian's and Ubuntu's libcurl
TRUSTING = 'mount --bind "$1" "$2" && shift 2 && exec "$@"'


def credential(folder, *, names=("localhost",), days=(-1, 1)):
    """Self-signed: who has it among the anchors trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "the service")])
    now = datetime.datetime.utcnow()
    known = [x509.IPAddress(ipaddress.ip_address(n)) if n[0].isdigit() else x509.DNSName(n) for n in names]
    certificate = (x509.CertificateBuilder().subject_name(subject).issuer_name(subject)
                   .public_key(key.public_key()).serial_number(1)
                   .not_valid_before(now + datetime.timedelta(days=days[0]))
                   .not_valid_after(now + datetime.timedelta(days=days[1]))
                   .add_extension(x509.SubjectAlternativeName(known), critical=False)
                   .sign(key, hashes.SHA256()))
    return Credential(certificate, key, folder, "service")


class Front:
    """TLS in front of a service on loopback."""

    def __init__(self, made, to, protocol):
        self.to, self.port = to, ports.free_port()
        self.asked = False  # whether anything was read behind a handshake
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(made.path)
        self.context.set_alpn_protocols([protocol])
        self.loop = asyncio.new_event_loop()
        self.loop.set_exception_handler(lambda *_: None)  # peers that leave in the middle of a handshake
        self.thread = threading.Thread(target=self._run)
        self.started = threading.Event()
        self.thread.start()
        assert self.started.wait(10)

    def _run(self):
        asyncio.set_event_loop(self.loop)
        self.server = self.loop.run_until_complete(
            asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=self.context))
        self.started.set()
        self.loop.run_forever()
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        self.server.close()
        self.loop.run_until_complete(asyncio.sleep(0.05))
        self.loop.close()

    async def _serve(self, reader, writer):
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.to)
        await asyncio.gather(self._carry(reader, far_writer, True), self._carry(far_reader, writer, False))

    async def _carry(self, reader, writer, upwards):
        try:
            while data := await reader.read(65536):
                self.asked = self.asked or upwards
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        writer.close()

    def close(self):
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)


@pytest.fixture
def can_mount():
    if subprocess.run(["unshare", "--mount", "true"], stderr=subprocess.DEVNULL, check=False).returncode != 0:
        pytest.skip("anchors of the system are put into a mount namespace, which takes root")
    if not os.path.exists(BUNDLE):
        pytest.skip(f"no {BUNDLE}: ca-certificates is not installed")


@pytest.fixture
def front(stack, lab):
    def start(made, kind):
        to = int((lab.rest if kind == "rest" else lab.grpc).rsplit(":", 1)[1])
        f = Front(made, to, "http/1.1" if kind == "rest" else "h2")
        return stack.add(f, f.close)

    return start


@pytest.fixture
def verifying(tng, egress, lab, service):
    """An ingress that asks at this URL, and believes these anchors besides none."""

    def start(kind, url, anchors, **more):
        far = egress(service.port, attest=lab.attest())
        verify = lab.verify(as_addr=url, **more) if kind == "rest" else lab.verify_grpc(as_addr=url, **more)
        within = ["unshare", "--mount", "sh", "-c", TRUSTING, "sh", anchors, BUNDLE] if anchors else []
        return tng(add_ingress=[entry(ports.free_port(), far.port, verify=verify)], within=within)

    return start


kinds = pytest.mark.parametrize("kind", ["rest", "grpc"])


@kinds
def test_a_service_with_a_certificate_of_an_anchor_is_asked(can_mount, front, verifying, connect, service, tmp_path, kind):
    made = credential(tmp_path)
    f = front(made, kind)
    near = verifying(kind, f"https://localhost:{f.port}", made.path)

    client = connect(near.port)
    client.sendall(b"hello")
    served = service.accept()
    assert served.recv(5) == b"hello"
    client.close()
    served.close()
    assert near.wait_flow().tee == "sample"
    assert f.asked


REFUSED = {
    "of nobody": {},
    "for another name": {"names": ("elsewhere.example",)},
    "expired": {"days": (-3, -1)},
    "not valid yet": {"days": (1, 3)},
}


@kinds
@pytest.mark.parametrize("wrong", REFUSED)
def test_a_service_with_a_certificate_that_is_wrong_is_not_believed(can_mount, front, verifying, connect, service, tmp_path,
                                                                    kind, wrong):
    made = credential(tmp_path, **REFUSED[wrong])
    f = front(made, kind)
    near = verifying(kind, f"https://localhost:{f.port}", None if wrong == "of nobody" else made.path)

    client = connect(near.port)
    client.sendall(b"secret")
    expect_closed(client)
    flow = near.wait_flow()
    assert flow.reason == "as_unavailable" and "certificate" in flow.why.lower(), flow
    assert flow.bytes == (0, 0)
    if service.has_connection():  # of a raw egress that verifies nobody
        expect_closed(service.accept())
    assert not f.asked, "it went on behind the certificate"


@kinds
def test_an_address_is_a_name_like_others(can_mount, front, verifying, connect, service, tmp_path, kind):
    made = credential(tmp_path, names=("127.0.0.1",))
    f = front(made, kind)
    near = verifying(kind, f"https://127.0.0.1:{f.port}", made.path)
    client = connect(near.port)
    client.sendall(b"hello")
    assert service.accept().recv(5) == b"hello"


@kinds
def test_who_speaks_no_tls_is_not_answered_in_clear(can_mount, verifying, connect, lab, kind):
    plain = (lab.rest if kind == "rest" else lab.grpc).rsplit(":", 1)[1]
    near = verifying(kind, f"https://localhost:{plain}", None, as_connect_timeout=1)
    client = connect(near.port)
    client.sendall(b"secret")
    expect_closed(client)
    assert near.wait_flow().reason == "as_unavailable"
    assert lab.verifications("as_rest" if kind == "rest" else "as_grpc") == 0
