/* SPDX-License-Identifier: Apache-2.0 */
/* Requests to the lab's attestation service, in all layouts, up to the token. The first byte chooses. */
#include <stdlib.h>

#include "lab/as_protobuf.h"
#include "lab/as_request.h"

#define NOW 1795275289

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct appraise_service *service(void)
{
	static struct appraise_service s = { .form = TOKEN_EAR, .lifetime_s = 300, .measurement = "00" };
	struct err e;

	if (s.mint == NULL)
		s.mint = mint_new(NOW, &e);
	return &s;
}

static void evaluate(struct appraise_request *r)
{
	struct dealt none = { .fault = FAULT_NONE };
	struct buf jwt = { 0 };
	struct refusal why;

	r->now_unix = NOW;
	r->knows_sampledevice = true;
	if (appraise(service(), r, &none, &jwt, &why) < 0 && why.cause.text[0] == '\0')
		abort();
	buf_release(&jwt);
}

static void as_json(struct bytes text, enum as_layout layout)
{
	struct appraise_request r = { 0 };
	struct err e;
	struct json *j = json_parse(text, JSON_STRICT, &e);

	if (j != NULL && as_request_from_json(j, layout, &r, &e) == 0)
		evaluate(&r);
	json_free(j);
}

static void as_protobuf(struct bytes message, enum as_layouts known)
{
	struct appraise_request r = { 0 };
	enum as_layout layout;
	struct err e;
	struct as_protobuf *p = as_protobuf_parse(message, known, &r, &layout, &e);

	if (p == NULL)
		return;
	evaluate(&r);
	as_protobuf_free(p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes rest;

	if (size == 0)
		return 0;
	rest = bytes_of(data + 1, size - 1);
	switch (data[0] % 4) {
	case 0:
		as_json(rest, AS_V1_6_0);
		break;
	case 1:
		as_json(rest, AS_V1_5_2);
		break;
	default:
		as_protobuf(rest, data[0] % 4 == 3 ? AS_ONLY_V1_5_2 : AS_BOTH_LAYOUTS);
		break;
	}
	return 0;
}
