"""Verdicts: asked for once, believed for a while, refusals never remembered."""
import pytest

from harness import ports, racert, tls
from harness.gateway import entry
from harness.services import ask, expect_closed, receive
from harness.wait import until


def attested_pair(pair, to, lab, mode, near_top=None, **verify):
    return pair(to, mode, near={"verify": lab.verify(**verify)}, far={"attest": lab.attest()}, near_top=near_top)


@pytest.mark.parametrize("count", [200, pytest.param(1000, marks=pytest.mark.slow)])
def test_first_connections_in_parallel_cause_one_call(pair, event_echo, connect, lab, mode, count):
    lab.fault("hold", "as_rest", call="token")
    near, far = attested_pair(pair, event_echo.port, lab, mode)

    clients = [connect(near.port) for _ in range(count)]
    for client in clients:
        client.sendall(b"hello")
    lab.wait_waiting("as_rest")
    if mode == "raw":
        until("all handshakes are over but for the verdict", lambda: far.counters()["handshakes"] == count, 60)
    assert lab.verifications() == 1

    lab.release()
    for client in clients:
        client.settimeout(30)
        assert receive(client, 5) == b"hello"
    assert lab.verifications() == 1


@pytest.mark.parametrize("verifier", ["ingress", "egress"])
def test_later_connections_ask_nobody(pair, echo, lab, mode, verifier):
    verify, attest = {"verify": lab.verify()}, {"attest": lab.attest()}
    near, far = pair(echo.port, mode, near=verify if verifier == "ingress" else attest,
                     far=attest if verifier == "ingress" else verify)
    for _ in range(5):
        assert ask(near.port) == b"hello"
    assert lab.verifications() == 1

    lab.fault("down", "as_rest")
    assert ask(near.port) == b"hello"


@pytest.mark.parametrize("verifier", ["ingress", "egress"])
@pytest.mark.parametrize("fault", ["refuse", "wrong_measurement"])
def test_new_connections_are_refused_when_the_verdict_has_run_out(pair, echo, connect, lab, mode, verifier, fault):
    """Without a restart, and on a multiplexed session that stays open because something still runs on it."""
    verify, attest = {"verify": lab.verify(verdict_max_age=1)}, {"attest": lab.attest()}
    near, far = pair(echo.port, mode, near=verify if verifier == "ingress" else attest,
                     far=attest if verifier == "ingress" else verify)
    judge = near if verifier == "ingress" else far
    running = connect(near.port)
    running.sendall(b"x")
    assert receive(running, 1) == b"x"

    lab.fault(fault, "as_rest", call="token")
    until("new connections are refused", lambda: ask(near.port) == b"", 5)
    for _ in range(3):
        assert ask(near.port) == b""
    refused = {"refuse": "as_refused", "wrong_measurement": "token_status"}[fault]
    assert refused in {f.reason for f in judge.flows()}

    lab.heal("as_rest")
    assert ask(near.port) == b"hello", "a refusal was remembered"


def test_a_multiplexed_session_is_judged_again_while_it_is_used(pair, echo, connect, lab):
    near, far = attested_pair(pair, echo.port, lab, "mux", near_top={"workers": 1}, verdict_max_age=1)
    running = connect(near.port)
    running.sendall(b"x")
    assert receive(running, 1) == b"x"
    assert lab.verifications() == 1

    until("another look at the same certificate",
          lambda: ask(near.port) == b"hello" and lab.verifications() == 2, 5)
    assert far.counters()["handshakes"] == 1, "the session stays"


def test_a_verdict_does_not_outlive_the_token(pair, echo, start_lab):
    lab = start_lab("--lifetime", "2")
    near, _ = attested_pair(pair, echo.port, lab, "raw")
    assert ask(near.port) == b"hello"
    until("the service is asked again", lambda: ask(near.port) == b"hello" and lab.verifications() > 1, 70)


def test_max_age_0_asks_for_every_connection(pair, echo, lab):
    near, _ = attested_pair(pair, echo.port, lab, "raw", verdict_max_age=0)
    for _ in range(3):
        assert ask(near.port) == b"hello"
    assert lab.verifications() == 3


def test_another_policy_does_not_profit(tng, egress, echo, start_lab):
    """Two entries of one process, the same peer, other demands."""
    lab = start_lab("--policy-ids", "strict", "--token", "simple")
    far = egress(echo.port, attest=lab.attest())
    listen = [ports.free_port() for _ in range(3)]
    tng(add_ingress=[entry(listen[0], far.port, verify=lab.verify()),
                     entry(listen[1], far.port, verify=lab.verify(policy_ids=["default", "strict"])),
                     entry(listen[2], far.port, verify=lab.verify(policy_ids=["nobody"]))])

    for port in (listen[0], listen[0], listen[1], listen[1]):
        assert ask(port) == b"hello"
    assert lab.verifications() == 2
    assert ask(listen[2]) == b""


def test_another_key_does_not_profit(egress, echo, lab, tmp_path):
    """The same evidence in another certificate."""
    far = egress(echo.port, verify=lab.verify())
    for i in range(2):
        with tls.dial(far.port, tls.client_side(tls.RAW, racert.make(tmp_path, name=f"peer{i}"))) as conn:
            conn.sendall(b"hello")
            assert receive(conn, 5) == b"hello"
    assert lab.verifications() == 2


def test_refusals_are_not_remembered(pair, echo, connect, lab, mode):
    lab.fault("refuse", "as_rest", call="token")
    near, _ = attested_pair(pair, echo.port, lab, mode)
    for i in range(3):
        expect_closed(connect(near.port))
        assert near.wait_flow(i + 1).reason == "as_refused"
    assert lab.verifications() == 3
    lab.heal("as_rest")
    assert ask(near.port) == b"hello"
