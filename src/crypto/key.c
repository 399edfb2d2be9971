/* SPDX-License-Identifier: Apache-2.0 */
/*
 * key - private and public keys.
 *
 * Every key passes key_admit(), wherever it comes from, so that the rest of the program never meets a
 * curve with parameters of the peer's choice, or a number so large that one verification takes seconds.
 */
#include "crypto/key.h"
#include "crypto/key_internal.h"
#include "crypto/ossl.h"

#include <stdlib.h>

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/param_build.h>
#include <openssl/x509.h>

#define RSA_MIN_BITS 2048
#define RSA_MAX_BITS 8192
#define RSA_MAX_EXPONENT_BITS 33 /* as the verifiers of upstream have it; bounds the work */

struct curve {
	const char *jose;  /* RFC 7518's name */
	const char *group; /* OpenSSL's name */
	size_t field_len;
};

static const struct curve curves[] = {
	{ "P-256", "prime256v1", 32 },
	{ "P-384", "secp384r1", 48 },
	{ "P-521", "secp521r1", 66 },
};

struct key {
	EVP_PKEY *pkey;
	const struct curve *curve; /* NULL unless EC */
};

static const struct curve *curve_by_jose(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(curves); i++) {
		if (strcmp(curves[i].jose, name) == 0)
			return &curves[i];
	}
	return NULL;
}

static const struct curve *curve_of(EVP_PKEY *pkey)
{
	char group[64];
	int explicit_parameters = 0;

	if (EVP_PKEY_get_group_name(pkey, group, sizeof(group), NULL) != 1)
		return NULL;
	if (EVP_PKEY_get_int_param(pkey, OSSL_PKEY_PARAM_EC_DECODED_FROM_EXPLICIT_PARAMS, &explicit_parameters) == 1 &&
	    explicit_parameters != 0)
		return NULL;
	for (size_t i = 0; i < ARRAY_SIZE(curves); i++) {
		if (strcmp(curves[i].group, group) == 0)
			return &curves[i];
	}
	return NULL;
}

static bool is_rsa_exponent_sane(EVP_PKEY *pkey)
{
	BIGNUM *exponent = NULL;
	bool sane;

	sane = EVP_PKEY_get_bn_param(pkey, OSSL_PKEY_PARAM_RSA_E, &exponent) == 1 && BN_is_odd(exponent) &&
	       !BN_is_one(exponent) && BN_num_bits(exponent) <= RSA_MAX_EXPONENT_BITS;
	BN_free(exponent);
	return sane;
}

struct key *key_admit(EVP_PKEY *pkey, struct err *e)
{
	const struct curve *curve = NULL;
	struct key *k;

	if (EVP_PKEY_is_a(pkey, "EC")) {
		curve = curve_of(pkey);
		ERR_clear_error();
		if (curve == NULL) {
			err_set(e, ERR_PEER, "the key's curve is none of P-256, P-384, P-521");
			return NULL;
		}
	} else if (EVP_PKEY_is_a(pkey, "RSA")) {
		int bits = EVP_PKEY_get_bits(pkey);

		if (bits < RSA_MIN_BITS || bits > RSA_MAX_BITS) {
			err_set(e, ERR_PEER, "an RSA key of %d bits: expected %d to %d", bits, RSA_MIN_BITS,
				RSA_MAX_BITS);
			return NULL;
		}
		if (!is_rsa_exponent_sane(pkey)) {
			ERR_clear_error();
			err_set(e, ERR_PEER, "the RSA key's exponent is even, 1 or too large");
			return NULL;
		}
	} else if (!EVP_PKEY_is_a(pkey, "ED25519")) {
		err_set(e, ERR_PEER, "a key that is neither EC, RSA nor Ed25519");
		return NULL;
	}

	k = mem_new_of(struct key);
	k->pkey = pkey;
	k->curve = curve;
	return k;
}

/* The same for an EVP_PKEY that goes when it is refused. NULL: OpenSSL has just failed at doing what. */
static struct key *admit_or_free(EVP_PKEY *pkey, enum err_kind kind, const char *what, struct err *e)
{
	struct key *k;

