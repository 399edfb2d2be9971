/* SPDX-License-Identifier: Apache-2.0 */
/* as_message - the bodies of spec attestation.md 3, byte for byte, and answers good and bad. */
#include "../../vectors.h"

#include "attest/coco/as_message.h"
#include "codec/base64.h"

#define VECTORS "as.txt"

static const char runtime_data[] = "{\"pubkey-hash\":\"ggFYIFzSUvsM6JMkNvr4zNEECYG4nuSta5/p4qK35xqssnzT\"}";
#define REPORT "P2nkspuzxoWBSSBIU8rpKM2Bc41rmMQvTBCx2VUCx8ytVkqC3FAl6WNSNFHYdM2K"
static const char two_members[] = "{\"svn\":\"1\",\"report_data\":\"" REPORT "\"}";
static const char four_members[] =
	"{\"svn\":\"1\",\"report_data\":\"" REPORT "\",\"measure_register\":"
	"\"0000000000000000000000000000000000000000000000000000000000000000\",\"cc_eventlog\":null}";

static char *default_policy[] = { "default" };
static const struct string_list policies = { default_policy, 1 };

static struct coco_evidence evidence(const char *text)
{
	struct coco_evidence ev = { .tee = mem_strdup("sample"), .hash = DIGEST_SHA384 };

	buf_append_str(&ev.evidence, text);
	buf_append_str(&ev.runtime_data, runtime_data);
	return ev;
}

static void set_additional(struct coco_evidence *ev, const char *text)
{
	buf_release(&ev->additional);
	ev->has_additional = true;
	buf_append_str(&ev->additional, text);
}

static void rest_bodies_are_written_as_specified(void **state)
{
	struct coco_evidence ev = evidence(four_members);
	struct buf got = { 0 };
	char *want;
	struct err e;

	(void)state;
	want = vector_text(VECTORS, "rest_v1_6_0");
	assert_int_equal(as_rest_format(AS_V1_6_0, &ev, &policies, &got, &e), 0);
	assert_string_equal(buf_str(&got), want);
	free(want);
	buf_clear(&got);
	want = vector_text(VECTORS, "rest_v1_5_2");
	assert_int_equal(as_rest_format(AS_V1_5_2, &ev, &policies, &got, &e), 0);
	assert_string_equal(buf_str(&got), want);
	free(want);
	buf_release(&got);
	coco_evidence_release(&ev);
}

static void grpc_bodies_are_written_as_specified(void **state)
{
	struct coco_evidence ev = evidence(two_members);
	struct buf got = { 0 };
	struct buf want = { 0 };
	struct err e;

	(void)state;
	vector_hex(VECTORS, "grpc_v1_6_0", &want);
	assert_int_equal(as_grpc_format(AS_V1_6_0, &ev, &policies, &got, &e), 0);
	assert_bytes_equal(buf_bytes(&got), buf_bytes(&want));
	buf_clear(&got);
	buf_clear(&want);
	vector_hex(VECTORS, "grpc_v1_5_2", &want);
	assert_int_equal(as_grpc_format(AS_V1_5_2, &ev, &policies, &got, &e), 0);
	assert_bytes_equal(buf_bytes(&got), buf_bytes(&want));
	buf_release(&got);
	buf_release(&want);
	coco_evidence_release(&ev);
}

