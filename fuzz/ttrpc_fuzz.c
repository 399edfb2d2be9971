/* SPDX-License-Identifier: Apache-2.0 */
/* ttrpc - what an agent sends, as the client cuts it into frames and reads them. */
#include "attest/coco/ttrpc_frame.h"

#include <stdlib.h>

/* The client's, so that the limit is met. */
#define ANSWER_MAX 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes rest = bytes_of(data, size);
	struct ttrpc_response response;
	struct ttrpc_header h;
	struct bytes payload;
	struct err e;

	while (ttrpc_find_frame(rest, ANSWER_MAX, &h, &payload) == TTRPC_FRAME) {
		if (payload.len > ANSWER_MAX || payload.data + payload.len > data + size)
			abort();
		if (ttrpc_response_parse(payload, &response, &e) == 0)
			ttrpc_response_release(&response);
		rest = bytes_of(payload.data + payload.len, rest.len - TTRPC_HEADER_LEN - payload.len);
	}
	return 0;
}
