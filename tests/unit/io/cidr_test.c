/* SPDX-License-Identifier: Apache-2.0 */
/* Ranges of addresses: the last one inside, and the first one outside. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "io/cidr.h"

static bool has(const char *range, const char *addr)
{
	struct cidr c;
	struct sock_addr a;

	assert_true(cidr_parse(range, &c));
	assert_true(sock_addr_parse(addr, 80, &a));
	return cidr_has(&c, &a);
}

static void a_range_has_its_addresses_and_not_their_neighbours(void **state)
{
	(void)state;
	assert_true(has("10.1.2.0/23", "10.1.3.255"));
	assert_false(has("10.1.2.0/23", "10.1.4.0"));
	assert_false(has("10.1.2.0/23", "10.1.1.255"));
	assert_true(has("10.1.2.128/25", "10.1.2.255"));
	assert_false(has("10.1.2.128/25", "10.1.2.127"));
	assert_true(has("10.1.2.3/32", "10.1.2.3"));
	assert_false(has("10.1.2.3", "10.1.2.2"));
	assert_true(has("0.0.0.0/0", "255.1.2.3"));
	assert_true(has("fd00::/8", "fdff::1"));
	assert_false(has("fd00::/8", "fe00::1"));
	assert_true(has("::1/128", "::1"));
	assert_false(has("::1", "::2"));
	assert_true(has("::/0", "fe80::1"));
}

static void families_never_meet(void **state)
{
	(void)state;
	assert_false(has("0.0.0.0/0", "::1"));
	assert_false(has("::/0", "127.0.0.1"));
}

static void what_is_no_range_is_refused(void **state)
{
	static const char *const wrong[] = {
		"",	    "/8",     "10.0.0.0/", "10.0.0.0/33",  "10.0.0.0/-1", "10.0.0.0/+8",  "10.0.0.0/8 ",
		"10.0.0/8", "::/129", "::/1000",   "10.0.0.0/8/8", "a.test/8",	  "10.0.0.0/0008"
	};
	struct cidr c;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
		assert_false(cidr_parse(wrong[i], &c));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_range_has_its_addresses_and_not_their_neighbours),
		cmocka_unit_test(families_never_meet),
		cmocka_unit_test(what_is_no_range_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
