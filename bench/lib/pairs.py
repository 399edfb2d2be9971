# SPDX-License-Identifier: Apache-2.0
"""The candidates: each is an ingress and an egress, two processes on loopback, in front of one service.

All do full TLS 1.3 handshakes with P-256 certificates where they can be told to: sessions are not resumed and
tickets are off (2.12.0 of upstream resumes and cannot be told otherwise). Else everything is as it comes: ciphers,
buffers, threads; logs go to a file that nobody reads.
"""
import json
import os
import shutil
import subprocess
from pathlib import Path

from .processes import Group, Trouble, descriptors, free_port

WORKERS = len(os.sched_getaffinity(0))
NGINX_MODULE = "/usr/lib/nginx/modules/ngx_stream_module.so"


OPENSSL = """openssl_conf = all
[all]
ssl_conf = tls
[tls]
system_default = every_context
[every_context]
NumTickets = 0
"""


class Workshop:
    """Where candidates find what they need: folder, certificates, binaries, the lab."""

    def __init__(self, folder, tng, upstream):
        self.folder = Path(folder)
        self.tng = tng
        self.upstream = upstream  # version -> path of the binary
        self._lab = None
        self._make_certificates()

    def no_tickets(self):
        """Environment for what sends TLS 1.3 tickets even when told to have neither tickets nor sessions: OpenSSL takes
        "no tickets" for "tickets that stand for a session in memory". They are work that nobody asked for here."""
        return {"OPENSSL_CONF": self.write("openssl.cnf", OPENSSL)}

    def _openssl(self, *args):
        subprocess.run(["openssl", *args], cwd=self.folder, check=True, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)

    def _make_certificates(self):
        """A CA, and a certificate for each side, as HAProxy wants them: certificate and key in one file."""
        curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30"]
        self._openssl("req", "-x509", *curve, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=bench CA")
        for name in ("server", "client"):
            self._openssl("req", *curve[:-2], "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
            self._openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
                          "-days", "30", "-out", f"{name}.crt")
            both = (self.folder / f"{name}.crt").read_bytes() + (self.folder / f"{name}.key").read_bytes()
            (self.folder / f"{name}.pem").write_bytes(both)

    def write(self, name, text):
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        return str(path)

    def lab(self):
        """Addresses of the simulated attestation agent and service, started when first asked for."""
        if self._lab is None:
            log = self.folder / "lab.log"
            group = Group([self.tng, "lab", "--dir", str(self.folder / "lab"), "--lifetime", "86400"], log)
            self._lab = (group, _read_addresses(group, log))
        return self._lab[1]

    def close(self):
        if self._lab:
            self._lab[0].stop()


def _read_addresses(group, log):
    import time  # pylint: disable=import-outside-toplevel
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("{"):
                return json.loads(line)
        group.check_alive()
        time.sleep(0.02)
    raise Trouble("tng lab does not get ready")


class Pair:
    """Running: an ingress, an egress, and the port to connect to."""

    def __init__(self, candidate, shop, service_port, serial):
        self.candidate = candidate
        self.groups = []
        self.port, middle = free_port(), free_port()
        try:
            for role, listen, to in (("egress", middle, service_port), ("ingress", self.port, middle)):
                argv, env = candidate.command(shop, f"{candidate.name}-{serial}-{role}", role, listen, to)
                group = Group(argv, shop.folder / f"{candidate.name}-{serial}-{role}.log", env)
                self.groups.append(group)
                group.wait_listening(listen)
        except BaseException:
            self.stop()
            raise

    egress = property(lambda self: self.groups[0])
    ingress = property(lambda self: self.groups[1])

    def cpu_s(self):
        return sum(g.cpu_s() for g in self.groups)

    def pss_kib(self):
        return sum(g.pss_kib() for g in self.groups)

    def check_alive(self):
        for g in self.groups:
            g.check_alive()

    def stop(self):
        for g in reversed(self.groups):
            g.stop()


# ---- TNG, ours and upstream's: the same configuration ----

class Tng:
    def __init__(self, name, title, version=None, multiplex=False, ingress=None, egress=None):
        self.name, self.title = name, title
        self.version = version  # None: ours
        self.multiplex = multiplex
        self.trust = {"ingress": ingress or (), "egress": egress or ()}

    def missing(self, shop):
        path = shop.upstream.get(self.version) if self.version else shop.tng
        if not path or not os.access(path, os.X_OK):
            return f"no binary of upstream {self.version}" if self.version else f"{path}: not built"
        if (self.trust["ingress"] or self.trust["egress"]) and not has_lab(shop.tng):
            return "tng lab is not there"
        return None

    def command(self, shop, name, role, listen, to):
        entry = {"mapping": {"in": {"host": "127.0.0.1", "port": listen}, "out": {"host": "127.0.0.1", "port": to}}}
        if self.multiplex:
            entry["rats_tls"] = {"multiplex": True}
        if not self.trust[role]:
            entry["no_ra"] = True
        if "attest" in self.trust[role]:
            entry["attest"] = {"model": "background_check", "aa_addr": shop.lab()["aa"]}
        if "verify" in self.trust[role]:
            entry["verify"] = {"model": "background_check", "as_addr": shop.lab()["as_rest"], "policy_ids": ["default"]}
        path = shop.write(name + ".json", json.dumps({"add_" + role: [entry]}))
        return [shop.upstream[self.version] if self.version else shop.tng, "launch", "--config-file", path], None


def has_lab(binary):
    try:
        return subprocess.run([binary, "lab", "--help"], capture_output=True, timeout=10).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


# ---- HAProxy ----

HAPROXY = """global
    nbthread {workers}
    maxconn {connections}
    tune.ssl.cachesize 0
    ssl-default-bind-options ssl-min-ver TLSv1.3 no-tls-tickets
    ssl-default-server-options ssl-min-ver TLSv1.3 no-tls-tickets
defaults
    mode tcp
    timeout connect 10s
    timeout client 1h
    timeout server 1h
listen relay
    bind 127.0.0.1:{listen} {bind}
    server service 127.0.0.1:{to} {server}
"""


class Haproxy:
    def __init__(self, name, title, tls=True, client_certificates=False, suites=None, tickets=False):
        self.name, self.title = name, title
        self.tickets = tickets
        self.tls, self.client_certificates, self.suites = tls, client_certificates, suites

    def missing(self, _shop):
        return None if shutil.which("haproxy") else "haproxy is not installed"

    def command(self, shop, name, role, listen, to):
        options = {"bind": "", "server": ""}
        folder = shop.folder
        if self.tls and role == "egress":
            options["bind"] = f"ssl crt {folder}/server.pem"
            if self.client_certificates:
                options["bind"] += f" ca-file {folder}/ca.pem verify required"
        elif self.tls:
            options["server"] = "ssl no-ssl-reuse"
            if self.client_certificates:
                options["server"] += f" crt {folder}/client.pem ca-file {folder}/ca.pem verify required"
            else:
                options["server"] += " verify none"
            if self.suites:
                options["server"] += f" ciphersuites {self.suites}"
        text = HAPROXY.format(workers=WORKERS, connections=descriptors() // 2 - 100, listen=listen, to=to, **options)
        return ["haproxy", "-db", "-f", shop.write(name + ".cfg", text)], None if self.tickets else shop.no_tickets()


# ---- nginx ----

NGINX = """{module}
daemon off;
pid {folder}/{name}.pid;
error_log {folder}/{name}.err crit;
worker_processes {workers};
events {{ worker_connections {connections}; }}
stream {{
    server {{
        listen 127.0.0.1:{listen} {listen_options};
        proxy_pass 127.0.0.1:{to};
        proxy_timeout 1h;
        {options}
    }}
}}
"""
NGINX_EGRESS = """ssl_protocols TLSv1.3;
        ssl_certificate {folder}/server.crt;
        ssl_certificate_key {folder}/server.key;
        ssl_session_cache off;
        ssl_session_tickets off;"""
NGINX_INGRESS = """proxy_ssl on;
        proxy_ssl_protocols TLSv1.3;
        proxy_ssl_session_reuse off;
        proxy_ssl_verify off;"""


class Nginx:
    name, title = "nginx", "nginx stream, TLS"

    def missing(self, shop):
        if not shutil.which("nginx"):
            return "nginx is not installed"
        argv, _ = self.command(shop, "nginx-probe", "ingress", 1, 1)
        if subprocess.run([*argv, "-t", "-q"], capture_output=True).returncode != 0:
            return "nginx has no stream module with TLS (Debian: libnginx-mod-stream)"
        return None

    def command(self, shop, name, role, listen, to):
        egress = role == "egress"
        module = f"load_module {NGINX_MODULE};" if os.path.exists(NGINX_MODULE) else ""
        text = NGINX.format(folder=shop.folder, name=name, module=module, workers=WORKERS,
                            connections=descriptors() - 100, listen=listen, to=to,
                            listen_options="ssl" if egress else "",
                            options=(NGINX_EGRESS if egress else NGINX_INGRESS).format(folder=shop.folder))
        return ["nginx", "-p", str(shop.folder), "-c", shop.write(name + ".conf", text)], shop.no_tickets()


# ---- all ----

MUTUAL = ("attest", "verify")
ALL = [
    Tng("ours", "tng raw"),
    Tng("ours-mux", "tng multiplexed", multiplex=True),
    Tng("ours-attested", "tng raw, egress attested", ingress=("verify",), egress=("attest",)),
    Tng("ours-mutual", "tng raw, both attested", ingress=MUTUAL, egress=MUTUAL),
    Tng("up-2.12.0", "upstream 2.12.0 raw", "2.12.0"),
    Tng("up-2.12.0-mux", "upstream 2.12.0 multiplexed", "2.12.0", multiplex=True),
    Tng("up-2.8.0", "upstream 2.8.0 raw", "2.8.0"),
    Tng("up-2.8.0-mux", "upstream 2.8.0 multiplexed", "2.8.0", multiplex=True),
    Haproxy("haproxy", "HAProxy, TLS"),
    Haproxy("haproxy-mutual", "HAProxy, TLS with client certificates", client_certificates=True),
    Haproxy("haproxy-aes128", "HAProxy, TLS with AES-128-GCM", suites="TLS_AES_128_GCM_SHA256"),
    Haproxy("haproxy-tickets", "HAProxy, TLS, with its two tickets", tickets=True),
    Nginx(),
    Haproxy("relay", "HAProxy, plain TCP", tls=False),
]
NAMES = [c.name for c in ALL]
