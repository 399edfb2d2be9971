"""
The guard of the rules (src/capture/guard.h), with a gateway that does nothing else: build/*/guard_stand_in. What is
foreign is the same before and after, whoever was killed when.
"""
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from harness.gateway import BINARY
from harness.netns import Topology, legacy_tools, skip_without_namespaces
from harness.process import Process
from harness.wait import until

STAND_IN = str(Path(BINARY).parent / "guard_stand_in")
RUN = Path("/run/tng")

# What others have: a rule that looks like Docker's, a chain with a name near to ours, a route in our table.
FOREIGN = """
    iptables -t nat -A PREROUTING -p tcp --dport 8081 -j DNAT --to-destination 172.17.0.2:80
    iptables -t mangle -N TNG_FOREIGN
    iptables -t mangle -A TNG_FOREIGN -p tcp -j RETURN
    iptables -t mangle -A OUTPUT -p udp -j TNG_FOREIGN
    iptables -t mangle -A PREROUTING -p udp -j MARK --set-mark 7
    ip6tables -t mangle -A OUTPUT -p udp -j MARK --set-mark 7
    ip6tables -t mangle -A PREROUTING -p udp -j MARK --set-mark 7
    iptables -A INPUT -p udp -j ACCEPT
    iptables -A OUTPUT -p udp -j ACCEPT
    iptables -A FORWARD -p udp -j ACCEPT
    ip6tables -A INPUT -p udp -j ACCEPT
    ip6tables -A OUTPUT -p udp -j ACCEPT
    ip6tables -A FORWARD -p udp -j ACCEPT
    nft add table inet tngx
    nft add chain inet tngx c
    ip link add d0 type veth peer name d1
    ip link set d0 up
    ip addr add 10.99.0.1/24 dev d0
    ip route add 198.51.100.0/24 dev d0 table 239
    ip rule add pref 5650 fwmark 0x7/0xff lookup 239
"""


@pytest.fixture(scope="module", autouse=True)
def namespaces():
    skip_without_namespaces()
    if not os.access(STAND_IN, os.X_OK):
        pytest.skip(f"{STAND_IN} is not built")


@pytest.fixture
def host(stack):
    made = Topology()
    stack.add(made, made.remove)
    h = made.host("h")
    h.lines(FOREIGN)
    # Routes of the kernel's own appear as the link comes up; and iptables makes its tables at the first look.
    h.run("ip", "-6", "addr", "flush", "dev", "d0")
    stack.add(h, lambda: [(RUN / name).unlink(missing_ok=True) for name in files(h)])  # those of who was killed
    return h


def cookie(h):
    """SO_NETNS_COOKIE: in the names of the files."""
    with h:
        s = socket.socket()
    with s:
        return int.from_bytes(s.getsockopt(socket.SOL_SOCKET, 71, 8), "little")


def files(h):
    return sorted(p.name for p in RUN.glob(f"{cookie(h)}.*")) if RUN.exists() else []


def seen(h):
    """The state, and rules of iptables as that prints them, but for built-in chains, which stay when they were used once."""
    saved = h.run("iptables-save") + h.run("ip6tables-save")
    return h.state() + re.sub(r"(?m)^(:[A-Z]+ ACCEPT .*|#.*|\*.*|COMMIT)\n", "", saved)


def has_own(h):
    """Anything of ours, by whatever it is known."""
    text = seen(h)
    return bool(re.search(r"table inet tng\b|table inet tng_|TNG_0_|TNG_b_|proto 235|tng:", text))


