"""`tng lab` by itself: that it is what real agents and services were measured to be, and its faults."""
import base64
import hashlib
import http.client
import json
import shutil
import signal
import socket
import stat
import struct
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from harness import ttrpc
from harness.gateway import BINARY
from harness.lab import Lab
from harness.process import Process
from harness.wait import DEADLINE, until

VECTORS = Path(__file__).resolve().parents[1] / "vectors"
RUNTIME = {"pubkey-hash": "ggFYIFzSUvsM6JMkNvr4zNEECYG4nuSta5/p4qK35xqssnzT"}
PROBLEM = "application/problem+json"


def canonical(value):
    return json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode()


def digest(runtime=None, name="sha384"):
    return hashlib.new(name, canonical(runtime or RUNTIME)).digest()


def b64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def evidence_of(report_data, **changes):
    made = {"cc_eventlog": None, "measure_register": "0" * 64,
            "report_data": base64.b64encode(report_data).decode(), "svn": "1", **changes}
    return json.dumps({k: v for k, v in made.items() if v is not ...}).encode()


def claims_of(jwt):
    middle = jwt.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(middle + "=" * (-len(middle) % 4)))


def header_of(jwt):
    first = jwt.split(".")[0]
    return json.loads(base64.urlsafe_b64decode(first + "=" * (-len(first) % 4)))


class Rest:
    """One connection to an HTTP server of the lab."""

    def __init__(self, url):
        self.port = urlsplit(url).port
        self.conn = http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE)

    def ask(self, method, path, body=None, **headers):
        self.conn.request(method, path, body, {k.replace("_", "-"): v for k, v in headers.items()})
        answer = self.conn.getresponse()
        answer.text = answer.read().decode("utf-8", "replace")
        return answer

    def post(self, path, value, **headers):
        body = value if isinstance(value, (bytes, str)) else json.dumps(value)
        return self.ask("POST", path, body, **{"Content-Type": "application/json", **headers})

    def attest(self, runtime=None, evidence=None, policy_ids=("default",), **changes):
        return self.post("/attestation", body_v1_6_0(runtime, evidence, policy_ids, **changes))

    def close(self):
        self.conn.close()


def entry_of(runtime=None, evidence=None, **changes):
    runtime = runtime or RUNTIME
    return {"tee": "sample", "evidence": b64url(evidence or evidence_of(digest(runtime))),
            "runtime_data": {"structured": runtime}, "init_data": None,
            "runtime_data_hash_algorithm": "sha384", **changes}


def body_v1_6_0(runtime=None, evidence=None, policy_ids=("default",), **changes):
    return {"verification_requests": [entry_of(runtime, evidence, **changes)], "policy_ids": list(policy_ids)}


def body_v1_5_2(runtime=None, policy_ids=("default",)):
    return {**entry_of(runtime), "init_data_hash_algorithm": None, "policy_ids": list(policy_ids)}


