/* SPDX-License-Identifier: Apache-2.0 */
/* rules - from the configuration to a ruleset; what the back ends print is in rules_nft.c and rules_iptables.c. */
#include "capture/rules.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "capture/rules_internal.h"

char *rules_table_name(const char *instance)
{
	return strcmp(instance, INSTANCE_DEFAULT) == 0 ? mem_strdup("tng") : mem_format("tng_%s", instance);
}

char *rules_chain_prefix(const char *instance)
{
	return mem_format("TNG_%s_", instance);
}

struct ruleset *ruleset_new(const char *prefix, const char *instance, uint32_t mark_mask)
{
	struct ruleset *r = mem_new_of(struct ruleset);

	r->prefix = ruleset_format(r, "%s", prefix);
	r->instance = ruleset_format(r, "%s", instance);
	r->table = strcmp(instance, INSTANCE_DEFAULT) == 0 ? "tng" : ruleset_format(r, "tng_%s", instance);
	r->nft_prefix = "";
	r->mark_mask = mark_mask;
	r->cgroup_below = mem_strdup("");
	return r;
}

void rules_free(struct ruleset *r)
{
	if (r == NULL)
		return;
	for (size_t i = 0; i < r->chain_count; i++) {
		free(r->chains[i]->rules);
		free(r->chains[i]);
	}
	for (size_t i = 0; i < r->set_count; i++) {
		free(r->sets[i]->items);
		free(r->sets[i]);
	}
	for (size_t i = 0; i < r->string_count; i++)
		free(r->strings[i]);
	rules_free(r->block);
	free(r->cgroup_below);
	free(r->chains);
	free(r->sets);
	free(r->strings);
	free(r->routes);
	free(r);
}

const char *ruleset_format(struct ruleset *r, const char *fmt, ...)
{
	va_list args;
	char *text;

	va_start(args, fmt);
	text = mem_vformat(fmt, args);
	va_end(args);
	r->strings = mem_resize(r->strings, (r->string_count + 1) * sizeof(*r->strings));
	r->strings[r->string_count++] = text;
	return text;
}

struct chain *ruleset_chain(struct ruleset *r, enum rule_table table, int family, const char *name)
{
	struct chain *c;

	for (size_t i = 0; i < r->chain_count; i++) {
		if (strcmp(r->chains[i]->name, name) == 0)
			return r->chains[i];
	}
	c = mem_new_of(struct chain);
	c->name = ruleset_format(r, "%s", name);
	c->table = table;
	c->family = family;
	r->chains = mem_resize(r->chains, (r->chain_count + 1) * sizeof(struct chain *));
	r->chains[r->chain_count++] = c;
	return c;
}

struct chain *ruleset_hook(struct ruleset *r, enum rule_table table, enum rule_hook hook)
{
	static const char *const names[][6] = {
		[TABLE_MANGLE] = { [HOOK_PREROUTING] = "MANGLE_PRE",
				   [HOOK_OUTPUT] = "MANGLE_OUT",
				   [HOOK_POSTROUTING] = "MANGLE_POST" },
		[TABLE_NAT] = { [HOOK_PREROUTING] = "NAT_PRE", [HOOK_OUTPUT] = "NAT_OUT" },
		[TABLE_FILTER] = { [HOOK_INPUT] = "FILTER_IN",
				   [HOOK_FORWARD] = "FILTER_FWD",
				   [HOOK_OUTPUT] = "FILTER_OUT" },
		[TABLE_BRIDGE] = { [HOOK_PREROUTING] = "BRIDGE_PRE" },
	};
	struct chain *c = ruleset_chain(r, table, AF_UNSPEC, names[table][hook]);

	c->hook = hook;
	return c;
}

struct set *ruleset_find_set(const struct ruleset *r, const char *name)
{
	for (size_t i = 0; i < r->set_count; i++) {
		if (strcmp(r->sets[i]->name, name) == 0)
			return r->sets[i];
	}
	return NULL;
}

struct set *ruleset_add_set(struct ruleset *r, const char *name, enum set_kind kind)
{
	struct set *s = mem_new_of(struct set);