class StandIn(Process):
    def __init__(self, h, backend, on_exit="open", instance="0", mark=566, how=None, started=True):
        before = h.within
        if backend == "legacy":
            before, backend = (*before, *legacy_tools()), "iptables"
        super().__init__([*before, STAND_IN, backend, on_exit, instance, str(mark), *([how] if how else [])],
                         f"stand-in {instance}", stdin=subprocess.PIPE)
        if started:
            self.wait_line("^started$")

    def tell(self, wish):
        self.child.stdin.write(wish.encode() + b"\n")
        self.child.stdin.flush()

    def do(self, wish, answer):
        count = sum(bool(re.search(answer, line)) for line in self.lines)
        self.tell(wish)
        self.wait_line(answer, count=count + 1)
        return self

    @property
    def guard(self):
        """Its process id: the child of the name tng-guard."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        named = [int(c) for c in children if Path(f"/proc/{c}/comm").read_text().strip() == "tng-guard"]
        assert len(named) == 1, children
        return named[0]

    def finish(self):
        if self.child.poll() is None:
            self.child.stdin.close()
        self.child.wait()
        self.ended = True
        self._reader.join()
        self.assert_no_sanitizer_report()


@pytest.fixture
def gateway(stack, host):
    def start(*args, **options):
        made = StandIn(options.pop("on", host), *args, **options)
        return stack.add(made, made.finish)

    return start


def has_ended(pid):
    """As a zombie or altogether: a process that is still ending may still hold its locks."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()[0] in "ZX"
    except OSError:
        return True


def kill_both(g):
    guard = g.guard
    os.kill(g.pid, signal.SIGSTOP)
    os.kill(guard, signal.SIGKILL)
    g.child.kill()
    g.child.wait()
    until("the guard has gone", lambda: has_ended(guard))


def cleanup(h, *args, dry=False):
    return subprocess.run([*h.within, STAND_IN, "cleanup-dry" if dry else "cleanup", *args], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, check=False)


BLOCKS = {"nft": r"daddr 192\.0\.2\.0/24 tcp dport 8080 reject", "iptables": r"-A TNG_0_\S+ -d 192\.0\.2\.0/24 .*REJECT"}
backends = pytest.mark.parametrize("backend", ["nft", "iptables"])


@backends
def test_a_stop_leaves_everything_as_it_was(host, gateway, backend):
    before = host.state()
    g = gateway(backend).do("apply", "^standing$")
    during = seen(host)
    assert ("table inet tng {" in during) == (backend == "nft")
    assert ("-j TNG_0_" in during) == (backend == "iptables")
    assert during.count("fwmark 0x236/0xffffff lookup 239") == 2
    g.do("stop", "^stopped$")
    assert host.state() == before
    assert files(host) == []


@backends
def test_rules_that_the_kernel_refuses_leave_everything_as_it_was(host, gateway, backend):
    before = host.state()
    gateway(backend, how="broken").do("apply", "No such file or directory|RULE_APPEND failed")
    assert host.state() == before


@backends
def test_after_a_sigkill_there_is_a_block_and_then_nothing(host, gateway, backend):
    before = host.state()
    g = gateway(backend).do("apply", "^standing$")
    killed = time.monotonic()
    g.child.kill()
    block = BLOCKS[backend]
    until("the block stands", lambda: re.search(block, seen(host)))
    until("everything is gone", lambda: host.state() == before)
    assert time.monotonic() - killed < 5
    until("the files are gone", lambda: files(host) == [])


@backends
def test_with_drop_the_block_stays_until_the_next_start(host, gateway, backend):
    before = host.state()
    g = gateway(backend, "drop").do("apply", "^standing$")
    g.child.kill()
    block = BLOCKS[backend]
    g.wait_line("is blocked from now on")
    g.child.wait()
    assert re.search(block, seen(host))
    assert "flags owner" not in host.state()

    again = gateway(backend, "open").do("apply", "^standing$")
    assert not re.search(block, seen(host))
    again.do("stop", "^stopped$")
    assert host.state() == before


def test_a_block_of_the_other_back_end_gives_way_as_well(host, gateway):
    before = host.state()
    g = gateway("iptables", "drop").do("apply", "^standing$").do("stop", "^stopped$")
    g.tell("end")
    assert "TNG_0_" in seen(host)
    again = gateway("nft").do("apply", "^standing$")
    assert "TNG_0_" not in seen(host)
    again.do("stop", "^stopped$")
    assert host.state() == before


@backends
def test_a_gateway_killed_at_any_moment_of_the_start_leaves_nothing(host, gateway, backend):
    """Every millisecond or so; the guard is then anywhere between its birth and the rules."""
    before = host.state()
    for step in range(8):
        g = gateway(backend, started=step > 1)
        if step > 1:
            g.tell("apply")
        time.sleep(step * (0.004 if backend == "nft" else 0.015))
        g.child.kill()
        g.child.wait()
        # Who was killed before there was a guard leaves an empty lock file: nobody holds it, and the next one takes it.
        until(f"nothing is left after step {step}",
              lambda: not has_own(host) and not any(f.endswith(".undo") for f in files(host)), 8)
    assert host.state() == before


