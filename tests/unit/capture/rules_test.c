/* SPDX-License-Identifier: Apache-2.0 */
/* What a configuration comes to as rules of the kernel. */
#include "capture/rules.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define IN(netfilter) "{'netfilter':{'listen_port':50000," netfilter "},'no_ra':true}"
#define OUT(netfilter) "{'netfilter':{" netfilter "},'no_ra':true}"
#define PORT "'capture_dst':{'port':80}"

struct built {
	struct config *config;
	struct ruleset *rules;
	struct err e;
};

static struct config *load(const char *ingresses, const char *egresses, const char *interception)
{
	char *text = mem_format("{'add_ingress':[%s],'add_egress':[%s],'interception':{%s}}", ingresses, egresses,
				interception);
	struct config_report report;
	struct config *c;

	for (char *at = text; *at != '\0'; at++)
		*at = *at == '\'' ? '"' : *at;
	c = config_load(bytes_str(text), "f", &report);
	if (c == NULL)
		fail_msg("%s: %s", text, report.errors.items[0]);
	config_report_release(&report);
	free(text);
	return c;
}

static struct built build(const char *ingresses, const char *egresses, const char *interception, bool ipv6_host)
{
	struct built b = { .config = load(ingresses, egresses, interception) };
	struct captured_entry entries[8];

	for (size_t i = 0; i < b.config->entry_count; i++) {
		const struct entry_conf *conf = &b.config->entries[i];

		entries[i] = (struct captured_entry){ conf, (uint16_t)((conf->kind == ENTRY_INGRESS ? 50000 : 40000) +
								       conf->index) };
	}
	b.rules = rules_build(&b.config->interception, entries, b.config->entry_count, ipv6_host, &b.e);
	return b;
}

static void built_release(struct built *b)
{
	rules_free(b->rules);
	config_free(b->config);
}

static char *nft_of(const struct built *b)
{
	struct buf out = { 0 };

	assert_non_null(b->rules);
	rules_print_nft(b->rules, true, &out);
	return buf_take_str(&out);
}

static char *iptables_of(const struct built *b, int family)
{
	struct buf out = { 0 };

	assert_non_null(b->rules);
	rules_print_iptables(b->rules, family, &out);
	return buf_str(&out) == NULL ? NULL : buf_take_str(&out);
}

static void assert_has(const char *text, const char *line)
{
	if (strstr(text, line) == NULL)
		fail_msg("lacks: %s\n%s", line, text);
}

static void assert_lacks(const char *text, const char *word)
{
	if (strstr(text, word) != NULL)
		fail_msg("has: %s\n%s", word, text);
}

static void assert_before(const char *text, const char *first, const char *second)
{
	assert_has(text, first);
	assert_has(text, second);
	if (strstr(text, first) > strstr(text, second))
		fail_msg("%s\nstands behind\n%s\n%s", first, second, text);
}

static void an_ingress_marks_routes_and_hands_over(void **state)
{
	static const char expected[] =
		"add table inet tng { flags owner; }\n"
		"delete table inet tng\n"
		"add table inet tng { flags owner; }\n"
		"add chain inet tng mangle_pre { type filter hook prerouting priority mangle; policy accept; }\n"
		"add chain inet tng i0_pre\n"
		"add chain inet tng i0_tp\n"
		"add chain inet tng mangle_post { type filter hook postrouting priority mangle; policy accept; }\n"
		"add chain inet tng mangle_out { type route hook output priority mangle; policy accept; }\n"
		"add chain inet tng i0_out\n"
		"add rule inet tng mangle_pre meta nfproto ipv4 meta l4proto tcp jump i0_pre\n"
		"add rule inet tng i0_pre iifname \"lo\" meta mark & 0x00ffffff == 0x00000236 jump i0_tp\n"
		"add rule inet tng i0_pre meta mark & 0x00ffffff == 0x00000236 drop\n"
		"add rule inet tng i0_tp meta nfproto ipv4 meta l4proto tcp meta mark set meta mark & 0xff000000 | "
		"0x00000236 "
		"tproxy ip to 127.0.0.1:50000 accept\n"
		"add rule inet tng i0_tp drop\n"
		"add rule inet tng mangle_post meta nfproto ipv4 meta l4proto tcp oifname != \"lo\" "
		"meta mark & 0x00ffffff == 0x00000236 drop\n"
		"add rule inet tng mangle_out meta nfproto ipv4 meta l4proto tcp jump i0_out\n"
		"add rule inet tng mangle_out meta mark & 0x00ffffff == 0x00000236 return\n"
		"add rule inet tng i0_out meta mark & 0x00ffffff == 0x00000235 return\n"
		"add rule inet tng i0_out fib saddr type != local return\n"
		"add rule inet tng i0_out fib daddr type != unicast return\n"
		"add rule inet tng i0_out tcp dport 80 meta mark set meta mark & 0xff000000 | 0x00000236\n";
	struct built b = build(IN(PORT), "", "", false);
	char *text = nft_of(&b);
	const struct policy_route *routes;
	size_t count;

	(void)state;
	assert_string_equal(text, expected);
	routes = rules_routes(b.rules, &count);
	assert_int_equal(count, 1);
	assert_int_equal(routes[0].mark, 566);
	assert_int_equal(routes[0].table, 239);
	assert_int_equal(routes[0].mask, 0xffffff);
	assert_int_equal(routes[0].protocol, 235);
	free(text);
	built_release(&b);
}

