"""tng iptables and tng cleanup-iptables: what they print, and that the kernel takes it."""
import itertools
import json
import os
import pwd
import shutil
import subprocess

import pytest

from harness.gateway import BINARY, run


def ingress(**netfilter):
    netfilter.setdefault("listen_port", 50000)
    return {"add_ingress": [{"netfilter": netfilter, "no_ra": True}]}


def egress(*entries):
    return {"add_egress": [{"netfilter": entry, "no_ra": True} for entry in entries]}


def printed(*args, config=None):
    if config is not None:
        args += ("--config-content", json.dumps(config))
    done = run("iptables", "--dry-run", *args)
    assert done.returncode == 0, done.stderr
    return done.stdout


def lines(*texts):
    return "".join(f"iptables -t nat {text}\n" for text in texts)


# ---- what others print ----

USER = pwd.getpwnam("nobody")
A = "-N APISIX_REDIRECT"
B = "-N APISIX_INBOUND"
C = "-A APISIX_REDIRECT -p tcp -j REDIRECT --to-ports 9080"
D = f"-A OUTPUT -o lo ! -d 127.0.0.1/32 -m owner --uid-owner {USER.pw_uid} -j RETURN"
E = f"-A OUTPUT -m owner --gid-owner {USER.pw_gid} -j RETURN"
F = "-A PREROUTING -p tcp -j APISIX_INBOUND"
G80 = "-A APISIX_INBOUND -p tcp --dport 80 -j APISIX_REDIRECT"
G443 = "-A APISIX_INBOUND -p tcp --dport 443 -j APISIX_REDIRECT"
H80 = "-A OUTPUT -p tcp --dport 80 -j APISIX_REDIRECT"
IN = ("--inbound-ports", "80,443")
OUT = ("--outbound-ports", "80")


@pytest.mark.parametrize("args,expected", [((), (A, C, D, E)), (IN, (A, B, C, D, E, F, G80, G443)),
                                           (OUT, (A, C, D, E, H80)),
                                           (IN + OUT, (A, B, C, D, E, F, G80, G443, H80))])
def test_the_mesh_style_is_the_mesh_agents_documentation(args, expected):
    told = printed("--style", "mesh", "--chain-prefix", "APISIX", "--apisix-port", "9080", "--apisix-user", "nobody",
                   *args)
    assert told == lines(*expected)


def test_the_mesh_styles_clean_up_is_printed_but_never_run():
    args = ("--style", "mesh", "--chain-prefix", "APISIX")
    done = run("cleanup-iptables", *args, "--dry-run", "--all")
    assert done.stdout == lines("-D PREROUTING -p tcp -j APISIX_INBOUND", "-D OUTPUT -p tcp -j OUTPUT",
                                "-F APISIX_INBOUND", "-X APISIX_INBOUND", "-F OUTPUT", "-X OUTPUT",
                                "-F APISIX_REDIRECT", "-X APISIX_REDIRECT")
    for command in (("cleanup-iptables", "--all"), ("cleanup-iptables",), ("iptables", "--inbound-ports", "80")):
        refused = run(*command, *args)
        assert refused.returncode == 2 and not refused.stdout


def test_tng1_is_the_listing_of_its_readme():
    config = egress({"capture_dst": {"port": 30001}, "capture_local_traffic": True, "listen_port": 30000})
    assert printed("--style", "tng1", config=config) == lines(
        "-N TNG_ENGRESS", "-A TNG_ENGRESS -p tcp -m mark --mark 565 -j RETURN",
        "-A TNG_ENGRESS -p tcp -m addrtype --dst-type LOCAL --dport 30001 -j REDIRECT --to-ports 30000",
        "-A PREROUTING -p tcp -j TNG_ENGRESS", "-A OUTPUT -p tcp -j TNG_ENGRESS")


@pytest.mark.parametrize("host,local,tail", [
    (False, True, "-m addrtype --dst-type LOCAL --dport 7"),
    (False, False, "-m addrtype ! --src-type LOCAL --dst-type LOCAL --dport 7"),
    (True, True, "--dst 10.0.0.1/32 --dport 7"),
    (True, False, "-m addrtype ! --src-type LOCAL --dst 10.0.0.1/32 --dport 7")])
def test_tng1_has_four_forms_of_its_rule(host, local, tail):
    dst = {"port": 7, **({"host": "10.0.0.1"} if host else {})}
    config = egress({"capture_dst": dst, "capture_local_traffic": local})
    told = printed("--style", "tng1", config=config)
    assert f"\niptables -t nat -A TNG_ENGRESS -p tcp {tail} -j REDIRECT --to-ports 40000\n" in told


