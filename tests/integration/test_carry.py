"""What applications see of a tunnel: exactly what they would see of a direct TCP connection."""
import os
import random
import socket
import threading

import pytest

from harness.services import (ask, digest, expect_end, expect_reset, is_quiet, receive, receive_all,
                              reset)

MIB = 1 << 20


@pytest.mark.parametrize("size", [0, 1, 16383, 16384, 16385, 65536, 1000003, 8 * MIB])
def test_bytes_come_back_as_they_went(pair, echo, mode, size):
    near, far = pair(echo.port, mode)
    sent = random.Random(size).randbytes(size)

    assert ask(near.port, sent) == sent

    for gateway in (near, far):
        flow = gateway.wait_flow()
        assert (flow.reason, flow.bytes) == ("done", (size, size))
        assert flow.via == ("rats-tls multiplexed" if mode == "mux" else "rats-tls")


def test_pieces_of_random_size_keep_their_order_in_both_directions(pair, service, both_ends, mode):
    near, _ = pair(service.port, mode)
    client, served = both_ends(near)
    total = 6 * MIB

    def send(sock, seed):
        chooser = random.Random(seed)
        left = total
        while left:
            piece = min(left, chooser.choice((1, 7, 100, 1400, 16384, 70000)) if seed % 2 else 33333)
            sock.sendall(bytes([seed]) * piece)
            left -= piece
        sock.shutdown(socket.SHUT_WR)

    got = {}
    threads = [threading.Thread(target=send, args=(client, 1)), threading.Thread(target=send, args=(served, 2)),
               threading.Thread(target=lambda: got.update(client=receive_all(client))),
               threading.Thread(target=lambda: got.update(served=receive_all(served)))]
    for t in threads:
        t.start()
    for t in threads:
        t.join(60)
    assert got["served"] == b"\x01" * total
    assert got["client"] == b"\x02" * total


@pytest.mark.parametrize("upwards", [True, False], ids=["upload", "download"])
def test_a_big_transfer_arrives_whole(pair, service, both_ends, mode, upwards):
    near, _ = pair(service.port, mode)
    client, served = both_ends(near)
    source, sink = (client, served) if upwards else (served, client)
    block = os.urandom(MIB)
    count = 96

    def send():
        for _ in range(count):
            source.sendall(block)
        source.shutdown(socket.SHUT_WR)

    sender = threading.Thread(target=send)
    sender.start()
    for _ in range(count):
        assert digest(receive(sink, MIB)) == digest(block)
    expect_end(sink)
    sender.join(10)


def test_a_client_that_has_ended_still_gets_the_answer(pair, service, both_ends, mode):
    near, _ = pair(service.port, mode)
    client, served = both_ends(near)

    client.sendall(b"question")
    client.shutdown(socket.SHUT_WR)
    assert receive_all(served) == b"question"
    assert is_quiet(client, 0.3), "the end of one direction must not end the other"

    answer = os.urandom(3 * MIB)
    sender = threading.Thread(target=lambda: (served.sendall(answer), served.close()))
    sender.start()
    assert receive_all(client) == answer
    sender.join(10)


def test_a_service_that_has_ended_still_gets_what_the_client_sends(pair, service, both_ends, mode):
    near, _ = pair(service.port, mode)
    client, served = both_ends(near)

    served.sendall(b"farewell")
    served.shutdown(socket.SHUT_WR)
    assert receive_all(client) == b"farewell"
    assert is_quiet(served, 0.3)

    rest = os.urandom(3 * MIB)
    sender = threading.Thread(target=lambda: (client.sendall(rest), client.close()))
    sender.start()
    assert receive_all(served) == rest
    sender.join(10)


def test_a_service_may_speak_first(pair, service, both_ends, mode):
    near, _ = pair(service.port, mode)
    client, served = both_ends(near)

    served.sendall(b"220 welcome\r\n")
    assert receive(client, 13) == b"220 welcome\r\n"
    client.sendall(b"HELO\r\n")
    assert receive(served, 6) == b"HELO\r\n"


def test_a_client_that_ends_without_a_byte_is_an_end_for_the_service(pair, service, both_ends, mode):
    near, far = pair(service.port, mode)
    client, served = both_ends(near)

    client.close()
    expect_end(served)
    served.close()
    assert near.wait_flow().reason == far.wait_flow().reason == "done"


