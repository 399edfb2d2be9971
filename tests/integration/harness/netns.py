"""
Hosts made of network namespaces: a pair, a routed and a bridged gateway between two (interception.md 8.2). Nothing
outside of them is touched, and with them all goes that was made inside.
"""
import ctypes
import itertools
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from .wait import until


_libc = ctypes.CDLL(None, use_errno=True)
_serial = itertools.count()
CLONE_NEWNET = 0x40000000
SO_NETNS_COOKIE = 71


def _setns(descriptor):
    if _libc.setns(descriptor, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def skip_without_namespaces():
    """What cannot run here is skipped with its reason."""
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    for tool in ("ip", "nsenter", "nft", "iptables", "tcpdump"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    name = f"tng-probe-{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", name], stderr=subprocess.PIPE, text=True, check=False)
    if made.returncode != 0:
        pytest.skip(f"no network namespaces here: {made.stderr.strip()}")
    subprocess.run(["ip", "netns", "del", name], check=True)


# As "update-alternatives --set iptables" does it, in a mount namespace of its own.
_CHOOSE_LEGACY = """
mount -t tmpfs tmpfs /mnt && cp -a /etc/alternatives /mnt/ || exit
for tool in iptables iptables-save iptables-restore ip6tables ip6tables-save ip6tables-restore; do
    case $tool in ip6*) legacy=ip6tables-legacy${tool#ip6tables};; *) legacy=iptables-legacy${tool#iptables};; esac
    ln -sf /usr/sbin/$legacy /mnt/alternatives/$tool || exit
done
mount --bind /mnt/alternatives /etc/alternatives && umount -l /mnt && exec "$0" "$@"
"""


def legacy_tools():
    """In front of a command, for which iptables is iptables-legacy."""
    if not Path("/usr/sbin/iptables-legacy").exists() or not Path("/etc/alternatives/iptables").exists():
        pytest.skip("iptables-legacy is not installed as in Debian")
    return ("unshare", "--mount", "sh", "-c", _CHOOSE_LEGACY)


class Host:
    """
    A network namespace. Within "with host:" sockets that this thread makes are of that host; they stay so afterwards.
    """

    def __init__(self, name):
        self.label = name
        self.name = f"tng-{os.getpid()}-{next(_serial)}-{name}"
        subprocess.run(["ip", "netns", "add", self.name], check=True)
        self.path = f"/run/netns/{self.name}"
        self._ours = []
        self.run("sysctl", "-q", "-w", "net.ipv6.conf.default.accept_dad=0")
        self.run("ip", "link", "set", "lo", "up")

    @property
    def within(self):
        """In front of a command. Not "ip netns exec", which hides /sys/fs/cgroup (8.1)."""
        return ("nsenter", f"--net={self.path}")

    def run(self, *command, stdin=None, check=True):
        done = subprocess.run([*self.within, *command], input=stdin, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, check=False)
        if check and done.returncode != 0:
            raise AssertionError(f"{self.label}: {' '.join(command)}: {done.returncode}: {done.stderr}{stdin or ''}")
        return done.stdout

    def lines(self, text):
        """Several commands, one for each line, without a shell."""
        for line in text.strip().splitlines():
            if line.strip():
                self.run(*line.split())

    def sysctl(self, **values):
        for name, value in values.items():
            self.run("sysctl", "-q", "-w", f"{name.replace('__', '.')}={value}")

    def __enter__(self):
        self._ours.append(os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC))
        theirs = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _setns(theirs)
        finally:
            os.close(theirs)
        return self

    def __exit__(self, *_):
        ours = self._ours.pop()
        _setns(ours)
        os.close(ours)

    def is_settled(self):
        """Whether every link that is up has its IPv6 addresses in use: their routes come a moment later."""
        addresses = self.run("ip", "-6", "-o", "addr", "show")
        routes = self.run("ip", "-6", "route", "show", "table", "local")
        links = [line.split()[1].split("@")[0].rstrip(":")
                 for line in self.run("ip", "-o", "link", "show", "up").splitlines()
                 if "LOOPBACK" not in line and " master " not in line]
        return ("tentative" not in addresses and
                all(re.search(rf"(?m)^\d+: {link}\s+inet6 fe80:", addresses) for link in links) and
                all(f"local {a} " in routes for a in re.findall(r"inet6 (\S+)/", addresses)))

    def state(self):
        """
        Rules, sets, policy rules and routes, for comparing before and after; counters left out, and the empty
        built-in chains that iptables makes when it is first used.
        """
        empty = r"(?m)^table \S+ \S+ \{\n(?:\n?\tchain \S+ \{\n\t\ttype [^\n]*\n\t\}\n)*\}\n?"
        builtin = r"(?m)\n?^\tchain [A-Z]+ \{\n\t\ttype [^\n]* policy accept;\n\t\}\n"
        parts = [re.sub(builtin, "", re.sub(empty, "", self.run("nft", "-s", "list", "ruleset")))]
        for tool in ("iptables-legacy-save", "ip6tables-legacy-save"):
            if shutil.which(tool):
                parts.append("\n".join(re.findall(r"(?m)^(?:-A .*|:\S+ -.*)$", self.run(tool, check=False))))
        for family in ("-4", "-6"):
            parts.append(self.run("ip", family, "rule"))
            parts.append(self.run("ip", family, "route", "show", "table", "all"))
        return "\n".join(parts)

    def cookie(self):
        with self, socket.socket() as s:
            return int.from_bytes(s.getsockopt(socket.SOL_SOCKET, SO_NETNS_COOKIE, 8), sys.byteorder)

    def remove(self):
        """With what gateways that were killed in it have written down."""
        for file in Path("/run/tng").glob(f"{self.cookie()}.*"):
            file.unlink(missing_ok=True)
        subprocess.run(["ip", "netns", "del", self.name], check=False)