def test_tng1_has_a_return_for_each_mark_once():
    config = egress(*({"capture_dst": {"port": 7 + i}, "so_mark": mark} for i, mark in enumerate((565, 99, 565))))
    told = printed("--style", "tng1", config=config)
    assert told.count("--mark 565 ") == 1 and told.count("--mark 99 ") == 1


def test_tng2_egress_is_the_listing_of_its_scenario():
    config = egress({"capture_dst": {"port": 8080}, "capture_local_traffic": True})
    assert printed("--style", "tng2", config=config) == lines(
        "-N TNG_EGRESS_0", "-A TNG_EGRESS_0 -p tcp -m mark --mark 565 -j RETURN",
        "-A TNG_EGRESS_0 -p tcp --dport 8080 -j REDIRECT --to-ports 40000",
        "-I PREROUTING 1 -p tcp -j TNG_EGRESS_0", "-I OUTPUT 1 -p tcp -j TNG_EGRESS_0")


TNG2_INGRESS = """\
iptables -t mangle -N TNG_INGRESS_0_PREROUTING
iptables -t mangle -A TNG_INGRESS_0_PREROUTING -m addrtype --dst-type LOCAL -j RETURN
iptables -t mangle -A TNG_INGRESS_0_PREROUTING -m addrtype ! --dst-type UNICAST -j RETURN
iptables -t mangle -A TNG_INGRESS_0_PREROUTING -m addrtype ! --src-type LOCAL -j RETURN
iptables -t mangle -A TNG_INGRESS_0_PREROUTING -p tcp -j TPROXY --on-ip 127.0.0.1 --on-port 50000 --tproxy-mark 566/0xffffff
iptables -t mangle -I PREROUTING 1 -p tcp -j TNG_INGRESS_0_PREROUTING
ip route add local default dev lo table 239
ip rule add fwmark 566/0xffffff table 239
iptables -t mangle -N TNG_INGRESS_0_OUTPUT_STAGE_1
iptables -t mangle -N TNG_INGRESS_0_OUTPUT_STAGE_2
iptables -t mangle -A TNG_INGRESS_0_OUTPUT_STAGE_1 -m addrtype --dst-type LOCAL -j RETURN
iptables -t mangle -A TNG_INGRESS_0_OUTPUT_STAGE_1 -m addrtype ! --dst-type UNICAST -j RETURN
iptables -t mangle -A TNG_INGRESS_0_OUTPUT_STAGE_1 -m addrtype ! --src-type LOCAL -j RETURN
iptables -t mangle -A TNG_INGRESS_0_OUTPUT_STAGE_1 -p tcp -m mark --mark 565 -j RETURN
iptables -t mangle -A TNG_INGRESS_0_OUTPUT_STAGE_1 -j TNG_INGRESS_0_OUTPUT_STAGE_2
iptables -t mangle -A TNG_INGRESS_0_OUTPUT_STAGE_2 -p tcp --dport 8080 -j MARK --set-mark 566/0xffffff
iptables -t mangle -I OUTPUT 1 -p tcp -j TNG_INGRESS_0_OUTPUT_STAGE_1
"""


def test_tng2_ingress_is_the_listing_of_its_scenario():
    assert printed("--style", "tng2", config=ingress(capture_dst={"port": 8080})) == TNG2_INGRESS


def test_tng2_matches_in_its_own_order():
    told = printed("--style", "tng2", config=ingress(capture_dst=[{"ipset": "s", "port": 1, "port_end": 2},
                                                                  {"host": "10.0.0.0/8", "port": 3}, {"ipset": "t"}],
                                                     capture_cgroup=["/a"], nocapture_cgroup=["b"]))
    stage2 = "iptables -t mangle -A TNG_INGRESS_0_OUTPUT_STAGE_2 "
    assert stage2 + "-m cgroup --path /b -j RETURN\n" in told
    assert "STAGE_1 -m cgroup --path /a -j TNG_INGRESS_0_OUTPUT_STAGE_2\n" in told
    for match in ("--dport 1:2 -m set --match-set s dst", "--dst 10.0.0.0/8 --dport 3", "-m set --match-set t dst"):
        assert f"{stage2}-p tcp {match} -j MARK --set-mark 566/0xffffff\n" in told


# ---- mistakes ----

GOOD = json.dumps(ingress(capture_dst={"port": 1}))


