/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static struct json *parse(const char *text)
{
	struct err e = { 0 };
	struct json *j = json_parse(bytes_str(text), JSON_STRICT, &e);

	if (j == NULL)
		fail_msg("%s: %s", text, e.text);
	return j;
}

static void assert_canonical(const char *text, const char *expected)
{
	struct json *j = parse(text);
	struct buf out = { 0 };

	json_format_canonical(j, &out);
	assert_string_equal(buf_str(&out), expected);
	buf_release(&out);
	json_free(j);
}

/* Appendix B of the RFC: the double with these bits, and its text. */
static void numbers_are_written_as_rfc_8785_appendix_b_has_them(void **state)
{
	static const struct {
		uint64_t bits;
		const char *text;
	} cases[] = {
		{ 0x0000000000000000, "0" },
		{ 0x8000000000000000, "0" },
		{ 0x0000000000000001, "5e-324" },
		{ 0x8000000000000001, "-5e-324" },
		{ 0x7fefffffffffffff, "1.7976931348623157e+308" },
		{ 0xffefffffffffffff, "-1.7976931348623157e+308" },
		{ 0x4340000000000000, "9007199254740992" },
		{ 0xc340000000000000, "-9007199254740992" },
		{ 0x4430000000000000, "295147905179352830000" },
		{ 0x44b52d02c7e14af5, "9.999999999999997e+22" },
		{ 0x44b52d02c7e14af6, "1e+23" },
		{ 0x44b52d02c7e14af7, "1.0000000000000001e+23" },
		{ 0x444b1ae4d6e2ef4e, "999999999999999700000" },
		{ 0x444b1ae4d6e2ef4f, "999999999999999900000" },
		{ 0x444b1ae4d6e2ef50, "1e+21" },
		{ 0x3eb0c6f7a0b5ed8c, "9.999999999999997e-7" },
		{ 0x3eb0c6f7a0b5ed8d, "0.000001" },
		{ 0x41b3de4355555553, "333333333.3333332" },
		{ 0x41b3de4355555554, "333333333.33333325" },
		{ 0x41b3de4355555555, "333333333.3333333" },
		{ 0x41b3de4355555556, "333333333.3333334" },
		{ 0x41b3de4355555557, "333333333.33333343" },
		{ 0xbecbf647612f3696, "-0.0000033333333333333333" },
		{ 0x43143ff3c1cb0959, "1424953923781206.2" },
		{ 0x3d30000000000000, "5.684341886080802e-14" }, /* 2^-44: nearest 16 digits read back wrong */
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		double value;
		char text[64];

		memcpy(&value, &cases[i].bits, sizeof(value));
		snprintf(text, sizeof(text), "%.17g", value);
		assert_canonical(text, cases[i].text);
	}
}

static void integers_stay_as_they_are(void **state)
{
	(void)state;
	assert_canonical("[0,-0,1,-1,1767225600,9007199254740991,1e2,1.50,-0.0]",
			 "[0,0,1,-1,1767225600,9007199254740991,100,1.5,0]");
	assert_canonical("[1e400,-1e-400]", "[1e400,0]");
}

/* Section 3.2.3 of the RFC; the emoji (two code units from 0xd83d on) stands before U+FB33. */
static void members_are_sorted_by_utf16_code_units(void **state)
{
	(void)state;
	assert_canonical("{\"\\u20ac\": \"Euro Sign\", \"\\r\": \"Carriage Return\","
			 "\"\\ufb33\": \"Hebrew Letter Dalet With Dagesh\", \"1\": \"One\","
			 "\"\\ud83d\\ude00\": \"Emoji: Grinning Face\", \"\\u0080\": \"Control\","
			 "\"\\u00f6\": \"Latin Small Letter O With Diaeresis\"}",
			 "{\"\\r\":\"Carriage Return\",\"1\":\"One\",\"\xc2\x80\":\"Control\","
			 "\"\xc3\xb6\":\"Latin Small Letter O With Diaeresis\",\"\xe2\x82\xac\":\"Euro Sign\","
			 "\"\xf0\x9f\x98\x80\":\"Emoji: Grinning Face\","
			 "\"\xef\xac\xb3\":\"Hebrew Letter Dalet With Dagesh\"}");
	assert_canonical("{\"b\":{\"z\":1,\"\":2},\"ab\":[{\"y\":1,\"x\":2}],\"a\":null}",
			 "{\"a\":null,\"ab\":[{\"x\":2,\"y\":1}],\"b\":{\"\":2,\"z\":1}}");
}

