# SPDX-License-Identifier: Apache-2.0
"""System calls of a pair at work, counted by strace."""
import re
import shutil
import signal
import subprocess
import time

from .load import Load
from .processes import Trouble

BLOCK = 65536
BULK_BYTES = 256 << 20
CASES = (
    ("bulk, one stream down, per 64 KiB", "bulk", {"clients": 1, "bytes": BULK_BYTES}, lambda r: r["bytes"] / BLOCK),
    ("bulk, one stream up, per 64 KiB", "bulk", {"clients": 1, "bytes": BULK_BYTES, "direction": "up"},
     lambda r: r["bytes"] / BLOCK),
    ("one client, per request", "req", {"clients": 1, "count": 3000, "seconds": 20}, lambda r: r["exchanges"]),
    ("64 clients, per request", "req", {"clients": 64, "count": 20000, "seconds": 20}, lambda r: r["exchanges"]),
    ("one at a time, per new connection", "conn", {"clients": 1, "count": 1000, "seconds": 20},
     lambda r: r["exchanges"]),
)


class Trace:
    """strace -c at one process, while the block runs."""

    def __init__(self, group, path):
        self.path = path
        # Counting is in user space, so that other threads' calls are seen as well.
        self.process = subprocess.Popen(["strace", "-f", "-c", "-o", str(path), "-p", str(group.process.pid)],
                                        stderr=subprocess.PIPE, text=True)
        line = self.process.stderr.readline()
        if "attached" not in line:
            raise Trouble(f"strace: {line.strip()}")

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        self.process.wait(10)
        self.process.stderr.close()

    def counts(self):
        """(calls, errors) of each."""
        found = {}
        for line in self.path.read_text(encoding="utf-8").splitlines():
            m = re.match(r"\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(\d+)?\s+(\w+)$", line)
            if m and m[3] != "total":
                found[m[3]] = (int(m[1]), int(m[2] or 0))
        return found


def _trace(run, pair, mode, options):
    with Load(run.binary, mode, pair.port, **options) as load:
        traces = [(name, Trace(group, run.shop.folder / f"strace-{name}"))
                  for name, group in (("ingress", pair.ingress), ("egress", pair.egress))]
        time.sleep(0.2)
        result = load.run()
        for _, trace in traces:
            trace.stop()
    return result, [(name, trace.counts()) for name, trace in traces]


def _print(counts, unit):
    for call, (calls, errors) in sorted(counts.items(), key=lambda item: -item[1][0]):
        if calls / unit >= 0.005:
            failing = f"   {errors / unit:6.2f} of them fail" if errors / unit >= 0.005 else ""
            print(f"    {call:16} {calls / unit:7.2f}{failing}")


def run(bench, chosen):
    if not shutil.which("strace"):
        raise SystemExit("strace is not installed")
    for candidate in bench.candidates:
        if candidate.name not in chosen:
            continue
        pair = bench.pair(candidate)
        for title, mode, options, units in CASES:
            result, counts = _trace(bench, pair, mode, options)
            for name, of in counts:
                print(f"{candidate.title}, {name}: {title}")
                _print(of, units(result))