@pytest.mark.parametrize("after", ["silence", "bytes"])
def test_a_reset_of_the_client_is_a_reset_for_the_service(pair, service, both_ends, mode, after):
    near, far = pair(service.port, mode)
    client, served = both_ends(near)
    if after == "bytes":
        client.sendall(b"ping")
        served.sendall(b"pong")
        assert (receive(served, 4), receive(client, 4)) == (b"ping", b"pong")

    reset(client)
    expect_reset(served)
    assert near.wait_flow().reason == "client_reset"
    assert far.wait_flow().reason in ("tunnel_reset", "tunnel_truncated")


@pytest.mark.parametrize("first", ["service", "client"])
def test_a_reset_of_the_service_is_a_reset_for_the_client(pair, service, both_ends, mode, first):
    near, far = pair(service.port, mode)
    client, served = both_ends(near)
    speaker, listener = (served, client) if first == "service" else (client, served)
    speaker.sendall(b"ping")
    assert receive(listener, 4) == b"ping"

    reset(served)
    expect_reset(client)
    assert far.wait_flow().reason == "service_reset"
    assert near.wait_flow().reason in ("tunnel_reset", "tunnel_truncated")


def test_a_reset_in_the_middle_of_a_transfer_is_a_reset(pair, service, both_ends, mode):
    near, _ = pair(service.port, mode)
    client, served = both_ends(near)

    def send_until_it_fails():
        try:
            while True:
                client.sendall(bytes(65536))
        except OSError:
            pass

    sender = threading.Thread(target=send_until_it_fails)
    sender.start()
    receive(served, MIB)
    reset(served)
    sender.join(10)
    assert not sender.is_alive(), "the client still sends to a service that has reset"


def test_a_reset_after_the_end_of_one_direction_is_a_reset(pair, service, both_ends, mode):
    near, _ = pair(service.port, mode)
    client, served = both_ends(near)

    client.shutdown(socket.SHUT_WR)
    expect_end(served)
    reset(served)
    expect_reset(client)


def test_an_idle_connection_stays(pair, service, both_ends, mode):
    # None of the times for setting up a tunnel applies once it stands.
    short = {"timeouts": {"first_byte": 1, "handshake": 1, "connect": 1, "verify": 1, "pool_idle": 1}}
    near, _ = pair(service.port, mode, top=short)
    client, served = both_ends(near)

    assert is_quiet(client, 2.5) and is_quiet(served, 0)
    client.sendall(b"still here")
    assert receive(served, 10) == b"still here"


def test_an_idle_time_is_kept_where_it_is_configured(pair, service, both_ends, mode):
    near, _ = pair(service.port, mode, near_top={"timeouts": {"idle": 1}})
    client, served = both_ends(near)

    client.sendall(b"x")
    assert receive(served, 1) == b"x"
    expect_reset(client)
    assert near.wait_flow().reason == "idle_timeout"


def test_many_connections_at_once_do_not_mix(pair, echo, mode):
    near, far = pair(echo.port, mode)
    wrong = []

    def exchange(seed):
        sent = random.Random(seed).randbytes(50000 + 997 * seed)
        if ask(near.port, sent) != sent:
            wrong.append(seed)

    threads = [threading.Thread(target=exchange, args=(i,)) for i in range(60)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(60)
    assert not wrong and not any(t.is_alive() for t in threads)
    far.wait_flow(60)
    assert all(f.reason == "done" for f in near.flows() + far.flows())


def test_a_service_that_refuses_is_a_reset_for_the_client(pair, connect, mode):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        near, far = pair(nobody.getsockname()[1], mode)
        expect_reset(connect(near.port), 3)
    assert far.wait_flow().reason == "service_refused"
    assert near.wait_flow().reason == ("peer_declined" if mode == "mux" else "tunnel_truncated")


@pytest.mark.parametrize("speaks", [True, False], ids=["client speaks", "client is silent"])
def test_a_service_that_resets_at_once_is_a_reset_for_the_client(pair, connect, service, mode, speaks):
    """Whenever that is: before the tunnel knows that it is connected, or after."""
    near, _ = pair(service.port, mode)
    for _ in range(20):
        client = connect(near.port)
        if speaks:
            client.sendall(b"hello")
        reset(service.accept())
        expect_reset(client, 3)


def test_an_ingress_without_egress_is_a_reset_for_the_client(ingress, connect, mode):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        near = ingress(nobody.getsockname()[1], mux=mode == "mux")
        expect_reset(connect(near.port), 3)
        assert near.wait_flow().reason == "peer_refused"