static void an_egress_takes_only_what_is_for_its_host(void **state)
{
	struct built b = build("", OUT("'capture_dst':{'port':8080}"), "", false);
	struct built local = build("", OUT("'capture_dst':{'port':8080},'capture_local_traffic':true"), "", false);
	struct built host =
		build("", OUT("'capture_dst':{'host':'10.0.0.1','port':8080},'capture_local_traffic':true"), "", false);
	char *text = nft_of(&b);
	char *with_local = nft_of(&local);
	char *with_host = nft_of(&host);

	(void)state;
	assert_before(text, "e0_pre meta mark & 0x00ffffff == 0x00000235 return\n",
		      "e0_pre fib saddr type local return\n");
	assert_before(text, "e0_pre fib saddr type local return\n",
		      "e0_pre fib daddr type local tcp dport 8080 redirect to :40000\n");
	assert_lacks(text, "e0_out");
	assert_lacks(with_local, "saddr");
	assert_has(with_local, "e0_out fib daddr type local tcp dport 8080 redirect to :40000\n");
	assert_has(with_host, "e0_out ip daddr 10.0.0.1/32 tcp dport 8080 redirect to :40000\n");
	free(text);
	free(with_local);
	free(with_host);
	built_release(&b);
	built_release(&local);
	built_release(&host);
}

static void each_entry_has_its_mark_and_knows_the_others(void **state)
{
	struct built b = build(IN(PORT ",'so_mark':600") "," OUT("'listen_port':50001,'capture_dst':{'port':81}"), "",
			       "", false);
	char *text = nft_of(&b);

	(void)state;
	assert_has(text, "i0_pre iifname \"lo\" meta mark & 0x00ffffff == 0x00000236 jump i0_tp\n");
	assert_has(text, "i1_pre iifname \"lo\" meta mark & 0x00ffffff == 0x00000237 jump i1_tp\n");
	assert_has(text, "tproxy ip to 127.0.0.1:50001 accept\n");
	/* The own connections of one must not be captured by the other. */
	assert_has(text, "i0_out meta mark & 0x00ffffff == 0x00000235 return\n");
	assert_has(text, "i0_out meta mark & 0x00ffffff == 0x00000258 return\n");
	assert_has(text, "i1_out meta mark & 0x00ffffff == 0x00000258 return\n");
	/* What the first has marked is not marked again. */
	assert_before(text, "mangle_out meta mark & 0x00ffffff == 0x00000236 return\n",
		      "mangle_out meta nfproto ipv4 meta l4proto tcp jump i1_out\n");
	free(text);
	built_release(&b);
}