	s->name = ruleset_format(r, "%s", name);
	s->kind = kind;
	r->sets = mem_resize(r->sets, (r->set_count + 1) * sizeof(struct set *));
	r->sets[r->set_count++] = s;
	return s;
}

void ruleset_add_route(struct ruleset *r, int family, uint32_t mark, uint32_t table, uint8_t protocol)
{
	for (size_t i = 0; i < r->route_count; i++) {
		if (r->routes[i].family == family && r->routes[i].mark == mark)
			return;
	}
	r->routes = mem_resize(r->routes, (r->route_count + 1) * sizeof(*r->routes));
	r->routes[r->route_count++] = (struct policy_route){ family, mark, r->mark_mask, table, protocol };
}

bool chain_has_family(const struct chain *c, int family)
{
	return c->family == AF_UNSPEC || c->family == family;
}

bool rule_has_family(const struct rule *rule, int family)
{
	return rule->family == AF_UNSPEC || rule->family == family;
}

/* Hooks are for both; what they lead to tells. */
bool ruleset_has_family(const struct ruleset *r, int family)
{
	for (size_t i = 0; i < r->chain_count; i++) {
		if (r->chains[i]->hook == HOOK_NONE && chain_has_family(r->chains[i], family))
			return true;
	}
	return false;
}

void chain_add(struct chain *c, struct rule rule)
{
	if ((c->count & (c->count - 1)) == 0)
		c->rules = mem_resize(c->rules, MAX(c->count * 2, (size_t)1) * sizeof(*c->rules));
	c->rules[c->count++] = rule;
}

struct rule rule_with(struct rule rule, struct match match)
{
	if (rule.match_count == RULE_MATCHES_MAX)
		abort(); /* our own rules are too long */
	rule.matches[rule.match_count++] = match;
	return rule;
}

/* ---- What IPv6 is done to ---- */

static bool is_ipv6(const char *host)
{
	return strchr(host, ':') != NULL;
}

/* What happens to the entry's IPv6. */
static enum ipv6_policy ipv6_policy_of(const struct entry_conf *conf, bool ipv6_host)
{
	const struct netfilter_conf *n = conf->netfilter;
	bool any_address = n != NULL && n->capture_dst_count == 0;

	if (n == NULL) /* a mapping serves what its listener does */
		return IPV6_CAPTURE;
	if (n->ipv6 != IPV6_UNSET)
		return n->ipv6;
	for (size_t i = 0; i < n->capture_dst_count; i++) {
		if (n->capture_dst[i].host != NULL && is_ipv6(n->capture_dst[i].host))
			return IPV6_CAPTURE;
		any_address = any_address || (n->capture_dst[i].host == NULL && n->capture_dst[i].ipset == NULL);
	}
	/* Of what others send, this host's addresses say nothing. */
	return any_address && (ipv6_host || n->scope != SCOPE_LOCAL) ? IPV6_REJECT : IPV6_BYPASS;
}

/* ---- Which back end ---- */

static bool names_ipset(const struct dst_conf *dst, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (dst[i].ipset != NULL)
			return true;
	}
	return false;
}

static bool has_ipset(const struct netfilter_conf *n)
{
	return names_ipset(n->capture_dst, n->capture_dst_count) || names_ipset(n->exclude_dst, n->exclude_dst_count);
}

static bool has_queue(const struct netfilter_conf *n)
{
	return n->open_ports == OPEN_PORTS_CONNECT_FIRST;
}

static const struct entry_conf *first_that(const struct captured_entry *entries, size_t count,
					   bool (*holds)(const struct netfilter_conf *))
{
	for (size_t i = 0; i < count; i++) {
		if (entries[i].conf->netfilter != NULL && holds(entries[i].conf->netfilter))
			return entries[i].conf;
	}
	return NULL;
}

