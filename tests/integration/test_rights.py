"""What a gateway may still do once it runs: the capabilities of each of its threads, and what works without the others."""
import os
import shutil
from pathlib import Path

import pytest

from harness import services, tls
from harness.gateway import entry
from harness.netns import Host, Pair, Routed, legacy_tools, skip_without_namespaces
from harness.services import Echo, ask, expect_reset
from harness.wait import until

NET_BIND_SERVICE, NET_ADMIN, NET_RAW = 1 << 10, 1 << 12, 1 << 13
TO_8080 = {"capture_dst": {"port": 8080}}


@pytest.fixture(autouse=True)
def namespaces():
    skip_without_namespaces()


@pytest.fixture
def host(stack):
    h = Host("host")
    stack.add(h, h.remove)
    return h


def rights_of(pid):
    """(permitted, effective, bounding, ambient, no new ones) of each thread; they must be the same in all."""
    found = set()
    threads = list(Path(f"/proc/{pid}/task").iterdir())
    for thread in threads:
        lines = dict(line.split(":\t", 1) for line in (thread / "status").read_text().splitlines() if ":\t" in line)
        found.add((*(int(lines[name], 16) for name in ("CapPrm", "CapEff", "CapBnd", "CapAmb")), lines["NoNewPrivs"]))
    assert len(threads) >= 3  # main, attestation, workers
    assert len(found) == 1, found
    return found.pop()


def captured(**more):
    return {"netfilter": {**TO_8080, **more}, "no_ra": True}


def instance(backend="auto"):
    return {"interception": {"backend": backend, "instance": f"r{os.getpid()}"}}


def test_a_gateway_that_maps_keeps_nothing_though_root_has_started_it_and_its_port_is_low(host, tng, stack):
    with host:
        echo = Echo("127.0.0.1", 8080)
    stack.add(echo, echo.close)
    egress = tng(add_egress=[entry(("127.0.0.1", 900), 8080)], within=host.within, name="egress")
    ingress = tng(add_ingress=[entry(("127.0.0.1", 901), 900)], within=host.within, name="ingress")
    assert Path(f"/proc/{ingress.pid}/status").read_text(encoding="ascii").find("Uid:\t0\t0\t0\t0") > 0
    for gateway in (ingress, egress):
        assert rights_of(gateway.pid) == (0, 0, 0, 0, "1")
        assert gateway.has_line("rights: no capability from now on")
    with host:
        assert ask(901) == b"hello"


@pytest.mark.parametrize("kind", ["add_ingress", "add_egress"])
def test_a_gateway_that_captures_keeps_the_one_right_that_marks_take(host, tng, kind):
    gateway = tng(**{kind: [captured()]}, within=host.within, **instance())
    only = NET_ADMIN
    assert rights_of(gateway.pid) == (only, only, only, only, "1")


def test_a_port_of_a_client_may_be_a_low_one_for_who_borrows_it(host, tng):
    gateway = tng(add_ingress=[captured(scope="forward", transparency={"in": True, "out": True, "client_port": True})],
                  within=host.within, **instance())
    both = NET_ADMIN | NET_BIND_SERVICE
    assert rights_of(gateway.pid) == (both, both, both, both, "1")


def test_rules_by_somebody_else_leave_the_right_to_mark(host, tng):
    gateway = tng(add_egress=[captured()], within=host.within, **instance("none"))
    assert rights_of(gateway.pid)[:3] == (NET_ADMIN,) * 3


def test_raw_packets_are_for_the_tools_of_iptables_legacy_and_not_for_the_gateway(host, tng):
    gateway = tng(add_egress=[captured()], within=(*host.within, *legacy_tools()), **instance("iptables"))
    assert gateway.has_line(r"the rules of instance .* stand \(iptables-legacy\)")
    permitted, effective, _, _, _ = rights_of(gateway.pid)
    assert (permitted, effective) == (NET_ADMIN | NET_RAW, NET_ADMIN)
    os.kill(gateway.guard, 9)
    assert gateway.wait() == 1
    until("nothing is left", lambda: "tng:" not in host.run("iptables-legacy-save"))


def test_who_is_not_root_starts_with_the_one_right_and_keeps_no_more(host, tng):
    if shutil.which("setpriv") is None:
        pytest.skip("setpriv is not installed")
    nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
              "--inh-caps=+net_admin", "--ambient-caps=+net_admin")
    home = Path(f"/tmp/tng-rights-{os.getpid()}")
    home.mkdir(mode=0o700)
    os.chown(home, 65534, 65534)
    try:
        gateway = tng(add_egress=[captured()], within=(*host.within, *nobody), env={"XDG_RUNTIME_DIR": str(home)},
                      **instance())
        assert rights_of(gateway.pid)[:2] == (NET_ADMIN, NET_ADMIN)
        assert gateway.stop() == 0
        assert "tng" not in host.run("nft", "list", "tables")
    finally:
        shutil.rmtree(home)


