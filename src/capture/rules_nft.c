/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rules_nft - a ruleset as commands of nftables, one per line.
 *
 * All is in one table of family inet, so that a transaction replaces it as a whole; what takes frames out of a bridge
 * is in one of family bridge, in the same transaction. Facts about nft 1.0.6 that the
 * text keeps to: in an output chain of type nat a priority is a number; ";" stands before "}" on one line; tproxy and
 * redirect need a match of the transport protocol in their own rule; a table with the owner flag is opened with the
 * flag each time.
 */
#include "capture/rules.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "capture/rules_internal.h"

#define REFUSED_ITEMS_MAX 65535

/* Before iptables and Docker, which are at -100. */
#define NAT_PRIORITY "-105"

/* Where ebtables has its table nat. */
#define BRIDGE_PRIORITY "-300"

static void print_lower(const char *name, struct buf *out)
{
	for (; *name != '\0'; name++) {
		char c = (char)tolower((unsigned char)*name);

		buf_append(out, &c, 1);
	}
}

static void print_chain_name(const struct ruleset *r, const char *name, struct buf *out)
{
	buf_append_str(out, r->nft_prefix);
	print_lower(name, out);
}

static unsigned depth_of(const char *path)
{
	unsigned depth = 1;

	for (; *path != '\0'; path++)
		depth += *path == '/';
	return depth;
}

static const char *equals(const struct match *m)
{
	return m->negated ? "!= " : "";
}

static void print_mark(const char *what, const struct match *m, struct buf *out)
{
	if (m->mask == UINT32_MAX)
		buf_format(out, "%s %s 0x%08x ", what, m->negated ? "!=" : "==", m->value);
	else
		buf_format(out, "%s & 0x%08x %s 0x%08x ", what, m->mask, m->negated ? "!=" : "==", m->value);
}

static void print_set_match(const struct ruleset *r, const struct match *m, struct buf *out)
{
	static const char *const keys[] = {
		[SET_PORTS] = "tcp dport",
		[SET_IPV4] = "ip daddr . tcp dport",
		[SET_IPV6] = "ip6 daddr . tcp dport",
		[SET_REFUSED4] = "ip daddr . tcp dport",
		[SET_REFUSED6] = "ip6 daddr . tcp dport",
	};

	buf_format(out, "%s @", keys[ruleset_find_set(r, m->text)->kind]);
	print_lower(m->text, out);
	buf_append_str(out, " ");
}

static void print_match(const struct ruleset *r, const struct match *m, struct buf *out)
{
	static const char *const types[] = { [ADDRESS_LOCAL] = "local", [ADDRESS_UNICAST] = "unicast" };

	switch (m->kind) {
	case MATCH_MARK:
		print_mark("meta mark", m, out);
		break;
	case MATCH_CT_MARK:
		print_mark("ct mark", m, out);
		break;
	case MATCH_CT_REPLY:
		buf_format(out, "ct direction %s ", m->negated ? "original" : "reply");
		break;
	case MATCH_SRC_TYPE:
		buf_format(out, "fib saddr type %s%s ", equals(m), types[m->value]);
		break;
	case MATCH_DST_TYPE:
		buf_format(out, "fib daddr type %s%s ", equals(m), types[m->value]);
		break;
	case MATCH_DST:
		buf_format(out, "%s daddr %s%s ", strchr(m->text, ':') != NULL ? "ip6" : "ip", equals(m), m->text);
		break;
	case MATCH_DPORT:
		buf_format(out, m->first == m->last ? "tcp dport %s%u " : "tcp dport %s%u-%u ", equals(m), m->first,
			   m->last);
		break;
	case MATCH_SRC:
		buf_format(out, "%s saddr %s ", strchr(m->text, ':') != NULL ? "ip6" : "ip", m->text);
		break;
	case MATCH_SPORT:
		buf_format(out, m->first == m->last ? "tcp sport %u " : "tcp sport %u-%u ", m->first, m->last);
		break;
	case MATCH_SET:
	case MATCH_REFUSED:
		print_set_match(r, m, out);
		break;
	case MATCH_IPSET: /* of iptables only: rules_need_iptables() */
		break;
	case MATCH_IIF:
		buf_format(out, "iifname %s\"%s\" ", equals(m), m->text);
		break;
	case MATCH_OIF:
		buf_format(out, "oifname %s\"%s\" ", equals(m), m->text);
		break;
	case MATCH_CGROUP:
		buf_format(out, "socket cgroupv2 level %u \"%s%s\" ", depth_of(m->text), r->cgroup_below, m->text);
		break;
	case MATCH_UID:
		buf_format(out, "meta skuid %s%u ", equals(m), m->value);
		break;
	case MATCH_GID:
		buf_format(out, "meta skgid %s%u ", equals(m), m->value);
		break;
	case MATCH_SOCKET_TRANSPARENT: /* a listener on any address would take what is for its port on other hosts */
		buf_append_str(out, "socket transparent 1 socket wildcard 0 ");
		break;
	case MATCH_SYN:
		buf_append_str(out, "tcp flags & (fin | syn | rst | ack) == syn ");
		break;
	}
}

