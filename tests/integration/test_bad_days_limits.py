"""When there is too much of something: descriptors, idle connections, bytes that nobody reads."""
import contextlib
import os
import resource
import socket
import threading
import time

import pytest

from harness import ports
from harness.gateway import IS_SANITIZED, entry
from harness.services import ForkedEcho, ask, connect as connect_to, is_quiet, receive, receive_all
from harness.wait import until

MIB = 1 << 20


# ---- descriptors ----

def fill(port, count):
    """Connections that stay; those that are not accepted wait in the kernel."""
    return [connect_to(port) for _ in range(count)]


@pytest.mark.parametrize("side", ["ingress", "egress"])
def test_with_64_descriptors_it_serves_pauses_and_recovers(ingress, egress, event_echo, stack, mode, side):
    if side == "egress":
        far = egress(event_echo.port, descriptors=64)
        near = ingress(far.port, mux=mode == "mux")
    else:
        far = egress(event_echo.port)
        near = ingress(far.port, mux=mode == "mux", descriptors=64)
    small = far if side == "egress" else near
    assert ask(near.port) == b"hello"

    clients = fill(near.port, 100)
    stack.connections.append(lambda: [c.close() for c in clients])
    for client in clients:
        with contextlib.suppress(ConnectionError):  # it was refused already
            client.sendall(b"x")

    def is_served(client):
        client.setblocking(False)
        try:
            return client.recv(1, socket.MSG_PEEK) == b"x"
        except OSError:
            return False  # it waits, or was refused

    def count_served():
        return sum(map(is_served, clients))

    until("some are served", lambda: count_served() >= 5)
    share = small.cpu_share(2)
    assert small.descriptors() <= 64
    assert share < 0.10, f"{share:.0%} of a core while it can accept nothing"
    assert count_served() < 100, "more than fit into the descriptors"
    paused = [line for line in small.lines if "paused" in line or "no_descriptors" in line or "limit_" in line]
    assert len(paused) <= 30, "one line a second for each cause is enough:\n" + small.output

    for client in clients:
        client.close()
    until("it carries again", lambda: ask(near.port) == b"hello", 20)
    until("all is given back", lambda: small.descriptors() < 40)


def test_the_soft_limit_is_raised_to_the_hard_one(tng, egress, event_echo, stack):
    far = egress(event_echo.port)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    near = tng(add_ingress=[entry(ports.free_port(), far.port)],
               within=("sh", "-c", 'ulimit -S -n 64 && exec "$@"', "sh"))
    with open(f"/proc/{near.pid}/limits", encoding="ascii") as f:
        soft = next(line for line in f if line.startswith("Max open files")).split()[3]
    assert soft in (str(hard), "unlimited")
    clients = fill(near.port, 100)
    stack.connections.append(lambda: [c.close() for c in clients])
    for client in clients:
        client.sendall(b"x")
    for client in clients:
        assert receive(client, 1) == b"x"


def test_a_limit_of_connections_is_kept(pair, event_echo, stack, mode):
    near, _ = pair(event_echo.port, mode, near_top={"limits": {"connections": 5}})
    clients = fill(near.port, 10)
    stack.connections.append(lambda: [c.close() for c in clients])
    for client in clients:
        client.sendall(b"x")
    until("five are served", lambda: sum(not is_quiet(c, 0) for c in clients) >= 5)
    assert near.counters()["flows_active"] <= 5
    first = [c for c in clients if not is_quiet(c, 0)]
    for client in first:
        client.close()
    until("the next are served", lambda: sum(c.fileno() >= 0 and not is_quiet(c, 0) for c in clients) >= 5)


# ---- idle connections ----

def hold_idle(near, stack, count):
    clients = fill(near.port, count)
    stack.connections.append(lambda: [c.close() for c in clients])
    for client in clients:
        client.sendall(b"x")
    for client in clients:
        client.settimeout(60)
        assert receive(client, 1) == b"x"
    return clients


@pytest.fixture
def many_descriptors():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("mode,count", [("raw", 2000), pytest.param("raw", 10000, marks=pytest.mark.slow),
                                        ("mux", 10000)])
