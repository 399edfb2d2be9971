/* SPDX-License-Identifier: Apache-2.0 */
/* The worked messages of attestation.md 3.1, and neighbours of them. */
#include "lab/as_protobuf.h"

#include "../vectors.h"

#define VECTORS "as.txt"
#define PREFIX_LEN 5 /* of gRPC, in front of the message */
#define RUNTIME_DATA "{\"pubkey-hash\":\"ggFYIFzSUvsM6JMkNvr4zNEECYG4nuSta5/p4qK35xqssnzT\"}"

struct parsed {
	struct as_protobuf *p;
	struct appraise_request request;
	enum as_layout layout;
	struct err e;
};

static bool parse(struct bytes message, enum as_layouts known, struct parsed *out)
{
	memset(out, 0, sizeof(*out));
	out->p = as_protobuf_parse(message, known, &out->request, &out->layout, &out->e);
	return out->p != NULL;
}

static void message_of(const char *name, struct buf *out)
{
	struct buf whole = { 0 };

	vector_hex(VECTORS, name, &whole);
	buf_append(out, whole.data + PREFIX_LEN, whole.len - PREFIX_LEN);
	buf_release(&whole);
}

static void assert_is_worked_request(const struct parsed *r)
{
	struct buf runtime = { 0 };

	assert_int_equal(r->request.entry_count, 1);
	assert_string_equal(r->request.entries[0].tee, "sample");
	assert_int_equal(strlen(r->request.entries[0].evidence), 123);
	assert_string_equal(r->request.entries[0].hash_name, "sha384");
	assert_int_equal(r->request.entries[0].runtime, RUNTIME_STRUCTURED);
	json_format(r->request.entries[0].structured, &runtime);
	assert_string_equal(buf_str(&runtime), RUNTIME_DATA);
	assert_int_equal(r->request.policy_count, 1);
	assert_string_equal(r->request.policy_ids[0], "default");
	buf_release(&runtime);
}

static void both_layouts_give_the_same_request(void **state)
{
	static const struct {
		const char *name;
		enum as_layout layout;
	} cases[] = { { "grpc_v1_6_0", AS_V1_6_0 }, { "grpc_v1_5_2", AS_V1_5_2 } };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct buf message = { 0 };
		struct parsed r;

		message_of(cases[i].name, &message);
		assert_true(parse(buf_bytes(&message), AS_BOTH_LAYOUTS, &r));
		assert_int_equal(r.layout, cases[i].layout);
		assert_is_worked_request(&r);
		as_protobuf_free(r.p);
		buf_release(&message);
	}
}

static void an_old_service_does_not_know_the_new_layout(void **state)
{
	struct buf message = { 0 };
	struct parsed r;

	(void)state;
	message_of("grpc_v1_6_0", &message);
	assert_false(parse(buf_bytes(&message), AS_ONLY_V1_5_2, &r));
	assert_int_equal(r.e.kind, ERR_PEER);
	buf_clear(&message);
	message_of("grpc_v1_5_2", &message);
	assert_true(parse(buf_bytes(&message), AS_ONLY_V1_5_2, &r));
	assert_is_worked_request(&r);
	as_protobuf_free(r.p);
	buf_release(&message);
}

static void a_new_service_does_not_know_the_old_layout(void **state)
{
	struct buf message = { 0 };
	struct parsed r;

	(void)state;
	message_of("grpc_v1_5_2", &message);
	assert_false(parse(buf_bytes(&message), AS_ONLY_V1_6_0, &r));
	assert_int_equal(r.e.kind, ERR_PEER);
	buf_clear(&message);
	message_of("grpc_v1_6_0", &message);
	assert_true(parse(buf_bytes(&message), AS_ONLY_V1_6_0, &r));
	assert_is_worked_request(&r);
	as_protobuf_free(r.p);
	buf_release(&message);
}

static void a_short_name_that_decodes_as_a_nested_message_is_still_a_name(void **state)
{
	/* field 1, "azsnpvtpm": as a nested message, an unknown field of eight bytes */
	static const char message[] = "\x0a\x09"
				      "azsnpvtpm\x12\x02"
				      "e3";
	struct parsed r;

	(void)state;
	assert_true(parse(bytes_of(message, sizeof(message) - 1), AS_BOTH_LAYOUTS, &r));
	assert_int_equal(r.layout, AS_V1_5_2);
	assert_string_equal(r.request.entries[0].tee, "azsnpvtpm");
	as_protobuf_free(r.p);
}