/* In PREROUTING iptables cannot tell cgroups, and it has no sets with times that we could fill. */
static int check_iptables_can(const struct entry_conf *conf, const char *why, struct err *e)
{
	const struct netfilter_conf *n = conf->netfilter;

	if (n == NULL)
		return 0;
	if (conf->kind == ENTRY_EGRESS && (n->capture_cgroup.count > 0 || n->nocapture_cgroup.count > 0))
		return err_set(e, ERR_CONFIG, "%s.netfilter: cgroups of an egress need nftables, but %s", conf->path,
			       why);
	if (n->open_ports == OPEN_PORTS_NEGATIVE_CACHE)
		return err_set(e, ERR_CONFIG, "%s.netfilter.open_ports: \"negative_cache\" needs nftables, but %s",
			       conf->path, why);
	return 0;
}

/* *needed: the rules are for iptables. */
static int choose_backend(const struct interception_conf *conf, const struct captured_entry *entries, size_t count,
			  bool *needed, struct err *e)
{
	const struct entry_conf *ipset = first_that(entries, count, has_ipset);
	const struct entry_conf *queue = first_that(entries, count, has_queue);
	char why[160] = "interception.backend is \"iptables\"";
	int rc = 0;

	if (ipset != NULL && conf->backend == BACKEND_NFT)
		return err_set(e, ERR_CONFIG,
			       "%s.netfilter: an ipset needs iptables, but interception.backend is \"nft\"",
			       ipset->path);
	*needed = ipset != NULL || (queue != NULL && conf->backend != BACKEND_NFT);
	if (*needed)
		snprintf(why, sizeof(why), "%s.netfilter needs iptables (%s)", (ipset != NULL ? ipset : queue)->path,
			 ipset != NULL ? "ipset" : "connect_first");
	for (size_t i = 0; i < count && rc == 0 && (*needed || conf->backend == BACKEND_IPTABLES); i++)
		rc = check_iptables_can(entries[i].conf, why, e);
	return rc;
}

/* ---- Building ---- */

static void add_own_mark(uint32_t *marks, size_t *count, uint32_t mark)
{
	for (size_t i = 0; i < *count; i++) {
		if (marks[i] == mark)
			return;
	}
	marks[(*count)++] = mark;
}

static bool has_rules(const struct entry_conf *conf)
{
	return conf->netfilter != NULL || conf->transparency.out;
}

struct own_marks {
	uint32_t *of[2]; /* by kind */
	size_t counts[2];
};

static void build_entry(struct ruleset *r, const struct interception_conf *interception,
			const struct captured_entry *entry, const struct own_marks *own, bool ipv6_host,
			const struct bridge_list *bridges)
{
	const struct entry_conf *conf = entry->conf;
	struct entry_rules x = {
		.r = r,
		.interception = interception,
		.conf = conf,
		.n = conf->netfilter,
		.listen_port = entry->listen_port,
		.name = ruleset_format(r, "%c%u", conf->kind == ENTRY_INGRESS ? 'I' : 'E', conf->index),
		.ipv6 = ipv6_policy_of(conf, ipv6_host),
		.own_marks = own->of[conf->kind],
		.own_mark_count = own->counts[conf->kind],
		.mark = capture_mark(interception, conf->kind, conf->index),
		.bridges = bridges,
	};
	struct entry_rules blocked = x;

	blocked.r = r->block;
	if (conf->kind == ENTRY_INGRESS)
		ingress_rules(&x);
	else
		egress_rules(&x);
	if (conf->netfilter == NULL)
		return;
	bridge_rules(&x);
	bridge_rules(&blocked);
	if (x.ipv6 == IPV6_REJECT && conf->kind == ENTRY_INGRESS)
		ingress_rejects(&x, AF_INET6);
	else if (x.ipv6 == IPV6_REJECT)
		egress_rejects(&x, AF_INET6);
	if (conf->kind == ENTRY_INGRESS)
		ingress_rejects(&blocked, x.ipv6 == IPV6_BYPASS ? AF_INET : AF_UNSPEC);
	else
		egress_rejects(&blocked, x.ipv6 == IPV6_BYPASS ? AF_INET : AF_UNSPEC);
}