	if (pkey == NULL) {
		err_openssl(e, kind, "%s", what);
		return NULL;
	}
	k = key_admit(pkey, e);
	if (k == NULL)
		EVP_PKEY_free(pkey);
	return k;
}

EVP_PKEY *key_pkey(const struct key *k)
{
	return k->pkey;
}

struct key *key_new_p256(struct err *e)
{
	return admit_or_free(EVP_EC_gen("P-256"), ERR_SYSTEM, "generate a P-256 key", e);
}

struct key *key_new_rsa(unsigned bits, struct err *e)
{
	if (bits < RSA_MIN_BITS || bits > RSA_MAX_BITS) {
		err_set(e, ERR_CONFIG, "an RSA key of %u bits: expected %d to %d", bits, RSA_MIN_BITS, RSA_MAX_BITS);
		return NULL;
	}
	return admit_or_free(EVP_RSA_gen(bits), ERR_SYSTEM, "generate an RSA key", e);
}

static EVP_PKEY *pkey_from_params(const char *type, int selection, OSSL_PARAM *params)
{
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
	EVP_PKEY *pkey = NULL;

	if (ctx == NULL || EVP_PKEY_fromdata_init(ctx) != 1 || EVP_PKEY_fromdata(ctx, &pkey, selection, params) != 1) {
		EVP_PKEY_free(pkey);
		pkey = NULL;
	}
	EVP_PKEY_CTX_free(ctx);
	return pkey;
}

struct key *key_from_p256_scalar(struct bytes scalar, struct err *e)
{
	uint8_t point[65];
	struct key *k = NULL;
	EC_GROUP *group = EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1);
	EC_POINT *product = group == NULL ? NULL : EC_POINT_new(group);
	BIGNUM *d = BN_secure_new();
	OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
	OSSL_PARAM *params = NULL;

	if (scalar.len != 32) {
		err_set(e, ERR_PEER, "a P-256 scalar of %zu bytes: expected 32", scalar.len);
		goto out;
	}
	if (product == NULL || d == NULL || builder == NULL || BN_bin2bn(scalar.data, (int)scalar.len, d) == NULL) {
		err_openssl(e, ERR_SYSTEM, "a P-256 scalar");
		goto out;
	}
	if (BN_is_zero(d) || BN_cmp(d, EC_GROUP_get0_order(group)) >= 0) {
		err_set(e, ERR_PEER, "a P-256 scalar out of range");
		goto out;
	}
	BN_set_flags(d, BN_FLG_CONSTTIME);
	if (EC_POINT_mul(group, product, d, NULL, NULL, NULL) != 1 ||
	    EC_POINT_point2oct(group, product, POINT_CONVERSION_UNCOMPRESSED, point, sizeof(point), NULL) !=
		    sizeof(point) ||
	    OSSL_PARAM_BLD_push_utf8_string(builder, OSSL_PKEY_PARAM_GROUP_NAME, "prime256v1", 0) != 1 ||
	    OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_PRIV_KEY, d) != 1 ||
	    OSSL_PARAM_BLD_push_octet_string(builder, OSSL_PKEY_PARAM_PUB_KEY, point, sizeof(point)) != 1) {
		err_openssl(e, ERR_SYSTEM, "a P-256 scalar");
		goto out;
	}
	params = OSSL_PARAM_BLD_to_param(builder);
	k = admit_or_free(params == NULL ? NULL : pkey_from_params("EC", EVP_PKEY_KEYPAIR, params), ERR_SYSTEM,
			  "a P-256 scalar", e);
out:
	OSSL_PARAM_free(params);
	OSSL_PARAM_BLD_free(builder);
	BN_clear_free(d);
	EC_POINT_free(product);
	EC_GROUP_free(group);
	return k;
}

struct key *key_from_pkcs8(struct bytes der, struct err *e)
{
	const unsigned char *at = der.data;
	PKCS8_PRIV_KEY_INFO *info = NULL;
	struct key *k = NULL;

