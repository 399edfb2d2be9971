/* SPDX-License-Identifier: Apache-2.0 */
/* rules_ebtables - what takes frames out of a bridge, for ebtables. */
#include "capture/rules.h"

#include <string.h>
#include <sys/socket.h>

#include "capture/rules_internal.h"

/* "--ip-dport", "--ip6-dport" */
static void print_option(const struct rule *rule, const char *name, struct buf *out)
{
	buf_format(out, "--%s-%s ", rule->family == AF_INET ? "ip" : "ip6", name);
}

static void print_ports(const struct rule *rule, const char *name, const struct match *m, struct buf *out)
{
	print_option(rule, name, out);
	buf_format(out, m->first == m->last ? "%u " : "%u:%u ", m->first, m->last);
}

/* rules_bridge.c uses no others. */
static void print_match(const struct rule *rule, const struct match *m, struct buf *out)
{
	if (m->kind == MATCH_IIF) {
		buf_format(out, "-i %s ", m->text);
	} else if (m->kind == MATCH_DPORT) {
		print_ports(rule, "dport", m, out);
	} else if (m->kind == MATCH_SPORT) {
		print_ports(rule, "sport", m, out);
	} else if (m->kind == MATCH_DST || m->kind == MATCH_SRC) {
		print_option(rule, m->kind == MATCH_DST ? "dst" : "src", out);
		buf_format(out, "%s ", m->text);
	}
}

/* redirect takes the address of the bridge that the frame comes in by. */
static void print_verdict(const struct ruleset *r, const struct rule *rule, struct buf *out)
{
	if (rule->verdict == VERDICT_JUMP)
		buf_format(out, "-j %s%s", r->prefix, rule->chain);
	else if (rule->verdict == VERDICT_PULL)
		buf_append_str(out, "-j redirect --redirect-target ACCEPT");
	else
		buf_append_str(out, "-j RETURN");
}

static void print_rule(const struct ruleset *r, const struct chain *c, const struct rule *rule, struct buf *out)
{
	buf_format(out, "-A %s%s ", r->prefix, c->name);
	if (rule->family != AF_UNSPEC)
		buf_format(out, "-p %s ", rule->family == AF_INET ? "IPv4" : "IPv6");
	if (rule->family != AF_UNSPEC && rule->tcp) {
		print_option(rule, "proto", out);
		buf_append_str(out, "tcp ");
	}
	for (size_t i = 0; i < rule->match_count; i++)
		print_match(rule, &rule->matches[i], out);
	print_verdict(r, rule, out);
	buf_append_str(out, "\n");
}

static void print_chains(const struct ruleset *r, bool hooks, struct buf *out)
{
	for (size_t i = 0; i < r->chain_count; i++) {
		if (r->chains[i]->table == TABLE_BRIDGE && (r->chains[i]->hook != HOOK_NONE) == hooks)
			buf_format(out, ":%s%s\n", r->prefix, r->chains[i]->name);
	}
}

/* Chains that are jumped into are filled before those that jump. */
static void print_rules(const struct ruleset *r, bool hooks, struct buf *out)
{
	for (size_t i = 0; i < r->chain_count; i++) {
		const struct chain *c = r->chains[i];

		for (size_t k = 0; c->table == TABLE_BRIDGE && (c->hook != HOOK_NONE) == hooks && k < c->count; k++)
			print_rule(r, c, &c->rules[k], out);
	}
}

void rules_print_ebtables(const struct ruleset *r, struct buf *out)
{
	print_chains(r, true, out);
	print_chains(r, false, out);
	print_rules(r, false, out);
	print_rules(r, true, out);
}

/* ---- commands ---- */

static void print_each(const struct buf *lines, const char *chain_before, const char *chain_after,
		       const char *rule_before, struct buf *out)
{
	for (const char *at = buf_str((struct buf *)(uintptr_t)lines); *at != '\0'; at += strcspn(at, "\n") + 1) {
		int len = (int)strcspn(at, "\n");

		if (at[0] == ':' && chain_before != NULL)
			buf_format(out, "%s%.*s%s\n", chain_before, len - 1, at + 1, chain_after);
		else if (at[0] == '-' && rule_before != NULL)
			buf_format(out, "%s%.*s\n", rule_before, len, at);
	}
}

void rules_print_ebtables_commands(const struct ruleset *r, struct buf *out)
{
	struct buf lines = { 0 };

	rules_print_ebtables(r, &lines);
	if (lines.len > 0) {
		print_each(&lines, "ebtables -t nat -N ", " -P RETURN", NULL, out);
		print_each(&lines, NULL, NULL, "ebtables -t nat ", out);
		buf_format(out, "ebtables -t nat -I PREROUTING 1 -j %sBRIDGE_PRE\n", r->prefix);
	}
	buf_release(&lines);
}

void rules_print_ebtables_removal(const struct ruleset *r, struct buf *out)
{
	struct buf lines = { 0 };

	rules_print_ebtables(r, &lines);
	if (lines.len > 0) {
		buf_format(out, "ebtables -t nat -D PREROUTING -j %sBRIDGE_PRE\n", r->prefix);
		print_each(&lines, "ebtables -t nat -F ", "", NULL, out);
		print_each(&lines, "ebtables -t nat -X ", "", NULL, out);
	}
	buf_release(&lines);
}