static void additional_evidence_becomes_entries_of_the_newer_layout_only(void **state)
{
	struct coco_evidence ev = evidence(four_members);
	struct buf got = { 0 };
	struct buf want = { 0 };
	struct err e;

	(void)state;
	set_additional(&ev, "{ \"sampledevice\" : {\"report_data\":\"\", \"svn\":\"2\"}, \"x\\\"\":{} }");
	buf_append_str(&want, "},{\"tee\":\"sampledevice\",\"evidence\":\"");
	base64url_encode(bytes_str("{\"report_data\":\"\",\"svn\":\"2\"}"), &want);
	buf_append_str(&want, "\",\"runtime_data\":null,\"init_data\":null,"
			      "\"runtime_data_hash_algorithm\":null},{\"tee\":\"x\\\"\",\"evidence\":\"e30\","
			      "\"runtime_data\":null,\"init_data\":null,"
			      "\"runtime_data_hash_algorithm\":null}],\"policy_ids\":[\"default\"]}");
	assert_int_equal(as_rest_format(AS_V1_6_0, &ev, &policies, &got, &e), 0);
	assert_true(got.len > want.len);
	assert_bytes_equal(bytes_of(got.data + got.len - want.len, want.len), buf_bytes(&want));
	buf_clear(&got);
	assert_int_equal(as_rest_format(AS_V1_5_2, &ev, &policies, &got, &e), 0);
	assert_int_equal(bytes_find(buf_bytes(&got), bytes_str("sampledevice")), -1);
	buf_clear(&got);
	assert_int_equal(as_grpc_format(AS_V1_6_0, &ev, &policies, &got, &e), 0);
	assert_true(bytes_find(buf_bytes(&got), bytes_str("sampledevice")) > 0);
	assert_true(bytes_find(buf_bytes(&got), bytes_str("\x1a\x03"
							  "e30")) > 0);
	buf_release(&got);
	buf_release(&want);
	coco_evidence_release(&ev);
}

static void format_additional_entries(unsigned count, int expected)
{
	struct coco_evidence ev = evidence(four_members);
	struct buf text = { 0 };
	struct buf got = { 0 };
	struct err e;

	for (unsigned i = 0; i < count; i++)
		buf_format(&text, "%c\"t%u\":{}", i == 0 ? '{' : ',', i);
	buf_append_str(&text, "}");
	set_additional(&ev, buf_str(&text));
	assert_int_equal(as_rest_format(AS_V1_6_0, &ev, &policies, &got, &e), expected);
	assert_int_equal(as_grpc_format(AS_V1_6_0, &ev, &policies, &got, &e), expected);
	buf_release(&text);
	buf_release(&got);
	coco_evidence_release(&ev);
}

static void entries_of_additional_evidence_are_bounded(void **state)
{
	(void)state;
	format_additional_entries(AS_ADDITIONAL_MAX, 0);
	format_additional_entries(AS_ADDITIONAL_MAX + 1, -1);
}

static void what_is_no_json_object_is_not_sent(void **state)
{
	struct coco_evidence ev = evidence(four_members);
	struct buf got = { 0 };
	struct err e;

	(void)state;
	set_additional(&ev, "[]");
	assert_int_equal(as_rest_format(AS_V1_6_0, &ev, &policies, &got, &e), -1);
	set_additional(&ev, "{\"sampledevice\":{}");
	assert_int_equal(as_rest_format(AS_V1_6_0, &ev, &policies, &got, &e), -1);
	ev.has_additional = false;
	buf_clear(&ev.runtime_data);
	buf_append_str(&ev.runtime_data, "{\"a\":1},\"policy_ids\":[\"allow_all\"]");
	assert_int_equal(as_rest_format(AS_V1_6_0, &ev, &policies, &got, &e), -1);
	assert_int_equal(as_grpc_format(AS_V1_6_0, &ev, &policies, &got, &e), -1);
	assert_int_equal(got.len, 0);
	coco_evidence_release(&ev);
}

/* ---- answers ---- */

static int parse_rest(int status, const char *body, struct as_answer *out, enum reason *reason)
{
	struct http_reply reply = { .status = status, .body = bytes_str(body) };
	struct err e;

	return as_rest_parse(&reply, out, reason, &e);
}

static void a_rest_answer_is_taken_verbatim(void **state)
{
	struct as_answer answer;
	enum reason reason;

	(void)state;
	assert_int_equal(parse_rest(200, "eyJh.e30.AA-_", &answer, &reason), 0);
	assert_bytes_equal(buf_bytes(&answer.token), bytes_str("eyJh.e30.AA-_"));
	buf_release(&answer.token);
}

