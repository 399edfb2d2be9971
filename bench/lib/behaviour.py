# SPDX-License-Identifier: Apache-2.0
"""What a pair does to some of its connections while others want much of it."""
import os
import signal
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from .load import Load
from .processes import TICKS

MIB = 1 << 20
FAIR_CLIENTS = 8
SLOW_READERS = 1000
SLOW_BYTES = 8 * MIB  # for each: more than the kernel's buffers on the way take
STORM = 2000
LONG_CONNECTIONS = 4
BALANCE_TRIES = 5
SETTLED_S = 0.5


@dataclass
class Finding:
    """A figure, and what it must be for us; no bound for those that we are compared with."""
    what: str
    value: float
    unit: str
    least: float = None
    most: float = None

    @property
    def is_good(self):
        return (self.least is None or self.value >= self.least) and (self.most is None or self.value <= self.most)

    @property
    def bound(self):
        if self.least is not None:
            return f"≥ {self.least:g}"
        return f"≤ {self.most:g}" if self.most is not None else ""


@dataclass
class Bench:
    """Everything a scenario needs."""
    binary: Path
    pair: object
    findings: list = field(default_factory=list)

    def load(self, mode, **options):
        return Load(self.binary, mode, self.pair.port, time_limit=120, **options)

    def find(self, what, value, unit="", **bound):
        self.findings.append(Finding(what, value, unit, **bound))


def fairness(bench):
    """Eight downloads of the same size begin together: how long the fastest took of what the slowest took."""
    with ExitStack() as stack:
        loads = [stack.enter_context(bench.load("bulk", clients=1, bytes=128 * MIB, direction="down"))
                 for _ in range(FAIR_CLIENTS)]
        for load in loads:
            load.begin()
        times = [load.finish()["wall_s"] for load in loads]
    bench.find("fairness: 8 downloads, fastest / slowest", min(times) / max(times), least=0.5)


def beside_bulk(bench):
    """Small requests while four downloads take all they can get."""
    with bench.load("bulk", clients=4, bytes=64 << 30, direction="down") as bulk:
        bulk.begin()
        time.sleep(0.2)
        with bench.load("req", clients=8, seconds=3) as small:
            result = small.run()
        bulk.process.kill()
    bench.find("8 small requesters beside 4 downloads: p50", result["p50_us"] / 1000, "ms")
    bench.find("8 small requesters beside 4 downloads: p99", result["p99_us"] / 1000, "ms", most=100)


def _wait_settled(pair):
    before, still_since = pair.cpu_s(), time.monotonic()
    while time.monotonic() - still_since < SETTLED_S:
        time.sleep(0.05)
        now = pair.cpu_s()
        if now - before > 0.005:
            before, still_since = now, time.monotonic()


def slow_readers(bench):
    """A thousand readers stop; what they leave lying stays within limits.relay_memory (64 MiB), others are served, and
    when they go on, nothing is missing."""
    with bench.load("bulk", clients=SLOW_READERS, bytes=SLOW_BYTES, direction="down") as slow:
        before = bench.pair.pss_kib()
        slow.begin()
        time.sleep(0.3)  # until it flows
        os.kill(slow.process.pid, signal.SIGSTOP)
        _wait_settled(bench.pair)
        grown = bench.pair.pss_kib() - before
        with bench.load("req", clients=8, seconds=2) as small:
            result = small.run()
        os.kill(slow.process.pid, signal.SIGCONT)
        whole = slow.finish()["bytes"]
    bench.find("1000 slow readers: memory of both processes", grown / 1024, "MiB", most=2 * 64 + 16)
    bench.find("8 small requesters beside 1000 slow readers: p99", result["p99_us"] / 1000, "ms", most=100)
    bench.find("1000 slow readers: of their bytes arrived", whole / (SLOW_READERS * SLOW_BYTES), least=1, most=1)


def storm(bench):
    """Two thousand connect in the same moment; some who are there already go on."""
    with bench.load("req", clients=8, seconds=6) as others:
        others.begin()
        time.sleep(0.5)
        with bench.load("conn", clients=STORM, count=STORM, seconds=60) as many:
            result = many.run()
        beside = others.finish()
    bench.find("2000 connect at once: served", result["exchanges"], least=STORM)
    bench.find("2000 connect at once: the last one was served after", result["max_us"] / 1e6, "s", most=10)
    bench.find("8 small requesters beside them: p99", beside["p99_us"] / 1000, "ms", most=1000)


def _workers(group):
    """CPU seconds of each worker, by thread."""
    found = {}
    for task in Path(f"/proc/{group.process.pid}/task").iterdir():
        name, rest = (task / "stat").read_text(encoding="ascii").split("(", 1)[1].rsplit(")", 1)
        if name == "tng worker":
            fields = rest.split()
            found[task.name] = (int(fields[11]) + int(fields[12])) / TICKS
    return found


def balance(bench):
    """Four long connections: the work of the worker with the least of that of the one with the most; the worst of five."""
    worst = {"ingress": 1.0, "egress": 1.0}
    for _ in range(BALANCE_TRIES):
        before = {role: _workers(getattr(bench.pair, role)) for role in worst}
        with bench.load("bulk", clients=LONG_CONNECTIONS, bytes=512 * MIB, direction="up") as load:
            load.run()
        for role in worst:
            after = _workers(getattr(bench.pair, role))
            used = [after[t] - before[role][t] for t in after]
            worst[role] = min(worst[role], min(used) / max(used))
    for role, value in worst.items():
        bench.find(f"{role}: least busy worker / busiest, 4 long connections", value, least=0.4)


def cliff(bench):
    """A thousand busy connections against 64."""
    results = []
    for clients in (64, 1000):
        with bench.load("req", clients=clients, seconds=3) as load:
            results.append(load.run())
    few, many = results
    bench.find("1000 busy connections: rate of that of 64", many["exchanges"] / few["exchanges"], least=0.6)
    bench.find("1000 busy connections: p99 / p50", many["p99_us"] / many["p50_us"], most=5)


SCENARIOS = (fairness, beside_bulk, slow_readers, storm, balance, cliff)


def run(binary, pair, is_ours, spreads):
    """The findings of all scenarios. Only ours have bounds; spreads: has workers that are threads, and uses them all."""
    bench = Bench(binary, pair)
    for scenario in SCENARIOS:
        if scenario is balance and not spreads:
            continue
        scenario(bench)
        pair.check_alive()
    if not is_ours:
        for finding in bench.findings:
            finding.least = finding.most = None
    return bench.findings


def table(results):
    """results: title -> findings. Markdown."""
    whats = []
    for findings in results.values():
        whats += [f.what for f in findings if f.what not in whats]
    lines = ["| | bound for us | " + " | ".join(results) + " |", "|---|--:|" + "--:|" * len(results)]
    for what in whats:
        cells, bound = [], ""
        for findings in results.values():
            match = next((f for f in findings if f.what == what), None)
            bound = bound or (match.bound if match else "")
            cells.append("-" if match is None else
                         f"{match.value:.3g}{' ' + match.unit if match.unit else ''}{'' if match.is_good else ' **!**'}")
        lines.append(f"| {what} | {bound} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"