static void print_set_mark(const char *what, const struct rule *rule, struct buf *out)
{
	if (rule->mask == UINT32_MAX)
		buf_format(out, "%s set 0x%08x ", what, rule->value);
	else
		buf_format(out, "%s set %s & 0x%08x | 0x%08x ", what, what, ~rule->mask, rule->value);
}

static void print_verdict(const struct ruleset *r, const struct rule *rule, struct buf *out)
{
	switch (rule->verdict) {
	case VERDICT_RETURN:
		buf_append_str(out, "return");
		break;
	case VERDICT_DROP:
		buf_append_str(out, "drop");
		break;
	case VERDICT_REJECT:
		buf_append_str(out, "reject with tcp reset");
		break;
	case VERDICT_REDIRECT:
		buf_format(out, "redirect to :%u", rule->port);
		break;
	case VERDICT_TPROXY:
		print_set_mark("meta mark", rule, out);
		buf_format(out, "tproxy %s to %s:%u accept", rule->family == AF_INET ? "ip" : "ip6",
			   !rule->loopback	     ? ""
			   : rule->family == AF_INET ? "127.0.0.1"
						     : "[::1]",
			   rule->port);
		break;
	case VERDICT_SET_MARK:
		print_set_mark("meta mark", rule, out);
		break;
	case VERDICT_SET_CT_MARK:
		print_set_mark("ct mark", rule, out);
		break;
	case VERDICT_JUMP:
		buf_append_str(out, "jump ");
		print_chain_name(r, rule->chain, out);
		break;
	case VERDICT_QUEUE:
		buf_format(out, "queue num %u", rule->value);
		break;
	case VERDICT_PULL:
		buf_format(out, "ether daddr set %s meta pkttype set host accept", rule->text);
		break;
	}
}

static bool names_protocol(const struct rule *rule)
{
	for (size_t i = 0; i < rule->match_count; i++) {
		enum match_kind kind = rule->matches[i].kind;

		if (kind == MATCH_DPORT || kind == MATCH_SPORT || kind == MATCH_SET || kind == MATCH_REFUSED ||
		    kind == MATCH_SYN)
			return true;
	}
	return false;
}

static bool names_family(const struct rule *rule)
{
	for (size_t i = 0; i < rule->match_count; i++) {
		enum match_kind kind = rule->matches[i].kind;

		if (kind == MATCH_DST || kind == MATCH_SET || kind == MATCH_REFUSED) /* no set of ports has a family */
			return true;
	}
	return false;
}

static const char *family_of(const struct chain *c)
{
	return c->table == TABLE_BRIDGE ? "bridge" : "inet";
}

/* What a rule of all families needs to say before it names addresses or ports. */
static void print_family(const struct chain *c, const struct rule *rule, struct buf *out)
{
	if (rule->family == AF_UNSPEC)
		return;
	if (c->table == TABLE_BRIDGE)
		buf_format(out, "ether type %s ", rule->family == AF_INET ? "ip" : "ip6");
	else if (!names_family(rule))
		buf_format(out, "meta nfproto %s ", rule->family == AF_INET ? "ipv4" : "ipv6");
}

static void print_rule(const struct ruleset *r, const struct chain *c, const struct rule *rule, struct buf *out)
{
	struct buf text = { 0 };

	buf_format(&text, "add rule %s %s ", family_of(c), r->table);
	print_chain_name(r, c->name, &text);
	buf_append_str(&text, " ");
	print_family(c, rule, &text);
	if (rule->tcp && !names_protocol(rule))
		buf_append_str(&text, "meta l4proto tcp ");
	for (size_t i = 0; i < rule->match_count; i++)
		print_match(r, &rule->matches[i], &text);
	print_verdict(r, rule, &text);
	while (text.len > 0 && text.data[text.len - 1] == ' ')
		text.len--;
	buf_append_bytes(out, buf_bytes(&text));
	buf_append_str(out, "\n");
	buf_release(&text);
}