static void a_rest_answer_that_is_no_token_is_malformed(void **state)
{
	static const char *const bodies[] = {
		"", "hello", "a.b", "a.b.c.d", "a.b.c\n", " a.b.c", "{\"token\":\"a.b.c\"}", "a.b.c="
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bodies); i++) {
		struct as_answer answer;
		enum reason reason;

		assert_int_equal(parse_rest(200, bodies[i], &answer, &reason), -1);
		assert_int_equal(reason, REASON_AS_MALFORMED);
	}
}

static void only_200_is_success(void **state)
{
	static const int statuses[] = { 201, 204, 301, 400, 401, 404, 413, 422, 500, 503 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(statuses); i++) {
		struct as_answer answer;
		enum reason reason;

		assert_int_equal(parse_rest(statuses[i], "eyJh.e30.AA", &answer, &reason), -1);
		assert_int_equal(reason, REASON_AS_REFUSED);
		assert_false(answer.other_layout);
	}
}

static void a_refusal_without_a_word_is_a_refusal(void **state)
{
	struct http_reply reply = { .status = 500 };
	struct as_answer answer;
	enum reason reason;
	struct err e;

	(void)state;
	assert_int_equal(as_rest_parse(&reply, &answer, &reason, &e), -1);
	assert_int_equal(reason, REASON_AS_REFUSED);
	assert_string_equal(e.text, "status 500: ");
	reply.status = 200;
	assert_int_equal(as_rest_parse(&reply, &answer, &reason, &e), -1);
	assert_int_equal(reason, REASON_AS_MALFORMED);
}

static void a_missing_tee_asks_for_the_older_layout(void **state)
{
	struct as_answer answer;
	enum reason reason;

	(void)state;
	parse_rest(400, "Json deserialize error: missing field `tee` at line 1 column 520", &answer, &reason);
	assert_true(answer.other_layout);
	parse_rest(400, "Json deserialize error: missing field `verification_requests` at line 1", &answer, &reason);
	assert_false(answer.other_layout);
	parse_rest(400, "missing field tee", &answer, &reason);
	assert_false(answer.other_layout);
}

static void what_the_service_says_is_cut_and_made_printable(void **state)
{
	struct http_reply reply = { .status = 500 };
	struct as_answer answer;
	enum reason reason;
	struct buf body = { 0 };
	struct err e;

	(void)state;
	buf_append_str(&body, "line\nbreak \x1b[31m");
	for (int i = 0; i < 1000; i++)
		buf_append_str(&body, "x");
	reply.body = buf_bytes(&body);
	assert_int_equal(as_rest_parse(&reply, &answer, &reason, &e), -1);
	assert_true(strlen(e.text) < 200);
	assert_memory_equal(e.text, "status 500: line?break ?[31mxxx", 31);
	buf_release(&body);
}

#define GRPC_HEAD "HTTP/2 200 \r\ncontent-type: application/grpc\r\n"

static int parse_grpc(const char *headers, struct bytes body, struct as_answer *out, enum reason *reason, struct err *e)
{
	struct http_reply reply = { .status = 200, .body = body, .headers = bytes_str(headers) };

	return as_grpc_parse(&reply, out, reason, e);
}

static const uint8_t good_message[] = { 0, 0, 0, 0, 7, 0x0a, 5, 'a', '.', 'b', '.', 'c' };

static void a_grpc_answer_brings_the_token(void **state)
{
	struct as_answer answer;
	enum reason reason;
	struct err e;

	(void)state;
	assert_int_equal(parse_grpc(GRPC_HEAD "\r\ngrpc-status: 0\r\n", bytes_of(good_message, sizeof(good_message)),
				    &answer, &reason, &e),
			 0);
	assert_bytes_equal(buf_bytes(&answer.token), bytes_str("a.b.c"));
	buf_release(&answer.token);
}

