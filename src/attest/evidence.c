/* SPDX-License-Identifier: Apache-2.0 */
/* evidence - the blob in the certificate, and how it is bound to a key. */
#include "attest/evidence.h"

#include <stdlib.h>

#include "codec/base64.h"
#include "codec/cbor.h"

#define PUBKEY_HASH "pubkey-hash"
#define LEGACY_RUNTIME_DATA "rats-rs.raw_runtime_data"

/* The names that upstream knows, in its order. */
static const char *const tees[] = {
	"azsnpvtpm", "aztdxvtpm", "nvidia",   "sev",	  "sgx",    "snp",	    "tdx",    "cca",
	"csv",	     "se",	  "hygondcu", "hygontpm", "sample", "sampledevice", "system", "tpm",
};

bool coco_tee_is_known(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(tees); i++) {
		if (strcmp(tees[i], name) == 0)
			return true;
	}
	return false;
}

static bool hash_of_id(uint64_t id, enum digest_algorithm *alg)
{
	switch (id) {
	case DIGEST_SHA256:
	case DIGEST_SHA384:
	case DIGEST_SHA512:
		*alg = (enum digest_algorithm)id;
		return true;
	}
	return false;
}

void evidence_blob_format(uint64_t tag, struct bytes raw, struct bytes claims_buffer, struct buf *out)
{
	cbor_write_tag(out, tag);
	cbor_write_array(out, 2);
	cbor_write_bytes(out, raw);
	cbor_write_bytes(out, claims_buffer);
}

int evidence_blob_parse(struct bytes extension, struct evidence_blob *out, struct err *e)
{
	struct cbor_reader r = cbor_reader_of(extension);
	size_t count;

	*out = (struct evidence_blob){ .tag = cbor_read_tag(&r) };
	count = cbor_read_array(&r);
	cbor_read_bytes(&r, &out->raw);
	cbor_read_bytes(&r, &out->claims_buffer);
	/* Bytes behind the item are left alone, as upstream does. */
	if (r.in.failed || count != 2) {
		evidence_blob_release(out);
		return err_set(e, ERR_PEER, "the evidence extension is no tagged pair of byte strings");
	}
	return 0;
}

void evidence_blob_release(struct evidence_blob *b)
{
	buf_release(&b->raw);
	buf_release(&b->claims_buffer);
}

void coco_evidence_format(const struct coco_evidence *ev, enum binding binding, struct buf *out)
{
	cbor_write_map(out, binding == BINDING_LEGACY ? 4 : 5);
	cbor_write_text(out, bytes_str("tee_type"));
	cbor_write_text(out, bytes_str(ev->tee));
	cbor_write_text(out, bytes_str("aa_evidence"));
	cbor_write_bytes(out, buf_bytes(&ev->evidence));
	if (binding != BINDING_LEGACY) {
		cbor_write_text(out, bytes_str("aa_additional_evidence"));
		if (ev->has_additional)
			cbor_write_bytes(out, buf_bytes(&ev->additional));
		else
			cbor_write_null(out);
	}
	cbor_write_text(out, bytes_str("aa_runtime_data"));
	cbor_write_text(out, buf_bytes(&ev->runtime_data));
	cbor_write_text(out, bytes_str("aa_runtime_data_hash_algo"));
	cbor_write_unsigned(out, ev->hash);
}

/* What has been seen of the members that must be there. */
struct coco_members {
	bool tee;
	bool evidence;
	bool runtime_data;
	uint64_t hash;
};

static char *text_to_str(struct bytes text)
{
	/* A NUL byte would end the string early, and a part of a name is not the name. */
	if (text.len > 0 && memchr(text.data, '\0', text.len) != NULL)
		return mem_strdup("");
	return mem_strndup(text.len == 0 ? "" : (const char *)text.data, text.len);
}

static void read_coco_member(struct cbor_reader *r, struct bytes key, struct coco_evidence *out,
			     struct coco_members *seen)
{
	if (bytes_equal_str(key, "tee_type")) {
		out->tee = text_to_str(cbor_read_text(r));
		seen->tee = true;
	} else if (bytes_equal_str(key, "aa_evidence")) {
		cbor_read_bytes(r, &out->evidence);
		seen->evidence = true;
	} else if (bytes_equal_str(key, "aa_additional_evidence")) {
		out->has_additional = !cbor_read_null(r);
		if (out->has_additional)
			cbor_read_bytes(r, &out->additional);
	} else if (bytes_equal_str(key, "aa_runtime_data")) {
		buf_append_bytes(&out->runtime_data, cbor_read_text(r));
		seen->runtime_data = true;
	} else if (bytes_equal_str(key, "aa_runtime_data_hash_algo")) {
		seen->hash = cbor_read_unsigned(r);
	} else {
		cbor_skip(r);
	}
}

static int check_json_object(struct bytes text, const char *what, struct err *e)
{
	struct json *j = json_parse(text, JSON_STRICT, e);
	int rc = 0;

	if (j == NULL)
		return err_wrap(e, "the evidence's %s", what);
	if (j->type != JSON_OBJECT)
		rc = err_set(e, ERR_PEER, "the evidence's %s is no JSON object", what);
	json_free(j);
	return rc;
}

