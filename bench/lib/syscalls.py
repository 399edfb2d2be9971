# SPDX-License-Identifier: Apache-2.0
"""System calls of a pair at work, counted by strace."""
import re
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass

from .load import Load
from .processes import Trouble

BLOCK = 65536
BULK_BYTES = 256 << 20


@dataclass
class Case:
    title: str
    mode: str
    options: dict
    unit: str
    units: callable  # how many there were, of the result
    most: dict       # call -> how many a process should need at most for one unit


def _blocks(result):
    return result["bytes"] / BLOCK


def _exchanges(result):
    return result["exchanges"]


# What a relay cannot do without, plus a tenth. Nothing else belongs into the first four. A new connection is an accepted
# socket, which inherits what it needs, and a dialled one: TCP_NODELAY, congestion control, and four for the keepalive.
# It is logged; and clients that come one by one may change the worker, which is a letter. getpid is libcrypto's.
BULK = {"sendto": 1.1, "recvfrom": 1.1, "epoll_wait": 1.1}
REQUEST = {"sendto": 2.2, "recvfrom": 3.2, "epoll_wait": 2.2}
CONNECTION = {"epoll_ctl": 2, "sendto": 4, "setsockopt": 6, "accept4": 2, "socket": 1, "connect": 1, "getpeername": 1,
              "close": 2, "shutdown": 2, "recvfrom": 5, "epoll_wait": 7.1, "write": 2, "read": 1, "getpid": 5}
CASES = (
    Case("bulk, one stream down", "bulk", {"clients": 1, "bytes": BULK_BYTES}, "64 KiB", _blocks, BULK),
    Case("bulk, one stream up", "bulk", {"clients": 1, "bytes": BULK_BYTES, "direction": "up"}, "64 KiB", _blocks, BULK),
    Case("one client", "req", {"clients": 1, "count": 3000, "seconds": 20}, "request", _exchanges, REQUEST),
    Case("64 clients", "req", {"clients": 64, "count": 20000, "seconds": 20}, "request", _exchanges, REQUEST),
    Case("one at a time", "conn", {"clients": 1, "count": 1000, "seconds": 20}, "new connection", _exchanges, CONNECTION),
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


def _print(counts, units, most):
    for call, (calls, errors) in sorted(counts.items(), key=lambda item: -item[1][0]):
        if calls / units < 0.005:
            continue
        bound = most.get(call, 0.02)
        notes = [f"{errors / units:.2f} of them fail"] if errors / units >= 0.005 else []
        if calls / units > bound:
            notes.append(f"more than {bound:g}" if call in most else "not expected here")
        print(f"    {call:16} {calls / units:7.2f}   {', '.join(notes)}".rstrip())


def run(bench, chosen):
    if not shutil.which("strace"):
        raise SystemExit("strace is not installed")
    for candidate in bench.candidates:
        if candidate.name not in chosen:
            continue
        pair = bench.pair(candidate)
        for case in CASES:
            result, counts = _trace(bench, pair, case.mode, case.options)
            for name, of in counts:
                print(f"{candidate.title}, {name}: {case.title}, per {case.unit}")
                _print(of, case.units(result), case.most)
