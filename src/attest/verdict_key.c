/* SPDX-License-Identifier: Apache-2.0 */
/* verdict_key - fields with their lengths in front, so that no two bases read alike. */
#include "attest/verdict_key.h"

#include "crypto/digest.h"

static void append_field(struct buf *b, const char *text)
{
	buf_format(b, "%zu:%s,", text == NULL ? (size_t)0 : strlen(text), text == NULL ? "" : text);
}

static void append_conf(struct buf *b, const struct verdict_basis *basis)
{
	const struct verify_conf *conf = basis->conf;

	append_field(b, basis->name);
	buf_format(b, "%d,%d,%d,%d,%d,%u,", (int)conf->model, (int)conf->as.type, (int)basis->binding,
		   (int)basis->trust, (int)conf->builtin_policy, conf->verdict_max_age_s);
	append_field(b, conf->as.addr);
	buf_format(b, "%zu,", conf->as.policy_ids.count);
	for (size_t i = 0; i < conf->as.policy_ids.count; i++)
		append_field(b, conf->as.policy_ids.items[i]);
	buf_format(b, "%zu,", conf->as.header_count);
	for (size_t i = 0; i < conf->as.header_count; i++) {
		append_field(b, conf->as.headers[i].name);
		append_field(b, conf->as.headers[i].value);
	}
}

void verdict_basis_hash(const struct verdict_basis *basis, uint8_t sha256[32])
{
	const struct cert_list *anchors = basis->anchors;
	struct buf b = { 0 };
	uint8_t hash[32];

	append_conf(&b, basis);
	for (size_t i = 0; anchors != NULL && i < anchors->count; i++) {
		cert_sha256(anchors->items[i], hash);
		buf_append(&b, hash, sizeof(hash));
	}
	digest_compute(DIGEST_SHA256, buf_bytes(&b), sha256);
	buf_release_secret(&b); /* headers may hold credentials */
}

void verdict_key_make(const uint8_t basis_sha256[32], const uint8_t cert_sha256[32], uint8_t key[VERDICT_KEY_LEN])
{
	uint8_t both[64];

	memcpy(both, cert_sha256, 32);
	memcpy(both + 32, basis_sha256, 32);
	digest_compute(DIGEST_SHA256, bytes_of(both, sizeof(both)), key);
}
