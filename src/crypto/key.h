/* SPDX-License-Identifier: Apache-2.0 */
/*
 * key - private and public keys, and JWS signatures (RFC 7518) with them.
 *
 * Threads: any; a key is constant.
 */
#pragma once

#include <stdbool.h>

#include "base/bytes.h"
#include "base/err.h"

struct key;

struct key *key_new_p256(struct err *e);
struct key *key_new_rsa(unsigned bits, struct err *e);

/* A P-256 private key from its 32-byte scalar: for vectors and the lab. */
struct key *key_from_p256_scalar(struct bytes scalar, struct err *e);
struct key *key_from_pkcs8(struct bytes der, struct err *e);
struct key *key_from_spki(struct bytes der, struct err *e);

/* From JWK members, as big-endian numbers; short EC coordinates are padded on the left. crv: "P-256", "P-384", "P-521".
 */
struct key *key_from_ec_point(const char *crv, struct bytes x, struct bytes y, struct err *e);
struct key *key_from_rsa(struct bytes n, struct bytes exponent, struct err *e);
struct key *key_from_ed25519(struct bytes x, struct err *e);
void key_free(struct key *k);

bool key_equal_public(const struct key *a, const struct key *b);

/* The DER SubjectPublicKeyInfo; PKCS#8 goes to a buffer that is released with buf_release_secret(). */
int key_spki(const struct key *k, struct buf *out, struct err *e) MUST_CHECK;
int key_pkcs8(const struct key *k, struct buf *out, struct err *e) MUST_CHECK;

/* For writing a JWK: "EC", "RSA" or "OKP"; "P-256"..., "Ed25519" or NULL; public members, big-endian. */
const char *key_type(const struct key *k);
const char *key_curve(const struct key *k);
int key_jwk_members(const struct key *k, struct buf *x_or_n, struct buf *y_or_e, struct err *e) MUST_CHECK;

/*
 * alg is a JWS name: ES256 ES384 ES512 RS256 RS384 RS512 PS256 PS384 PS512 EdDSA. ECDSA signatures are r||s.
 * A name that does not fit the key is ERR_PEER. verify returns -1 with ERR_TRUST for a wrong signature.
 */
int key_jws_sign(const struct key *k, const char *alg, struct bytes text, struct buf *sig, struct err *e) MUST_CHECK;
int key_jws_verify(const struct key *k, const char *alg, struct bytes text, struct bytes sig, struct err *e) MUST_CHECK;
