/* SPDX-License-Identifier: Apache-2.0 */
/* Which ports the kernel gives to clients, by the texts of its settings. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "io/local_ports.h"

static void a_port_is_of_clients_between_the_ends_and_where_it_is_not_reserved(void **state)
{
	static const struct {
		const char *range;
		const char *reserved;
		uint16_t port;
		bool included;
	} cases[] = {
		{ "32768\t60999\n", "\n", 32768, true },
		{ "32768\t60999\n", "\n", 60999, true },
		{ "32768\t60999\n", "\n", 32767, false },
		{ "32768\t60999\n", "\n", 61000, false },
		{ "32768\t60999\n", "", 40000, true },
		{ "32768\t60999\n", "40000\n", 40000, false },
		{ "32768\t60999\n", "40001\n", 40000, true },
		{ "32768\t60999\n", "8080,39999-40001,50000\n", 40000, false },
		{ "32768\t60999\n", "8080,39990-39999,40001\n", 40000, true },
		{ "32768\t60999\n", "8080,40000\n", 40000, false },
		{ "32768\t60999\n", "what,40000\n", 40000, true },
		{ "32768\n", "\n", 40000, false },
		{ "", "", 40000, false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (local_ports_match(cases[i].range, cases[i].reserved, cases[i].port) != cases[i].included)
			fail_msg("case %zu", i);
	}
}

static void an_error_of_another_kind_is_left_as_it_is(void **state)
{
	struct err e = { 0 };

	(void)state;
	errno = EACCES;
	err_errno(&e, ERR_SYSTEM, "listen on 0.0.0.0:40000");
	local_ports_explain(40000, &e);
	assert_string_equal(e.text, "listen on 0.0.0.0:40000: Permission denied");
	assert_int_equal(e.sys, EACCES);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_port_is_of_clients_between_the_ends_and_where_it_is_not_reserved),
		cmocka_unit_test(an_error_of_another_kind_is_left_as_it_is),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
