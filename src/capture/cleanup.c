/* SPDX-License-Identifier: Apache-2.0 */
/* cleanup - what was left behind. */
#include "capture/cleanup.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "capture/ebtables.h"
#include "capture/instance.h"
#include "capture/iptables.h"
#include "capture/nft.h"
#include "capture/route.h"
#include "capture/saved.h"
#include "capture/source_check.h"
#include "capture/upstream.h"
#include "config/capture_numbers.h"

#define FAMILIES 2

static const int families[FAMILIES] = { AF_INET, AF_INET6 };
static const char *const nft_families[] = { "inet", "bridge" };

struct own_table {
	const char *family;
	char *name;
};

struct cleanup {
	char *instance; /* NULL: all */
	char *prefix;
	struct instance_list instances;
	char **running; /* ends with NULL */
	size_t running_count;
	bool upstream_runs;

	struct nft_session *nft; /* NULL: cannot be used */
	struct own_table *tables;
	size_t table_count;

	struct iptables tools[IPTABLES_FLAVOURS];
	struct saved saved[IPTABLES_FLAVOURS][FAMILIES];
	size_t saved_count[IPTABLES_FLAVOURS][FAMILIES];

	struct buf bridge_chains; /* of ebtables, a name on each line */
	size_t bridge_chain_count;

	struct route_found *routes;
	size_t route_count;
	struct buf notes;
};

/* ---- who runs ---- */

static bool is_known_to_run(const struct cleanup *c, const char *instance)
{
	for (size_t i = 0; i < c->running_count; i++) {
		if (strcmp(c->running[i], instance) == 0)
			return true;
	}
	return false;
}

static void note_running(struct cleanup *c, const char *instance, pid_t pid)
{
	c->running = mem_resize(c->running, (c->running_count + 2) * sizeof(*c->running));
	c->running[c->running_count++] = mem_strdup(instance);
	c->running[c->running_count] = NULL;
	if (c->instance == NULL || strcmp(c->instance, instance) == 0)
		buf_format(&c->notes, "instance \"%s\" runs as process %d and keeps what it has: stop it first\n",
			   instance, (int)pid);
}

/* A gateway in a container that shares this network namespace has no file that we see, but its address. */
static bool is_running(struct cleanup *c, const char *instance)
{
	pid_t pid;

	if (is_known_to_run(c, instance))
		return true;
	if (!instance_lives(instance, &pid))
		return false;
	note_running(c, instance, pid);
	return true;
}

static bool is_asked_for(struct cleanup *c, const char *instance)
{
	return (c->instance == NULL || strcmp(c->instance, instance) == 0) && !is_running(c, instance);
}

static void find_instances(struct cleanup *c)
{
	pid_t pid;

	c->running = mem_new_array(1, sizeof(*c->running));
	instance_find(&c->instances);
	for (size_t i = 0; i < c->instances.count; i++) {
		const struct instance_seen *s = &c->instances.items[i];

		if (s->lives)
			note_running(c, s->name, s->pid);
		if (s->refused.kind != ERR_NONE)
			buf_format(&c->notes, "%s\n", s->refused.text);
	}
	c->upstream_runs = c->instance == NULL && upstream_runs(&pid);
	if (c->upstream_runs)
		buf_format(&c->notes,
			   "an upstream TNG runs (process %d has bound @tng) and keeps what it has: stop it first\n",
			   (int)pid);
}

/* ---- nftables ---- */

/* "tng" is instance "0", "tng_NAME" is NAME. */
static const char *instance_of_table(const char *name)
{
	if (strcmp(name, "tng") == 0)
		return INSTANCE_DEFAULT;
	return strncmp(name, "tng_", 4) == 0 && name[4] != '\0' ? name + 4 : NULL;
}

static void take_table(struct cleanup *c, const char *family, const char *name)
{
	const char *instance = instance_of_table(name);

	if (instance == NULL || !is_asked_for(c, instance))
		return;
	c->tables = mem_resize(c->tables, (c->table_count + 1) * sizeof(*c->tables));
	c->tables[c->table_count++] = (struct own_table){ family, mem_strdup(name) };
}

static void find_tables(struct cleanup *c)
{
	struct err why;
	struct buf text = { 0 };
	char *rest;

	c->nft = nft_open(&why);
	if (c->nft == NULL || nft_ask(c->nft, "list tables", &text, &why) != 0) {
		buf_format(&c->notes, "nftables cannot be looked at: %s\n", why.text);
		nft_close(c->nft);
		c->nft = NULL;
	}
	rest = (char *)buf_str(&text);
	for (char *line = strsep(&rest, "\n"); line != NULL; line = strsep(&rest, "\n")) {
		for (size_t i = 0; i < ARRAY_SIZE(nft_families); i++) {
			char *start = mem_format("table %s ", nft_families[i]);

			if (strncmp(line, start, strlen(start)) == 0)
				take_table(c, nft_families[i], line + strlen(start));
			free(start);
		}
	}
	buf_release(&text);
}

