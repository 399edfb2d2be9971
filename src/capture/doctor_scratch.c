/* SPDX-License-Identifier: Apache-2.0 */
/*
 * doctor_scratch - what this kernel can do, tried out.
 *
 * A child makes a network namespace of its own, by a user namespace where rights are missing, loads one rule for each
 * feature, and reports through a pipe. What it made goes with it.
 */
#include "capture/doctor_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "capture/iptables.h"
#include "capture/nft.h"
#include "capture/route.h"
#include "capture/tool.h"

#define TRIAL_TEXT_MAX 160

enum trial_kind { TRIAL_NFT, TRIAL_IPTABLES_V4, TRIAL_IPTABLES_V6, TRIAL_ROUTE, TRIAL_SOCKET };

/* Offset of the member of struct doctor_needs that asks for it. */
#define NEED(member) offsetof(struct doctor_needs, member)

struct trial {
	enum trial_kind kind;
	const char *name;
	const char *text; /* of rules in a chain or table */
	size_t need;
	const char *advice;
};

struct outcome {
	size_t trial;
	enum iptables_flavour flavour; /* of TRIAL_IPTABLES_* */
	bool ok;
	char text[TRIAL_TEXT_MAX];
};

#define PREROUTING(rule) "chain c { type filter hook prerouting priority mangle; " rule "; }"
#define OUTPUT(rule) "chain c { type filter hook output priority mangle; " rule "; }"
#define NAT(rule) "chain c { type nat hook prerouting priority -105; " rule "; }"
#define MODULE "load or build the kernel module "

