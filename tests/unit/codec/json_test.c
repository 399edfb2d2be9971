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

static void assert_refused_bytes(struct bytes text, enum json_dialect dialect, const char *expected)
{
	struct err e = { 0 };
	struct json *j = json_parse(text, dialect, &e);

	if (j != NULL)
		fail_msg("accepted: %.*s", (int)text.len, text.data);
	assert_string_equal(e.text, expected);
}

static void assert_refused(const char *text, const char *expected)
{
	assert_refused_bytes(bytes_str(text), JSON_STRICT, expected);
}

static void values_of_all_types_are_read(void **state)
{
	struct json *j = parse(" {\"n\":null,\"t\":true,\"f\":false,\"i\":-12,\"s\":\"x\",\"a\":[1,2],\"o\":{}} ");
	int64_t i;

	(void)state;
	assert_int_equal(j->type, JSON_OBJECT);
	assert_int_equal(j->count, 7);
	assert_int_equal(json_member(j, "n")->type, JSON_NULL);
	assert_true(json_member(j, "t")->boolean);
	assert_false(json_member(j, "f")->boolean);
	assert_true(json_integer(json_member(j, "i"), -20, 0, &i));
	assert_int_equal(i, -12);
	assert_string_equal(json_string(json_member(j, "s")), "x");
	assert_int_equal(json_member(j, "a")->count, 2);
	assert_int_equal(json_member(j, "o")->count, 0);
	assert_null(json_member(j, "absent"));
	assert_null(json_member(NULL, "n"));
	assert_null(json_member(json_member(j, "a"), "n"));
	json_free(j);
}

static void places_are_counted_from_one_in_lines_and_bytes(void **state)
{
	struct json *j = parse("{\n  \"\xc3\xa4\": [1,\r\n\t\t2]\n}");
	const struct json *list = json_member(j, "\xc3\xa4");

	(void)state;
	assert_int_equal(j->line, 1);
	assert_int_equal(j->column, 1);
	assert_int_equal(j->keys[0].line, 2);
	assert_int_equal(j->keys[0].column, 3);
	assert_int_equal(list->line, 2);
	assert_int_equal(list->column, 9);
	assert_int_equal(list->items[1]->line, 3);
	assert_int_equal(list->items[1]->column, 3);
	json_free(j);
}

static void escapes_become_characters(void **state)
{
	struct json *j = parse("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e4\\u20AC\\ud83d\\ude00\"");

	(void)state;
	assert_string_equal(json_string(j), "\"\\/\b\f\n\r\t\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80");
	json_free(j);
}

static void a_string_with_a_nul_inside_has_its_length_but_is_no_c_string(void **state)
{
	struct json *j = parse("\"a\\u0000b\"");

	(void)state;
	assert_int_equal(j->text_len, 3);
	assert_memory_equal(j->text, "a\0b", 3);
	assert_null(json_string(j));
	json_free(j);
}

