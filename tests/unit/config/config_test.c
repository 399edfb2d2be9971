/* SPDX-License-Identifier: Apache-2.0 */
#include "config/config.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>
#include "loading.h"

#define MAPPING "\"mapping\":{\"in\":{\"port\":10001},\"out\":{\"host\":\"a\",\"port\":2}}"
#define VERIFY "\"verify\":{\"as_addr\":\"http://127.0.0.1:8080/\",\"policy_ids\":[\"default\"]}"
#define ATTEST "\"attest\":{\"aa_addr\":\"unix:///run/aa.sock\"}"
#define INGRESS(inside) "{\"add_ingress\":[{" inside "}]}"
#define EGRESS(inside) "{\"add_egress\":[{" inside "}]}"

static char *joined(const struct string_list *list)
{
	struct buf text = { 0 };

	for (size_t i = 0; i < list->count; i++)
		buf_format(&text, "%s%s", i == 0 ? "" : "\n", list->items[i]);
	return buf_take_str(&text);
}

/* Where positions are not the subject they only make the tables hard to change. */
static void cut_positions(struct string_list *list)
{
	for (size_t i = 0; i < list->count; i++) {
		char *text = strstr(list->items[i], ": ") + 2;

		memmove(list->items[i], text, strlen(text) + 1);
	}
}

static void assert_lines(const char *text, struct string_list *list, const char *expected)
{
	char *wanted = with_quotes(expected);
	char *found = joined(list);

	if (strcmp(found, wanted) != 0)
		fail_msg("%s\nexpected:\n%s\nfound:\n%s", text, wanted, found);
	free(wanted);
	free(found);
}

static void assert_placed_errors(const char *text, const char *expected)
{
	struct config_report report;

	assert_null(load(text, &report));
	assert_lines(text, &report.errors, expected);
	config_report_release(&report);
}

static void assert_errors(const char *text, const char *expected)
{
	struct config_report report;

	assert_null(load(text, &report));
	cut_positions(&report.errors);
	assert_lines(text, &report.errors, expected);
	config_report_release(&report);
}

/* Also for documents that are refused: warnings are told with the errors. */
static void assert_warnings(const char *text, const char *expected)
{
	struct config_report report;
	struct config *c = load(text, &report);

	cut_positions(&report.warnings);
	assert_lines(text, &report.warnings, expected);
	config_free(c);
	config_report_release(&report);
}

struct document_case {
	const char *text;
	const char *expected;
};

static void assert_all(void (*check)(const char *, const char *), const struct document_case *cases, size_t count)
{
	for (size_t i = 0; i < count; i++)
		check(cases[i].text, cases[i].expected);
}

static void a_minimal_ingress_has_all_defaults(void **state)
{
	struct config *c = load_good(INGRESS(MAPPING "," VERIFY));
	const struct entry_conf *entry = &c->entries[0];
	const struct verify_conf *verify = entry->verify;

	(void)state;
	assert_int_equal(c->entry_count, 1);
	assert_int_equal(entry->kind, ENTRY_INGRESS);
	assert_string_equal(entry->path, "add_ingress[0]");
	assert_int_equal(entry->rule_count, 1);
	assert_string_equal(entry->rules[0].in_host, "0.0.0.0");
	assert_int_equal(entry->rules[0].in_port, 10001);
	assert_int_equal(entry->rules[0].in_port_end, 10001);
	assert_string_equal(entry->rules[0].out_host, "a");
	assert_int_equal(entry->rules[0].out_port, 2);
	assert_int_equal(entry->rules[0].out_port_end, 2);
	assert_false(entry->no_ra);
	assert_null(entry->attest);
	assert_int_equal(entry->multiplex, TRI_FALSE);
	assert_int_equal(entry->binding, BINDING_CURRENT);
	assert_int_equal(verify->model, MODEL_BACKGROUND_CHECK);
	assert_int_equal(verify->as.type, AS_RESTFUL);
	assert_string_equal(verify->as.addr, "http://127.0.0.1:8080");
	assert_int_equal(verify->as.policy_ids.count, 1);
	assert_string_equal(verify->as.policy_ids.items[0], "default");
	assert_int_equal(verify->as.connect_timeout_ms, 5000);
	assert_int_equal(verify->as.timeout_ms, 30000);
	assert_int_equal(verify->verdict_max_age_s, 60);
	assert_false(verify->skip_as_token_cert_verify);
	assert_int_equal(verify->builtin_policy, POLICY_HARDWARE_ONLY);
	assert_int_equal(c->workers, 0);
	assert_string_equal(c->aead, "auto");
	assert_int_equal(c->tls_records, TLS_RECORDS_OWN);
	assert_true(c->keepalive);
	assert_int_equal(c->keepalive_idle_s, 10);
	assert_int_equal(c->keepalive_interval_s, 10);
	assert_int_equal(c->keepalive_count, 3);
	assert_string_equal(c->congestion_loopback, "auto");
	assert_string_equal(c->congestion_remote, "host");
	assert_int_equal(c->resolve_cache_s, 5);
	assert_int_equal(c->timeouts.connect_ms, 10000);
	assert_int_equal(c->timeouts.resolve_ms, 10000);
	assert_int_equal(c->timeouts.first_byte_ms, 5000);
	assert_int_equal(c->timeouts.handshake_ms, 30000);
	assert_int_equal(c->timeouts.verify_ms, 90000);
	assert_int_equal(c->timeouts.idle_ms, 0);
	assert_int_equal(c->timeouts.pool_idle_ms, 90000);
	assert_int_equal(c->timeouts.drain_ms, 5000);
	assert_int_equal(c->limits.connections, 0);
	assert_int_equal(c->limits.handshake_memory, 256 << 20);
	assert_int_equal(c->limits.certificate_size, 4 << 20);
	assert_int_equal(c->limits.relay_memory, 64 << 20);
	assert_int_equal(c->limits.verdict_cache, 1024);
	assert_int_equal(c->limits.token_size, 1 << 20);
	assert_int_equal(c->limits.streams, 10000);
	config_free(c);
}

static void a_minimal_egress_has_all_defaults(void **state)
{
	struct config *c = load_good(EGRESS(MAPPING "," ATTEST));
	const struct attest_conf *attest = c->entries[0].attest;

	(void)state;
	assert_int_equal(c->entries[0].kind, ENTRY_EGRESS);
	assert_string_equal(c->entries[0].path, "add_egress[0]");
	assert_int_equal(attest->model, MODEL_BACKGROUND_CHECK);
	assert_int_equal(attest->provider, AA_COCO);
	assert_int_equal(attest->aa_type, AA_UDS);
	assert_string_equal(attest->aa_addr, "unix:///run/aa.sock");
	assert_int_equal(attest->aa_timeout_ms, 50000);
	assert_int_equal(attest->refresh_interval_s, 600);
	assert_null(attest->as.addr);
	config_free(c);
}

