/* SPDX-License-Identifier: Apache-2.0 */
/* doctor_host - rights, tools, control groups and settings of the host. */
#include "capture/doctor_internal.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "capture/iptables.h"
#include "capture/saved.h"
#include "capture/tool.h"
#include "io/local_ports.h"

#define RIGHTS "rights"
#define TOOLS "tools"
#define CGROUPS "control groups"
#define SETTINGS "settings"

/* The first line of a small file; false when it cannot be read. */
static bool read_line(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd >= 0 ? read(fd, text, size - 1) : -1;

	if (fd >= 0)
		close(fd);
	text[n > 0 ? n : 0] = '\0';
	text[strcspn(text, "\n")] = '\0';
	return n > 0;
}

static bool read_setting(const char *name, char *text, size_t size)
{
	char *path = mem_format("/proc/sys/%s", name);
	bool ok = read_line(path, text, size);

	free(path);
	return ok;
}

static long setting(const char *name, long otherwise)
{
	char text[64];

	return read_setting(name, text, sizeof(text)) ? strtol(text, NULL, 10) : otherwise;
}

/* ---- rights ---- */

bool doctor_has_capability(cap_value_t which)
{
	cap_t caps = cap_get_proc();
	cap_flag_value_t value = CAP_CLEAR;

	if (caps != NULL)
		cap_get_flag(caps, which, CAP_EFFECTIVE, &value);
	cap_free(caps);
	return value == CAP_SET;
}

static void look_at_rights(const struct doctor_needs *needs, struct doctor_report *r)
{
	bool admin = doctor_has_capability(CAP_NET_ADMIN);
	bool raw = doctor_has_capability(CAP_NET_RAW);
	char text[64] = "";

	doctor_add(r, RIGHTS, "CAP_NET_ADMIN", admin ? DOCTOR_OK : DOCTOR_FAIL, needs->capture,
		   "start the gateway as root, with AmbientCapabilities=CAP_NET_ADMIN (systemd) or --cap-add NET_ADMIN "
		   "(docker), in a "
		   "user namespace (unshare -Urn, pasta); or use mapping, or interception.backend none",
		   admin ? "there" : "missing");
	doctor_add(r, RIGHTS, "CAP_NET_RAW", raw ? DOCTOR_OK : DOCTOR_FAIL, needs->ipset,
		   "iptables-legacy and an ipset need it as well: give it as CAP_NET_ADMIN", raw ? "there" : "missing");
	/* "0 0 4294967295" is the initial one's. */
	if (read_line("/proc/self/uid_map", text, sizeof(text)) && strstr(text, "4294967295") == NULL)
		doctor_add(r, RIGHTS, "user namespace", DOCTOR_NOTE, needs->capture,
			   "the application must run in the same network namespace; iptables-legacy needs "
			   "XTABLES_LOCKFILE=FILE",
			   "not the initial one");
}

/* ---- tools ---- */

static bool ask_version(const char *path, char text[128])
{
	struct buf out = { 0 };
	struct err e;
	bool ok = tool_run(&(struct tool_run){ .argv = (const char *const[]){ path, "-V", NULL }, .output = &out },
			   &e) == 0;

	snprintf(text, 128, "%.*s", (int)strcspn(buf_str(&out), "\n"), buf_str(&out));
	buf_release(&out);
	return ok;
}

/* Rules of this flavour, for which its tables had to be listed. */
static size_t count_rules(const struct iptables *t)
{
	struct buf text = { 0 };
	struct saved s = { 0 };
	struct err e;
	size_t count = 0;

	if (iptables_save(t, AF_INET, &text, &e) == 0 && saved_parse(buf_bytes(&text), &s, &e) == 0)
		count = s.rule_count;
	saved_release(&s);
	buf_release(&text);
	return count;
}

