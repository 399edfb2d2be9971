/* SPDX-License-Identifier: Apache-2.0 */
/* What "ebtables -t nat -L" prints. */
#include "capture/ebtables.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char sample[] = "Bridge table: nat\n"
			     "\n"
			     "Bridge chain: PREROUTING, entries: 2, policy: ACCEPT\n"
			     "-j TNG_0_BRIDGE_PRE\n"
			     "-p IPv4 -i eth7 -j DROP \n"
			     "\n"
			     "Bridge chain: OUTPUT, entries: 1, policy: ACCEPT\n"
			     "-j elsewhere\n"
			     "\n"
			     "Bridge chain: TNG_0_BRIDGE_PRE, entries: 12, policy: RETURN\n"
			     "-i eth1 -j TNG_0_I0_BR0\n";

static void chains_are_counted_and_jumps_are_those_of_prerouting(void **state)
{
	struct ebtables_listing l;
	struct err e;

	(void)state;
	assert_int_equal(ebtables_listing_parse(bytes_str(sample), &l, &e), 0);
	assert_int_equal(l.count, 3);
	assert_string_equal(l.chains[0].name, "PREROUTING");
	assert_int_equal(l.chains[0].rules, 2);
	assert_string_equal(l.chains[2].name, "TNG_0_BRIDGE_PRE");
	assert_int_equal(l.chains[2].rules, 12);
	assert_string_equal(buf_str(&l.jumps), "TNG_0_BRIDGE_PRE\nDROP\n");
	ebtables_listing_release(&l);
}

static void what_is_no_line_of_a_chain_is_refused(void **state)
{
	static const char *const lines[] = {
		"Bridge chain: ",
		"Bridge chain: A",
		"Bridge chain: A, entries: ",
		"Bridge chain: , entries: 1, policy: RETURN",
		"Bridge chain: A, entries: 1, polic",
		"Bridge chain: A, entries: x, policy: RETURN",
		"Bridge chain: A, entries: -1, policy: RETURN",
		"Bridge chain: A, entries: 1000001, policy: RETURN",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		struct ebtables_listing l;
		struct err e;

		if (ebtables_listing_parse(bytes_str(lines[i]), &l, &e) != -1)
			fail_msg("taken: %s", lines[i]);
		assert_non_null(strstr(e.text, "not the line of a chain"));
		ebtables_listing_release(&l);
	}
}

static void there_may_be_so_many_chains_and_not_one_more(void **state)
{
	struct buf text = { 0 };
	struct ebtables_listing l;
	struct err e;

	(void)state;
	for (unsigned i = 0; i < EBTABLES_CHAINS_MAX; i++)
		buf_format(&text, "Bridge chain: c%u, entries: 0, policy: RETURN\n", i);
	assert_int_equal(ebtables_listing_parse(buf_bytes(&text), &l, &e), 0);
	assert_int_equal(l.count, EBTABLES_CHAINS_MAX);
	ebtables_listing_release(&l);
	buf_append_str(&text, "Bridge chain: more, entries: 0, policy: RETURN\n");
	assert_int_equal(ebtables_listing_parse(buf_bytes(&text), &l, &e), -1);
	assert_int_equal(e.kind, ERR_LIMIT);
	ebtables_listing_release(&l);
	buf_release(&text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(chains_are_counted_and_jumps_are_those_of_prerouting),
		cmocka_unit_test(what_is_no_line_of_a_chain_is_refused),
		cmocka_unit_test(there_may_be_so_many_chains_and_not_one_more),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
