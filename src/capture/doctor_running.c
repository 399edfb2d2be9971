/* SPDX-License-Identifier: Apache-2.0 */
/* doctor_running - what stands on this host: gateways, their rules, and others that are in the way. */
#include "capture/doctor_internal.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "capture/instance.h"
#include "capture/iptables.h"
#include "capture/nft.h"
#include "capture/route.h"
#include "capture/saved.h"
#include "capture/upstream.h"
#include "io/sock.h"

#define GATEWAYS "gateways"
#define STANDING "rules"
#define IN_THE_WAY "filters of others"
#define CONNECTIONS "connections"
#define CONNECT_MS 3000

/* TEST-NET-1: nobody is there, so only a capture can answer. */
#define PROBE_HOST "192.0.2.1"

/* ---- gateways ---- */

static void look_at_instance(const struct instance_seen *s, struct doctor_report *r)
{
	if (s->refused.kind != ERR_NONE)
		doctor_add(r, GATEWAYS, s->name, DOCTOR_WARN, true,
			   "look at the file, remove it, and run tng cleanup-iptables", "%s", s->refused.text);
	else if (s->lives)
		doctor_add(r, GATEWAYS, s->name, DOCTOR_OK, true, NULL, "runs (process %d)", (int)s->pid);
	else if (s->has_journal && s->journal.blocked)
		doctor_add(r, GATEWAYS, s->name, DOCTOR_NOTE, true, "start it, or run tng cleanup-iptables",
			   "has ended; what it captured is blocked (interception.on_exit)");
	else if (s->has_journal)
		doctor_add(r, GATEWAYS, s->name, DOCTOR_WARN, true, "start it, or run tng cleanup-iptables",
			   "has ended with its guard and left rules or routes behind");
}

static bool look_at_instances(const char *wanted, struct doctor_report *r)
{
	struct instance_list list;
	bool runs = false;

	instance_find(&list);
	for (size_t i = 0; i < list.count; i++) {
		look_at_instance(&list.items[i], r);
		runs = runs || (list.items[i].lives && strcmp(list.items[i].name, wanted) == 0);
	}
	instance_list_release(&list);
	return runs;
}

static void look_at_upstream(const struct doctor_needs *needs, struct doctor_report *r)
{
	pid_t pid;
	bool runs = upstream_runs(&pid);

	if (runs)
		doctor_add(r, GATEWAYS, "upstream's TNG", DOCTOR_FAIL, needs->capture,
			   "stop it, or use another network namespace", "process %d has bound @tng", (int)pid);
	else if (pid != 0)
		doctor_add(r, GATEWAYS, "upstream's TNG", DOCTOR_WARN, needs->capture, "find out what it is",
			   "process %d, which has no rights, has bound @tng", (int)pid);
	else
		doctor_add(r, GATEWAYS, "upstream's TNG", DOCTOR_OK, needs->capture, NULL, "does not run here");
}

static bool listens(uint16_t port)
{
	static const char *const files[] = { "/proc/net/tcp", "/proc/net/tcp6" };
	char line[512];
	bool found = false;

	for (size_t i = 0; i < ARRAY_SIZE(files) && !found; i++) {
		FILE *f = fopen(files[i], "re");

		while (f != NULL && !found && fgets(line, sizeof(line), f) != NULL) {
			unsigned local, state;

			found = sscanf(line, " %*d: %*[0-9A-Fa-f]:%x %*[0-9A-Fa-f]:%*x %x", &local, &state) == 2 &&
				local == port && state == 0x0a;
		}
		if (f != NULL)
			fclose(f);
	}
	return found;
}

/* ---- rules ---- */

enum rules_seen { RULES_NONE, RULES_NFT, RULES_IPTABLES };

/* true when the table stands; its text goes to out, for the ports in it. */
static bool find_nft(const char *table, struct buf *out)
{
	struct err e;
	struct nft_session *nft = nft_open(&e);
	char *ask = mem_format("list table inet %s", table);
	bool found = nft != NULL && nft_ask(nft, ask, out, &e) == 0;

	nft_close(nft);
	free(ask);
	return found;
}

static bool find_iptables(const char *instance, struct buf *out)
{
	bool found = false;

	for (int flavour = 0; flavour < IPTABLES_FLAVOURS; flavour++) {
		struct buf text = { 0 };
		struct saved s = { 0 };
		struct iptables t;
		struct err e;

		if (iptables_find((enum iptables_flavour)flavour, &t) && iptables_save(&t, AF_INET, &text, &e) == 0 &&
		    saved_parse(buf_bytes(&text), &s, &e) == 0) {
			saved_doom(&s, &(struct saved_query){ .instance = instance });
			for (size_t i = 0; i < s.rule_count; i++) {
				if (s.rules[i].instance == NULL || strcmp(s.rules[i].instance, instance) != 0)
					continue;
				found = true;
				buf_format(out, "%s\n", s.rules[i].text);
			}
		}
		saved_release(&s);
		buf_release(&text);
		iptables_release(&t);
	}
	return found;
}