@pytest.mark.parametrize("args", [
    (), ("--inbound-ports", ""), ("--inbound-ports", "0"), ("--inbound-ports", "65536"), ("--inbound-ports", "80, 81"),
    ("--inbound-ports", "80,x"), ("--inbound-ports", "*,80"), ("--inbound-exclude-ports", "*", "--inbound-ports", "*"),
    ("--inbound-ports", "80", "--inbound-exclude-ports", "81"),
    ("--inbound-ports", "80", "--proxy-user", "no-such-user"),
    ("--inbound-ports", "80", "--proxy-port", "0"), ("--inbound-ports", "80", "--proxy-port", "9080x"), ("--what",),
    ("--inbound-ports",), ("extra",), ("--inbound-ports", "80", "--style", "tng3"), ("--style", "tng2"),
    ("--inbound-ports", "80", "--chain-prefix", "A-B"), ("--inbound-ports", "80", "--chain-prefix", "A" * 12),
    ("--inbound-ports", "80", "--inbound-interception-mode", "redirect"), ("--backend", "pf", "--config-content", GOOD),
    ("--config-content", GOOD, "--inbound-ports", "80"), ("--config-content", "{}"), ("--config-content", "{"),
    ("--config-content", GOOD, "--config-file", "x"), ("--config-file", "/does/not/exist"),
    ("--config-content", json.dumps({"add_ingress": [{"mapping": {"in": {"port": 1}, "out": {"host": "a", "port": 2}},
                                                      "no_ra": True}]})),
    ("--config-content", json.dumps(egress({"capture_cgroup": ["a"]}))),
    ("--style", "tng1", "--config-content", GOOD)])
def test_a_mistake_is_one_line_and_nothing_that_a_shell_could_run(args):
    done = run("iptables", "--dry-run", *args)
    assert done.returncode == 2
    assert not done.stdout
    assert done.stderr.startswith("tng iptables: ") and done.stderr.count("\n") == 1


def test_ports_of_the_sidecar_may_leave_elements_empty():
    told = printed("--inbound-ports", ",80,,443,", "--proxy-user", "root")
    assert "--dport 80 " in told and "--dport 443 " in told


def test_verbose_prints_the_wait_that_a_real_run_has():
    told = printed("--verbose", config=ingress(capture_dst={"port": 1}))
    assert "iptables -w -t mangle -N TNG_0_I0_OUT\n" in told and "ip rule add" in told


def test_an_ingress_without_a_port_gets_one_and_the_operator_a_hint():
    done = run("iptables", "--dry-run", "--config-content", json.dumps(
        {"add_ingress": [{"netfilter": {"capture_dst": {"port": 1}}, "no_ra": True}]}))
    assert done.returncode == 0
    assert "listen_port" in done.stderr and "listen_port" not in done.stdout
    port = done.stderr.split("took ")[1].split(",")[0]
    assert f"--on-port {port} " in done.stdout


# ---- the kernel takes it ----

def _can_unshare():
    if os.geteuid() != 0 or not shutil.which("unshare"):
        return False
    return subprocess.run(["unshare", "-n", "true"], check=False).returncode == 0


in_namespace = pytest.mark.skipif(not _can_unshare(), reason="needs root, to make a network namespace")


def inside(script):
    """A shell in a network namespace of its own, which goes with it."""
    done = subprocess.run(["unshare", "-n", "sh", "-e", "-c", "ip link set lo up\n" + script], capture_output=True,
                          text=True, timeout=60, check=False)
    assert done.returncode == 0, f"{script}\n{done.stderr}"
    return done.stdout


MANY = ([{"port": p} for p in (1, 2, 3, 4)] +
        [{"host": f"10.{i}.0.0/16", "port": p} for i in range(8) for p in (1, 2)] +
        [{"host": "10.0.0.0/8", "port": 1, "port_end": 9}] + [{"host": f"fd0{i}::/16"} for i in range(6)])
DESTINATIONS = {"port": {"port": 80}, "range": {"host": "10.0.0.0/8", "port": 80, "port_end": 90},
                "all": [{"host": "0.0.0.0/0", "port": 5}, {"host": "::/0", "port": 6}], "many": MANY}


