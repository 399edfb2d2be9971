/* SPDX-License-Identifier: Apache-2.0 */
/* Loopback is ours everywhere; the addresses of documentation are nobody's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "capture/local_addr.h"

static bool is_ours(const char *host)
{
	struct sock_addr a;

	assert_true(sock_addr_parse(host, 80, &a));
	return local_addr_is_ours(&a);
}

static void all_of_loopback_is_ours(void **state)
{
	(void)state;
	assert_true(is_ours("127.0.0.1"));
	assert_true(is_ours("127.255.0.9"));
}

static void foreign_addresses_are_not_with_a_route_or_without(void **state)
{
	(void)state;
	assert_false(is_ours("192.0.2.1"));
	assert_false(is_ours("2001:db8::1"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_of_loopback_is_ours),
		cmocka_unit_test(foreign_addresses_are_not_with_a_route_or_without),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