@pytest.mark.parametrize("backend", ["nft", "iptables"])
def test_what_is_kept_is_enough_to_stand_in_for_a_guard_that_was_killed(host, tng, backend):
    before = host.state()
    gateway = tng(add_ingress=[captured()], within=host.within, **instance(backend))
    os.kill(gateway.guard, 9)
    assert gateway.wait() == 1
    until("nothing is left", lambda: host.state() == before)


def test_what_is_kept_is_enough_for_the_connections(stack, tng):
    t = Pair.on(stack)
    names = instance()["interception"]["instance"]
    egress = tng(add_egress=[captured()], within=t.s.within, interception={"instance": f"{names}-s"})
    ingress = tng(add_ingress=[captured(transparency={"out": True})], within=t.c.within,
                  interception={"instance": f"{names}-c"})
    with t.s:
        echo = Echo("0.0.0.0", 8080)
    stack.add(echo, echo.close)
    with t.c:
        assert ask((t.server_v4, 8080)) == b"hello"
    assert egress.wait_flow().reason == ingress.wait_flow().reason == "done"


# ---- congestion control, of which only what the host allows is left to who has no rights ----

def allowed():
    return Path("/proc/sys/net/ipv4/tcp_allowed_congestion_control").read_text(encoding="ascii").split()


def a_host_that_paces(host):
    if "bbr" not in allowed():
        pytest.skip("bbr, which paces, is not there or not allowed on this host")
    host.sysctl(**{"net.ipv4.tcp_congestion_control": "bbr"})


@pytest.fixture
def through(host, tng, stack):
    """An open connection through a pair of gateways; what ss knows of its four sockets that the gateways have."""
    def begin(address="127.0.0.1", **more):
        with host:
            echo = Echo(address, 8080)
        stack.add(echo, echo.close)
        tng(add_egress=[entry(("0.0.0.0", 900), (address, 8080))], within=host.within, name="egress", **more)
        tng(add_ingress=[entry(("0.0.0.0", 901), (address, 900))], within=host.within, name="ingress", **more)
        with host:
            app = services.connect((address, 901))
        stack.add(app, app.close)
        app.sendall(b"hello")
        assert services.receive(app, 5) == b"hello"
        ours = "( sport = :900 or sport = :901 or dport = :900 or dport = :8080 )"
        sockets = host.run("ss", "-Htin", "state", "established", ours)
        found = [line.split()[0] for line in sockets.splitlines()[1::2]]
        assert len(found) == 4, sockets
        return found
    return begin


def test_on_loopback_nothing_is_paced_though_the_host_paces(host, through):
    a_host_that_paces(host)
    assert through() == ["reno"] * 4


def test_elsewhere_the_host_chooses(host, through):
    a_host_that_paces(host)
    host.run("ip", "address", "add", "10.9.9.9/32", "dev", "lo")
    assert through("10.9.9.9") == ["bbr"] * 4


def test_a_host_may_be_told_to_choose_on_loopback_as_well(host, through):
    a_host_that_paces(host)
    assert through(tcp_congestion={"loopback": "host"}) == ["bbr"] * 4


def test_both_kinds_of_connections_may_be_chosen_and_none_gets_what_is_the_other_s(host, through):
    if "bbr" not in allowed():
        pytest.skip("bbr is not there or not allowed on this host")
    host.sysctl(**{"net.ipv4.tcp_congestion_control": "reno"})
    assert through(tcp_congestion={"remote": "bbr"}) == ["reno"] * 4


def test_connections_to_others_get_what_was_chosen_for_them(host, through):
    if "bbr" not in allowed():
        pytest.skip("bbr is not there or not allowed on this host")
    host.sysctl(**{"net.ipv4.tcp_congestion_control": "reno"})
    host.run("ip", "address", "add", "10.9.9.9/32", "dev", "lo")
    assert through("10.9.9.9", tcp_congestion={"remote": "bbr"}) == ["bbr"] * 4