static const struct trial trials[] = {
	{ TRIAL_NFT, "table with an owner", "flags owner;", NEED(any_backend),
	  "Linux 5.12 or newer; else iptables is used" },
	{ TRIAL_NFT, "redirect", NAT("tcp dport 1 redirect to :2"), NEED(redirect), MODULE "nft_redir" },
	{ TRIAL_NFT, "tproxy, IPv4", PREROUTING("meta l4proto tcp tproxy ip to 127.0.0.1:1 accept"), NEED(tproxy),
	  MODULE "nft_tproxy" },
	{ TRIAL_NFT, "tproxy, IPv6", PREROUTING("meta l4proto tcp tproxy ip6 to [::1]:1 accept"), NEED(ipv6),
	  MODULE "nft_tproxy" },
	{ TRIAL_NFT, "socket transparent", PREROUTING("meta l4proto tcp socket transparent 1 accept"), NEED(tproxy),
	  MODULE "nft_socket" },
	{ TRIAL_NFT, "address types", PREROUTING("fib daddr type local accept"), NEED(capture), MODULE "nft_fib_inet" },
	{ TRIAL_NFT, "sets of networks and ports",
	  "set s { type ipv4_addr . inet_service; flags interval; elements = { 10.0.0.0/8 . 1-2 }; }", NEED(capture),
	  "Linux 5.6 or newer" },
	{ TRIAL_NFT, "reset", OUTPUT("meta l4proto tcp reject with tcp reset"), NEED(capture),
	  MODULE "nft_reject_inet" },
	{ TRIAL_NFT, "queue", OUTPUT("queue num 1"), NEED(queue), MODULE "nft_queue; iptables can do it without" },
	{ TRIAL_IPTABLES_V4, "REDIRECT, IPv4", "*nat\n:T - [0:0]\n-A T -p tcp -j REDIRECT --to-ports 1\nCOMMIT\n",
	  NEED(redirect), MODULE "xt_REDIRECT" },
	{ TRIAL_IPTABLES_V6, "REDIRECT, IPv6", "*nat\n:T - [0:0]\n-A T -p tcp -j REDIRECT --to-ports 1\nCOMMIT\n",
	  NEED(ipv6), MODULE "ip6table_nat" },
	{ TRIAL_IPTABLES_V4, "TPROXY, IPv4",
	  "*mangle\n:T - [0:0]\n-A T -p tcp -j TPROXY --on-port 1 --on-ip 127.0.0.1 --tproxy-mark 1/1\nCOMMIT\n",
	  NEED(tproxy), MODULE "xt_TPROXY" },
	{ TRIAL_IPTABLES_V6, "TPROXY, IPv6",
	  "*mangle\n:T - [0:0]\n-A T -p tcp -j TPROXY --on-port 1 --on-ip ::1 --tproxy-mark 1/1\nCOMMIT\n", NEED(ipv6),
	  MODULE "xt_TPROXY" },
	{ TRIAL_IPTABLES_V4, "socket", "*mangle\n:T - [0:0]\n-A T -p tcp -m socket --transparent -j ACCEPT\nCOMMIT\n",
	  NEED(tproxy), MODULE "xt_socket" },
	{ TRIAL_IPTABLES_V4, "mark, addrtype, comment",
	  "*mangle\n:T - [0:0]\n-A T -m mark --mark 1/1 -m addrtype --dst-type LOCAL -m comment --comment t -j "
	  "RETURN\nCOMMIT\n",
	  NEED(capture), MODULE "xt_mark, xt_addrtype, xt_comment" },
	{ TRIAL_IPTABLES_V4, "owner", "*mangle\n:T - [0:0]\n-A T -m owner --uid-owner 0 -j RETURN\nCOMMIT\n", SIZE_MAX,
	  MODULE "xt_owner" },
	{ TRIAL_IPTABLES_V4, "cgroup", "*mangle\n:T - [0:0]\n-A T -m cgroup --path / -j RETURN\nCOMMIT\n", NEED(cgroup),
	  MODULE "xt_cgroup" },
	{ TRIAL_IPTABLES_V4, "set (ipset)",
	  "*mangle\n:T - [0:0]\n-A T -m set --match-set tng_trial dst -j RETURN\nCOMMIT\n", NEED(ipset),
	  "install ipset; " MODULE "xt_set" },
	{ TRIAL_IPTABLES_V4, "NFQUEUE", "*mangle\n:T - [0:0]\n-A T -p tcp -j NFQUEUE --queue-num 1\nCOMMIT\n",
	  NEED(queue), MODULE "xt_NFQUEUE" },
	{ TRIAL_ROUTE, "policy route, IPv4", NULL, NEED(tproxy), "CONFIG_IP_MULTIPLE_TABLES" },
	{ TRIAL_ROUTE, "policy route, IPv6", NULL, NEED(ipv6),
	  "CONFIG_IPV6_MULTIPLE_TABLES; IPv6 may be switched off" },
	{ TRIAL_SOCKET, "IP_TRANSPARENT and SO_MARK", NULL, NEED(transparent), "CAP_NET_ADMIN" },
};

static bool is_needed(const struct doctor_needs *n, size_t need)
{
	return need != SIZE_MAX && *(const bool *)((const char *)n + need);
}

/* ---- in the child ---- */

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	(void)!write(fd, text, strlen(text));
	close(fd);
}

/* Of libnftables, which writes there what it also returns. */
void doctor_silence(void)
{
	int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	dup2(fd, STDERR_FILENO);
	close(fd);
}

static void set_lo_up(void)
{
	struct ifreq ifr = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_LOOPBACK | IFF_RUNNING };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return;
	(void)ioctl(fd, SIOCSIFFLAGS, &ifr);
	close(fd);
}

int doctor_enter_scratch(void)
{
	char text[64];
	uid_t uid = geteuid();
	gid_t gid = getegid();

	/* Rights in the namespace that is made follow from those that we have here. */
	if (!doctor_has_capability(CAP_NET_ADMIN) || unshare(CLONE_NEWNET) != 0) {
		if (unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0)
			return -1;
		write_file("/proc/self/setgroups", "deny");
		snprintf(text, sizeof(text), "0 %u 1", uid);
		write_file("/proc/self/uid_map", text);
		snprintf(text, sizeof(text), "0 %u 1", gid);
		write_file("/proc/self/gid_map", text);
		setenv("XTABLES_LOCKFILE", "/dev/null", 1); /* nobody else is in here */
	}
	set_lo_up();
	return 0;
}

