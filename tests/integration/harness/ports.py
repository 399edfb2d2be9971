"""Free ports below the range that the kernel takes for outgoing connections, so that none is taken meanwhile."""
import itertools
import os
import socket

FIRST, LAST = 12000, 31000
_next = itertools.count(FIRST + (os.getpid() * 97) % (LAST - FIRST))


def _is_free(port):
    for family, host in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
        with socket.socket(family, socket.SOCK_STREAM) as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            try:
                s.bind((host, port))
            except OSError:
                return False
    return True


def free_port():
    for number in _next:
        port = FIRST + (number - FIRST) % (LAST - FIRST)
        if _is_free(port):
            return port
    raise AssertionError("unreachable")


def free_range(count):
    """count ports in a row; the first is returned."""
    while True:
        first = free_port()
        if first + count < LAST and all(free_port() == first + i for i in range(1, count)):
            return first
