"""Where a mapping listens and where it leads."""
import socket
import subprocess

import pytest

from harness import ports
from harness.gateway import entry
from harness.services import Echo, ask, expect_closed


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as s:
            s.bind(("::1", 0))
        return True
    except OSError:
        return False


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6 on loopback")


@pytest.fixture
def services(stack):
    """services(n): n echo services, told apart by their ports, and how many each of them has seen."""

    def start(count, first=None, host="127.0.0.1"):
        made = []
        for i in range(count):
            s = Echo(host, 0 if first is None else first + i)
            made.append(stack.add(s, s.close))
        return made

    return start


def test_each_port_of_a_range_leads_to_the_one_at_the_same_place(tng, egress, services):
    first = ports.free_range(3)
    targets = services(3, first)
    near, far = ports.free_range(3), ports.free_range(3)
    tng(add_egress=[entry(("127.0.0.1", far, far + 2), ("127.0.0.1", first, first + 2))])
    tng(add_ingress=[entry(("127.0.0.1", near, near + 2), ("127.0.0.1", far, far + 2))])

    for i in (2, 0, 1, 1):
        assert ask(near + i) == b"hello"
    assert [t.accepted for t in targets] == [1, 2, 1]


def test_rules_lead_to_different_places(tng, egress, services):
    one, two = services(2)
    far_one, far_two = egress(one.port), egress(two.port)
    listen = [ports.free_port() for _ in range(2)]
    tng(add_ingress=[entry(None, None, rules=[(listen[0], far_one.port), (listen[1], far_two.port)])])

    assert ask(listen[0]) == ask(listen[1]) == ask(listen[1]) == b"hello"
    assert (one.accepted, two.accepted) == (1, 2)


def test_entries_of_both_kinds_in_one_process(tng, services):
    target, = services(1)
    near, far = ports.free_port(), ports.free_port()
    tng(add_ingress=[entry(near, far)], add_egress=[entry(far, target.port)])
    assert ask(near) == b"hello"


@pytest.mark.parametrize("side", ["ingress", "egress"])
def test_localhost_as_a_target(pair, ingress, egress, services, mode, side):
    target, = services(1)
    if side == "egress":
        near, _ = pair(("localhost", target.port), mode)
    else:
        far = egress(target.port)
        near = ingress(("localhost", far.port), mux=mode == "mux")
    assert ask(near.port) == b"hello"


@pytest.fixture
def with_hosts(tmp_path):
    """with_hosts(name=[addresses]): how to run a program that sees another /etc/hosts. Needs root."""

    def make(**names):
        hosts = tmp_path / "hosts"
        hosts.write_text("".join(f"{address} {name}\n" for name, all_of_it in names.items() for address in all_of_it))
        within = ["unshare", "--mount", "sh", "-c", f'mount --bind {hosts} /etc/hosts && exec "$@"', "sh"]
        tried = subprocess.run([*within, "true"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        if tried.returncode != 0:
            pytest.skip(f"no mount namespace here: {tried.stdout.decode().strip()}")
        return within

    return make


@needs_ipv6
@pytest.mark.parametrize("served", ["127.0.0.1", "127.0.0.9", "::1"])
def test_all_addresses_of_a_name_are_tried(tng, ingress, services, with_hosts, served):
    within = with_hosts(manifold=["127.0.0.1", "127.0.0.9", "::1"])
    target, = services(1, host=served)
    far = tng(add_egress=[entry(ports.free_port(), ("manifold", target.port))], within=within)
    near = ingress(far.port)
    for _ in range(3):
        assert ask(near.port) == b"hello"
    assert target.accepted == 3


@needs_ipv6
def test_ipv6_everywhere(egress, ingress, services, mode):
    target, = services(1, host="::1")
    far = egress(("::1", target.port), listen=("::1", ports.free_port()))
    near = ingress(("::1", far.port), listen=("::1", ports.free_port()), mux=mode == "mux")
    assert ask(("::1", near.port)) == b"hello"
    assert near.wait_flow().reason == "done"


@needs_ipv6
def test_listening_on_every_address(egress, ingress, services):
    target, = services(1)
    far = egress(target.port)
    everywhere = ingress(far.port, listen=("::", ports.free_port()))
    assert ask(("::1", everywhere.port)) == b"hello"
    four = ingress(far.port, listen=("0.0.0.0", ports.free_port()))
    assert ask(four.port) == b"hello"


@pytest.mark.parametrize("side", ["ingress", "egress"])
def test_a_name_without_address_closes_the_client_at_once(pair, ingress, connect, mode, side):
    target = ("no-such-host.invalid", 80)
    top = {"timeouts": {"resolve": 2}}
    if side == "egress":
        near, far = pair(target, mode, top=top)
    else:
        near = far = ingress(target, mux=mode == "mux", top=top)
    expect_closed(connect(near.port), 5)
    assert far.wait_flow().reason == "resolve_failed"


def test_an_address_that_does_not_answer_ends_in_time(pair, connect):
    """A listener whose backlog is full drops SYNs, as a machine that is gone does."""
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        port = deaf.getsockname()[1]
        fillers = []
        for _ in range(4):
            s = socket.socket()
            s.setblocking(False)
            s.connect_ex(("127.0.0.1", port))
            fillers.append(s)
        near, far = pair(port, far_top={"timeouts": {"connect": 1}})
        expect_closed(connect(near.port), 5)
        assert far.wait_flow().reason == "service_timeout"
        for s in fillers:
            s.close()
