/* SPDX-License-Identifier: Apache-2.0 */
/* Capture by the kernel, transparency and interception, as the operator writes them. */
#include "config/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "config/capture_numbers.h"
#include "loading.h"

#define IN(netfilter) "{'add_ingress':[{'netfilter':{" netfilter "},'no_ra':true}]}"
#define OUT(netfilter) "{'add_egress':[{'netfilter':{" netfilter "},'no_ra':true}]}"
#define TOP(netfilter, top) "{'add_ingress':[{'netfilter':{" netfilter "},'no_ra':true}]," top "}"
#define PORT "'capture_dst':{'port':80}"

static const struct netfilter_conf *netfilter_of(const struct config *c)
{
	assert_non_null(c->entries[0].netfilter);
	return c->entries[0].netfilter;
}

static void an_ingress_has_the_defaults_of_upstream(void **state)
{
	struct config *c = load_good(IN(PORT));
	const struct netfilter_conf *n = netfilter_of(c);

	(void)state;
	assert_int_equal(n->capture_dst_count, 1);
	assert_null(n->capture_dst[0].host);
	assert_int_equal(n->capture_dst[0].port, 80);
	assert_int_equal(n->capture_dst[0].port_end, 80);
	assert_int_equal(n->so_mark, 565);
	assert_int_equal(n->listen_port, 0);
	assert_int_equal(n->scope, SCOPE_LOCAL);
	assert_int_equal(n->method, METHOD_TPROXY);
	assert_int_equal(n->open_ports, OPEN_PORTS_ACCEPT);
	assert_int_equal(n->ipv6, IPV6_UNSET);
	assert_int_equal(c->interception.backend, BACKEND_AUTO);
	assert_string_equal(c->interception.instance, "0");
	assert_int_equal(c->interception.mark_mask, 0x00ffffff);
	assert_int_equal(c->interception.protocol, 235);
	assert_false(c->interception.drop_on_exit);
	assert_int_equal(c->interception.check_ms, 10000);
	assert_int_equal(c->entries[0].rule_count, 0);
	config_free(c);
}