static void ipv6_is_refused_where_it_would_bypass(void **state)
{
	struct built with = build(IN(PORT), "", "", true);
	struct built without = build(IN(PORT), "", "", false);
	struct built host = build(IN("'capture_dst':{'host':'10.0.0.1'}"), "", "", true);
	struct built network = build(IN("'capture_dst':{'host':'fd00::/8'}"), "", "", false);
	char *text = nft_of(&with);
	char *none = nft_of(&without);
	char *v4 = nft_of(&host);
	char *v6 = nft_of(&network);

	(void)state;
	assert_has(text, "filter_out meta nfproto ipv6 meta l4proto tcp jump i0_rout\n");
	assert_has(text, "i0_rout tcp dport 80 reject with tcp reset\n");
	assert_lacks(none, "ipv6");
	assert_lacks(v4, "ipv6");
	assert_has(v6, "i0_out ip6 daddr fd00::/8 meta mark set");
	assert_has(v6, "tproxy ip6 to [::1]:50000 accept\n");
	free(text);
	free(none);
	free(v4);
	free(v6);
	built_release(&with);
	built_release(&without);
	built_release(&host);
	built_release(&network);
}

static void many_destinations_become_sets_and_overlaps_do_not(void **state)
{
	struct built b =
		build(IN("'capture_dst':[{'host':'10.0.0.0/8','port':1,'port_end':9},{'host':'10.1.0.0/16','port':5},"
			 "{'host':'11.0.0.0/8'},{'host':'0.0.0.0/0','port':7},{'host':'12.0.0.1','port':80},"
			 "{'port':1},{'port':2},{'port':3}]"),
		      "", "", false);
	char *nft = nft_of(&b);
	char *iptables = iptables_of(&b, AF_INET);

	(void)state;
	assert_has(nft, "add set inet tng i0_dst4 { type ipv4_addr . inet_service; flags interval; elements = "
			"{ 10.0.0.0/8 . 1-9, 11.0.0.0/8 . 0-65535, 12.0.0.1/32 . 80 }; }\n");
	assert_has(nft, "i0_out ip daddr . tcp dport @i0_dst4 meta mark set");
	assert_has(nft, "i0_out ip daddr 10.1.0.0/16 tcp dport 5 meta mark set");
	assert_has(nft, "i0_out ip daddr 0.0.0.0/0 tcp dport 7 meta mark set");
	assert_lacks(nft, "i0_ports"); /* three are few */
	assert_has(iptables, "-A TNG_0_I0_OUT -p tcp --dst 10.0.0.0/8 --dport 1:9 -m comment --comment tng:0 -j MARK");
	assert_has(iptables,
		   "-A TNG_0_I0_OUT --dst 11.0.0.0/8 -m comment --comment tng:0 -j MARK --set-mark 566/0xffffff\n");
	free(nft);
	free(iptables);
	built_release(&b);
}

static void packets_pass_in_the_order_that_is_documented(void **state)
{
	struct built b =
		build(IN(PORT ",'exclude_dst':{'port':22},'nocapture_cgroup':['x'],'capture_cgroup':['a/b','c']"), "",
		      "", false);
	char *text;

	(void)state;
	assert_non_null(b.rules);
	rules_set_cgroup_mount(b.rules, "unified/");
	text = nft_of(&b);
	assert_before(text, "i0_out meta mark & 0x00ffffff == 0x00000235 return\n", "i0_out tcp dport 22 return\n");
	assert_before(text, "i0_out tcp dport 22 return\n", "i0_out socket cgroupv2 level 1 \"unified/x\" return\n");
	assert_before(text, "i0_out socket cgroupv2 level 1 \"unified/x\" return\n",
		      "i0_out fib daddr type != unicast return\n");
	assert_before(text, "i0_out fib daddr type != unicast return\n",
		      "i0_out socket cgroupv2 level 2 \"unified/a/b\" jump i0_out_d\n");
	assert_has(text, "i0_out_d tcp dport 80 meta mark set");
	assert_lacks(text, "i0_out tcp dport 80");
	free(text);
	built_release(&b);
}

static void forwarded_packets_are_captured_where_they_come_in(void **state)
{
	struct built b = build(IN(PORT ",'scope':'forward','in_ifname':['eth1']"), "", "", false);
	char *text = nft_of(&b);

	(void)state;
	assert_before(text, "i0_div meta l4proto tcp socket transparent 1 socket wildcard 0 meta mark set",
		      "i0_fwd tcp dport 80 jump i0_tp\n");
	assert_before(text, "mangle_pre meta mark & 0x00ffffff == 0x00000236 return\n",
		      "mangle_pre meta nfproto ipv4 meta l4proto tcp iifname \"eth1\" jump i0_fwd\n");
	assert_lacks(text, "i0_out");
	free(text);
	built_release(&b);
}

