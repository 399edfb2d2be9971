/* SPDX-License-Identifier: Apache-2.0 */
/*
 * evidence - the blob in the certificate, and how it is bound to a key. spec: rats-tls.md 3 and 4.
 *
 * Threads: any; pure functions.
 */
#pragma once

#include "base/bytes.h"
#include "base/err.h"
#include "codec/json.h"
#include "config/config.h"
#include "crypto/cert.h"
#include "crypto/digest.h"

#define EVIDENCE_OID CERT_EVIDENCE_OID
#define EVIDENCE_TAG_COCO 0xC0C000u
#define EVIDENCE_TAG_COCO_TOKEN 0xC0C001u
#define EVIDENCE_TAG_ITA 0x17A000u
#define EVIDENCE_TAG_ITA_TOKEN 0x17A001u

/* The two elements behind the tag, owned: either may have come in chunks. */
struct evidence_blob {
	uint64_t tag;
	struct buf raw;
	struct buf claims_buffer;
};

/* On failure out is empty; so it is with all that are read or made below. */
int evidence_blob_parse(struct bytes extension, struct evidence_blob *out, struct err *e) MUST_CHECK;
void evidence_blob_format(uint64_t tag, struct bytes raw, struct bytes claims_buffer, struct buf *out);
void evidence_blob_release(struct evidence_blob *b);

/* CoCo evidence, rats-tls.md 3.2. Strings are owned. */
struct coco_evidence {
	char *tee;
	struct buf evidence;
	bool has_additional;
	struct buf additional;	 /* JSON text */
	struct buf runtime_data; /* JSON text */
	enum digest_algorithm hash;
};

/* One of the names of rats-tls.md 3.2. */
bool coco_tee_is_known(const char *name);

/* Refuses an unknown tee, an additional evidence that is no JSON object, a runtime data that is no JSON object. */
int coco_evidence_parse(struct bytes raw, struct coco_evidence *out, struct err *e) MUST_CHECK;
/* binding LEGACY leaves out aa_additional_evidence. */
void coco_evidence_format(const struct coco_evidence *ev, enum binding binding, struct buf *out);
void coco_evidence_release(struct coco_evidence *ev);

/* How a key is bound: BINDING_CURRENT (4.1) or BINDING_LEGACY (4.4). */
struct key_binding {
	struct buf runtime_data;  /* the JSON text whose hash goes to the TEE */
	struct buf claims_buffer; /* empty in the current format */
	uint8_t report_data[48];  /* SHA-384 of runtime_data */
};
/* ERR_CONFIG for BINDING_BOTH: only a verifier can have that. */
int key_binding_make(struct bytes spki, enum binding binding, struct key_binding *out, struct err *e) MUST_CHECK;
void key_binding_release(struct key_binding *b);

/*
 * Does this runtime data (from a token, parsed) belong to this key? binding says which forms are taken;
 * BINDING_BOTH tells them apart by the member. claims_buffer is the peer's, for the legacy form. ERR_TRUST
 * when it does not.
 */
int key_binding_check(const struct json *runtime_data, struct bytes claims_buffer, struct bytes spki,
		      enum binding binding, struct err *e) MUST_CHECK;
