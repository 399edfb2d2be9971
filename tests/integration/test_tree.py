"""The shape of the sources (docs/architecture.md): each header compiles alone, includes point downwards only."""
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from harness.gateway import BINARY, ROOT

SRC = ROOT / "src"
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.M)

# From the bottom to the top. Neighbours in a row do not include each other.
ROWS = [
    {"base"},
    {"codec", "io", "metrics"},
    {"http", "config", "crypto"},
    {"attest"},
    {"capture", "route", "tunnel", "relay", "control", "observe", "lab"},
    {"gateway"},
    {"."},  # main.c, cmd_*.c
]
LEVEL = {folder: level for level, row in enumerate(ROWS) for folder in row}


def sources():
    return [p for p in sorted(SRC.rglob("*.[ch]"))]


def folder_of(path):
    parts = Path(path).parts
    return parts[0] if len(parts) > 1 else "."


def test_every_folder_has_its_row():
    assert {folder_of(p.relative_to(SRC)) for p in sources()} <= set(LEVEL)


def test_includes_point_downwards():
    wrong = []
    for path in sources():
        own = folder_of(path.relative_to(SRC))
        for included in INCLUDE.findall(path.read_text()):
            other = folder_of(included)
            is_generated = other == "." and not (SRC / included).exists()
            if other != own and not is_generated and LEVEL[other] >= LEVEL[own]:
                wrong.append(f"{path.relative_to(ROOT)} includes {included}")
    assert not wrong, "\n".join(wrong)


def test_only_crypto_includes_openssl():
    wrong = [str(p.relative_to(ROOT)) for p in sources()
             if re.search(r"#\s*include\s+<openssl/", p.read_text())
             and folder_of(p.relative_to(SRC)) != "crypto"]
    assert not wrong


def test_only_main_exits():
    allowed = {"src/main.c",
               "src/gateway/gateway.c",  # the second signal: _exit()
               # the ends of forked processes: _exit()
               "src/capture/guard.c", "src/capture/doctor_rules.c", "src/capture/doctor_scratch.c"}
    wrong = [str(p.relative_to(ROOT)) for p in sources()
             if re.search(r"^[^*/]*\b_?exit\(", p.read_text(), re.M) and str(p.relative_to(ROOT)) not in allowed]
    assert not wrong


def test_each_header_compiles_alone():
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    flags = subprocess.run(["pkg-config", "--cflags", "openssl", "libnghttp2", "libcurl", "libprotobuf-c"],
                           stdout=subprocess.PIPE, text=True, check=True).stdout.split()

    def compile_alone(header):
        done = subprocess.run(
            [compiler, "-fsyntax-only", "-std=gnu11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", f"-I{SRC}",
             f"-I{Path(BINARY).parent}/proto", *flags, "-x", "c", "-"],
            input=f'#include "{header.relative_to(SRC)}"\n', stderr=subprocess.PIPE, text=True, check=False)
        return done.stderr

    with ThreadPoolExecutor(2) as pool:
        errors = [e for e in pool.map(compile_alone, [p for p in sources() if p.suffix == ".h"]) if e]
    assert not errors, "\n".join(errors)
