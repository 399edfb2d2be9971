# SPDX-License-Identifier: Apache-2.0
"""
Two hosts as network namespaces with a wire between them, and the ways by which a client's connection comes to an
ingress: told its address (mapping), diverted by NAT (REDIRECT), diverted without (TPROXY); ours and HAProxy's. The egress
beside the service is the same for all ways of one candidate, so that what differs is the capture.
"""
import json
import os
import pwd
import shutil
import statistics
import subprocess
import time

from . import machine
from .load import Load
from .pairs import WORKERS
from .processes import Group, Trouble, descriptors

CLIENT, SERVER, TUNNEL_PORT, SERVICE_PORT = "10.77.0.1", "10.77.0.2", 8080, 9000
LISTEN_PORT, CAPTURE_PORT = 8081, 21000
WAYS = ("mapping", "redirect", "tproxy")
STAND_S = 20
OTHER_USER = "nobody"  # as which HAProxy runs, so that rules can tell its own connections


class Hosts:
    """This process is in the client's namespace; the server's is another one, held open by a process that sleeps."""

    def __init__(self):
        self._holder = subprocess.Popen(["unshare", "--net", "sleep", "7200"], preexec_fn=machine.die_with_parent)
        self.on_server = ["nsenter", f"--net=/proc/{self._holder.pid}/ns/net"]
        own = os.stat("/proc/self/ns/net").st_ino
        deadline = time.monotonic() + STAND_S
        while os.stat(f"/proc/{self._holder.pid}/ns/net").st_ino == own:
            if time.monotonic() > deadline:
                raise Trouble("no second network namespace")
            time.sleep(0.01)
        _run("ip", "link", "add", "v0", "type", "veth", "peer", "name", "v0", "netns", str(self._holder.pid))
        for where, address in (([], CLIENT), (self.on_server, SERVER)):
            _run(*where, "ip", "addr", "add", f"{address}/24", "dev", "v0")
            _run(*where, "ip", "link", "set", "v0", "up")
            _run(*where, "ip", "link", "set", "lo", "up")
            # Between two hosts a port in TIME_WAIT stays taken for a minute: after 22 000 connections to one service each
            # connect() searches all even ports, 10 ms long, whoever calls it.
            _run(*where, "sysctl", "-q", "-w", f"net.ipv4.ip_local_port_range={CAPTURE_PORT + 1} 65535",
                 "net.ipv4.tcp_tw_reuse=1")

    def stop(self):
        self._holder.kill()
        self._holder.wait()


def _run(*argv, **options):
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, **options)
    if done.returncode != 0:
        raise Trouble(f"{' '.join(argv)}: {done.stdout.strip()}")


# ---- ours ----

class Ours:
    name, title = "ours", "ours"

    def missing(self, shop):
        return None if os.access(shop.tng, os.X_OK) else f"{shop.tng}: not built"

    def _command(self, shop, role, entry, **more):
        path = shop.write(f"capture-{role}.json", json.dumps({f"add_{role}": [{**entry, "no_ra": True}], **more}))
        return [shop.tng, "launch", "--config-file", path]

    def egress(self, shop):
        return self._command(shop, "egress", {"mapping": {
            "in": {"host": SERVER, "port": TUNNEL_PORT}, "out": {"host": "127.0.0.1", "port": SERVICE_PORT}}}), None

    def ingress(self, shop, way):
        if way == "mapping":
            return self._command(shop, "ingress", {"mapping": {
                "in": {"host": "127.0.0.1", "port": LISTEN_PORT}, "out": {"host": SERVER, "port": TUNNEL_PORT}}}), None
        return self._command(shop, "ingress", {"netfilter": {
            "capture_dst": {"host": SERVER, "port": TUNNEL_PORT}, "listen_port": CAPTURE_PORT, "method": way}},
            interception={"instance": "bench"}), None

    def divert(self, way):
        """Its rules are its own."""

    def undo(self, way):
        """Likewise."""

    ready = "ready:"


# ---- HAProxy ----

HAPROXY = """global
    nbthread {workers}
    maxconn {connections}
    tune.ssl.cachesize 0
    ssl-default-bind-options ssl-min-ver TLSv1.3 no-tls-tickets
    ssl-default-server-options ssl-min-ver TLSv1.3 no-tls-tickets
    {user}
defaults
    mode tcp
    timeout connect 10s
    timeout client 1h
    timeout server 1h
listen relay
    bind {bind}
    server service {server}
"""

NFT = {
    "redirect": """
table ip other {{
  chain out {{
    type nat hook output priority -100;
    meta skuid {uid} return
    ip daddr {server} tcp dport {port} redirect to :{listen}
  }}
}}""",
    "tproxy": """
table ip other {{
  chain out {{
    type route hook output priority mangle;
    meta skuid {uid} return
    ip daddr {server} tcp dport {port} meta mark set 1
  }}
  chain pre {{
    type filter hook prerouting priority mangle;
    meta mark 1 tcp dport {port} tproxy to 127.0.0.1:{listen} accept
  }}
}}""",
}