static void every_key_is_stored(void **state)
{
	struct config *c = load_good(
		"{'add_ingress':[{'mapping':{'rules':["
		"  {'in':{'host':'[::1]','port':1,'port_end':3},'out':{'host':'b.example','port':11,'port_end':13}},"
		"  {'in':{'host':'127.0.0.1','port':1},'out':{'host':'2001:db8::1','port':12}}]},"
		" 'attest':{'model':'passport','aa_provider':'coco_asr','asr_addr':'http://[::1]:8006//','refresh_interval':0,"
		"  'as_type':'grpc','as_addr':'https://as:5000/x/','policy_ids':[],'as_headers':{'A':'b'},'aa_timeout':1.5,"
		"  'as_connect_timeout':0.25,'as_timeout':3},"
		" 'verify':{'model':'passport','as_type':'restful','as_addr':'http://as/','policy_ids':['p','q'],"
		"  'as_headers':{'Authorization':'Bearer s'},'trusted_certs_paths':['/a','/b'],'verdict_max_age':0,"
		"  'as_connect_timeout':1,'as_timeout':2},"
		" 'rats_tls':{'multiplex':true,'multiplex_max_streams_per_connection':3,'multiplex_max_connections':4,"
		"  'binding':'legacy'}}],"
		"'add_egress':[{'mapping':{'in':{'port':5},'out':{'host':'a','port':6}},"
		"  'verify':{'as_type':'builtin','attestation_policy':{'type':'trust_all'}},'rats_tls':{'binding':'both'}}],"
		"'workers':256,'aead':'evp','tls_records':'libssl','drain_timeout':0,'resolve_cache':0,"
		"'tcp_keepalive':{'enabled':false,'idle':1,'interval':2,'count':4},"
		"'tcp_congestion':{'loopback':'host','remote':'bbr-2_15_chars_'},"
		"'timeouts':{'connect':0.001,'resolve':1,'first_byte':2,'handshake':3,'verify':4,'idle':5,'pool_idle':6},"
		"'limits':{'connections':7,'handshake_memory':'1GB','certificate_size':65536,'relay_memory':'2MiB',"
		"  'verdict_cache':8,'token_size':'8KB','streams_per_connection':9}}");
	const struct entry_conf *in = &c->entries[0];
	const struct entry_conf *out = &c->entries[1];

	(void)state;
	assert_int_equal(in->rule_count, 2);
	assert_string_equal(in->rules[0].in_host, "::1");
	assert_int_equal(in->rules[0].in_port_end, 3);
	assert_string_equal(in->rules[0].out_host, "b.example");
	assert_int_equal(in->rules[0].out_port_end, 13);
	assert_string_equal(in->rules[1].out_host, "2001:db8::1");
	assert_int_equal(in->attest->model, MODEL_PASSPORT);
	assert_int_equal(in->attest->provider, AA_COCO_ASR);
	assert_string_equal(in->attest->asr_addr, "http://[::1]:8006");
	assert_int_equal(in->attest->refresh_interval_s, 0);
	assert_int_equal(in->attest->aa_timeout_ms, 1500);
	assert_int_equal(in->attest->as.type, AS_GRPC);
	assert_string_equal(in->attest->as.addr, "https://as:5000/x");
	assert_int_equal(in->attest->as.header_count, 1);
	assert_int_equal(in->attest->as.connect_timeout_ms, 250);
	assert_int_equal(in->attest->as.timeout_ms, 3000);
	assert_int_equal(in->verify->model, MODEL_PASSPORT);
	assert_string_equal(in->verify->as.policy_ids.items[1], "q");
	assert_string_equal(in->verify->as.headers[0].name, "Authorization");
	assert_string_equal(in->verify->as.headers[0].value, "Bearer s");
	assert_string_equal(in->verify->trusted_certs_paths.items[1], "/b");
	assert_int_equal(in->verify->verdict_max_age_s, 0);
	assert_int_equal(in->multiplex, TRI_TRUE);
	assert_int_equal(in->multiplex_max_streams, 3);
	assert_int_equal(in->multiplex_max_connections, 4);
	assert_int_equal(in->binding, BINDING_LEGACY);
	assert_string_equal(out->path, "add_egress[0]");
	assert_int_equal(out->verify->as.type, AS_BUILTIN);
	assert_int_equal(out->verify->builtin_policy, POLICY_TRUST_ALL);
	assert_int_equal(out->multiplex, TRI_UNSET);
	assert_int_equal(out->binding, BINDING_BOTH);
	assert_int_equal(c->workers, 256);
	assert_string_equal(c->aead, "evp");
	assert_int_equal(c->tls_records, TLS_RECORDS_LIBSSL);
	assert_false(c->keepalive);
	assert_int_equal(c->keepalive_count, 4);
	assert_string_equal(c->congestion_loopback, "host");
	assert_string_equal(c->congestion_remote, "bbr-2_15_chars_");
	assert_int_equal(c->timeouts.connect_ms, 1);
	assert_int_equal(c->timeouts.pool_idle_ms, 6000);
	assert_int_equal(c->timeouts.drain_ms, 0);
	assert_int_equal(c->limits.connections, 7);
	assert_int_equal(c->limits.handshake_memory, 1 << 30);
	assert_int_equal(c->limits.certificate_size, 65536);
	assert_int_equal(c->limits.token_size, 8192);
	assert_int_equal(c->limits.streams, 9);
	config_free(c);
}

static void mistakes_in_the_text_have_their_place(void **state)
{
	static const struct document_case cases[] = {
		{ "", "f:1:1: expected a value, found the end of the text" },
		{ "[]", "f:1:1: expected an object" },
		{ "{'workers':1,\n 'workers':2}", "f:2:2: 'workers' stands in this object twice" },
		{ "{\n'workers':01}", "f:2:12: a number may not begin with 0" },
		{ "{'add_egress':[{\n" MAPPING ",\n\t'attests':{}," ATTEST "},\n{" MAPPING
		  ",'attest':\n  {'aa_addr':5}}]}",
		  "f:3:2: add_egress[0].attests: unknown key, did you mean 'attest'?\n"
		  "f:4:26: add_egress[1].mapping.in.port: port 10001 of 0.0.0.0 is taken already by add_egress[0].mapping.in.port\n"
		  "f:5:14: add_egress[1].attest.aa_addr: expected a string, found 5" },
		{ "{}", "f:1:1: neither add_ingress nor add_egress has an entry: there is nothing to do" },
		{ "{'add_ingress':[],'add_egress':[]}",
		  "f:1:1: neither add_ingress nor add_egress has an entry: there is nothing to do" },
	};

	(void)state;
	assert_all(assert_placed_errors, cases, ARRAY_SIZE(cases));
}