/* ---- iptables ---- */

static int look_at(struct cleanup *c, size_t flavour, size_t family, struct err *e)
{
	const struct iptables *t = &c->tools[flavour];
	struct saved *s = &c->saved[flavour][family];
	struct saved_query q = {
		.instance = c->instance,
		.prefix = c->instance == NULL ? c->prefix : NULL,
		.upstream = c->instance == NULL && !c->upstream_runs,
	};
	struct buf text = { 0 };
	int rc = -1;

	if (iptables_save(t, families[family], &text, e) == 0)
		rc = saved_parse(buf_bytes(&text), s, e);
	for (size_t i = 0; i < s->rule_count; i++) {
		if (s->rules[i].instance != NULL)
			(void)is_running(c, s->rules[i].instance);
	}
	q.spare = (const char *const *)c->running;
	c->saved_count[flavour][family] = saved_doom(s, &q);
	buf_release(&text);
	return rc;
}

/* Returns whether any tool could look. */
static bool find_chains(struct cleanup *c)
{
	bool any = false;
	struct err why;

	for (size_t flavour = 0; flavour < IPTABLES_FLAVOURS; flavour++) {
		if (!iptables_find((enum iptables_flavour)flavour, &c->tools[flavour]))
			continue;
		for (size_t family = 0; family < FAMILIES; family++) {
			if (iptables_family(&c->tools[flavour], families[family])->save == NULL)
				continue;
			if (look_at(c, flavour, family, &why) == 0)
				any = true;
			else
				buf_format(&c->notes, "%s cannot be looked at: %s\n",
					   iptables_flavour_name((enum iptables_flavour)flavour), why.text);
		}
	}
	return any;
}

/* ---- ebtables ---- */

static void find_bridge_chains(struct cleanup *c)
{
	struct buf names = { 0 };
	char *rest;

	ebtables_find(&names);
	rest = (char *)(uintptr_t)buf_str(&names);
	for (char *name = strsep(&rest, "\n"); name != NULL; name = strsep(&rest, "\n")) {
		char *instance = ebtables_instance_of(name);

		if (instance != NULL && is_asked_for(c, instance)) {
			buf_format(&c->bridge_chains, "%s\n", name);
			c->bridge_chain_count++;
		}
		free(instance);
	}
	buf_release(&names);
}

static void print_bridge_step(const struct cleanup *c, const char *option, const char *only, struct buf *out)
{
	char *copy = mem_strdup(buf_str((struct buf *)(uintptr_t)&c->bridge_chains));
	char *rest = copy;

	for (char *name = strsep(&rest, "\n"); name != NULL; name = strsep(&rest, "\n")) {
		if (*name != '\0' && (only == NULL || strstr(name, only) != NULL))
			buf_format(out, "ebtables -t nat %s %s\n", option, name);
	}
	free(copy);
}

static int remove_bridge_chains(struct cleanup *c, struct err *e)
{
	char *copy = mem_strdup(buf_str(&c->bridge_chains));
	char *rest = copy;
	int rc = 0;

	/* The first chain of an instance takes the others along. */
	for (char *name = strsep(&rest, "\n"); name != NULL && rc == 0; name = strsep(&rest, "\n")) {
		char *instance = ebtables_instance_of(name);

		if (instance != NULL)
			rc = ebtables_remove(instance, e);
		free(instance);
	}
	free(copy);
	return rc;
}

/* ---- routes ---- */

static bool is_route_of(const struct instance_seen *s, const struct policy_route *r)
{
	for (size_t i = 0; s->has_journal && i < s->journal.route_count; i++) {
		const struct policy_route *own = &s->journal.routes[i];

		if (own->family == r->family && own->table == r->table && own->protocol == r->protocol)
			return true;
	}
	return false;
}

/*
 * Policy rules and routes carry no instance: the journals tell, and what is in none of them is a leftover of anybody.
 */
static bool is_doomed_route(const struct cleanup *c, const struct route_found *f)
{
	bool is_asked = c->instance == NULL;

	if (f->maker == ROUTE_UPSTREAM)
		return c->instance == NULL && !c->upstream_runs;
	for (size_t i = 0; i < c->instances.count; i++) {
		const struct instance_seen *s = &c->instances.items[i];

		if (!is_route_of(s, &f->at))
			continue;
		if (s->lives)
			return false;
		is_asked = is_asked || strcmp(s->name, c->instance) == 0;
	}
	return is_asked;
}

