"""Applications at both ends: plain TCP clients and services, which a test drives by hand or lets echo."""
import errno
import hashlib
import multiprocessing
import os
import selectors
import socket
import struct
import threading

from .wait import DEADLINE, until

LOOPBACK = "127.0.0.1"


class Service:
    """Listens, and hands connections to the test: accept()."""

    def __init__(self, host=LOOPBACK, port=0, backlog=512):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.listener = socket.socket(family, socket.SOCK_STREAM)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            self.listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        self.listener.bind((host, port))
        self.listener.listen(backlog)
        self.port = self.listener.getsockname()[1]
        self.open = []

    def accept(self, deadline=DEADLINE):
        self.listener.settimeout(deadline)
        try:
            conn, _ = self.listener.accept()
        except TimeoutError:
            raise AssertionError(f"nobody connected to the service in {deadline:g} s") from None
        conn.settimeout(DEADLINE)
        self.open.append(conn)
        return conn

    def has_connection(self):
        """Whether somebody waits to be accepted."""
        with selectors.DefaultSelector() as s:
            s.register(self.listener, selectors.EVENT_READ)
            return bool(s.select(0))

    def hang_up(self):
        for conn in self.open:
            conn.close()

    def close(self):
        self.listener.close()
        self.hang_up()


class Echo(Service):
    """Answers each connection with what it sent, and ends its direction when the other one has ended."""

    def __init__(self, host=LOOPBACK, port=0, delay_after_eof=0):
        super().__init__(host, port)
        self.accepted = 0
        self.received = 0
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self):
        while True:
            try:
                conn, _ = self.listener.accept()
            except OSError:
                return
            self.accepted += 1
            threading.Thread(target=self._echo, args=(conn,), daemon=True).start()

    def _echo(self, conn):
        with conn:
            try:
                while data := conn.recv(1 << 17):
                    self.received += len(data)
                    conn.sendall(data)
                conn.shutdown(socket.SHUT_WR)
            except OSError:
                pass

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(DEADLINE)
        super().close()


class EventEcho(Service):
    """As Echo, for thousands of connections: one thread, small messages."""

    def __init__(self):
        super().__init__(backlog=4096)
        self.accepted = 0
        self._selector = selectors.DefaultSelector()
        self.listener.setblocking(False)
        self._selector.register(self.listener, selectors.EVENT_READ)
        self._wake, waker = socket.socketpair()
        self._selector.register(waker, selectors.EVENT_READ)
        self._waker = waker
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self):
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._waker:
                    return
                if key.fileobj is self.listener:
                    self._accept()
                else:
                    self._echo(key.fileobj)

    def _accept(self):
        try:
            conn, _ = self.listener.accept()
        except OSError:
            return
        self.accepted += 1
        self.open.append(conn)
        conn.setblocking(True)
        self._selector.register(conn, selectors.EVENT_READ)

    def _echo(self, conn):
        try:
            data = conn.recv(65536)
            if data:
                conn.sendall(data)
                return
        except OSError:
            pass
        self._selector.unregister(conn)
        conn.close()

    def close(self):
        self._wake.send(b"x")
        self._thread.join(DEADLINE)
        super().close()
        self._wake.close()
        self._waker.close()


class ForkedEcho:
    """An EventEcho in a process of its own, which has descriptors of its own."""

    def __init__(self):
        ours, theirs = multiprocessing.Pipe()
        self._process = multiprocessing.get_context("fork").Process(target=self._run, args=(theirs,), daemon=True)
        self._process.start()
        self.port = ours.recv()

    @staticmethod
    def _run(pipe):
        echo = EventEcho()
        pipe.send(echo.port)
        threading.Event().wait()

    def close(self):
        self._process.kill()
        self._process.join()


# ---- a client ----

class WasReset(socket.socket):
    """A connection that was made, and reset before connect() had returned: as it is with one that was reset later."""

    def _say(self, *_):
        raise ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))

    recv = recv_into = send = sendall = shutdown = _say


def connect(address, deadline=DEADLINE):
    """To a port on loopback, or (host, port)."""
    if isinstance(address, int):
        address = (LOOPBACK, address)
    try:
        return socket.create_connection(address, deadline)
    except ConnectionResetError:
        return WasReset()


def receive(sock, size):
    """Exactly size bytes."""
    got = bytearray()
    while len(got) < size:
        data = sock.recv(min(1 << 18, size - len(got)))
        if not data:
            raise AssertionError(f"the connection ended after {len(got)} of {size} bytes")
        got += data
    return bytes(got)


def receive_all(sock):
    """What comes until the end of input."""
    got = bytearray()
    while data := sock.recv(1 << 18):
        got += data
    return bytes(got)


def ask(address, data=b"hello"):
    """Sends, and returns what comes back until the connection is over."""
    with connect(address) as s:
        sender = threading.Thread(target=_send_and_end, args=(s, data), daemon=True)
        sender.start()
        try:
            answer = receive_all(s)
        except ConnectionResetError:
            answer = b""
        sender.join(DEADLINE)
        return answer


def _send_and_end(sock, data):
    try:
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def reset(sock):
    """Ends a connection with RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def expect_reset(sock, deadline=DEADLINE):
    """What still comes is dropped; the end must be a reset."""
    sock.settimeout(deadline)
    try:
        while sock.recv(1 << 18):
            pass
    except ConnectionResetError:
        return
    except TimeoutError:
        raise AssertionError(f"no reset in {deadline:g} s") from None
    raise AssertionError("a clean end instead of a reset")


def expect_end(sock, deadline=DEADLINE):
    """The connection ends cleanly without another byte."""
    sock.settimeout(deadline)
    try:
        data = sock.recv(1)
    except TimeoutError:
        raise AssertionError(f"no end in {deadline:g} s") from None
    assert data == b"", "bytes instead of an end"


def expect_closed(sock, deadline=5):
    """The connection is over, by FIN or RST, without a byte; soon."""
    sock.settimeout(deadline)
    try:
        data = sock.recv(1)
    except (ConnectionResetError, BrokenPipeError):
        return
    except TimeoutError:
        raise AssertionError(f"silence for {deadline:g} s instead of a close") from None
    assert data == b"", f"a byte instead of a close: {data!r}"


def is_quiet(sock, duration):
    """Nothing comes and nothing ends for so long."""
    with selectors.DefaultSelector() as s:
        s.register(sock, selectors.EVENT_READ)
        return not s.select(duration)


def digest(data):
    return hashlib.sha256(data).hexdigest()


__all__ = [n for n in dir() if not n.startswith("_")] + ["until"]