static bool rules_lead_to(struct buf *rules, uint16_t port)
{
	static const char *const forms[] = { "redirect to :%u", "127.0.0.1:%u",	 "[::1]:%u",
					     "tproxy to :%u",	"--to-ports %u", "--on-port %u" };

	for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
		char wanted[64];
		const char *at;
		size_t len;

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
		len = (size_t)snprintf(wanted, sizeof(wanted), forms[i], port);
#pragma GCC diagnostic pop
		for (at = strstr(buf_str(rules), wanted); at != NULL; at = strstr(at + 1, wanted)) {
			if (at[len] < '0' || at[len] > '9')
				return true;
		}
	}
	return false;
}

static void look_at_entry(const struct entry_conf *entry, struct buf *rules, struct doctor_report *r)
{
	uint16_t port = entry->netfilter->listen_port;

	if (port == 0 && entry->kind == ENTRY_EGRESS)
		port = (uint16_t)(EGRESS_PORT_FIRST + entry->index);
	if (port == 0 || (entry->netfilter->listen_port == 0 && !rules_lead_to(rules, port)))
		return; /* found at start, an egress's where that one was taken: the log tells it */
	doctor_add(r, STANDING, entry->path, listens(port) ? DOCTOR_OK : DOCTOR_FAIL, true,
		   "the gateway is not started with this configuration, or could not get the port: see its log",
		   "port %u %s", port, listens(port) ? "listens" : "does not listen");
	doctor_add(r, STANDING, entry->path, rules_lead_to(rules, port) ? DOCTOR_OK : DOCTOR_FAIL, true,
		   "rules and configuration differ: restart the gateway", "%s",
		   rules_lead_to(rules, port) ? "rules lead to its port" : "no rule leads to its port");
}

static bool has_route(const struct route_list *list, int family, uint32_t mark)
{
	for (size_t i = 0; i < list->count; i++) {
		const struct route_found *f = &list->items[i];

		if (f->at.family == family && f->at.mark == mark && f->has_rule && f->has_route && f->priority < 32766)
			return true;
	}
	return false;
}

static void look_at_route(const struct entry_conf *entry, uint32_t mark, const struct route_list *list,
			  struct doctor_report *r)
{
	bool v4 = has_route(list, AF_INET, mark);
	bool v6 = has_route(list, AF_INET6, mark);

	doctor_add(r, STANDING, entry->path, v4 ? DOCTOR_OK : DOCTOR_FAIL, true, "restart the gateway",
		   v4 ? "policy rule and route of IPv4 stand" : "no policy rule and route of IPv4 for mark 0x%x", mark);
	if (entry->netfilter->ipv6 == IPV6_CAPTURE)
		doctor_add(r, STANDING, entry->path, v6 ? DOCTOR_OK : DOCTOR_FAIL, true, "restart the gateway",
			   v6 ? "policy rule and route of IPv6 stand"
			      : "no policy rule and route of IPv6 for mark 0x%x",
			   mark);
}

static void look_at_routes(const struct interception_conf *conf, const struct entry_conf *entry,
			   const struct route_list *list, struct doctor_report *r)
{
	const struct netfilter_conf *n = entry->netfilter;

	look_at_route(entry, capture_mark(conf, entry->kind, entry->index), list, r);
	if (n->open_ports == OPEN_PORTS_CONNECT_FIRST && n->scope != SCOPE_LOCAL)
		look_at_route(entry, capture_mark_refused(conf, entry->index), list, r);
}