static int check_coco(const struct coco_members *seen, struct coco_evidence *ev, struct err *e)
{
	if (!seen->tee || !seen->evidence || !seen->runtime_data)
		return err_set(e, ERR_PEER, "the evidence lacks %s",
			       !seen->tee	 ? "tee_type"
			       : !seen->evidence ? "aa_evidence"
						 : "aa_runtime_data");
	if (!hash_of_id(seen->hash, &ev->hash))
		return err_set(e, ERR_PEER, "the evidence's hash algorithm is unknown or missing");
	if (!coco_tee_is_known(ev->tee))
		return err_set(e, ERR_PEER, "the evidence is of the unknown TEE '%.40s'", ev->tee);
	if (ev->has_additional && check_json_object(buf_bytes(&ev->additional), "aa_additional_evidence", e) != 0)
		return -1;
	return check_json_object(buf_bytes(&ev->runtime_data), "aa_runtime_data", e);
}

int coco_evidence_parse(struct bytes raw, struct coco_evidence *out, struct err *e)
{
	struct cbor_reader r = cbor_reader_of(raw);
	struct cbor_keys keys = { .count = 0 };
	struct coco_members seen = { 0 };
	size_t count = cbor_read_map(&r);
	int rc;

	*out = (struct coco_evidence){ 0 };
	for (size_t i = 0; i < count && !r.in.failed; i++)
		read_coco_member(&r, cbor_read_key(&r, &keys), out, &seen);
	if (!cbor_at_end(&r))
		rc = err_set(e, ERR_PEER, "the evidence is no well-formed CBOR map");
	else
		rc = check_coco(&seen, out, e);
	if (rc != 0)
		coco_evidence_release(out);
	return rc;
}

void coco_evidence_release(struct coco_evidence *ev)
{
	free(ev->tee);
	buf_release(&ev->evidence);
	buf_release(&ev->additional);
	buf_release(&ev->runtime_data);
	*ev = (struct coco_evidence){ 0 };
}

/* CBOR [ 1, bytes(SHA-256(spki)) ] */
static void format_key_hash(struct bytes spki, struct buf *out)
{
	uint8_t hash[32];

	digest_compute(DIGEST_SHA256, spki, hash);
	cbor_write_array(out, 2);
	cbor_write_unsigned(out, DIGEST_SHA256);
	cbor_write_bytes(out, bytes_of(hash, sizeof(hash)));
}

/* The value of the claim "pubkey-hash": 4.1. */
static void format_pubkey_hash(struct bytes spki, struct buf *out)
{
	struct buf key_hash = { 0 };

	format_key_hash(spki, &key_hash);
	base64_encode(buf_bytes(&key_hash), out);
	buf_release(&key_hash);
}

/* The value of the claim that stands for a claims buffer: 4.4. */
static void format_legacy_hash(struct bytes claims_buffer, struct buf *out)
{
	uint8_t hash[32];

	digest_compute(DIGEST_SHA256, claims_buffer, hash);
	base64url_encode(bytes_of(hash, sizeof(hash)), out);
}

/* Neither the name nor base64 has a character that JSON would escape: this is RFC 8785's form. */
static void format_runtime_data(const char *name, struct buf *value, struct buf *out)
{
	buf_format(out, "{\"%s\":\"%s\"}", name, buf_str(value));
}

static void make_current(struct bytes spki, struct key_binding *out)
{
	struct buf value = { 0 };

	format_pubkey_hash(spki, &value);
	format_runtime_data(PUBKEY_HASH, &value, &out->runtime_data);
	buf_release(&value);
}

static void make_legacy(struct bytes spki, struct key_binding *out)
{
	struct buf key_hash = { 0 };
	struct buf value = { 0 };

	format_key_hash(spki, &key_hash);
	cbor_write_map(&out->claims_buffer, 1);
	cbor_write_text(&out->claims_buffer, bytes_str(PUBKEY_HASH));
	cbor_write_bytes(&out->claims_buffer, buf_bytes(&key_hash));
	format_legacy_hash(buf_bytes(&out->claims_buffer), &value);
	format_runtime_data(LEGACY_RUNTIME_DATA, &value, &out->runtime_data);
	buf_release(&value);
	buf_release(&key_hash);
}

int key_binding_make(struct bytes spki, enum binding binding, struct key_binding *out, struct err *e)
{
	*out = (struct key_binding){ 0 };
	switch (binding) {
	case BINDING_CURRENT:
		make_current(spki, out);
		break;
	case BINDING_LEGACY:
		make_legacy(spki, out);
		break;
	case BINDING_BOTH:
		return err_set(e, ERR_CONFIG, "evidence is bound to a key in one way: current or legacy");
	}
	digest_compute(DIGEST_SHA384, buf_bytes(&out->runtime_data), out->report_data);
	return 0;
}