class Haproxy:
    name, title = "haproxy", "HAProxy"
    ready = None  # says nothing

    def missing(self, _shop):
        if not shutil.which("haproxy"):
            return "haproxy is not installed"
        return None if os.environ.get(machine.INSIDE) == "own" and os.geteuid() == 0 else "it needs root"

    def _command(self, shop, role, bind, server, user=""):
        text = HAPROXY.format(workers=WORKERS, connections=descriptors() // 2 - 100, bind=bind, server=server, user=user)
        return ["haproxy", "-db", "-f", shop.write(f"capture-{role}.cfg", text)], shop.no_tickets()

    def egress(self, shop):
        return self._command(shop, "egress", f"{SERVER}:{TUNNEL_PORT} ssl crt {shop.folder}/server.pem",
                             f"127.0.0.1:{SERVICE_PORT}")

    def ingress(self, shop, way):
        tls = "ssl no-ssl-reuse verify none"
        if way == "mapping":
            return self._command(shop, "ingress", f"127.0.0.1:{LISTEN_PORT}", f"{SERVER}:{TUNNEL_PORT} {tls}")
        return self._command(shop, "ingress", f"127.0.0.1:{CAPTURE_PORT}{' transparent' if way == 'tproxy' else ''}",
                             f"*:0 {tls}", f"user {OTHER_USER}")

    def divert(self, way):
        if way == "mapping":
            return
        text = NFT[way].format(uid=pwd.getpwnam(OTHER_USER).pw_uid, server=SERVER, port=TUNNEL_PORT, listen=CAPTURE_PORT)
        _run("nft", "-f", "-", input=text)
        if way == "tproxy":
            _run("ip", "rule", "add", "fwmark", "1", "lookup", "100")
            _run("ip", "route", "add", "local", "default", "dev", "lo", "table", "100")

    def undo(self, way):
        if way == "mapping":
            return
        _run("nft", "delete", "table", "ip", "other")
        if way == "tproxy":
            _run("ip", "rule", "del", "fwmark", "1", "lookup", "100")
            _run("ip", "route", "flush", "table", "100")


CANDIDATES = (Ours(), Haproxy())


# ---- measuring ----

def _await(group, condition, what):
    deadline = time.monotonic() + STAND_S
    while not condition():
        group.check_alive()
        if time.monotonic() > deadline:
            raise Trouble(f"{group.argv[0]}: {what}: {group.last_words()}")
        time.sleep(0.01)


class Standing:
    """Both gateways and the rules, for one way."""

    def __init__(self, hosts, shop, candidate, way):
        self.candidate, self.way = candidate, way
        self.groups, self.diverted = [], False
        try:
            argv, env = candidate.egress(shop)
            self._start([*hosts.on_server, *argv], env, shop, "egress")
            argv, env = candidate.ingress(shop, way)
            self.ingress = self._start(argv, env, shop, "ingress")
            if not candidate.ready:
                self.ingress.wait_listening(LISTEN_PORT if way == "mapping" else CAPTURE_PORT)
            candidate.divert(way)
            self.diverted = True
        except BaseException:
            self.stop()
            raise

    def _start(self, argv, env, shop, role):
        group = Group(argv, shop.folder / f"capture-{self.candidate.name}-{self.way}-{role}.log", env)
        self.groups.append(group)
        if self.candidate.ready:
            _await(group, lambda: self.candidate.ready in group.log.read_text(errors="replace"), "does not get ready")
        else:
            time.sleep(0.5)
        group.check_alive()
        return group

    host = property(lambda self: "127.0.0.1" if self.way == "mapping" else SERVER)
    port = property(lambda self: LISTEN_PORT if self.way == "mapping" else TUNNEL_PORT)

    def stop(self):
        if self.diverted:
            self.candidate.undo(self.way)
        for g in reversed(self.groups):
            g.stop()


def _one(binary, standing, clients, seconds):
    with Load(binary, "conn", standing.port, host=standing.host, clients=clients, seconds=seconds) as load:
        before = standing.ingress.cpu_s()
        result = load.run()
        cpu = standing.ingress.cpu_s() - before
    return {"rate": result["exchanges"] / result["wall_s"], "cpu_us": cpu / result["exchanges"] * 1e6,
            "p50": result["p50_us"], "p99": result["p99_us"]}


def measure(hosts, shop, binary, candidate, way, seconds):
    """{"eight": ..., "one": ...}: eight clients, each new connection after the last, and one alone."""
    standing = Standing(hosts, shop, candidate, way)
    try:
        return {"eight": _one(binary, standing, 8, seconds), "one": _one(binary, standing, 1, seconds)}
    finally:
        standing.stop()


# ---- telling ----

def _median(rounds, name, way, load, metric):
    return statistics.median(r[name][way][load][metric] for r in rounds)


def table(rounds):
    """Rows of text: each way of each candidate, and what capture costs beside its own mapping."""
    rows = [["", "connections/s", "of its mapping", "CPU-us of the ingress", "one alone, p50 us", "of its mapping",
             "p99 us"]]
    for candidate in CANDIDATES:
        if candidate.name not in rounds[0]:
            continue
        for way in WAYS:
            def ratio(load, metric, name=candidate.name, way=way):
                return statistics.median(r[name][way][load][metric] / r[name]["mapping"][load][metric] for r in rounds)

            def value(load, metric, name=candidate.name, way=way):
                return _median(rounds, name, way, load, metric)

            rows.append([f"{candidate.title}, {way}", f"{value('eight', 'rate'):.0f}", f"{ratio('eight', 'rate'):.2f}",
                         f"{value('eight', 'cpu_us'):.0f}", f"{value('one', 'p50'):.0f}", f"{ratio('one', 'p50'):.2f}",
                         f"{value('one', 'p99'):.0f}"])
    if all(c.name in rounds[0] for c in CANDIDATES):
        for way in WAYS:
            def between(load, metric, way=way):
                return statistics.median(r["ours"][way][load][metric] / r["haproxy"][way][load][metric] for r in rounds)

            rows.append([f"ours / HAProxy, {way}", f"{between('eight', 'rate'):.2f}", "",
                         f"{between('eight', 'cpu_us'):.2f}", f"{between('one', 'p50'):.2f}", "",
                         f"{between('one', 'p99'):.2f}"])
    return rows
