"""The released upstream as judge of `tng lab`: it makes certificates with it and verifies them."""
import json
import subprocess

import pytest

from harness.upstream import binary_of
from harness.wait import DEADLINE

pytestmark = pytest.mark.upstream

VERSION = "2.12.0"  # the first with `tools rats-tls`


@pytest.fixture
def upstream():
    return binary_of(VERSION)


class Judge:
    def __init__(self, binary, lab, folder):
        self.binary, self.lab, self.folder = binary, lab, folder
        self.certificate = folder / "cert.pem"

    def run(self, *args):
        done = subprocess.run([self.binary, "tools", "rats-tls", *args], capture_output=True, text=True,
                              timeout=DEADLINE, check=False)
        self.output = done.stdout + done.stderr
        return done.returncode == 0

    def generate(self, **attest):
        """Whether it got evidence, and in passport mode a token."""
        self.certificate.unlink(missing_ok=True)
        return self.run("gen", "--attest", json.dumps(attest), "--cert-out", self.certificate,
                        "--key-out", self.folder / "key.pem") and self.certificate.exists()

    def passport(self, grpc=False, agent=None, policy_ids=("default",)):
        return self.generate(model="passport", as_provider="coco", as_type="grpc" if grpc else "restful",
                             as_addr=self.lab.grpc if grpc else self.lab.rest, policy_ids=list(policy_ids),
                             **(agent or {"aa_provider": "coco", "aa_type": "uds", "aa_addr": self.lab.aa}))

    def background_check(self, agent=None):
        return self.generate(model="background_check",
                             **(agent or {"aa_provider": "coco", "aa_type": "uds", "aa_addr": self.lab.aa}))

    def asr(self):
        return {"aa_provider": "coco_asr", "asr_addr": self.lab.asr}

    def verifies(self, model="passport", **verify):
        """Whether it accepts the certificate. Anchors from /certificate if nothing else is said."""
        if not verify:
            verify = {"as_addr": self.lab.rest}
        return self.run("verify", "--cert", self.certificate, "--verify",
                        json.dumps({"model": model, "as_provider": "coco", "as_type": "restful",
                                    "policy_ids": ["default"], **verify})) and "verified OK" in self.output

    def refuses(self, text, **verify):
        assert not self.verifies(**verify)
        assert text in self.output, self.output[-6000:]
        return True


@pytest.fixture
def judge(upstream, lab, tmp_path):
    return Judge(upstream, lab, tmp_path)


@pytest.fixture(params=["ear", "simple"])
def form(request, lab):
    lab.command("set", token=request.param)
    return request.param


@pytest.mark.parametrize("grpc", [False, True], ids=["rest", "grpc"])
def test_passport(judge, form, grpc):
    assert judge.passport(grpc)
    assert judge.verifies()
    assert judge.verifies(trusted_certs_paths=[judge.lab.ca])
    assert judge.lab.stats("as_grpc" if grpc else "as_rest")["last_layout"] == "v1_6_0"


def test_background_check(judge, form):
    assert judge.background_check()
    assert judge.verifies("background_check")


def test_evidence_of_the_api_server(judge, form):
    assert judge.passport(agent=judge.asr())
    assert judge.verifies()
    assert judge.lab.stats("asr")["calls"] == {"info": 1, "evidence": 1, "additional-evidence": 1}


def test_additional_evidence_over_rest_and_not_over_grpc(judge, form):
    judge.lab.fault("device", "aa")
    assert judge.passport()
    assert judge.lab.stats("as_rest")["last_tee"] == "sample,sampledevice"
    assert judge.verifies()
    assert judge.passport(grpc=True)  # by the old layout, without it
    assert judge.lab.stats("as_grpc")["last_layout"] == "v1_5_2"
    judge.lab.fault("new", "as_grpc")
    assert not judge.passport(grpc=True)


@pytest.mark.parametrize("grpc", [False, True], ids=["rest", "grpc"])
def test_an_old_service_is_asked_again(judge, grpc):
    judge.lab.command("set", token="simple")
    judge.lab.fault("old", "all")
    assert judge.passport(grpc)
    assert judge.lab.stats("as_grpc" if grpc else "as_rest")["last_layout"] == "v1_5_2"
    assert judge.verifies()


def test_x5c_with_padding_is_accepted(judge, form):
    judge.lab.fault("padded_x5c", "as_rest")
    assert judge.passport() and judge.verifies()


@pytest.mark.parametrize("kind, text", [
    ("expired", "ExpiredSignature"), ("wrong_policy", "policy"), ("wrong_key", "RuntimeDataMismatch"),
    ("wrong_signature", "InvalidSignature"), ("untrusted", "JWK cannot be validated by trust anchor"),
    ("no_x5c", "x5c")])
def test_tokens_that_are_wrong_are_refused_for_what_is_wrong(judge, form, kind, text):
    judge.lab.fault(kind, "as_rest")
    assert judge.passport()
    assert judge.refuses(text)
    judge.lab.heal()
    assert judge.passport() and judge.verifies()


@pytest.mark.parametrize("target", ["aa", "as_rest"])
def test_a_wrong_measurement(judge, target):
    judge.lab.fault("wrong_measurement", target)
    assert judge.passport()  # EAR: a token, which does not affirm
    assert judge.refuses("contraindicated")
    judge.lab.command("set", token="simple")
    assert not judge.passport()  # no token


@pytest.mark.parametrize("kind", ["refuse", "truncated", "garbage", "down"])
@pytest.mark.parametrize("target", ["aa", "as_rest"])
def test_broken_components_give_no_certificate(judge, target, kind):
    judge.lab.fault(kind, target)
    made = judge.passport()
    if made:  # 2.12.0 puts what the service said into the certificate, whatever it is
        assert (target, kind) == ("as_rest", "garbage")
        judge.lab.heal()
        assert not judge.verifies()
    judge.lab.heal()
    assert judge.passport() and judge.verifies()


def test_without_certificate_no_verification(judge):
    judge.lab.fault("no_certificate", "as_rest")
    assert judge.passport()
    assert not judge.verifies()
    assert judge.verifies(as_addr=judge.lab.rest, trusted_certs_paths=[judge.lab.ca])