@backends
def test_when_the_guard_is_killed_the_gateway_sees_it_and_clears_up(host, gateway, backend):
    before = host.state()
    g = gateway(backend).do("apply", "^standing$")
    os.kill(g.guard, signal.SIGKILL)
    g.do("watch", "^gone$")
    g.do("free", "^freed$")
    assert host.state() == before


@backends
@pytest.mark.parametrize("whole", [False, True])
def test_with_drop_rules_that_lead_nowhere_stay_when_the_guard_is_killed(host, gateway, backend, whole):
    before = host.state()
    g = gateway(backend, "drop").do("apply", "^standing$")
    if whole:
        kill_both(g)
    else:
        os.kill(g.guard, signal.SIGKILL)
        g.do("free", "^freed$")
    assert re.search(r"192\.0\.2\.0/24 .*(mark|MARK)", seen(host))
    assert "fwmark 0x236/0xffffff lookup 239" in host.state()
    assert cleanup(host).returncode == 0
    assert host.state() == before


@backends
def test_when_both_are_killed_the_next_start_replays_the_journal(host, gateway, backend):
    before = host.state()
    g = gateway(backend).do("apply", "^standing$")
    kill_both(g)
    assert has_own(host)
    assert any(name.endswith(".undo") for name in files(host))
    assert "table inet tng " not in host.state()  # the kernel has taken it

    # Another configuration: its routes are others, and the old ones go all the same.
    again = gateway(backend, mark=570).do("apply", "^standing$")
    again.wait_line("replaying the journal")
    assert "0x236/" not in host.state() and "0x23a/" in host.state()
    again.do("stop", "^stopped$")
    assert host.state() == before


@backends
def test_when_both_are_killed_cleanup_takes_it_away(host, gateway, backend):
    before = host.state()
    g = gateway(backend, "drop").do("apply", "^standing$")
    kill_both(g)
    dry = cleanup(host, dry=True)
    assert dry.returncode == 0 and "ip rule del pref 5650 fwmark 0x236/0xffffff lookup 239 protocol 235" in dry.stdout
    assert has_own(host)
    done = cleanup(host)
    assert (done.returncode, done.stderr) == (0, "")
    assert host.state() == before and files(host) == []
    assert cleanup(host).stdout == ""


def test_the_commands_of_a_dry_run_do_the_same(host, gateway):
    before = host.state()
    g = gateway("iptables").do("apply", "^standing$")
    kill_both(g)
    host.run("sh", "-e", stdin=cleanup(host, dry=True).stdout)
    assert host.state() == before


def test_cleanup_leaves_alone_what_runs(host, gateway):
    gateway("iptables").do("apply", "^standing$")
    gateway("nft", instance="b", mark=567).do("apply", "^standing$")
    standing = host.state()
    done = cleanup(host)
    assert done.returncode == 1
    assert 'instance "0" runs as process' in done.stderr and 'instance "b" runs as process' in done.stderr
    assert host.state() == standing


def test_cleanup_takes_away_what_upstream_left(host):
    before = host.state()
    host.lines("""
        iptables -t nat -N TNG_EGRESS_0
        iptables -t nat -A TNG_EGRESS_0 -p tcp -m mark --mark 565 -j RETURN
        iptables -t nat -I PREROUTING 1 -p tcp -j TNG_EGRESS_0
        iptables-legacy -t mangle -N TNG_INGRESS_0_PREROUTING
        iptables-legacy -t mangle -I PREROUTING 1 -p tcp -j TNG_INGRESS_0_PREROUTING
        ip route add local default dev lo table 239
        ip rule add fwmark 566/0xffffff table 239""")
    done = cleanup(host)
    assert (done.returncode, done.stderr) == (0, "")
    assert _without_empty_legacy(host.state()) == _without_empty_legacy(before)