static bool has_route(const struct cleanup *c, const struct route_found *f)
{
	for (size_t i = 0; i < c->route_count; i++) {
		if (route_is_same(&c->routes[i].at, &f->at) && c->routes[i].priority == f->priority)
			return true;
	}
	return false;
}

static int find_routes_of(struct cleanup *c, uint8_t protocol, struct err *e)
{
	struct route_list list;
	int rc = route_find(protocol, &list, e);

	for (size_t i = 0; i < list.count; i++) {
		if (!is_doomed_route(c, &list.items[i]) || has_route(c, &list.items[i]))
			continue;
		c->routes = mem_resize(c->routes, (c->route_count + 1) * sizeof(*c->routes));
		c->routes[c->route_count++] = list.items[i];
	}
	route_list_release(&list);
	return rc;
}

static void find_routes(struct cleanup *c)
{
	struct err why;
	int rc = find_routes_of(c, PROTOCOL_DEFAULT, &why);

	for (size_t i = 0; i < c->instances.count && rc == 0; i++) {
		const struct journal *j = &c->instances.items[i].journal;

		for (size_t k = 0; k < j->route_count && rc == 0; k++)
			rc = find_routes_of(c, j->routes[k].protocol, &why);
	}
	if (rc != 0)
		buf_format(&c->notes, "routes cannot be looked at: %s\n", why.text);
}

/* ---- all of it ---- */

struct cleanup *cleanup_find(const struct cleanup_options *options, struct err *e)
{
	struct cleanup *c = mem_new_of(struct cleanup);
	bool any;

	c->instance = options->instance != NULL ? mem_strdup(options->instance) : NULL;
	c->prefix = mem_strdup(options->chain_prefix != NULL ? options->chain_prefix : "TNG");
	find_instances(c);
	find_tables(c);
	any = find_chains(c) || c->nft != NULL;
	find_bridge_chains(c);
	find_routes(c);
	if (any)
		return c;
	err_set(e, ERR_SYSTEM, "neither nftables nor iptables can be looked at (CAP_NET_ADMIN is needed): %.*s",
		(int)strcspn(cleanup_notes(c), "\n"), cleanup_notes(c));
	cleanup_free(c);
	return NULL;
}

void cleanup_free(struct cleanup *c)
{
	if (c == NULL)
		return;
	for (size_t i = 0; i < c->table_count; i++)
		free(c->tables[i].name);
	for (size_t i = 0; i < IPTABLES_FLAVOURS; i++) {
		iptables_release(&c->tools[i]);
		for (size_t k = 0; k < FAMILIES; k++)
			saved_release(&c->saved[i][k]);
	}
	nft_close(c->nft);
	instance_list_release(&c->instances);
	for (size_t i = 0; i < c->running_count; i++)
		free(c->running[i]);
	free(c->running);
	free(c->tables);
	free(c->routes);
	free(c->instance);
	free(c->prefix);
	buf_release(&c->bridge_chains);
	buf_release(&c->notes);
	free(c);
}

static bool is_doomed_journal(const struct cleanup *c, const struct instance_seen *s)
{
	return s->has_journal && !s->lives && (c->instance == NULL || strcmp(s->name, c->instance) == 0);
}

size_t cleanup_running(const struct cleanup *c)
{
	size_t count = c->upstream_runs ? 1 : 0;

	for (size_t i = 0; i < c->running_count; i++)
		count += c->instance == NULL || strcmp(c->running[i], c->instance) == 0;
	return count;
}

const char *cleanup_notes(struct cleanup *c)
{
	return buf_str(&c->notes);
}

/* iproute2 takes any number for a protocol, and no name is needed. */
static void print_route(const struct route_found *f, struct buf *out)
{
	const char *ip = f->at.family == AF_INET ? "ip" : "ip -6";

	if (f->has_rule)
		buf_format(out, "%s rule del pref %u fwmark 0x%x/0x%x lookup %u", ip, f->priority, f->at.mark,
			   f->at.mask, f->at.table);
	if (f->has_rule && f->rule_protocol != 0)
		buf_format(out, " protocol %u", f->rule_protocol);
	if (f->has_rule)
		buf_append_str(out, "\n");
	if (f->has_route)
		buf_format(out, "%s route del local default dev lo table %u proto %u\n", ip, f->at.table,
			   f->at.protocol);
}