void key_binding_release(struct key_binding *b)
{
	buf_release(&b->runtime_data);
	buf_release(&b->claims_buffer);
}

static bool is_string_equal(const struct json *j, const struct buf *expected)
{
	return j != NULL && j->type == JSON_STRING && bytes_equal(bytes_of(j->text, j->text_len), buf_bytes(expected));
}

/* Other members may stand beside it. */
static int check_current(const struct json *runtime_data, struct bytes spki, struct err *e)
{
	const struct json *claim = json_member(runtime_data, PUBKEY_HASH);
	struct buf expected = { 0 };
	int rc = 0;

	format_pubkey_hash(spki, &expected);
	if (claim == NULL)
		rc = err_set(e, ERR_TRUST, "the runtime data has no " PUBKEY_HASH);
	else if (!is_string_equal(claim, &expected))
		rc = err_set(e, ERR_TRUST, "the runtime data belongs to another key");
	buf_release(&expected);
	return rc;
}

/* The claim "pubkey-hash" of a claims buffer: 4.4. The other claims are byte strings too. */
static int find_key_hash(struct bytes claims_buffer, struct buf *key_hash, struct err *e)
{
	struct cbor_reader r = cbor_reader_of(claims_buffer);
	struct cbor_keys keys = { .count = 0 };
	struct buf other = { 0 };
	bool found = false;
	size_t count = cbor_read_map(&r);

	for (size_t i = 0; i < count && !r.in.failed; i++) {
		if (bytes_equal_str(cbor_read_key(&r, &keys), PUBKEY_HASH)) {
			cbor_read_bytes(&r, key_hash);
			found = true;
		} else {
			buf_clear(&other);
			cbor_read_bytes(&r, &other);
		}
	}
	buf_release(&other);
	if (!cbor_at_end(&r))
		return err_set(e, ERR_TRUST, "the claims buffer is no CBOR map of byte strings");
	if (!found)
		return err_set(e, ERR_TRUST, "the claims buffer has no " PUBKEY_HASH);
	return 0;
}

static int check_key_hash(struct bytes key_hash, struct bytes spki, struct err *e)
{
	struct cbor_reader r = cbor_reader_of(key_hash);
	size_t count = cbor_read_array(&r);
	uint64_t id = cbor_read_unsigned(&r);
	uint8_t expected[DIGEST_MAX_LEN];
	struct buf hash = { 0 };
	enum digest_algorithm alg;
	int rc = 0;

	cbor_read_bytes(&r, &hash);
	if (!cbor_at_end(&r) || count != 2 || !hash_of_id(id, &alg)) {
		rc = err_set(e, ERR_TRUST, "the claims buffer's " PUBKEY_HASH " is no hash that we know");
		goto out;
	}
	digest_compute(alg, spki, expected);
	if (!bytes_equal(buf_bytes(&hash), bytes_of(expected, digest_len(alg))))
		rc = err_set(e, ERR_TRUST, "the claims buffer belongs to another key");
out:
	buf_release(&hash);
	return rc;
}

/* No other member: the old verifiers compare the whole text. */
static int check_legacy(const struct json *runtime_data, struct bytes claims_buffer, struct bytes spki, struct err *e)
{
	struct buf expected = { 0 };
	struct buf key_hash = { 0 };
	int rc = -1;

	format_legacy_hash(claims_buffer, &expected);
	if (runtime_data->count != 1 || !is_string_equal(json_member(runtime_data, LEGACY_RUNTIME_DATA), &expected)) {
		err_set(e, ERR_TRUST, "the runtime data belongs to another claims buffer");
		goto out;
	}
	if (find_key_hash(claims_buffer, &key_hash, e) != 0)
		goto out;
	rc = check_key_hash(buf_bytes(&key_hash), spki, e);
out:
	buf_release(&key_hash);
	buf_release(&expected);
	return rc;
}

int key_binding_check(const struct json *runtime_data, struct bytes claims_buffer, struct bytes spki,
		      enum binding binding, struct err *e)
{
	bool is_legacy;

	if (runtime_data == NULL || runtime_data->type != JSON_OBJECT)
		return err_set(e, ERR_TRUST, "the runtime data is no JSON object");
	is_legacy = json_member(runtime_data, LEGACY_RUNTIME_DATA) != NULL;
	switch (binding) {
	case BINDING_CURRENT:
		if (is_legacy && json_member(runtime_data, PUBKEY_HASH) == NULL)
			return err_set(e, ERR_TRUST, "the key is bound as by 2.2.x and older: see rats_tls.binding");
		return check_current(runtime_data, spki, e);
	case BINDING_LEGACY:
		if (!is_legacy)
			return err_set(e, ERR_TRUST,
				       "the key is not bound as by 2.2.x and older: see rats_tls.binding");
		return check_legacy(runtime_data, claims_buffer, spki, e);
	case BINDING_BOTH:
		return is_legacy ? check_legacy(runtime_data, claims_buffer, spki, e)
				 : check_current(runtime_data, spki, e);
	}
	return err_set(e, ERR_CONFIG, "unknown binding");
}
