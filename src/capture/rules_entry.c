/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rules_entry - the chain of an entry: who returns, and what happens to its destinations.
 *
 * Destinations are printed by nftables as sets from SET_ITEMS_MIN items on. The items of such a set must not overlap,
 * which those of an operator may: what would overlap gets a rule of its own.
 */
#include "capture/rules_internal.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#define SET_ITEMS_MIN 4

struct match match_mark(const struct ruleset *r, uint32_t mark)
{
	return (struct match){ .kind = MATCH_MARK, .value = mark, .mask = r->mark_mask };
}

int entry_family(const struct entry_rules *x)
{
	return x->ipv6 == IPV6_CAPTURE ? AF_UNSPEC : AF_INET;
}

/* ---- Destinations ---- */

struct range {
	uint8_t first[16];
	uint8_t last[16];
	unsigned len;
};

/* The text was checked by the configuration. */
static struct range range_of(const char *network)
{
	struct range range = { .len = strchr(network, ':') != NULL ? 16 : 4 };
	const char *slash = strchr(network, '/');
	char *host = mem_strndup(network, (size_t)(slash - network));
	unsigned prefix = (unsigned)strtoul(slash + 1, NULL, 10);

	if (inet_pton(range.len == 4 ? AF_INET : AF_INET6, host, range.first) != 1)
		abort();
	memcpy(range.last, range.first, sizeof(range.last));
	for (unsigned bit = prefix; bit < 8 * range.len; bit++)
		range.last[bit / 8] |= (uint8_t)(0x80 >> bit % 8);
	free(host);
	return range;
}

static bool ports_overlap(const struct dst_conf *a, const struct dst_conf *b)
{
	return a->port == 0 || b->port == 0 || (a->port <= b->port_end && b->port <= a->port_end);
}

static bool ranges_overlap(const struct range *a, const struct range *b)
{
	return memcmp(a->first, b->last, a->len) <= 0 && memcmp(b->first, a->last, a->len) <= 0;
}

/* ranges: of the items of s. Without hosts they all have length 0, and overlap. */
static bool overlaps_set(const struct set *s, const struct range *ranges, const struct dst_conf *dst,
			 const struct range *range)
{
	for (size_t i = 0; i < s->count; i++) {
		if (ports_overlap(&s->items[i], dst) && ranges_overlap(&ranges[i], range))
			return true;
	}
	return false;
}

static bool is_of_kind(const struct dst_conf *dst, enum set_kind kind)
{
	if (dst->ipset != NULL)
		return false;
	if (dst->host == NULL)
		return kind == SET_PORTS;
	return kind == (strchr(dst->host, ':') != NULL ? SET_IPV6 : SET_IPV4);
}

/* "10.0.0.0/8 . 80": nftables 1.0.6 has no such item for all addresses. */
static bool can_be_in_set(const struct dst_conf *dst)
{
	return dst->host == NULL || strcmp(strchr(dst->host, '/'), "/0") != 0;
}

static struct rule with_item(struct rule rule, struct ruleset *r, const struct dst_conf *dst)
{
	if (dst->host != NULL) {
		rule.family = strchr(dst->host, ':') != NULL ? AF_INET6 : AF_INET;
		rule = rule_with(rule, (struct match){ .kind = MATCH_DST, .text = ruleset_format(r, "%s", dst->host) });
	}
	if (dst->port != 0) {
		rule.tcp = true;
		rule = rule_with(rule,
				 (struct match){ .kind = MATCH_DPORT, .first = dst->port, .last = dst->port_end });
	}
	if (dst->ipset != NULL) {
		rule.family = AF_INET;
		rule = rule_with(rule,
				 (struct match){ .kind = MATCH_IPSET, .text = ruleset_format(r, "%s", dst->ipset) });
	}
	return rule;
}

static void set_add(struct ruleset *r, struct set *s, const struct dst_conf *dst)
{
	struct dst_conf copy = *dst;

	if (dst->host != NULL)
		copy.host = (char *)(uintptr_t)ruleset_format(r, "%s", dst->host);
	if ((s->count & (s->count - 1)) == 0)
		s->items = mem_resize(s->items, MAX(s->count * 2, (size_t)1) * sizeof(*s->items));
	s->items[s->count++] = copy;
}

