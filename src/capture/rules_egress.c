/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rules_egress - connections for the service come to an egress.
 *
 *   peer --------------> PREROUTING: En_PRE redirects (transparency.in: En_FWD, TPROXY) --> listener
 *   local client ------> OUTPUT: En_OUT redirects, with capture_local_traffic -------------> listener
 *
 * With transparency.out the service sees the peer's address, and its answers must not leave for the peer: what comes
 * from another host is known by En_DIV. What a service on this host sends passes OUTPUT first, where no socket tells;
 * so En_CT remembers our connection by its mark of connection tracking, and marks the answers.
 */
#include "capture/rules_internal.h"

#include <sys/socket.h>

static struct chain *own_chain(const struct entry_rules *x, enum rule_table table, int family, const char *suffix)
{
	return ruleset_chain(x->r, table, family, ruleset_format(x->r, "%s_%s", x->name, suffix));
}

static void redirect_peers(const struct entry_rules *x)
{
	struct rule redirect = { .tcp = true, .verdict = VERDICT_REDIRECT, .port = x->listen_port };
	struct chain *pre = own_chain(x, TABLE_NAT, entry_family(x), "PRE");

	entry_chain_fill(x, &(struct entry_chain){ .chain = pre,
						   .has_cgroups = true,
						   .ports_are_local = true,
						   .foreign_sources = !x->n->capture_local_traffic,
						   .verdict = redirect });
	entry_jump_in(x, ruleset_hook(x->r, TABLE_NAT, HOOK_PREROUTING), pre, false);
}

static void redirect_local(const struct entry_rules *x)
{
	struct rule redirect = { .tcp = true, .verdict = VERDICT_REDIRECT, .port = x->listen_port };
	struct chain *out = own_chain(x, TABLE_NAT, entry_family(x), "OUT");

	entry_chain_fill(x, &(struct entry_chain){
				    .chain = out, .has_cgroups = true, .ports_are_local = true, .verdict = redirect });
	entry_jump(x, ruleset_hook(x->r, TABLE_NAT, HOOK_OUTPUT), out);
}

static void tproxy_peers(const struct entry_rules *x)
{
	struct chain *tp = entry_tproxy(x, false);
	struct chain *fwd = own_chain(x, TABLE_MANGLE, entry_family(x), "FWD");
	struct rule jump = { .verdict = VERDICT_JUMP, .chain = tp->name };

	entry_chain_fill(x, &(struct entry_chain){ .chain = fwd,
						   .has_cgroups = true,
						   .ports_are_local = true,
						   .foreign_sources = true,
						   .verdict = jump });
	entry_jump_in(x, ruleset_hook(x->r, TABLE_MANGLE, HOOK_PREROUTING), fwd, true);
}

static void divert_local_answers(const struct entry_rules *x)
{
	struct chain *from = ruleset_hook(x->r, TABLE_MANGLE, HOOK_OUTPUT);
	struct chain *c = own_chain(x, TABLE_MANGLE, entry_family(x), "CT");
	struct rule remember = {
		.tcp = true, .verdict = VERDICT_SET_CT_MARK, .value = x->mark, .mask = x->r->mark_mask
	};
	struct rule mark = { .tcp = true, .verdict = VERDICT_SET_MARK, .value = x->mark, .mask = x->r->mark_mask };
	struct match reply = { .kind = MATCH_CT_REPLY };
	struct match original = { .kind = MATCH_CT_REPLY, .negated = true };
	struct match foreign = { .kind = MATCH_SRC_TYPE, .value = ADDRESS_LOCAL, .negated = true };
	struct match remembered = { .kind = MATCH_CT_MARK, .value = x->mark, .mask = x->r->mark_mask };

	chain_add(c, rule_with(rule_with(remember, original), foreign));
	chain_add(c, rule_with(rule_with(mark, reply), remembered));
	entry_jump(x, from, c);
	chain_add(from, rule_with((struct rule){ .verdict = VERDICT_RETURN }, match_mark(x->r, x->mark)));
}

void egress_rules(const struct entry_rules *x)
{
	bool tproxy = x->n != NULL && x->conf->transparency.in;

	if (x->conf->transparency.out) {
		entry_divert_replies(x);
		divert_local_answers(x);
	} else if (tproxy) {
		entry_divert_replies(x);
	}
	if (tproxy)
		tproxy_peers(x);
	else if (x->n != NULL)
		redirect_peers(x);
	if (x->n != NULL && x->n->capture_local_traffic)
		redirect_local(x);
}

static bool has_hosts(const struct netfilter_conf *n)
{
	for (size_t i = 0; i < n->capture_dst_count; i++) {
		if (n->capture_dst[i].host != NULL || n->capture_dst[i].ipset != NULL)
			return true;
	}
	return false;
}

/* FORWARD knows no cgroups: where the entry has some, it takes nothing that is forwarded. */
void egress_rejects(const struct entry_rules *x, int family)
{
	struct rule reject = { .tcp = true, .verdict = VERDICT_REJECT };
	struct chain *c = own_chain(x, TABLE_FILTER, family, "RIN");

	entry_chain_fill(x, &(struct entry_chain){ .chain = c,
						   .has_cgroups = true,
						   .ports_are_local = true,
						   .foreign_sources = !x->n->capture_local_traffic,
						   .verdict = reject });
	entry_jump_in(x, ruleset_hook(x->r, TABLE_FILTER, HOOK_INPUT), c, false);
	if (has_hosts(x->n) && x->n->capture_cgroup.count == 0) {
		c = own_chain(x, TABLE_FILTER, family, "RFWD");
		entry_chain_fill(x, &(struct entry_chain){ .chain = c, .hosts_only = true, .verdict = reject });
		entry_jump_in(x, ruleset_hook(x->r, TABLE_FILTER, HOOK_FORWARD), c, false);
	}
	if (x->n->capture_local_traffic) {
		c = own_chain(x, TABLE_FILTER, family, "ROUT");
		entry_chain_fill(x,
				 &(struct entry_chain){
					 .chain = c, .has_cgroups = true, .ports_are_local = true, .verdict = reject });
		entry_jump(x, ruleset_hook(x->r, TABLE_FILTER, HOOK_OUTPUT), c);
	}
}