static bool leads_here(const struct ruleset *r, uint32_t mark, uint32_t table)
{
	size_t count;
	const struct policy_route *routes = rules_routes(r, &count);

	for (size_t i = 0; i < count; i++) {
		if (routes[i].mark == mark && routes[i].table == table)
			return true;
	}
	return false;
}

static void ports_are_open_as_the_service_says(void **state)
{
	struct built first = build(IN(PORT ",'scope':'forward','open_ports':'connect_first'"), "", "", false);
	struct built local = build(IN(PORT ",'open_ports':'connect_first'"), "", "", false);
	struct built cache = build(IN(PORT ",'open_ports':'negative_cache'"), "", "", false);
	char *queue = iptables_of(&first, AF_INET);
	char *sets = nft_of(&cache);

	(void)state;
	assert_true(rules_need_iptables(first.rules));
	assert_false(rules_need_iptables(cache.rules));
	assert_has(queue, "-A TNG_0_I0_Q -p tcp --syn -m comment --comment tng:0 -j NFQUEUE --queue-num 2350\n");
	assert_before(queue, "-A TNG_0_I0_PRE -m mark --mark 1590/0xffffff", "-A TNG_0_I0_PRE -i lo");
	assert_has(queue,
		   "-A TNG_0_FILTER_IN -p tcp -m mark --mark 2102/0xffffff -m comment --comment tng:0 -j REJECT");
	assert_has(queue,
		   "-A TNG_0_FILTER_FWD -p tcp -m mark --mark 2102/0xffffff -m comment --comment tng:0 -j REJECT");
	assert_true(leads_here(first.rules, 2102, 1775));
	assert_false(leads_here(local.rules, 2102, 1775));
	assert_has(sets,
		   "add set inet tng i0_refused4 { type ipv4_addr . inet_service; flags timeout; timeout 10000ms; "
		   "size 65535; }\n");
	assert_before(sets, "@i0_refused4 reject with tcp reset\n", "i0_out tcp dport 80 meta mark set");
	free(queue);
	free(sets);
	built_release(&first);
	built_release(&local);
	built_release(&cache);
}

static void answers_for_a_foreign_address_come_back(void **state)
{
	struct built b =
		build("",
		      "{'mapping':{'in':{'port':1},'out':{'host':'127.0.0.1','port':2},'transparency':{'out':true}},"
		      "'no_ra':true}",
		      "", false);
	char *text = nft_of(&b);

	(void)state;
	assert_has(text, "e0_ct meta l4proto tcp ct direction original fib saddr type != local ct mark set ct mark & "
			 "0xff000000 | "
			 "0x00000436\n");
	assert_has(text, "e0_ct meta l4proto tcp ct direction reply ct mark & 0x00ffffff == 0x00000436 meta mark set");
	assert_has(text, "e0_div meta l4proto tcp socket transparent 1");
	assert_lacks(text, "e0_pre");
	free(text);
	built_release(&b);
}

