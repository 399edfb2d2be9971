/* SPDX-License-Identifier: Apache-2.0 */
#include "lab/as_request.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static struct json *parse_json(const char *text)
{
	struct err e;
	struct json *j = json_parse(bytes_str(text), JSON_STRICT, &e);

	if (j == NULL)
		fail_msg("%s: %s", text, e.text);
	return j;
}

static void assert_refused(const char *text, enum as_layout layout, const char *expected)
{
	struct appraise_request r = { 0 };
	struct json *j = parse_json(text);
	struct err e;

	if (as_request_from_json(j, layout, &r, &e) == 0)
		fail_msg("accepted: %s", text);
	assert_string_equal(e.text, expected);
	json_free(j);
}

static void the_layout_of_today_is_read(void **state)
{
	struct json *j =
		parse_json("{\"verification_requests\":[{\"tee\":\"sample\",\"evidence\":\"e30\",\"runtime_data\":"
			   "{\"structured\":{\"a\":1}},\"init_data\":null,\"runtime_data_hash_algorithm\":\"sha384\"},"
			   "{\"tee\":\"sampledevice\",\"evidence\":\"e30\",\"runtime_data\":null,\"init_data\":null,"
			   "\"runtime_data_hash_algorithm\":null}],\"policy_ids\":[\"default\",\"b\"],\"unknown\":0}");
	struct appraise_request r = { 0 };
	struct err e;

	(void)state;
	assert_int_equal(as_request_from_json(j, AS_V1_6_0, &r, &e), 0);
	assert_int_equal(r.entry_count, 2);
	assert_string_equal(r.entries[0].tee, "sample");
	assert_int_equal(r.entries[0].runtime, RUNTIME_STRUCTURED);
	assert_string_equal(r.entries[0].hash_name, "sha384");
	assert_false(r.entries[0].has_init_data);
	assert_int_equal(r.entries[1].runtime, RUNTIME_NONE);
	assert_null(r.entries[1].hash_name);
	assert_int_equal(r.policy_count, 2);
	assert_string_equal(r.policy_ids[1], "b");
	json_free(j);
}

static void the_layout_of_1_5_2_is_read(void **state)
{
	struct json *j = parse_json("{\"tee\":\"sample\",\"evidence\":\"e30\",\"runtime_data\":{\"raw\":\"YQ\"},"
				    "\"init_data\":null,\"policy_ids\":[]}");
	struct appraise_request r = { 0 };
	struct err e;

	(void)state;
	assert_int_equal(as_request_from_json(j, AS_V1_5_2, &r, &e), 0);
	assert_int_equal(r.entry_count, 1);
	assert_int_equal(r.entries[0].runtime, RUNTIME_RAW);
	assert_string_equal(r.entries[0].raw, "YQ");
	assert_int_equal(r.policy_count, 0);
	json_free(j);
}

static void a_missing_member_is_named_as_clients_look_for_it(void **state)
{
	(void)state;
	assert_refused("{\"verification_requests\":[],\"policy_ids\":[]}", AS_V1_5_2, "missing field `tee`");
	assert_refused("{\"tee\":\"sample\",\"evidence\":\"e30\",\"policy_ids\":[]}", AS_V1_6_0,
		       "missing field `verification_requests`");
	assert_refused("{\"verification_requests\":[{\"evidence\":\"e30\"}],\"policy_ids\":[]}", AS_V1_6_0,
		       "missing field `tee`");
	assert_refused("{\"verification_requests\":[{\"tee\":\"sample\"}],\"policy_ids\":[]}", AS_V1_6_0,
		       "missing field `evidence`");
	assert_refused("{\"verification_requests\":[]}", AS_V1_6_0, "missing field `policy_ids`");
}

#define ENTRY(members)                                                                                                 \
	"{\"verification_requests\":[{\"tee\":\"sample\",\"evidence\":\"e30\"," members "}],\"policy_ids\":[]}"

static void members_of_the_wrong_type_are_refused(void **state)
{
	(void)state;
	assert_refused("[]", AS_V1_6_0, "invalid type, expected an object");
	assert_refused("{\"verification_requests\":{},\"policy_ids\":[]}", AS_V1_6_0,
		       "invalid type for `verification_requests`, expected an array");
	assert_refused("{\"verification_requests\":[1],\"policy_ids\":[]}", AS_V1_6_0,
		       "invalid type, expected an object");
	assert_refused("{\"verification_requests\":[],\"policy_ids\":\"default\"}", AS_V1_6_0,
		       "invalid type for `policy_ids`, expected an array");
	assert_refused("{\"verification_requests\":[],\"policy_ids\":[1]}", AS_V1_6_0,
		       "invalid type in `policy_ids`, expected a string");
	assert_refused(ENTRY("\"runtime_data\":{\"structured\":1,\"raw\":\"\"}"), AS_V1_6_0,
		       "unknown variant for `runtime_data`, expected `raw` or `structured`");
	assert_refused(ENTRY("\"runtime_data\":{\"raw\":1}"), AS_V1_6_0,
		       "unknown variant for `runtime_data`, expected `raw` or `structured`");
	assert_refused(ENTRY("\"runtime_data\":\"x\""), AS_V1_6_0,
		       "unknown variant for `runtime_data`, expected `raw` or `structured`");
	assert_refused(ENTRY("\"runtime_data_hash_algorithm\":384"), AS_V1_6_0,
		       "invalid type for `runtime_data_hash_algorithm`, expected a string");
	assert_refused("{\"tee\":\"sam\\u0000ple\",\"evidence\":\"e30\",\"policy_ids\":[]}", AS_V1_5_2,
		       "invalid type for `tee`, expected a string");
}

static void entries_have_a_limit(void **state)
{
	struct buf text = { 0 };
	struct appraise_request r = { 0 };
	struct json *j;
	struct err e;

	(void)state;
	for (int count = APPRAISE_ENTRIES_MAX; count <= APPRAISE_ENTRIES_MAX + 1; count++) {
		buf_clear(&text);
		buf_append_str(&text, "{\"policy_ids\":[],\"verification_requests\":[");
		for (int i = 0; i < count; i++)
			buf_format(&text, "%s{\"tee\":\"t\",\"evidence\":\"\"}", i == 0 ? "" : ",");
		buf_append_str(&text, "]}");
		j = parse_json(buf_str(&text));
		assert_int_equal(as_request_from_json(j, AS_V1_6_0, &r, &e), count <= APPRAISE_ENTRIES_MAX ? 0 : -1);
		json_free(j);
	}
	buf_release(&text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_layout_of_today_is_read),
		cmocka_unit_test(the_layout_of_1_5_2_is_read),
		cmocka_unit_test(a_missing_member_is_named_as_clients_look_for_it),
		cmocka_unit_test(members_of_the_wrong_type_are_refused),
		cmocka_unit_test(entries_have_a_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