static size_t look_at_flavour(const struct doctor_needs *needs, enum iptables_flavour flavour, struct doctor_report *r)
{
	const char *name = iptables_flavour_name(flavour);
	struct iptables t;
	char version[128];
	size_t rules = 0;

	if (!iptables_find(flavour, &t)) {
		doctor_add(r, TOOLS, name, needs->iptables && flavour == IPTABLES_NFT ? DOCTOR_FAIL : DOCTOR_NOTE,
			   needs->iptables, "apt-get install iptables", "not installed");
	} else if (!ask_version(t.v4.command, version)) {
		doctor_add(r, TOOLS, name, DOCTOR_WARN, needs->iptables, "reinstall iptables", "%s cannot be run",
			   t.v4.command);
	} else {
		rules = doctor_has_capability(CAP_NET_ADMIN) ? count_rules(&t) : 0;
		doctor_add(r, TOOLS, name, DOCTOR_OK, needs->iptables, NULL, "%s, %s, %zu rules of IPv4", t.v4.command,
			   version, rules);
	}
	if (t.v4.command != NULL && t.v6.command == NULL)
		doctor_add(r, TOOLS, name, DOCTOR_FAIL, needs->iptables && needs->ipv6, "install ip6tables",
			   "no tool for IPv6");
	iptables_release(&t);
	return rules;
}

static void look_at_tools(const struct doctor_needs *needs, struct doctor_report *r)
{
	char *plain = tool_find("iptables");
	char version[128];
	size_t nft, legacy;

	if (plain != NULL && ask_version(plain, version))
		doctor_add(r, TOOLS, "iptables", DOCTOR_OK, needs->iptables, NULL, "%s is %s", plain, version);
	free(plain);
	nft = look_at_flavour(needs, IPTABLES_NFT, r);
	legacy = look_at_flavour(needs, IPTABLES_LEGACY, r);
	if (nft > 0 && legacy > 0)
		doctor_add(r, TOOLS, "both flavours", DOCTOR_WARN, needs->capture,
			   "the kernel evaluates both, and each tool shows only its own: move all rules to one flavour",
			   "%zu rules of iptables-nft and %zu of iptables-legacy", nft, legacy);
}

/* ---- control groups ---- */

static void look_at_cgroups(const struct doctor_needs *needs, struct doctor_report *r)
{
	bool unified = access("/sys/fs/cgroup/cgroup.controllers", R_OK) == 0;
	bool hybrid = access("/sys/fs/cgroup/unified/cgroup.procs", R_OK) == 0;
	DIR *d = opendir("/sys/fs/cgroup");

	if (unified)
		doctor_add(r, CGROUPS, "layout", DOCTOR_OK, needs->cgroup, NULL, "unified (cgroup2 at /sys/fs/cgroup)");
	else if (hybrid)
		doctor_add(
			r, CGROUPS, "layout", DOCTOR_OK, needs->cgroup, NULL,
			"hybrid (cgroup2 at /sys/fs/cgroup/unified); paths in the configuration are relative to that");
	else
		doctor_add(r, CGROUPS, "layout", DOCTOR_FAIL, needs->cgroup,
			   "capture_cgroup and nocapture_cgroup need cgroup2: mount -t cgroup2, or boot with "
			   "systemd.unified_cgroup_hierarchy=1",
			   d != NULL ? "version 1, or not mounted here" : "/sys/fs/cgroup is not there");
	if (d != NULL)
		closedir(d);
}

/* ---- settings ---- */

/* The highest of all interfaces: the kernel uses the greater one of "all" and the interface's own. */
static long highest_rp_filter(char *where, size_t size)
{
	DIR *d = opendir("/proc/sys/net/ipv4/conf");
	long highest = 0;

	snprintf(where, size, "all");
	while (d != NULL) {
		struct dirent *entry = readdir(d);
		char *name;
		long value;

		if (entry == NULL)
			break;
		if (entry->d_name[0] == '.' || strcmp(entry->d_name, "default") == 0)
			continue;
		name = mem_format("net/ipv4/conf/%s/rp_filter", entry->d_name);
		value = setting(name, 0);
		free(name);
		if (value == 1 || (value > highest && highest != 1)) { /* 1 is strict, 2 loose */
			highest = value;
			snprintf(where, size, "%s", entry->d_name);
		}
	}
	if (d != NULL)
		closedir(d);
	return highest;
}

static void look_at_reverse_path(const struct doctor_needs *needs, struct doctor_report *r)
{
	static const char *const words[] = { "off", "strict", "loose" };
	char where[NAME_MAX + 1];
	long value = highest_rp_filter(where, sizeof(where));
	long valid_mark = setting("net/ipv4/conf/all/src_valid_mark", 0);

	doctor_add(r, SETTINGS, "source check", valid_mark == 1 ? DOCTOR_NOTE : DOCTOR_OK, needs->forward,
		   "the gateway sets src_valid_mark to 0 while it captures what other hosts send, which else is "
		   "dropped as forged, "
		   "and to 1 again; a VPN that relies on it suffers meanwhile",
		   "rp_filter %s (%s), src_valid_mark %ld", words[value >= 0 && value <= 2 ? value : 0], where,
		   valid_mark);
}