static void tell(int fd, size_t trial, enum iptables_flavour flavour, int rc, const struct err *e)
{
	struct outcome o = { .trial = trial, .flavour = flavour, .ok = rc == 0 };
	const char *own_words =
		rc == 0 ? NULL : strstr(e->text, ": table inet tng_trial"); /* our line, behind the reason */
	size_t len = own_words != NULL ? (size_t)(own_words - e->text) : TRIAL_TEXT_MAX - 1;

	snprintf(o.text, sizeof(o.text), "%.*s", (int)MIN(len, (size_t)TRIAL_TEXT_MAX - 1),
		 rc == 0 ? "works" : e->text);
	(void)!write(fd, &o, sizeof(o));
}

static int try_nft(struct nft_session *nft, const char *text, struct err *e)
{
	char *all = mem_format("table inet tng_trial {\n%s\n}\ndelete table inet tng_trial\n", text);
	int rc = nft_load(nft, all, "trial", e);

	free(all);
	return rc;
}

static int try_route(bool v6, struct err *e)
{
	struct policy_route r = {
		.family = v6 ? AF_INET6 : AF_INET, .mark = 1, .mask = 1, .table = CAPTURE_TABLE_FIRST, .protocol = 235
	};

	return route_add(&r, 1, e);
}

static int try_socket(struct err *e)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int one = 1;
	int rc = 0;

	if (fd < 0)
		return err_errno(e, ERR_SYSTEM, "socket");
	if (setsockopt(fd, SOL_IP, IP_TRANSPARENT, &one, sizeof(one)) != 0)
		rc = err_errno(e, ERR_SYSTEM, "IP_TRANSPARENT");
	else if (setsockopt(fd, SOL_SOCKET, SO_MARK, &one, sizeof(one)) != 0)
		rc = err_errno(e, ERR_SYSTEM, "SO_MARK");
	close(fd);
	return rc;
}

static void try_all_nft(int fd)
{
	struct err e;
	struct nft_session *nft = nft_open(&e);

	for (size_t i = 0; i < ARRAY_SIZE(trials); i++) {
		if (trials[i].kind == TRIAL_NFT)
			tell(fd, i, 0, nft != NULL ? try_nft(nft, trials[i].text, &e) : -1, &e);
	}
	nft_close(nft);
}

static void try_all_iptables(int fd, const struct iptables *t)
{
	char *ipset = tool_find("ipset");
	struct err e;

	if (ipset != NULL)
		(void)!tool_run_ok(&(struct tool_run){ .argv = (const char *const[]){ ipset, "create", "tng_trial",
										      "hash:net", NULL } },
				   &e);
	for (size_t i = 0; i < ARRAY_SIZE(trials); i++) {
		int family = trials[i].kind == TRIAL_IPTABLES_V4 ? AF_INET : AF_INET6;

		if (trials[i].kind == TRIAL_IPTABLES_V4 || trials[i].kind == TRIAL_IPTABLES_V6)
			tell(fd, i, t->flavour, iptables_restore(t, family, bytes_str(trials[i].text), &e), &e);
	}
	free(ipset);
}

static void try_all(int fd)
{
	bool v6 = false;
	struct err e;

	try_all_nft(fd);
	for (int flavour = 0; flavour < IPTABLES_FLAVOURS; flavour++) {
		struct iptables t;

		if (iptables_find((enum iptables_flavour)flavour, &t))
			try_all_iptables(fd, &t);
		iptables_release(&t);
	}
	for (size_t i = 0; i < ARRAY_SIZE(trials); i++) {
		if (trials[i].kind == TRIAL_ROUTE) {
			tell(fd, i, 0, try_route(v6, &e), &e);
			v6 = true;
		} else if (trials[i].kind == TRIAL_SOCKET) {
			tell(fd, i, 0, try_socket(&e), &e);
		}
	}
}

/* ---- in the parent ---- */

