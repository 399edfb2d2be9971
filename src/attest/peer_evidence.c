/* SPDX-License-Identifier: Apache-2.0 */
/* peer_evidence - certificate, extension, model, binding. */
#include "attest/peer_evidence.h"

#include "codec/json.h"
#include "crypto/cert.h"

static int read_certificate(struct bytes cert_der, struct peer_evidence *out, struct evidence_blob *blob,
			    enum reason *reason, struct err *e)
{
	struct cert *cert = NULL;
	struct bytes extension;
	int rc = -1;

	*reason = REASON_CERTIFICATE_INVALID;
	cert = cert_from_der(cert_der, e);
	if (cert == NULL || cert_check_self_signed(cert, e) < 0 || cert_spki(cert, &out->spki, e) < 0)
		goto out;
	*reason = REASON_NO_EVIDENCE;
	if (!cert_extension(cert, EVIDENCE_OID, &extension)) {
		err_set(e, ERR_TRUST,
			"the peer presents no evidence: its entry needs \"attest\", or remove "
			"\"verify\" from this one (no extension " EVIDENCE_OID ")");
		goto out;
	}
	*reason = REASON_EVIDENCE_INVALID;
	rc = evidence_blob_parse(extension, blob, e);
out:
	cert_free(cert);
	return rc;
}

static const char *tag_name(uint64_t tag)
{
	switch (tag) {
	case EVIDENCE_TAG_COCO:
		return "evidence (background check)";
	case EVIDENCE_TAG_COCO_TOKEN:
		return "a token (passport)";
	case EVIDENCE_TAG_ITA:
		return "evidence for Intel Trust Authority";
	case EVIDENCE_TAG_ITA_TOKEN:
		return "a token of Intel Trust Authority";
	}
	return "something unknown";
}

static int check_tag(uint64_t tag, enum ra_model model, enum reason *reason, struct err *e)
{
	uint64_t wanted = model == MODEL_PASSPORT ? EVIDENCE_TAG_COCO_TOKEN : EVIDENCE_TAG_COCO;

	if (tag == wanted)
		return 0;
	*reason = REASON_MODEL_MISMATCH;
	return err_set(e, ERR_TRUST, "the certificate holds %s (tag 0x%llx), verify.model wants %s", tag_name(tag),
		       (unsigned long long)tag, tag_name(wanted));
}

static int check_binding(const struct peer_evidence *p, enum binding binding, enum reason *reason, struct err *e)
{
	struct json *doc = json_parse(buf_bytes(&p->evidence.runtime_data), JSON_STRICT, e);
	int rc;

	if (doc == NULL) {
		*reason = REASON_EVIDENCE_INVALID;
		return err_wrap(e, "runtime data");
	}
	*reason = REASON_BINDING_MISMATCH;
	rc = key_binding_check(doc, buf_bytes(&p->claims_buffer), buf_bytes(&p->spki), binding, e);
	json_free(doc);
	return rc;
}

static struct buf take(struct buf *from)
{
	struct buf b = *from;

	*from = (struct buf){ 0 };
	return b;
}

int peer_evidence_read(struct bytes cert_der, enum ra_model model, enum binding binding, struct peer_evidence *out,
		       enum reason *reason, struct err *e)
{
	struct evidence_blob blob = { 0 };
	int rc = -1;

	*out = (struct peer_evidence){ 0 };
	if (read_certificate(cert_der, out, &blob, reason, e) < 0 || check_tag(blob.tag, model, reason, e) < 0)
		goto out;
	out->claims_buffer = take(&blob.claims_buffer);
	switch (model) {
	case MODEL_PASSPORT:
		out->token = take(&blob.raw);
		rc = 0;
		break;
	case MODEL_BACKGROUND_CHECK:
		*reason = REASON_EVIDENCE_INVALID;
		rc = coco_evidence_parse(buf_bytes(&blob.raw), &out->evidence, e);
		if (rc == 0)
			rc = check_binding(out, binding, reason, e);
		break;
	}
out:
	if (rc < 0)
		peer_evidence_release(out);
	evidence_blob_release(&blob);
	return rc;
}

void peer_evidence_release(struct peer_evidence *p)
{
	buf_release(&p->spki);
	buf_release(&p->claims_buffer);
	buf_release(&p->token);
	coco_evidence_release(&p->evidence);
	*p = (struct peer_evidence){ 0 };
}