static void text_that_is_not_json_is_refused_with_its_place(void **state)
{
	static const struct {
		const char *text;
		const char *expected;
	} cases[] = {
		{ "", "line 1, column 1: expected a value, found the end of the text" },
		{ " \n ", "line 2, column 2: expected a value, found the end of the text" },
		{ "{", "line 1, column 2: expected a name in quotes, found the end of the text" },
		{ "{\"a\"", "line 1, column 5: expected ':', found the end of the text" },
		{ "{\"a\":", "line 1, column 6: expected a value, found the end of the text" },
		{ "{\"a\":1", "line 1, column 7: expected ',' or '}', found the end of the text" },
		{ "{\"a\":1,}", "line 1, column 8: a comma before '}'" },
		{ "{a:1}", "line 1, column 2: expected a name in quotes, found 'a'" },
		{ "{'a':1}", "line 1, column 2: expected a name in quotes, found '''" },
		{ "[", "line 1, column 2: expected a value, found the end of the text" },
		{ "[1", "line 1, column 3: expected ',' or ']', found the end of the text" },
		{ "[1,]", "line 1, column 4: a comma before ']'" },
		{ "[,1]", "line 1, column 2: expected a value, found ','" },
		{ "[1 2]", "line 1, column 4: expected ',' or ']', found '2'" },
		{ "[1}", "line 1, column 3: expected ',' or ']', found '}'" },
		{ "1 2", "line 1, column 3: expected the end of the text, found '2'" },
		{ "nul", "line 1, column 1: expected a value, found 'n'" },
		{ "nulL", "line 1, column 1: expected a value, found 'n'" },
		{ "True", "line 1, column 1: expected a value, found 'T'" },
		{ "NaN", "line 1, column 1: expected a value, found 'N'" },
		{ "\xef\xbb\xbf{}", "line 1, column 1: a byte order mark, which JSON does not have" },
		{ "\xef\xbb", "line 1, column 1: expected a value, found byte 0xef" },
		{ "// x\n1", "line 1, column 1: expected a value, found '/'" },
		{ "\"abc", "line 1, column 5: a string without its closing quote" },
		{ "\"a\nb\"", "line 1, column 3: a control character inside a string must be written as \\u00XX" },
		{ "\"\\x\"", "line 1, column 3: expected one of \"\\/bfnrtu behind a backslash, found 'x'" },
		{ "\"\\u12g4\"", "line 1, column 6: expected four hexadecimal digits behind \\u, found 'g'" },
		{ "\"\\ud800\"", "line 1, column 8: a high surrogate without a low one behind it" },
		{ "\"\\ud800\\u0041\"", "line 1, column 14: a high surrogate without a low one behind it" },
		{ "\"\\udc00\"", "line 1, column 8: a low surrogate without a high one before it" },
		{ "\"\xc0\xaf\"", "line 1, column 2: invalid UTF-8" },
		{ "\"\xed\xa0\x80\"", "line 1, column 2: invalid UTF-8" },
		{ "\"\xf4\x90\x80\x80\"", "line 1, column 2: invalid UTF-8" },
		{ "\"\xe2\x82\"", "line 1, column 2: invalid UTF-8" },
		{ "\"\xff\"", "line 1, column 2: invalid UTF-8" },
		{ "{\"a\":1,\n \"b\":2, \"a\":3}", "line 2, column 9: \"a\" stands in this object twice" },
		{ "{\"\\u0061\":1,\"a\":3}", "line 1, column 13: \"a\" stands in this object twice" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_refused(cases[i].text, cases[i].expected);
}

static void numbers_follow_the_grammar(void **state)
{
	static const char *const good[] = { "0",     "-0",	"10",
					    "-1",    "0.5",	"1e5",
					    "1E+05", "1.25e-3", "123456789012345678901234567890" };
	static const char *const bad[] = { "-",	  "+1",	  "01",	 "-01", ".5",	    "1.", "1e",
					   "1e+", "0x10", "1_0", "1a",	"Infinity", "--1" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		struct json *j = parse(good[i]);

		assert_int_equal(j->type, JSON_NUMBER);
		assert_string_equal(j->text, good[i]);
		json_free(j);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct err e;

		assert_null(json_parse(bytes_str(bad[i]), JSON_STRICT, &e));
	}
}

static void integers_have_no_fraction_no_exponent_and_a_range(void **state)
{
	static const char *const refused[] = { "1.0", "1e2", "101", "-1", "99999999999999999999", "\"5\"", "null" };
	struct json *j = parse("100");
	int64_t value;

	(void)state;
	assert_true(json_integer(j, 0, 100, &value));
	assert_int_equal(value, 100);
	json_free(j);
	for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
		j = parse(refused[i]);
		assert_false(json_integer(j, 0, 100, &value));
		json_free(j);
	}
	assert_false(json_integer(NULL, 0, 100, &value));
}

static void the_ends_of_int64_are_read(void **state)
{
	struct json *j = parse("[-9223372036854775808,9223372036854775807,9223372036854775808]");
	int64_t value;

	(void)state;
	assert_true(json_integer(j->items[0], INT64_MIN, INT64_MAX, &value));
	assert_true(value == INT64_MIN);
	assert_true(json_integer(j->items[1], INT64_MIN, INT64_MAX, &value));
	assert_true(value == INT64_MAX);
	assert_false(json_integer(j->items[2], INT64_MIN, INT64_MAX, &value));
	json_free(j);
}

static void any_number_is_read_as_a_double(void **state)
{
	struct json *j = parse("[0.5,-2e3,\"1\"]");
	double value;

	(void)state;
	assert_true(json_number(j->items[0], &value));
	assert_true(value == 0.5);
	assert_true(json_number(j->items[1], &value));
	assert_true(value == -2000);
	assert_false(json_number(j->items[2], &value));
	json_free(j);
}

static void paths_lead_through_objects(void **state)
{
	struct json *j = parse("{\"submods\":{\"cpu0\":{\"x\":7}},\"\":{\"\":1}}");

	(void)state;
	assert_string_equal(json_at(j, "submods/cpu0/x")->text, "7");
	assert_string_equal(json_at(j, "/")->text, "1");
	assert_null(json_at(j, "submods/cpu1/x"));
	assert_null(json_at(j, "submods/cpu0/x/y"));
	json_free(j);
}

static struct json *parse_nested(size_t depth, struct err *e)
{
	struct buf text = { 0 };
	struct json *j;

	for (size_t i = 0; i < depth; i++)
		buf_append_str(&text, i % 2 == 0 ? "[" : "{\"a\":");
	for (size_t i = depth; i-- > 0;)
		buf_append_str(&text, i % 2 == 0 ? "]" : "}");
	if (depth % 2 == 0) { /* the innermost is an object and wants a value */
		buf_clear(&text);
		for (size_t i = 0; i < depth; i++)
			buf_append_str(&text, "[");
		for (size_t i = 0; i < depth; i++)
			buf_append_str(&text, "]");
	}
	j = json_parse(buf_bytes(&text), JSON_STRICT, e);
	buf_release(&text);
	return j;
}

static void nesting_ends_at_its_limit(void **state)
{
	struct err e;
	struct json *j = parse_nested(JSON_MAX_DEPTH, &e);

	(void)state;
	assert_non_null(j);
	json_free(j);
	assert_null(parse_nested(JSON_MAX_DEPTH + 1, &e));
	assert_string_equal(e.text, "line 1, column 193: nested too deeply");
}

static void the_number_of_values_is_limited(void **state)
{
	struct buf text = { 0 };
	struct err e;
	struct json *j;

	(void)state;
	buf_append_str(&text, "[0");
	for (size_t i = 2; i < JSON_MAX_VALUES; i++)
		buf_append_str(&text, ",0");
	buf_append_str(&text, "]");
	j = json_parse(buf_bytes(&text), JSON_STRICT, &e);
	assert_non_null(j);
	json_free(j);
	text.len--;
	buf_append_str(&text, ",0]");
	assert_null(json_parse(buf_bytes(&text), JSON_STRICT, &e));
	assert_non_null(strstr(e.text, "too many values"));
	buf_release(&text);
}

static void comments_are_white_space_where_they_are_allowed(void **state)
{
	struct err e;
	struct json *j = json_parse(bytes_str("// \xe4\xbd\xa0\n{ // {\n\"a\": // \"\n1 //\n, \"u\":\"http://x\"}//"),
				    JSON_WITH_COMMENTS, &e);

	(void)state;
	assert_non_null(j);
	assert_int_equal(json_member(j, "a")->line, 4);
	assert_string_equal(json_string(json_member(j, "u")), "http://x");
	json_free(j);
	assert_refused_bytes(bytes_str("/ 1"), JSON_WITH_COMMENTS, "line 1, column 1: expected a value, found '/'");
	assert_refused_bytes(bytes_str("/* 1 */ 1"), JSON_WITH_COMMENTS,
			     "line 1, column 1: expected a value, found '/'");
	assert_refused_bytes(bytes_str("1 // \xff"), JSON_WITH_COMMENTS, "line 1, column 6: invalid UTF-8");
	assert_refused_bytes(bytes_str("# x\n1"), JSON_WITH_COMMENTS, "line 1, column 1: expected a value, found '#'");
}

static void each_text_cut_short_is_refused(void **state)
{
	static const char text[] = "{\"a\":[1.5e3,{\"b\":\"\\u00e4\\ud83d\\ude00\xc3\xa4\"}],\"c\":[true,null]}";

	(void)state;
	for (size_t len = 0; len < sizeof(text) - 1; len++) {
		struct err e = { 0 };

		assert_null(json_parse(bytes_of(text, len), JSON_STRICT, &e));
		assert_non_null(strstr(e.text, "line 1, column "));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(values_of_all_types_are_read),
		cmocka_unit_test(places_are_counted_from_one_in_lines_and_bytes),
		cmocka_unit_test(escapes_become_characters),
		cmocka_unit_test(a_string_with_a_nul_inside_has_its_length_but_is_no_c_string),
		cmocka_unit_test(text_that_is_not_json_is_refused_with_its_place),
		cmocka_unit_test(numbers_follow_the_grammar),
		cmocka_unit_test(integers_have_no_fraction_no_exponent_and_a_range),
		cmocka_unit_test(the_ends_of_int64_are_read),
		cmocka_unit_test(any_number_is_read_as_a_double),
		cmocka_unit_test(paths_lead_through_objects),
		cmocka_unit_test(nesting_ends_at_its_limit),
		cmocka_unit_test(the_number_of_values_is_limited),
		cmocka_unit_test(comments_are_white_space_where_they_are_allowed),
		cmocka_unit_test(each_text_cut_short_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