static void look_at_bridges(const struct doctor_needs *needs, struct doctor_report *r)
{
	static const char *const names[] = { "net/bridge/bridge-nf-call-iptables",
					     "net/bridge/bridge-nf-call-ip6tables" };
	char text[64];

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (!read_setting(names[i], text, sizeof(text)))
			continue; /* br_netfilter is not loaded: nothing to hurt */
		doctor_add(r, SETTINGS, strrchr(names[i], '/') + 1,
			   text[0] == '0'  ? DOCTOR_OK
			   : needs->bridge ? DOCTOR_FAIL
					   : DOCTOR_WARN,
			   needs->forward || needs->bridge,
			   "bridged packets meet the rules twice, and TPROXY does not work for them: set it to 0", "%s",
			   text);
	}
}

static void look_at_forwarding(const struct doctor_needs *needs, struct doctor_report *r)
{
	long v4 = setting("net/ipv4/ip_forward", 0);
	long v6 = setting("net/ipv6/conf/all/forwarding", -1);

	doctor_add(r, SETTINGS, "forwarding, IPv4", v4 == 1 ? DOCTOR_OK : DOCTOR_NOTE, needs->forward,
		   "what is captured does not need it; what is not captured does not pass: sysctl -w "
		   "net.ipv4.ip_forward=1",
		   "%s", v4 == 1 ? "on" : "off");
	if (v6 >= 0)
		doctor_add(r, SETTINGS, "forwarding, IPv6", v6 == 1 ? DOCTOR_OK : DOCTOR_NOTE,
			   needs->forward && needs->ipv6, "sysctl -w net.ipv6.conf.all.forwarding=1", "%s",
			   v6 == 1 ? "on" : "off");
}

static void look_at_limits(const struct doctor_needs *needs, struct doctor_report *r)
{
	long count = setting("net/netfilter/nf_conntrack_count", -1);
	long max = setting("net/netfilter/nf_conntrack_max", -1);
	long somaxconn = setting("net/core/somaxconn", 4096);
	char range[64] = "";
	int first = 0;
	int last = 0;

	if (count >= 0 && max > 0)
		doctor_add(r, SETTINGS, "conntrack", count > max / 10 * 8 ? DOCTOR_WARN : DOCTOR_OK, needs->redirect,
			   "new connections are refused when it is full: raise net.netfilter.nf_conntrack_max",
			   "%ld of %ld", count, max);
	doctor_add(r, SETTINGS, "somaxconn", somaxconn < 1024 ? DOCTOR_WARN : DOCTOR_OK, needs->capture,
		   "a burst of connections overflows the queue of the listener: sysctl -w net.core.somaxconn=4096",
		   "%ld", somaxconn);
	if (read_setting("net/ipv4/ip_local_port_range", range, sizeof(range)) &&
	    sscanf(range, "%d %d", &first, &last) == 2)
		doctor_add(r, SETTINGS, "ip_local_port_range", last - first < 10000 ? DOCTOR_WARN : DOCTOR_OK,
			   needs->capture, "so many connections at once can go to one destination: widen it",
			   "%d ports (%d to %d)", last - first + 1, first, last);
}

/* A port that is found at start is another one when somebody has it. */
void doctor_look_at_ports(const struct config *c, struct doctor_report *r)
{
	for (size_t i = 0; i < c->entry_count; i++) {
		const struct netfilter_conf *n = c->entries[i].netfilter;
		bool included;

		if (n == NULL || n->listen_port == 0)
			continue;
		included = local_ports_include(n->listen_port);
		doctor_add(r, SETTINGS, "listen_port", included ? DOCTOR_WARN : DOCTOR_OK, true,
			   "a connection of this host may have it when the gateway starts: choose another, or add it "
			   "to net.ipv4.ip_local_reserved_ports",
			   "%s: %u is %s", c->entries[i].path, n->listen_port,
			   included ? "in ip_local_port_range" : "never given to a client");
	}
}

void doctor_look_at_host(const struct doctor_needs *needs, struct doctor_report *r)
{
	look_at_rights(needs, r);
	look_at_tools(needs, r);
	look_at_cgroups(needs, r);
	look_at_forwarding(needs, r);
	look_at_reverse_path(needs, r);
	look_at_bridges(needs, r);
	look_at_limits(needs, r);
}