static void networks_have_one_form(void **state)
{
	static const struct {
		const char *text;
		const char *expected;
	} cases[] = {
		{ "10.0.0.1", "10.0.0.1/32" },	 { "10.0.0.0/8", "10.0.0.0/8" }, { "0.0.0.0/0", "0.0.0.0/0" },
		{ "FD00:0::1", "fd00::1/128" },	 { "fd00::/8", "fd00::/8" },	 { "::/0", "::/0" },
		{ "10.0.0.0/08", "10.0.0.0/8" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char *text = mem_format(IN("'capture_dst':[{'host':'%s'}]"), cases[i].text);
		struct config *c = load_good(text);

		assert_string_equal(netfilter_of(c)->capture_dst[0].host, cases[i].expected);
		config_free(c);
		free(text);
	}
}

static void cgroups_are_paths_below_their_root(void **state)
{
	struct config *c = load_good(IN("'capture_cgroup':['/a/b/','system-x\\\\x2dy.slice','/']"));

	(void)state;
	assert_string_equal(netfilter_of(c)->capture_cgroup.items[0], "a/b");
	assert_string_equal(netfilter_of(c)->capture_cgroup.items[2], "/");
	config_free(c);
}

static void everything_is_read_and_written_back(void **state)
{
	struct config *c = load_good(
		"{'add_ingress':[{'netfilter':{'capture_dst':[{'host':'10.0.0.0/8','port':1,'port_end':9},{'ipset':'s'}],"
		"'exclude_dst':{'port':22},'nocapture_cgroup':['x'],'listen_port':7,'so_mark':99,'in_ifname':['eth0'],"
		"'ipv6':'reject','scope':'both','method':'redirect','open_ports':'accept','transparency':{'in':true,'out':true,"
		"'client_port':true,'pass_through':'tunnel'},'proxy_protocol':{'accept_from':['10.0.0.0/8'],'send':'v2'}},"
		"'no_ra':true},{'mapping':{'in':{'port':1},'out':{'host':'a','port':2},'transparency':{'out':true},"
		"'proxy_protocol':{'send':'v1'}},'no_ra':true}],"
		"'add_egress':[{'netfilter':{'capture_dst':{'port':80},'capture_local_traffic':true},'no_ra':true}],"
		"'interception':{'backend':'iptables','instance':'a-B_9','mark_mask':'0x0fffffff','protocol':99,'on_exit':'drop','check_interval':0.5}}");
	struct buf first = { 0 };
	struct buf second = { 0 };
	struct config_report report;
	struct config *back;

	(void)state;
	assert_int_equal(netfilter_of(c)->capture_dst_count, 2);
	assert_int_equal(netfilter_of(c)->exclude_dst[0].port, 22);
	assert_string_equal(netfilter_of(c)->in_ifname.items[0], "eth0");
	assert_true(c->entries[0].transparency.in && c->entries[0].transparency.out &&
		    c->entries[0].transparency.client_port);
	assert_int_equal(c->entries[0].proxy_protocol.send, PROXY_PROTOCOL_V2);
	assert_string_equal(c->entries[0].proxy_protocol.accept_from.items[0], "10.0.0.0/8");
	assert_true(c->entries[1].transparency.out);
	assert_int_equal(c->entries[1].proxy_protocol.send, PROXY_PROTOCOL_V1);
	assert_true(c->entries[2].netfilter->capture_local_traffic);
	assert_int_equal(c->interception.backend, BACKEND_IPTABLES);
	assert_true(c->interception.drop_on_exit);
	assert_int_equal(c->interception.check_ms, 500);
	config_format(c, &first);
	back = config_load(buf_bytes(&first), "formatted", &report);
	if (back == NULL)
		fail_msg("%s\n%s", buf_str(&first), report.errors.items[0]);
	config_format(back, &second);
	assert_string_equal(buf_str(&first), buf_str(&second));
	assert_non_null(strstr(buf_str(&first), "\"mark_mask\": \"0x0fffffff\""));
	assert_non_null(strstr(buf_str(&first), "\"on_exit\": \"drop\""));
	assert_non_null(strstr(buf_str(&first), "\"send\": \"v1\""));
	config_free(back);
	config_free(c);
	config_report_release(&report);
	buf_release(&first);
	buf_release(&second);
}

static void how_long_a_refused_port_is_remembered_can_be_written(void **state)
{
	struct config *plain = load_good(IN(PORT ",'open_ports':'negative_cache'"));
	struct config *longer = load_good(
		TOP(PORT ",'open_ports':'negative_cache','negative_cache_timeout':2.5", "'limits':{'pending_syns':7}"));

	(void)state;
	assert_int_equal(netfilter_of(plain)->open_ports, OPEN_PORTS_NEGATIVE_CACHE);
	assert_int_equal(netfilter_of(plain)->negative_cache_ms, 10000);
	assert_int_equal(plain->limits.pending_syns, 1024);
	assert_int_equal(netfilter_of(longer)->negative_cache_ms, 2500);
	assert_int_equal(longer->limits.pending_syns, 7);
	config_free(plain);
	config_free(longer);
}

/* Without "f:LINE:COLUMN: ", separated by "|". */
static void assert_list(const char *document, const struct string_list *list, const char *expected)
{
	struct buf found = { 0 };
	char *wanted = with_quotes(expected);

	for (size_t i = 0; i < list->count; i++)
		buf_format(&found, "%s%s", i == 0 ? "" : "|", strstr(list->items[i], ": ") + 2);
	if (strcmp(buf_str(&found), wanted) != 0)
		fail_msg("%s\nexpected: %s\nfound: %s", document, wanted, buf_str(&found));
	buf_release(&found);
	free(wanted);
}

static void mistakes_are_told_with_their_place(void **state)
{
	static const struct {
		const char *text;
		const char *expected;
	} cases[] = {
		{ IN("'capture_dst':[]"),
		  "add_ingress[0].netfilter: captures nothing: write capture_dst or capture_cgroup" },
		{ IN("'capture_dst':[{}]"),
		  "add_ingress[0].netfilter.capture_dst[0]: write at least one of host, ipset and port" },
		{ IN("'capture_dst':{'host':'1.2.3.4','ipset':'x'}"),
		  "add_ingress[0].netfilter.capture_dst: write host or ipset, not both" },
		{ IN("'capture_dst':{'host':'192.168.1.5/24'}"),
		  "add_ingress[0].netfilter.capture_dst.host: the address has "
		  "bits behind the prefix: the network is 192.168.1.0/24" },
		{ IN("'capture_dst':{'host':'fd00::1/64'}"),
		  "add_ingress[0].netfilter.capture_dst.host: the address has "
		  "bits behind the prefix: the network is fd00::/64" },
		{ IN("'capture_dst':{'host':'10.0.0.0/33'}"),
		  "add_ingress[0].netfilter.capture_dst.host: expected an IP address, or "
		  "a network such as 10.0.0.0/8 or fd00::/8, found '10.0.0.0/33'" },
		{ IN("'capture_dst':{'host':'::ffff:1.2.3.4'}"),
		  "add_ingress[0].netfilter.capture_dst.host: an IPv4 address in the "
		  "form of IPv6, which is never on the wire: write it as IPv4" },
		{ IN("'capture_dst':{'port':9,'port_end':8}"),
		  "add_ingress[0].netfilter.capture_dst.port_end: expected 9 to 65535, found 8" },
		{ IN("'capture_dst':{'ipset':'a b'}"),
		  "add_ingress[0].netfilter.capture_dst.ipset: expected the name of an ipset: "
		  "1 to 31 letters, digits and _-.:@, found 'a b'" },
		{ IN("'capture_cgroup':['a/../b']"),
		  "add_ingress[0].netfilter.capture_cgroup[0]: expected a path below the root of "
		  "cgroup2, without // and .., found 'a/../b'" },
		{ IN(PORT ",'so_mark':0"),
		  "add_ingress[0].netfilter.so_mark: 0 is what every packet has: our own connections would "
		  "be captured again" },
		{ IN(PORT ",'so_mark':566"),
		  "add_ingress[0].netfilter.so_mark: so_mark 566 is the mark of captured packets: our own "
		  "connections would be captured" },
		{ IN(PORT ",'so_mark':16777782"),
		  "add_ingress[0].netfilter.so_mark: so_mark 16777782 is the mark of captured packets: "
		  "our own connections would be captured" },
		{ IN(PORT ",'so_mark':16777216"), "add_ingress[0].netfilter.so_mark: so_mark 16777216 has no bit of "
						  "interception.mark_mask 0x00ffffff" },
		{ TOP(PORT, "'interception':{'mark_mask':'0xff'}"),
		  "add_ingress[0]: its mark 566 (0x236) does not fit into interception.mark_mask 0x000000ff" },
		{ IN(PORT ",'in_ifname':['eth0']"),
		  "add_ingress[0].netfilter.in_ifname: only with scope 'forward' or 'both'" },
		{ IN(PORT ",'scope':'forward','in_ifname':['eth*']"),
		  "add_ingress[0].netfilter.in_ifname[0]: expected the name of an interface: 1 to 15 letters, digits and _-.:@, "
		  "found 'eth*'" },
		{ IN(PORT ",'scope':'both','capture_cgroup':['a']"),
		  "add_ingress[0].netfilter.capture_cgroup: only with scope 'local': "
		  "what is forwarded belongs to no cgroup" },
		{ IN(PORT ",'method':'redirect','open_ports':'connect_first'"),
		  "add_ingress[0].netfilter.open_ports: only with method 'tproxy'" },
		{ IN(PORT ",'open_ports':'connect_first','negative_cache_timeout':5"),
		  "add_ingress[0].netfilter.negative_cache_timeout: only with open_ports 'negative_cache'" },
		{ IN(PORT ",'open_ports':'negative_cache','negative_cache_timeout':0.5"),
		  "add_ingress[0].netfilter.negative_cache_timeout: expected 1 to 86400 seconds, found 0.5" },
		{ IN(PORT
		     ",'open_ports':'connect_first','scope':'forward','transparency':{'out':true,'client_port':true}"),
		  "add_ingress[0].netfilter.open_ports: 'connect_first' not with transparency.client_port: for the kernel, which "
		  "tracks connections, ours would be the one whose first packet still waits" },
		{ IN(PORT
		     ",'open_ports':'connect_first','transparency':{'out':true},'proxy_protocol':{'accept_from':['10.0.0.1']}"),
		  "add_ingress[0].netfilter.open_ports: 'connect_first' not with transparency.out and proxy_protocol.accept_from: "
		  "who the client is would be known too late to dial in its name" },
		{ TOP(PORT ",'open_ports':'negative_cache'", "'interception':{'backend':'none'}"),
		  "add_ingress[0].netfilter.open_ports: 'negative_cache' fills a set of rules of ours: not with "
		  "interception.backend 'none'" },
		{ TOP(PORT ",'open_ports':'connect_first'", "'limits':{'pending_syns':0}"),
		  "limits.pending_syns: expected 1 to 65536, found 0" },
		{ IN("'capture_dst':{'host':'fd00::/8'},'ipv6':'bypass'"),
		  "add_ingress[0].netfilter.ipv6: 'bypass' would never look at the IPv6 networks of capture_dst" },
		{ IN(PORT ",'capture_local_traffic':true"),
		  "add_ingress[0].netfilter.capture_local_traffic: unknown key; known here: capture_dst, capture_cgroup, "
		  "nocapture_cgroup, listen_port, so_mark, in_ifname, ipv6, exclude_dst, scope, method, open_ports, "
		  "negative_cache_timeout, transparency, proxy_protocol" },
		{ IN(PORT ",'transparency':{'client_port':true}"),
		  "add_ingress[0].netfilter.transparency.client_port: only with out: true" },
		{ IN(PORT ",'transparency':{'pass_through':'direct'}"),
		  "not supported yet: add_ingress[0].netfilter.transparency.pass_through 'direct'" },
		{ IN(PORT ",'transparency':{'out':true,'client_port':true}"),
		  "add_ingress[0].netfilter.transparency.client_port: only with scope 'forward' or 'both': a program of this "
		  "host keeps its port to itself" },
		{ OUT(PORT ",'transparency':{'in':true,'out':true,'client_port':true}"),
		  "add_egress[0].netfilter.transparency.client_port: not on an egress with netfilter: its two connections would "
		  "be one for the kernel, which tracks them" },
		{ OUT(PORT ",'capture_local_traffic':true,'transparency':{'in':true}"),
		  "add_egress[0].netfilter.transparency.in: not with capture_local_traffic: TPROXY never sees connections of this "
		  "host to itself" },
		{ "{'add_egress':[{'netfilter':{'capture_cgroup':['a']},'no_ra':true}],'interception':{'backend':'iptables'}}",
		  "add_egress[0].netfilter.capture_cgroup: needs nftables: not with interception.backend 'iptables'" },
		{ TOP("'capture_dst':{'ipset':'x'}", "'interception':{'backend':'nft'}"),
		  "add_ingress[0].netfilter: an ipset needs iptables: not with interception.backend 'nft'" },
		{ TOP(PORT, "'interception':{'instance':'abcdefghijklm','mark_mask':0,'protocol':4}"),
		  "interception.instance: expected 1 to 12 of the characters A-Z, a-z, 0-9, _ and -, found 'abcdefghijklm'|"
		  "interception.mark_mask: expected a mask of 32 bits that is not 0, such as '0x00ffffff', found 0|"
		  "interception.protocol: expected 5 to 255, found 4" },
		{ TOP(PORT, "'interception':{'check_interval':86401}"),
		  "interception.check_interval: expected 0 to 86400 seconds, found 86401" },
		{ TOP(PORT, "'interception':{'mark_mask':'0x1ffffffff','instance':'a b'}"),
		  "interception.mark_mask: expected a mask of 32 bits that is not 0, such as '0x00ffffff', found '0x1ffffffff'|"
		  "interception.instance: expected 1 to 12 of the characters A-Z, a-z, 0-9, _ and -, found 'a b'" },
		{ "{'add_egress':[{'mapping':{'in':{'port':40001},'out':{'host':'a','port':2}},'no_ra':true},\n"
		  "{'netfilter':{" PORT "},'no_ra':true}]}",
		  "add_egress[1].netfilter: port 40001 of 0.0.0.0 is taken already by add_egress[0].mapping.in.port" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct config_report report;
		struct config *c = load(cases[i].text, &report);

		assert_list(cases[i].text, &report.errors, cases[i].expected);
		assert_null(c);
		config_report_release(&report);
	}
}

static const char *const no_ra_warning = "NO REMOTE ATTESTATION";

static void what_an_earlier_entry_takes_is_told(void **state)
{
	static const struct {
		const char *first;
		const char *second;
		bool told;
	} cases[] = {
		{ PORT, PORT, true },
		{ PORT, "'capture_dst':[{'port':81},{'host':'10.0.0.1','port':80}]", true },
		{ "'capture_dst':{'host':'10.0.0.0/8'}", "'capture_dst':{'host':'10.1.0.0/16','port':3}", true },
		{ "'capture_dst':{'host':'10.1.0.0/16'}", "'capture_dst':{'host':'10.0.0.0/8'}", false },
		{ "'capture_dst':{'host':'10.0.0.0/8'}", "'capture_dst':{'host':'fd00::/8'}", false },
		{ "'capture_dst':{'port':80,'port_end':90}", "'capture_dst':{'port':85,'port_end':91}", false },
		{ "'capture_dst':{'ipset':'a'}", "'capture_dst':{'ipset':'a','port':1}", true },
		{ "'capture_dst':{'ipset':'a'}", "'capture_dst':{'ipset':'b'}", false },
		{ PORT ",'capture_cgroup':['a']", PORT, false },
		{ PORT ",'scope':'forward'", PORT, false },
		{ PORT ",'scope':'both'", PORT, true },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char *text =
			mem_format("{'add_ingress':[{'netfilter':{%s},'no_ra':true},{'netfilter':{%s},'no_ra':true}]}",
				   cases[i].first, cases[i].second);
		struct config_report report;
		struct config *c = load(text, &report);
		bool told = false;

		assert_non_null(c);
		for (size_t j = 0; j < report.warnings.count; j++)
			told = told ||
			       (strstr(report.warnings.items[j], no_ra_warning) == NULL &&
				strstr(report.warnings.items[j], "is captured by add_ingress[0] already") != NULL);
		if (told != cases[i].told)
			fail_msg("%s", text);
		config_free(c);
		config_report_release(&report);
		free(text);
	}
}

static void documents_of_releases_keep_their_meaning(void **state)
{
	struct config *c = load_good("{'add_egress':[{'netfilter':{'capture_dst':{'host':'127.0.0.1','port':30001},"
				     "'capture_local_traffic':true,'listen_port':40000,'so_mark':565},'no_ra':true}]}");
	const struct netfilter_conf *n = netfilter_of(c);

	(void)state;
	assert_string_equal(n->capture_dst[0].host, "127.0.0.1/32");
	assert_int_equal(n->listen_port, 40000);
	assert_true(n->capture_local_traffic);
	config_free(c);
	c = load_good("{'add_ingress':[{'netfilter':{'dst':{'host':'10.0.0.1','port':1}},'no_ra':true}]}"); /* 1.0 */
	assert_string_equal(netfilter_of(c)->capture_dst[0].host, "10.0.0.1/32");
	config_free(c);
}

static void instances_have_numbers_of_their_own(void **state)
{
	struct interception_conf zero = { .instance = (char[]){ "0" } };
	struct interception_conf other = { .instance = (char[]){ "blue" } };

	(void)state;
	assert_int_equal(capture_mark(&zero, ENTRY_INGRESS, 0), 566);
	assert_int_equal(capture_mark(&zero, ENTRY_INGRESS, 511), 1077);
	assert_int_equal(capture_mark(&zero, ENTRY_EGRESS, 0), 1078);
	assert_int_equal(capture_mark_accepted(&zero, 0), 1590);
	assert_int_equal(capture_mark_refused(&zero, 511), 2613);
	assert_int_equal(capture_table(&zero, ENTRY_INGRESS, 13), 252);
	assert_int_equal(capture_table(&zero, ENTRY_INGRESS, 17), 256);
	for (unsigned i = 14; i < 17; i++) /* default, main, local */
		assert_true(capture_table(&zero, ENTRY_INGRESS, i) > capture_table(&zero, ENTRY_EGRESS, 511));
	assert_int_not_equal(capture_mark(&other, ENTRY_INGRESS, 0) / 4096, 0);
	assert_int_equal(capture_mark(&other, ENTRY_INGRESS, 0) % 4096, 566);
	assert_int_not_equal(capture_table(&other, ENTRY_INGRESS, 0), 239);
	assert_int_not_equal(capture_queue(&other, 0), capture_queue(&zero, 0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_ingress_has_the_defaults_of_upstream),
		cmocka_unit_test(networks_have_one_form),
		cmocka_unit_test(cgroups_are_paths_below_their_root),
		cmocka_unit_test(everything_is_read_and_written_back),
		cmocka_unit_test(how_long_a_refused_port_is_remembered_can_be_written),
		cmocka_unit_test(mistakes_are_told_with_their_place),
		cmocka_unit_test(what_an_earlier_entry_takes_is_told),
		cmocka_unit_test(documents_of_releases_keep_their_meaning),
		cmocka_unit_test(instances_have_numbers_of_their_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