static void messages_that_are_cut_short_are_refused(void **state)
{
	static const char *const names[] = { "grpc_v1_6_0", "grpc_v1_5_2" };

	(void)state;
	for (size_t n = 0; n < ARRAY_SIZE(names); n++) {
		struct buf message = { 0 };
		struct parsed r;

		message_of(names[n], &message);
		for (size_t cut = 1; cut < 9; cut++) /* within the last field */
			assert_false(parse(bytes_of(message.data, message.len - cut), AS_BOTH_LAYOUTS, &r));
		buf_release(&message);
	}
}

static void garbage_is_refused(void **state)
{
	static const char message[] = "\xff\xff\xff\xff";
	struct parsed r;

	(void)state;
	assert_false(parse(bytes_of(message, sizeof(message) - 1), AS_BOTH_LAYOUTS, &r));
	assert_int_equal(r.e.kind, ERR_PEER);
}

static void an_empty_request_asks_for_nothing(void **state)
{
	struct parsed r;

	(void)state;
	assert_true(parse(bytes_of("", 0), AS_BOTH_LAYOUTS, &r));
	assert_int_equal(r.layout, AS_V1_6_0);
	assert_int_equal(r.request.entry_count, 0);
	as_protobuf_free(r.p);
}

static void runtime_data_that_are_no_json_are_a_refusal_not_a_broken_message(void **state)
{
	/* tee, evidence, structured_runtime_data */
	static const char good[] = "\x0a\x06sample\x12\x02"
				   "e3\x22\x02{}";
	static const char bad[] = "\x0a\x06sample\x12\x02"
				  "e3\x22\x02{]";
	struct parsed r;

	(void)state;
	assert_true(parse(bytes_of(good, sizeof(good) - 1), AS_BOTH_LAYOUTS, &r));
	as_protobuf_free(r.p);
	assert_false(parse(bytes_of(bad, sizeof(bad) - 1), AS_BOTH_LAYOUTS, &r));
	assert_int_equal(r.e.kind, ERR_TRUST);
}

static void entries_and_policies_have_limits(void **state)
{
	struct buf message = { 0 };
	struct parsed r;

	(void)state;
	for (int i = 0; i < APPRAISE_ENTRIES_MAX; i++)
		buf_append(&message, "\x0a\x03\x0a\x01t", 5);
	for (int i = 0; i < APPRAISE_POLICIES_MAX; i++)
		buf_append(&message, "\x12\x01p", 3);
	assert_true(parse(buf_bytes(&message), AS_BOTH_LAYOUTS, &r));
	assert_int_equal(r.request.entry_count, APPRAISE_ENTRIES_MAX);
	assert_int_equal(r.request.policy_count, APPRAISE_POLICIES_MAX);
	as_protobuf_free(r.p);

	buf_append(&message, "\x12\x01p", 3);
	assert_false(parse(buf_bytes(&message), AS_BOTH_LAYOUTS, &r));
	assert_int_equal(r.e.kind, ERR_LIMIT);
	message.len -= 3;
	buf_append(&message, "\x0a\x03\x0a\x01t", 5);
	assert_false(parse(buf_bytes(&message), AS_BOTH_LAYOUTS, &r));
	assert_int_equal(r.e.kind, ERR_LIMIT);
	buf_release(&message);
}

static void a_response_holds_the_token(void **state)
{
	struct buf out = { 0 };

	(void)state;
	as_protobuf_format_response(bytes_str("a.b.c"), &out);
	assert_bytes_equal(buf_bytes(&out), bytes_str("\x0a\x05"
						      "a.b.c"));
	buf_release(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(both_layouts_give_the_same_request),
		cmocka_unit_test(an_old_service_does_not_know_the_new_layout),
		cmocka_unit_test(a_new_service_does_not_know_the_old_layout),
		cmocka_unit_test(a_short_name_that_decodes_as_a_nested_message_is_still_a_name),
		cmocka_unit_test(messages_that_are_cut_short_are_refused),
		cmocka_unit_test(garbage_is_refused),
		cmocka_unit_test(an_empty_request_asks_for_nothing),
		cmocka_unit_test(runtime_data_that_are_no_json_are_a_refusal_not_a_broken_message),
		cmocka_unit_test(entries_and_policies_have_limits),
		cmocka_unit_test(a_response_holds_the_token),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