static void values_are_held_against_type_and_range(void **state)
{
	static const struct document_case cases[] = {
		{ "{'add_ingress':[{" MAPPING "," VERIFY
		  "},{'mapping':{'in':{'port':70000},'out':{'host':'a','port':1}}," VERIFY "}]}",
		  "add_ingress[1].mapping.in.port: expected 1 to 65535, found 70000" },
		{ INGRESS("'mapping':{'in':{'port':0},'out':{'host':'a','port':'80'}}," VERIFY),
		  "add_ingress[0].mapping.in.port: expected 1 to 65535, found 0\n"
		  "add_ingress[0].mapping.out.port: expected 1 to 65535, found '80'" },
		{ INGRESS("'mapping':{'in':{'port':1.0},'out':{'host':7,'port':-1}}," VERIFY),
		  "add_ingress[0].mapping.in.port: expected 1 to 65535, found 1.0\n"
		  "add_ingress[0].mapping.out.host: expected a string, found 7\n"
		  "add_ingress[0].mapping.out.port: expected 1 to 65535, found -1" },
		{ INGRESS("'mapping':{'in':{'host':''},'out':{'port':1}}," VERIFY),
		  "add_ingress[0].mapping.in.port: missing, expected 1 to 65535\n"
		  "add_ingress[0].mapping.in.host: expected a host name or an IP address, found ''\n"
		  "add_ingress[0].mapping.out.host: missing, expected a string" },
		{ INGRESS("'mapping':{'in':[],'out':{'host':'a\\u0000','port':1}}," VERIFY),
		  "add_ingress[0].mapping.in: expected an object, found a list\n"
		  "add_ingress[0].mapping.out.host: has a NUL character inside" },
		{ INGRESS("'mapping':[]," VERIFY),
		  "add_ingress[0].mapping: expected an object with in and out, or with rules" },
		{ INGRESS("'mapping':{}," VERIFY),
		  "add_ingress[0].mapping.rules: missing: write in and out, or rules" },
		{ INGRESS("'mapping':{'rules':[]}," VERIFY), "add_ingress[0].mapping.rules: an empty list" },
		{ INGRESS("'mapping':{'rules':[1]}," VERIFY),
		  "add_ingress[0].mapping.rules[0]: expected an object, found a number" },
		{ INGRESS("'mapping':{'rules':[],'in':{}}," VERIFY),
		  "add_ingress[0].mapping: has in and out as well as rules: write one or the other" },
		{ INGRESS("'mapping':{'rules':[{'in':{'port':9,'port_end':8},'out':{'host':'a','port':1}}]}," VERIFY),
		  "add_ingress[0].mapping.rules[0].in.port_end: expected 9 to 65535, found 8" },
		{ INGRESS("'mapping':{'rules':[{'in':{'port':1,'port_end':8},'out':{'host':'a','port':1,'port_end':9}}]}," VERIFY),
		  "add_ingress[0].mapping.rules[0]: in has 8 ports and out has 9: each port of in leads to the one "
		  "at the same place of out" },
		{ INGRESS("'mapping':{'in':{'port':1,'port_end':2},'out':{'host':'a','port':1}}," VERIFY),
		  "add_ingress[0].mapping: in has 2 ports and out has 1: each port of in leads to the one at the "
		  "same place of out" },
		{ INGRESS(MAPPING ",'no_ra':'yes'"), "add_ingress[0].no_ra: expected true or false, found 'yes'" },
		{ INGRESS(MAPPING "," VERIFY
				  ",'rats_tls':{'multiplex':1,'binding':'old','multiplex_max_connections':0}"),
		  "add_ingress[0].rats_tls.multiplex: expected true or false, found 1\n"
		  "add_ingress[0].rats_tls.binding: expected 'current', 'legacy' or 'both', found 'old'\n"
		  "add_ingress[0].rats_tls.multiplex_max_connections: expected 1 to 4294967295, found 0" },
		{ "{'add_ingress':{},'workers':257,'aead':'rot13','tls_records':'gnutls','drain_timeout':-1,"
		  "'timeouts':{'connect':0,'idle':'1'},"
		  "'limits':{'token_size':'1XB','relay_memory':5,'certificate_size':'17MiB'}}",
		  "neither add_ingress nor add_egress has an entry: there is nothing to do\n"
		  "add_ingress: expected a list of objects, found an object\n"
		  "workers: expected 0 to 256, found 257\n"
		  "aead: expected 'auto', 'evp' or 'ipsec-mb', found 'rot13'\n"
		  "tls_records: expected 'own' or 'libssl', found 'gnutls'\n"
		  "drain_timeout: expected 0 to 86400 seconds, found -1\n"
		  "timeouts.connect: expected 0.001 to 86400 seconds, found 0\n"
		  "timeouts.idle: expected 0 to 2592000 seconds, found '1'\n"
		  "limits.token_size: expected 4KiB to 64MiB, found '1XB'\n"
		  "limits.relay_memory: expected 1MiB to 1TiB, found 5\n"
		  "limits.certificate_size: expected 4KiB to 16777215, found '17MiB'" },
		{ "{'add_egress':[{" MAPPING "," ATTEST "}],'tcp_congestion':{'loopback':'','remote':'auto'}}",
		  "tcp_congestion.loopback: expected 'auto', 'host' or a name such as 'cubic', found ''\n"
		  "tcp_congestion.remote: expected 'host' or a name such as 'cubic', found 'auto'" },
		{ "{'add_egress':[{" MAPPING "," ATTEST "}],"
		  "'tcp_congestion':{'loopback':'Cubic','remote':'bbr-2_16_chars__','other':'a b'}}",
		  "tcp_congestion.loopback: expected 'auto', 'host' or a name such as 'cubic', found 'Cubic'\n"
		  "tcp_congestion.remote: expected 'host' or a name such as 'cubic', found 'bbr-2_16_chars__'\n"
		  "tcp_congestion.other: unknown key; known here: loopback, remote" },
		{ "{'add_egress':[{" MAPPING "," ATTEST "}],'limits':{'handshake_memory':'1MiB'}}",
		  "limits: certificate_size is above handshake_memory: no handshake could end" },
	};

	(void)state;
	assert_all(assert_errors, cases, ARRAY_SIZE(cases));
}

static void unknown_keys_are_errors_that_name_the_nearest_known_one(void **state)
{
	static const struct document_case cases[] = {
		{ "{'add_ingres':[],'add_egress':[{" MAPPING "," ATTEST "}]}",
		  "add_ingres: unknown key, did you mean 'add_ingress'?" },
		{ INGRESS("'maping':{}," VERIFY),
		  "add_ingress[0]: no mode: write how connections come in, such as 'mapping'\n"
		  "add_ingress[0].maping: unknown key, did you mean 'mapping'?" },
		{ INGRESS("'mapping':{'in':{'prot':1,'port':2},'out':{'host':'a','port':2}}," VERIFY),
		  "add_ingress[0].mapping.in.prot: unknown key, did you mean 'port'?" },
		{ EGRESS(MAPPING ",'attest':{'aa_addr':'unix:///a','aa_addrs':1},'http_proxy':{}"),
		  "add_egress[0].attest.aa_addrs: unknown key, did you mean 'aa_addr'?\n"
		  "add_egress[0].http_proxy: unknown key; known here: mapping, netfilter, netfilter_udp, hook, "
		  "mapping_udp, no_ra, attest, verify, rats_tls, ohttp, quic, direct_forward" },
		{ EGRESS(MAPPING "," ATTEST ",'rats_tls':{'multiplex':true,'multiplex_max_connections':3}"),
		  "add_egress[0].rats_tls.multiplex_max_connections: unknown key; known here: multiplex, binding" },
	};

	(void)state;
	assert_all(assert_errors, cases, ARRAY_SIZE(cases));
}

