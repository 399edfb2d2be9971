"""
Random schedules of writes, half-closes, resets, stalls and partial reads through a pair of gateways, checked byte by
byte and end by end. A failure prints seed, number and schedule of the connection; the long form is bench/soak.
"""
import os
import socket
import struct
import threading

import pytest

from harness import ports, schedules
from harness.gateway import entry
from harness.upstream import Upstream

COUNT = 300
SEED = int(os.environ.get("TNG_SCHEDULES_SEED", "1"))


def assert_all_as_they_should_be(service_port, near_port, **options):
    code, text, summary = schedules.run(service_port, near_port, **{"seed": SEED, "count": COUNT, **options})
    assert code == 0, text
    assert summary["connections"] == options.get("count", COUNT)
    return summary


@pytest.mark.parametrize("rough", [False, True], ids=["plain", "rough"])
def test_between_our_gateways(pair, mode, rough):
    service_port = ports.free_port()
    near, far = pair(service_port, mode)

    summary = assert_all_as_they_should_be(service_port, near.port, rough=rough)

    assert summary["resets_seen"] > COUNT / 10
    for gateway in (near, far):
        assert gateway.descriptors() < 60, "connections have ended, their descriptors have not"


@pytest.mark.upstream
@pytest.mark.parametrize("ours", ["ingress", "egress"])
def test_with_upstream(stack, ingress, egress, mode, ours):
    """
    Without resets, because upstream's relay does not carry them: in the multiplexed form an abort of its application
    looks like a clean end, and in both forms an error of one direction is only logged while the other one stays
    open, so that the client of a service that has reset waits without end. Its copying of bytes, half-closes and
    stalls are held to the same as ours.
    """
    service_port = ports.free_port()
    mux = True if mode == "mux" else None

    def upstream(**config):
        u = Upstream("2.12.0", config)
        stack.add(u, u.finish)
        return u.wait_ready()

    if ours == "egress":
        far = egress(service_port, mux=mux)
        near = upstream(add_ingress=[entry(ports.free_port(), far.port, mux=mux)])
    else:
        far = upstream(add_egress=[entry(ports.free_port(), service_port, mux=mux)])
        near = ingress(far.port, mux=mux)

    summary = assert_all_as_they_should_be(service_port, near.port, resets=False, count=200)
    assert summary["resets"] == 0


# ---- the program itself: what a relay may do wrong is found ----

class BadRelay:
    """
    Carries bytes between a client and a service, one thread for each direction. wrong: "nothing", or what it does.
    """

    def __init__(self, to, wrong):
        self.to = to
        self.wrong = wrong
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=200)
        self.port = self.listener.getsockname()[1]
        self.open = []
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self._accept, daemon=True)]
        self.threads[0].start()

    def _accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self.to))
            with self.lock:
                self.open += [near, far]
            for pair in ((near, far, True), (far, near, False)):
                self.threads.append(threading.Thread(target=self._carry, args=pair, daemon=True))
                self.threads[-1].start()

    def _changed(self, data, before, upwards):
        """data from offset before on, as this relay passes it on."""
        at = 3000 - before
        if upwards or not 0 <= at < len(data):
            return data
        if self.wrong == "changes a byte":
            return data[:at] + bytes([data[at] ^ 1]) + data[at + 1:]
        if self.wrong == "loses a byte":
            return data[:at] + data[at + 1:]
        if self.wrong == "doubles a byte":
            return data[:at] + data[at:at + 1] + data[at:]
        return data

    def _carry(self, source, sink, upwards):
        count = 0
        try:
            while data := source.recv(65536):
                sink.sendall(self._changed(data, count, upwards))
                count += len(data)
                if self.wrong == "ends early" and count > 5000:
                    break
            if self.wrong == "resets at the end":
                _abort(source, sink)
            elif self.wrong != "keeps the end":
                sink.shutdown(socket.SHUT_WR)
        except OSError:
            if self.wrong == "makes an end of a reset":
                _end(sink)
            elif self.wrong != "keeps the reset":
                _abort(source, sink)

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.threads[0].join(10)
        for sock in self.open:
            _end(sock)
        for thread in self.threads[1:]:
            thread.join(10)
        for sock in self.open:
            sock.close()


def _end(sock):
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass


def _abort(*socks):
    for sock in socks:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        try:
            # A connection to nowhere: resets at once, whoever else waits for this socket.
            libc_disconnect(sock)
        except OSError:
            pass


def libc_disconnect(sock):
    """connect() with AF_UNSPEC."""
    import ctypes  # pylint: disable=import-outside-toplevel
    libc = ctypes.CDLL(None, use_errno=True)
    libc.connect(sock.fileno(), struct.pack("H14x", socket.AF_UNSPEC), 16)


FINDINGS = {
    "changes a byte": "has read a wrong byte at 3000",
    "loses a byte": "has read a wrong byte at 3000",
    "doubles a byte": "has read a wrong byte at 3001",
    "ends early": "sees an end",
    "makes an end of a reset": "sees an end, but the other end has reset",
    "resets at the end": "sees a reset that nobody made",
    "keeps the end": "it does not end",
    "keeps the reset": "it does not end",
}


@pytest.fixture
def bad_relay(stack):
    def start(wrong):
        service_port = ports.free_port()
        relay = BadRelay(service_port, wrong)
        stack.add(relay, relay.close)
        return service_port, relay.port

    return start


def test_a_relay_without_fault_passes(bad_relay):
    assert_all_as_they_should_be(*bad_relay("nothing"), count=60, parallel=20)


@pytest.mark.parametrize("wrong", FINDINGS)
def test_the_faults_of_a_relay_are_found(bad_relay, wrong):
    code, text, _ = schedules.run(*bad_relay(wrong), seed=3, count=40, parallel=20, deadline=3)
    assert code == 1
    assert FINDINGS[wrong] in text
    assert "FAILED seed 3" in text and "writes" in text, "a failure tells the schedule"
