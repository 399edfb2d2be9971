/* SPDX-License-Identifier: Apache-2.0 */
/* Names and addresses as destinations: what is the same place, and how it is written. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "io/endpoint.h"

static void an_address_is_recognised_and_a_name_is_borrowed(void **state)
{
	static const char name[] = "db.internal";
	struct endpoint p = endpoint_of(name, 5432);
	char text[ENDPOINT_TEXT];

	(void)state;
	assert_ptr_equal(p.host, name);
	assert_int_equal(endpoint_port(&p), 5432);
	assert_string_equal(endpoint_format(&p, text), "db.internal:5432");

	p = endpoint_of("10.1.0.7", 80);
	assert_null(p.host);
	assert_string_equal(endpoint_format(&p, text), "10.1.0.7:80");
	p = endpoint_of("[::1]", 443);
	assert_null(p.host);
	assert_string_equal(endpoint_format(&p, text), "[::1]:443");
}

static void only_the_same_place_is_equal(void **state)
{
	static const struct {
		const char *host;
		uint16_t port;
	} places[] = { { "10.0.0.1", 80 }, { "10.0.0.1", 81 }, { "10.0.0.2", 80 }, { "::1", 80 },     { "::2", 80 },
		       { "a.test", 80 },   { "b.test", 80 },   { "a.test", 81 },   { "0.0.0.0", 80 }, { "::", 80 } };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		struct endpoint a = endpoint_of(places[i].host, places[i].port);

		for (size_t k = 0; k < ARRAY_SIZE(places); k++) {
			struct endpoint b = endpoint_of(places[k].host, places[k].port);

			assert_int_equal(endpoint_equal(&a, &b), i == k);
			if (i == k)
				assert_int_equal(endpoint_hash(&a), endpoint_hash(&b));
		}
	}
}

static void the_longest_name_is_written_as_a_whole(void **state)
{
	char name[254];
	struct endpoint p;
	char text[ENDPOINT_TEXT];

	(void)state;
	memset(name, 'x', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	p = endpoint_of(name, 65535);
	assert_int_equal(strlen(endpoint_format(&p, text)), 253 + 6);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_address_is_recognised_and_a_name_is_borrowed),
		cmocka_unit_test(only_the_same_place_is_equal),
		cmocka_unit_test(the_longest_name_is_written_as_a_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
