"""As much HTTP/2 as a peer of a multiplexed tunnel needs, frame by frame."""
import struct
from dataclasses import dataclass

from .services import receive

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM = ACK = 1
END_HEADERS = 4
CONNECT_ERROR, CANCEL, NO_ERROR = 10, 8, 0

# :method CONNECT, :authority tng.internal, Huffman coded, as upstream sends them
CONNECT = bytes.fromhex("4287bdab4e9c17b7ff41894d532e6a925b2a1d1f")
STATUS_200 = 0x88


@dataclass(frozen=True)
class Frame:
    type: int
    flags: int
    stream: int
    payload: bytes

    @property
    def is_end(self):
        return self.type in (DATA, HEADERS) and bool(self.flags & END_STREAM)


def frame(kind, flags=0, stream=0, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def settings(**values):
    numbers = {"max_streams": 3, "window": 4, "frame_size": 5, "push": 2}
    return frame(SETTINGS, payload=b"".join(struct.pack(">HI", numbers[k], v) for k, v in values.items()))


def connect(stream):
    return frame(HEADERS, END_HEADERS, stream, CONNECT)


def data(stream, content, end=False):
    return frame(DATA, END_STREAM if end else 0, stream, content)


def reset(stream, code):
    return frame(RST_STREAM, 0, stream, struct.pack(">I", code))


def read_frame(conn):
    head = receive(conn, 9)
    size = int.from_bytes(head[:3], "big")
    return Frame(head[3], head[4], int.from_bytes(head[5:9], "big") & 0x7FFFFFFF, receive(conn, size) if size else b"")


def read_until(conn, wanted, passed=None):
    """The first frame that wanted() accepts; settings are acknowledged on the way, what passes is kept in passed."""
    while True:
        f = read_frame(conn)
        if f.type == SETTINGS and not f.flags & ACK:
            conn.sendall(frame(SETTINGS, ACK))
        if wanted(f):
            return f
        if passed is not None:
            passed.append(f)


def open_stream(conn, stream=1):
    """Preface, settings, CONNECT."""
    conn.sendall((PREFACE + settings(push=0) if stream == 1 else b"") + connect(stream))


def is_answer(stream):
    return lambda f: f.type == HEADERS and f.stream == stream


def is_data(stream):
    return lambda f: f.type == DATA and f.stream == stream and (f.payload or f.is_end)


def is_reset(stream):
    return lambda f: f.type == RST_STREAM and f.stream == stream
