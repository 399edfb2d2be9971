"""
Interoperability with the released upstream binaries, in every role, both ways round. The lab is agent and service for
both sides. Where upstream itself fails, the test states what it does.
"""
import os
import socket

import pytest

from harness import ports
from harness.gateway import entry
from harness.services import ask, digest, expect_closed, is_quiet, receive, receive_all
from harness.tls import in_background
from harness.upstream import WHEELS, Upstream
from harness.wait import until

pytestmark = pytest.mark.upstream

SIZES = (5, 300000)

ROLES = {
    # what the two ends are: of the ingress, of the egress
    "no_ra": ((), ()),
    "one_way": (("verify",), ("attest",)),
    "reverse": (("attest",), ("verify",)),
    "mutual": (("attest", "verify"), ("attest", "verify")),
}

MODELS = {
    "background": lambda lab: {"attest": lab.attest(), "verify": lab.verify()},
    "passport": lambda lab: {"attest": lab.passport(), "verify": lab.verify_passport(as_addr=lab.rest)},
    "passport_grpc": lambda lab: {"attest": lab.passport(as_type="grpc", as_addr=lab.grpc),
                                  "verify": lab.verify_passport(as_addr=lab.rest)},
    "api_server": lambda lab: {"attest": lab.attest_asr(), "verify": lab.verify()},
}

@pytest.fixture(params=WHEELS)
def version(request):
    return request.param


@pytest.fixture
def upstream(stack, version):
    def start(**config):
        u = Upstream(version, config)
        stack.add(u, u.finish)
        return u.wait_ready()

    return start


@pytest.fixture
def meet(upstream, ingress, egress):
    """meet(ours, service port, mode, near options, far options): a pair of which one is ours."""

    def start(ours, to, mode, near, far):
        mux = True if mode == "mux" else None
        if ours == "egress":
            far_end = egress(to, **far)
            near_end = upstream(add_ingress=[entry(ports.free_port(), far_end.port, mux=mux, **near)])
        else:
            far_end = upstream(add_egress=[entry(ports.free_port(), to, mux=mux, **far)])
            near_end = ingress(far_end.port, mux=mux, **near)
        return near_end, far_end

    return start


@pytest.mark.parametrize("ours", ["ingress", "egress"])
@pytest.mark.parametrize("role", ROLES)
def test_every_role_with_upstream(meet, echo, lab, mode, ours, role):
    members = MODELS["background"](lab)
    near, far = ({name: members[name] for name in side} for side in ROLES[role])
    near_end, far_end = meet(ours, echo.port, mode, near, far)

    for size in SIZES:
        sent = os.urandom(size)
        assert ask(near_end.port, sent) == sent

    mine, verifies = (near_end, "verify" in near) if ours == "ingress" else (far_end, "verify" in far)
    for i in range(len(SIZES)):
        flow = mine.wait_flow(i + 1)
        assert flow.reason == "done"
        assert flow.tee == ("sample" if verifies else None)


@pytest.mark.parametrize("ours", ["ingress", "egress"])
@pytest.mark.parametrize("role", ["one_way", "reverse"])
@pytest.mark.parametrize("model", ["passport", "passport_grpc", "api_server"])
def test_every_way_of_evidence_with_upstream(meet, echo, lab, ours, role, model):
    members = MODELS[model](lab)
    near, far = ({name: members[name] for name in side} for side in ROLES[role])
    near_end, _ = meet(ours, echo.port, "raw", near, far)

    assert ask(near_end.port, b"hello") == b"hello"


@pytest.mark.parametrize("ours", ["ingress", "egress"])
def test_simple_tokens_with_upstream(meet, echo, start_lab, ours):
    lab = start_lab("--token", "simple")
    both = {"attest": lab.attest(), "verify": lab.verify()}
    near_end, _ = meet(ours, echo.port, "raw", both, both)

    assert ask(near_end.port, b"hello") == b"hello"


def test_background_check_over_grpc_judges_upstream(meet, echo, lab, mode):
    near_end, _ = meet("ingress", echo.port, mode, {"verify": lab.verify_grpc()}, {"attest": lab.attest()})
    assert ask(near_end.port, b"hello") == b"hello"


@pytest.mark.parametrize("ours", ["ingress", "egress"])
def test_big_transfers_with_upstream(meet, echo, mode, ours):
    near_end, _ = meet(ours, echo.port, mode, {}, {})
    sent = os.urandom(24 << 20)
    assert digest(ask(near_end.port, sent)) == digest(sent)


@pytest.mark.parametrize("ours", ["ingress", "egress"])
def test_half_close_with_upstream(meet, service, connect, mode, ours):
    near_end, _ = meet(ours, service.port, mode, {}, {})
    client = connect(near_end.port)
    served = service.accept()

    client.sendall(b"question")
    client.shutdown(socket.SHUT_WR)
    assert receive_all(served) == b"question"
    served.sendall(b"answer")
    served.shutdown(socket.SHUT_WR)
    assert receive_all(client) == b"answer"


@pytest.mark.parametrize("ours", ["ingress", "egress"])
def test_more_connections_than_upstream_allows_streams(meet, event_echo, connect, mode, ours):
    """An upstream egress takes 200 streams for each session; nobody may wait for another to end."""
    near_end, _ = meet(ours, event_echo.port, mode, {}, {})
    clients = [connect(near_end.port) for _ in range(250)]
    for client in clients:
        client.sendall(b"here")
    for client in clients:
        assert receive(client, 4) == b"here"


