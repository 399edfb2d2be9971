/* SPDX-License-Identifier: Apache-2.0 */
/* The evidence extension of a peer's certificate, down to the binding of the key. */
#include <stdlib.h>

#include "attest/evidence.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
	if (!holds)
		abort();
}

/* What was accepted is written in the canonical way and must be read as the same again. */
static void check_round_trip(const struct coco_evidence *ev)
{
	struct coco_evidence again;
	struct buf raw = { 0 };
	struct err e;

	coco_evidence_format(ev, BINDING_CURRENT, &raw);
	must(coco_evidence_parse(buf_bytes(&raw), &again, &e) == 0);
	must(strcmp(ev->tee, again.tee) == 0);
	must(bytes_equal(buf_bytes(&ev->evidence), buf_bytes(&again.evidence)));
	must(bytes_equal(buf_bytes(&ev->runtime_data), buf_bytes(&again.runtime_data)));
	must(bytes_equal(buf_bytes(&ev->additional), buf_bytes(&again.additional)));
	must(ev->has_additional == again.has_additional && ev->hash == again.hash);
	coco_evidence_release(&again);
	buf_release(&raw);
}

static void check_binding(const struct coco_evidence *ev, struct bytes claims_buffer)
{
	struct err e;
	struct json *runtime_data = json_parse(buf_bytes(&ev->runtime_data), JSON_STRICT, &e);

	must(runtime_data != NULL);
	/* libFuzzer reads the expected hash off our memcmp(), so being accepted proves nothing here. */
	for (enum binding b = BINDING_CURRENT; b <= BINDING_BOTH; b++) {
		e.kind = ERR_NONE;
		if (key_binding_check(runtime_data, claims_buffer, bytes_str("a key of ours"), b, &e) != 0)
			must(e.kind == ERR_TRUST);
	}
	json_free(runtime_data);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct evidence_blob blob;
	struct coco_evidence ev;
	struct err e;

	if (evidence_blob_parse(bytes_of(data, size), &blob, &e) != 0)
		return 0;
	if (coco_evidence_parse(buf_bytes(&blob.raw), &ev, &e) == 0) {
		check_round_trip(&ev);
		check_binding(&ev, buf_bytes(&blob.claims_buffer));
		coco_evidence_release(&ev);
	}
	evidence_blob_release(&blob);
	return 0;
}
