/* SPDX-License-Identifier: Apache-2.0 */
#include "base/utf8.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static void the_ends_of_each_form_go_there_and_back(void **state)
{
	static const uint32_t cases[] = { 0, 0x7f, 0x80, 0x7ff, 0x800, 0xd7ff, 0xe000, 0xffff, 0x10000, 0x10ffff };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct buf out = { 0 };
		uint32_t c;

		utf8_append(&out, cases[i]);
		assert_int_equal(utf8_next(buf_bytes(&out), &c), out.len);
		assert_int_equal(c, cases[i]);
		if (out.len > 1)
			assert_int_equal(utf8_next(bytes_of(out.data, out.len - 1), &c), 0);
		buf_release(&out);
	}
}

static void what_is_not_utf8_is_refused(void **state)
{
	static const char *const cases[] = {
		"\x80",
		"\xbf",
		"\xc0\x80",
		"\xc1\xbf",
		"\xe0\x9f\xbf",
		"\xf0\x8f\xbf\xbf",
		"\xed\xa0\x80",
		"\xed\xbf\xbf",
		"\xf4\x90\x80\x80",
		"\xf8\x88\x80\x80\x80",
		"\xfe",
		"\xff",
		"\xc3(",
		"\xe2\x82(",
		"\xf0\x9f\x98(",
	};
	uint32_t c;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_int_equal(utf8_next(bytes_str(cases[i]), &c), 0);
	assert_int_equal(utf8_next(bytes_of(NULL, 0), &c), 0);
}

static void json_strings_have_the_fewest_escapes(void **state)
{
	struct buf out = { 0 };

	(void)state;
	utf8_append_json_string(&out, bytes_of("a\0\b\t\n\f\r\"\\/\x1f\x7f\xc3\xa4\xff", 15));
	assert_string_equal(buf_str(&out), "\"a\\u0000\\b\\t\\n\\f\\r\\\"\\\\/\\u001f\x7f\xc3\xa4\xef\xbf\xbd\"");
	buf_release(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_ends_of_each_form_go_there_and_back),
		cmocka_unit_test(what_is_not_utf8_is_refused),
		cmocka_unit_test(json_strings_have_the_fewest_escapes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
