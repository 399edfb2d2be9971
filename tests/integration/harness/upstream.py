"""
The released upstream gateway, for interoperability. Its binary is in the wheel "tng-sdk", fetched once by pip into
$TNG_CACHE (default ~/.cache/tng-tests) and told by its hash.
"""
import hashlib
import json
import os
import platform
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from .process import Process
from .wait import DEADLINE, listening_ports, until

WHEELS = {
    "2.12.0": "dc75b43e3e2a4b83908be3eea46a79083ce756fda678eca601da5952308859ae",
    "2.8.0": "b6098e351a7eec891a0819670725c81ae753e7d7ce75eb116989ca5fc4ef0e13",
}
MEMBER = "bin/scripts/tng"
_found = {}


def cache():
    return Path(os.environ.get("TNG_CACHE") or Path.home() / ".cache/tng-tests")


def _fetch(version, folder):
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:",
           "--disable-pip-version-check", "--dest", str(folder), f"tng-sdk=={version}"]
    done = subprocess.run(pip, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300, check=False)
    if done.returncode != 0:
        return None, "pip cannot fetch it: " + (done.stdout.strip().splitlines() or ["no output"])[-1]
    wheels = list(folder.glob(f"tng_sdk-{version}-*.whl"))
    return (wheels[0], None) if wheels else (None, "pip fetched no wheel")


def _unpack(version):
    """The path of the binary, or None and why there is none."""
    if platform.machine() != "x86_64":
        return None, f"released for x86_64 only, this is {platform.machine()}"
    folder = cache() / version
    binary = folder / "tng"
    if binary.exists():
        return binary, None
    folder.mkdir(parents=True, exist_ok=True)
    wheel, why = _fetch(version, folder)
    if wheel is None:
        return None, why
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    assert digest == WHEELS[version], f"{wheel} is not the release that we know: sha256 {digest}"
    with zipfile.ZipFile(wheel) as z:
        partial = folder / f"tng.{os.getpid()}"
        partial.write_bytes(z.read(MEMBER))
    partial.chmod(0o755)
    partial.rename(binary)
    wheel.unlink()
    return binary, None


def binary_of(version):
    if version not in _found:
        _found[version] = _unpack(version)
    binary, why = _found[version]
    if binary is None:
        pytest.skip(f"no upstream {version}: {why}")
    return binary


class Upstream(Process):
    def __init__(self, version, config, within=()):
        """within: a command that runs another one in its place."""
        self.config = config
        self.version = version
        super().__init__([*within, str(binary_of(version)), "launch", "--config-content", json.dumps(config)],
                         f"upstream {version}", env={"RUST_LOG": "info"})

    def ports(self):
        entries = self.config.get("add_ingress", []) + self.config.get("add_egress", [])
        return {e["mapping"]["in"]["port"] for e in entries}

    @property
    def port(self):
        return min(self.ports())

    def wait_ready(self, deadline=DEADLINE):
        """Without connecting: that would be a flow."""
        def listens():
            assert self.child.poll() is None, f"{self.name} has ended:\n{self.output}"
            return self.ports() <= listening_ports()

        until(f"{self.name} listens", listens, deadline)
        return self

    def finish(self):
        if not self.ended:
            self.stop(deadline=30)
