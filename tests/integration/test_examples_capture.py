"""The examples that capture work exactly as they are shipped, each in the network that its comment describes."""
import pytest

from harness import services
from harness.gateway import BINARY, ROOT, Gateway, run
from harness.netns import Bridged, Pair, Routed, Wire, skip_without_namespaces
from harness.process import Process
from harness.services import Service, receive

SECRET = b"this must never be seen on a wire" * 3
AGENT = "/run/confidential-containers/attestation-agent"
FILES = sorted((ROOT / "examples").glob("capture-*/*.json"))


class Shipped(Gateway):
    """A gateway with a file of examples/, on a host where the agent is where the file expects it."""

    def __init__(self, host, path, lab):
        agent = ("unshare", "-m", "sh", "-c",
                 f'mount -t tmpfs none /run && mkdir -p {AGENT} && ln -s "$0" {AGENT}/attestation-agent.sock && '
                 'exec "$@"', lab.aa.removeprefix("unix://"))
        self.config = {}
        Process.__init__(self, [*host.within, *agent, BINARY, "launch", "-c", str(path)], path.stem)


@pytest.fixture
def deploy(stack, start_lab):
    """deploy(topology, folder, near=(host, file), far=host): both gateways of the folder, and a wire between them."""

    def start(topology, folder, near, far, wire):
        skip_without_namespaces()
        t = topology.on(stack)
        host, name = getattr(t, near[0]), near[1]
        lab = start_lab("--as-rest", "8080", within=host.within)
        t.server = getattr(t, far)
        for attribute, at, file in (("far", t.server, "server.json"), ("near", host, name)):
            gateway = Shipped(at, ROOT / "examples" / folder / file, lab)
            stack.add(gateway, gateway.finish)
            setattr(t, attribute, gateway)
        t.far.wait_line("has evidence")
        t.far.wait_ready()
        t.near.wait_ready()
        w = Wire(host, wire)
        t.wire = stack.add(w, w.finish)
        t.stack = stack
        return t

    return start


def carry(t, client, address):
    """One connection from an application to a service; who the service says its client is."""
    with t.server:
        service = Service("::" if ":" in address[0] else "0.0.0.0", address[1])
    t.stack.add(service, service.close)
    with client:
        app = services.connect(address)
    app.sendall(SECRET)
    conn = service.accept()
    assert receive(conn, len(SECRET)) == SECRET
    conn.sendall(SECRET)
    assert receive(app, len(SECRET)) == SECRET
    seen, own = conn.getpeername()[0], app.getsockname()[0]
    app.close()
    conn.close()
    service.close()
    return seen, own


def check_log_and_wire(t, address):
    flow = t.near.wait_flow()
    host = f"[{address[0]}]" if ":" in address[0] else address[0]
    assert (flow.out, flow.reason, flow.tee) == (f"{host}:{address[1]}", "done", "sample")
    traffic = t.wire.stop()
    assert b"\x16\x03\x01" in traffic
    assert SECRET[:20] not in traffic


def test_there_is_an_example_for_each_deployment():
    assert {p.parent.name for p in FILES} == {"capture-host-pair", "capture-routed", "capture-bridged", "capture-nat"}


@pytest.mark.parametrize("path", FILES, ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_every_example_is_valid_without_a_warning(path):
    done = run("check", "-c", str(path))
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("server", [Pair.server_v4, Pair.server_v6], ids=["v4", "v6"])
def test_host_pair(deploy, server):
    t = deploy(Pair, "capture-host-pair", ("c", "client.json"), "s", "v0")
    carry(t, t.c, (server, 30001))
    check_log_and_wire(t, (server, 30001))


@pytest.mark.parametrize("server", [Routed.server_v4, Routed.server_v6], ids=["v4", "v6"])
def test_routed(deploy, server):
    t = deploy(Routed, "capture-routed", ("gw", "router.json"), "sv", "eth0")
    seen, client = carry(t, t.cl, (server, 80))
    assert seen == client
    check_log_and_wire(t, (server, 80))


@pytest.mark.parametrize("server", [Bridged.server_v4, Bridged.server_v6], ids=["v4", "v6"])
def test_bridged(deploy, server):
    t = deploy(Bridged, "capture-bridged", ("br", "bridge.json"), "sv", "eth0")
    seen, client = carry(t, t.cl, (server, 80))
    assert seen == client
    check_log_and_wire(t, (server, 80))


@pytest.mark.parametrize("server", [Routed.server_v4, Routed.server_v6], ids=["v4", "v6"])
def test_nat(deploy, server):
    t = deploy(Routed, "capture-nat", ("gw", "router.json"), "sv", "eth0")
    seen, client = carry(t, t.cl, (server, 80))
    assert seen == server != client
    assert t.far.wait_flow().client.rsplit(":", 1)[0].strip("[]") in ("192.168.56.1", "fd02::1")
    check_log_and_wire(t, (server, 80))
