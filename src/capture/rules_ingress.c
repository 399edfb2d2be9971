/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rules_ingress - connections of this host, or that it forwards, come to an ingress.
 *
 * TPROXY works in PREROUTING only. A packet of this host gets a mark in OUTPUT, which routes it to the loopback device,
 * and from there it comes in again:
 *
 *   application --> OUTPUT: In_OUT marks --> lo --> PREROUTING: In_PRE --> In_TP --> listener
 *   network ------------------------------------> PREROUTING: In_FWD --> In_TP --> listener
 *
 * With open_ports "connect_first", first packets go to a queue. They come back with one of two marks and pass
 * PREROUTING again: accepted ones go to In_TP, refused ones on to the filter, which answers with a reset.
 */
#include "capture/rules_internal.h"

#include <sys/socket.h>

static bool is_local(const struct netfilter_conf *n)
{
	return n->scope != SCOPE_FORWARD;
}

static bool is_forward(const struct netfilter_conf *n)
{
	return n->scope != SCOPE_LOCAL;
}

static bool asks_first(const struct entry_rules *x)
{
	return x->n->open_ports == OPEN_PORTS_CONNECT_FIRST;
}

static struct chain *own_chain(const struct entry_rules *x, enum rule_table table, int family, const char *suffix)
{
	return ruleset_chain(x->r, table, family, ruleset_format(x->r, "%s_%s", x->name, suffix));
}

static struct rule queue_syn(const struct entry_rules *x)
{
	struct rule queue = { .tcp = true,
			      .verdict = VERDICT_QUEUE,
			      .value = capture_queue(x->interception, x->conf->index) };

	return rule_with(queue, (struct match){ .kind = MATCH_SYN });
}

/* Where the destinations of forwarded packets lead. */
static struct chain *hand_over(const struct entry_rules *x)
{
	struct chain *tp = entry_tproxy(x, true);
	struct chain *q;

	if (!asks_first(x))
		return tp;
	q = own_chain(x, TABLE_MANGLE, entry_family(x), "Q");
	chain_add(q, queue_syn(x));
	chain_add(q, (struct rule){ .verdict = VERDICT_JUMP, .chain = tp->name });
	return q;
}

static void tproxy_out(const struct entry_rules *x)
{
	struct chain *from = ruleset_hook(x->r, TABLE_MANGLE, HOOK_OUTPUT);
	struct chain *out = own_chain(x, TABLE_MANGLE, entry_family(x), "OUT");
	struct rule mark = { .verdict = VERDICT_SET_MARK, .value = x->mark, .mask = x->r->mark_mask };

	entry_chain_fill(x, &(struct entry_chain){ .chain = out,
						   .has_cgroups = true,
						   .local_sources = true,
						   .others_only = true,
						   .verdict = mark });
	entry_jump(x, from, out);
	/* The entries behind must not mark it again. */
	chain_add(from, rule_with((struct rule){ .verdict = VERDICT_RETURN }, match_mark(x->r, x->mark)));
}

/* Packets with our mark, which come from OUTPUT or from the queue. */
static void tproxy_marked(const struct entry_rules *x)
{
	struct chain *from = ruleset_hook(x->r, TABLE_MANGLE, HOOK_PREROUTING);
	struct chain *pre = own_chain(x, TABLE_MANGLE, entry_family(x), "PRE");
	struct chain *tp = entry_tproxy(x, true);
	struct match loopback = { .kind = MATCH_IIF, .text = "lo" };
	struct rule to_listener = { .verdict = VERDICT_JUMP, .chain = tp->name };

	if (asks_first(x)) {
		uint32_t accepted = capture_mark_accepted(x->interception, x->conf->index);

		chain_add(pre, rule_with(to_listener, match_mark(x->r, accepted)));
		chain_add(pre, rule_with(rule_with(queue_syn(x), loopback), match_mark(x->r, x->mark)));
	}
	chain_add(pre, rule_with(rule_with(to_listener, loopback), match_mark(x->r, x->mark)));
	chain_add(pre, rule_with((struct rule){ .verdict = VERDICT_DROP }, match_mark(x->r, x->mark)));
	entry_jump(x, from, pre);
}