static void a_grpc_answer_that_is_not_whole_is_malformed(void **state)
{
	uint8_t longer[sizeof(good_message) + 1] = { 0 };
	struct as_answer answer;
	enum reason reason;
	struct err e;

	(void)state;
	memcpy(longer, good_message, sizeof(good_message));
	for (size_t len = 0; len <= sizeof(longer); len++) {
		if (len == sizeof(good_message))
			continue;
		assert_int_equal(
			parse_grpc(GRPC_HEAD "grpc-status: 0\r\n", bytes_of(longer, len), &answer, &reason, &e), -1);
		assert_int_equal(reason, REASON_AS_MALFORMED);
	}
	longer[0] = 1; /* compressed */
	assert_int_equal(parse_grpc(GRPC_HEAD "grpc-status: 0\r\n", bytes_of(longer, sizeof(good_message)), &answer,
				    &reason, &e),
			 -1);
	assert_int_equal(reason, REASON_AS_MALFORMED);
}

static void a_grpc_answer_needs_its_status_and_its_type(void **state)
{
	static const char *const heads[] = { GRPC_HEAD,
					     GRPC_HEAD "grpc-status: \r\n",
					     GRPC_HEAD "grpc-status: x\r\n",
					     GRPC_HEAD "grpc-status: 000\r\n",
					     "HTTP/2 200\r\ngrpc-status: 0\r\n",
					     "HTTP/2 200\r\ncontent-type: text/html\r\ngrpc-status: 0\r\n" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(heads); i++) {
		struct as_answer answer;
		enum reason reason;
		struct err e;

		assert_int_equal(
			parse_grpc(heads[i], bytes_of(good_message, sizeof(good_message)), &answer, &reason, &e), -1);
		assert_int_equal(reason, REASON_AS_MALFORMED);
	}
}

static void a_grpc_refusal_is_told_in_plain_words(void **state)
{
	struct as_answer answer;
	enum reason reason;
	struct err e;

	(void)state;
	assert_int_equal(parse_grpc(GRPC_HEAD "grpc-status: 10\r\ngrpc-message: bad%20TEE%3a%zz%0a%4\r\n",
				    bytes_of(NULL, 0), &answer, &reason, &e),
			 -1);
	assert_int_equal(reason, REASON_AS_REFUSED);
	assert_string_equal(e.text, "gRPC: status 10: bad TEE:%zz?%4");
	assert_true(answer.other_layout);
	assert_false(answer.unreadable);
	parse_grpc(GRPC_HEAD "grpc-status: 13\r\n", bytes_of(NULL, 0), &answer, &reason, &e);
	assert_true(answer.other_layout && answer.unreadable);
	parse_grpc(GRPC_HEAD "grpc-status: 12\r\n", bytes_of(NULL, 0), &answer, &reason, &e);
	assert_false(answer.other_layout);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rest_bodies_are_written_as_specified),
		cmocka_unit_test(grpc_bodies_are_written_as_specified),
		cmocka_unit_test(additional_evidence_becomes_entries_of_the_newer_layout_only),
		cmocka_unit_test(entries_of_additional_evidence_are_bounded),
		cmocka_unit_test(what_is_no_json_object_is_not_sent),
		cmocka_unit_test(a_rest_answer_is_taken_verbatim),
		cmocka_unit_test(a_rest_answer_that_is_no_token_is_malformed),
		cmocka_unit_test(only_200_is_success),
		cmocka_unit_test(a_refusal_without_a_word_is_a_refusal),
		cmocka_unit_test(a_missing_tee_asks_for_the_older_layout),
		cmocka_unit_test(what_the_service_says_is_cut_and_made_printable),
		cmocka_unit_test(a_grpc_answer_brings_the_token),
		cmocka_unit_test(a_grpc_answer_that_is_not_whole_is_malformed),
		cmocka_unit_test(a_grpc_answer_needs_its_status_and_its_type),
		cmocka_unit_test(a_grpc_refusal_is_told_in_plain_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