static void an_entry_has_one_mode_and_one_kind_of_trust(void **state)
{
	static const struct document_case cases[] = {
		{ INGRESS(MAPPING),
		  "add_ingress[0]: write attest (we run in a TEE), verify (the peer does), both, or no_ra: true (for "
		  "tests: nobody is verified)" },
		{ INGRESS(MAPPING ",'no_ra':false,'attest':null"),
		  "add_ingress[0]: write attest (we run in a TEE), verify (the peer does), both, or no_ra: true (for "
		  "tests: nobody is verified)" },
		{ INGRESS(MAPPING ",'no_ra':true," VERIFY "," ATTEST),
		  "add_ingress[0].no_ra: true is not possible together with attest\n"
		  "add_ingress[0].no_ra: true is not possible together with verify" },
		{ INGRESS("'mapping_udp':{'in':{'port':1},'out':{'host':'a','port':2}}," MAPPING "," VERIFY),
		  "not supported yet: add_ingress[0].mapping_udp\n"
		  "add_ingress[0].mapping_udp: the entry has the mode mapping already: make it an entry of its own" },
		{ INGRESS(MAPPING "," VERIFY ",'rats_tls':{},'ohttp':{}"),
		  "not supported yet: add_ingress[0].ohttp\n"
		  "add_ingress[0].ohttp: not together with rats_tls" },
		{ EGRESS(MAPPING "," ATTEST ",'rats_tls':{'binding':'both'}"),
		  "add_egress[0].rats_tls.binding: 'both' is for entries that only verify: with attest, write the "
		  "binding that the peer checks, 'current' (2.3.0 and later) or 'legacy'" },
		{ INGRESS(MAPPING "," VERIFY ",'rats_tls':{'multiplex':false,'multiplex_max_connections':3,"
				  "'multiplex_max_streams_per_connection':4}"),
		  "add_ingress[0].rats_tls.multiplex_max_connections: only with multiplex: true\n"
		  "add_ingress[0].rats_tls.multiplex_max_streams_per_connection: only with multiplex: true" },
	};

	(void)state;
	assert_all(assert_errors, cases, ARRAY_SIZE(cases));
}

#define WITH_VERIFY(inside) "{'add_ingress':[{\n" MAPPING ",'verify':\n{" inside "}}]}"

static void rules_of_verify_are_kept(void **state)
{
	static const struct document_case cases[] = {
		{ WITH_VERIFY(""),
		  "add_ingress[0].verify.policy_ids: missing: name the policies that the token must have been judged "
		  "by, such as ['default']\n"
		  "add_ingress[0].verify.as_addr: missing, expected the URL of the attestation service, such as "
		  "'http://127.0.0.1:8080'" },
		{ WITH_VERIFY("'as_addr':'http://a','policy_ids':[]"),
		  "add_ingress[0].verify.policy_ids: an empty list would accept a token of any policy: name at least "
		  "one, such as ['default']" },
		{ WITH_VERIFY("'as_addr':'a:80','policy_ids':['']"),
		  "add_ingress[0].verify.as_addr: expected a URL such as http://127.0.0.1:8080, found 'a:80'\n"
		  "add_ingress[0].verify.policy_ids[0]: an empty string, found ''" },
		{ WITH_VERIFY("'as_addr':'http://u:secret@a','policy_ids':['x']"),
		  "add_ingress[0].verify.as_addr: user and password do not belong into the URL, found "
		  "'http://********@a'" },
		{ WITH_VERIFY("'policy_ids':['x'],'model':'passport'"),
		  "add_ingress[0].verify.trusted_certs_paths: missing: without as_addr or trusted_certs_paths nothing "
		  "tells a genuine token" },
		{ WITH_VERIFY("'policy_ids':['x'],'model':'passport','trusted_certs_paths':[]"),
		  "add_ingress[0].verify.trusted_certs_paths: missing: without as_addr or trusted_certs_paths nothing "
		  "tells a genuine token" },
		{ WITH_VERIFY("'policy_ids':['x'],'model':'passport','as_type':'grpc','as_addr':'http://a'"),
		  "add_ingress[0].verify.trusted_certs_paths: missing: a service over gRPC does not tell its "
		  "certificates, so that in model 'passport' nothing tells a genuine token" },
		{ WITH_VERIFY(
			  "'policy_ids':['x'],'model':'passport','trusted_certs_paths':['/a'],'as_headers':{'a':'b'}"),
		  "add_ingress[0].verify.as_headers: not without as_addr" },
		{ WITH_VERIFY("'policy_ids':['x'],'as_addr':'http://a','trusted_certs_paths':['/a'],"
			      "'skip_as_token_cert_verify':true"),
		  "add_ingress[0].verify.trusted_certs_paths: not together with skip_as_token_cert_verify" },
		{ WITH_VERIFY(
			  "'policy_ids':['x'],'as_addr':'http://a','model':'passport','skip_as_token_cert_verify':true"),
		  "add_ingress[0].verify.as_addr: not together with skip_as_token_cert_verify in model 'passport'" },
		{ WITH_VERIFY("'as_type':'builtin','model':'passport'"),
		  "add_ingress[0].verify.as_type: 'builtin' judges evidence itself: it needs model "
		  "'background_check'" },
		{ WITH_VERIFY("'policy_ids':['x'],'as_addr':'http://a','as_headers':{'a b':'c','d':'e\\nf','g':1}"),
		  "add_ingress[0].verify.as_headers.a b: not the name of an HTTP header\n"
		  "add_ingress[0].verify.as_headers.d: the value has a control character inside\n"
		  "add_ingress[0].verify.as_headers.g: expected a string, found a number" },
	};

	(void)state;
	assert_all(assert_errors, cases, ARRAY_SIZE(cases));
}

#define WITH_ATTEST(inside) "{'add_egress':[{\n" MAPPING ",'attest':\n{" inside "}}]}"