/* Neither a table of nftables nor ebtables can look into one. */
static int check_no_ipset(const struct ruleset *r, const struct captured_entry *entries, size_t count, struct err *e)
{
	const struct entry_conf *ipset = first_that(entries, count, has_ipset);

	if (ipset == NULL || !rules_take_bridged(r))
		return 0;
	return err_set(
		e, ERR_CONFIG,
		"%s.netfilter: an ipset cannot be used for what passes through a bridge: name hosts, or interfaces "
		"that are not of a bridge in in_ifname",
		ipset->path);
}

struct ruleset *rules_build(const struct interception_conf *conf, const struct captured_entry *entries, size_t count,
			    bool ipv6_host, struct err *e)
{
	return rules_build_bridged(conf, entries, count, ipv6_host, NULL, e);
}

struct ruleset *rules_build_bridged(const struct interception_conf *conf, const struct captured_entry *entries,
				    size_t count, bool ipv6_host, const struct bridge_list *bridges, struct err *e)
{
	struct own_marks own = { { mem_new_array(count, sizeof(uint32_t)), mem_new_array(count, sizeof(uint32_t)) },
				 { 0 } };
	char *prefix = rules_chain_prefix(conf->instance);
	struct ruleset *r = NULL;
	bool needs_iptables = false;

	for (size_t i = 0; i < count; i++) {
		const struct netfilter_conf *n = entries[i].conf->netfilter;
		enum entry_kind kind = entries[i].conf->kind;

		if (n != NULL)
			add_own_mark(own.of[kind], &own.counts[kind], n->so_mark & conf->mark_mask);
		if (n != NULL && n->capture_dst_count == 0 && n->capture_cgroup.count == 0) {
			err_set(e, ERR_CONFIG, "%s.netfilter: captures nothing", entries[i].conf->path);
			goto out;
		}
	}
	if (choose_backend(conf, entries, count, &needs_iptables, e) < 0)
		goto out;
	r = ruleset_new(prefix, conf->instance, conf->mark_mask);
	r->block = ruleset_new(prefix, conf->instance, conf->mark_mask);
	r->needs_iptables = needs_iptables;
	r->block->needs_iptables = needs_iptables;
	for (size_t i = 0; i < count; i++) {
		if (has_rules(entries[i].conf))
			build_entry(r, conf, &entries[i], &own, ipv6_host, bridges);
	}
	if (check_no_ipset(r, entries, count, e) < 0) {
		rules_free(r);
		r = NULL;
	}
out:
	free(own.of[0]);
	free(own.of[1]);
	free(prefix);
	return r;
}

const char *rules_instance(const struct ruleset *r)
{
	return r->instance;
}

bool rules_take_forwarded(const struct ruleset *r)
{
	for (size_t i = 0; i < r->chain_count; i++) {
		const struct chain *c = r->chains[i];
		const char *end = strrchr(c->name, '_');

		if (c->table == TABLE_MANGLE && c->hook == HOOK_NONE && end != NULL &&
		    (strcmp(end, "_FWD") == 0 || strcmp(end, "_DIV") == 0))
			return true;
	}
	return false;
}

bool rules_take_bridged(const struct ruleset *r)
{
	for (size_t i = 0; i < r->chain_count; i++) {
		if (r->chains[i]->table == TABLE_BRIDGE)
			return true;
	}
	return false;
}

bool rules_need_iptables(const struct ruleset *r)
{
	return r->needs_iptables;
}

bool rules_use_queue(const struct ruleset *r)
{
	for (size_t i = 0; i < r->chain_count; i++) {
		for (size_t k = 0; k < r->chains[i]->count; k++) {
			if (r->chains[i]->rules[k].verdict == VERDICT_QUEUE)
				return true;
		}
	}
	return false;
}

const struct policy_route *rules_routes(const struct ruleset *r, size_t *count)
{
	*count = r->route_count;
	return r->routes;
}

void rules_set_cgroup_mount(struct ruleset *r, const char *below)
{
	free(r->cgroup_below);
	r->cgroup_below = mem_strdup(below);
	if (r->block != NULL)
		rules_set_cgroup_mount(r->block, below);
}