def _veth(one, one_if, other, other_if):
    subprocess.run(["ip", "link", "add", one_if, "netns", one.name, "type", "veth", "peer", "name", other_if, "netns",
                    other.name], check=True)
    for host, name in ((one, one_if), (other, other_if)):
        host.run("ip", "link", "set", name, "up")


def _addresses(host, interface, *addresses):
    for a in addresses:
        host.run("ip", "addr", "add", a, "dev", interface, *(["nodad"] if ":" in a else []))


class Topology:
    """on(stack) makes one, and removes it with the stack, also when it could not be made as a whole."""

    def __init__(self):
        self.hosts = []

    @classmethod
    def on(cls, stack):
        t = cls()
        stack.add(t, t.remove)
        t.build()
        until("the links are up", lambda: all(h.is_settled() for h in t.hosts))
        return t

    def build(self):
        raise NotImplementedError

    def host(self, name):
        h = Host(name)
        self.hosts.append(h)
        return h

    def remove(self):
        for h in self.hosts:
            h.remove()


class Pair(Topology):
    """T2: client and server, one wire. The server has two IPv4 addresses, so that it can play two services."""
    client_v4, server_v4, second_v4 = "10.77.0.1", "10.77.0.2", "10.77.0.3"
    client_v6, server_v6 = "fd77::1", "fd77::2"
    wire = "v0"

    def build(self):
        self.c, self.s = self.host("c"), self.host("s")
        _veth(self.c, "v0", self.s, "v0")
        _addresses(self.c, "v0", f"{self.client_v4}/24", f"{self.client_v6}/64")
        _addresses(self.s, "v0", f"{self.server_v4}/24", f"{self.second_v4}/24", f"{self.server_v6}/64")


class Routed(Topology):
    """T3: cl - gw - sv; sv's way back leads through gw."""
    client_v4, server_v4 = "172.28.56.2", "192.168.56.2"
    client_v6, server_v6 = "fd01::2", "fd02::2"

    def build(self):
        self.cl, self.gw, self.sv = self.host("cl"), self.host("gw"), self.host("sv")
        _veth(self.cl, "eth0", self.gw, "eth1")
        _veth(self.gw, "eth0", self.sv, "eth0")
        _addresses(self.cl, "eth0", "172.28.56.2/24", "fd01::2/64")
        _addresses(self.gw, "eth1", "172.28.56.1/24", "fd01::1/64")
        _addresses(self.gw, "eth0", "192.168.56.1/24", "fd02::1/64")
        _addresses(self.sv, "eth0", "192.168.56.2/24", "fd02::2/64")
        self.cl.lines("ip route add default via 172.28.56.1\nip -6 route add default via fd01::1")
        self.sv.lines("ip route add default via 192.168.56.1\nip -6 route add default via fd02::1")
        self.gw.sysctl(net__ipv4__ip_forward=1, net__ipv6__conf__all__forwarding=1)


class Bridged(Topology):
    """TB: cl - br - sv on one network; br has an address of its own."""
    client_v4, server_v4 = "192.168.56.2", "192.168.56.3"
    client_v6, server_v6 = "fd56::2", "fd56::3"

    def build(self):
        self.cl, self.br, self.sv = self.host("cl"), self.host("br"), self.host("sv")
        _veth(self.cl, "eth0", self.br, "eth1")
        _veth(self.br, "eth0", self.sv, "eth0")
        self.br.lines("""
            ip link add br0 type bridge stp_state 0 forward_delay 0
            ip link set eth0 master br0
            ip link set eth1 master br0
            ip link set br0 up""")
        _addresses(self.cl, "eth0", "192.168.56.2/24", "fd56::2/64")
        _addresses(self.br, "br0", "192.168.56.11/24", "fd56::11/64")
        _addresses(self.sv, "eth0", "192.168.56.3/24", "fd56::3/64")
        if Path("/proc/sys/net/bridge").exists():
            self.br.run("sysctl", "-q", "-w", "net.bridge.bridge-nf-call-iptables=0",
                        "net.bridge.bridge-nf-call-ip6tables=0")


class Wire:
    """What passes an interface, from when it was made until stop()."""

    def __init__(self, host, interface):
        self._folder = tempfile.TemporaryDirectory(prefix="tng-wire-")
        self.file = Path(self._folder.name) / "wire.pcap"
        self._child = subprocess.Popen(
            [*host.within, "tcpdump", "-i", interface, "-U", "--immediate-mode", "-s", "0", "-Z", "root", "-B", "8192",
             "-w", str(self.file)],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        # It captures from this line on.
        for line in self._child.stderr:
            if "listening on" in line:
                break
        else:
            raise AssertionError("tcpdump did not start")
        self.bytes = None

    def stop(self):
        """All that passed."""
        if self.bytes is None:
            # SIGINT: it takes what the kernel still holds, and tells what was lost.
            self._child.send_signal(signal.SIGINT)
            told = self._child.stderr.read()
            self._child.wait()
            assert re.search(r"(?m)^0 packets dropped by kernel", told), told
            self.bytes = self.file.read_bytes()
            self._folder.cleanup()
        return self.bytes

    def finish(self):
        if self._child.poll() is None:
            self._child.kill()
        self._child.wait()
        self._folder.cleanup()