static void rules_of_attest_are_kept(void **state)
{
	static const struct document_case cases[] = {
		{ WITH_ATTEST(""), "add_egress[0].attest.aa_addr: missing, expected the socket of the agent, such as "
				   "'unix:///run/confidential-containers/attestation-agent/attestation-agent.sock'" },
		{ WITH_ATTEST("'aa_addr':'/run/a'"),
		  "add_egress[0].attest.aa_addr: expected an absolute path behind unix://, such as "
		  "unix:///run/aa.sock, found '/run/a'" },
		{ WITH_ATTEST("'aa_addr':'unix://run/a'"),
		  "add_egress[0].attest.aa_addr: expected an absolute path behind unix://, such as "
		  "unix:///run/aa.sock, found 'unix://run/a'" },
		{ WITH_ATTEST("'aa_provider':'coco_asr'"),
		  "add_egress[0].attest.asr_addr: missing, expected the URL of the API server, such as "
		  "'http://127.0.0.1:8006'" },
		{ WITH_ATTEST("'aa_addr':'unix:///a','model':'passport'"),
		  "add_egress[0].attest.as_addr: missing: in model 'passport' the attester fetches its token from an "
		  "attestation service" },
		{ WITH_ATTEST("'aa_addr':'unix:///a','model':'passport','as_type':'builtin','as_addr':'http://a'"),
		  "add_egress[0].attest.as_type: expected 'restful' or 'grpc', found 'builtin'" },
		{ WITH_ATTEST("'aa_addr':'unix:///a','aa_timeout':'5s','refresh_interval':-1,'aa_type':'tcp'"),
		  "add_egress[0].attest.aa_timeout: expected 0.001 to 3600 seconds, found '5s'\n"
		  "add_egress[0].attest.refresh_interval: expected 0 to 4294967295, found -1\n"
		  "add_egress[0].attest.aa_type: expected 'uds' or 'builtin', found 'tcp'" },
	};

	(void)state;
	assert_all(assert_errors, cases, ARRAY_SIZE(cases));
}

static void what_is_dangerous_or_useless_warns(void **state)
{
	static const struct document_case cases[] = {
		{ INGRESS(MAPPING "," VERIFY), "" },
		{ EGRESS(MAPPING "," ATTEST), "" },
		{ EGRESS(MAPPING "," ATTEST "," VERIFY), "" },
		{ INGRESS(MAPPING ",'no_ra':true"),
		  "add_ingress[0].no_ra: NO REMOTE ATTESTATION: the tunnel is encrypted, but anybody may be at its "
		  "other end; for tests only" },
		{ INGRESS(MAPPING "," ATTEST),
		  "add_ingress[0].attest: THE PEER IS NOT VERIFIED: anybody may answer in its place and read what the "
		  "applications send; add verify" },
		{ EGRESS(MAPPING "," VERIFY),
		  "add_egress[0].verify: the peers are verified, but cannot tell whom they talk to: anybody may answer "
		  "in our place; add attest" },
		{ WITH_VERIFY("'policy_ids':['x'],'as_addr':'http://a','skip_as_token_cert_verify':true"),
		  "add_ingress[0].verify.skip_as_token_cert_verify: the signer of a token is not checked: whoever "
		  "answers for as_addr is believed" },
		{ WITH_VERIFY("'policy_ids':['x'],'model':'passport','skip_as_token_cert_verify':true"),
		  "add_ingress[0].verify.skip_as_token_cert_verify: ANYBODY CAN MAKE A TOKEN THAT IS ACCEPTED: its "
		  "signer is not checked" },
		{ WITH_VERIFY("'policy_ids':['x'],'as_addr':'http://127.0.0.1:1','as_type':'grpc'"),
		  "add_ingress[0].verify: without trusted_certs_paths the key inside a token is believed, because it "
		  "came over our own connection to as_addr" },
		{ WITH_VERIFY("'policy_ids':['x'],'as_addr':'http://10.0.0.1/'"),
		  "add_ingress[0].verify.as_addr: the certificates that tell a genuine token are fetched over plain "
		  "HTTP: use https, or trusted_certs_paths" },
		{ WITH_VERIFY("'policy_ids':['x'],'as_addr':'http://10.0.0.1/','trusted_certs_paths':['/a']"), "" },
		{ WITH_VERIFY("'policy_ids':['x'],'as_addr':'https://10.0.0.1/'"), "" },
		{ WITH_VERIFY("'as_type':'builtin'"), "" },
		{ WITH_VERIFY("'as_type':'builtin','policy_ids':[],'as_headers':{},'as_addr':null"), "" },
		{ WITH_VERIFY("'as_type':'builtin','policy_ids':['x'],'attestation_policy':{'type':'trust_all'}"),
		  "add_ingress[0].verify.policy_ids: not used: it belongs to as_type 'restful' or 'grpc'\n"
		  "add_ingress[0].verify.attestation_policy: 'trust_all' accepts sample evidence, which anybody can "
		  "make: for tests only" },
		{ WITH_ATTEST("'aa_type':'builtin','aa_addr':'unix:///a','as_addr':'http://a'"),
		  "add_egress[0].attest.aa_type: the builtin agent makes sample evidence, which proves nothing: for "
		  "tests only\n"
		  "add_egress[0].attest.aa_addr: not used: it belongs to aa_type 'uds'\n"
		  "add_egress[0].attest.as_addr: not used: in background check only the verifier has a service" },
	};

	(void)state;
	assert_all(assert_warnings, cases, ARRAY_SIZE(cases));
}

