"""Fixtures: everything that a test starts is stopped and checked behind it, in mirrored order."""
import os
import shutil
import tempfile
from pathlib import Path

import pytest

from harness import ports, services, tls
from harness.gateway import BINARY, Gateway, entry
from harness.lab import Lab
from harness.services import Echo, EventEcho, Service


def pytest_sessionstart(session):
    if not os.access(BINARY, os.X_OK):
        pytest.exit(f"{BINARY} is not there: cmake --preset dev && cmake --build --preset dev", 2)


def pytest_terminal_summary(terminalreporter):
    """What ctest said, so that one look at the end tells all."""
    units = os.environ.get("TNG_UNIT_SUMMARY")
    if units:
        terminalreporter.write_line(f"unit tests: {units}")


class Stack:
    """
    Runs all finishers, also when one fails; the first failure is told. Connections are closed first, so that no
    gateway has something to drain that the test has forgotten.
    """

    def __init__(self):
        self.finishers = []
        self.connections = []

    def add(self, thing, finish):
        self.finishers.append(finish)
        return thing

    def unwind(self):
        failure = None
        for close in self.connections:
            close()
        while self.finishers:
            try:
                self.finishers.pop()()
            except BaseException as e:  # pylint: disable=broad-except
                failure = failure or e
        if failure:
            raise failure


@pytest.fixture
def stack():
    s = Stack()
    yield s
    s.unwind()


@pytest.fixture
def tng(stack):
    """
    tng(add_ingress=[...], ...): a running gateway. wait: for "evidence", for it to be "ready", or for nothing (None).
    """

    def start(*, wait="evidence", env=None, args=(), descriptors=None, name="tng", within=(), **config):
        gateway = Gateway(config, env=env, args=args, descriptors=descriptors, name=name, within=within)
        stack.add(gateway, gateway.finish)
        if wait == "evidence":
            gateway.wait_evidence()
        elif wait == "ready":
            gateway.wait_ready()
        return gateway

    return start


@pytest.fixture
def ingress(tng):
    """ingress(to=port, verify=...): a gateway with one ingress on a free port."""

    def start(to, *, listen=None, top=None, wait="evidence", env=None, descriptors=None, **options):
        made = entry(listen or ports.free_port(), to, **options)
        return tng(add_ingress=[made], wait=wait, env=env, descriptors=descriptors, name="ingress", **(top or {}))

    return start


@pytest.fixture
def egress(tng):
    def start(to, *, listen=None, top=None, wait="evidence", env=None, descriptors=None, **options):
        made = entry(listen or ports.free_port(), to, **options)
        return tng(add_egress=[made], wait=wait, env=env, descriptors=descriptors, name="egress", **(top or {}))

    return start


@pytest.fixture(params=["raw", "mux"])
def mode(request):
    """For tests that hold in both forms of the tunnel."""
    return request.param


@pytest.fixture
def pair(ingress, egress):
    """pair(to=service.port, mode="mux", ...): an ingress and an egress that carry to a service."""

    def start(to, mode="raw", *, near=None, far=None, top=None, near_top=None, far_top=None):
        far_end = egress(to, top={**(top or {}), **(far_top or {})}, **(far or {}))
        near_end = ingress(far_end.port, mux=mode == "mux" or None, top={**(top or {}), **(near_top or {})},
                           **(near or {}))
        return near_end, far_end

    return start


@pytest.fixture
def connect(stack):
    """connect(port): an application's connection."""

    def start(address):
        sock = services.connect(address)
        stack.connections.append(sock.close)
        return sock

    return start


@pytest.fixture
def service(stack):
    s = Service()
    stack.connections.append(s.hang_up)
    return stack.add(s, s.close)


@pytest.fixture
def tls_service(stack):
    """tls_service(ctx): a TLS server that the test drives by hand."""

    def start(ctx):
        s = tls.TlsService(ctx)
        stack.connections.append(s.hang_up)
        return stack.add(s, s.close)

    return start


@pytest.fixture
def both_ends(connect, service):
    """both_ends(near): a connection through a tunnel, as its client and as the service see it."""

    def start(near):
        client = connect(near.port)
        return client, service.accept()

    return start


@pytest.fixture
def echo(stack):
    s = Echo()
    return stack.add(s, s.close)


@pytest.fixture
def event_echo(stack):
    s = EventEcho()
    return stack.add(s, s.close)


@pytest.fixture
def start_lab(stack):
    def start(*args, within=()):
        # Short, so that the sockets in it have addresses that fit.
        folder = Path(tempfile.mkdtemp(prefix="tng-"))
        stack.add(folder, lambda: shutil.rmtree(folder))
        lab = Lab(folder / "lab", *args, within=within)
        return stack.add(lab, lab.finish)

    return start


@pytest.fixture
def lab(start_lab):
    return start_lab()
