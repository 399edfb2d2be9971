"""Examples work: every file of examples/ starts, those that belong together carry, what documents show is valid."""
import json
import re

import pytest

from harness import ports, tls
from harness.gateway import ROOT, run
from harness.services import ask

EXAMPLES = sorted((ROOT / "examples").glob("*.json"))
PAIRS = sorted(p.name.removesuffix("-client.json") for p in EXAMPLES
               if (ROOT / "examples" / p.name.replace("-client", "-server")).exists() and "-client" in p.name)


def effective(path):
    """The file as the program understands it."""
    done = run("check", "-c", str(path))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def entries_of(config):
    return config.get("add_ingress", []) + config.get("add_egress", [])


def move_ports(config):
    """Where it listens, to ports that are free here."""
    for made in entries_of(config):
        for rule in made["mapping"]["rules"]:
            count = rule["in"]["port_end"] - rule["in"]["port"] + 1
            rule["in"]["port"] = ports.free_range(count)
            rule["in"]["port_end"] = rule["in"]["port"] + count - 1
            rule["in"]["host"] = "127.0.0.1"
    return config


def lead_to(config, port):
    for made in entries_of(config):
        made["mapping"]["rules"][0]["out"] = {"host": "127.0.0.1", "port": port, "port_end": port}


def use_lab(config, lab):
    for made in entries_of(config):
        for part in ("attest", "verify"):
            if part in made and "as_addr" in made[part]:
                made[part]["as_addr"] = lab.rest
        if "attest" in made:
            made["attest"]["aa_addr"] = lab.aa


def test_there_is_an_example_for_each_form():
    assert {"one-way", "mutual", "reverse", "passport", "multiplexed"} <= set(PAIRS)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.name)
def test_every_example_starts(tng, path):
    tng(wait="ready", **move_ports(effective(path)))


@pytest.mark.parametrize("name", PAIRS)
def test_examples_that_belong_together_carry(tng, echo, lab, name):
    server = move_ports(effective(ROOT / "examples" / f"{name}-server.json"))
    client = move_ports(effective(ROOT / "examples" / f"{name}-client.json"))
    lead_to(server, echo.port)
    lead_to(client, server["add_egress"][0]["mapping"]["rules"][0]["in"]["port"])
    use_lab(server, lab)
    use_lab(client, lab)
    tng(**server)
    near = tng(**client)
    assert ask(near.port) == b"hello"
    assert near.wait_flow().tee == (None if name == "reverse" else "sample")


BLOCK = re.compile(r"^```jsonc?\n(.*?)^```", re.M | re.S)


def shown_configurations():
    """Whole configurations in the documents."""
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        if not path.exists():
            continue
        for number, text in enumerate(BLOCK.findall(path.read_text()), 1):
            if '"add_ingress"' in text or '"add_egress"' in text:
                yield pytest.param(text, id=f"{path.name}-{number}")


@pytest.mark.parametrize("text", shown_configurations())
def test_what_documents_show_is_valid(text, tmp_path):
    text = re.sub(r'"/[^"]*\.pem"', json.dumps(tls.plain_certificate(tmp_path).path), text)
    done = run("check", "--config-content", text)
    if "not supported yet" not in done.stderr:
        assert done.returncode == 0, done.stderr
