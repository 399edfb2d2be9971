"""
RATS-TLS certificates made by hand (docs/protocol/rats-tls.md), so that a test can be a genuine peer, or one that is
wrong in one place. The sample TEE has no secret: whoever knows the format can make its evidence.
"""
import base64
import datetime
import hashlib
import json

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID, ObjectIdentifier

from .tls import Credential

EVIDENCE = ObjectIdentifier("2.23.133.5.4.9")
TAG_EVIDENCE, TAG_TOKEN = 0xC0C000, 0xC0C001


def cbor_head(major, value):
    for size, low in ((0, 24), (1, 1 << 8), (2, 1 << 16), (4, 1 << 32)):
        if value < low:
            return bytes([major << 5 | (value if size == 0 else 23 + {1: 1, 2: 2, 4: 3}[size])]) + \
                value.to_bytes(size, "big") if size else bytes([major << 5 | value])
    raise ValueError(value)


def cbor_bytes(data):
    return cbor_head(2, len(data)) + data


def cbor_text(text):
    return cbor_head(3, len(text.encode())) + text.encode()


def spki_of(key):
    return key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def runtime_data(key):
    """The text that binds evidence to a key."""
    bound = b"\x82\x01\x58\x20" + hashlib.sha256(spki_of(key)).digest()
    return '{"pubkey-hash":"%s"}' % base64.b64encode(bound).decode()


def sample_evidence(runtime, measurement="0" * 64, pad=0):
    shown = {"cc_eventlog": None, "measure_register": measurement,
             "report_data": base64.b64encode(hashlib.sha384(runtime.encode()).digest()).decode(), "svn": "1"}
    if pad:
        shown["pad"] = "x" * pad
    return json.dumps(shown, separators=(",", ":")).encode()


def evidence_extension(runtime, evidence, tee="sample"):
    members = [cbor_text("tee_type") + cbor_text(tee),
               cbor_text("aa_evidence") + cbor_bytes(evidence),
               cbor_text("aa_additional_evidence") + b"\xf6",
               cbor_text("aa_runtime_data") + cbor_text(runtime),
               cbor_text("aa_runtime_data_hash_algo") + b"\x07"]
    return tagged(TAG_EVIDENCE, cbor_head(5, len(members)) + b"".join(members))


def tagged(tag, content):
    return cbor_head(6, tag) + b"\x82" + cbor_bytes(content) + b"\x40"


def make(folder, *, measurement="0" * 64, pad=0, bound_to=None, extension=None, name="attested"):
    """
    A certificate with sample evidence. bound_to: evidence for another key; extension: other bytes in its place.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Inclavare Containers"),
                         x509.NameAttribute(NameOID.COMMON_NAME, "TNG")])
    now = datetime.datetime.utcnow()
    if extension is None:
        runtime = runtime_data(bound_to or key)
        extension = evidence_extension(runtime, sample_evidence(runtime, measurement, pad))
    certificate = (x509.CertificateBuilder().subject_name(subject).issuer_name(subject)
                   .public_key(key.public_key()).serial_number(42)
                   .not_valid_before(now).not_valid_after(now + datetime.timedelta(hours=6))
                   .add_extension(x509.UnrecognizedExtension(EVIDENCE, extension), critical=False)
                   .sign(key, hashes.SHA256()))
    return Credential(certificate, key, folder, name)


def other_key():
    return ec.generate_private_key(ec.SECP256R1())
