/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rules_iptables - a ruleset as input of iptables-restore, and as commands.
 *
 * The chains of the block that have a hook are made with the others, empty: the built-in chains jump to them already,
 * so that one input of iptables-restore is enough to block. Commands for a shell do without them.
 */
#include "capture/rules.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "capture/rules_internal.h"

static const enum rule_table tables[] = { TABLE_MANGLE, TABLE_NAT, TABLE_FILTER };

const char *table_name(enum rule_table table)
{
	static const char *const names[] = {
		[TABLE_MANGLE] = "mangle", [TABLE_NAT] = "nat", [TABLE_FILTER] = "filter", [TABLE_BRIDGE] = "nat"
	};

	return names[table];
}

static const char *tool_name(int family)
{
	return family == AF_INET ? "iptables" : "ip6tables";
}

void shell_word(const char *word, struct buf *out)
{
	static const char plain[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_-.:/@,+=%";

	if (word[0] != '\0' && strspn(word, plain) == strlen(word)) {
		buf_append_str(out, word);
		return;
	}
	buf_append_str(out, "'");
	for (; *word != '\0'; word++) {
		if (*word == '\'')
			buf_append_str(out, "'\\''");
		else
			buf_append(out, word, 1);
	}
	buf_append_str(out, "'");
}

/* ---- One rule ---- */

static void print_not(const struct match *m, struct buf *out)
{
	if (m->negated)
		buf_append_str(out, "! ");
}

static void print_mark(const char *module, const struct match *m, struct buf *out)
{
	buf_format(out, "-m %s ", module);
	print_not(m, out);
	buf_format(out, m->mask == UINT32_MAX ? "--mark %u " : "--mark %u/0x%x ", m->value, m->mask);
}

/* Two types in a row share their "-m addrtype", as upstream writes it. */
static void print_type(const struct match *m, bool shared, struct buf *out)
{
	if (!shared)
		buf_append_str(out, "-m addrtype ");
	print_not(m, out);
	buf_format(out, "--%s-type %s ", m->kind == MATCH_SRC_TYPE ? "src" : "dst",
		   m->value == ADDRESS_LOCAL ? "LOCAL" : "UNICAST");
}

static void print_cgroup(const char *path, bool for_shell, struct buf *out)
{
	char *absolute = mem_format("%s%s", path[0] == '/' ? "" : "/", path);

	buf_append_str(out, "-m cgroup --path ");
	if (for_shell)
		shell_word(absolute, out);
	else
		buf_append_str(out, absolute); /* has no blanks and quotes: check_cgroup() */
	buf_append_str(out, " ");
	free(absolute);
}

static void print_owner(const struct match *m, struct buf *out)
{
	buf_append_str(out, "-m owner ");
	print_not(m, out);
	buf_format(out, "--%s-owner %u ", m->kind == MATCH_UID ? "uid" : "gid", m->value);
}

static void print_interface(const struct match *m, struct buf *out)
{
	print_not(m, out);
	buf_format(out, "-%c %s ", m->kind == MATCH_IIF ? 'i' : 'o', m->text);
}

static bool is_type(const struct match *m)
{
	return m->kind == MATCH_SRC_TYPE || m->kind == MATCH_DST_TYPE;
}

static void print_ports(uint16_t first, uint16_t last, struct buf *out)
{
	buf_format(out, first == last ? "--dport %u " : "--dport %u:%u ", first, last);
}

static void print_item(const struct dst_conf *item, struct buf *out)
{
	if (item->host != NULL)
		buf_format(out, "--dst %s ", item->host);
	if (item->port != 0)
		print_ports(item->port, item->port_end, out);
}

/* item: of the set, if the rule has one. */
static void print_match(const struct match *m, bool shared, const struct dst_conf *item, bool for_shell,
			struct buf *out)
{
	switch (m->kind) {
	case MATCH_MARK:
		print_mark("mark", m, out);
		break;
	case MATCH_CT_MARK:
		print_mark("connmark", m, out);
		break;
	case MATCH_CT_REPLY:
		buf_format(out, "-m conntrack --ctdir %s ", m->negated ? "ORIGINAL" : "REPLY");
		break;
	case MATCH_SRC_TYPE:
	case MATCH_DST_TYPE:
		print_type(m, shared, out);
		break;
	case MATCH_DST:
		print_not(m, out);
		buf_format(out, "--dst %s ", m->text);
		break;
	case MATCH_DPORT:
		print_ports(m->first, m->last, out);
		break;
	case MATCH_SRC: /* of bridges: rules_ebtables.c */
	case MATCH_SPORT:
		break;
	case MATCH_IPSET:
		buf_format(out, "-m set --match-set %s dst ", m->text);
		break;
	case MATCH_SET:
		print_item(item, out);
		break;
	case MATCH_REFUSED: /* of nftables only: check_iptables_can() */
		break;
	case MATCH_IIF:
	case MATCH_OIF:
		print_interface(m, out);
		break;
	case MATCH_CGROUP:
		print_cgroup(m->text, for_shell, out);
		break;
	case MATCH_UID:
	case MATCH_GID:
		print_owner(m, out);
		break;
	case MATCH_SOCKET_TRANSPARENT:
		buf_append_str(out, "-m socket --transparent ");
		break;
	case MATCH_SYN:
		buf_append_str(out, "--syn ");
		break;
	}
}

static void print_under_mask(const struct rule *rule, struct buf *out)
{
	buf_format(out, "%u", rule->value);
	if (rule->mask != UINT32_MAX)
		buf_format(out, "/0x%x", rule->mask);
}

static void print_verdict(const struct ruleset *r, const struct rule *rule, int family, struct buf *out)
{
	buf_append_str(out, "-j ");
	switch (rule->verdict) {
	case VERDICT_RETURN:
		buf_append_str(out, "RETURN");
		break;
	case VERDICT_DROP:
		buf_append_str(out, "DROP");
		break;
	case VERDICT_REJECT:
		buf_append_str(out, "REJECT --reject-with tcp-reset");
		break;
	case VERDICT_REDIRECT:
		buf_format(out, "REDIRECT --to-ports %u", rule->port);
		break;
	case VERDICT_TPROXY:
		buf_append_str(out, "TPROXY ");
		if (rule->loopback)
			buf_format(out, "--on-ip %s ", family == AF_INET ? "127.0.0.1" : "::1");
		buf_format(out, "--on-port %u --tproxy-mark ", rule->port);
		print_under_mask(rule, out);
		break;
	case VERDICT_SET_MARK:
		buf_append_str(out, "MARK --set-mark ");
		print_under_mask(rule, out);
		break;
	case VERDICT_SET_CT_MARK:
		buf_append_str(out, "CONNMARK --set-mark ");
		print_under_mask(rule, out);
		break;
	case VERDICT_JUMP:
		buf_format(out, "%s%s", r->prefix, rule->chain);
		break;
	case VERDICT_QUEUE:
		buf_format(out, "NFQUEUE --queue-num %u", rule->value);
		break;
	case VERDICT_PULL: /* of bridges: rules_ebtables.c */
		break;
	}
}

static void print_one(const struct ruleset *r, const struct rule *rule, int family, const struct dst_conf *item,
		      bool for_shell, const char *before, const char *after, struct buf *out)
{
	buf_append_str(out, before);
	if (rule->tcp)
		buf_append_str(out, "-p tcp ");
	for (size_t i = 0; i < rule->match_count; i++) {
		bool shared = i > 0 && is_type(&rule->matches[i]) && is_type(&rule->matches[i - 1]);

		print_match(&rule->matches[i], shared, item, for_shell, out);
	}
	buf_append_str(out, after);
	print_verdict(r, rule, family, out);
	buf_append_str(out, "\n");
}

static const struct set *set_of(const struct ruleset *r, const struct rule *rule)
{
	for (size_t i = 0; i < rule->match_count; i++) {
		if (rule->matches[i].kind == MATCH_SET)
			return ruleset_find_set(r, rule->matches[i].text);
	}
	return NULL;
}

static void print_items(const struct ruleset *r, const struct rule *rule, int family, bool for_shell,
			const char *before, const char *after, struct buf *out)
{
	const struct set *s = set_of(r, rule);
	struct rule one = *rule;

	if (!rule_has_family(rule, family))
		return;
	if (s == NULL)
		print_one(r, rule, family, NULL, for_shell, before, after, out);
	for (size_t i = 0; s != NULL && i < s->count; i++) {
		one.tcp = s->items[i].port != 0 || rule->verdict == VERDICT_REDIRECT || rule->verdict == VERDICT_REJECT;
		print_one(r, &one, family, &s->items[i], for_shell, before, after, out);
	}
}

void iptables_print_rule(const struct ruleset *r, const struct rule *rule, int family, const char *before,
			 const char *after, struct buf *out)
{
	print_items(r, rule, family, true, before, after, out);
}

/* ---- iptables-restore ---- */

static char *comment_of(const struct ruleset *r)
{
	return mem_format("-m comment --comment tng:%s ", r->instance);
}

static void print_rules_of(const struct ruleset *r, const struct chain *c, int family, struct buf *out)
{
	char *before = mem_format("-A %s%s ", r->prefix, c->name);
	char *comment = comment_of(r);

	for (size_t i = 0; i < c->count; i++)
		print_items(r, &c->rules[i], family, false, before, comment, out);
	free(before);
	free(comment);
}

static bool has_chain(const struct ruleset *r, const char *name)
{
	for (size_t i = 0; i < r->chain_count; i++) {
		if (strcmp(r->chains[i]->name, name) == 0)
			return true;
	}
	return false;
}

/* Calls visit for each chain of the rules, and then for the hooks that only the block has. */
struct chain_visitor {
	void (*visit)(struct chain_visitor *self, const struct ruleset *r, const struct chain *c);
	enum rule_table table;
	int family;
	bool with_block;
	struct buf *out;
	bool found;
};

/* A hook without anything to do for a family would only cost: connection tracking, for one. */
static bool has_work(const struct chain *c, int family)
{
	if (c->hook == HOOK_NONE)
		return chain_has_family(c, family);
	for (size_t i = 0; i < c->count; i++) {
		if (rule_has_family(&c->rules[i], family) && c->rules[i].verdict != VERDICT_RETURN)
			return true;
	}
	return false;
}

static bool blocks_at(const struct ruleset *r, const char *name, const struct chain_visitor *v)
{
	for (size_t i = 0; r->block != NULL && v->with_block && i < r->block->chain_count; i++) {
		const struct chain *c = r->block->chains[i];

		if (strcmp(c->name, name) == 0)
			return c->hook != HOOK_NONE && has_work(c, v->family);
	}
	return false;
}

static void visit_chains(const struct ruleset *r, struct chain_visitor *v)
{
	const struct ruleset *block = r->block;

	for (size_t i = 0; i < r->chain_count; i++) {
		const struct chain *c = r->chains[i];

		if (c->table == v->table && (has_work(c, v->family) || blocks_at(r, c->name, v)))
			v->visit(v, r, c);
	}
	for (size_t i = 0; block != NULL && v->with_block && i < block->chain_count; i++) {
		const struct chain *c = block->chains[i];

		if (c->hook != HOOK_NONE && c->table == v->table && has_work(c, v->family) && !has_chain(r, c->name))
			v->visit(v, r, c);
	}
}

static void declare_chain(struct chain_visitor *v, const struct ruleset *r, const struct chain *c)
{
	if (!v->found)
		buf_format(v->out, "*%s\n", table_name(v->table));
	v->found = true;
	buf_format(v->out, ":%s%s - [0:0]\n", r->prefix, c->name);
}

/* false: the table has none. */
static bool declare_chains(const struct ruleset *r, enum rule_table table, int family, struct buf *out)
{
	struct chain_visitor v = {
		.visit = declare_chain, .table = table, .family = family, .with_block = true, .out = out
	};

	visit_chains(r, &v);
	return v.found;
}

static bool is_for(const struct ruleset *r, int family)
{
	return ruleset_has_family(r, family) || (r->block != NULL && ruleset_has_family(r->block, family));
}

static void print_table(const struct ruleset *r, enum rule_table table, int family, struct buf *out)
{
	if (!declare_chains(r, table, family, out))
		return;
	for (size_t i = 0; i < r->chain_count; i++) {
		if (r->chains[i]->table == table && has_work(r->chains[i], family))
			print_rules_of(r, r->chains[i], family, out);
	}
	buf_append_str(out, "COMMIT\n");
}

void rules_print_iptables(const struct ruleset *r, int family, struct buf *out)
{
	if (!is_for(r, family))
		return;
	for (size_t i = 0; i < ARRAY_SIZE(tables); i++)
		print_table(r, tables[i], family, out);
}

static void declare_entrance(struct chain_visitor *v, const struct ruleset *r, const struct chain *c)
{
	if (c->hook != HOOK_NONE)
		declare_chain(v, r, c);
}

/*
 * What is redirected before it comes to the filter is not known there any more, and somebody else may have our port by
 * then. The chains behind keep their rules, by which they are known as ours.
 */
static void print_without_redirects(const struct ruleset *r, int family, struct buf *out)
{
	struct chain_visitor v = { .visit = declare_entrance, .table = TABLE_NAT, .family = family, .out = out };

	visit_chains(r, &v);
	if (v.found)
		buf_append_str(out, "COMMIT\n");
}

void rules_print_iptables_block(const struct ruleset *r, int family, struct buf *out)
{
	if (is_for(r->block, family))
		print_table(r->block, TABLE_FILTER, family, out);
	print_without_redirects(r, family, out);
}

static const char *builtin_of(const struct chain *c)
{
	static const char *const names[] = { [HOOK_PREROUTING] = "PREROUTING",
					     [HOOK_INPUT] = "INPUT",
					     [HOOK_FORWARD] = "FORWARD",
					     [HOOK_OUTPUT] = "OUTPUT",
					     [HOOK_POSTROUTING] = "POSTROUTING" };

	return names[c->hook];
}

static void print_jump(struct chain_visitor *v, const struct ruleset *r, const struct chain *c)
{
	if (c->hook != HOOK_NONE)
		buf_format(v->out, "%s %s 1 -p tcp -m comment --comment tng:%s -j %s%s\n", table_name(c->table),
			   builtin_of(c), r->instance, r->prefix, c->name);
}

void rules_print_iptables_jumps(const struct ruleset *r, int family, struct buf *out)
{
	for (size_t i = 0; is_for(r, family) && i < ARRAY_SIZE(tables); i++) {
		struct chain_visitor v = {
			.visit = print_jump, .table = tables[i], .family = family, .with_block = true, .out = out
		};

		visit_chains(r, &v);
	}
}

/* ---- Commands ---- */

static void print_new(struct chain_visitor *v, const struct ruleset *r, const struct chain *c)
{
	buf_format(v->out, "%s -t %s -N %s%s\n", tool_name(v->family), table_name(v->table), r->prefix, c->name);
}

static void print_appends(struct chain_visitor *v, const struct ruleset *r, const struct chain *c)
{
	char *before = mem_format("%s -t %s -A %s%s ", tool_name(v->family), table_name(v->table), r->prefix, c->name);
	char *comment = comment_of(r);

	for (size_t i = 0; i < c->count; i++)
		iptables_print_rule(r, &c->rules[i], v->family, before, comment, v->out);
	free(before);
	free(comment);
}

static void print_insert(struct chain_visitor *v, const struct ruleset *r, const struct chain *c)
{
	if (c->hook != HOOK_NONE)
		buf_format(v->out, "%s -t %s -I %s 1 -p tcp -m comment --comment tng:%s -j %s%s\n",
			   tool_name(v->family), table_name(v->table), builtin_of(c), r->instance, r->prefix, c->name);
}

static void print_delete(struct chain_visitor *v, const struct ruleset *r, const struct chain *c)
{
	if (c->hook != HOOK_NONE)
		buf_format(v->out, "%s -t %s -D %s -p tcp -m comment --comment tng:%s -j %s%s\n", tool_name(v->family),
			   table_name(v->table), builtin_of(c), r->instance, r->prefix, c->name);
}

static void print_flush(struct chain_visitor *v, const struct ruleset *r, const struct chain *c)
{
	buf_format(v->out, "%s -t %s -F %s%s\n", tool_name(v->family), table_name(v->table), r->prefix, c->name);
}

static void print_remove(struct chain_visitor *v, const struct ruleset *r, const struct chain *c)
{
	buf_format(v->out, "%s -t %s -X %s%s\n", tool_name(v->family), table_name(v->table), r->prefix, c->name);
}

typedef void (*visit_fn)(struct chain_visitor *, const struct ruleset *, const struct chain *);

static void print_steps(const struct ruleset *r, const visit_fn *steps, size_t count, struct buf *out)
{
	static const int families[] = { AF_INET, AF_INET6 };

	for (size_t f = 0; f < ARRAY_SIZE(families); f++) {
		for (size_t t = 0; is_for(r, families[f]) && t < ARRAY_SIZE(tables); t++) {
			for (size_t s = 0; s < count; s++) {
				struct chain_visitor v = {
					.visit = steps[s], .table = tables[t], .family = families[f], .out = out
				};

				visit_chains(r, &v);
			}
		}
	}
}

static const char *ip_of(const struct policy_route *route)
{
	return route->family == AF_INET ? "ip" : "ip -6";
}

static void print_routes(const struct ruleset *r, struct buf *out)
{
	for (size_t i = 0; i < r->route_count; i++) {
		const struct policy_route *route = &r->routes[i];

		buf_format(out, "%s route replace local default dev lo table %u proto %u\n", ip_of(route), route->table,
			   route->protocol);
		buf_format(out, "%s rule add pref %u fwmark 0x%x/0x%x lookup %u protocol %u\n", ip_of(route),
			   CAPTURE_RULE_PREFERENCE, route->mark, route->mask, route->table, route->protocol);
	}
}

static void print_route_removals(const struct ruleset *r, struct buf *out)
{
	for (size_t i = 0; i < r->route_count; i++) {
		const struct policy_route *route = &r->routes[i];

		buf_format(out, "%s rule del pref %u fwmark 0x%x/0x%x lookup %u protocol %u\n", ip_of(route),
			   CAPTURE_RULE_PREFERENCE, route->mark, route->mask, route->table, route->protocol);
		buf_format(out, "%s route flush table %u proto %u\n", ip_of(route), route->table, route->protocol);
	}
}

/* "add rule ..." becomes "nft 'add rule ...'". */
static void print_as_commands(struct buf *lines, struct buf *out)
{
	char *rest = (char *)(uintptr_t)buf_str(lines);

	for (char *line = strsep(&rest, "\n"); line != NULL; line = strsep(&rest, "\n")) {
		if (line[0] == '\0')
			continue;
		buf_append_str(out, "nft ");
		shell_word(line, out);
		buf_append_str(out, "\n");
	}
}

static bool uses_nft(const struct ruleset *r, enum interception_backend backend)
{
	return backend == BACKEND_NFT || (backend != BACKEND_IPTABLES && !r->needs_iptables);
}

void rules_print_commands(const struct ruleset *r, enum interception_backend backend, struct buf *out)
{
	static const visit_fn steps[] = { print_new, print_appends, print_insert };
	struct buf nft = { 0 };

	print_routes(r, out); /* a mark without its route would leave in clear */
	if (uses_nft(r, backend)) {
		rules_print_nft(r, false, &nft);
		print_as_commands(&nft, out);
		buf_release(&nft);
	} else {
		print_steps(r, steps, ARRAY_SIZE(steps), out);
		rules_print_ebtables_commands(r, out);
	}
}

void rules_print_removal_commands(const struct ruleset *r, enum interception_backend backend, struct buf *out)
{
	static const visit_fn steps[] = { print_delete, print_flush, print_remove };
	struct buf nft = { 0 };

	if (uses_nft(r, backend)) {
		rules_print_nft_removal(r, &nft);
		print_as_commands(&nft, out);
		buf_release(&nft);
	} else {
		rules_print_ebtables_removal(r, out);
		print_steps(r, steps, ARRAY_SIZE(steps), out);
	}
	print_route_removals(r, out);
}
