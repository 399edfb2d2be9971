/* SPDX-License-Identifier: Apache-2.0 */
/* as_reply - answers of an attestation service: "<status byte><headers>NUL<body>", REST and gRPC. */
#include "attest/coco/as_message.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_token(const struct as_answer *answer)
{
	for (size_t i = 0; i < answer->token.len; i++) {
		if (answer->token.data[i] <= ' ' || answer->token.data[i] > '~')
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct http_reply reply = { 0 };
	struct as_answer answer;
	enum reason reason;
	const uint8_t *nul;
	struct err e;

	if (size == 0)
		return 0;
	reply.status = data[0] < 0x80 ? 200 : 300 + data[0];
	nul = memchr(data + 1, 0, size - 1);
	if (nul == NULL)
		nul = data + size;
	reply.headers = bytes_of(data + 1, (size_t)(nul - data - 1));
	if (nul < data + size)
		reply.body = bytes_of(nul + 1, (size_t)(data + size - nul - 1));
	if (as_rest_parse(&reply, &answer, &reason, &e) == 0) {
		check_token(&answer);
		buf_release(&answer.token);
	}
	if (as_grpc_parse(&reply, &answer, &reason, &e) == 0) {
		check_token(&answer);
		buf_release(&answer.token);
	}
	return 0;
}
