"""`tng lab`: the simulated agent, API server and attestation service."""
import json
import socket

from .gateway import BINARY
from .process import Process
from .wait import DEADLINE, until


class Lab(Process):
    def __init__(self, folder, *args, within=()):
        super().__init__([*within, BINARY, "lab", "--dir", str(folder), *args], "tng lab")
        self.addresses = json.loads(self.wait_line(r'^\{.*"control".*\}$').group(0))
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(DEADLINE)
        self._socket.connect(self.addresses["control"].removeprefix("unix://"))
        self._answers = self._socket.makefile("r", encoding="utf-8")

    # ---- addresses, as the configuration wants them ----

    aa = property(lambda self: self.addresses["aa"])
    asr = property(lambda self: self.addresses["asr"])
    rest = property(lambda self: self.addresses["as_rest"])
    grpc = property(lambda self: self.addresses["as_grpc"])
    ca = property(lambda self: self.addresses["ca"].removeprefix("file://"))

    def attest(self, **members):
        return {"aa_addr": self.aa, **members}

    def attest_asr(self, **members):
        return {"aa_provider": "coco_asr", "asr_addr": self.asr, **members}

    def verify(self, **members):
        return {"as_addr": self.rest, "policy_ids": ["default"], **members}

    def verify_grpc(self, **members):
        return {"as_type": "grpc", "as_addr": self.grpc, "policy_ids": ["default"],
                "trusted_certs_paths": [self.ca], **members}

    def passport(self, **members):
        """attest with a token from the service."""
        return {"model": "passport", "aa_addr": self.aa, "as_addr": self.rest, "policy_ids": ["default"], **members}

    def verify_passport(self, **members):
        return {"model": "passport", "policy_ids": ["default"], "trusted_certs_paths": [self.ca], **members}

    rest_port = property(lambda self: int(self.rest.rsplit(":", 1)[1]))

    # ---- control ----

    def command(self, cmd, **members):
        self._socket.sendall(json.dumps({"cmd": cmd, **members}).encode() + b"\n")
        line = self._answers.readline()
        assert line, "the lab has ended:\n" + self.output
        answer = json.loads(line)
        assert answer.pop("ok"), f"{cmd} {members}: {answer}"
        return answer

    def fault(self, kind, target="all", **members):
        self.command("fault", kind=kind, target=target, **members)

    def heal(self, target="all"):
        self.command("fault", kind="none", target=target)

    def release(self, target="all"):
        return self.command("release", target=target)["released"]

    def stats(self, target):
        return self.command("stats")[target]

    def verifications(self, target="as_rest"):
        """How often evidence was shown to the service."""
        calls = self.stats(target)["calls"]
        return sum(n for name, n in calls.items() if name.rsplit("/", 1)[-1] in ("attestation", "AttestationEvaluate"))

    def wait_waiting(self, target, count=1, deadline=DEADLINE):
        """Until count calls are held back."""
        until(f"{count} calls wait at {target}", lambda: self.stats(target)["waiting"] >= count, deadline)

    def finish(self):
        self._answers.close()
        self._socket.close()
        if not self.ended:
            code = self.stop()
            assert code == 0, f"tng lab ended with {code}; it said:\n{self.output}"
        self.assert_no_sanitizer_report()
