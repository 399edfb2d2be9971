"""README's first command."""
import os
import re
import signal
import subprocess

import pytest

from harness.gateway import ROOT
from harness.wait import until


@pytest.fixture
def quickstart(tmp_path):
    """Starts it with a folder for temporary files of its own."""

    def start():
        return subprocess.Popen([str(ROOT / "scripts/quickstart")], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, text=True, start_new_session=True,
                                env={**os.environ, "TMPDIR": str(tmp_path)})

    return start


def processes_with(text):
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                if text.encode() in f.read():
                    found.append(pid)
        except OSError:
            pass
    return found


def test_quickstart_shows_a_request_and_a_refusal_and_leaves_nothing(quickstart, tmp_path):
    for _ in range(2):
        child = quickstart()
        said, _ = child.communicate(timeout=600)
        assert child.returncode == 0, said
        assert "Hello from behind the tunnel." in said
        accepted = re.search(r"peer accepted.*", said).group(0)
        assert "sample" in accepted and "default" in accepted and re.search(r"http://127\.0\.0\.1:\d+", accepted)
        assert "attested(sample): done" in said
        assert "token_status" in said
        assert not os.listdir(tmp_path)
        assert not processes_with(str(tmp_path))


def test_quickstart_cleans_up_when_it_is_interrupted(quickstart, tmp_path):
    child = quickstart()
    said = ""
    while "== curl" not in said:
        line = child.stdout.readline()
        assert line, said
        said += line
    assert os.listdir(tmp_path)
    os.killpg(child.pid, signal.SIGINT)
    rest, _ = child.communicate(timeout=30)
    assert child.returncode == 130, said + rest
    assert not os.listdir(tmp_path)
    until("all its processes are gone", lambda: not processes_with(str(tmp_path)), 5)