static void fill_set(struct ruleset *r, struct set *s, const struct dst_conf *list, size_t count)
{
	struct range *ranges = mem_new_array(count, sizeof(*ranges));

	for (size_t i = 0; i < count; i++) {
		struct range range = { .len = 0 };

		if (!is_of_kind(&list[i], s->kind) || !can_be_in_set(&list[i]))
			continue;
		if (list[i].host != NULL)
			range = range_of(list[i].host);
		if (overlaps_set(s, ranges, &list[i], &range))
			continue;
		ranges[s->count] = range;
		set_add(r, s, &list[i]);
	}
	free(ranges);
}

/* A list is used in several chains: its sets are made once. */
static struct set *set_of(struct ruleset *r, const char *name, enum set_kind kind, const struct dst_conf *list,
			  size_t count)
{
	struct set *s = ruleset_find_set(r, name);
	size_t matching = 0;

	if (s != NULL)
		return s;
	for (size_t i = 0; i < count; i++)
		matching += is_of_kind(&list[i], kind);
	if (matching < SET_ITEMS_MIN)
		return NULL;
	s = ruleset_add_set(r, name, kind);
	fill_set(r, s, list, count);
	return s;
}

static bool is_in_set(const struct set *s, const struct dst_conf *dst)
{
	for (size_t i = 0; i < s->count; i++) {
		const struct dst_conf *item = &s->items[i];

		if (item->port == dst->port && item->port_end == dst->port_end &&
		    (item->host == NULL || strcmp(item->host, dst->host) == 0))
			return true;
	}
	return false;
}

static int family_of_kind(enum set_kind kind)
{
	return kind == SET_IPV4 ? AF_INET : kind == SET_IPV6 ? AF_INET6 : AF_UNSPEC;
}

/* rule for all items of a kind. */
static void add_kind(const struct entry_rules *x, struct chain *c, const char *list_name, enum set_kind kind,
		     const struct dst_conf *list, size_t count, struct rule rule)
{
	static const char *const suffixes[] = { [SET_PORTS] = "PORTS", [SET_IPV4] = "DST4", [SET_IPV6] = "DST6" };
	char *name = mem_format("%s%s_%s", x->name, list_name, suffixes[kind]);
	struct set *s = set_of(x->r, name, kind, list, count);

	if (s != NULL && s->count > 0) {
		struct rule all = rule_with(rule, (struct match){ .kind = MATCH_SET, .text = s->name });

		if (kind != SET_PORTS)
			all.family = family_of_kind(kind);
		all.tcp = true;
		chain_add(c, all);
	}
	for (size_t i = 0; i < count; i++) {
		if (is_of_kind(&list[i], kind) && (s == NULL || !is_in_set(s, &list[i])))
			chain_add(c, with_item(rule, x->r, &list[i]));
	}
	free(name);
}

static void add_ipsets(const struct entry_rules *x, struct chain *c, const struct dst_conf *list, size_t count,
		       struct rule rule)
{
	for (size_t i = 0; i < count; i++) {
		if (list[i].ipset != NULL)
			chain_add(c, with_item(rule, x->r, &list[i]));
	}
}

static struct match local_destination(void)
{
	return (struct match){ .kind = MATCH_DST_TYPE, .value = ADDRESS_LOCAL };
}

/* The destinations that the chain's verdict is for; cgroups were looked at. */
static void add_destinations(const struct entry_rules *x, const struct entry_chain *how, struct chain *c)
{
	const struct netfilter_conf *n = x->n;
	struct rule any = how->ports_are_local ? rule_with(how->verdict, local_destination()) : how->verdict;

	if (n->capture_dst_count == 0 && !how->hosts_only)
		chain_add(c, any);
	if (!how->hosts_only)
		add_kind(x, c, "", SET_PORTS, n->capture_dst, n->capture_dst_count, any);
	if (chain_has_family(c, AF_INET)) {
		add_kind(x, c, "", SET_IPV4, n->capture_dst, n->capture_dst_count, how->verdict);
		add_ipsets(x, c, n->capture_dst, n->capture_dst_count, how->verdict);
	}
	if (chain_has_family(c, AF_INET6))
		add_kind(x, c, "", SET_IPV6, n->capture_dst, n->capture_dst_count, how->verdict);
}

/* ---- Who returns ---- */

