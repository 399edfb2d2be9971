/* SPDX-License-Identifier: Apache-2.0 */
/* What is captured of what passes through a bridge, as rules of nftables and of ebtables. */
#include "capture/rules.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "capture/bridges.h"
#include "capture/ebtables.h"

#define IN(netfilter) "{'netfilter':{'listen_port':50000,'scope':'forward'," netfilter "},'no_ra':true}"
#define PORT "'capture_dst':{'port':80},'ipv6':'capture'"

static struct bridge_port two_ports[] = { { "eth0" }, { "eth1" } };
static struct bridge_port one_port[] = { { "veth7" } };
static struct bridge bridges[] = {
	{ .name = "docker0", .address = "02:00:00:00:00:07", .ports = one_port, .port_count = 1 },
	{ .name = "br0", .address = "02:00:00:00:00:01", .ports = two_ports, .port_count = 2 },
};
static const struct bridge_list list = { bridges, 2 };

/* e may be NULL: then it must succeed. */
static struct ruleset *build(const char *ingresses, const char *egresses, struct err *e)
{
	char *text = mem_format("{'add_ingress':[%s],'add_egress':[%s]}", ingresses, egresses);
	struct captured_entry entries[4];
	struct config_report report;
	struct ruleset *r;
	struct config *c;
	struct err own;

	for (char *at = text; *at != '\0'; at++)
		*at = *at == '\'' ? '"' : *at;
	c = config_load(bytes_str(text), "f", &report);
	if (c == NULL)
		fail_msg("%s: %s", text, report.errors.items[0]);
	for (size_t i = 0; i < c->entry_count; i++)
		entries[i] = (struct captured_entry){ &c->entries[i], (uint16_t)(50000 + i) };
	r = rules_build_bridged(&c->interception, entries, c->entry_count, false, &list, e == NULL ? &own : e);
	if (e == NULL && r == NULL)
		fail_msg("%s: %s", text, own.text);
	config_report_release(&report);
	config_free(c);
	free(text);
	return r;
}

/* Lines that have "bridge" in front of them, or all of ebtables. */
static char *bridge_lines(const struct ruleset *r)
{
	struct buf all = { 0 };
	struct buf found = { 0 };
	char *rest;

	rules_print_nft(r, true, &all);
	rest = (char *)(uintptr_t)buf_str(&all);
	for (char *line = strsep(&rest, "\n"); line != NULL; line = strsep(&rest, "\n")) {
		if (strstr(line, " bridge ") != NULL && strstr(line, " table ") == NULL)
			buf_format(&found, "%s\n", line);
	}
	buf_release(&all);
	return found.len == 0 ? mem_strdup("") : buf_take_str(&found);
}

static void what_passes_is_pulled_out_and_so_are_answers_to_borrowed_addresses(void **state)
{
	struct ruleset *r = build(IN(PORT ",'in_ifname':['eth1'],'transparency':{'in':true,'out':true}"), "", NULL);
	char *nft = bridge_lines(r);
	struct buf eb = { 0 };

	(void)state;
	rules_print_ebtables(r, &eb);
	assert_string_equal(
		nft,
		"add chain bridge tng i0_br1\n"
		"add chain bridge tng bridge_pre { type filter hook prerouting priority -300; policy accept; }\n"
		"add chain bridge tng i0_re1\n"
		"add rule bridge tng i0_br1 ether type ip tcp dport 80 ether daddr set 02:00:00:00:00:01 meta pkttype "
		"set host accept\n"
		"add rule bridge tng i0_br1 ether type ip6 tcp dport 80 ether daddr set 02:00:00:00:00:01 meta pkttype "
		"set host accept\n"
		"add rule bridge tng bridge_pre iifname \"eth1\" jump i0_br1\n"
		"add rule bridge tng bridge_pre iifname \"eth0\" jump i0_re1\n"
		"add rule bridge tng i0_re1 ether type ip tcp sport 80 ether daddr set 02:00:00:00:00:01 meta pkttype "
		"set host accept\n"
		"add rule bridge tng i0_re1 ether type ip6 tcp sport 80 ether daddr set 02:00:00:00:00:01 meta pkttype "
		"set host accept\n");
	assert_string_equal(
		buf_str(&eb),
		":TNG_0_BRIDGE_PRE\n:TNG_0_I0_BR1\n:TNG_0_I0_RE1\n"
		"-A TNG_0_I0_BR1 -p IPv4 --ip-proto tcp --ip-dport 80 -j redirect --redirect-target ACCEPT\n"
		"-A TNG_0_I0_BR1 -p IPv6 --ip6-proto tcp --ip6-dport 80 -j redirect --redirect-target ACCEPT\n"
		"-A TNG_0_I0_RE1 -p IPv4 --ip-proto tcp --ip-sport 80 -j redirect --redirect-target ACCEPT\n"
		"-A TNG_0_I0_RE1 -p IPv6 --ip6-proto tcp --ip6-sport 80 -j redirect --redirect-target ACCEPT\n"
		"-A TNG_0_BRIDGE_PRE -i eth1 -j TNG_0_I0_BR1\n"
		"-A TNG_0_BRIDGE_PRE -i eth0 -j TNG_0_I0_RE1\n");
	buf_release(&eb);
	free(nft);
	rules_free(r);
}

