"""Starting, draining, stopping; the log."""
import json
import re
import signal
import time

import pytest

from harness import ports
from harness.gateway import entry, run_launch
from harness.services import ask, expect_closed, expect_reset, is_quiet, receive
from harness.wait import listening_ports, until


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_gateway_with_nothing_to_do_stops_at_once(ingress, number):
    near = ingress(9)
    began = time.monotonic()
    assert near.stop(number) == 0
    assert time.monotonic() - began < 2
    assert near.has_line("stopped")


def test_open_connections_may_end_in_their_own_time(pair, service, both_ends, mode):
    near, far = pair(service.port, mode)
    client, served = both_ends(near)
    client.sendall(b"before")
    assert receive(served, 6) == b"before"

    for gateway in (near, far):
        gateway.send_signal(signal.SIGTERM)
        gateway.wait_line("SIGTERM: no new connections")
        until("it listens no more", lambda: gateway.port not in listening_ports())
    served.sendall(b"during")
    assert receive(client, 6) == b"during"
    client.close()
    served.close()
    assert near.wait(5) == far.wait(5) == 0
    assert near.wait_flow().reason == far.wait_flow().reason == "done"


@pytest.mark.parametrize("stopped", ["ingress", "egress"])
def test_what_is_left_at_the_deadline_is_reset(pair, service, both_ends, mode, stopped):
    near, far = pair(service.port, mode, top={"drain_timeout": 1})
    client, served = both_ends(near)
    client.sendall(b"x")
    assert receive(served, 1) == b"x"
    gateway = near if stopped == "ingress" else far

    began = time.monotonic()
    gateway.send_signal(signal.SIGTERM)
    assert is_quiet(client, 0.5)
    expect_reset(client)
    expect_reset(served)
    assert gateway.wait(5) == 0
    assert 0.8 < time.monotonic() - began < 4
    assert gateway.wait_flow().reason == "shutdown"


@pytest.mark.parametrize("number,code", [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_second_signal_ends_it_at_once(pair, service, both_ends, number, code):
    near, _ = pair(service.port, top={"drain_timeout": 60})
    client, served = both_ends(near)
    client.sendall(b"x")
    assert receive(served, 1) == b"x"

    near.send_signal(number)
    near.wait_line("no new connections")
    assert near.stop(number, deadline=5) == code


def test_a_connection_in_the_middle_of_its_verdict_does_not_hold_up_the_end(pair, service, connect, lab, mode):
    lab.fault("hold", "as_rest", call="token")
    near, _ = pair(service.port, mode, near={"verify": lab.verify()}, far={"attest": lab.attest()},
                   top={"drain_timeout": 1})
    client = connect(near.port)
    lab.wait_waiting("as_rest")
    near.send_signal(signal.SIGTERM)
    assert near.wait(10) == 0
    expect_closed(client)


def test_the_death_of_one_side_is_a_reset_for_the_applications(pair, service, both_ends, mode):
    near, far = pair(service.port, mode)
    client, served = both_ends(near)
    client.sendall(b"x")
    assert receive(served, 1) == b"x"

    far.kill()
    expect_reset(client)
    assert near.wait_flow().reason in ("tunnel_reset", "tunnel_truncated")


def test_the_death_of_the_ingress_is_a_reset_for_the_service(pair, service, both_ends, mode):
    near, far = pair(service.port, mode)
    client, served = both_ends(near)
    client.sendall(b"x")
    assert receive(served, 1) == b"x"

    near.kill()
    expect_reset(served)
    assert far.wait_flow().reason in ("tunnel_reset", "tunnel_truncated")


def test_a_restarted_egress_is_found_again(pair, egress, echo, mode):
    near, far = pair(echo.port, mode)
    assert ask(near.port) == b"hello"
    assert far.stop() == 0
    assert ask(near.port) == b""
    egress(echo.port, listen=far.port)
    until("it carries again", lambda: ask(near.port) == b"hello", 5)


def test_counters_tell_what_happened(pair, echo, mode):
    near, far = pair(echo.port, mode)
    for _ in range(3):
        assert ask(near.port, b"12345") == b"12345"
    near.wait_flow(3)
    until("the last flow is gone", lambda: near.counters()["flows_active"] == 0)
    counters = near.counters()
    assert counters["flows_total"] == 3
    assert counters["end_done"] == 3
    assert counters["bytes_to_far"] == counters["bytes_to_near"] == 15
    assert far.counters()["flows_total"] == 3


# ---- the log ----

def test_each_event_is_one_line_with_time_and_level(pair, echo):
    near, _ = pair(echo.port)
    ask(near.port)
    near.wait_flow()
    for line in near.lines:
        assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z +(ERROR|WARN|INFO|DEBUG|TRACE) ", line), line


def test_the_log_as_json(tng, echo, ingress, tmp_path):
    near = ingress(echo.port, env={"TNG_LOG_FORMAT": "json"}, wait=None)
    near.wait_line("ready: ")
    assert near.stop() == 0
    for line in near.lines:
        record = json.loads(line)
        assert record["level"] in ("ERROR", "WARN", "INFO")
        assert record["fields"]["message"]
        assert record["timestamp"].endswith("Z")


def test_the_log_in_a_file_with_errors_apart(tng, tmp_path):
    log, errors = tmp_path / "tng.log", tmp_path / "errors.log"
    made = entry(ports.free_port(), ports.free_port(), attest={"aa_addr": f"unix://{tmp_path}/nobody"})
    gateway = tng(add_ingress=[made], wait=None, args=("--log-file", str(log), "--log-error-file", str(errors)))
    until("it is ready", lambda: log.exists() and "ready" in log.read_text())
    until("it misses its agent", lambda: "no evidence" in errors.read_text())
    assert gateway.stop() == 0
    assert " ERROR " not in log.read_text()
    assert not gateway.lines


def test_the_level_of_the_log(ingress):
    quiet = ingress(9, env={"TNG_LOG": "error"}, wait=None)
    until("it listens", lambda: quiet.port in listening_ports())
    assert quiet.stop() == 0
    assert not quiet.lines
    loud = ingress(9, env={"RUST_LOG": "nonsense=loud"}, wait=None)
    loud.wait_line("ready: ")
    assert loud.has_line(r"WARN .*(RUST_LOG|nonsense)")


# ---- libraries that are loaded when they are needed ----

def shadowed(folder, library):
    """An environment in which a library cannot be loaded."""
    (folder / library).write_bytes(b"")
    return {"LD_LIBRARY_PATH": str(folder)}


ASKS = {"as_addr": "http://127.0.0.1:9/", "policy_ids": ["default"]}


def test_without_libcurl_a_gateway_that_asks_nobody_starts(tmp_path, ingress):
    near = ingress(9, env=shadowed(tmp_path, "libcurl.so.4"))
    assert near.stop() == 0


def test_without_libcurl_a_gateway_that_asks_a_service_does_not_start(tmp_path):
    config = {"add_ingress": [entry(ports.free_port(), 9, verify=ASKS)]}
    done = run_launch(config, env=shadowed(tmp_path, "libcurl.so.4"))
    assert done.returncode == 1
    assert "add_ingress[0].verify: attestation services are asked by libcurl, which cannot be loaded" in done.stderr
    assert "libcurl4" in done.stderr, "what to do"
