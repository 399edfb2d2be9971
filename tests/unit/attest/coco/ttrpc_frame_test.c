/* SPDX-License-Identifier: Apache-2.0 */
/* ttrpc_frame - the dumps of spec attestation.md 1.9, byte for byte, and what must be refused. */
#include "../../vectors.h"

#include "attest/coco/ttrpc_frame.h"
#include "attestation_agent.pb-c.h"
#include "crypto/digest.h"

#define VECTORS "ttrpc.txt"
#define SERVICE "attestation_agent.AttestationAgentService"

static const char runtime_data[] = "{\"pubkey-hash\":\"ggFYIFzSUvsM6JMkNvr4zNEECYG4nuSta5/p4qK35xqssnzT\"}";

static void check_request(const char *vector, uint32_t stream, const char *method, struct bytes payload)
{
	struct buf want = { 0 };
	struct buf got = { 0 };
	struct err e;

	vector_hex(VECTORS, vector, &want);
	assert_int_equal(ttrpc_request_format(stream,
					      &(struct ttrpc_request){ .service = SERVICE,
								       .method = method,
								       .payload = payload,
								       .timeout_ms = 50000 },
					      &got, &e),
			 0);
	assert_bytes_equal(buf_bytes(&got), buf_bytes(&want));
	buf_release(&want);
	buf_release(&got);
}

static void requests_are_written_as_in_the_dumps(void **state)
{
	Aa__GetEvidenceRequest m = AA__GET_EVIDENCE_REQUEST__INIT;
	uint8_t digest[48];
	uint8_t payload[64];
	size_t len;

	(void)state;
	digest_compute(DIGEST_SHA384, bytes_str(runtime_data), digest);
	m.runtime_data.data = digest;
	m.runtime_data.len = sizeof(digest);
	len = aa__get_evidence_request__pack(&m, payload);
	check_request("get_evidence_request", 1, "GetEvidence", bytes_of(payload, len));
	check_request("get_tee_type_request", 3, "GetTeeType", bytes_of(NULL, 0));
	check_request("get_additional_request", 5, "GetAdditionalEvidence", bytes_of(NULL, 0));
}

static void load(const char *vector, struct buf *frame, struct ttrpc_header *h, struct bytes *payload)
{
	vector_hex(VECTORS, vector, frame);
	*h = ttrpc_header_parse(frame->data);
	*payload = bytes_of(frame->data + TTRPC_HEADER_LEN, frame->len - TTRPC_HEADER_LEN);
	assert_int_equal(h->length, payload->len);
	assert_int_equal(h->flags, 0);
}

static void a_request_is_read_as_it_was_written(void **state)
{
	struct ttrpc_request_in in;
	struct ttrpc_header h;
	struct buf frame = { 0 };
	struct bytes payload;
	struct err e;

	(void)state;
	load("get_evidence_request", &frame, &h, &payload);
	assert_int_equal(h.type, TTRPC_REQUEST);
	assert_int_equal(h.stream, 1);
	assert_int_equal(ttrpc_request_parse(payload, &in, &e), 0);
	assert_string_equal(in.service, SERVICE);
	assert_string_equal(in.method, "GetEvidence");
	assert_int_equal(in.payload.len, 50);
	assert_int_equal(in.timeout_nano, 50000000000);
	ttrpc_request_in_release(&in);
	buf_release(&frame);
}

static void check_response(const char *vector, uint32_t stream, int code, const char *message, size_t payload_len)
{
	struct ttrpc_response r;
	struct ttrpc_header h;
	struct buf frame = { 0 };
	struct buf again = { 0 };
	struct bytes payload;
	struct err e;

	load(vector, &frame, &h, &payload);
	assert_int_equal(h.type, TTRPC_RESPONSE);
	assert_int_equal(h.stream, stream);
	assert_int_equal(ttrpc_response_parse(payload, &r, &e), 0);
	assert_int_equal(r.code, code);
	assert_string_equal(r.message, message);
	assert_int_equal(r.payload.len, payload_len);
	assert_int_equal(ttrpc_response_format(stream, code, message, buf_bytes(&r.payload), &again, &e), 0);
	assert_bytes_equal(buf_bytes(&again), buf_bytes(&frame));
	ttrpc_response_release(&r);
	buf_release(&frame);
	buf_release(&again);
}

