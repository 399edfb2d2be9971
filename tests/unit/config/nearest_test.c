/* SPDX-License-Identifier: Apache-2.0 */
#include "config/nearest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"

static const char *const names[] = { "in", "port", "port_end", "policy_ids", "multiplex_max_connections" };

static const char *nearest(const char *text)
{
	return nearest_name(text, names, ARRAY_SIZE(names));
}

static void a_slip_of_the_finger_finds_its_name(void **state)
{
	(void)state;
	assert_string_equal(nearest("prot"), "port");
	assert_string_equal(nearest("pot"), "port");
	assert_string_equal(nearest("ports"), "port");
	assert_string_equal(nearest("policy_id"), "policy_ids");
	assert_string_equal(nearest("port-end"), "port_end");
	assert_string_equal(nearest("multiplex_max_conns"), "multiplex_max_connections");
	assert_string_equal(nearest("im"), "in");
}

static void another_word_finds_none(void **state)
{
	char longer_than_any_name[200];

	(void)state;
	assert_null(nearest("timeout"));
	assert_null(nearest(""));
	memset(longer_than_any_name, 'p', sizeof(longer_than_any_name));
	longer_than_any_name[sizeof(longer_than_any_name) - 1] = '\0';
	assert_null(nearest(longer_than_any_name));
	assert_null(nearest_name("port", names, 0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_slip_of_the_finger_finds_its_name),
		cmocka_unit_test(another_word_finds_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
