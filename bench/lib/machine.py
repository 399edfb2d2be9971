# SPDX-License-Identifier: Apache-2.0
"""The machine: what it is, and a network of our own on it."""
import ctypes
import datetime
import fcntl
import os
import platform
import resource
import shutil
import signal
import socket
import struct
import subprocess
import sys

INSIDE = "TNG_BENCH_NETWORK"  # set in the process that runs in the network of its own
CONGESTION = "/proc/sys/net/ipv4/tcp_congestion_control"
# A reset whose number is not the expected one is asked about; by default not twice in half a second, and a second one is
# lost: the reader then waits for an end that was told (seen once in some 45 000 conversations with resets).
INVALID_RATE = "/proc/sys/net/ipv4/tcp_invalid_ratelimit"
LOCAL_PORTS = "/proc/sys/net/ipv4/ip_local_port_range"
DESCRIPTORS = 65536

SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1
PR_SET_PDEATHSIG = 1


def _bring_up_loopback():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        request = struct.pack("16sh22x", b"lo", 0)
        flags = struct.unpack("16sh22x", fcntl.ioctl(s, SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(s, SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", flags | IFF_UP))


def _write(path, text):
    with open(path, "w", encoding="ascii") as f:
        f.write(text)


def enter_own_network(congestion):
    """Starts this program again in a network namespace, where all ports are free, nobody else's traffic passes
    and congestion control can be chosen. Where that is not allowed it goes on in the host's network."""
    if INSIDE in os.environ:
        if os.environ[INSIDE] == "own":
            _bring_up_loopback()
            _write(LOCAL_PORTS, "20000 65535")
            _write(INVALID_RATE, "0")
            if congestion:
                _write(CONGESTION, congestion)
        return
    for how in (["unshare", "--net"], ["unshare", "--user", "--map-root-user", "--net"]):
        if shutil.which("unshare") and subprocess.run([*how, "true"], stderr=subprocess.DEVNULL).returncode == 0:
            os.environ[INSIDE] = "own"
            os.execvp(how[0], [*how, sys.executable, *sys.argv])
    os.environ[INSIDE] = "host"
    print("no network of our own (unshare --net is refused): using the host's loopback", file=sys.stderr)
    if congestion:
        sys.exit("--congestion needs a network of its own")


def raise_descriptor_limit():
    """As far as it goes; tests of many connections take what there is."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    for wanted in (max(hard, DESCRIPTORS), hard):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, wanted))
            return
        except (ValueError, OSError):
            pass


def die_with_parent():
    """In a child, between fork and exec: it ends when this program does, however that ends. A signal that it can
    pass on to children of its own."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _cpu():
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as f:
        found = dict(line.split(":", 1) for line in f if ":" in line)
    found = {k.strip(): v.strip() for k, v in found.items()}
    flags = set(found.get("flags", "").split())
    notable = [f for f in ("aes", "avx2", "vaes", "avx512f", "sha_ni") if f in flags]
    return found.get("model name", platform.machine()), notable


def _first_line(*command):
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=10)
        return done.stdout.strip().splitlines()[0]
    except (OSError, IndexError, subprocess.TimeoutExpired):
        return None


def describe():
    model, flags = _cpu()
    with open("/etc/os-release", encoding="utf-8") as f:
        system = dict(line.rstrip().split("=", 1) for line in f if "=" in line).get("PRETTY_NAME", "").strip('"')
    with open(CONGESTION, encoding="ascii") as f:
        congestion = f.read().strip()
    return {
        "date": datetime.date.today().isoformat(),
        "cpu": model,
        "cpu_flags": flags,
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "kernel": platform.release(),
        "system": system,
        "congestion_control": congestion,
        "network": os.environ.get(INSIDE, "host"),
        "openssl": (_first_line("openssl", "version") or "").split(" (")[0],
        "load_before": os.getloadavg()[0],
    }
