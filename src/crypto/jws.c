/* SPDX-License-Identifier: Apache-2.0 */
/*
 * jws - signatures by the algorithm names of RFC 7518.
 *
 * An ECDSA signature is r and s side by side there, each as long as the field; OpenSSL has them in DER.
 */
#include "crypto/jws.h"

#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>

#include "codec/base64.h"
#include "crypto/key_internal.h"
#include "crypto/ossl.h"

struct algorithm {
	const char *name;
	const char *type;   /* key_type() */
	const char *curve;  /* NULL: any */
	const char *digest; /* NULL: part of the algorithm */
	bool pss;
};

static const struct algorithm algorithms[] = {
	{ "ES256", "EC", "P-256", "SHA2-256", false }, { "ES384", "EC", "P-384", "SHA2-384", false },
	{ "ES512", "EC", "P-521", "SHA2-512", false }, { "RS256", "RSA", NULL, "SHA2-256", false },
	{ "RS384", "RSA", NULL, "SHA2-384", false },   { "RS512", "RSA", NULL, "SHA2-512", false },
	{ "PS256", "RSA", NULL, "SHA2-256", true },    { "PS384", "RSA", NULL, "SHA2-384", true },
	{ "PS512", "RSA", NULL, "SHA2-512", true },    { "EdDSA", "OKP", "Ed25519", NULL, false },
};

static const struct algorithm *algorithm_for(const struct key *k, const char *name, struct err *e)
{
	for (size_t i = 0; i < ARRAY_SIZE(algorithms); i++) {
		const struct algorithm *alg = &algorithms[i];

		if (strcmp(alg->name, name) != 0)
			continue;
		if (strcmp(alg->type, key_type(k)) != 0 ||
		    (alg->curve != NULL && strcmp(alg->curve, key_curve(k)) != 0)) {
			err_set(e, ERR_PEER, "alg %s does not fit the key (%s)", name, key_type(k));
			return NULL;
		}
		return alg;
	}
	err_set(e, ERR_PEER, "unknown alg '%s'", name);
	return NULL;
}

static bool set_pss(const struct algorithm *alg, EVP_PKEY_CTX *ctx)
{
	if (!alg->pss)
		return true;
	return EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PSS_PADDING) == 1 &&
	       EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, RSA_PSS_SALTLEN_DIGEST) == 1;
}

/* DER to r||s. */
static bool ecdsa_to_raw(struct bytes der, size_t field_len, struct buf *out)
{
	const unsigned char *at = der.data;
	ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &at, (long)der.len);
	uint8_t *to = buf_reserve(out, 2 * field_len);
	bool ok;

	ok = sig != NULL && BN_bn2binpad(ECDSA_SIG_get0_r(sig), to, (int)field_len) >= 0 &&
	     BN_bn2binpad(ECDSA_SIG_get0_s(sig), to + field_len, (int)field_len) >= 0;
	if (ok)
		out->len += 2 * field_len;
	ECDSA_SIG_free(sig);
	return ok;
}

/* r||s to DER. */
static bool ecdsa_to_der(struct bytes raw, struct buf *out)
{
	ECDSA_SIG *sig = ECDSA_SIG_new();
	BIGNUM *r = BN_bin2bn(raw.data, (int)raw.len / 2, NULL);
	BIGNUM *s = BN_bin2bn(raw.data + raw.len / 2, (int)raw.len / 2, NULL);
	unsigned char *der = NULL;
	int len = -1;

	if (sig != NULL && r != NULL && s != NULL && ECDSA_SIG_set0(sig, r, s) == 1) {
		r = NULL;
		s = NULL;
		len = i2d_ECDSA_SIG(sig, &der);
	}
	if (len > 0)
		buf_append(out, der, (size_t)len);
	OPENSSL_free(der);
	BN_free(s);
	BN_free(r);
	ECDSA_SIG_free(sig);
	return len > 0;
}

int key_jws_sign(const struct key *k, const char *name, struct bytes text, struct buf *sig, struct err *e)
{
	const struct algorithm *alg = algorithm_for(k, name, e);
	struct buf made = { 0 };
	EVP_MD_CTX *md = NULL;
	EVP_PKEY_CTX *ctx = NULL;
	size_t len = 0;
	int rc = -1;

	if (alg == NULL)
		return -1;
	md = EVP_MD_CTX_new();
	if (md == NULL || EVP_DigestSignInit_ex(md, &ctx, alg->digest, NULL, NULL, key_pkey(k), NULL) != 1 ||
	    !set_pss(alg, ctx) || EVP_DigestSign(md, NULL, &len, text.data, text.len) != 1 ||
	    EVP_DigestSign(md, buf_reserve(&made, len), &len, text.data, text.len) != 1) {
		err_openssl(e, ERR_SYSTEM, "sign with %s", name);
		goto out;
	}
	made.len = len;
	if (key_field_len(k) == 0) {
		buf_append_bytes(sig, buf_bytes(&made));
	} else if (!ecdsa_to_raw(buf_bytes(&made), key_field_len(k), sig)) {
		err_openssl(e, ERR_SYSTEM, "sign with %s", name);
		goto out;
	}
	rc = 0;
out:
	EVP_MD_CTX_free(md);
	buf_release(&made);
	return rc;
}

int key_jws_verify(const struct key *k, const char *name, struct bytes text, struct bytes sig, struct err *e)
{
	const struct algorithm *alg = algorithm_for(k, name, e);
	struct buf der = { 0 };
	EVP_MD_CTX *md = NULL;
	EVP_PKEY_CTX *ctx = NULL;
	int rc = -1;

	if (alg == NULL)
		return -1;
	md = EVP_MD_CTX_new();
	if (md == NULL || EVP_DigestVerifyInit_ex(md, &ctx, alg->digest, NULL, NULL, key_pkey(k), NULL) != 1 ||
	    !set_pss(alg, ctx)) {
		err_openssl(e, ERR_SYSTEM, "verify with %s", name);
		goto out;
	}
	if (key_field_len(k) != 0) {
		if (sig.len != 2 * key_field_len(k) || !ecdsa_to_der(sig, &der)) {
			err_set(e, ERR_TRUST, "wrong %s signature", name);
			goto out;
		}
		sig = buf_bytes(&der);
	}
	if (EVP_DigestVerify(md, sig.data, sig.len, text.data, text.len) != 1) {
		err_set(e, ERR_TRUST, "wrong %s signature", name);
		goto out;
	}
	rc = 0;
out:
	ERR_clear_error();
	EVP_MD_CTX_free(md);
	buf_release(&der);
	return rc;
}

int jwt_sign(struct bytes header, struct bytes payload, const struct key *key, const char *alg, struct buf *out,
	     struct err *e)
{
	struct buf text = { 0 };
	struct buf sig = { 0 };
	int rc;

	base64url_encode(header, &text);
	buf_append_str(&text, ".");
	base64url_encode(payload, &text);
	rc = key_jws_sign(key, alg, buf_bytes(&text), &sig, e);
	if (rc == 0) {
		buf_append_bytes(out, buf_bytes(&text));
		buf_append_str(out, ".");
		base64url_encode(buf_bytes(&sig), out);
	}
	buf_release(&sig);
	buf_release(&text);
	return rc;
}
