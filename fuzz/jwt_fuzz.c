/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tokens. The first byte says what follows: 't' a whole token; 'h' the JSON of a header and 'p' that of a
 * payload, which are signed here, so that what lies behind the signature is reached as well.
 */
#include <stdlib.h>

#include "attest/token.h"
#include "codec/base64.h"
#include "crypto/jws.h"

#define NOW 1800000000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The keys of attestation.md, appendix A, so that its tokens are good seeds. */
static struct key *signer;
static struct cert_list anchors;
static struct buf spki;
static struct buf header;

static void must(bool holds)
{
	if (!holds)
		abort();
}

static struct key *key_of_scalar(uint8_t scalar)
{
	uint8_t bytes[32] = { [31] = scalar };
	struct err e;
	struct key *k = key_from_p256_scalar(bytes_of(bytes, sizeof(bytes)), &e);

	must(k != NULL);
	return k;
}

static void make_header(void)
{
	struct buf x = { 0 };
	struct buf y = { 0 };
	struct err e;

	must(key_jwk_members(signer, &x, &y, &e) == 0);
	buf_append_str(&header,
		       "{\"alg\":\"ES256\",\"jwk\":{\"alg\":\"ES256\",\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"");
	base64url_encode(buf_bytes(&x), &header);
	buf_append_str(&header, "\",\"y\":\"");
	base64url_encode(buf_bytes(&y), &header);
	buf_append_str(&header, "\"}}");
	buf_release(&x);
	buf_release(&y);
}

static void set_up(void)
{
	struct key *ca = key_of_scalar(2);
	struct key *bound = key_of_scalar(1);
	struct buf der = { 0 };
	struct err e;

	signer = key_of_scalar(3);
	must(cert_issue(&(struct issue_options){ .organization = "Trustee CA", .subject_key = ca, .is_ca = true }, &der,
			&e) == 0);
	cert_list_add(&anchors, cert_from_der(buf_bytes(&der), &e));
	must(key_spki(bound, &spki, &e) == 0);
	make_header();
	key_free(ca);
	key_free(bound);
	buf_release(&der);
}

static void verify(struct bytes token, enum token_trust trust)
{
	char *ids[] = { (char *)"default" };
	const struct string_list policy_ids = { ids, 1 };
	const struct token_rules rules = {
		.trust = trust,
		.anchors = &anchors,
		.policy_ids = &policy_ids,
		.binding = BINDING_BOTH,
		.spki = buf_bytes(&spki),
		.claims_buffer = bytes_str("claims"),
		.now_unix = NOW,
	};
	struct token_claims claims;
	enum reason reason = REASON_COUNT;
	struct err e = { 0 };
	int64_t expires;

	if (token_verify(token, &rules, &claims, &reason, &e) != 0) {
		must(reason != REASON_COUNT && e.kind != ERR_NONE);
		must(claims.expires_unix == 0);
	} else {
		must(claims.expires_unix >= NOW - 60);
		must(strlen(claims.policies) < sizeof(claims.policies));
		must(token_peek_expiry(token, &expires, &e) == 0 && expires == claims.expires_unix);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf token = { 0 };
	struct bytes rest;
	struct err e;

	if (signer == NULL)
		set_up();
	if (size == 0)
		return 0;
	rest = bytes_of(data + 1, size - 1);
	if (data[0] == 'h') {
		must(jwt_sign(rest, bytes_str("{}"), signer, "ES256", &token, &e) == 0);
		verify(buf_bytes(&token), TOKEN_TRUST_ANCHORS);
	} else if (data[0] == 'p') {
		must(jwt_sign(buf_bytes(&header), rest, signer, "ES256", &token, &e) == 0);
		verify(buf_bytes(&token), TOKEN_TRUST_EMBEDDED);
	} else {
		verify(rest, TOKEN_TRUST_ANCHORS);
	}
	buf_release(&token);
	return 0;
}
