# SPDX-License-Identifier: Apache-2.0
"""The released binaries of upstream, from the wheels of tng-sdk on the package index."""
import os
import subprocess
import sys
import zipfile
from pathlib import Path

VERSIONS = ("2.12.0", "2.8.0")
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "tng-upstream"


def find(version):
    """Path of the binary: TNG_UPSTREAM_<version with _>, or from the cache, or fetched now; None without."""
    named = os.environ.get("TNG_UPSTREAM_" + version.replace(".", "_"))
    if named:
        return named
    folder = CACHE / version
    binary = folder / "tng"
    if not binary.exists():
        _fetch(version, folder)
    return str(binary) if binary.exists() else None


def _fetch(version, folder):
    print(f"fetching tng-sdk {version}", file=sys.stderr)
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:",
               "--dest", str(folder), f"tng-sdk=={version}"]
    if subprocess.run(command).returncode != 0:
        return
    for wheel in folder.glob("*.whl"):
        with zipfile.ZipFile(wheel) as z:
            for name in z.namelist():
                if name.endswith("/scripts/tng"):
                    partial = folder / "tng.partial"
                    partial.write_bytes(z.read(name))
                    partial.chmod(0o755)
                    partial.rename(folder / "tng")
        wheel.unlink()