def _without_empty_legacy(state):
    """The legacy tool leaves its table behind as soon as it was used, with nothing in it."""
    return re.sub(r"\*mangle\n(:[A-Z]+ ACCEPT \n)+COMMIT\n", "", state)


@pytest.fixture
def legacy_tables(host):
    """The legacy tool makes a table as soon as it is used, and cannot take it away again."""
    legacy_tools()
    for tool in ("iptables-legacy", "ip6tables-legacy"):
        for table in ("nat", "mangle", "filter"):
            host.run(tool, "-t", table, "-A", "OUTPUT", "-p", "udp", "-j", "RETURN")


def test_the_legacy_flavour_is_found_and_cleared_up_by_stop_death_and_cleanup(host, gateway, legacy_tables):
    before = host.state()
    g = gateway("legacy").do("apply", "^standing$")
    g.wait_line(r"stand \(iptables-legacy\)")
    assert "TNG_0_" in host.run("iptables-legacy-save") and "TNG_0_" not in host.run("iptables-nft-save")
    status = Path(f"/proc/{g.guard}/status").read_text()
    assert re.search(r"CapPrm:\s*0000000000003000\n", status)  # CAP_NET_RAW as well
    g.do("stop", "^stopped$")
    assert host.state() == before

    gateway("legacy").do("apply", "^standing$").child.kill()
    until("everything is gone", lambda: host.state() == before)

    g = gateway("legacy").do("apply", "^standing$")
    kill_both(g)
    assert has_own(host)
    assert cleanup(host).returncode == 0
    assert host.state() == before


def test_two_instances_stand_side_by_side(host, gateway):
    before = host.state()
    one = gateway("nft").do("apply", "^standing$")
    other = gateway("iptables", instance="b").do("apply", "^standing$")
    assert host.state().count("proto 235") == 8
    one.do("stop", "^stopped$")
    assert host.state().count("proto 235") == 4 and "fwmark 0x236/" not in host.state()
    other.do("stop", "^stopped$")
    assert host.state() == before


