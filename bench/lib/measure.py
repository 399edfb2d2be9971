# SPDX-License-Identifier: Apache-2.0
"""The tests, and how one of them is done to one pair."""
import time
from dataclasses import dataclass, field

from .load import Load
from .pairs import Pair
from .processes import Trouble, can_connect, descriptors

SETTLE_S = 0.2

TUNNELS = ("ours", "ours-mux", "up-2.12.0", "up-2.12.0-mux", "up-2.8.0", "up-2.8.0-mux", "haproxy", "nginx", "relay")
COLD = tuple(name for name in TUNNELS if not name.startswith("up-2.8.0"))  # where memory and start are looked at
TRUST = ("ours-attested", "ours-mutual", "haproxy-mutual", "haproxy-tickets")


@dataclass
class Metric:
    """What a value is called, and which way is better."""
    key: str
    title: str
    digits: int = 0
    more_is_better: bool = False


@dataclass
class Test:
    name: str
    title: str
    metrics: list  # the first one is what the test is about
    candidates: tuple = TUNNELS
    kind: str = "load"
    mode: str = ""
    options: dict = field(default_factory=dict)


@dataclass
class Scale:
    """How much of everything."""
    rounds: int
    seconds: float
    bytes: int
    idle: tuple
    idle_rounds: int
    hold_s: float   # connections are idle for so long before memory is read
    after_s: float  # and gone for so long
    idle_limit_s: int
    starts: int
    tests: tuple


CPU_GB = Metric("cpu", "CPU-s/GB", 2)
RATE = Metric("rate", "MB/s", 0, True)
P50, P99 = Metric("p50", "p50 us", 0), Metric("p99", "p99 us", 0)


def _bulk(clients, direction):
    return Test(f"bulk{clients}-{direction}", f"bulk, {clients} stream{'s' * (clients > 1)}, {direction}", [CPU_GB, RATE],
                (*TUNNELS, "haproxy-aes128"), mode="bulk", options={"clients": clients, "direction": direction})


def _requests(clients):
    return Test(f"req{clients}", f"requests, {clients} client{'s' * (clients > 1)}",
                [Metric("cpu", "CPU-us/request", 1), Metric("rate", "1/s", 0, True), P50, P99],
                mode="req", options={"clients": clients})


def _connections(clients):
    return Test(f"conn{clients}", f"new connections, {clients} at a time",
                [Metric("cpu", "CPU-us/connection", 0), Metric("rate", "1/s", 0, True), P50, P99],
                TUNNELS + TRUST, mode="conn", options={"clients": clients})


def _idle(wanted):
    """A gateway needs two descriptors for each connection."""
    count = min(wanted, descriptors() // 2 - 200)
    return Test(f"idle{wanted}", f"{count} idle connections",
                [Metric("cpu", "KiB/connection", 1), Metric("at_once", "at once", 1), Metric("start", "MiB before", 1),
                 Metric("after", "MiB after", 1)],
                COLD, kind="idle", options={"clients": count})


START = Test("start", "start of the ingress", [Metric("cpu", "ms to accept", 1)], COLD, kind="start")


def tests(scale):
    every = [_bulk(1, "down"), _bulk(1, "up"), _bulk(4, "down"), _bulk(4, "up"), _connections(8), _connections(1),
             _requests(1), _requests(64), _requests(1000), *(_idle(n) for n in scale.idle), START]
    return [t for t in every if not scale.tests or t.name in scale.tests]


QUICK = Scale(rounds=3, seconds=0.4, bytes=96 << 20, idle=(500,), idle_rounds=1, hold_s=5, after_s=1, idle_limit_s=3, starts=5,
              tests=("bulk1-down", "bulk4-up", "conn8", "req1", "req64", "idle500", "start"))
STANDARD = Scale(rounds=3, seconds=1, bytes=512 << 20, idle=(2000,), idle_rounds=1, hold_s=5, after_s=5, idle_limit_s=20, starts=20, tests=())
FULL = Scale(rounds=5, seconds=2, bytes=1 << 30, idle=(2000, 10000), idle_rounds=2, hold_s=5, after_s=5, idle_limit_s=20, starts=20, tests=())


def check(pair, binary):
    """Bytes must come through whole before it matters how fast."""
    with Load(binary, "check", pair.port, clients=3, time_limit=15) as load:
        load.run()


def _options(test, scale):
    if test.mode == "bulk":
        return {**test.options, "bytes": scale.bytes // test.options["clients"]}
    return {**test.options, "seconds": scale.seconds}


def _measure_load(test, scale, pair, binary):
    with Load(binary, test.mode, pair.port, **_options(test, scale)) as load:
        before = pair.cpu_s()
        result = load.run()
        cpu = pair.cpu_s() - before
    pair.check_alive()
    if test.mode == "bulk":
        return {"cpu": cpu / result["bytes"] * 1e9, "rate": result["bytes"] / result["wall_s"] / 1e6}
    return {"cpu": cpu / result["exchanges"] * 1e6, "rate": result["exchanges"] / result["wall_s"],
            "p50": result["p50_us"], "p99": result["p99_us"]}


def _measure_idle(test, scale, candidate, bench):
    """A fresh pair, since memory has a past. One connection first: what is made once is not counted."""
    pair = bench.open_pair(candidate)
    count = test.options["clients"]
    try:
        time.sleep(SETTLE_S)
        start = pair.pss_kib()
        with Load(bench.binary, "idle", pair.port, clients=1) as load:
            load.run()
        base = pair.pss_kib()
        with Load(bench.binary, "idle", pair.port, clients=count, time_limit=scale.idle_limit_s) as load:
            time.sleep(SETTLE_S)
            at_once = pair.pss_kib()
            time.sleep(scale.hold_s)
            held = pair.pss_kib()
            load.run()
        time.sleep(scale.after_s)
        return {"cpu": (held - base) / count, "at_once": (at_once - base) / count, "start": start / 1024,
                "after": pair.pss_kib() / 1024}
    finally:
        pair.stop()


def _measure_start(candidate, bench):
    """From before fork and exec to a connection that the kernel has accepted for it."""
    argv, env, port = bench.ingress_command(candidate)
    before = time.monotonic()
    group = bench.start(argv, env, f"{candidate.name}-start")
    try:
        while not can_connect(port):
            group.check_alive()
            if time.monotonic() > before + 10:
                raise Trouble("does not start")
        return {"cpu": (time.monotonic() - before) * 1e3}
    finally:
        group.stop()


def run_one(test, scale, candidate, bench):
    """The values of one test of one candidate in one round."""
    if test.kind == "idle":
        return _measure_idle(test, scale, candidate, bench)
    if test.kind == "start":
        return _measure_start(candidate, bench)
    return _measure_load(test, scale, bench.pair(candidate), bench.binary)


def wants_silence(test):
    """Memory is shared with other processes of the same binary, and starting competes with all: these come first,
    when no pair stands."""
    return test.kind in ("idle", "start")


def rounds_of(test, scale):
    return {"idle": scale.idle_rounds, "start": scale.starts}.get(test.kind, scale.rounds)


__all__ = ["Pair", "Scale", "Test", "tests", "check", "run_one", "rounds_of", "wants_silence", "QUICK", "STANDARD", "FULL"]