static void two_entries_never_listen_on_one_port(void **state)
{
	static const char rules[] = "{'add_ingress':[{'no_ra':true,'mapping':{'rules':[\n"
				    "{'in':{%s},'out':{'host':'a','port':%s}},\n"
				    "{'in':{%s},'out':{'host':'a','port':%s}}]}}]}";
	static const struct {
		const char *in[2];
		const char *out[2];
		const char *expected;
	} cases[] = {
		{ { "'port':5", "'port':6" }, { "1", "1" }, "" },
		{ { "'port':5", "'port':5" },
		  { "1", "1" },
		  "add_ingress[0].mapping.rules[1].in.port: port 5 of 0.0.0.0 is taken already by "
		  "add_ingress[0].mapping.rules[0].in.port" },
		{ { "'port':8", "'port':5,'port_end':9" },
		  { "1", "1,'port_end':5" },
		  "add_ingress[0].mapping.rules[1].in.port: port 8 of 0.0.0.0 is taken already by "
		  "add_ingress[0].mapping.rules[0].in.port" },
		{ { "'port':5,'port_end':9", "'port':10" }, { "1,'port_end':5", "1" }, "" },
		{ { "'port':5,'host':'127.0.0.1'", "'port':5,'host':'127.0.0.2'" }, { "1", "1" }, "" },
		{ { "'port':5,'host':'127.0.0.1'", "'port':5,'host':'localhost'" },
		  { "1", "1" },
		  "add_ingress[0].mapping.rules[1].in.port: port 5 of localhost is taken already by "
		  "add_ingress[0].mapping.rules[0].in.port" },
		{ { "'port':5,'host':'::1'", "'port':5,'host':'0:0:0:0:0:0:0:1'" },
		  { "1", "1" },
		  "add_ingress[0].mapping.rules[1].in.port: port 5 of 0:0:0:0:0:0:0:1 is taken already by "
		  "add_ingress[0].mapping.rules[0].in.port" },
		{ { "'port':5,'host':'0.0.0.0'", "'port':5,'host':'::'" }, { "1", "1" }, "" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct config_report report;
		char text[512];
		char *found;

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
		snprintf(text, sizeof(text), rules, cases[i].in[0], cases[i].out[0], cases[i].in[1], cases[i].out[1]);
#pragma GCC diagnostic pop
		config_free(load(text, &report));
		cut_positions(&report.errors);
		found = joined(&report.errors);
		assert_string_equal(found, cases[i].expected);
		free(found);
		config_report_release(&report);
	}
}

static void an_address_inside_another_ones_wildcard_warns(void **state)
{
	static const struct document_case cases[] = {
		{ "{'add_ingress':[{" MAPPING "," VERIFY
		  "},{'mapping':{'in':{'host':'localhost','port':10001},'out':{'host':'a','port':1}}," VERIFY "}]}",
		  "add_ingress[1].mapping.in.port: add_ingress[0].mapping.in.port listens on 0.0.0.0 as a whole: connections to "
		  "localhost:10001 come here, all others go there" },
		{ "{'add_ingress':[{'mapping':{'in':{'host':'10.0.0.1','port':10001},'out':{'host':'a','port':1}}," VERIFY
		  "},{" MAPPING "," VERIFY "}]}",
		  "add_ingress[0].mapping.in.port: add_ingress[1].mapping.in.port listens on 0.0.0.0 as a whole: connections to "
		  "10.0.0.1:10001 come here, all others go there" },
		{ "{'add_ingress':[{" MAPPING "," VERIFY
		  "},{'mapping':{'in':{'host':'::1','port':10001},'out':{'host':'a','port':1}}," VERIFY "}]}",
		  "" },
		{ "{'add_ingress':[{" MAPPING "," VERIFY
		  "},{'mapping':{'in':{'host':'::','port':10001},'out':{'host':'a','port':1}}," VERIFY "}]}",
		  "" },
	};

	(void)state;
	assert_all(assert_warnings, cases, ARRAY_SIZE(cases));
}

static void a_wildcard_does_not_hide_an_overlap_beside_it(void **state)
{
	(void)state;
	assert_errors("{'add_ingress':[{'no_ra':true,'mapping':{'rules':["
		      "{'in':{'port':5},'out':{'host':'a','port':1}},"
		      "{'in':{'host':'127.0.0.1','port':5},'out':{'host':'a','port':1}},"
		      "{'in':{'host':'127.0.0.1','port':5},'out':{'host':'a','port':1}}]}}]}",
		      "add_ingress[0].mapping.rules[2].in.port: port 5 of 127.0.0.1 is taken already by "
		      "add_ingress[0].mapping.rules[1].in.port");
}

static void old_spellings_are_translated_with_a_warning(void **state)
{
	struct config *c = load_good(WITH_VERIFY("'as_addr':'http://127.0.0.1','policy_ids':['x'],'as_is_grpc':true"));
	static const struct document_case warnings[] = {
		{ WITH_VERIFY("'as_addr':'http://127.0.0.1','policy_ids':['x'],'as_is_grpc':false"),
		  "add_ingress[0].verify.as_is_grpc: an old spelling, write 'as_type': 'restful'" },
		{ INGRESS(MAPPING ",'encap_in_http':null," VERIFY),
		  "add_ingress[0].encap_in_http: an old spelling, write 'ohttp'" },
	};
	static const struct document_case errors[] = {
		{ WITH_VERIFY("'as_addr':'http://a','policy_ids':['x'],'as_is_grpc':true,'as_type':'grpc'"),
		  "add_ingress[0].verify.as_is_grpc: an old spelling of 'as_type', which is there too" },
		{ WITH_VERIFY("'as_addr':'http://a','policy_ids':['x'],'as_is_grpc':'yes'"),
		  "add_ingress[0].verify.as_is_grpc: unknown key; known here: model, as_provider, as_type, as_addr, "
		  "policy_ids, as_headers, as_connect_timeout, as_timeout, trusted_certs_paths, skip_as_token_cert_verify, "
		  "verify_signer_transparency, attestation_policy, reference_values, verdict_max_age, ita_jwks_addr, api_key" },
		{ INGRESS("'http_proxy':{'proxy_listen':{'port':1},'dst_filter':{'port':0}}," VERIFY),
		  "not supported yet: add_ingress[0].http_proxy\n"
		  "add_ingress[0].http_proxy.dst_filters.port: expected 1 to 65535, found 0" },
		{ EGRESS(MAPPING "," ATTEST ",'decap_from_http':{'allow_non_tng_traffic_regexes':[]}"),
		  "not supported yet: add_egress[0].ohttp" },
		{ EGRESS(MAPPING "," ATTEST ",'decap_from_http':{'allow_non_tng_traffic_regexes':['/a',5]}"),
		  "not supported yet: add_egress[0].ohttp\n"
		  "not supported yet: add_egress[0].direct_forward\n"
		  "add_egress[0].direct_forward[1].http_path: expected a string, found 5" },
		{ EGRESS(MAPPING "," ATTEST ",'ohttp':{'allow_non_tng_traffic_regexes':['/a']},'direct_forward':[]"),
		  "not supported yet: add_egress[0].ohttp\n"
		  "add_egress[0].ohttp.allow_non_tng_traffic_regexes: an old spelling of 'direct_forward', which is "
		  "there too" },
		{ EGRESS(MAPPING "," ATTEST ",'ohttp':{},'decap_from_http':{}"),
		  "not supported yet: add_egress[0].ohttp\n"
		  "add_egress[0].decap_from_http: an old spelling of 'ohttp', which is there too" },
	};

	(void)state;
	assert_int_equal(c->entries[0].verify->as.type, AS_GRPC);
	config_free(c);
	assert_all(assert_warnings, warnings, ARRAY_SIZE(warnings));
	assert_all(assert_errors, errors, ARRAY_SIZE(errors));
}

static void switched_off_forms_of_later_features_are_accepted(void **state)
{
	static const char *const cases[] = {
		INGRESS(MAPPING "," VERIFY ",'web_page_inject':false,'ohttp':null,'quic':null,'socks5':null"),
		EGRESS(MAPPING "," ATTEST ",'direct_forward':[],'ohttp':null,'netfilter':null,'verify':null"),
		"{'add_egress':[{" MAPPING "," ATTEST "}],'add_ingress':[],'metric':{'exporters':[]},'trace':{},"
		"'admin_bind':null,'control_interface':null,'interception':null,'wccp':null}",
		WITH_VERIFY("'as_addr':'http://a','policy_ids':['x'],'verify_signer_transparency':false,"
			    "'reference_values':[],'trusted_certs_paths':null"),
		"{'add_ingress':[{'mapping':{'in':{'port':1,'host':null},'out':{'host':'a','port':2,'port_end':null},"
		"'transparency':null,'proxy_protocol':null},'no_ra':true}]}",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		config_free(load_good(cases[i]));
}

static void later_features_are_checked_inside_and_refused(void **state)
{
	static const struct document_case cases[] = {
		{ INGRESS("'http_proxy':{'proxy_listen':{'port':1,'host':'0.0.0.0'},'dst_filters':["
			  "{'domain':'*.a','port':80},{'domain_regex':'.*'},{'ip':'10.0.0.1'},"
			  "{'ip_cidr':'10.0.0.0/8','port':1,'port_end':2}]}," VERIFY),
		  "not supported yet: add_ingress[0].http_proxy" },
		{ INGRESS("\n'http_proxy':{'dst_filters':{'domain':'a*b','ip':'::1','ip_cidr':'10.0.0.1/8','port_end':2}}," VERIFY),
		  "not supported yet: add_ingress[0].http_proxy\n"
		  "add_ingress[0].http_proxy.proxy_listen: missing, expected an object\n"
		  "add_ingress[0].http_proxy.dst_filters.domain: a * must stand at the beginning or at the end, found "
		  "'a*b'\n"
		  "add_ingress[0].http_proxy.dst_filters.ip: expected an IPv4 address, found '::1'\n"
		  "add_ingress[0].http_proxy.dst_filters.ip_cidr: the address has bits behind the prefix, found "
		  "'10.0.0.1/8'" },
		{ INGRESS("\n'socks5':{'proxy_listen':{'port':1},'auth':{'username':'','password':5},'dst_filters':{}}," VERIFY),
		  "not supported yet: add_ingress[0].socks5\n"
		  "add_ingress[0].socks5.auth.username: an empty string, found ''\n"
		  "add_ingress[0].socks5.auth.password: expected a string, found 5\n"
		  "add_ingress[0].socks5.dst_filters: expected a list of objects, found an object" },
		{ INGRESS("\n'netfilter':{'capture_dst':[{'host':'10.0.0.0/8','ipset':'x'},{'port_end':3},{'port':5,'port_end':4}],"
			  "'so_mark':4294967296,'scope':'all'}," VERIFY),
		  "add_ingress[0].netfilter.capture_dst[0]: write host or ipset, not both\n"
		  "add_ingress[0].netfilter.capture_dst[1]: write at least one of host, ipset and port\n"
		  "add_ingress[0].netfilter.capture_dst[1].port_end: not without port\n"
		  "add_ingress[0].netfilter.capture_dst[2].port_end: expected 5 to 65535, found 4\n"
		  "add_ingress[0].netfilter.so_mark: expected 0 to 4294967295, found 4294967296\n"
		  "add_ingress[0].netfilter.scope: expected 'local', 'forward' or 'both', found 'all'" },
		{ EGRESS("\n'netfilter':{'capture_dst':[]}," ATTEST),
		  "add_egress[0].netfilter: captures nothing: write capture_dst or capture_cgroup" },
		{ EGRESS("\n'netfilter':{'capture_dst':{'port':1},'capture_local_traffic':true,'method':'tproxy'}," ATTEST),
		  "add_egress[0].netfilter.method: unknown key; known here: capture_dst, capture_cgroup, "
		  "nocapture_cgroup, listen_port, so_mark, in_ifname, ipv6, exclude_dst, capture_local_traffic, transparency, "
		  "proxy_protocol" },
		{ INGRESS("'netfilter_udp':{}," VERIFY), "not supported yet: add_ingress[0].netfilter_udp" },
		{ EGRESS("\n'hook':{'capture_listen':[{'port':1,'port_end':2},"
			 "{'port':1,'port_end':2,'redirect_to_port':5,'redirect_to_port_end':7}]}," ATTEST),
		  "not supported yet: add_egress[0].hook\n"
		  "add_egress[0].hook.capture_listen[0]: port_end and redirect_to_port_end belong together\n"
		  "add_egress[0].hook.capture_listen[1]: the two port ranges differ in length" },
		{ INGRESS("\n'mapping_udp':{'in':{'port':1},'out':{'port':2},'idle_timeout_secs':30}," VERIFY
			  ",\n'quic':{'max_datagram_size':0}"),
		  "not supported yet: add_ingress[0].mapping_udp\n"
		  "add_ingress[0].mapping_udp.out.host: missing, expected a string\n"
		  "not supported yet: add_ingress[0].quic\n"
		  "add_ingress[0].quic.max_datagram_size: expected 1 to 65535, found 0" },
		{ INGRESS(MAPPING
			  "," VERIFY ",\n'ohttp':{'path_rewrites':[{'match_regex':'a'}],'path_default':'x',"
			  "'header_passthrough':{'request_headers':'all','response_headers':'some'},'tls':1,'key':{}}"),
		  "not supported yet: add_ingress[0].ohttp\n"
		  "add_ingress[0].ohttp.path_rewrites[0].substitution: missing, expected a string\n"
		  "add_ingress[0].ohttp.path_default: expected 'root' or 'original', found 'x'\n"
		  "add_ingress[0].ohttp.header_passthrough.response_headers: expected a list of strings or 'all', "
		  "found 'some'\n"
		  "add_ingress[0].ohttp.tls: expected true or false, found 1\n"
		  "add_ingress[0].ohttp.key: unknown key; known here: path_rewrites, path_default, "
		  "header_passthrough, tls, tls_ca_certs" },
		{ EGRESS(MAPPING
			 "," ATTEST ",\n'ohttp':{'cors':{'allow_origins':['*'],'allow_credentials':true},"
			 "'key':{'source':'peer_shared','peers':['a:1','b'],'verify':{'as_type':'builtin'},'port':0}}"),
		  "not supported yet: add_egress[0].ohttp\n"
		  "add_egress[0].ohttp.cors.allow_origins: '*' is not possible together with allow_credentials: true\n"
		  "add_egress[0].ohttp.key.peers[1]: expected HOST:PORT, found 'b'\n"
		  "add_egress[0].ohttp.key.port: expected 1 to 65535, found 0" },
		{ EGRESS(MAPPING "," ATTEST ",\n'ohttp':{'key':{'source':'file'}}"),
		  "not supported yet: add_egress[0].ohttp\n"
		  "add_egress[0].ohttp.key.path: missing, expected a string" },
		{ EGRESS(MAPPING "," ATTEST
				 ",\n'ohttp':{'key':{'source':'moon'}},'direct_forward':[{'http_path':'/a'}]"),
		  "not supported yet: add_egress[0].ohttp\n"
		  "add_egress[0].ohttp.key.source: expected 'self_generated', 'peer_shared' or 'file', found 'moon'\n"
		  "not supported yet: add_egress[0].direct_forward" },
		{ "{'add_egress':[{" MAPPING "," ATTEST "}],\n'metric':{'exporters':[{'type':'oltp','protocol':'grpc',"
		  "'endpoint':'http://a','step':5},{'type':'falcon','server_url':'http://a','endpoint':'b','tags':{'a b':'c'}}]},\n"
		  "'trace':{'exporters':[{'type':'otlp','protocol':'http','endpoint':'http://a','step':5},{'type':'none'}]},\n"
		  "'control_interface':{},\n'admin_bind':{'port':1},\n'interception':{'backend':'pf'},\n'wccp':{'services':{'id':51}}}",
		  "not supported yet: metric.exporters\n"
		  "metric.exporters: only one exporter of metrics is possible\n"
		  "not supported yet: trace.exporters\n"
		  "trace.exporters[0].protocol: expected 'grpc', 'http/protobuf' or 'http/json', found 'http'\n"
		  "trace.exporters[0].step: unknown key; known here: type, protocol, endpoint, headers\n"
		  "trace.exporters[1].type: expected 'otlp', 'oltp' or 'stdout', found 'none'\n"
		  "not supported yet: control_interface\n"
		  "control_interface: no interface: write restful\n"
		  "not supported yet: admin_bind\n"
		  "interception.backend: expected 'auto', 'nft', 'iptables' or 'none', found 'pf'\n"
		  "not supported yet: wccp" },
		{ INGRESS("'mapping':{'in':{'port':1},'out':{'host':'a','port':2},\n'transparency':{'in':true,'client_port':true},\n"
			  "'proxy_protocol':{'accept_from':['10.0.0.0/8'],'send':'v3'}}," VERIFY),
		  "add_ingress[0].mapping.transparency.in: only with netfilter: the clients of a mapping connect to our own "
		  "address\n"
		  "add_ingress[0].mapping.transparency.client_port: only with out: true\n"
		  "add_ingress[0].mapping.proxy_protocol.send: expected 'v1' or 'v2', found 'v3'" },
		{ WITH_VERIFY("'as_type':'builtin','attestation_policy':{'type':'inline','content':'eA=='},\n"
			      "'reference_values':[{'type':'sample','payload':{'type':'path','path':'/a'}}]"),
		  "not supported yet: add_ingress[0].verify.attestation_policy.type 'inline'\n"
		  "not supported yet: add_ingress[0].verify.reference_values" },
		{ WITH_VERIFY("'as_type':'builtin','attestation_policy':{'type':'path'}"),
		  "add_ingress[0].verify.attestation_policy.path: missing, expected a string\n"
		  "not supported yet: add_ingress[0].verify.attestation_policy.type 'path'" },
		{ WITH_VERIFY("'as_provider':'ita','ita_jwks_addr':'https://a','policy_ids':[]"),
		  "not supported yet: add_ingress[0].verify.as_provider 'ita'" },
		{ WITH_VERIFY("'as_addr':'http://a','policy_ids':['x'],'verify_signer_transparency':true"),
		  "not supported yet: add_ingress[0].verify.verify_signer_transparency" },
		{ WITH_ATTEST("'aa_provider':'ita_asr','asr_addr':'http://a','model':'passport','as_provider':'ita',"
			      "'api_key':5,'policy_ids':['p']"),
		  "not supported yet: add_egress[0].attest.aa_provider 'ita_asr'\n"
		  "not supported yet: add_egress[0].attest.as_provider 'ita'\n"
		  "add_egress[0].attest.api_key: expected a string, found 5" },
	};

	(void)state;
	assert_all(assert_errors, cases, ARRAY_SIZE(cases));
}

static void comments_are_allowed(void **state)
{
	(void)state;
	config_free(load_good("// x\n" INGRESS(MAPPING "," VERIFY) " // y"));
}

static const char full_document[] =
	"{'add_ingress':[{'mapping':{'in':{'port':1},'out':{'host':'b','port':2}},"
	"'verify':{'as_addr':'http://127.0.0.1','policy_ids':['a'],'as_headers':{'Authorization':'Bearer s3cret'}},"
	"'rats_tls':{'multiplex':true,'multiplex_max_connections':4}}],"
	"'add_egress':[{'mapping':{'rules':[{'in':{'port':3},'out':{'host':'c','port':4}}]},"
	"'attest':{'model':'passport','aa_addr':'unix:///a','as_addr':'http://x','policy_ids':['q'],"
	"'as_headers':{'X-Key':'s3cret'}},'verify':{'as_type':'builtin'},'rats_tls':{'binding':'legacy'}}],"
	"'timeouts':{'connect':0.25},'limits':{'token_size':5000}}";

static void the_effective_document_reads_back_as_itself_without_warnings(void **state)
{
	struct config *c = load_good(full_document);
	struct config_report report;
	struct buf first = { 0 };
	struct buf second = { 0 };
	struct config *back;

	(void)state;
	config_format(c, &first);
	back = config_load(buf_bytes(&first), "g", &report);
	assert_non_null(back);
	assert_int_equal(report.warnings.count, 0);
	config_format(back, &second);
	assert_string_equal(buf_str(&first), buf_str(&second));
	assert_non_null(strstr(buf_str(&first), "\"connect\": 0.25,"));
	assert_non_null(strstr(buf_str(&first), "\"token_size\": \"5000\","));
	config_report_release(&report);
	buf_release(&first);
	buf_release(&second);
	config_free(back);
	config_free(c);
}

static void the_effective_document_hides_what_headers_hold(void **state)
{
	struct config *c = load_good(full_document);
	struct buf text = { 0 };

	(void)state;
	config_format(c, &text);
	assert_null(strstr(buf_str(&text), "s3cret"));
	assert_non_null(strstr(buf_str(&text), "{\"Authorization\": \"<hidden>\"}"));
	buf_release(&text);
	config_free(c);
}

static void files_that_cannot_be_read_are_told_with_their_place(void **state)
{
	struct config *c = load_good(WITH_VERIFY("'as_addr':'http://a','policy_ids':['x'],'trusted_certs_paths':"
						 "['/nonexistent/ca.pem',\n'/dev/null','/proc/self/exe']"));
	struct config_report report = { 0 };
	char *found;

	(void)state;
	assert_false(config_check_files(c, &report));
	found = joined(&report.errors);
	assert_string_equal(
		found, "f:3:65: add_ingress[0].verify.trusted_certs_paths[0]: cannot read \"/nonexistent/ca.pem\": "
		       "No such file or directory\n"
		       "f:4:1: add_ingress[0].verify.trusted_certs_paths[1]: \"/dev/null\" is not a file");
	free(found);
	config_report_release(&report);
	config_free(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_minimal_ingress_has_all_defaults),
		cmocka_unit_test(a_minimal_egress_has_all_defaults),
		cmocka_unit_test(every_key_is_stored),
		cmocka_unit_test(mistakes_in_the_text_have_their_place),
		cmocka_unit_test(values_are_held_against_type_and_range),
		cmocka_unit_test(unknown_keys_are_errors_that_name_the_nearest_known_one),
		cmocka_unit_test(an_entry_has_one_mode_and_one_kind_of_trust),
		cmocka_unit_test(rules_of_verify_are_kept),
		cmocka_unit_test(rules_of_attest_are_kept),
		cmocka_unit_test(what_is_dangerous_or_useless_warns),
		cmocka_unit_test(two_entries_never_listen_on_one_port),
		cmocka_unit_test(an_address_inside_another_ones_wildcard_warns),
		cmocka_unit_test(a_wildcard_does_not_hide_an_overlap_beside_it),
		cmocka_unit_test(old_spellings_are_translated_with_a_warning),
		cmocka_unit_test(switched_off_forms_of_later_features_are_accepted),
		cmocka_unit_test(later_features_are_checked_inside_and_refused),
		cmocka_unit_test(comments_are_allowed),
		cmocka_unit_test(the_effective_document_reads_back_as_itself_without_warnings),
		cmocka_unit_test(the_effective_document_hides_what_headers_hold),
		cmocka_unit_test(files_that_cannot_be_read_are_told_with_their_place),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