static const char *tool_name(size_t flavour, size_t family)
{
	static const char *const names[IPTABLES_FLAVOURS][FAMILIES] = { { "iptables-nft", "ip6tables-nft" },
									{ "iptables-legacy", "ip6tables-legacy" } };

	return names[flavour][family];
}

void cleanup_print_commands(const struct cleanup *c, struct buf *out)
{
	for (size_t i = 0; i < c->table_count; i++)
		buf_format(out, "nft delete table %s %s\n", c->tables[i].family, c->tables[i].name);
	print_bridge_step(c, "-D PREROUTING -j", "_BRIDGE_PRE", out);
	print_bridge_step(c, "-F", NULL, out);
	print_bridge_step(c, "-X", NULL, out);
	for (size_t i = 0; i < IPTABLES_FLAVOURS; i++) {
		for (size_t k = 0; k < FAMILIES; k++)
			saved_print_commands(&c->saved[i][k], tool_name(i, k), out);
	}
	for (size_t i = 0; i < c->route_count; i++)
		print_route(&c->routes[i], out);
	for (size_t i = 0; i < c->instances.count; i++) {
		const struct instance_seen *s = &c->instances.items[i];

		if (is_doomed_journal(c, s) && s->journal.src_valid_mark)
			buf_append_str(out, "sysctl -q -w net.ipv4.conf.all.src_valid_mark=1\n");
	}
}

static int remove_tables(struct cleanup *c, struct err *e)
{
	struct buf text = { 0 };
	int rc = 0;

	for (size_t i = 0; i < c->table_count; i++)
		buf_format(&text, "delete table %s %s\n", c->tables[i].family, c->tables[i].name);
	if (text.len > 0)
		rc = nft_load(c->nft, buf_str(&text), "delete our tables", e);
	buf_release(&text);
	return rc;
}

static int remove_chains(struct cleanup *c, size_t flavour, size_t family, struct err *e)
{
	struct buf text = { 0 };
	int rc;

	saved_print_restore(&c->saved[flavour][family], NULL, &text);
	rc = iptables_restore(&c->tools[flavour], families[family], buf_bytes(&text), e);
	buf_release(&text);
	return rc;
}

/* The names of those that have left a file, so that no gateway of these starts meanwhile. */
static int hold_names(struct cleanup *c, struct instance **held, struct err *e)
{
	for (size_t i = 0; i < c->instances.count; i++) {
		const struct instance_seen *s = &c->instances.items[i];

		if (s->lives || s->refused.kind != ERR_NONE ||
		    (c->instance != NULL && strcmp(c->instance, s->name) != 0))
			continue;
		held[i] = instance_open(s->name, e);
		if (held[i] == NULL)
			return -1;
	}
	return 0;
}

/* Before the journal goes that remembers it. */
static int restore_settings(struct cleanup *c, struct err *e)
{
	for (size_t i = 0; i < c->instances.count; i++) {
		const struct instance_seen *s = &c->instances.items[i];

		if (is_doomed_journal(c, s) && s->journal.src_valid_mark && source_check_set(true, e) != 0)
			return -1;
	}
	return 0;
}

static int remove_journals(struct cleanup *c, struct instance **held, struct err *e)
{
	for (size_t i = 0; i < c->instances.count; i++) {
		if (held[i] != NULL && instance_journal_remove(held[i], e) != 0)
			return -1;
	}
	return 0;
}

static int remove_all(struct cleanup *c, struct err *e)
{
	struct err later;
	bool ok = remove_tables(c, e) == 0;

	ok = remove_bridge_chains(c, ok ? e : &later) == 0 && ok;
	for (size_t i = 0; i < IPTABLES_FLAVOURS; i++) {
		for (size_t k = 0; k < FAMILIES; k++)
			ok = remove_chains(c, i, k, ok ? e : &later) == 0 && ok;
	}
	/* As long as a rule marks packets, these must find their way. */
	for (size_t i = 0; i < c->route_count && ok; i++)
		ok = route_remove_found(&c->routes[i], e) == 0;
	return ok ? 0 : -1;
}

int cleanup_run(struct cleanup *c, struct err *e)
{
	struct instance **held = mem_new_array(c->instances.count + 1, sizeof(struct instance *));
	int rc = hold_names(c, held, e);

	if (rc == 0)
		rc = remove_all(c, e);
	if (rc == 0)
		rc = restore_settings(c, e);
	if (rc == 0)
		rc = remove_journals(c, held, e);
	for (size_t i = 0; i < c->instances.count; i++) {
		if (rc == 0)
			instance_end(held[i]);
		else
			instance_close(held[i]);
	}
	free(held);
	return rc;
}