static void responses_are_read_and_written_as_in_the_dumps(void **state)
{
	(void)state;
	check_response("get_evidence_response", 1, TTRPC_OK, "", 94);
	check_response("get_tee_type_response", 3, TTRPC_OK, "", 8);
	check_response("get_additional_empty", 5, TTRPC_OK, "", 0);
	check_response("get_additional_unimplemented", 5, TTRPC_UNIMPLEMENTED, "GetAdditionalEvidence method", 0);
	check_response("get_evidence_failure", 1, TTRPC_INTERNAL,
		       "[ERROR:attestation-agent] AA-KBC get evidence failed", 0);
}

static void a_response_without_status_is_a_success(void **state)
{
	static const uint8_t only_payload[] = { 0x12, 0x02, 'h', 'i' };
	struct ttrpc_response r;
	struct err e;

	(void)state;
	assert_int_equal(ttrpc_response_parse(bytes_of(only_payload, sizeof(only_payload)), &r, &e), 0);
	assert_int_equal(r.code, 0);
	assert_bytes_equal(buf_bytes(&r.payload), bytes_str("hi"));
	ttrpc_response_release(&r);
	assert_int_equal(ttrpc_response_parse(bytes_of(NULL, 0), &r, &e), 0);
	assert_int_equal(r.code, 0);
	ttrpc_response_release(&r);
}

/* A cut between two fields leaves a shorter message that is whole. */
static void a_response_cut_inside_a_field_is_refused(void **state)
{
	struct ttrpc_header h;
	struct buf frame = { 0 };
	struct bytes payload;
	struct ttrpc_response r;
	struct err e;

	(void)state;
	load("get_evidence_response", &frame, &h, &payload);
	for (size_t len = 0; len < payload.len; len++) {
		int rc = ttrpc_response_parse(bytes_of(payload.data, len), &r, &e);

		assert_int_equal(rc, len == 0 || len == 2 ? 0 : -1);
		if (rc == 0)
			ttrpc_response_release(&r);
	}
	buf_release(&frame);
}

static void a_message_of_tiny_fields_does_not_eat_the_memory(void **state)
{
	struct buf message = { 0 };
	struct ttrpc_response r;
	struct err e;

	(void)state;
	for (size_t i = 0; i < 500000; i++)
		buf_append(&message, "\x78\x01", 2); /* field 15, a number */
	assert_int_equal(ttrpc_response_parse(buf_bytes(&message), &r, &e), -1);
	buf_release(&message);
}

static void a_request_over_4_mib_is_not_written(void **state)
{
	struct buf big = { 0 };
	struct buf out = { 0 };
	struct ttrpc_request req = { .service = "s", .method = "m" };
	/* two strings of one byte, and the head of the payload */
	size_t room = TTRPC_PAYLOAD_MAX - 3 - 3 - 5;
	struct err e;

	(void)state;
	buf_reserve(&big, room + 1);
	memset(big.data, 0, room + 1);
	req.payload = bytes_of(big.data, room);
	assert_int_equal(ttrpc_request_format(1, &req, &out, &e), 0);
	assert_int_equal(out.len, TTRPC_HEADER_LEN + TTRPC_PAYLOAD_MAX);
	buf_clear(&out);
	req.payload.len++;
	assert_int_equal(ttrpc_request_format(1, &req, &out, &e), -1);
	assert_int_equal(e.kind, ERR_LIMIT);
	assert_int_equal(out.len, 0);
	buf_release(&big);
	buf_release(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(requests_are_written_as_in_the_dumps),
		cmocka_unit_test(a_request_is_read_as_it_was_written),
		cmocka_unit_test(responses_are_read_and_written_as_in_the_dumps),
		cmocka_unit_test(a_response_without_status_is_a_success),
		cmocka_unit_test(a_response_cut_inside_a_field_is_refused),
		cmocka_unit_test(a_message_of_tiny_fields_does_not_eat_the_memory),
		cmocka_unit_test(a_request_over_4_mib_is_not_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