/* Section 3.2.2 of the RFC. */
static void strings_have_the_fewest_escapes(void **state)
{
	(void)state;
	assert_canonical("{\"numbers\": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],"
			 "\"string\": \"\\u20ac$\\u000F\\u000aA'\\u0042\\u0022\\u005c\\\\\\\"\\/\","
			 "\"literals\": [null, true, false]}",
			 "{\"literals\":[null,true,false],"
			 "\"numbers\":[333333333.3333333,1e+30,4.5,0.002,1e-27],"
			 "\"string\":\"\xe2\x82\xac$\\u000f\\nA'B\\\"\\\\\\\\\\\"/\"}");
}

static void compact_text_keeps_order_and_notation(void **state)
{
	struct json *j = parse("{ \"b\" : [ 1.50 , -0 , \"\\u0041\\u0000\" ] , \"a\" : { } , \"c\":[ ] }");
	struct buf out = { 0 };

	(void)state;
	json_format(j, &out);
	assert_string_equal(buf_str(&out), "{\"b\":[1.50,-0,\"A\\u0000\"],\"a\":{},\"c\":[]}");
	buf_release(&out);
	json_free(j);
}

static void bytes_that_are_not_utf8_are_replaced_in_strings(void **state)
{
	struct buf out = { 0 };

	(void)state;
	json_append_string(&out, bytes_str("a\xff\xc3\xa4\xc3\"\x1f"));
	assert_string_equal(buf_str(&out), "\"a\xef\xbf\xbd\xc3\xa4\xef\xbf\xbd\\\"\\u001f\"");
	buf_release(&out);
}

static bool equal(const char *a, const char *b)
{
	struct json *x = parse(a);
	struct json *y = parse(b);
	bool same = json_equal(x, y);

	assert_true(json_equal(y, x) == same);
	json_free(x);
	json_free(y);
	return same;
}

static void values_are_compared_not_their_text(void **state)
{
	(void)state;
	assert_true(equal("{\"a\":1,\"b\":[\"\\u0041\"]}", "{\"b\":[\"A\"],\"a\":1.0}"));
	assert_true(equal("[0,100,1200e-2,0.5]", "[-0,1e2,12,5E-1]"));
	assert_true(equal("0e99999999999999999999", "0.000"));
	assert_false(equal("9007199254740993", "9007199254740992"));
	assert_false(equal("1e400", "1e401"));
	assert_false(equal("0.1", "0.10000000000000001"));
	assert_false(equal("1", "-1"));
	assert_false(equal("1", "\"1\""));
	assert_false(equal("\"a\"", "\"a\\u0000\""));
	assert_false(equal("[1,2]", "[2,1]"));
	assert_false(equal("[1]", "[1,1]"));
	assert_false(equal("{\"a\":1}", "{\"b\":1}"));
	assert_false(equal("{\"a\":1}", "{\"a\":2}"));
	assert_false(equal("{}", "[]"));
	assert_false(equal("true", "false"));
	assert_true(equal("null", "null"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers_are_written_as_rfc_8785_appendix_b_has_them),
		cmocka_unit_test(integers_stay_as_they_are),
		cmocka_unit_test(members_are_sorted_by_utf16_code_units),
		cmocka_unit_test(strings_have_the_fewest_escapes),
		cmocka_unit_test(compact_text_keeps_order_and_notation),
		cmocka_unit_test(bytes_that_are_not_utf8_are_replaced_in_strings),
		cmocka_unit_test(values_are_compared_not_their_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