static void look_at_rules(const struct config *c, enum rules_seen *seen, struct doctor_report *r)
{
	char *table = rules_table_name(c->interception.instance);
	struct buf rules = { 0 };
	struct route_list routes;
	struct err e;
	bool nft = find_nft(table, &rules);
	bool found = nft || find_iptables(c->interception.instance, &rules);

	*seen = nft ? RULES_NFT : found ? RULES_IPTABLES : RULES_NONE;
	doctor_add(r, STANDING, "of this instance", found ? DOCTOR_OK : DOCTOR_FAIL, true,
		   "the gateway runs without them: restart it", "%s",
		   nft	   ? "stand (nft)"
		   : found ? "stand (iptables)"
			   : "there are none");
	if (found)
		doctor_compare_rules(c, table, nft, r);
	doctor_look_at_bridge_rules(c, table, nft, r);
	if (route_find(c->interception.protocol, &routes, &e) != 0)
		doctor_add(r, STANDING, "routes", DOCTOR_UNKNOWN, true, NULL, "%s", e.text);
	for (size_t i = 0; i < c->entry_count; i++) {
		const struct entry_conf *entry = &c->entries[i];

		if (entry->netfilter == NULL)
			continue;
		look_at_entry(entry, &rules, r);
		if (entry->kind == ENTRY_INGRESS && entry->netfilter->method == METHOD_TPROXY)
			look_at_routes(&c->interception, entry, &routes, r);
	}
	route_list_release(&routes);
	buf_release(&rules);
	free(table);
}

/* ---- filters ---- */

static bool is_refusal(const struct saved_rule *rule)
{
	return rule->target != NULL && (strcmp(rule->target, "DROP") == 0 || strcmp(rule->target, "REJECT") == 0);
}

static void look_at_chain(const struct saved *s, const char *text, const char *name, bool needed, const char *advice,
			  struct doctor_report *r)
{
	char *closed = mem_format("\n:%s DROP", name);
	size_t refusals = 0;

	for (size_t i = 0; i < s->rule_count; i++) {
		const struct saved_rule *rule = &s->rules[i];

		if (strcmp(rule->table, "filter") == 0 && strcmp(rule->chain, name) == 0 && is_refusal(rule))
			refusals++;
	}
	if (strstr(text, closed) != NULL)
		doctor_add(r, IN_THE_WAY, name, DOCTOR_WARN, needed, advice, "its policy is DROP");
	else
		doctor_add(r, IN_THE_WAY, name, refusals > 0 ? DOCTOR_WARN : DOCTOR_OK, needed, advice,
			   "%zu rules that drop or reject", refusals);
	free(closed);
}

static void look_at_filters(const struct doctor_needs *needs, struct doctor_report *r)
{
	struct buf text = { 0 };
	struct saved s = { 0 };
	struct iptables t;
	struct err e;

	if (!iptables_find(IPTABLES_NFT, &t) && !iptables_find(IPTABLES_LEGACY, &t))
		goto out;
	if (iptables_save(&t, AF_INET, &text, &e) != 0 || saved_parse(buf_bytes(&text), &s, &e) != 0) {
		doctor_add(r, IN_THE_WAY, "INPUT and FORWARD", DOCTOR_UNKNOWN, needs->capture, "run as root", "%s",
			   e.text);
		goto out;
	}
	look_at_chain(&s, buf_str(&text), "INPUT", needs->capture,
		      "captured connections pass INPUT to the gateway's port: let them in", r);
	look_at_chain(&s, buf_str(&text), "FORWARD", needs->forward,
		      "what is not captured may not pass through this host", r);
out:
	saved_release(&s);
	buf_release(&text);
	iptables_release(&t);
}

/* ---- connections ---- */

static int connect_to(const struct addrinfo *ai, uint32_t mark, struct err *e)
{
	int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct pollfd p = { .fd = fd, .events = POLLOUT };
	int why = 0;
	socklen_t len = sizeof(why);
	int rc = 0;

	if (fd < 0)
		return err_errno(e, ERR_SYSTEM, "socket");
	if (mark != 0 && setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof(mark)) != 0)
		rc = err_errno(e, ERR_SYSTEM, "SO_MARK");
	else if (connect(fd, ai->ai_addr, ai->ai_addrlen) != 0 && errno != EINPROGRESS)
		rc = err_errno(e, ERR_SYSTEM, "connect");
	else if (poll(&p, 1, CONNECT_MS) <= 0)
		rc = err_set(e, ERR_TIMEOUT, "no answer within %d s", CONNECT_MS / 1000);
	else if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &why, &len) == 0 && (errno = why) != 0)
		rc = err_errno(e, ERR_SYSTEM, "connect");
	close(fd);
	return rc;
}

static int connect_by_name(const char *host, const char *port, uint32_t mark, struct err *e)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
	struct addrinfo *list = NULL;
	int rc = getaddrinfo(host, port, &hints, &list);

	if (rc != 0)
		return err_set(e, ERR_CONFIG, "%s", gai_strerror(rc));
	rc = -1;
	for (const struct addrinfo *ai = list; ai != NULL && rc != 0; ai = ai->ai_next)
		rc = connect_to(ai, mark, e);
	freeaddrinfo(list);
	return rc;
}