@pytest.mark.parametrize("choice,found", [({"remote": "bbr"}, "bbr"), ({"loopback": "bbr"}, "reno")])
def test_clients_that_a_router_captures_are_others_though_the_listener_is_on_loopback(tng, stack, choice, found):
    if "bbr" not in allowed():
        pytest.skip("bbr is not there or not allowed on this host")
    t = Routed.on(stack)
    t.gw.sysctl(**{"net.ipv4.tcp_congestion_control": "reno"})
    names = instance()["interception"]["instance"]
    tng(add_egress=[captured()], within=t.sv.within, interception={"instance": f"{names}-s"})
    tng(add_ingress=[captured(scope="forward", transparency={"in": True})], within=t.gw.within, tcp_congestion=choice,
        interception={"instance": f"{names}-c"})
    with t.sv:
        echo = Echo("0.0.0.0", 8080)
    stack.add(echo, echo.close)
    with t.cl:
        app = services.connect((t.server_v4, 8080))
    stack.add(app, app.close)
    app.sendall(b"hello")
    assert services.receive(app, 5) == b"hello"

    def congestion(what):
        return t.gw.run("ss", "-Htin", "state", "established", what).splitlines()[1].split()[0]

    assert congestion(f"dst {t.client_v4}") == found
    assert congestion(f"dst {t.server_v4}") == found


def test_what_the_kernel_does_not_have_ends_the_start_and_both_keys_are_named(host, tng):
    gateway = tng(add_ingress=[entry(("127.0.0.1", 901), 900)], within=host.within, wait=None,
                  tcp_congestion={"loopback": "nothing", "remote": "such"})
    assert gateway.wait() == 1
    assert gateway.has_line('tcp_congestion.loopback: the kernel has no "nothing"')
    assert gateway.has_line('tcp_congestion.remote: the kernel has no "such"')


@pytest.mark.parametrize("backend", ["nft", "iptables"])
def test_a_start_that_ends_so_leaves_no_rule(host, tng, backend):
    before = host.state()
    gateway = tng(add_ingress=[captured()], within=host.within, wait=None, tcp_congestion={"remote": "such"},
                  **instance(backend))
    assert gateway.wait() == 1
    assert gateway.has_line('tcp_congestion.remote: the kernel has no "such"')
    until("nothing is left", lambda: host.state() == before)


def test_what_only_root_may_choose_ends_the_start_since_our_rights_have_gone(host, tng):
    there = Path("/proc/sys/net/ipv4/tcp_available_congestion_control").read_text(encoding="ascii").split()
    restricted = sorted(set(there) - set(allowed()))
    if not restricted:
        pytest.skip("this host allows every congestion control that its kernel has")
    gateway = tng(add_ingress=[entry(("127.0.0.1", 901), 900)], within=host.within, wait=None,
                  tcp_congestion={"remote": restricted[0]})
    assert gateway.wait() == 1
    assert gateway.has_line(f'tcp_congestion.remote: the host does not let this process choose "{restricted[0]}"')


# ---- files, which root without CAP_DAC_OVERRIDE opens by their owner and mode like anybody ----

@pytest.mark.parametrize("owner", ["root", "somebody else"])
def test_a_log_rolls_in_a_folder_of_its_owner_and_else_goes_on_as_one_file(host, tng, tmp_path, owner):
    folder = tmp_path / "log"
    folder.mkdir(mode=0o755)
    if owner != "root":
        os.chown(folder, 65534, 65534)
    log = folder / "tng.log"
    made = [entry(("127.0.0.1", 9000), 9001)]
    gateway = tng(add_ingress=made, within=host.within, wait=None,
                  args=("--log-file", str(log), "--log-rolling", "--log-max-size", "1500"))
    until("it is ready", lambda: log.exists() and " ready: " in log.read_text(encoding="utf-8"))
    with host:
        for _ in range(20):
            with services.connect(("127.0.0.1", 9000)) as app:
                expect_reset(app)
    assert gateway.stop() == 0
    files = sorted(p.name for p in folder.iterdir())
    assert len(files) > 1 if owner == "root" else files == ["tng.log"]
    assert "stopped" in log.read_text(encoding="utf-8")


def test_certificates_that_only_root_may_override_are_read_before_the_rights_go(host, tng, tmp_path):
    """trusted_certs_paths is read at the start, with all rights; a start that cannot read says so."""
    path = Path(tls.plain_certificate(tmp_path).path)
    os.chown(path, 65534, 65534)
    path.chmod(0o600)
    made = entry(("127.0.0.1", 9000), 9001, verify={"model": "passport", "trusted_certs_paths": [str(path)],
                                                    "policy_ids": ["default"]})
    gateway = tng(add_ingress=[made], within=host.within, wait="ready")
    assert rights_of(gateway.pid)[0] == 0


def test_a_socket_of_the_agent_must_be_open_to_root_like_to_anybody(host, tng, lab):
    socket = lab.aa.removeprefix("unix://")
    os.chown(socket, 65534, 65534)
    os.chmod(socket, 0o600)
    gateway = tng(add_egress=[entry(("127.0.0.1", 9000), 9001, attest=lab.attest())], within=host.within, wait="ready")
    gateway.wait_line(r"add_egress\[0\].*Permission denied")
    os.chmod(socket, 0o666)
    gateway.wait_evidence()