def test_an_instance_with_the_marks_of_another_is_refused_and_changes_nothing(host, gateway):
    namesake = subprocess.run([STAND_IN, "namesake", "b"], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    one = gateway("nft", instance="b").do("apply", "^standing$")
    standing = host.state()
    gateway("nft", instance=namesake).do("apply", rf'instance "b" \(process {one.pid}\) uses mark \d+ already')
    assert host.state() == standing


def test_the_same_name_twice_is_refused_with_the_pid(host, gateway):
    one = gateway("nft")
    second = gateway("nft", started=False)
    second.wait_line(rf'instance "0" is in use by process {one.pid}\b')


def test_the_same_name_in_another_namespace_is_another_instance(host, gateway, stack):
    made = Topology()
    stack.add(made, made.remove)
    elsewhere = made.host("elsewhere")
    gateway("nft").do("apply", "^standing$")
    gateway("nft", on=elsewhere).do("apply", "^standing$")


def test_a_new_start_waits_for_the_guard_of_a_gateway_that_died(host, gateway):
    gateway("nft").do("apply", "^standing$").child.kill()
    gateway("nft").do("apply", "^standing$").do("stop", "^stopped$")


def test_upstream_running_is_refused_with_an_explanation(host, gateway, stack):
    with host:
        s = socket.socket(socket.AF_UNIX)
        stack.add(s, s.close)
        s.bind(b"\0tng")
    second = gateway("nft", started=False)
    second.wait_line(rf"an upstream TNG runs in this network namespace \(process {os.getpid()} has bound @tng\)")


def test_a_tampered_journal_is_refused_by_its_name(host, gateway):
    RUN.mkdir(mode=0o700, exist_ok=True)
    path = RUN / f"{cookie(host)}.0.undo"
    path.write_text('{"tng_undo": 1, "commands": ["rm -rf /"]}')
    path.chmod(0o600)
    try:
        g = gateway("nft").do("apply", rf"{path.parent}: {path.name}: not an undo journal")
        assert not has_own(host)
        g.tell("end")
    finally:
        path.unlink()


def test_the_guard_keeps_no_right_and_no_descriptor_that_it_does_not_need(host, gateway):
    g = gateway("nft").do("apply", "^standing$")
    status = Path(f"/proc/{g.guard}/status").read_text()
    assert re.search(r"CapPrm:\s*0000000000001000\n", status)  # CAP_NET_ADMIN
    assert re.search(r"CapBnd:\s*0000000000001000\n", status)
    assert re.search(r"NoNewPrivs:\s*1\n", status)
    assert os.getsid(g.guard) == g.guard
    targets = [os.readlink(f"/proc/{g.guard}/fd/{fd}") for fd in os.listdir(f"/proc/{g.guard}/fd")]
    assert len([t for t in targets if t.startswith("socket:")]) == 4, targets  # pair, address, nftables, its events
    for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        os.kill(g.guard, signum)
    g.do("stop", "^stopped$")


def test_in_a_user_namespace_without_rights_outside_it_works_and_says_where_the_journal_is_not(gateway, stack):
    """unshare -Urn as nobody: what pasta does for a container."""
    nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "unshare", "-Urn")
    probe = subprocess.run([*nobody, "true"], stderr=subprocess.PIPE, text=True, check=False)
    if probe.returncode != 0:
        pytest.skip(f"no user namespaces: {probe.stderr.strip()}")
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        program = shutil.copy(STAND_IN, folder)
        script = ('ip link set lo up; echo apply | "$0" nft open 0 566 & wait; nft list tables; ip rule')
        done = subprocess.run([*nobody, "sh", "-c", script, program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              check=False, env={"PATH": os.environ["PATH"]})
    assert "standing" in done.stdout
    assert "no undo journal" in done.stderr


def test_a_table_that_somebody_flushes_stays(host, gateway):
    """nft flush ruleset of others skips a table with an owner."""
    gateway("nft").do("apply", "^standing$")
    host.run("nft", "flush", "ruleset")
    assert "table inet tng {" in host.state()


def own_lines(h):
    """What stands of ours, as it is printed: with nftables the whole table."""
    text = seen(h)
    tables = re.findall(r"(?ms)^table inet tng \{.*?^\}", text)
    return tables + sorted(line for line in text.splitlines() if re.search("TNG_0_|0x236/0xffffff|proto 235", line))


EVERYTHING = "*nat\n:PREROUTING ACCEPT\nCOMMIT\n*mangle\n:PREROUTING ACCEPT\nCOMMIT\n*filter\n:INPUT ACCEPT\nCOMMIT\n"
TAKES = {
    "flush ruleset": ("nft", "nft flush ruleset"),  # what a reload of Debian's nftables.service does
    "delete table": ("nft", "nft delete table inet tng"),
    "delete rule": ("nft", "nft flush chain inet tng mangle_out"),
    "add rule": ("nft", "nft insert rule inet tng mangle_out accept"),
    "restore": ("iptables", f"printf '{EVERYTHING}' | iptables-restore"),  # netfilter-persistent
    "flush": ("iptables", "iptables -t mangle -F"),
    "delete jump": ("iptables", "iptables-save -t mangle | grep -v -- '-j TNG_0_' | iptables-restore -T mangle"),
    "flush ruleset of iptables": ("iptables", "nft flush ruleset"),
}


def take_away(h, command):
    h.run("sh", "-c", command.replace("\n", "\\n"))


@pytest.mark.parametrize("what", TAKES)
def test_what_others_take_away_is_put_back_at_once(host, gateway, what):
    backend, command = TAKES[what]
    g = gateway(backend, "drop").do("apply", "^standing$")
    before = own_lines(host)
    assert before

    for count in (1, 2):
        take_away(host, command)
        g.wait_line("somebody else has changed or removed the rules .* may have passed in clear", count=count)
        until("they stand as they did", lambda: own_lines(host) == before)
    g.do("stop", "^stopped$")
    assert cleanup(host).returncode == 0
    assert not has_own(host)


def test_what_others_take_away_while_it_starts_is_not_taken_for_what_is_to_be(host, gateway):
    """As at the start of a host, when others load their rules as well. With iptables' several steps that start fails."""
    for _ in range(4):
        flusher = subprocess.Popen([*host.within, "sh", "-c", "while :; do nft flush ruleset; done"])
        g = gateway("nft", "drop")
        try:
            g.do("apply", "^standing$")
        finally:
            flusher.kill()
            flusher.wait()
        until("they stand", lambda: re.search(r"192\.0\.2\.0/24 .*(mark|MARK)", seen(host)))
        g.do("stop", "^stopped$")
        g.tell("end")
        g.child.wait()
        assert cleanup(host).returncode == 0


@backends
def test_what_others_do_to_their_own_is_none_of_our_business(host, gateway, backend):
    g = gateway(backend, "drop", how="check").do("apply", "^standing$")
    before = own_lines(host)
    host.lines("""
        iptables -t mangle -A OUTPUT -p udp -j RETURN
        iptables -t mangle -D OUTPUT -p udp -j RETURN
        iptables -t nat -N DOCKER
        nft delete table inet tngx
        ip rule add pref 5651 fwmark 0x8/0xff lookup 239
    """)
    time.sleep(1.2)  # two looks of "check"
    assert own_lines(host) == before
    assert not g.has_line("somebody else")


@pytest.mark.parametrize("backend", ["nft", "iptables", "legacy"])
def test_what_the_kernel_does_not_tell_is_found_by_looking(host, gateway, backend, request):
    if backend == "legacy":
        request.getfixturevalue("legacy_tables")
    g = gateway(backend, how="check").do("apply", "^standing$")
    before = own_lines(host)
    rule = next(line for line in host.run("ip", "rule").splitlines() if "0x236/0xffffff" in line)
    host.run("ip", "rule", "del", *rule.split(":")[1].replace("from all", "").replace(" proto 235", "").split(), "proto", "235")
    if backend == "legacy":
        host.run("iptables-legacy", "-t", "mangle", "-F")
    g.wait_line("somebody else has changed or removed the rules")
    until("they stand as they did", lambda: own_lines(host) == before)
    if backend == "legacy":
        assert "-j TNG_0_" in host.run("iptables-legacy-save")
    g.do("stop", "^stopped$")
    assert not has_own(host)


def test_while_it_stops_nothing_is_put_back(host, gateway):
    g = gateway("nft", "drop", how="check").do("apply", "^standing$").do("stop", "^stopped$")
    host.run("nft", "flush", "ruleset")
    time.sleep(1.2)
    assert "table inet tng" not in host.state()
    assert not g.has_line("somebody else")


@pytest.fixture
def source_check(host):
    """Whether the kernel's check of sources uses marks."""
    path = "/proc/sys/net/ipv4/conf/all/src_valid_mark"
    host.run("sysctl", "-q", "-w", "net.ipv4.conf.all.src_valid_mark=1")
    return lambda: host.run("cat", path).strip() == "1"


def test_the_source_check_is_set_for_forwarded_traffic_and_restored_by_stop_death_and_cleanup(host, gateway, source_check):
    g = gateway("nft", how="forward").do("apply", "^standing$")
    assert not source_check()
    g.do("stop", "^stopped$")
    assert source_check()

    gateway("nft", how="forward").do("apply", "^standing$").child.kill()
    until("it is restored", source_check)

    g = gateway("nft", how="forward").do("apply", "^standing$")
    kill_both(g)
    assert not source_check()
    assert "sysctl -q -w net.ipv4.conf.all.src_valid_mark=1" in cleanup(host, dry=True).stdout
    assert cleanup(host).returncode == 0
    assert source_check()

    kill_both(gateway("nft", how="forward").do("apply", "^standing$"))
    g = gateway("nft", how="forward").do("apply", "^standing$")
    assert not source_check()
    g.do("stop", "^stopped$")
    assert source_check()


def test_the_source_check_is_left_alone_for_what_this_host_sends(host, gateway, source_check):
    gateway("nft").do("apply", "^standing$")
    assert source_check()


@pytest.mark.parametrize("instance", ["0", "b"])
def test_what_has_refused_comes_into_the_set_however_often_it_is_told(host, gateway, instance):
    g = gateway("nft", instance=instance, how="cache").do("apply", "^standing$").do("refused", "^told$")
    until("both are there", lambda: all(a in host.state() for a in ("192.0.2.9 . 8080", "2001:db8::9 . 8080")))
    g.do("stop", "^stopped$")