/*
 * Those that the service has refused must not be captured again, nor leave. Forwarded ones are delivered here, as
 * FORWARD sees nothing where this host does not forward; a rule there is for when the policy rule has been taken away.
 */
static void reject_refused(const struct entry_rules *x)
{
	uint32_t mark = capture_mark_refused(x->interception, x->conf->index);
	struct match refused = match_mark(x->r, mark);
	struct rule reject = { .family = entry_family(x), .tcp = true, .verdict = VERDICT_REJECT };

	chain_add(ruleset_hook(x->r, TABLE_MANGLE, HOOK_PREROUTING),
		  rule_with((struct rule){ .verdict = VERDICT_RETURN }, refused));
	chain_add(ruleset_hook(x->r, TABLE_FILTER, HOOK_INPUT), rule_with(reject, refused));
	chain_add(ruleset_hook(x->r, TABLE_FILTER, HOOK_FORWARD), rule_with(reject, refused));
	if (is_forward(x->n))
		entry_routes_to(x, mark, capture_table_refused(x->interception, x->conf->index));
}

static void tproxy_forwarded(const struct entry_rules *x)
{
	struct chain *from = ruleset_hook(x->r, TABLE_MANGLE, HOOK_PREROUTING);
	struct chain *to = hand_over(x);
	struct chain *fwd = own_chain(x, TABLE_MANGLE, entry_family(x), "FWD");
	struct rule jump = { .verdict = VERDICT_JUMP, .chain = to->name };

	entry_chain_fill(x, &(struct entry_chain){ .chain = fwd, .others_only = true, .verdict = jump });
	entry_jump_in(x, from, fwd, true);
}

static void redirects(const struct entry_rules *x)
{
	struct rule redirect = { .tcp = true, .verdict = VERDICT_REDIRECT, .port = x->listen_port };
	struct chain *c;

	if (is_local(x->n)) {
		c = own_chain(x, TABLE_NAT, entry_family(x), "OUT");
		entry_chain_fill(x, &(struct entry_chain){ .chain = c,
							   .has_cgroups = true,
							   .local_sources = true,
							   .others_only = true,
							   .verdict = redirect });
		entry_jump(x, ruleset_hook(x->r, TABLE_NAT, HOOK_OUTPUT), c);
	}
	if (is_forward(x->n)) {
		c = own_chain(x, TABLE_NAT, entry_family(x), "FWD");
		entry_chain_fill(x, &(struct entry_chain){ .chain = c, .others_only = true, .verdict = redirect });
		entry_jump_in(x, ruleset_hook(x->r, TABLE_NAT, HOOK_PREROUTING), c, true);
	}
}

void ingress_rules(const struct entry_rules *x)
{
	bool tproxy = x->n != NULL && x->n->method == METHOD_TPROXY;

	if (tproxy && (is_local(x->n) || asks_first(x)))
		tproxy_marked(x);
	if (tproxy && asks_first(x))
		reject_refused(x);
	if (x->conf->transparency.out || (tproxy && is_forward(x->n)))
		entry_divert_replies(x);
	if (tproxy && is_local(x->n))
		tproxy_out(x);
	if (tproxy && is_forward(x->n))
		tproxy_forwarded(x);
	if (x->n != NULL && !tproxy)
		redirects(x);
}

void ingress_rejects(const struct entry_rules *x, int family)
{
	struct rule reject = { .tcp = true, .verdict = VERDICT_REJECT };
	struct chain *c;

	if (is_local(x->n)) {
		c = own_chain(x, TABLE_FILTER, family, "ROUT");
		entry_chain_fill(x, &(struct entry_chain){ .chain = c,
							   .has_cgroups = true,
							   .local_sources = true,
							   .others_only = true,
							   .verdict = reject });
		entry_jump(x, ruleset_hook(x->r, TABLE_FILTER, HOOK_OUTPUT), c);
	}
	if (is_forward(x->n)) {
		c = own_chain(x, TABLE_FILTER, family, "RFWD");
		entry_chain_fill(x, &(struct entry_chain){ .chain = c, .others_only = true, .verdict = reject });
		entry_jump_in(x, ruleset_hook(x->r, TABLE_FILTER, HOOK_FORWARD), c, false);
	}
}
