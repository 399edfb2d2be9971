"""TLS 1.3 peers of our own, made with Python's ssl: what a stranger, an impostor or a test of the wire would use."""
import datetime
import socket
import ssl
import threading

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from .services import LOOPBACK, Service
from .wait import DEADLINE

RAW, MUX = "rats-tls", "h2"


class Credential:
    """A certificate and its key, in files, as ssl wants them."""

    def __init__(self, certificate, key, folder, name="peer"):
        self.der = certificate.public_bytes(serialization.Encoding.DER)
        self.path = str(folder / f"{name}.pem")
        with open(self.path, "wb") as f:
            f.write(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                      serialization.NoEncryption()))
            f.write(certificate.public_bytes(serialization.Encoding.PEM))


def plain_certificate(folder, name="plain"):
    """Self-signed, without evidence: what anybody can make."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "somebody")])
    now = datetime.datetime.utcnow()
    certificate = (x509.CertificateBuilder().subject_name(subject).issuer_name(subject)
                   .public_key(key.public_key()).serial_number(1)
                   .not_valid_before(now).not_valid_after(now + datetime.timedelta(hours=1))
                   .sign(key, hashes.SHA256()))
    return Credential(certificate, key, folder, name)


def client_side(alpn=RAW, credential=None, version=ssl.TLSVersion.TLSv1_3):
    ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    ctx.check_hostname = False
    ctx.verify_mode = ssl.CERT_NONE
    ctx.minimum_version = ctx.maximum_version = version
    if alpn is not None:
        ctx.set_alpn_protocols([alpn] if isinstance(alpn, str) else alpn)
    if credential is not None:
        ctx.load_cert_chain(credential.path)
    return ctx


def server_side(credential, alpn=RAW, version=ssl.TLSVersion.TLSv1_3):
    ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ctx.minimum_version = ctx.maximum_version = version
    if alpn is not None:
        ctx.set_alpn_protocols([alpn] if isinstance(alpn, str) else alpn)
    ctx.load_cert_chain(credential.path)
    return ctx


def dial(port, ctx=None, session=None, name=None, deadline=DEADLINE):
    """A TLS client that is connected to a gateway."""
    ctx = ctx or client_side()
    raw = socket.create_connection((LOOPBACK, port), deadline)
    try:
        return ctx.wrap_socket(raw, server_hostname=name, session=session)
    except BaseException:
        raw.close()
        raise


def is_refused(conn, deadline=DEADLINE):
    """Whether the other side ends the connection, in whatever way, without a byte."""
    conn.settimeout(deadline)
    try:
        return conn.recv(1) == b""
    except TimeoutError:
        return False
    except (ssl.SSLError, OSError):
        return True


class TlsService(Service):
    """A TLS server that a test drives by hand: accept_tls()."""

    def __init__(self, ctx):
        super().__init__()
        self.ctx = ctx

    def accept_tls(self, deadline=DEADLINE):
        raw = self.accept(deadline)
        conn = self.ctx.wrap_socket(raw, server_side=True)
        conn.settimeout(deadline)
        self.open.append(conn)
        return conn


class HandshakeInMemory:
    """A TLS endpoint whose flights the test carries by hand, as much of them as it likes."""

    def __init__(self, ctx, is_server):
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = ctx.wrap_bio(self.incoming, self.outgoing, server_side=is_server)

    def step(self, data=b""):
        """Takes bytes of the peer; returns whether the handshake is over and our next flight."""
        if data:
            self.incoming.write(data)
        try:
            self.tls.do_handshake()
            over = True
        except ssl.SSLWantReadError:
            over = False
        return over, self.outgoing.read()


def client_hello(sock):
    """The first record that a peer sends, as bytes, undecoded."""
    head = b""
    while len(head) < 5:
        more = sock.recv(5 - len(head))
        assert more, "the peer closed before its hello"
        head += more
    size = int.from_bytes(head[3:5], "big")
    body = b""
    while len(body) < size:
        body += sock.recv(size - len(body))
    return head + body


def hello_extensions(record):
    """Extension numbers of a ClientHello, in order, and their contents."""
    assert record[0] == 22 and record[5] == 1, "not a ClientHello"
    at = 9 + 2 + 32
    at += 1 + record[at]
    at += 2 + int.from_bytes(record[at:at + 2], "big")
    at += 1 + record[at]
    end = at + 2 + int.from_bytes(record[at:at + 2], "big")
    at += 2
    found = {}
    while at < end:
        number, size = (int.from_bytes(record[i:i + 2], "big") for i in (at, at + 2))
        found[number] = record[at + 4:at + 4 + size]
        at += 4 + size
    return found


EXT_EARLY_DATA, EXT_PSK = 42, 41


def in_background(function, *args):
    """Runs beside the test; the thread's result is in .result, its failure in .failure, after join()."""

    class Background(threading.Thread):
        result = failure = None

        def run(self):
            try:
                self.result = function(*args)
            except BaseException as e:  # pylint: disable=broad-except
                self.failure = e

    thread = Background(daemon=True)
    thread.start()
    return thread