static void what_iptables_cannot_do_is_refused(void **state)
{
	static const struct {
		const char *ingress;
		const char *egress;
		const char *interception;
		const char *expected;
	} cases[] = {
		{ IN("'capture_dst':{'ipset':'s'}"), OUT("'capture_cgroup':['a']"), "",
		  "add_egress[0].netfilter: cgroups of an egress need nftables, but add_ingress[0].netfilter needs "
		  "iptables (ipset)" },
		{ IN("'capture_dst':{'ipset':'s'},'open_ports':'negative_cache'"), "", "",
		  "add_ingress[0].netfilter.open_ports: \"negative_cache\" needs nftables, but "
		  "add_ingress[0].netfilter needs "
		  "iptables (ipset)" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct built b = build(cases[i].ingress, cases[i].egress, cases[i].interception, false);

		assert_null(b.rules);
		assert_string_equal(b.e.text, cases[i].expected);
		built_release(&b);
	}
}

static void the_block_refuses_what_was_captured_and_nothing_else(void **state)
{
	struct built b = build(IN(PORT), OUT("'capture_dst':{'port':8080}"), "'instance':'blue'", false);
	struct buf nft = { 0 };
	struct buf iptables = { 0 };
	struct buf none = { 0 };

	(void)state;
	rules_print_nft_block(b.rules, true, &nft);
	assert_has(buf_str(&nft), "add rule inet tng_blue i0_rout tcp dport 80 reject with tcp reset\n");
	assert_has(buf_str(&nft), "add rule inet tng_blue e0_rin fib saddr type local return\n");
	assert_has(buf_str(&nft),
		   "add rule inet tng_blue e0_rin fib daddr type local tcp dport 8080 reject with tcp reset\n");
	assert_lacks(buf_str(&nft), "redirect");
	assert_lacks(buf_str(&nft), "tproxy");
	rules_print_iptables_block(b.rules, AF_INET, &iptables);
	assert_has(buf_str(&iptables), "*filter\n");
	assert_has(buf_str(&iptables), "-A TNG_blue_I0_ROUT -p tcp --dport 80 -m comment --comment tng:blue -j REJECT "
				       "--reject-with tcp-reset\n");
	rules_print_iptables_block(b.rules, AF_INET6, &none);
	assert_int_equal(none.len, 0);
	buf_release(&nft);
	buf_release(&iptables);
	built_release(&b);
}

static void iptables_gets_jumps_for_the_block_beforehand(void **state)
{
	struct built b = build(IN(PORT), "", "", false);
	struct buf jumps = { 0 };
	struct buf six = { 0 };
	char *text = iptables_of(&b, AF_INET);

	(void)state;
	rules_print_iptables_jumps(b.rules, AF_INET, &jumps);
	assert_string_equal(buf_str(&jumps),
			    "mangle PREROUTING 1 -p tcp -m comment --comment tng:0 -j TNG_0_MANGLE_PRE\n"
			    "mangle POSTROUTING 1 -p tcp -m comment --comment tng:0 -j TNG_0_MANGLE_POST\n"
			    "mangle OUTPUT 1 -p tcp -m comment --comment tng:0 -j TNG_0_MANGLE_OUT\n"
			    "filter OUTPUT 1 -p tcp -m comment --comment tng:0 -j TNG_0_FILTER_OUT\n");
	assert_has(text, "*filter\n:TNG_0_FILTER_OUT - [0:0]\nCOMMIT\n");
	rules_print_iptables_jumps(b.rules, AF_INET6, &six);
	assert_int_equal(six.len, 0);
	buf_release(&jumps);
	free(text);
	built_release(&b);
}

static void names_of_chains_fit_the_longest_instance(void **state)
{
	struct built b = build(IN(PORT ",'scope':'forward'"), "", "'instance':'abcdefghijkl'", true);
	char *text = iptables_of(&b, AF_INET);

	(void)state;
	for (const char *at = strstr(text, "\n:"); at != NULL; at = strstr(at + 1, "\n:"))
		assert_true(strcspn(at + 2, " ") <= 28);
	free(text);
	built_release(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_ingress_marks_routes_and_hands_over),
		cmocka_unit_test(an_egress_takes_only_what_is_for_its_host),
		cmocka_unit_test(each_entry_has_its_mark_and_knows_the_others),
		cmocka_unit_test(ipv6_is_refused_where_it_would_bypass),
		cmocka_unit_test(many_destinations_become_sets_and_overlaps_do_not),
		cmocka_unit_test(packets_pass_in_the_order_that_is_documented),
		cmocka_unit_test(forwarded_packets_are_captured_where_they_come_in),
		cmocka_unit_test(ports_are_open_as_the_service_says),
		cmocka_unit_test(answers_for_a_foreign_address_come_back),
		cmocka_unit_test(what_iptables_cannot_do_is_refused),
		cmocka_unit_test(the_block_refuses_what_was_captured_and_nothing_else),
		cmocka_unit_test(iptables_gets_jumps_for_the_block_beforehand),
		cmocka_unit_test(names_of_chains_fit_the_longest_instance),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
