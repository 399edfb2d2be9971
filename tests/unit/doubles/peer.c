/* SPDX-License-Identifier: Apache-2.0 */
/* peer - certificates for tests. */
#include "peer.h"

#include "attest/identity.h"
#include "base/clock.h"
#include "codec/base64.h"
#include "crypto/cert.h"

#include <stdlib.h>

static void must(int rc)
{
	if (rc < 0)
		abort();
}

void peer_init(struct peer *p, enum binding binding)
{
	struct coco_evidence *ev = &p->evidence;
	struct err e;

	*p = (struct peer){ 0 };
	p->key = key_new_p256(&e);
	must(key_spki(p->key, &p->spki, &e));
	must(key_binding_make(buf_bytes(&p->spki), binding, &p->binding, &e));
	ev->tee = mem_strdup("sample");
	ev->hash = DIGEST_SHA384;
	buf_append_bytes(&ev->runtime_data, buf_bytes(&p->binding.runtime_data));
	buf_format(&ev->evidence, "{\"cc_eventlog\":null,\"measure_register\":\"%064d\",\"report_data\":\"", 0);
	base64_encode(bytes_of(p->binding.report_data, sizeof(p->binding.report_data)), &ev->evidence);
	buf_append_str(&ev->evidence, "\",\"svn\":\"1\"}");
	peer_certify_evidence(p, binding);
}

void peer_release(struct peer *p)
{
	key_free(p->key);
	buf_release(&p->spki);
	key_binding_release(&p->binding);
	coco_evidence_release(&p->evidence);
	buf_release(&p->cert_der);
}

void peer_certify_extension(struct peer *p, struct bytes extension)
{
	struct rats_cert_options options = {
		.key = p->key,
		.evidence = extension,
		.not_before = clock_unix(),
		.not_after = clock_unix() + 3600,
	};
	struct err e;

	buf_clear(&p->cert_der);
	must(cert_make_rats_tls(&options, &p->cert_der, &e));
	digest_compute(DIGEST_SHA256, buf_bytes(&p->cert_der), p->cert_sha256);
}

void peer_certify(struct peer *p, uint64_t tag, struct bytes raw)
{
	struct buf extension = { 0 };

	evidence_blob_format(tag, raw, buf_bytes(&p->binding.claims_buffer), &extension);
	peer_certify_extension(p, buf_bytes(&extension));
	buf_release(&extension);
}

void peer_certify_evidence(struct peer *p, enum binding binding)
{
	struct buf raw = { 0 };

	coco_evidence_format(&p->evidence, binding, &raw);
	peer_certify(p, EVIDENCE_TAG_COCO, buf_bytes(&raw));
	buf_release(&raw);
}

struct identity *peer_identity(const struct peer *p)
{
	struct identity_options options = {
		.key = p->key,
		.not_before = clock_unix(),
		.not_after = clock_unix() + 3600,
		.expires_unix = INT64_MAX,
		.tee = p->evidence.tee,
	};
	struct err e;
	struct identity *id = identity_new(&options, &e);

	must(id == NULL ? -1 : 0);
	buf_clear(&id->cert_der);
	buf_append_bytes(&id->cert_der, buf_bytes(&p->cert_der));
	return id;
}