static const char *hook_text(const struct chain *c)
{
	static const char *const hooks[] = { [HOOK_PREROUTING] = "prerouting",
					     [HOOK_INPUT] = "input",
					     [HOOK_FORWARD] = "forward",
					     [HOOK_OUTPUT] = "output",
					     [HOOK_POSTROUTING] = "postrouting" };

	return hooks[c->hook];
}

static void print_chain(const struct ruleset *r, const struct chain *c, struct buf *out)
{
	const char *type = c->table == TABLE_NAT				? "nat"
			   : c->table == TABLE_MANGLE && c->hook == HOOK_OUTPUT ? "route"
										: "filter";
	const char *priority = c->table == TABLE_NAT	  ? NAT_PRIORITY
			       : c->table == TABLE_MANGLE ? "mangle"
			       : c->table == TABLE_BRIDGE ? BRIDGE_PRIORITY
							  : "filter";

	buf_format(out, "add chain %s %s ", family_of(c), r->table);
	print_chain_name(r, c->name, out);
	if (c->hook != HOOK_NONE)
		buf_format(out, " { type %s hook %s priority %s; policy accept; }", type, hook_text(c), priority);
	buf_append_str(out, "\n");
}

static void print_item(const struct dst_conf *item, struct buf *out)
{
	if (item->host != NULL)
		buf_format(out, "%s . ", item->host);
	if (item->port == 0)
		buf_append_str(out, "0-65535");
	else if (item->port == item->port_end)
		buf_format(out, "%u", item->port);
	else
		buf_format(out, "%u-%u", item->port, item->port_end);
}

static void print_set(const struct ruleset *r, const struct set *s, struct buf *out)
{
	static const char *const types[] = {
		[SET_PORTS] = "type inet_service; flags interval;",
		[SET_IPV4] = "type ipv4_addr . inet_service; flags interval;",
		[SET_IPV6] = "type ipv6_addr . inet_service; flags interval;",
		[SET_REFUSED4] = "type ipv4_addr . inet_service; flags timeout;",
		[SET_REFUSED6] = "type ipv6_addr . inet_service; flags timeout;",
	};

	buf_format(out, "add set inet %s ", r->table);
	print_lower(s->name, out);
	buf_format(out, " { %s", types[s->kind]);
	if (s->kind == SET_REFUSED4 || s->kind == SET_REFUSED6)
		buf_format(out, " timeout %ums; size %u;", s->timeout_ms, REFUSED_ITEMS_MAX);
	for (size_t i = 0; i < s->count; i++) {
		buf_append_str(out, i == 0 ? " elements = { " : ", ");
		print_item(&s->items[i], out);
	}
	buf_append_str(out, s->count > 0 ? " }; }\n" : " }\n");
}

static void print_table(const struct ruleset *r, const char *family, bool owned, struct buf *out)
{
	const char *flags = owned ? " { flags owner; }" : "";

	buf_format(out, "add table %s %s%s\ndelete table %s %s\nadd table %s %s%s\n", family, r->table, flags, family,
		   r->table, family, r->table, flags);
}

/* Chains that are jumped into come before the hooks: the table is never half made, but read more easily. */
static void print_all(const struct ruleset *r, bool owned, struct buf *out)
{
	print_table(r, "inet", owned, out);
	if (rules_take_bridged(r))
		print_table(r, "bridge", owned, out);
	for (size_t i = 0; i < r->set_count; i++) {
		if (r->sets[i]->count > 0 || r->sets[i]->kind >= SET_REFUSED4)
			print_set(r, r->sets[i], out);
	}
	for (size_t i = 0; i < r->chain_count; i++)
		print_chain(r, r->chains[i], out);
	for (size_t i = 0; i < r->chain_count; i++) {
		for (size_t j = 0; j < r->chains[i]->count; j++)
			print_rule(r, r->chains[i], &r->chains[i]->rules[j], out);
	}
}

void rules_print_nft(const struct ruleset *r, bool owned, struct buf *out)
{
	print_all(r, owned, out);
}

bool rules_need_nft(const struct ruleset *r)
{
	for (size_t i = 0; i < r->set_count; i++) {
		if (r->sets[i]->kind >= SET_REFUSED4)
			return true;
	}
	return false;
}

void rules_print_nft_removal(const struct ruleset *r, struct buf *out)
{
	buf_format(out, "add table inet %s\ndelete table inet %s\n", r->table, r->table);
	if (rules_take_bridged(r))
		buf_format(out, "add table bridge %s\ndelete table bridge %s\n", r->table, r->table);
}

void rules_print_nft_block(const struct ruleset *r, bool owned, struct buf *out)
{
	print_all(r->block, owned, out);
}