static void add_excluded(const struct entry_rules *x, struct chain *c)
{
	const struct netfilter_conf *n = x->n;
	struct rule back = { .verdict = VERDICT_RETURN };

	add_kind(x, c, "X", SET_PORTS, n->exclude_dst, n->exclude_dst_count, back);
	if (chain_has_family(c, AF_INET)) {
		add_kind(x, c, "X", SET_IPV4, n->exclude_dst, n->exclude_dst_count, back);
		add_ipsets(x, c, n->exclude_dst, n->exclude_dst_count, back);
	}
	if (chain_has_family(c, AF_INET6))
		add_kind(x, c, "X", SET_IPV6, n->exclude_dst, n->exclude_dst_count, back);
}

/* The root holds all: there is nothing to be matched. */
static struct rule with_cgroup(struct rule rule, struct ruleset *r, const char *path)
{
	if (strcmp(path, "/") == 0)
		return rule;
	return rule_with(rule, (struct match){ .kind = MATCH_CGROUP, .text = ruleset_format(r, "%s", path) });
}

static void add_returns(const struct entry_rules *x, const struct entry_chain *how)
{
	struct chain *c = how->chain;
	struct rule back = { .verdict = VERDICT_RETURN };

	for (size_t i = 0; i < x->own_mark_count; i++)
		chain_add(c, rule_with(back, match_mark(x->r, x->own_marks[i])));
	add_excluded(x, c);
	for (size_t i = 0; how->has_cgroups && i < x->n->nocapture_cgroup.count; i++)
		chain_add(c, with_cgroup(back, x->r, x->n->nocapture_cgroup.items[i]));
	if (how->foreign_sources)
		chain_add(c, rule_with(back, (struct match){ .kind = MATCH_SRC_TYPE, .value = ADDRESS_LOCAL }));
	if (how->local_sources)
		chain_add(c,
			  rule_with(back,
				    (struct match){ .kind = MATCH_SRC_TYPE, .value = ADDRESS_LOCAL, .negated = true }));
	if (how->others_only)
		chain_add(c,
			  rule_with(back, (struct match){
						  .kind = MATCH_DST_TYPE, .value = ADDRESS_UNICAST, .negated = true }));
}

/* What was refused of late is refused at once, until the set forgets it. */
static void add_refused(const struct entry_rules *x, struct chain *c, int family)
{
	char *name = mem_format("%s_REFUSED%c", x->name, family == AF_INET ? '4' : '6');
	struct rule reject = { .family = family, .tcp = true, .verdict = VERDICT_REJECT };

	if (ruleset_find_set(x->r, name) == NULL)
		ruleset_add_set(x->r, name, family == AF_INET ? SET_REFUSED4 : SET_REFUSED6)->timeout_ms =
			x->n->negative_cache_ms;
	reject = rule_with(reject, (struct match){ .kind = MATCH_SYN });
	chain_add(c,
		  rule_with(reject, (struct match){ .kind = MATCH_REFUSED, .text = ruleset_format(x->r, "%s", name) }));
	free(name);
}

static bool diverts(const struct entry_chain *how)
{
	return how->verdict.verdict != VERDICT_REJECT;
}

void entry_chain_fill(const struct entry_rules *x, const struct entry_chain *how)
{
	struct chain *dst = how->chain;
	bool by_cgroup = how->has_cgroups && x->n->capture_cgroup.count > 0;

	add_returns(x, how);
	if (x->n->open_ports == OPEN_PORTS_NEGATIVE_CACHE && diverts(how)) {
		if (chain_has_family(how->chain, AF_INET))
			add_refused(x, how->chain, AF_INET);
		if (chain_has_family(how->chain, AF_INET6))
			add_refused(x, how->chain, AF_INET6);
	}
	if (by_cgroup) {
		const char *name = ruleset_format(x->r, "%s_D", how->chain->name);

		dst = ruleset_chain(x->r, how->chain->table, how->chain->family, name);
		for (size_t i = 0; i < x->n->capture_cgroup.count; i++)
			chain_add(how->chain, with_cgroup((struct rule){ .verdict = VERDICT_JUMP, .chain = name }, x->r,
							  x->n->capture_cgroup.items[i]));
	}
	add_destinations(x, how, dst);
}

/* ---- The way into the chain, and on to the listener ---- */