	info = d2i_PKCS8_PRIV_KEY_INFO(NULL, &at, (long)der.len);
	if (info == NULL) {
		err_openssl(e, ERR_PEER, "read a private key");
		goto out;
	}
	if (at != der.data + der.len) {
		err_set(e, ERR_PEER, "read a private key: bytes after its end");
		goto out;
	}
	k = admit_or_free(EVP_PKCS82PKEY(info), ERR_PEER, "read a private key", e);
out:
	PKCS8_PRIV_KEY_INFO_free(info);
	return k;
}

struct key *key_from_spki(struct bytes der, struct err *e)
{
	const unsigned char *at = der.data;
	X509_PUBKEY *spki = NULL;
	struct key *k = NULL;

	spki = d2i_X509_PUBKEY(NULL, &at, (long)der.len);
	if (spki == NULL) {
		err_openssl(e, ERR_PEER, "read a public key");
		goto out;
	}
	if (at != der.data + der.len) {
		err_set(e, ERR_PEER, "read a public key: bytes after its end");
		goto out;
	}
	k = admit_or_free(X509_PUBKEY_get(spki), ERR_PEER, "read a public key", e);
out:
	X509_PUBKEY_free(spki);
	return k;
}

/* Right-aligned in to; false when it is longer. */
static bool pad_left(struct bytes number, uint8_t *to, size_t len)
{
	if (number.len > len)
		return false;
	memset(to, 0, len - number.len);
	if (number.len > 0)
		memcpy(to + len - number.len, number.data, number.len);
	return true;
}

/* fromdata has checked that the point is on the curve; this is for the point at infinity and the range. */
static bool is_public_key_valid(EVP_PKEY *pkey)
{
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, pkey, NULL);
	bool valid = ctx != NULL && EVP_PKEY_public_check_quick(ctx) == 1;

	EVP_PKEY_CTX_free(ctx);
	return valid;
}

struct key *key_from_ec_point(const char *crv, struct bytes x, struct bytes y, struct err *e)
{
	const struct curve *curve = curve_by_jose(crv);
	uint8_t point[1 + 2 * 66];
	OSSL_PARAM params[3];
	EVP_PKEY *pkey;

	if (curve == NULL) {
		err_set(e, ERR_PEER, "unknown curve '%s'", crv);
		return NULL;
	}
	point[0] = 4; /* uncompressed */
	if (!pad_left(x, point + 1, curve->field_len) || !pad_left(y, point + 1 + curve->field_len, curve->field_len)) {
		err_set(e, ERR_PEER, "a coordinate has more than the %zu bytes of %s", curve->field_len, crv);
		return NULL;
	}
	params[0] = OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, (char *)curve->group, 0);
	params[1] = OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, point, 1 + 2 * curve->field_len);
	params[2] = OSSL_PARAM_construct_end();
	pkey = pkey_from_params("EC", EVP_PKEY_PUBLIC_KEY, params);
	if (pkey != NULL && !is_public_key_valid(pkey)) {
		EVP_PKEY_free(pkey);
		pkey = NULL;
	}
	return admit_or_free(pkey, ERR_PEER, "no point of the curve", e);
}

struct key *key_from_rsa(struct bytes n, struct bytes exponent, struct err *e)
{
	OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
	OSSL_PARAM *params = NULL;
	BIGNUM *modulus = NULL;
	BIGNUM *power = NULL;
	struct key *k = NULL;

	/* Leading zeros may stand in front, but not without end. */
	if (n.len > RSA_MAX_BITS / 8 + 1 || exponent.len > 8) {
		err_set(e, ERR_PEER, "an RSA key of more than %d bits, or with an exponent of more than 64",
			RSA_MAX_BITS);
		goto out;
	}
	modulus = BN_bin2bn(n.data, (int)n.len, NULL);
	power = BN_bin2bn(exponent.data, (int)exponent.len, NULL);
	if (builder == NULL || modulus == NULL || power == NULL ||
	    OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_N, modulus) != 1 ||
	    OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_E, power) != 1) {
		err_openssl(e, ERR_SYSTEM, "an RSA key");
		goto out;
	}
	params = OSSL_PARAM_BLD_to_param(builder);
	k = admit_or_free(params == NULL ? NULL : pkey_from_params("RSA", EVP_PKEY_PUBLIC_KEY, params), ERR_PEER,
			  "an RSA key", e);