static const char *group_of(const struct outcome *o)
{
	switch (trials[o->trial].kind) {
	case TRIAL_NFT:
		return "kernel, nftables";
	case TRIAL_IPTABLES_V4:
	case TRIAL_IPTABLES_V6:
		return o->flavour == IPTABLES_NFT ? "kernel, iptables-nft" : "kernel, iptables-legacy";
	case TRIAL_ROUTE:
	case TRIAL_SOCKET:
		break;
	}
	return "kernel, routes and sockets";
}

/* What one back end cannot do, another may: it fails only where that back end is configured. */
static bool must_work(const struct doctor_needs *needs, const struct outcome *o)
{
	const struct trial *t = &trials[o->trial];

	switch (t->kind) {
	case TRIAL_NFT:
		return is_needed(needs, t->need) && (needs->nft || (needs->any_backend && t->need != NEED(queue)));
	case TRIAL_IPTABLES_V4:
	case TRIAL_IPTABLES_V6:
		return is_needed(needs, t->need) && o->flavour == IPTABLES_NFT &&
		       (needs->iptables || (t->need == NEED(queue) && !needs->nft));
	case TRIAL_ROUTE:
	case TRIAL_SOCKET:
		break;
	}
	return is_needed(needs, t->need);
}

static void add_outcome(struct doctor_report *r, const struct doctor_needs *needs, const struct outcome *o)
{
	const struct trial *t = &trials[o->trial];
	bool must = must_work(needs, o);
	enum doctor_result result = o->ok					 ? DOCTOR_OK
				    : needs->any_backend && t->kind == TRIAL_NFT ? DOCTOR_WARN
										 : DOCTOR_FAIL;

	doctor_add(r, group_of(o), t->name, result, must || is_needed(needs, t->need), t->advice, "%s", o->text);
	if (!must && r->checks[r->count - 1].result == DOCTOR_FAIL)
		r->checks[r->count - 1].result = DOCTOR_WARN;
}

static size_t read_outcomes(int fd, struct doctor_report *r, const struct doctor_needs *needs, bool *nft,
			    bool *iptables)
{
	struct outcome o;
	size_t count = 0;

	while (read(fd, &o, sizeof(o)) == (ssize_t)sizeof(o) && o.trial < ARRAY_SIZE(trials)) {
		enum trial_kind kind = trials[o.trial].kind;

		add_outcome(r, needs, &o);
		*nft = *nft || (kind == TRIAL_NFT && o.trial == 0 && o.ok);
		*iptables = *iptables || (kind == TRIAL_IPTABLES_V4 && o.ok);
		count++;
	}
	return count;
}

static void add_verdict(struct doctor_report *r, const struct doctor_needs *needs, bool nft, bool iptables)
{
	bool ok = (needs->nft && nft) || (needs->iptables && iptables) || (needs->any_backend && (nft || iptables));

	doctor_add(r, "kernel, routes and sockets", "back end", ok ? DOCTOR_OK : DOCTOR_FAIL, needs->capture,
		   "a kernel with nf_tables, or iptables with its modules", "%s",
		   nft && !needs->iptables ? "nft"
		   : iptables		   ? "iptables"
					   : "neither nftables nor iptables works");
}

void doctor_try_kernel(const struct doctor_needs *needs, struct doctor_report *r)
{
	bool nft = false;
	bool iptables = false;
	int fds[2];
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) != 0)
		return;
	pid = fork();
	if (pid == 0) {
		doctor_silence();
		if (doctor_enter_scratch() == 0)
			try_all(fds[1]);
		_exit(0);
	}
	close(fds[1]);
	if (pid < 0 || read_outcomes(fds[0], r, needs, &nft, &iptables) == 0)
		doctor_add(r, "kernel, routes and sockets", "features", DOCTOR_UNKNOWN, needs->capture,
			   "run as root, or allow user namespaces (sysctl kernel.unprivileged_userns_clone, "
			   "user.max_user_namespaces)",
			   "no network namespace to try them in");
	else
		add_verdict(r, needs, nft, iptables);
	close(fds[0]);
	if (pid > 0)
		waitpid(pid, NULL, 0);
}