static struct rule jump_to(const struct chain *to)
{
	return (struct rule){ .family = to->family, .tcp = true, .verdict = VERDICT_JUMP, .chain = to->name };
}

void entry_jump(const struct entry_rules *x, struct chain *from, const struct chain *to)
{
	(void)x;
	chain_add(from, jump_to(to));
}

/* Two ports of one bridge are one interface. */
static bool is_earlier(const struct entry_rules *x, size_t end, const char *name)
{
	for (size_t i = 0; i < end; i++) {
		if (strcmp(bridge_interface(x, x->n->in_ifname.items[i]), name) == 0)
			return true;
	}
	return false;
}

void entry_jump_in(const struct entry_rules *x, struct chain *from, const struct chain *to, bool without_loopback)
{
	const struct string_list *names = &x->n->in_ifname;

	for (size_t i = 0; i < names->count; i++) {
		const char *name = bridge_interface(x, names->items[i]);

		if (!is_earlier(x, i, name))
			chain_add(from,
				  rule_with(jump_to(to), (struct match){ .kind = MATCH_IIF,
									 .text = ruleset_format(x->r, "%s", name) }));
	}
	if (names->count == 0 && without_loopback)
		chain_add(from,
			  rule_with(jump_to(to), (struct match){ .kind = MATCH_IIF, .text = "lo", .negated = true }));
	else if (names->count == 0)
		chain_add(from, jump_to(to));
}

void entry_routes_to(const struct entry_rules *x, uint32_t mark, uint32_t table)
{
	ruleset_add_route(x->r, AF_INET, mark, table, x->interception->protocol);
	if (entry_family(x) != AF_INET)
		ruleset_add_route(x->r, AF_INET6, mark, table, x->interception->protocol);
}

void entry_routes(const struct entry_rules *x)
{
	entry_routes_to(x, x->mark, capture_table(x->interception, x->conf->kind, x->conf->index));
}

/* Before any chain that diverts: other entries must not take these packets. */
void entry_divert_replies(const struct entry_rules *x)
{
	struct chain *from = ruleset_hook(x->r, TABLE_MANGLE, HOOK_PREROUTING);
	struct chain *c = ruleset_chain(x->r, TABLE_MANGLE, entry_family(x), ruleset_format(x->r, "%s_DIV", x->name));
	struct rule mark = { .tcp = true, .verdict = VERDICT_SET_MARK, .value = x->mark, .mask = x->r->mark_mask };

	chain_add(c, rule_with(mark, (struct match){ .kind = MATCH_SOCKET_TRANSPARENT }));
	entry_jump(x, from, c);
	chain_add(from, rule_with((struct rule){ .verdict = VERDICT_RETURN }, match_mark(x->r, x->mark)));
	entry_routes(x);
}

/*
 * Packets with the entry's mark belong to this host. Should somebody take our policy rule away, or put another in front
 * of it, they must not go on to the network. It shows behind the routing only, which the mark may have changed.
 */
static void drop_astray(const struct entry_rules *x)
{
	struct rule drop = { .family = entry_family(x), .tcp = true, .verdict = VERDICT_DROP };
	struct match elsewhere = { .kind = MATCH_OIF, .text = "lo", .negated = true };
	struct chain *c = ruleset_hook(x->r, TABLE_MANGLE, HOOK_POSTROUTING);

	chain_add(c, rule_with(rule_with(drop, elsewhere), match_mark(x->r, x->mark)));
}

struct chain *entry_tproxy(const struct entry_rules *x, bool loopback)
{
	struct chain *c = ruleset_chain(x->r, TABLE_MANGLE, entry_family(x), ruleset_format(x->r, "%s_TP", x->name));
	struct rule tproxy = { .family = AF_INET,
			       .tcp = true,
			       .verdict = VERDICT_TPROXY,
			       .port = x->listen_port,
			       .loopback = loopback,
			       .value = x->mark,
			       .mask = x->r->mark_mask };

	if (c->count > 0)
		return c;
	chain_add(c, tproxy);
	tproxy.family = AF_INET6;
	if (chain_has_family(c, AF_INET6))
		chain_add(c, tproxy);
	chain_add(c, (struct rule){ .verdict = VERDICT_DROP }); /* nobody listens */
	entry_routes(x);
	drop_astray(x);
	return c;
}
