"""Runs tests/schedules, which the build makes beside the gateway: random conversations through a relay, checked."""
import json
import os
import subprocess
from pathlib import Path

from .gateway import BINARY

PROGRAM = os.environ.get("TNG_SCHEDULES", str(Path(BINARY).parent / "tests/schedules/schedules"))


def run(listen, connect, *, seed, count, parallel=100, deadline=30, resets=True, rough=False, seconds=0,
        limit=120):
    """(exit code, what was printed, the summary); listen: where the relay expects the service."""
    argv = [PROGRAM, "--listen", str(listen), "--connect", str(connect), "--seed", str(seed), "--count", str(count),
            "--parallel", str(parallel), "--deadline", str(deadline), "--seconds", str(seconds)]
    done = subprocess.run(argv + ([] if resets else ["--no-resets"]) + (["--rough"] if rough else []), stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=limit, check=False)
    lines = done.stdout.splitlines()
    summary = json.loads(lines[-1]) if lines and lines[-1].startswith("{") else {}
    return done.returncode, done.stdout, summary