/* "host:port", "[::1]:port". */
static void try_bypass(const char *where, struct doctor_report *r)
{
	char *host = mem_strdup(where);
	char *port = strrchr(host, ':');
	const char *name = host;
	struct err e;
	int rc;

	if (port == NULL) {
		doctor_add(r, CONNECTIONS, "past the rules", DOCTOR_FAIL, true, "--bypass HOST:PORT",
			   "no port in \"%s\"", where);
		free(host);
		return;
	}
	*port++ = '\0';
	if (host[0] == '[' && port[-2] == ']') {
		port[-2] = '\0';
		name = host + 1;
	}
	rc = connect_by_name(name, port, SO_MARK_DEFAULT, &e);
	doctor_add(r, CONNECTIONS, "past the rules", rc == 0 ? DOCTOR_OK : DOCTOR_FAIL, true,
		   "make it work without the gateway first: address, port, firewall, routes", "%s with mark %d: %s",
		   where, SO_MARK_DEFAULT, rc == 0 ? "connected" : e.text);
	free(host);
}

/*
 * An address where nobody is: who answers is our listener. With the gateway's own mark it must not be captured. Only
 * for destinations that a rule covers by port alone, else the address is not among them.
 */
static void probe_entry(const struct entry_conf *entry, struct doctor_report *r)
{
	const struct netfilter_conf *n = entry->netfilter;

	for (size_t i = 0; i < n->capture_dst_count; i++) {
		const struct dst_conf *d = &n->capture_dst[i];
		char port[8];
		struct err e;
		int captured;

		if (d->host != NULL || d->ipset != NULL)
			continue;
		snprintf(port, sizeof(port), "%u", d->port);
		captured = connect_by_name(PROBE_HOST, port, 0, &e);
		doctor_add(r, CONNECTIONS, entry->path, captured == 0 ? DOCTOR_OK : DOCTOR_FAIL, true,
			   "not captured, or refused by the gateway: see its log, and tcpdump -ni any 'host " PROBE_HOST
			   "'",
			   "to " PROBE_HOST ":%s: %s", port, captured == 0 ? "captured" : e.text);
		captured = connect_by_name(PROBE_HOST, port, n->so_mark, &e);
		doctor_add(r, CONNECTIONS, entry->path, captured != 0 ? DOCTOR_OK : DOCTOR_FAIL, true,
			   "the gateway would capture its own connections: another rule answers for " PROBE_HOST,
			   "to " PROBE_HOST ":%s with mark %u: %s", port, n->so_mark,
			   captured != 0 ? "not captured" : "captured");
	}
	if (n->capture_dst_count == 0 || n->capture_cgroup.count > 0)
		doctor_add(r, CONNECTIONS, entry->path, DOCTOR_UNKNOWN, true,
			   "run tng doctor --probe from within the control group",
			   "it captures by control group, and we are in another");
}

static void probe(const struct doctor_options *options, bool runs, struct doctor_report *r)
{
	const struct config *c = options->config;

	if (c == NULL || !runs) {
		doctor_add(r, CONNECTIONS, "probe", DOCTOR_UNKNOWN, true,
			   "start the gateway, and give its configuration with -c", "%s",
			   c == NULL ? "no configuration" : "the gateway does not run");
		return;
	}
	for (size_t i = 0; i < c->entry_count; i++) {
		if (c->entries[i].kind == ENTRY_INGRESS && c->entries[i].netfilter != NULL &&
		    c->entries[i].netfilter->scope != SCOPE_FORWARD)
			probe_entry(&c->entries[i], r);
	}
}

void doctor_look_at_running(const struct doctor_options *options, const struct doctor_needs *needs,
			    struct doctor_report *r)
{
	const char *wanted = options->config != NULL ? options->config->interception.instance : "0";
	enum rules_seen seen = RULES_NONE;
	bool runs;

	look_at_upstream(needs, r);
	runs = look_at_instances(wanted, r);
	if (!runs)
		doctor_add(r, GATEWAYS, "instance", DOCTOR_NOTE, true, NULL,
			   "\"%s\" does not run: its rules were not looked at", wanted);
	else if (options->config != NULL && needs->capture)
		look_at_rules(options->config, &seen, r);
	look_at_filters(needs, r);
	if (options->bypass != NULL)
		try_bypass(options->bypass, r);
	if (options->probe)
		probe(options, runs, r);
	if (seen != RULES_NONE) /* behind the probe, which is among what has met them */
		doctor_look_at_hits(options->config, seen == RULES_NFT, r);
}
