"""A program that runs beside the test; what it writes is kept and can be waited for."""
import os
import re
import signal
import subprocess
import threading
import time

from .wait import DEADLINE

SANITIZER = re.compile(r"AddressSanitizer|LeakSanitizer|ThreadSanitizer|UndefinedBehavior|runtime error:")
TICKS = os.sysconf("SC_CLK_TCK")


class Process:
    def __init__(self, argv, name, env=None, prepare=None, stdin=subprocess.DEVNULL):
        self.name = name
        self.lines = []
        self._more = threading.Condition()
        self.ended = False  # by the test, on purpose
        self.child = subprocess.Popen(
            argv, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env={**os.environ, **(env or {})}, preexec_fn=prepare)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for raw in self.child.stdout:
            with self._more:
                self.lines.append(raw.decode("utf-8", "replace").rstrip("\n"))
                self._more.notify_all()
        with self._more:
            self._more.notify_all()

    @property
    def pid(self):
        return self.child.pid

    @property
    def output(self):
        return "\n".join(self.lines)

    def wait_line(self, pattern, deadline=DEADLINE, count=1):
        """The match of the count-th line that has pattern."""
        compiled = re.compile(pattern)
        end = time.monotonic() + deadline
        with self._more:
            while True:
                found = [m for m in map(compiled.search, self.lines) if m]
                if len(found) >= count:
                    return found[count - 1]
                left = end - time.monotonic()
                if left <= 0 or (not self._reader.is_alive() and self.child.poll() is not None):
                    raise AssertionError(f"{self.name} did not say {pattern!r}; it said:\n{self.output}")
                self._more.wait(min(left, 0.5))

    def has_line(self, pattern):
        compiled = re.compile(pattern)
        return any(compiled.search(line) for line in self.lines)

    def send_signal(self, number):
        self.child.send_signal(number)

    def wait(self, deadline=DEADLINE):
        """The exit code; negative for a signal."""
        code = self.child.wait(deadline)
        self._reader.join(deadline)
        self.ended = True
        return code

    def stop(self, number=signal.SIGTERM, deadline=DEADLINE):
        if self.child.poll() is None:
            self.send_signal(number)
        try:
            return self.wait(deadline)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.wait()
            raise AssertionError(f"{self.name} did not stop in {deadline:g} s; it said:\n{self.output}") from None

    def kill(self):
        """As if the machine had lost power."""
        self.child.kill()
        self.wait()

    def assert_no_sanitizer_report(self):
        assert not SANITIZER.search(self.output), f"{self.name}:\n{self.output}"

    def cpu_seconds(self):
        with open(f"/proc/{self.pid}/stat", encoding="ascii") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def cpu_share(self, duration):
        """The part of one core that it used while we watched."""
        before, began = self.cpu_seconds(), time.monotonic()
        time.sleep(duration)
        return (self.cpu_seconds() - before) / (time.monotonic() - began)

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def memory_kib(self):
        with open(f"/proc/{self.pid}/status", encoding="ascii") as f:
            return int(re.search(r"VmRSS:\s+(\d+)", f.read()).group(1))
