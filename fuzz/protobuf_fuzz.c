/* SPDX-License-Identifier: Apache-2.0 */
/* protobuf - the envelopes in both directions: what can be read can be written, and reads the same again. */
#include "attest/coco/ttrpc_frame.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool condition)
{
	if (!condition)
		abort();
}

static struct bytes payload_of(const struct buf *frame)
{
	return bytes_of(frame->data + TTRPC_HEADER_LEN, frame->len - TTRPC_HEADER_LEN);
}

static void round_trip_request(struct bytes message)
{
	struct ttrpc_request_in in;
	struct ttrpc_request_in again;
	struct buf frame = { 0 };
	struct err e;

	if (ttrpc_request_parse(message, &in, &e) < 0)
		return;
	must(ttrpc_request_format(1,
				  &(struct ttrpc_request){ .service = in.service,
							   .method = in.method,
							   .payload = buf_bytes(&in.payload) },
				  &frame, &e) == 0);
	must(ttrpc_request_parse(payload_of(&frame), &again, &e) == 0);
	must(strcmp(in.service, again.service) == 0 && strcmp(in.method, again.method) == 0);
	must(bytes_equal(buf_bytes(&in.payload), buf_bytes(&again.payload)));
	ttrpc_request_in_release(&in);
	ttrpc_request_in_release(&again);
	buf_release(&frame);
}

static void round_trip_response(struct bytes message)
{
	struct ttrpc_response response;
	struct ttrpc_response again;
	struct buf frame = { 0 };
	struct err e;

	if (ttrpc_response_parse(message, &response, &e) < 0)
		return;
	must(ttrpc_response_format(1, response.code, response.message, buf_bytes(&response.payload), &frame, &e) == 0);
	must(ttrpc_response_parse(payload_of(&frame), &again, &e) == 0);
	must(response.code == again.code);
	must(response.code == 0 || strcmp(response.message, again.message) == 0);
	must(bytes_equal(buf_bytes(&response.payload), buf_bytes(&again.payload)));
	ttrpc_response_release(&response);
	ttrpc_response_release(&again);
	buf_release(&frame);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	round_trip_request(bytes_of(data, size));
	round_trip_response(bytes_of(data, size));
	return 0;
}