static void other_rules_see_the_bridge_where_its_ports_are_named_and_see_it_once(void **state)
{
	struct ruleset *r = build(IN(PORT ",'in_ifname':['eth0','eth1','wan0']"), "", NULL);
	struct buf nft = { 0 };
	const char *jump;

	(void)state;
	rules_print_nft(r, true, &nft);
	jump = strstr(buf_str(&nft), "mangle_pre meta l4proto tcp iifname \"br0\"");
	assert_non_null(jump);
	assert_null(strstr(jump + 1, "mangle_pre meta l4proto tcp iifname \"br0\""));
	assert_non_null(strstr(buf_str(&nft), "mangle_pre meta l4proto tcp iifname \"wan0\""));
	assert_null(strstr(buf_str(&nft), "l4proto tcp iifname \"eth0\""));
	buf_release(&nft);
	rules_free(r);
}

static void excluded_destinations_stay_in_the_bridge(void **state)
{
	struct ruleset *r =
		build(IN("'capture_dst':[{'host':'10.0.0.0/8'},{'host':'fd00::/8','port':81,'port_end':90}],"
			 "'exclude_dst':[{'host':'10.9.0.0/16','port':80}]"),
		      "", NULL);
	struct buf eb = { 0 };

	(void)state;
	rules_print_ebtables(r, &eb);
	assert_non_null(
		strstr(buf_str(&eb),
		       "-A TNG_0_I0_BR1 -p IPv4 --ip-proto tcp --ip-dst 10.9.0.0/16 --ip-dport 80 -j RETURN\n"
		       "-A TNG_0_I0_BR1 -p IPv4 --ip-proto tcp --ip-dst 10.0.0.0/8 -j redirect --redirect-target "
		       "ACCEPT\n"
		       "-A TNG_0_I0_BR1 -p IPv6 --ip6-proto tcp --ip6-dst fd00::/8 --ip6-dport 81:90 -j redirect "
		       "--redirect-target ACCEPT\n"));
	buf_release(&eb);
	rules_free(r);
}

static void what_this_host_sends_or_gets_itself_needs_no_bridge(void **state)
{
	static const char *const ingresses[] = {
		"{'netfilter':{'listen_port':50000," PORT "},'no_ra':true}", /* scope local */
		IN(PORT ",'in_ifname':['wan0']"),
		IN(PORT ",'in_ifname':['veth7']"), /* one port: nothing passes through */
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(ingresses); i++) {
		struct ruleset *r = build(ingresses[i], "", NULL);
		char *nft = bridge_lines(r);
		struct buf eb = { 0 };

		rules_print_ebtables(r, &eb);
		assert_string_equal(nft, "");
		assert_int_equal(eb.len, 0);
		assert_false(rules_take_bridged(r));
		free(nft);
		rules_free(r);
	}
}

static void an_egress_takes_of_what_passes_what_it_names(void **state)
{
	struct ruleset *r = build(
		"", "{'netfilter':{'capture_dst':[{'port':80},{'host':'10.0.0.1','port':81}]},'no_ra':true}", NULL);
	struct buf eb = { 0 };

	(void)state;
	rules_print_ebtables(r, &eb);
	assert_non_null(strstr(buf_str(&eb), "--ip-dst 10.0.0.1/32 --ip-dport 81 -j redirect"));
	assert_null(strstr(buf_str(&eb), "dport 80"));
	buf_release(&eb);
	rules_free(r);
}

static void a_set_that_somebody_else_keeps_is_refused_at_a_bridge_and_not_elsewhere(void **state)
{
	struct err e;
	struct ruleset *r;

	(void)state;
	assert_null(build(IN("'capture_dst':{'ipset':'some'}"), "", &e));
	assert_string_equal(
		e.text,
		"add_ingress[0].netfilter: an ipset cannot be used for what passes through a bridge: name hosts, or "
		"interfaces that are not of a bridge in in_ifname");
	r = build(IN("'capture_dst':{'ipset':'some'},'in_ifname':['wan0']"), "", NULL);
	rules_free(r);
}

static void the_block_pulls_out_the_same(void **state)
{
	struct ruleset *r = build(IN(PORT), "", NULL);
	struct buf block = { 0 };

	(void)state;
	rules_print_nft_block(r, true, &block);
	assert_non_null(strstr(buf_str(&block), "add table bridge tng { flags owner; }\n"));
	assert_non_null(strstr(buf_str(&block), "i0_br1 ether type ip tcp dport 80 ether daddr set"));
	buf_release(&block);
	rules_free(r);
}

static void a_chain_tells_its_instance(void **state)
{
	static const struct {
		const char *chain;
		const char *instance;
	} cases[] = {
		{ "TNG_0_BRIDGE_PRE", "0" }, { "TNG_0_I0_BR1", "0" },
		{ "TNG_a_b_I0_RE0", "a_b" }, { "TNG__I0_RE0", NULL },
		{ "TNG_0", NULL },	     { "TNG_0_BR", NULL },
		{ "PREROUTING", NULL },	     { "OTHER_0_BRIDGE_PRE", NULL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char *instance = ebtables_instance_of(cases[i].chain);

		if (cases[i].instance == NULL)
			assert_null(instance);
		else
			assert_string_equal(instance, cases[i].instance);
		free(instance);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_passes_is_pulled_out_and_so_are_answers_to_borrowed_addresses),
		cmocka_unit_test(other_rules_see_the_bridge_where_its_ports_are_named_and_see_it_once),
		cmocka_unit_test(excluded_destinations_stay_in_the_bridge),
		cmocka_unit_test(what_this_host_sends_or_gets_itself_needs_no_bridge),
		cmocka_unit_test(an_egress_takes_of_what_passes_what_it_names),
		cmocka_unit_test(a_set_that_somebody_else_keeps_is_refused_at_a_bridge_and_not_elsewhere),
		cmocka_unit_test(the_block_pulls_out_the_same),
		cmocka_unit_test(a_chain_tells_its_instance),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
