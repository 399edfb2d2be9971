# SPDX-License-Identifier: Apache-2.0
"""Drives bench/load.c."""
import json
import subprocess

from . import machine
from .processes import Trouble


class Load:
    """A client of some mode, connected and ready to go when the constructor returns."""

    def __init__(self, binary, mode, port, **options):
        argv = [str(binary), mode, "--port", str(port)]
        for name, value in options.items():
            argv += ["--" + name.replace("_", "-"), str(value)]
        self.mode = mode
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        preexec_fn=machine.die_with_parent)
        line = self.process.stdout.readline().strip()
        if line != "ready":
            self.close()
            raise Trouble(_why(mode + ", connecting", line))

    def begin(self):
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    def finish(self):
        """The result; the connections stay until close()."""
        line = self.process.stdout.readline()
        try:
            result = json.loads(line)
        except ValueError:
            raise Trouble(f"{self.mode}: no result: {line!r}") from None
        if result["error"] or result["failed"]:
            raise Trouble(_why(self.mode, line))
        return result

    def run(self):
        self.begin()
        return self.finish()

    def close(self):
        self.process.stdin.close()
        self.process.wait(30)
        self.process.stdout.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def _why(what, line):
    try:
        result = json.loads(line)
    except ValueError:
        return f"{what}: {line!r}"
    return (f"{what}: {result['error'] or 'failures'}: {result['failed']} failed, {result['exchanges']} done, "
            f"{result['open']} open")


class Service:
    """What stands behind the egress."""

    def __init__(self, binary, port):
        self.port = port
        self.process = subprocess.Popen([str(binary), "serve", "--port", str(port)], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, text=True, preexec_fn=machine.die_with_parent)
        if self.process.stdout.readline().strip() != "ready":
            raise Trouble("the service does not start")

    def stop(self):
        self.process.kill()
        self.process.wait()