def every_combination():
    for dst, ipv6, scope in itertools.product(DESTINATIONS, ("reject", "capture"), ("local", "forward", "both")):
        base = {"capture_dst": DESTINATIONS[dst], "ipv6": ipv6, "scope": scope,
                "exclude_dst": [{"port": 22}, {"host": "10.9.0.0/16"}]}
        if scope != "local":
            base["in_ifname"] = ["eth0", "eth1"]
        yield ingress(**base, transparency={"out": True})
        yield ingress(**base, method="redirect")
        yield ingress(**base, open_ports="negative_cache")
        yield ingress(**base, open_ports="connect_first")
    for dst, ipv6, local, transparency in itertools.product(
            DESTINATIONS, ("reject", "capture"), (False, True), ({}, {"in": True}, {"in": True, "out": True})):
        if not (local and transparency):
            yield egress({"capture_dst": DESTINATIONS[dst], "ipv6": ipv6, "capture_local_traffic": local,
                          "transparency": transparency})


@in_namespace
def test_nft_takes_every_ruleset():
    for config in every_combination():
        told = printed("--backend", "nft", config=config)
        if "queue num" not in told:  # kernels without it exist; the same rules go through iptables below
            commands = [line for line in told.splitlines() if line.startswith("nft ")]
            rest = "\n".join(line for line in told.splitlines() if not line.startswith("nft "))
            batch = "\n".join(line[4:].strip("'") for line in commands)
            inside(f"{rest}\nnft -c -f - <<'END'\n{batch}\nEND\nnft -f - <<'END'\n{batch}\nEND")


@in_namespace
@pytest.mark.parametrize("tool,first", [("nft", 0), ("legacy", 1)])
def test_iptables_takes_every_ruleset(tool, first):
    """Some for each flavour, of each kind: their syntax is the same, and they are slow."""
    if not shutil.which(f"iptables-{tool}"):
        pytest.skip(f"iptables-{tool} is not installed")
    listing = ["unshare", "-n", f"iptables-{tool}", "-t", "mangle", "-S"]
    if subprocess.run(listing, capture_output=True, check=False).returncode:
        pytest.skip(f"iptables-{tool} does not work here")
    for config in list(every_combination())[first::3]:
        if "negative_cache" in json.dumps(config):
            continue
        told = printed("--backend", "iptables", config=config)
        inside(told.replace("iptables -t", f"iptables-{tool} -t").replace("ip6tables -t", f"ip6tables-{tool} -t"))


@in_namespace
@pytest.mark.parametrize("args", [("--inbound-ports", "*", "--inbound-exclude-ports", "1,2", "--outbound-ports", "*"),
                                  ("--inbound-ports", "80", "--inbound-interception-mode", "TPROXY"),
                                  ("--outbound-ports", "80,443")])
@pytest.mark.parametrize("backend", ["nft", "iptables"])
def test_the_kernel_takes_the_sidecars_rules(backend, args):
    inside(printed("--backend", backend, *args))


@in_namespace
def test_what_is_printed_for_removal_removes_all():
    config = {**ingress(capture_dst={"port": 1}, ipv6="capture", scope="both"), **egress({"capture_dst": {"port": 2}})}
    for backend in ("nft", "iptables"):
        made = printed("--backend", backend, config=config)
        removal = run("cleanup-iptables", "--dry-run", "--all", "--backend", backend,
                      "--config-content", json.dumps(config))
        assert removal.returncode == 0
        left = inside(f"{made}\n{removal.stdout}\nnft list ruleset\nip rule\nip -6 rule\nip route show table all")
        assert "TNG_" not in left and "tng" not in left and "239" not in left


@in_namespace
@pytest.mark.parametrize("backend", ["nft", "iptables"])
def test_a_real_run_can_be_repeated_and_cleaned_up(backend, tmp_path):
    file = tmp_path / "tng.json"
    file.write_text(json.dumps({**ingress(capture_dst={"port": 1}, ipv6="reject"),
                                **egress({"capture_dst": {"port": 2}})}))
    look = "nft -a list ruleset | sed 's/# handle.*//; s/counter packets.*bytes [0-9]*//'; ip rule; ip route show table 239"
    apply = f"{BINARY} iptables -c {file} --backend {backend}"
    once, twice, after = inside("iptables -t nat -N FOREIGN\niptables -t nat -A OUTPUT -j FOREIGN\n"
                                f"{apply}\n{look}\necho ======\n{apply}\n{look}\necho ======\n{BINARY} cleanup-iptables\n{look} 2>/dev/null || true"
                                ).split("======\n")
    assert once.count("fwmark 0x236/0xffffff") == 1
    assert sorted(once.splitlines()) == sorted(twice.splitlines())
    assert "FOREIGN" in after and "0x236" not in after and "TNG_" not in after and "table inet" not in after


@in_namespace
def test_cleaning_up_where_nothing_is_prints_nothing():
    assert inside(f"{BINARY} cleanup-iptables --dry-run; {BINARY} cleanup-iptables") == ""