def test_first_connections_of_upstream_that_come_together(meet, echo, lab, mode):
    """Its ingress then makes several sessions, and leaves all but one without a byte."""
    near_end, far_end = meet("egress", echo.port, mode, {"verify": lab.verify()}, {"attest": lab.attest()})
    answers = [in_background(ask, near_end.port, b"%d" % i) for i in range(20)]
    for i, answer in enumerate(answers):
        answer.join(20)
        assert answer.result == b"%d" % i
    far_end.wait_flow(20)
    assert {f.reason for f in far_end.flows()} == {"done"}


# ---- refusals ----

def assert_application_is_closed(client, mine, version, mode, hangs):
    """The client of a refused connection; hangs: upstream 2.8.0 leaves it waiting, in these forms of the tunnel."""
    if version == "2.8.0" and mode in hangs:
        mine.wait_flow()  # upstream's peer, we, have left
    else:
        expect_closed(client)


def assert_service_got_nothing(service, version, mine):
    """
    A raw egress that verifies nobody dials before it is known what its peer thinks. Upstream 2.12.0 as an ingress
    sends the first bytes of the application before it has verified us; 2.8.0 as an egress does not tell the service
    that the connection is over.
    """
    if not service.has_connection():
        return
    served = service.accept()
    if version == "2.12.0" and mine == "egress":
        assert receive(served, 6) == b"secret"
    if version == "2.8.0" and mine == "ingress":
        assert is_quiet(served, 0.3)
    else:
        expect_closed(served)


@pytest.mark.parametrize("ours", ["ingress", "egress"])
@pytest.mark.parametrize("role", ["one_way", "reverse"])
def test_a_wrong_measurement_is_refused(meet, service, connect, lab, mode, version, ours, role):
    lab.fault("wrong_measurement", "aa")
    members = MODELS["background"](lab)
    near, far = ({name: members[name] for name in side} for side in ROLES[role])
    near_end, far_end = meet(ours, service.port, mode, near, far)
    mine = near_end if ours == "ingress" else far_end

    client = connect(near_end.port)
    client.sendall(b"secret")
    assert_application_is_closed(client, mine, version, mode, ["raw"] if (ours, role) == ("egress", "reverse") else [])
    if (ours == "ingress") == (role == "one_way"):
        assert mine.wait_flow().reason == "token_status"
    if (role, mode) == ("one_way", "raw"):
        assert_service_got_nothing(service, version, ours)
    assert not service.has_connection()


@pytest.mark.parametrize("near,far", [
    ("no_ra", "verify"), ("no_ra", "both"), ("verify", "no_ra"), ("verify", "both"), ("both", "no_ra"),
    ("both", "verify")])
@pytest.mark.parametrize("ours", ["ingress", "egress"])
def test_an_invalid_combination_with_upstream_fails_closed(meet, service, connect, lab, version, mode, ours, near,
                                                           far):
    names = {"no_ra": (), "verify": ("verify",), "both": ("attest", "verify")}
    members = MODELS["background"](lab)
    near_end, far_end = meet(ours, service.port, mode, {n: members[n] for n in names[near]},
                             {n: members[n] for n in names[far]})
    mine = near_end if ours == "ingress" else far_end

    client = connect(near_end.port)
    client.sendall(b"secret")
    hangs = []
    if ours == "egress" and near == "no_ra":
        hangs = ["raw"]
    elif ours == "egress" and (near, far) == ("verify", "both"):
        hangs = ["raw", "mux"]
    assert_application_is_closed(client, mine, version, mode, hangs)
    if mode == "raw" and far in ("no_ra", "verify") and near != "no_ra":
        assert_service_got_nothing(service, version, ours)
    assert not service.has_connection()


def test_a_refused_upstream_stays_refused(meet, service, connect, lab, version, mode):
    """2.12.0 keeps tickets and comes back with them; ours gives none and would take none."""
    lab.fault("wrong_measurement", "aa")
    near_end, far_end = meet("egress", service.port, mode, {"attest": lab.attest()}, {"verify": lab.verify()})

    for i in range(4):
        client = connect(near_end.port)
        client.sendall(b"secret")
        assert far_end.wait_flow(i + 1).reason == "token_status"
        if (version, mode) != ("2.8.0", "raw"):
            expect_closed(client)
    assert not service.has_connection()
    assert far_end.counters()["handshakes"] == 0


def test_each_connection_of_upstream_is_a_full_handshake(meet, echo, lab, version):
    near_end, far_end = meet("egress", echo.port, "raw", {"attest": lab.attest()}, {"verify": lab.verify()})
    for i in range(4):
        assert ask(near_end.port) == b"hello"
        assert far_end.wait_flow(i + 1).tee == "sample"
    assert far_end.counters()["handshakes"] == 4


def test_tickets_of_upstream_are_not_used(meet, echo, lab, version, mode):
    near_end, _ = meet("ingress", echo.port, mode, {"verify": lab.verify(verdict_max_age=1)}, {"attest": lab.attest()})
    assert ask(near_end.port) == b"hello"

    lab.fault("refuse", "as_rest", call="token")
    until("the verdict has run out", lambda: ask(near_end.port) == b"")
    for _ in range(3):
        assert ask(near_end.port) == b""
