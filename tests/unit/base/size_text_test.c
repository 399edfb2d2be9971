/* SPDX-License-Identifier: Apache-2.0 */
#include "base/size_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static void sizes_have_units_of_1024(void **state)
{
	static const struct {
		const char *text;
		uint64_t bytes;
	} cases[] = {
		{ "0", 0 },
		{ "67108864", 67108864 },
		{ "64MB", 67108864 },
		{ "64MiB", 67108864 },
		{ "64 mb", 67108864 },
		{ "64m", 67108864 },
		{ "5B", 5 },
		{ "1KB", 1024 },
		{ "2gib", 2147483648 },
		{ "1T", 1099511627776 },
		{ "18446744073709551615", UINT64_MAX },
		{ "16777215TiB", 16777215ULL << 40 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t bytes;

		assert_true(size_text_parse(cases[i].text, &bytes));
		assert_true(bytes == cases[i].bytes);
	}
}

static void what_is_no_size_is_refused(void **state)
{
	static const char *const cases[] = { "",
					     "MB",
					     "-1",
					     " 1",
					     "1.5MB",
					     "1XB",
					     "1MBB",
					     "1iB",
					     "1MiBs",
					     "1 MB ",
					     "0x10",
					     "18446744073709551616",
					     "16777216TiB",
					     "99999999999999999999" };
	uint64_t bytes;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_false(size_text_parse(cases[i], &bytes));
}

static void the_largest_unit_that_divides_is_written(void **state)
{
	struct buf out = { 0 };

	(void)state;
	size_text_format(0, &out);
	buf_append_str(&out, " ");
	size_text_format(1023, &out);
	buf_append_str(&out, " ");
	size_text_format(1024, &out);
	buf_append_str(&out, " ");
	size_text_format(3ULL << 20, &out);
	buf_append_str(&out, " ");
	size_text_format((1ULL << 40) + 1024, &out);
	assert_string_equal(buf_str(&out), "0 1023 1KiB 3MiB 1073741825KiB");
	buf_release(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sizes_have_units_of_1024),
		cmocka_unit_test(what_is_no_size_is_refused),
		cmocka_unit_test(the_largest_unit_that_divides_is_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