def test_idle_connections_cost_little_and_work(pair, stack, mode, many_descriptors, count):
    needed = count * (2 if mode == "raw" else 1) + 200
    if many_descriptors < needed:
        pytest.skip(f"needs {needed} descriptors, the hard limit is {many_descriptors} here")
    echo = ForkedEcho()
    stack.add(echo, echo.close)
    near, far = pair(echo.port, mode)
    with connect_to(near.port) as first:
        first.sendall(b"x")
        assert receive(first, 1) == b"x"
    before = near.memory_kib(), far.memory_kib()

    clients = hold_idle(near, stack, count)

    def grown():
        return [(now - start) / count for now, start in zip((near.memory_kib(), far.memory_kib()), before)]

    if not IS_SANITIZED:
        until("each idle connection costs less than 4 KiB a side", lambda: max(grown()) < 4)
    assert max(near.cpu_share(0.5), far.cpu_share(0.5)) < 0.10

    for client in clients[:: count // 100]:
        client.sendall(b"still here")
        assert receive(client, 10) == b"still here"
    for client in clients:
        client.close()
    until("all have ended", lambda: near.counters()["flows_active"] == 0 and far.counters()["flows_active"] <= 2, 60)


# ---- who does not read ----

def stall(sock):
    """Lets the other side send until it cannot any more; returns how much it could."""
    sock.settimeout(1)
    sent = 0
    try:
        while True:
            sent += sock.send(bytes(65536))
    except TimeoutError:
        return sent


@pytest.mark.parametrize("direction", ["client", "service"])
def test_who_does_not_read_holds_back_only_himself(pair, service, connect, mode, direction):
    near, _ = pair(service.port, mode, top={"workers": 1})
    client, served = connect(near.port), service.accept()
    sender, reader = (served, client) if direction == "client" else (client, served)

    sent = stall(sender)
    assert sent < 40 * MIB, "somebody buffers without bound"

    # On the same worker, and in the same session, another one is as quick as ever.
    other, other_served = connect(near.port), service.accept()
    began = time.monotonic()
    for _ in range(20):
        block = os.urandom(MIB // 2)
        mover = threading.Thread(target=other.sendall, args=(block,))
        mover.start()
        assert receive(other_served, len(block)) == block
        mover.join(5)
    assert time.monotonic() - began < 8

    # And what was held back comes when it is read.
    sender.settimeout(None)
    sender.shutdown(socket.SHUT_WR)
    reader.settimeout(10)
    assert len(receive_all(reader)) == sent


def test_many_who_do_not_read_stay_within_the_memory_for_relaying(pair, service, connect, mode):
    near, far = pair(service.port, mode, top={"limits": {"relay_memory": "8MiB"}})
    before = near.memory_kib() + far.memory_kib()
    pairs = []
    for _ in range(40):
        client = connect(near.port)
        pairs.append((client, service.accept()))

    def push(sock):
        sock.settimeout(1)
        try:
            while True:
                sock.send(bytes(65536))
        except OSError:
            pass

    threads = [threading.Thread(target=push, args=(served,)) for _, served in pairs]
    for t in threads:
        t.start()
    for t in threads:
        t.join(30)
    if not IS_SANITIZED:
        grown = near.memory_kib() + far.memory_kib() - before
        assert grown < 2 * (8 + 8) << 10, f"{grown} KiB"

    # Who reads is served all the same.
    fast, fast_served = connect(near.port), service.accept()
    fast_served.sendall(b"quick")
    assert receive(fast, 5) == b"quick"


# ---- what strangers can provoke ----

def test_a_flood_of_strangers_does_not_flood_the_log(egress, echo):
    far = egress(echo.port)
    for _ in range(300):
        with connect_to(far.port) as s:
            s.sendall(b"GET / HTTP/1.1\r\n\r\n")
    until("all are counted", lambda: far.counters().get("end_tls_plaintext", 0) == 300, 20)
    lines = [line for line in far.lines if "tls_plaintext" in line and " flow " in line]
    assert len(lines) < 200


def test_clients_that_come_and_go_leave_nothing(pair, echo, mode):
    near, far = pair(echo.port, mode)
    ask(near.port)
    descriptors = near.descriptors(), far.descriptors()
    for i in range(200):
        s = connect_to(near.port)
        if i % 3:
            s.sendall(b"hello")
        s.close()
    until("all have ended", lambda: near.counters()["flows_active"] == 0 and far.counters()["flows_active"] == 0, 30)
    until("all descriptors are given back",
          lambda: near.descriptors() <= descriptors[0] + 6 and far.descriptors() <= descriptors[1] + 6)
    assert near.counters()["flows_total"] == 201
