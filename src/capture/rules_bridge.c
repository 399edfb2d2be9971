/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rules_bridge - frames that pass through a bridge of this host come to its IP layer, where the other rules see them.
 *
 *   port --> bridge PREROUTING: BRIDGE_PRE --> In_BRk: is it captured? then the frame is for the bridge itself
 *                                          --> In_REk: is it an answer to an address that we have borrowed? likewise
 *
 * The first chain is for the ports on which the entry captures, the second one for those behind which its services may
 * be. At a bridge no socket tells which answers are ours: all that come from what is captured are taken, and those that
 * are not ours are forwarded by IP, or dropped where this host does not forward.
 *
 * What is pulled out comes in at the IP layer from the bridge, not from its port: rules there name the bridge.
 */
#include "capture/rules_internal.h"

#include <string.h>
#include <sys/socket.h>

static bool is_taken_on(const struct entry_rules *x, const struct bridge *b, const char *port)
{
	const struct string_list *names = &x->n->in_ifname;

	for (size_t i = 0; i < names->count; i++) {
		if (strcmp(names->items[i], port) == 0 || strcmp(names->items[i], b->name) == 0)
			return true;
	}
	return names->count == 0;
}

static size_t count_taken(const struct entry_rules *x, const struct bridge *b)
{
	size_t count = 0;

	for (size_t i = 0; i < b->port_count; i++)
		count += is_taken_on(x, b, b->ports[i].name);
	return count;
}

/* An item as a rule of one family for each family of the entry, by destination or by source. */
static void add_item(const struct entry_rules *x, struct chain *c, const struct dst_conf *item, bool as_source,
		     struct rule rule)
{
	bool v6 = item->host != NULL && strchr(item->host, ':') != NULL;

	rule.tcp = true;
	if (item->host != NULL && v6 && c->family == AF_INET)
		return;
	if (item->host != NULL) {
		rule.family = v6 ? AF_INET6 : AF_INET;
		rule = rule_with(rule, (struct match){ .kind = as_source ? MATCH_SRC : MATCH_DST,
						       .text = ruleset_format(x->r, "%s", item->host) });
	}
	if (item->port != 0)
		rule = rule_with(rule, (struct match){ .kind = as_source ? MATCH_SPORT : MATCH_DPORT,
						       .first = item->port,
						       .last = item->port_end });
	if (item->host != NULL || c->family != AF_UNSPEC) {
		rule.family = item->host != NULL ? rule.family : c->family;
		chain_add(c, rule);
		return;
	}
	rule.family = AF_INET;
	chain_add(c, rule);
	rule.family = AF_INET6;
	chain_add(c, rule);
}

/* An egress takes of what passes by only what it names. */
static bool is_for_others(const struct entry_rules *x, const struct dst_conf *item)
{
	return x->conf->kind == ENTRY_INGRESS || item->host != NULL;
}

static struct chain *pull_chain(const struct entry_rules *x, const struct bridge *b, size_t k, bool as_source)
{
	int family = x->ipv6 == IPV6_BYPASS ? AF_INET : AF_UNSPEC;
	const char *name = ruleset_format(x->r, "%s_%s%zu", x->name, as_source ? "RE" : "BR", k);
	struct chain *c = ruleset_chain(x->r, TABLE_BRIDGE, family, name);
	struct rule back = { .verdict = VERDICT_RETURN };
	struct rule pull = { .verdict = VERDICT_PULL, .text = ruleset_format(x->r, "%s", b->address) };
	struct dst_conf all = { .host = NULL };

	for (size_t i = 0; i < x->n->exclude_dst_count; i++)
		add_item(x, c, &x->n->exclude_dst[i], as_source, back);
	for (size_t i = 0; i < x->n->capture_dst_count; i++) {
		if (is_for_others(x, &x->n->capture_dst[i]))
			add_item(x, c, &x->n->capture_dst[i], as_source, pull);
	}
	if (x->n->capture_dst_count == 0)
		add_item(x, c, &all, as_source, pull);
	return c;
}

static void jump_from(const struct entry_rules *x, const char *port, const struct chain *to)
{
	struct chain *from = ruleset_hook(x->r, TABLE_BRIDGE, HOOK_PREROUTING);
	struct match in = { .kind = MATCH_IIF, .text = ruleset_format(x->r, "%s", port) };

	chain_add(from, rule_with((struct rule){ .verdict = VERDICT_JUMP, .chain = to->name }, in));
}

/* The answers come in where the entry does not capture; where it captures everywhere, they do so too. */
static void add_bridge(const struct entry_rules *x, const struct bridge *b, size_t k)
{
	size_t taken = count_taken(x, b);
	bool everywhere = taken == b->port_count;
	struct chain *to;

	if (taken == 0 || b->port_count < 2) /* nothing passes through */
		return;
	to = pull_chain(x, b, k, false);
	for (size_t i = 0; i < b->port_count; i++) {
		if (is_taken_on(x, b, b->ports[i].name))
			jump_from(x, b->ports[i].name, to);
	}
	if (!x->conf->transparency.out)
		return;
	to = pull_chain(x, b, k, true);
	for (size_t i = 0; i < b->port_count; i++) {
		if (everywhere || !is_taken_on(x, b, b->ports[i].name))
			jump_from(x, b->ports[i].name, to);
	}
}

static bool names_others(const struct netfilter_conf *n)
{
	for (size_t i = 0; i < n->capture_dst_count; i++) {
		if (n->capture_dst[i].host != NULL)
			return true;
	}
	return false;
}

static bool takes_what_passes(const struct entry_rules *x)
{
	if (x->n == NULL)
		return false;
	if (x->conf->kind == ENTRY_INGRESS)
		return x->n->scope != SCOPE_LOCAL;
	return names_others(x->n) && x->n->capture_cgroup.count == 0;
}

void bridge_rules(const struct entry_rules *x)
{
	for (size_t i = 0; x->bridges != NULL && takes_what_passes(x) && i < x->bridges->count; i++)
		add_bridge(x, &x->bridges->items[i], i);
}

/* A frame's port as the IP layer sees it. */
const char *bridge_interface(const struct entry_rules *x, const char *name)
{
	const struct bridge *b = x->bridges == NULL ? NULL : bridge_of_port(x->bridges, name);

	return b == NULL ? name : b->name;
}
