"""A client of the attestation agent, byte by byte: ttrpc frames and the few protobuf messages in them."""
import socket
import struct
from dataclasses import dataclass

from .wait import DEADLINE

SERVICE = "attestation_agent.AttestationAgentService"
REQUEST, RESPONSE, DATA = 1, 2, 3


# ---- protobuf ----

def varint(n):
    out = b""
    while n > 0x7F:
        out += bytes([n & 0x7F | 0x80])
        n >>= 7
    return out + bytes([n])


def field(number, value):
    """A string, bytes or number; nothing for the empty value, as proto3 wants."""
    if not value:
        return b""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    if isinstance(value, str):
        value = value.encode()
    return varint(number << 3 | 2) + varint(len(value)) + value


def read_varint(data, at):
    value = shift = 0
    while True:
        value |= (data[at] & 0x7F) << shift
        at += 1
        if data[at - 1] < 0x80:
            return value, at
        shift += 7


def fields(data):
    """Number -> value, for messages of varints and lengths."""
    out, at = {}, 0
    while at < len(data):
        key, at = read_varint(data, at)
        if key & 7 == 0:
            out[key >> 3], at = read_varint(data, at)
        else:
            assert key & 7 == 2, f"wire type {key & 7}"
            size, at = read_varint(data, at)
            out[key >> 3], at = data[at:at + size], at + size
    return out


# ---- frames ----

def frame(stream, payload, kind=REQUEST, flags=0):
    return struct.pack(">IIBB", len(payload), stream, kind, flags) + payload


def request(method, runtime_data=b"", service=SERVICE, timeout_s=0):
    return (field(1, service) + field(2, method) + field(3, field(1, runtime_data))
            + field(4, int(timeout_s * 1_000_000_000)))


@dataclass(frozen=True)
class Answer:
    stream: int
    code: int
    message: str
    payload: bytes  # of the method's response
    raw: bytes  # of the frame

    @property
    def value(self):
        """Field 1, which is all that these methods answer with."""
        return fields(self.payload).get(1, b"")


class Agent:
    def __init__(self, address):
        assert address.startswith("unix:///"), address
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(DEADLINE)
        self.socket.connect(address.removeprefix("unix://"))
        self._stream = -1

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, payload, **options):
        """Gives the stream's number."""
        self._stream += 2
        self.socket.sendall(frame(self._stream, payload, **options))
        return self._stream

    def start(self, method, runtime_data=b"", **options):
        return self.send(request(method, runtime_data, **options))

    def receive(self, size):
        out = b""
        while len(out) < size:
            piece = self.socket.recv(min(size - len(out), 1 << 16))
            if not piece:
                raise EOFError(out)
            out += piece
        return out

    def answer(self):
        """The next one, whichever call it is for."""
        head = self.receive(10)
        size, stream, kind, flags = struct.unpack(">IIBB", head)
        assert (kind, flags) == (RESPONSE, 0)
        payload = self.receive(size)
        envelope = fields(payload)
        status = fields(envelope.get(1, b""))
        return Answer(stream, status.get(1, 0), status.get(2, b"").decode(), envelope.get(2, b""), head + payload)

    def call(self, method, runtime_data=b"", **options):
        stream = self.start(method, runtime_data, **options)
        answer = self.answer()
        assert answer.stream == stream
        return answer