out:
	OSSL_PARAM_free(params);
	OSSL_PARAM_BLD_free(builder);
	BN_free(power);
	BN_free(modulus);
	return k;
}

struct key *key_from_ed25519(struct bytes x, struct err *e)
{
	return admit_or_free(EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, x.data, x.len), ERR_PEER,
			     "an Ed25519 key", e);
}

void key_free(struct key *k)
{
	if (k == NULL)
		return;
	EVP_PKEY_free(k->pkey);
	free(k);
}

bool key_equal_public(const struct key *a, const struct key *b)
{
	bool equal = EVP_PKEY_eq(a->pkey, b->pkey) == 1;

	ERR_clear_error();
	return equal;
}

int key_spki(const struct key *k, struct buf *out, struct err *e)
{
	unsigned char *der = NULL;
	int len = i2d_PUBKEY(k->pkey, &der);

	if (len < 0)
		return err_openssl(e, ERR_SYSTEM, "write a public key");
	buf_append(out, der, (size_t)len);
	OPENSSL_free(der);
	return 0;
}

int key_pkcs8(const struct key *k, struct buf *out, struct err *e)
{
	PKCS8_PRIV_KEY_INFO *info = EVP_PKEY2PKCS8(k->pkey);
	unsigned char *der = NULL;
	int len = info == NULL ? -1 : i2d_PKCS8_PRIV_KEY_INFO(info, &der);

	PKCS8_PRIV_KEY_INFO_free(info);
	if (len < 0)
		return err_openssl(e, ERR_SYSTEM, "write a private key");
	buf_append(out, der, (size_t)len);
	OPENSSL_clear_free(der, (size_t)len);
	return 0;
}

const char *key_type(const struct key *k)
{
	if (k->curve != NULL)
		return "EC";
	return EVP_PKEY_is_a(k->pkey, "RSA") ? "RSA" : "OKP";
}

const char *key_curve(const struct key *k)
{
	if (k->curve != NULL)
		return k->curve->jose;
	return EVP_PKEY_is_a(k->pkey, "RSA") ? NULL : "Ed25519";
}

size_t key_field_len(const struct key *k)
{
	return k->curve == NULL ? 0 : k->curve->field_len;
}

/* len 0: as many bytes as the number needs. */
static int append_number(const struct key *k, const char *param, size_t len, struct buf *out, struct err *e)
{
	BIGNUM *number = NULL;
	size_t size;

	if (EVP_PKEY_get_bn_param(k->pkey, param, &number) != 1)
		return err_openssl(e, ERR_SYSTEM, "read a key's %s", param);
	size = len == 0 ? (size_t)BN_num_bytes(number) : len;
	if (BN_bn2binpad(number, buf_reserve(out, size), (int)size) < 0) {
		BN_free(number);
		return err_openssl(e, ERR_SYSTEM, "read a key's %s", param);
	}
	out->len += size;
	BN_free(number);
	return 0;
}

int key_jwk_members(const struct key *k, struct buf *x_or_n, struct buf *y_or_e, struct err *e)
{
	uint8_t raw[32];
	size_t len = sizeof(raw);
	int rc;

	if (k->curve != NULL) {
		rc = append_number(k, OSSL_PKEY_PARAM_EC_PUB_X, k->curve->field_len, x_or_n, e);
		if (rc == 0)
			rc = append_number(k, OSSL_PKEY_PARAM_EC_PUB_Y, k->curve->field_len, y_or_e, e);
		return rc;
	}
	if (EVP_PKEY_is_a(k->pkey, "RSA")) {
		rc = append_number(k, OSSL_PKEY_PARAM_RSA_N, 0, x_or_n, e);
		if (rc == 0)
			rc = append_number(k, OSSL_PKEY_PARAM_RSA_E, 0, y_or_e, e);
		return rc;
	}
	if (EVP_PKEY_get_raw_public_key(k->pkey, raw, &len) != 1)
		return err_openssl(e, ERR_SYSTEM, "read an Ed25519 key");
	buf_append(x_or_n, raw, len);
	return 0;
}
