"""Our gateway: its configuration, its process, its log."""
import json
import os
import re
import resource
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

from . import ports
from .process import Process
from .wait import DEADLINE, until

ROOT = Path(__file__).resolve().parents[3]
BINARY = os.environ.get("TNG_BINARY", str(ROOT / "build/dev/tng"))
IS_SANITIZED = "release" not in BINARY
# TNG_TLS_RECORDS=libssl: every gateway that does not say so itself runs with libssl's record layer.
TLS_RECORDS = os.environ.get("TNG_TLS_RECORDS")

LOOPBACK = "127.0.0.1"


# ---- configuration ----

def _endpoint(address):
    """A port on loopback, or (host, port), or (host, port, port_end)."""
    if isinstance(address, int):
        address = (LOOPBACK, address)
    return dict(zip(("host", "port", "port_end"), address))


def entry(listen, to, *, verify=None, attest=None, mux=None, rats_tls=None, rules=None):
    """One member of add_ingress or add_egress. Neither verify nor attest: no_ra."""
    made = {}
    if rules is not None:
        made["mapping"] = {"rules": [{"in": _endpoint(i), "out": _endpoint(o)} for i, o in rules]}
    else:
        made["mapping"] = {"in": _endpoint(listen), "out": _endpoint(to)}
    if attest is not None:
        made["attest"] = attest
    if verify is not None:
        made["verify"] = verify
    if attest is None and verify is None:
        made["no_ra"] = True
    tunnel = dict(rats_tls or {})
    if mux is not None:
        tunnel["multiplex"] = mux
    if tunnel:
        made["rats_tls"] = tunnel
    return made


# ---- the log ----

FLOW = re.compile(
    r"flow (?P<id>[0-9a-f]{8}): (?P<entry>add_(?:in|e)gress\[\d+\]) (?P<client>\S+) -> (?P<out>\S+) "
    r"(?:via (?P<via>rats-tls(?: multiplexed)?)|refused)(?: attested\((?P<tee>[^)]*)\))?: "
    r"(?P<reason>[a-z_]+)(?:: (?P<why>.*))?, (?P<seconds>\d+\.\d+)s, (?P<to_far>\d+)/(?P<to_near>\d+) bytes"
    r"(?: \((?P<left_out>\d+) like this were not logged\))?$")


@dataclass(frozen=True)
class Flow:
    entry: str
    via: str
    tee: str
    reason: str
    why: str
    bytes: tuple
    seconds: float
    client: str
    out: str
    line: str


def _flow_of(line):
    m = FLOW.search(line)
    if not m:
        return None
    return Flow(m["entry"], m["via"], m["tee"], m["reason"], m["why"] or "",
                (int(m["to_far"]), int(m["to_near"])), float(m["seconds"]), m["client"], m["out"], line)


class Gateway(Process):
    def __init__(self, config, *, env=None, args=(), descriptors=None, name="tng", within=()):
        """within: a command that runs another one in its place."""
        if TLS_RECORDS is not None:
            config = {"tls_records": TLS_RECORDS, **config}
        self.config = config

        def prepare():
            if descriptors is not None:
                resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))

        super().__init__([*within, BINARY, "launch", "--config-content", json.dumps(config), *args], name,
                         env=env, prepare=prepare)

    def wait_ready(self, deadline=DEADLINE):
        self.wait_line(r" ready: ", deadline)
        return self

    def wait_evidence(self, deadline=DEADLINE):
        """Until every entry that keeps evidence has some: before that it refuses peers."""
        self.wait_ready(deadline)
        for kind in ("add_ingress", "add_egress"):
            for i, made in enumerate(self.config.get(kind, [])):
                if "attest" in made and made["attest"].get("refresh_interval") != 0:
                    self.wait_line(rf"{kind}\[{i}\]\S*: has evidence", deadline)
        return self

    @property
    def port(self):
        """Where its first entry listens."""
        first = (self.config.get("add_ingress") or self.config["add_egress"])[0]["mapping"]
        return (first["rules"][0] if "rules" in first else first)["in"]["port"]

    @property
    def guard(self):
        """The process id of the guard of its rules."""
        return int(Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text(encoding="ascii").split()[0])

    def flows(self):
        """The flows that have ended, as logged."""
        return [f for f in map(_flow_of, list(self.lines)) if f]

    def wait_flow(self, count=1, deadline=DEADLINE):
        """The count-th flow that ended."""
        until(f"{self.name} logs {count} ended flows; it said:\n{self.output}",
              lambda: len(self.flows()) >= count, deadline)
        return self.flows()[count - 1]

    def counters(self):
        """What SIGUSR1 makes it log."""
        seen = sum("counters: " in line for line in self.lines)
        self.send_signal(signal.SIGUSR1)
        text = self.wait_line(r"counters: (.*)", count=seen + 1).group(1)
        return {k: int(v) for k, v in (pair.split("=") for pair in text.split())}

    def finish(self):
        """Stops as an operator does; a clean end is part of every test."""
        if not self.ended:
            code = self.stop(deadline=30)
            assert code == 0, f"{self.name} ended with {code}; it said:\n{self.output}"
        self.assert_no_sanitizer_report()


def run(*args, stdin=None, deadline=30, env=None):
    """One command of tng that ends by itself."""
    return subprocess.run([BINARY, *args], stdin=subprocess.DEVNULL if stdin is None else None, input=stdin,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=deadline,
                          env={**os.environ, **(env or {})}, check=False)


def run_launch(config, **options):
    return run("launch", "--config-content", config if isinstance(config, str) else json.dumps(config), **options)


__all__ = ["Gateway", "Flow", "entry", "run", "run_launch", "ports", "ROOT", "BINARY", "IS_SANITIZED"]
