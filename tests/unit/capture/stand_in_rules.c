/* SPDX-License-Identifier: Apache-2.0 */
/* stand_in_rules - a small ruleset for the guard's tests: 192.0.2.0/24 and 2001:db8::/32, port 8080, to port 50000. */
#include "stand_in_rules.h"

#include <stdlib.h>
#include <string.h>

struct ruleset {
	char *table;
	char *instance;
	bool broken;
	struct policy_route routes[2];
};

struct ruleset *stand_in_rules(const char *instance, uint32_t mark, bool broken)
{
	struct ruleset *r = mem_new_of(struct ruleset);

	r->instance = mem_strdup(instance);
	r->table = strcmp(instance, "0") == 0 ? mem_strdup("tng") : mem_format("tng_%s", instance);
	r->broken = broken;
	for (size_t i = 0; i < 2; i++)
		r->routes[i] = (struct policy_route){ .family = i == 0 ? AF_INET : AF_INET6,
						      .mark = mark,
						      .mask = 0xffffff,
						      .table = mark - CAPTURE_MARK_FIRST + CAPTURE_TABLE_FIRST,
						      .protocol = 235 };
	return r;
}

void rules_free(struct ruleset *r)
{
	if (r == NULL)
		return;
	free(r->instance);
	free(r->table);
	free(r);
}

bool rules_need_iptables(const struct ruleset *r)
{
	(void)r;
	return false;
}

const struct policy_route *rules_routes(const struct ruleset *r, size_t *count)
{
	*count = 2;
	return r->routes;
}

static void begin_table(const struct ruleset *r, bool owned, struct buf *out)
{
	buf_format(out, "add table inet %s%s\ndelete table inet %s\ntable inet %s {\n", r->table,
		   owned ? " { flags owner; }" : "", r->table, r->table);
	if (owned)
		buf_append_str(out, " flags owner;\n");
}

void rules_print_nft(const struct ruleset *r, bool owned, struct buf *out)
{
	begin_table(r, owned, out);
	buf_format(out,
		   " chain out {\n  type route hook output priority mangle; policy accept;\n"
		   "  ip daddr 192.0.2.0/24 tcp dport 8080 meta mark set %u accept\n"
		   "  ip6 daddr 2001:db8::/32 tcp dport 8080 meta mark set %u accept\n }\n",
		   r->routes[0].mark, r->routes[0].mark);
	buf_format(out,
		   " chain pre {\n  type filter hook prerouting priority mangle; policy accept;\n"
		   "  meta mark %u meta l4proto tcp tproxy to :50000 accept\n  meta mark %u drop\n%s }\n}\n",
		   r->routes[0].mark, r->routes[0].mark, r->broken ? "  jump nowhere\n" : "");
}

void rules_print_nft_removal(const struct ruleset *r, struct buf *out)
{
	buf_format(out, "add table inet %s\ndelete table inet %s\n", r->table, r->table);
}

void rules_print_nft_block(const struct ruleset *r, bool owned, struct buf *out)
{
	begin_table(r, owned, out);
	buf_append_str(out, " chain out {\n  type filter hook output priority mangle; policy accept;\n"
			    "  ip daddr 192.0.2.0/24 tcp dport 8080 drop\n"
			    "  ip6 daddr 2001:db8::/32 tcp dport 8080 drop\n }\n}\n");
}

static const char *network(int family)
{
	return family == AF_INET ? "192.0.2.0/24" : "2001:db8::/32";
}

void rules_print_iptables(const struct ruleset *r, int family, struct buf *out)
{
	const char *i = r->instance;
	const char *at = family == AF_INET ? "127.0.0.1" : "::1";

	buf_format(out, "*mangle\n:TNG_%s_OUT - [0:0]\n:TNG_%s_PRE - [0:0]\n", i, i);
	buf_format(out, "-A TNG_%s_OUT -d %s -p tcp -m tcp --dport 8080 -m comment --comment \"tng:%s\" "
			"-j MARK --set-xmark %u/0xffffff\n", i, network(family), i, r->routes[0].mark);
	buf_format(out, "-A TNG_%s_PRE -p tcp -m mark --mark %u/0xffffff -m comment --comment \"tng:%s\" "
			"-j TPROXY --on-port 50000 --on-ip %s\n", i, r->routes[0].mark, i, at);
	if (r->broken)
		buf_format(out, "-A TNG_%s_PRE -j NOWHERE\n", i);
	buf_append_str(out, "COMMIT\n");
}

void rules_print_iptables_jumps(const struct ruleset *r, int family, struct buf *out)
{
	(void)family;
	buf_format(out, "mangle OUTPUT 1 -p tcp -m comment --comment tng:%s -j TNG_%s_OUT\n", r->instance, r->instance);
	buf_format(out, "mangle PREROUTING 1 -p tcp -m comment --comment tng:%s -j TNG_%s_PRE\n", r->instance, r->instance);
}

void rules_print_iptables_block(const struct ruleset *r, int family, struct buf *out)
{
	const char *i = r->instance;

	buf_format(out, "*mangle\n:TNG_%s_OUT - [0:0]\n:TNG_%s_PRE - [0:0]\n", i, i);
	buf_format(out, "-A TNG_%s_OUT -d %s -p tcp -m tcp --dport 8080 -m comment --comment \"tng:%s\" -j DROP\nCOMMIT\n", i,
		   network(family), i);
}
