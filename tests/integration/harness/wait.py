"""Waiting: always for something to happen, never longer than a deadline."""
import time

DEADLINE = 15.0  # generous, for a loaded machine with sanitizers; what must be quick says so itself


def until(what, condition, deadline=DEADLINE, pause=0.01):
    """Calls condition until it returns something true, and returns that."""
    end = time.monotonic() + deadline
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > end:
            raise AssertionError(f"did not happen in {deadline:g} s: {what}")
        time.sleep(pause)


def never(what, condition, duration, pause=0.02):
    """Watches for a while that condition stays false: for what must not happen while something is held."""
    end = time.monotonic() + duration
    while time.monotonic() < end:
        assert not condition(), f"happened: {what}"
        time.sleep(pause)


# Looking on from outside: a connection made to find out whether something listens would be a flow.

def _tcp_rows():
    rows = []
    for name in ("/proc/net/tcp", "/proc/net/tcp6"):
        with open(name, encoding="ascii") as f:
            rows += [line.split() for line in f.readlines()[1:]]
    return rows


def _port(address):
    return int(address.split(":")[1], 16)


def listening_ports():
    return {_port(row[1]) for row in _tcp_rows() if row[3] == "0A"}


def established_to(port):
    """How many connections to this port of the machine are established, seen from those who connected."""
    return sum(row[3] == "01" and _port(row[2]) == port for row in _tcp_rows())
