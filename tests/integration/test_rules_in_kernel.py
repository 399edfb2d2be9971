"""
What the rules do to packets: client, gateway and service are namespaces, the test plays the listeners.

   client 10.1.0.2 --- 10.1.0.1 gateway 10.2.0.1 --- 10.2.0.2 service       (fd01::/64, fd02::/64 likewise)
"""
import ctypes
import json
import os
import shutil
import socket
import subprocess
import threading

import pytest

from harness.gateway import BINARY

pytestmark = pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("ip"),
                                reason="needs root, to make network namespaces")

CLONE_NEWNET = 0x40000000
SOL_IP, IP_TRANSPARENT, IP_BIND_ADDRESS_NO_PORT = 0, 19, 24
SOL_IPV6, IPV6_TRANSPARENT = 41, 75
SO_MARK = 36
CLIENT, SERVICE, SERVICE6 = "10.1.0.2", "10.2.0.2", "fd02::2"


def sh(*args):
    done = subprocess.run(args, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{args}: {done.stderr}"
    return done.stdout


class Host:
    def __init__(self, name):
        self.name = name
        sh("ip", "netns", "add", name)
        self.ip("link", "set", "lo", "up")

    def ip(self, *args):
        sh("ip", "-n", self.name, *args)

    def tng(self, *args):
        sh("nsenter", f"--net=/run/netns/{self.name}", BINARY, *args)

    def inside(self, make):
        """A socket belongs to the namespace of the thread that made it."""
        result = []

        def work():
            fd = os.open(f"/run/netns/{self.name}", os.O_RDONLY)
            try:
                if ctypes.CDLL(None, use_errno=True).setns(fd, CLONE_NEWNET) != 0:
                    raise OSError(ctypes.get_errno(), "setns")
                result.append(make())
            except OSError as e:
                result.append(e)
            finally:
                os.close(fd)

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        if isinstance(result[0], OSError):
            raise result[0]
        return result[0]

    def listen(self, address, port, transparent=False):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET

        def make():
            s = socket.socket(family)
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if transparent and family == socket.AF_INET6:
                s.setsockopt(SOL_IPV6, IPV6_TRANSPARENT, 1)
            elif transparent:
                s.setsockopt(SOL_IP, IP_TRANSPARENT, 1)
            s.bind((address, port))
            s.listen(8)
            s.settimeout(5)
            return s
        return self.inside(make)

    def connect(self, address, port, mark=0, source=None, timeout=5):
        def make():
            s = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
            s.settimeout(timeout)
            if mark:
                s.setsockopt(socket.SOL_SOCKET, SO_MARK, mark)
            if source:
                s.setsockopt(SOL_IP, IP_TRANSPARENT, 1)
                s.setsockopt(SOL_IP, IP_BIND_ADDRESS_NO_PORT, 1)
                s.bind((source, 0))
            s.connect((address, port))
            return s
        return self.inside(make)


def link(a, a_name, a_net, b, b_name, b_net):
    sh("ip", "link", "add", a_name, "netns", a.name, "type", "veth", "peer", "name", b_name, "netns", b.name)
    for host, name, net in ((a, a_name, a_net), (b, b_name, b_net)):
        for address in net:
            host.ip("addr", "add", address, "dev", name, *(["nodad"] if ":" in address else []))
        host.ip("link", "set", name, "up")


class Net:
    def __init__(self):
        self.hosts = []
        try:
            self.client, self.gateway, self.service = (self.add(x) for x in "cgs")
            link(self.client, "v0", ("10.1.0.2/24", "fd01::2/64"), self.gateway, "e1", ("10.1.0.1/24", "fd01::1/64"))
            link(self.service, "v0", ("10.2.0.2/24", "fd02::2/64"), self.gateway, "e0", ("10.2.0.1/24", "fd02::1/64"))
            for host, n in ((self.client, 1), (self.service, 2)):
                host.ip("route", "add", "default", "via", f"10.{n}.0.1")
                host.ip("-6", "route", "add", "default", "via", f"fd0{n}::1")
            sh("ip", "netns", "exec", self.gateway.name, "sysctl", "-qw", "net.ipv4.ip_forward=1",
               "net.ipv6.conf.all.forwarding=1")
        except BaseException:
            self.remove()
            raise

    def add(self, suffix):
        self.hosts.append(Host(f"tng-{os.getpid()}-rules-{suffix}"))
        return self.hosts[-1]

    def remove(self):
        for host in self.hosts:
            sh("ip", "netns", "del", host.name)


@pytest.fixture
def net():
    n = Net()
    yield n
    n.remove()


@pytest.fixture(params=["nft", "iptables"])
def apply(request, tmp_path):
    def do(host, **document):
        file = tmp_path / "tng.json"
        file.write_text(json.dumps(document))
        host.tng("iptables", "-c", str(file), "--backend", request.param)
    return do


def ingress(**netfilter):
    return [{"netfilter": {"listen_port": 5000, **netfilter}, "no_ra": True}]


def egress(**netfilter):
    return [{"netfilter": netfilter, "no_ra": True}]


def arrives(client, listener):
    """Both ways. Returns the addresses that the listener sees: its own, and the peer's."""
    near, _ = listener.accept()
    near.settimeout(5)
    client.sendall(b"there")
    assert near.recv(9) == b"there"
    near.sendall(b"back")
    assert client.recv(9) == b"back"
    return near.getsockname()[:2], near.getpeername()[0]


def refuses(connect):
    with pytest.raises(ConnectionRefusedError):
        connect()


def test_local_connections_keep_their_destination_by_tproxy(net, apply):
    apply(net.client, add_ingress=ingress(capture_dst={"port": 80}, ipv6="capture"))
    four = net.client.listen("127.0.0.1", 5000, transparent=True)
    six = net.client.listen("::1", 5000, transparent=True)
    service = net.service.listen("0.0.0.0", 80)
    assert arrives(net.client.connect(SERVICE, 80), four) == ((SERVICE, 80), CLIENT)
    assert arrives(net.client.connect(SERVICE6, 80), six) == ((SERVICE6, 80), "fd01::2")
    # our own, whatever the other bits of the mark are
    assert arrives(net.client.connect(SERVICE, 80, mark=0x11000235), service) == ((SERVICE, 80), CLIENT)


def test_two_ingresses_get_what_is_theirs(net, apply):
    apply(net.client, add_ingress=ingress(capture_dst={"port": 80}) +
          ingress(capture_dst={"port": 81}, listen_port=5001))
    first, second = (net.client.listen("127.0.0.1", port, transparent=True) for port in (5000, 5001))
    assert arrives(net.client.connect(SERVICE, 81), second)[0] == (SERVICE, 81)
    assert arrives(net.client.connect(SERVICE, 80), first)[0] == (SERVICE, 80)


def test_without_a_listener_nothing_reaches_the_service(net, apply):
    apply(net.client, add_ingress=ingress(capture_dst={"port": 80}))
    service = net.service.listen("0.0.0.0", 80)
    with pytest.raises(TimeoutError):
        net.client.connect(SERVICE, 80, timeout=0.5)
    service.setblocking(False)
    with pytest.raises(BlockingIOError):
        service.accept()


def test_redirect_takes_local_connections_and_ipv6_is_refused(net, apply):
    apply(net.client, add_ingress=ingress(capture_dst={"port": 80}, method="redirect"))
    listener = net.client.listen("127.0.0.1", 5000)
    net.service.listen("::", 80)
    assert arrives(net.client.connect(SERVICE, 80), listener) == (("127.0.0.1", 5000), CLIENT)
    refuses(lambda: net.client.connect(SERVICE6, 80))  # the host has a global address: the default


def test_forwarded_connections_are_fully_transparent(net, apply):
    apply(net.gateway, add_ingress=ingress(capture_dst={"port": 80}, scope="forward", in_ifname=["e1"],
                                           transparency={"out": True}))
    listener = net.gateway.listen("127.0.0.1", 5000, transparent=True)
    service = net.service.listen("0.0.0.0", 80)
    other = net.service.listen("0.0.0.0", 5000)
    assert arrives(net.client.connect(SERVICE, 80), listener) == ((SERVICE, 80), CLIENT)
    assert arrives(net.gateway.connect(SERVICE, 80, mark=565, source=CLIENT), service) == ((SERVICE, 80), CLIENT)
    # the listener's port, elsewhere
    assert arrives(net.client.connect(SERVICE, 5000), other) == ((SERVICE, 5000), CLIENT)
    refuses(lambda: net.client.connect("10.1.0.1", 80))  # the gateway itself is no destination


def test_an_egress_takes_what_comes_and_leaves_what_is_its_own(net, apply):
    apply(net.service, add_egress=egress(capture_dst={"port": 80}))
    listener = net.service.listen("0.0.0.0", 40000)
    service = net.service.listen("0.0.0.0", 80)
    elsewhere = net.client.listen("0.0.0.0", 80)
    assert arrives(net.client.connect(SERVICE, 80), listener) == ((SERVICE, 40000), CLIENT)
    assert arrives(net.service.connect(SERVICE, 80), service)[0] == (SERVICE, 80)
    assert arrives(net.service.connect("127.0.0.1", 80, mark=565), service)[0] == ("127.0.0.1", 80)
    assert arrives(net.service.connect(CLIENT, 80), elsewhere)[0] == (CLIENT, 80)


def test_an_egress_takes_local_connections_where_it_is_told_to(net, apply):
    apply(net.service, add_egress=egress(capture_dst={"port": 80}, capture_local_traffic=True))
    listener = net.service.listen("0.0.0.0", 40000)
    service = net.service.listen("0.0.0.0", 80)
    elsewhere = net.client.listen("0.0.0.0", 80)
    assert arrives(net.service.connect(SERVICE, 80), listener)[0] == ("127.0.0.1", 40000)
    assert arrives(net.service.connect("127.0.0.1", 80, mark=565), service)[0] == ("127.0.0.1", 80)
    assert arrives(net.service.connect(CLIENT, 80), elsewhere)[0] == (CLIENT, 80)


def test_a_service_on_the_egress_sees_the_peer(net, apply):
    apply(net.service, add_egress=egress(capture_dst={"port": 80}, transparency={"in": True, "out": True}))
    listener = net.service.listen("0.0.0.0", 40000, transparent=True)
    service = net.service.listen("0.0.0.0", 80)
    assert arrives(net.client.connect(SERVICE, 80), listener) == ((SERVICE, 80), CLIENT)
    assert arrives(net.service.connect(SERVICE, 80, mark=565, source=CLIENT), service) == ((SERVICE, 80), CLIENT)


def test_what_was_refused_is_refused_before_anybody_listens(net, tmp_path):
    file = tmp_path / "tng.json"
    file.write_text(json.dumps({"add_ingress": ingress(capture_dst={"port": 80}, open_ports="negative_cache")}))
    net.client.tng("iptables", "-c", str(file), "--backend", "nft")
    listener = net.client.listen("127.0.0.1", 5000, transparent=True)
    sh("ip", "netns", "exec", net.client.name, "nft", "add element inet tng i0_refused4 { 10.2.0.2 . 80 timeout 60s }")
    refuses(lambda: net.client.connect(SERVICE, 80))
    assert arrives(net.client.connect("10.2.0.3", 80), listener)[0] == ("10.2.0.3", 80)


@pytest.mark.parametrize("scope,host", [("local", "client"), ("forward", "gateway")])
def test_connect_first_lets_nothing_pass_while_nobody_decides(net, tmp_path, scope, host):
    file = tmp_path / "tng.json"
    entry = ingress(capture_dst={"port": 80}, open_ports="connect_first", scope=scope)
    file.write_text(json.dumps({"add_ingress": entry}))
    getattr(net, host).tng("iptables", "-c", str(file))
    getattr(net, host).listen("127.0.0.1", 5000, transparent=True)
    service = net.service.listen("0.0.0.0", 80)
    with pytest.raises(TimeoutError):
        net.client.connect(SERVICE, 80, timeout=0.5)
    service.setblocking(False)
    with pytest.raises(BlockingIOError):
        service.accept()


def test_two_instances_live_side_by_side(net, apply):
    blue = {"instance": "blue"}
    apply(net.client, add_ingress=ingress(capture_dst={"port": 80}))
    apply(net.client, add_ingress=ingress(capture_dst={"port": 81}, listen_port=5001), interception=blue)
    first, second = (net.client.listen("127.0.0.1", port, transparent=True) for port in (5000, 5001))
    service = net.service.listen("0.0.0.0", 81)
    assert arrives(net.client.connect(SERVICE, 80), first)[0] == (SERVICE, 80)
    assert arrives(net.client.connect(SERVICE, 81), second)[0] == (SERVICE, 81)
    net.client.tng("cleanup-iptables", "--instance", "blue")
    assert arrives(net.client.connect(SERVICE, 80), first)[0] == (SERVICE, 80)
    assert arrives(net.client.connect(SERVICE, 81), service)[0] == (SERVICE, 81)
