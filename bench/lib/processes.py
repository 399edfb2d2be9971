# SPDX-License-Identifier: Apache-2.0
"""Processes that we start, what they cost, and how they end."""
import itertools
import os
import re
import resource
import signal
import socket
import subprocess
import time
from pathlib import Path

from . import machine

TICKS = os.sysconf("SC_CLK_TCK")
START_DEADLINE = 20


class Trouble(Exception):
    """A candidate that cannot be measured; the text says why."""


class Group:
    """A process and its children, as a server with workers is."""

    def __init__(self, argv, log, env=None):
        self.argv = argv
        self.log = Path(log)
        with open(log, "wb") as out:
            self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
                                            env={**os.environ, **(env or {})}, preexec_fn=machine.die_with_parent)

    def pids(self):
        found = [self.process.pid]
        for pid in found:
            try:
                for task in os.listdir(f"/proc/{pid}/task"):
                    children = Path(f"/proc/{pid}/task/{task}/children").read_text(encoding="ascii")
                    found += [int(child) for child in children.split()]
            except OSError:
                pass
        return found

    def cpu_s(self):
        """Seconds of CPU so far."""
        return sum(_cpu_s(pid) for pid in self.pids())

    def pss_kib(self):
        return sum(_pss_kib(pid) for pid in self.pids())

    def anonymous_kib(self):
        """Of its own: what it allocated, and not what it maps of files together with others."""
        return sum(_smaps_kib(pid, "Pss_Anon") for pid in self.pids())

    def check_alive(self):
        if self.process.poll() is not None:
            raise Trouble(f"{self.argv[0]} ended with {self.process.returncode}: {self.last_words()}")

    def last_words(self):
        text = self.log.read_text(encoding="utf-8", errors="replace")
        return " / ".join(re.sub(r"\x1b\[[0-9;]*m", "", text).strip().splitlines()[-3:])

    def wait_listening(self, port):
        deadline = time.monotonic() + START_DEADLINE
        while not is_listening(port):
            self.check_alive()
            if time.monotonic() > deadline:
                raise Trouble(f"{self.argv[0]} does not listen: {self.last_words()}")
            time.sleep(0.01)

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(3)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def _cpu_s(pid):
    """The clock of the process counts what utime and stime of /proc/PID/stat count, in nanoseconds, not ticks."""
    try:
        return time.clock_gettime((~pid << 3) | 2)
    except OSError:
        pass
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS
    except OSError:
        return 0.0


def _smaps_kib(pid, name):
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    except OSError:
        return 0
    return int(re.search(rf"^{name}: +(\d+) kB", text, re.M).group(1))


def _pss_kib(pid):
    return _smaps_kib(pid, "Pss")


def can_connect(port):
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


def is_listening(port):
    """Without a connection, which would already be work for the one who listens."""
    with open("/proc/net/tcp", encoding="ascii") as f:
        return any(line.split()[1].endswith(f":{port:04X}") and line.split()[3] == "0A" for line in f)


_ports = itertools.cycle(range(10000, 20000))


def free_port():
    """Below those that the kernel gives to connections."""
    for port in _ports:
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                s.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise Trouble("no free port")


def descriptors():
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