@pytest.fixture
def short_path():
    """A folder whose path leaves room for those of sockets."""
    folder = Path(tempfile.mkdtemp(prefix="tng-"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def rest(lab, stack):
    client = Rest(lab.rest)
    return stack.add(client, client.close)


@pytest.fixture
def agent(lab, stack):
    client = ttrpc.Agent(lab.aa)
    return stack.add(client, client.socket.close)


# ---- the process ----

def test_the_ready_line_names_everything_and_the_end_removes_everything(short_path):
    folder = short_path / "new"
    lab = Lab(folder, "--policy-ids", "a,b")
    assert lab.addresses["aa"] == f"unix://{folder}/aa.sock"
    assert lab.addresses["ca"] == f"{folder}/ca.pem"
    assert lab.addresses["policy_ids"] == ["default", "a", "b"]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert "BEGIN CERTIFICATE" in Path(lab.ca).read_text(encoding="ascii")
    lab.finish()
    assert not folder.exists()


def test_a_folder_that_was_there_stays_and_is_left_as_it_was(short_path):
    (short_path / "mine").write_text("x", encoding="ascii")
    lab = Lab(short_path)
    assert {p.name for p in short_path.iterdir()} == {"mine", "lock", "aa.sock", "ca.pem", "control.sock"}
    lab.finish()
    assert [p.name for p in short_path.iterdir()] == ["mine"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_0(short_path, number):
    lab = Lab(short_path / "l")
    assert lab.stop(number) == 0


def test_stop_ends_it_with_0(short_path):
    lab = Lab(short_path / "l")
    lab.command("stop")
    assert lab.wait() == 0
    assert not (short_path / "l").exists()


def test_a_second_lab_in_the_same_folder_is_refused(lab):
    second = subprocess.run([BINARY, "lab", "--dir", str(Path(lab.ca).parent)], capture_output=True, text=True,
                            timeout=DEADLINE, check=False)
    assert second.returncode == 1
    assert "another lab is running here" in second.stderr
    lab.stats("aa")  # the first did not mind


def test_sockets_of_a_lab_that_was_killed_are_replaced(short_path):
    folder = short_path / "l"
    first = Lab(folder)
    first.kill()
    assert (folder / "aa.sock").exists()
    second = Lab(folder)
    with ttrpc.Agent(second.aa) as agent:
        assert agent.call("GetTeeType").value == b"sample"
    second.finish()
    assert not folder.exists()


def test_ports_can_be_chosen_and_a_port_that_is_taken_is_an_error(short_path, lab):
    port = urlsplit(lab.rest).port
    taken = subprocess.run([BINARY, "lab", "--dir", str(short_path / "other"), "--as-rest", str(port)],
                           capture_output=True, text=True, timeout=DEADLINE, check=False)
    assert taken.returncode == 1
    assert f"bind 127.0.0.1:{port}" in taken.stderr
    assert not (short_path / "other").exists()
    lab.finish()
    again = Lab(short_path / "again", "--as-rest", str(port))
    assert urlsplit(again.rest).port == port
    again.finish()


@pytest.mark.parametrize("args", [[], ["--dir"], ["--dir", "x", "y"], ["--dir", "x", "--token", "jwt"],
                                  ["--dir", "x", "--asr", "65536"], ["--dir", "x", "--lifetime", "0"],
                                  ["--dir", "x", "--policy-ids", "a,,b"], ["--dir", "x", "--measurement", "00"],
                                  ["ctl", "--dir", "x"]])
def test_a_wrong_command_line_is_2(args, tmp_path):
    done = subprocess.run([BINARY, "lab", *args], capture_output=True, cwd=tmp_path, timeout=DEADLINE, check=False)
    assert done.returncode == 2
    assert done.stderr
    assert not list(tmp_path.iterdir())


def test_faults_to_begin_with(start_lab):
    lab = start_lab("--faults", '[{"target":"as_rest","kind":"no_certificate"},{"target":"aa","kind":"device"}]')
    assert Rest(lab.rest).ask("GET", "/certificate").status == 404
    with ttrpc.Agent(lab.aa) as agent:
        assert agent.call("GetAdditionalEvidence").code == 0


def test_faults_that_are_none_are_refused_at_start(short_path):
    done = subprocess.run([BINARY, "lab", "--dir", str(short_path / "l"), "--faults", '[{"kind":"x"}]'],
                          capture_output=True, text=True, timeout=DEADLINE, check=False)
    assert done.returncode == 1
    assert "--faults[0]: kind" in done.stderr


# ---- the control socket ----

def ctl(lab, command):
    return subprocess.run([BINARY, "lab", "ctl", "--dir", str(Path(lab.ca).parent), command], capture_output=True,
                          text=True, timeout=DEADLINE, check=False)


def test_ctl_is_a_client_of_the_control_socket(lab):
    done = ctl(lab, '{"cmd":"stats"}')
    assert done.returncode == 0
    assert json.loads(done.stdout)["aa"]["calls"] == {}
    done = ctl(lab, '{"cmd":"fault","target":"aa","kind":"expired"}')
    assert done.returncode == 1
    assert json.loads(done.stdout) == {"ok": False, "error": "expired: not for target aa"}


def test_ctl_without_a_lab_says_so(tmp_path):
    done = subprocess.run([BINARY, "lab", "ctl", "--dir", str(tmp_path), "{}"], capture_output=True, text=True,
                          timeout=DEADLINE, check=False)
    assert done.returncode == 1
    assert "no lab answers" in done.stderr


@pytest.mark.parametrize("line, error", [(b"{}", "cmd: expected"), (b"", "line 1"), (b"[]", "cmd: expected"),
                                         (b'{"cmd":"fault"}', "kind"), (b'{"cmd":"release","target":1}', "target")])
def test_what_is_no_command_is_answered_with_an_error(lab, line, error):
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(DEADLINE)
        s.connect(lab.addresses["control"])
        s.sendall(line + b"\n" + b'{"cmd":"stats"}\n')
        answers = s.makefile("r", encoding="utf-8")
        first, second = json.loads(answers.readline()), json.loads(answers.readline())
    assert first["ok"] is False and error in first["error"]
    assert second["ok"] is True


def test_a_line_without_end_is_cut_off(lab):
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(DEADLINE)
        s.connect(lab.addresses["control"])
        s.sendall(b"x" * (65 << 10))
        answer = s.makefile("r", encoding="utf-8").readline()
    assert "too long" in json.loads(answer)["error"]


def test_counters_tell_what_was_asked_and_reset_forgets(lab, rest, agent):
    agent.call("GetEvidence", b"x")
    agent.call("GetEvidence", b"y")
    agent.call("GetTeeType")
    rest.attest(policy_ids=["default"])
    rest.ask("GET", "/certificate")
    assert lab.stats("aa")["calls"] == {"GetEvidence": 2, "GetTeeType": 1}
    stats = lab.stats("as_rest")
    assert stats["calls"] == {"attestation": 1, "certificate": 1}
    assert (stats["last_tee"], stats["last_layout"], stats["last_policies"]) == ("sample", "v1_6_0", ["default"])
    assert stats["last_headers"]["content-type"] == "application/json"
    assert stats["issued"] == 1
    lab.command("reset")
    assert lab.stats("as_rest")["calls"] == {}
    assert lab.stats("as_rest")["last_tee"] is None


# ---- the agent ----

def test_evidence_is_the_worked_one_byte_for_byte(agent):
    answer = agent.call("GetEvidence", digest())
    assert answer.value == json.dumps(json.loads(evidence_of(digest())), separators=(",", ":")).encode()
    assert len(answer.value) == 197
    assert len(answer.raw) == 215
    assert answer.raw[10:12] == b"\x0a\x00"  # a status that is there and empty


def test_the_tee_is_sample(agent):
    assert agent.call("GetTeeType").raw == bytes.fromhex("0000000c00000001" "0200" "0a00" "12080a06") + b"sample"


def test_additional_evidence_is_unimplemented_or_that_of_a_device(lab, agent):
    answer = agent.call("GetAdditionalEvidence")
    assert (answer.code, answer.message) == (12, "GetAdditionalEvidence method")
    assert len(answer.raw) == 44
    lab.fault("device", "aa")
    assert agent.call("GetAdditionalEvidence").value == b'{"sampledevice":{"report_data":"","svn":"2"}}'


@pytest.mark.parametrize("payload, code, message", [
    (ttrpc.request("GetEvidence", service="x.Y"), 3, "x.Y service does not exist"),
    (ttrpc.request("Frobnicate"), 12, "Frobnicate method"),
    (ttrpc.request("BindInitData"), 5, f"/{ttrpc.SERVICE}/BindInitData is not supported"),
    (b"\x0a\x50", 3, "Unexpected EOF"),
    (ttrpc.field(1, ttrpc.SERVICE) + ttrpc.field(2, "GetEvidence") + ttrpc.field(3, b"\x0a\x50"), 2,
     "ttrpc err: Unexpected EOF"),
])
def test_wrong_requests_fail_and_the_connection_goes_on(agent, payload, code, message):
    agent.send(payload)
    answer = agent.answer()
    assert (answer.code, answer.message) == (code, message)
    assert agent.call("GetTeeType").value == b"sample"


def test_frames_that_are_no_requests(agent):
    request = ttrpc.request("GetTeeType")
    agent.socket.sendall(ttrpc.frame(2, request))
    answer = agent.answer()
    assert (answer.stream, answer.code, answer.message) == (2, 3, "stream id must be odd")
    agent.socket.sendall(ttrpc.frame(1, request, kind=ttrpc.RESPONSE))  # ignored
    agent.socket.sendall(ttrpc.frame(3, request, kind=ttrpc.DATA))
    answer = agent.answer()
    assert (answer.stream, answer.code, answer.message) == (3, 3, "Stream is no longer active")
    agent.socket.sendall(ttrpc.frame(7, request, flags=7) + ttrpc.frame(5, request))  # flags; ids need not grow
    assert {agent.answer().stream, agent.answer().stream} == {7, 5}


def test_a_frame_over_4_mib_is_read_and_refused(agent):
    size = (4 << 20) + 1
    agent.socket.sendall(struct.pack(">IIBB", size, 1, 1, 0) + b"x" * size)
    answer = agent.answer()
    assert (answer.code, answer.message) == (3, f"message length {size} exceed maximum message size of 4194304")
    assert agent.call("GetTeeType").value == b"sample"


def test_an_answer_over_4_mib_is_refused_and_one_below_is_not(lab, agent):
    lab.fault("evidence_size", "aa", bytes=4 << 20)
    answer = agent.call("GetEvidence", b"x")
    assert answer.code == 3
    assert answer.message.startswith("message length 4194") and answer.message.endswith("size of 4194304")
    lab.fault("evidence_size", "aa", bytes=1 << 20)
    assert len(json.loads(agent.call("GetEvidence", b"x").value)["pad"]) == 1 << 20


def test_calls_run_side_by_side_and_end_with_their_timeout(lab, agent):
    lab.fault("hold", "aa", call="evidence", count=1)
    held = agent.start("GetEvidence", b"x", timeout_s=0.3)
    assert agent.call("GetTeeType").value == b"sample"
    answer = agent.answer()
    assert (answer.stream, answer.code, answer.message) == (held, 4, "timeout")


def test_a_client_that_half_closes_still_gets_its_answers(lab, agent):
    lab.fault("slow", "aa", ms=100)
    streams = {agent.start("GetTeeType"), agent.start("GetEvidence", b"x")}
    agent.socket.shutdown(socket.SHUT_WR)
    assert {agent.answer().stream, agent.answer().stream} == streams
    with pytest.raises(EOFError):
        agent.answer()


def test_many_connections_at_once(lab):
    agents = [ttrpc.Agent(lab.aa) for _ in range(300)]
    for a in agents:
        a.start("GetEvidence", b"x")
    assert all(a.answer().code == 0 for a in agents)
    assert lab.stats("aa")["open"] == 300
    for a in agents:
        a.socket.close()
    until("all are gone", lambda: lab.stats("aa")["open"] == 0)


@pytest.mark.parametrize("kind, method, text", [
    ("refuse", "GetEvidence", "[ERROR:attestation-agent] AA-KBC get evidence failed"),
    ("refuse", "GetTeeType", "[ERROR:attestation-agent] AA-KBC get tee type failed")])
def test_a_refusing_agent(lab, agent, kind, method, text):
    lab.fault(kind, "aa")
    answer = agent.call(method)
    assert (answer.code, answer.message) == (13, text)
    lab.heal()
    assert agent.call(method).code == 0


def test_an_agent_that_is_cut_off_in_the_middle(lab, agent):
    lab.fault("truncated", "aa")
    agent.start("GetEvidence", b"x")
    with pytest.raises(EOFError) as end:
        agent.answer()
    assert 0 < len(end.value.args[0]) < 100


def test_an_agent_that_says_too_much(lab, agent):
    lab.fault("huge", "aa", bytes=5 << 20)
    agent.start("GetEvidence", b"x")
    assert len(agent.receive(10 + (5 << 20))) == 10 + (5 << 20)


def test_garbage_of_an_agent_is_a_frame_that_cannot_be_decoded(lab, agent):
    lab.fault("garbage", "aa")
    agent.start("GetEvidence", b"x")
    with pytest.raises((AssertionError, IndexError)):
        agent.answer()


def test_an_agent_that_is_down_and_comes_back(lab, agent):
    lab.fault("down", "aa")
    with pytest.raises(EOFError):
        agent.answer()
    assert not Path(lab.aa.removeprefix("unix://")).exists()
    with pytest.raises(OSError):
        ttrpc.Agent(lab.aa)
    lab.heal("aa")
    with ttrpc.Agent(lab.aa) as again:
        assert again.call("GetTeeType").value == b"sample"


def test_hang_is_given_up_when_the_client_goes(lab, agent):
    lab.fault("hang", "aa")
    agent.start("GetEvidence", b"x", timeout_s=0.05)
    lab.wait_waiting("aa")
    time.sleep(0.2)  # no answer, not even that of the time limit
    agent.socket.setblocking(False)
    with pytest.raises(BlockingIOError):
        agent.socket.recv(1)
    agent.socket.close()
    until("nothing waits", lambda: lab.stats("aa")["waiting"] == 0)


# ---- the API server ----

def test_the_api_server_gives_what_the_agent_gives(lab):
    asr = Rest(lab.asr)
    assert json.loads(asr.ask("GET", "/info").text)["tee"] == "sample"
    path = f"/aa/evidence?runtime_data={b64url(digest())}&encoding=base64"
    answer = asr.ask("GET", path)
    assert (answer.status, answer.getheader("content-type")) == (200, "application/octet-stream")
    with ttrpc.Agent(lab.aa) as agent:
        assert answer.text.encode() == agent.call("GetEvidence", digest()).value
    answer = asr.ask("GET", "/aa/additional-evidence?runtime_data=&encoding=base64")
    assert (answer.status, answer.text) == (200, "")
    lab.fault("device", "asr")
    answer = asr.ask("GET", "/aa/additional-evidence?runtime_data=&encoding=base64")
    assert answer.text == '{"sampledevice":{"report_data":"","svn":"2"}}'


@pytest.mark.parametrize("method, path, status, text", [
    ("GET", "/aa/evidence", 400, "BAD REQUEST"),
    ("GET", "/aa/evidence?encoding=base64", 400, "BAD REQUEST"),
    ("GET", "/aa/evidence?runtime_data=YQ&encoding=hex", 400, "BAD REQUEST"),
    ("GET", "/aa/evidence?runtime_data=YQ&nonce=1", 400, "BAD REQUEST"),
    ("GET", "/aa/evidence?runtime_data=YQ==&encoding=base64", 400, "BAD REQUEST"),
    ("GET", "/aa/evidence?runtime_data=a/b+&encoding=base64", 400, "BAD REQUEST"),
    ("GET", "/aa/evidence/", 404, "URL NOT FOUND"),
    ("GET", "/elsewhere", 404, ""),
    ("POST", "/aa/evidence?runtime_data=YQ", 405, "Method Not Allowed"),
])
def test_what_the_api_server_refuses(lab, method, path, status, text):
    answer = Rest(lab.asr).ask(method, path)
    assert (answer.status, answer.text, answer.getheader("content-type")) == (status, text, None)


def test_values_of_the_query_raw_repeated_and_percent_encoded(lab):
    asr = Rest(lab.asr)
    for query, value in [("runtime_data=abc", b"abc"), ("runtime_data=a%2Fb%20c+d", b"a/b c d"),
                         ("runtime_data=x&runtime_data=YWJj&encoding=base64", b"abc"), ("runtime_data=", b"")]:
        shown = json.loads(asr.ask("GET", "/aa/evidence?" + query).text)["report_data"]
        assert base64.b64decode(shown) == value


def test_a_failure_of_the_api_server_is_a_500(lab):
    lab.fault("refuse", "asr")
    answer = Rest(lab.asr).ask("GET", "/aa/evidence?runtime_data=YQ")
    assert answer.status == 500 and "code: INTERNAL" in answer.text


# ---- the service over HTTP ----

def test_an_ear_token(rest):
    answer = rest.attest()
    assert answer.status == 200
    assert answer.getheader("content-type") is None
    assert header_of(answer.text)["alg"] == "ES256"
    claims = claims_of(answer.text)
    submod = claims["submods"]["cpu0"]
    assert submod["ear.status"] == "affirming"
    assert submod["ear.appraisal-policy-id"] == "default"
    assert submod["ear.veraison.annotated-evidence"]["runtime_data_claims"] == RUNTIME
    assert claims["exp"] - claims["iat"] == 300


def test_a_simple_token(start_lab):
    lab = start_lab("--token", "simple", "--policy-ids", "other", "--lifetime", "7")
    answer = Rest(lab.rest).attest(policy_ids=["default", "other"])
    assert answer.status == 200
    assert header_of(answer.text)["alg"] == "RS384"
    claims = claims_of(answer.text)
    assert {r["policy-id"] for r in claims["evaluation-reports"]} == {"default", "other"}
    assert claims["customized_claims"]["runtime_data"] == RUNTIME
    assert json.loads(claims["tcb-status"])["sample.svn"] == "1"
    assert claims["exp"] - claims["iat"] == 7


def test_form_and_lifetime_can_be_changed(lab, rest):
    lab.command("set", token="simple", lifetime=9)
    answer = rest.attest()
    assert header_of(answer.text)["alg"] == "RS384"
    assert claims_of(answer.text)["exp"] - claims_of(answer.text)["iat"] == 9


def test_evidence_of_the_agent_is_accepted(agent, rest):
    assert rest.attest(evidence=agent.call("GetEvidence", digest()).value).status == 200


def test_devices_get_a_submod_of_their_own(rest):
    body = body_v1_6_0()
    body["verification_requests"].append({"tee": "sampledevice", "evidence": b64url(b'{"report_data":"","svn":"2"}'),
                                          "runtime_data": None, "init_data": None,
                                          "runtime_data_hash_algorithm": None})
    answer = rest.post("/attestation", body)
    assert answer.status == 200
    assert claims_of(answer.text)["submods"]["gpu0"]["ear.veraison.annotated-evidence"] == \
        {"sampledevice": {"svn": "2"}}


@pytest.mark.parametrize("changes, status, code, field", [
    ({"evidence": "e30="}, 400, "AS.EVIDENCE.INVALID_ENCODING", "verification_requests[0].evidence"),
    ({"evidence": b64url(b"{")}, 400, "AS.EVIDENCE.INVALID_FORMAT", "verification_requests[0].evidence"),
    ({"tee": "Sample"}, 400, "AS.REQUEST.UNSUPPORTED_TEE", "verification_requests[0].tee"),
    ({"runtime_data_hash_algorithm": ""}, 400, "AS.REQUEST.INVALID_ARGUMENT",
     "verification_requests[0].runtime_data_hash_algorithm"),
    ({"runtime_data": {"structured": {"pubkey-hash": "x"}}}, 500, "AS.INTERNAL.ERROR", None),
    ({"runtime_data": {"structured": {"challenge_token": "dummy nonce"}}}, 401, "AS.CHALLENGE.INVALID_TOKEN",
     "verification_requests[0].runtime_data.challenge_token"),
    ({"evidence": b64url(evidence_of(digest(), measure_register=...))}, 500, "AS.INTERNAL.ERROR", None),
    ({"runtime_data": {"raw": b64url(b"x")}}, 500, "AS.INTERNAL.ERROR", None),
    ({"tee": ...}, 400, "AS.REQUEST.INVALID_JSON", "body"),
    ({"runtime_data": {"other": 1}}, 400, "AS.REQUEST.INVALID_JSON", "body"),
])
def test_refusals_are_problem_documents(rest, changes, status, code, field):
    entry = {name: value for name, value in {**entry_of(), **changes}.items() if value is not ...}
    body = {"verification_requests": [entry], "policy_ids": ["default"]}
    answer = rest.post("/attestation", body)
    problem = json.loads(answer.text)
    assert (answer.status, answer.getheader("content-type")) == (status, PROBLEM)
    assert (problem["status"], problem["code"], problem.get("field")) == (status, code, field)
    assert rest.attest().status == 200  # on the same connection


def test_what_is_hashed(rest):
    for name in ("sha256", "SHA384", "sha512"):
        evidence = evidence_of(digest(name=name.lower()))
        assert rest.attest(evidence=evidence, runtime_data_hash_algorithm=name).status == 200
    assert rest.attest(runtime_data_hash_algorithm=None).status == 200
    assert rest.attest(evidence=evidence_of(b"as it is"), runtime_data={"raw": b64url(b"as it is")}).status == 200
    unordered = {"b": [1, {"z": None, "a": "ä/"}], "a": "\u20ac"}
    assert rest.attest(runtime=unordered).status == 200


def test_policies(lab, rest):
    assert rest.attest(policy_ids=[]).status == 200
    assert rest.attest(policy_ids=["unknown"]).status == 500
    assert rest.attest(policy_ids=["default", "unknown"]).status == 200  # EAR looks at the first only
    lab.command("set", token="simple")
    assert rest.attest(policy_ids=["default", "unknown"]).status == 500


def test_another_measurement(start_lab, lab, rest):
    odd = "ab" * 32
    answer = rest.attest(evidence=evidence_of(digest(), measure_register=odd))
    assert claims_of(answer.text)["submods"]["cpu0"]["ear.status"] == "contraindicated"
    lab.command("set", token="simple")
    assert rest.attest(evidence=evidence_of(digest(), measure_register=odd)).status == 500
    other = Rest(start_lab("--measurement", odd).rest)
    answer = other.attest(evidence=evidence_of(digest(), measure_register=odd))
    assert claims_of(answer.text)["submods"]["cpu0"]["ear.status"] == "affirming"


def test_challenges_are_issued_and_known_again(rest):
    answer = rest.post("/challenge", {})
    assert (answer.status, answer.getheader("content-type")) == (200, None)
    challenge = json.loads(answer.text)
    assert len(base64.b64decode(challenge["nonce"])) == 32
    jwt = challenge["extra-params"]["jwt"]
    assert claims_of(jwt)["exp"] - claims_of(jwt)["iat"] == 300
    assert rest.attest(runtime={"challenge_token": jwt}).status == 200
    assert rest.attest(runtime={"challenge_token": jwt}).status == 200  # not single-use
    assert rest.attest(runtime={"challenge_token": jwt[:-2]}).status == 401


def test_what_challenge_takes(rest):
    assert rest.post("/challenge", {"a": "b"}).status == 200
    tee = rest.post("/challenge", {"tee": "sample"})
    assert (tee.status, tee.text) == (200, "")
    for wrong in ({"tee": "unknown"}, {"a": 1}, [], ""):
        assert rest.post("/challenge", wrong).status == 400
    assert rest.ask("POST", "/challenge", "{}").status == 400


def test_the_certificate_is_the_signer_then_the_authority(lab, rest):
    answer = rest.ask("GET", "/certificate")
    assert (answer.status, answer.getheader("content-type")) == (200, "application/x-pem-file")
    assert answer.text.count("BEGIN CERTIFICATE") == 2
    assert answer.text.endswith(Path(lab.ca).read_text(encoding="ascii"))
    x5c = header_of(rest.attest().text)["jwk"]["x5c"]
    pem = "".join(answer.text.split("-----END")[0].splitlines()[1:])
    assert base64.b64decode(pem) == base64.urlsafe_b64decode(x5c[0] + "=" * (-len(x5c[0]) % 4))


@pytest.mark.parametrize("method, path, status, allow", [
    ("GET", "/attestation", 405, "POST"), ("POST", "/certificate", 405, "GET"), ("HEAD", "/certificate", 405, "GET"),
    ("POST", "/attestation/", 404, None), ("POST", "//attestation", 404, None), ("GET", "/", 404, None)])
def test_paths_and_methods(rest, method, path, status, allow):
    answer = rest.ask(method, path)
    assert (answer.status, answer.getheader("allow"), answer.text) == (status, allow, "")


def test_a_query_is_ignored_and_the_type_is_not(rest):
    assert rest.post("/attestation?x=y", body_v1_6_0()).status == 200
    typed = rest.post("/attestation", body_v1_6_0(), **{"Content-Type": "application/json; charset=utf-8"})
    assert typed.status == 200
    typed = rest.post("/attestation", body_v1_6_0(), **{"Content-Type": "text/plain"})
    assert json.loads(typed.text)["code"] == "AS.REQUEST.INVALID_JSON"
    assert rest.ask("POST", "/attestation", json.dumps(body_v1_6_0())).status == 400


def padded_body(size):
    body = json.dumps({**body_v1_6_0(), "pad": ""})
    return body.replace('"pad": ""', '"pad": "' + "x" * (size - len(body)) + '"')


def test_bodies_up_to_2_mib(lab):
    assert Rest(lab.rest).post("/attestation", padded_body(2 << 20)).status == 200
    answer = Rest(lab.rest).post("/attestation", padded_body((2 << 20) + 1))
    assert json.loads(answer.text)["code"] == "AS.REQUEST.INVALID_JSON"
    assert answer.getheader("connection") == "close"


def raw(lab, data, address=None):
    """What comes back until the lab closes, for requests that say so."""
    with socket.create_connection(("127.0.0.1", urlsplit(address or lab.rest).port), DEADLINE) as s:
        for piece in data if isinstance(data, list) else [data]:
            s.sendall(piece)
        out = b""
        while piece := s.recv(1 << 16):
            out += piece
        return out


def test_requests_may_be_pipelined(lab):
    get = b"GET /certificate HTTP/1.1\r\nHost: h\r\n%s\r\n"
    out = raw(lab, get % b"" * 40 + get % b"Connection: close\r\n")
    assert out.count(b"HTTP/1.1 200 OK") == 41


def test_chunked_bodies_and_http_1_0(lab):
    body = json.dumps(body_v1_6_0()).encode()
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(body[i:i + 100]), body[i:i + 100]) for i in range(0, len(body), 100))
    out = raw(lab, b"POST /attestation HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nConnection: close\r\n"
                   b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n")
    assert out.startswith(b"HTTP/1.1 200")
    out = raw(lab, b"POST /attestation HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
              % (len(body), body))
    assert out.startswith(b"HTTP/1.1 200")


def test_a_client_may_wait_for_100(lab):
    body = json.dumps(body_v1_6_0()).encode()
    with socket.create_connection(("127.0.0.1", urlsplit(lab.rest).port), DEADLINE) as s:
        s.sendall(b"POST /attestation HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: %d\r\n"
                  b"Expect: 100-continue\r\n\r\n" % len(body))
        assert s.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        s.sendall(body)
        assert s.recv(100).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("data", [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n", b"hello\r\n\r\n",
                                  b"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"])
def test_what_is_no_http_is_400_and_the_end(lab, data):
    out = raw(lab, data)
    assert out.startswith(b"HTTP/1.1 400 ") and b"connection: close" in out


def test_connections_that_send_no_head_get_408_after_5_s(lab):
    began = time.monotonic()
    port = urlsplit(lab.rest).port
    silent, halfway = (socket.create_connection(("127.0.0.1", port), DEADLINE) for _ in range(2))
    halfway.sendall(b"GET /cert")
    for s in (silent, halfway):
        assert s.recv(100).startswith(b"HTTP/1.1 408 Request Timeout")
        s.close()
    assert 4.5 < time.monotonic() - began < 9


def test_many_requests_at_once(lab):
    failures = []

    def work():
        client = Rest(lab.rest)
        for _ in range(10):
            answer = client.attest()
            if answer.status != 200:
                failures.append(answer.status)
        client.close()

    threads = [threading.Thread(target=work) for _ in range(20)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failures
    assert lab.stats("as_rest")["issued"] == 200


# ---- its faults ----

def test_an_old_service_names_the_missing_field(lab, rest):
    lab.fault("old", "as_rest")
    answer = rest.post("/attestation", body_v1_6_0())
    assert (answer.status, answer.getheader("content-type")) == (400, "text/plain; charset=utf-8")
    assert answer.text.startswith("Json deserialize error: missing field `tee` at line 1 column ")
    assert rest.post("/attestation", body_v1_5_2()).status == 200
    assert lab.stats("as_rest")["last_layout"] == "v1_5_2"
    answer = rest.post("/challenge", {})
    assert (answer.status, answer.text) == (500, 'InternalError(\n    "Failed to get inner tee",\n)')
    lab.heal()
    assert rest.post("/attestation", body_v1_5_2()).status == 400


def test_a_service_without_challenges_or_certificate(lab, rest):
    lab.fault("no_challenge", "as_rest")
    lab.fault("no_certificate", "as_rest")
    assert "Failed to get inner tee" in rest.post("/challenge", {}).text
    answer = rest.ask("GET", "/certificate")
    assert (answer.status, answer.text) == (404, '{"error":"No certificate configured"}')
    assert rest.attest().status == 200


def test_how_x5c_is_written(lab, rest):
    lab.fault("padded_x5c", "as_rest")
    x5c = header_of(rest.attest().text)["jwk"]["x5c"]
    assert all(base64.b64decode(c, validate=True)[:1] == b"\x30" for c in x5c)
    lab.fault("no_x5c", "as_rest")
    assert "x5c" not in header_of(rest.attest().text)["jwk"]


def test_tokens_that_are_wrong_in_one_way_each(lab, rest):
    lab.fault("expired", "as_rest")
    assert claims_of(rest.attest().text)["exp"] < time.time() - 3000
    lab.fault("wrong_policy", "as_rest")
    assert claims_of(rest.attest().text)["submods"]["cpu0"]["ear.appraisal-policy-id"] != "default"
    lab.fault("wrong_key", "as_rest")
    submod = claims_of(rest.attest().text)["submods"]["cpu0"]
    assert submod["ear.veraison.annotated-evidence"]["runtime_data_claims"].keys() == RUNTIME.keys()
    assert submod["ear.veraison.annotated-evidence"]["runtime_data_claims"] != RUNTIME
    lab.fault("wrong_measurement", "as_rest")
    assert claims_of(rest.attest().text)["submods"]["cpu0"]["ear.status"] == "contraindicated"
    lab.fault("untrusted", "as_rest")
    chain = header_of(rest.attest().text)["jwk"]["x5c"]
    lab.heal()
    assert header_of(rest.attest().text)["jwk"]["x5c"][1] != chain[1]


@pytest.mark.parametrize("path, value", [("/attestation", body_v1_6_0()), ("/challenge", {}), ("/certificate", None)])
def test_a_refusing_service(lab, rest, path, value):
    lab.fault("refuse", "as_rest")
    answer = rest.post(path, value) if value is not None else rest.ask("GET", path)
    assert answer.status == 500
    lab.heal()
    answer = rest.post(path, value) if value is not None else rest.ask("GET", path)
    assert answer.status == 200


def test_a_count_ends_a_fault(lab, rest):
    lab.fault("refuse", "as_rest", count=2)
    assert [rest.attest().status for _ in range(4)] == [500, 500, 200, 200]


def test_an_answer_that_is_cut_off(lab, rest):
    lab.fault("truncated", "as_rest")
    with pytest.raises(http.client.IncompleteRead):
        rest.attest()


def test_garbage_and_too_much(lab, rest):
    lab.fault("garbage", "as_rest")
    answer = rest.attest()
    assert answer.status == 200 and answer.text.count(".") == 0
    lab.fault("huge", "as_rest", bytes=3 << 20)
    assert len(rest.attest().text) == 3 << 20


def test_slow_is_late_and_hold_is_when_it_is_released(lab, rest, stack):
    lab.fault("slow", "as_rest", ms=300)
    began = time.monotonic()
    assert rest.attest().status == 200
    assert time.monotonic() - began >= 0.3
    lab.fault("hold", "as_rest")
    clients = [stack.add(c, c.close) for c in (Rest(lab.rest) for _ in range(3))]
    for c in clients:
        c.conn.request("GET", "/certificate")
    lab.wait_waiting("as_rest", 3)
    assert lab.release("as_rest") == 3
    assert all(c.conn.getresponse().status == 200 for c in clients)
    assert rest.attest().status == 200  # the hold is over


def test_a_client_that_gives_up_ends_its_call(lab):
    for kind in ("hang", "hold"):
        lab.fault(kind, "as_rest")
        client = Rest(lab.rest)
        client.conn.request("GET", "/certificate")
        lab.wait_waiting("as_rest")
        client.close()
        until("nothing waits", lambda: lab.stats("as_rest")["waiting"] == 0)


def test_a_service_that_is_down_and_comes_back_on_its_port(lab, rest):
    assert rest.attest().status == 200
    lab.fault("down", "as_rest")
    with pytest.raises(OSError):
        rest.attest()
    with pytest.raises(ConnectionRefusedError):
        Rest(lab.rest).attest()
    lab.heal()
    assert Rest(lab.rest).attest().status == 200


# ---- the service over gRPC ----

class Grpc:
    """curl as the client: prior knowledge, headers and trailers in one file."""

    PATH = "/attestation.AttestationService/AttestationEvaluate"

    def __init__(self, url, folder):
        self.url, self.folder = url, folder

    def ask(self, body, path=PATH, headers=(), check=True):
        (self.folder / "request").write_bytes(body)
        argv = ["curl", "-sS", "--http2-prior-knowledge", "--max-time", str(DEADLINE), "-D", self.folder / "head",
                "-o", self.folder / "answer", "--data-binary", f"@{self.folder / 'request'}", "-H", "te: trailers",
                "-H", "content-type: application/grpc", "-H", "expect:"]
        for h in headers:
            argv += ["-H", h]
        (self.folder / "answer").unlink(missing_ok=True)
        done = subprocess.run([*argv, self.url + path], capture_output=True, text=True, check=False)
        assert not check or done.returncode == 0, done.stderr
        lines = (self.folder / "head").read_text(encoding="utf-8").splitlines()
        self.head = dict(line.split(": ", 1) for line in lines if ": " in line)
        answer = self.folder / "answer"
        self.message = answer.read_bytes() if answer.exists() else b""
        return int(self.head.get("grpc-status", -1))

    @property
    def token(self):
        assert self.message[0] == 0 and int.from_bytes(self.message[1:5], "big") == len(self.message) - 5
        return ttrpc.fields(self.message[5:])[1].decode()


def grpc_message(payload):
    return b"\0" + struct.pack(">I", len(payload)) + payload


def request_v1_6_0(evidence=None, tee="sample", policy="default"):
    one = (ttrpc.field(1, tee) + ttrpc.field(3, b64url(evidence or evidence_of(digest())))
           + ttrpc.field(5, canonical(RUNTIME)) + ttrpc.field(8, "sha384"))
    return grpc_message(ttrpc.field(1, one) + ttrpc.field(2, policy))


def request_v1_5_2():
    return grpc_message(ttrpc.field(1, "sample") + ttrpc.field(2, b64url(evidence_of(digest())))
                        + ttrpc.field(4, canonical(RUNTIME)) + ttrpc.field(7, "sha384") + ttrpc.field(9, "default"))


@pytest.fixture
def grpc(lab, tmp_path):
    if shutil.which("curl") is None:
        pytest.skip("curl is not there")
    return Grpc(lab.grpc, tmp_path)


def test_both_layouts_over_grpc(lab, grpc):
    for body, layout in ((request_v1_6_0(), "v1_6_0"), (request_v1_5_2(), "v1_5_2")):
        assert grpc.ask(body) == 0
        assert claims_of(grpc.token)["submods"]["cpu0"]["ear.status"] == "affirming"
        assert lab.stats("as_grpc")["last_layout"] == layout
    lab.command("set", token="simple")
    assert grpc.ask(request_v1_6_0()) == 0
    assert header_of(grpc.token)["alg"] == "RS384"


def test_the_worked_messages_are_understood_and_their_short_evidence_refused(grpc):
    lines = (VECTORS / "as.txt").read_text(encoding="utf-8").splitlines()
    messages = [line.split()[1] for line in lines if line.startswith("grpc_")]
    assert len(messages) == 2
    for message in messages:
        assert grpc.ask(bytes.fromhex(message)) == 10
        assert "missing field `measure_register`" in grpc.head["grpc-message"]


@pytest.mark.parametrize("body, status, message", [
    (request_v1_6_0(tee="sampledevice"), 10, "parse TEE type: "),
    (request_v1_6_0(evidence=b"{"), 10, "Illegal input Evidence: "),
    (request_v1_6_0(evidence=evidence_of(b"x")), 10, "Attestation evaluation failed: "),
    (request_v1_6_0(policy="unknown"), 10, "Attestation evaluation failed: "),
    (grpc_message(b"\xff\xff\xff"), 13, "failed to decode Protobuf message: "),
    (b"\1" + request_v1_6_0()[1:], 13, "protocol error"),
    (request_v1_6_0()[:-1], 13, "Unexpected EOF"),
    (b"", 13, "Missing request message."),
    (grpc_message(b"\0" * ((4 << 20) + 1)), 11, "Error, decoded message length too large: "),
], ids=["tee", "encoding", "evidence", "policy", "no message", "compressed", "cut short", "empty", "too large"])
def test_refusals_over_grpc_are_trailers_only(grpc, body, status, message):
    assert grpc.ask(body) == status
    assert grpc.head["grpc-message"].startswith(message)
    assert grpc.head["content-length"] == "0"
    assert grpc.message == b""


def test_unknown_methods_over_grpc(grpc):
    for path in ("/attestation.AttestationService/Other", "/other.Service/AttestationEvaluate", "/"):
        assert grpc.ask(request_v1_6_0(), path) == 12
        assert "grpc-message" not in grpc.head


def test_a_message_of_1_mib_over_grpc(grpc):
    assert grpc.ask(request_v1_6_0(evidence=evidence_of(digest(), pad="x" * (1 << 20)))) == 0


def test_services_that_know_one_layout_over_grpc(lab, grpc):
    lab.fault("old", "as_grpc")
    assert grpc.ask(request_v1_6_0()) == 13
    assert "AttestationRequest.tee: invalid string value" in grpc.head["grpc-message"]
    assert grpc.ask(request_v1_5_2()) == 0
    lab.fault("new", "as_grpc")
    assert grpc.ask(request_v1_6_0()) == 0
    assert grpc.ask(request_v1_5_2()) == 13
    assert "AttestationRequest.verification_requests: invalid wire type" in grpc.head["grpc-message"]


def test_metadata_is_remembered(lab, grpc):
    grpc.ask(request_v1_6_0(), headers=["x-tenant: t1"])
    assert lab.stats("as_grpc")["last_headers"]["x-tenant"] == "t1"


def test_faults_over_grpc(lab, grpc):
    lab.fault("refuse", "as_grpc")
    assert grpc.ask(request_v1_6_0()) == 10
    lab.fault("garbage", "as_grpc")
    assert grpc.ask(request_v1_6_0()) == 0
    assert grpc.message[5:9] == b"\xff" * 4
    lab.fault("huge", "as_grpc", bytes=5 << 20)
    assert grpc.ask(request_v1_6_0()) == 0
    assert len(grpc.message) == 5 + (5 << 20)
    lab.fault("truncated", "as_grpc")
    assert grpc.ask(request_v1_6_0(), check=False) == -1
    assert 0 < len(grpc.message) < 3000
    lab.fault("expired", "as_grpc")
    assert grpc.ask(request_v1_6_0()) == 0
    assert claims_of(grpc.token)["exp"] < time.time()
    lab.fault("slow", "as_grpc", ms=200)
    began = time.monotonic()
    assert grpc.ask(request_v1_6_0()) == 0
    assert time.monotonic() - began >= 0.2


def test_a_held_call_over_grpc_ends_with_its_client(lab, tmp_path):
    lab.fault("hold", "as_grpc")
    (tmp_path / "request").write_bytes(request_v1_6_0())
    client = subprocess.Popen(["curl", "-s", "--http2-prior-knowledge", "-o", "/dev/null", "--data-binary",
                               f"@{tmp_path / 'request'}", lab.grpc + Grpc.PATH])
    try:
        lab.wait_waiting("as_grpc")
    finally:
        client.kill()
        client.wait()
    until("nothing waits", lambda: lab.stats("as_grpc")["waiting"] == 0)


def test_what_is_no_http2_is_cut_off(lab):
    out = raw(lab, b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", lab.grpc)
    assert b"HTTP/1.1" not in out


# ---- many clients ----

def test_idle_connections_cost_little_and_are_all_served(lab):
    before = lab.memory_kib()
    port = urlsplit(lab.rest).port
    idle = [socket.create_connection(("127.0.0.1", port), DEADLINE) for _ in range(1000)]
    until("all were accepted", lambda: lab.stats("as_rest")["open"] == 1000)
    assert lab.memory_kib() - before < 32 << 10
    idle[500].sendall(b"GET /certificate HTTP/1.1\r\nHost: h\r\n\r\n")
    assert idle[500].recv(15) == b"HTTP/1.1 200 OK"
    for s in idle:
        s.close()
    until("all are gone", lambda: lab.stats("as_rest")["open"] == 0)


def test_without_descriptors_it_waits_and_goes_on(short_path):
    def few():
        import resource  # pylint: disable=import-outside-toplevel
        resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))

    lab = LimitedLab(short_path / "l", few)
    port = urlsplit(lab.addresses["as_rest"]).port
    many = [socket.create_connection(("127.0.0.1", port), DEADLINE) for _ in range(60)]
    assert lab.cpu_share(0.5) < 0.2
    for s in many:
        s.close()
    answer = Rest(lab.addresses["as_rest"]).ask("GET", "/certificate")
    assert answer.status == 200
    assert lab.stop() == 0
    lab.assert_no_sanitizer_report()


class LimitedLab(Process):
    def __init__(self, folder, prepare):
        super().__init__([BINARY, "lab", "--dir", str(folder)], "tng lab", prepare=prepare)
        self.addresses = json.loads(self.wait_line(r'^\{.*"control".*\}$').group(0))
