"""The command line: what it prints where, and its exit codes."""
import json
import re

import pytest

from harness import ports
from harness.gateway import entry, run, run_launch


def config(**members):
    made = entry(ports.free_port(), 9, **members)
    return {"add_ingress": [made]}


@pytest.mark.parametrize("args", [(), ("fly",), ("launch",), ("launch", "--speed", "9"), ("check",), ("--nonsense",),
                                  ("launch", "-c", "a", "--config-content", "{}"), ("lab",), ("lab", "ctl")])
def test_a_wrong_command_line_is_2_and_says_so(args):
    done = run(*args)
    assert done.returncode == 2
    assert done.stderr.strip() and not done.stdout


def test_version_names_the_libraries_and_the_cipher_code():
    done = run("--version")
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert re.match(r"tng \d+\.\d+", lines[0])
    assert any("OpenSSL" in line for line in lines) and any(re.search(r"AES|GCM", line) for line in lines)


@pytest.mark.parametrize("args", [("--help",), ("help",), ("help", "launch"), ("launch", "--help"), ("check", "--help"),
                                  ("lab", "--help")])
def test_help_goes_to_standard_output(args):
    done = run(*args)
    assert done.returncode == 0
    assert "tng" in done.stdout and not done.stderr


# ---- check ----

def test_check_prints_the_configuration_with_its_defaults():
    done = run("check", "--config-content", json.dumps(config()))
    assert done.returncode == 0
    told = json.loads(done.stdout)
    assert told["timeouts"]["handshake"] == 30
    assert told["add_ingress"][0]["mapping"]["rules"][0]["in"]["host"] == "127.0.0.1"
    # And what it prints is a configuration.
    again = run("check", "--config-content", done.stdout)
    assert again.returncode == 0
    assert json.loads(again.stdout) == told


def test_check_tells_every_mistake_with_its_place(tmp_path):
    file = tmp_path / "tng.json"
    file.write_text('{\n  "add_ingress": [\n    {\n      "mapping": {"in": {"port": 70000}, "out": {"host": "a"}},\n'
                    '      "no_ra": 1\n    }\n  ],\n  "colour": "blue"\n}\n')
    done = run("check", "-c", str(file))
    assert done.returncode == 1
    assert not done.stdout
    for place, text in ((":4:34", "add_ingress[0].mapping.in.port: expected 1 to 65535, found 70000"),
                        (":4:", "add_ingress[0].mapping.out.port"), (":5:16", "add_ingress[0].no_ra"),
                        (":8:", "colour: unknown key")):
        assert re.search(re.escape(f"{file}{place}") + r"\d*: " + re.escape(text), done.stderr), done.stderr


@pytest.mark.parametrize("text,place", [("{", ":1:2"), ("[]", ":1:1"), ('{"a":1,}', ":1:8"), ("", ":1:1"),
                                        ('{"add_ingress": [] "x"}', ":1:20"), ("{'a': 1}", ":1:2")])
def test_text_that_is_no_json_is_refused_with_its_place(text, place):
    done = run("check", "--config-content", text)
    assert done.returncode == 1
    assert place in done.stderr


def test_comments_are_allowed():
    content = json.dumps(config(), indent=1).replace("{", "{ // here it begins", 1)
    assert run("check", "--config-content", content).returncode == 0


@pytest.mark.parametrize("mode", ["socks5", "http_proxy", "mapping_udp"])
def test_what_is_not_there_yet_is_refused_not_ignored(mode):
    body = {"socks5": {"proxy_listen": {"port": 1080}}, "http_proxy": {"proxy_listen": {"port": 8080}},
            "mapping_udp": {"in": {"port": 5353}, "out": {"host": "127.0.0.1", "port": 53}}}[mode]
    for command in ("check", "launch"):
        done = run(command, "--config-content", json.dumps({"add_ingress": [{mode: body, "no_ra": True}]}))
        assert done.returncode == 1
        assert f"not supported yet: add_ingress[0].{mode}" in done.stderr, done.stderr


def test_old_spellings_are_told_their_new_ones():
    done = run("check", "--config-content", json.dumps(config(verify={
        "as_addr": "http://127.0.0.1:5000", "as_is_grpc": True, "policy_ids": ["default"]})))
    assert done.returncode == 0
    assert "as_is_grpc" in done.stderr and "as_type" in done.stderr
    assert json.loads(done.stdout)["add_ingress"][0]["verify"]["as_type"] == "grpc"


def test_an_empty_list_of_policies_is_refused():
    done = run("check", "--config-content",
               json.dumps(config(verify={"as_addr": "http://127.0.0.1:5000", "policy_ids": []})))
    assert done.returncode == 1
    assert "policy_ids" in done.stderr


def test_a_file_that_is_not_there(tmp_path):
    for command in ("check", "launch"):
        done = run(command, "-c", str(tmp_path / "none.json"))
        assert done.returncode == 1
        assert "none.json" in done.stderr


@pytest.mark.parametrize("members,word", [
    ({}, "NO REMOTE ATTESTATION"),
    ({"attest": {"aa_type": "builtin"}}, "NOT VERIFIED"),
    ({"verify": {"as_addr": "http://127.0.0.1:5000", "policy_ids": ["a"], "skip_as_token_cert_verify": True}}, "skip_")])
def test_weak_trust_is_warned_of(members, word):
    done = run("check", "--config-content", json.dumps(config(**members)))
    assert done.returncode == 0
    assert word in done.stderr


# ---- launch that does not start ----

def test_launch_refuses_what_check_refuses():
    done = run_launch({"add_ingress": [{"mapping": {}}]})
    assert done.returncode == 1
    assert "add_ingress[0]" in done.stderr


def test_a_port_that_is_taken_fails_the_start(service):
    done = run_launch({"add_ingress": [entry(service.port, 9)]})
    assert done.returncode == 1
    assert str(service.port) in done.stderr and "add_ingress[0]" in done.stderr


def test_a_host_to_listen_on_that_is_not_ours_fails_the_start():
    done = run_launch({"add_ingress": [entry(("203.0.113.7", ports.free_port()), 9)]})
    assert done.returncode == 1
    assert "203.0.113.7" in done.stderr
