/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/key.h"

#include "../vectors.h"
#include "codec/base64.h"
#include "crypto/jws.h"

static struct bytes decoded(struct buf *to, const char *base64url)
{
	struct err e;

	buf_clear(to);
	assert_int_equal(base64url_decode(bytes_str(base64url), to, &e), 0);
	return buf_bytes(to);
}

/* Takes a compact token apart and verifies it. */
static int verify(const struct key *k, const char *alg, const char *token, struct err *e)
{
	const char *dot = strrchr(token, '.');
	struct buf sig = { 0 };
	int rc;

	rc = key_jws_verify(k, alg, bytes_of(token, (size_t)(dot - token)), decoded(&sig, dot + 1), e);
	buf_release(&sig);
	return rc;
}

static struct key *p256_of_scalar(const char *hex)
{
	struct buf scalar = { 0 };
	struct key *k;
	struct err e;

	hex_to_buf(hex, &scalar);
	k = key_from_p256_scalar(buf_bytes(&scalar), &e);
	assert_non_null(k);
	buf_release(&scalar);
	return k;
}

static void a_scalar_gives_the_spki_of_the_vectors(void **state)
{
	static const char *const files[] = { "rats-tls.txt", "coco-evidence.txt" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		char *scalar = vector_text(files[i], "scalar");
		struct key *k = p256_of_scalar(scalar);
		struct buf expected = { 0 };
		struct buf spki = { 0 };
		struct err e;

		vector_hex(files[i], "spki", &expected);
		assert_int_equal(key_spki(k, &spki, &e), 0);
		assert_int_equal(spki.len, 91);
		assert_bytes_equal(buf_bytes(&spki), buf_bytes(&expected));
		buf_release(&spki);
		buf_release(&expected);
		key_free(k);
		free(scalar);
	}
}

static void a_scalar_out_of_range_is_refused(void **state)
{
	static const char *const wrong[] = {
		"0000000000000000000000000000000000000000000000000000000000000000",
		"ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551", /* the order */
		"ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
		"01",
		"000000000000000000000000000000000000000000000000000000000000000001",
		"",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		struct buf scalar = { 0 };
		struct err e;

		hex_to_buf(wrong[i], &scalar);
		assert_null(key_from_p256_scalar(buf_bytes(&scalar), &e));
		assert_int_equal(e.kind, ERR_PEER);
		buf_release(&scalar);
	}
}

static void pkcs8_and_spki_come_back(void **state)
{
	struct err e;
	struct key *keys[] = { key_new_p256(&e), key_new_rsa(2048, &e) };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		struct buf secret = { 0 };
		struct buf spki = { 0 };
		struct buf sig = { 0 };
		struct key *private;
		struct key *public;
		const char *alg = i == 0 ? "ES256" : "PS256";

		assert_non_null(keys[i]);
		assert_int_equal(key_pkcs8(keys[i], &secret, &e), 0);
		assert_int_equal(key_spki(keys[i], &spki, &e), 0);
		private = key_from_pkcs8(buf_bytes(&secret), &e);
		public = key_from_spki(buf_bytes(&spki), &e);
		assert_non_null(private);
		assert_non_null(public);
		assert_true(key_equal_public(private, public));
		assert_int_equal(key_jws_sign(private, alg, bytes_str("text"), &sig, &e), 0);
		assert_int_equal(key_jws_verify(public, alg, bytes_str("text"), buf_bytes(&sig), &e), 0);
		/* a public key signs nothing */
		assert_int_equal(key_jws_sign(public, alg, bytes_str("text"), &sig, &e), -1);

		buf_append_str(&secret, "x");
		buf_append_str(&spki, "x");
		assert_null(key_from_pkcs8(buf_bytes(&secret), &e));
		assert_null(key_from_spki(buf_bytes(&spki), &e));
		for (size_t cut = 2; cut < spki.len; cut += 7)
			assert_null(key_from_spki(bytes_of(spki.data, spki.len - cut), &e));
		assert_null(key_from_pkcs8(bytes_of(secret.data, secret.len - 2), &e));

		key_free(private);
		key_free(public);
		key_free(keys[i]);
		buf_release_secret(&secret);
		buf_release(&spki);
		buf_release(&sig);
	}
	assert_null(key_from_spki(bytes_of(NULL, 0), &e));
	assert_null(key_from_pkcs8(bytes_of(NULL, 0), &e));
}

static void two_keys_differ(void **state)
{
	struct err e;
	struct key *a = key_new_p256(&e);
	struct key *b = key_new_p256(&e);
	struct key *rsa = key_new_rsa(2048, &e);

	(void)state;
	assert_true(key_equal_public(a, a));
	assert_false(key_equal_public(a, b));
	assert_false(key_equal_public(a, rsa));
	key_free(a);
	key_free(b);
	key_free(rsa);
}

/* RFC 7515, A.3 */
static const char es256_x[] = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU";
static const char es256_y[] = "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0";
static const char es256_token[] =
	"eyJhbGciOiJFUzI1NiJ9."
	"eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ."
	"DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";

/* RFC 8037, A.4 */
static const char eddsa_x[] = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
static const char eddsa_token[] =
	"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc."
	"hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";

static struct key *es256_key(void)
{
	struct buf x = { 0 };
	struct buf y = { 0 };
	struct err e;
	struct key *k = key_from_ec_point("P-256", decoded(&x, es256_x), decoded(&y, es256_y), &e);

	assert_non_null(k);
	buf_release(&x);
	buf_release(&y);
	return k;
}

static void the_published_signatures_verify(void **state)
{
	struct buf x = { 0 };
	struct err e;
	struct key *k = es256_key();

	(void)state;
	assert_int_equal(verify(k, "ES256", es256_token, &e), 0);
	key_free(k);
	k = key_from_ed25519(decoded(&x, eddsa_x), &e);
	assert_non_null(k);
	assert_string_equal(key_type(k), "OKP");
	assert_string_equal(key_curve(k), "Ed25519");
	assert_int_equal(verify(k, "EdDSA", eddsa_token, &e), 0);
	key_free(k);
	buf_release(&x);
}

static void a_changed_signature_or_text_is_refused(void **state)
{
	struct key *k = es256_key();
	size_t len = strlen(es256_token);
	const char *dot = strrchr(es256_token, '.');
	struct buf sig = { 0 };
	struct bytes text = bytes_of(es256_token, (size_t)(dot - es256_token));
	struct err e;

	(void)state;
	decoded(&sig, dot + 1);
	for (size_t i = 0; i < sig.len; i++) {
		sig.data[i] ^= 1;
		assert_int_equal(key_jws_verify(k, "ES256", text, buf_bytes(&sig), &e), -1);
		assert_int_equal(e.kind, ERR_TRUST);
		sig.data[i] ^= 1;
	}
	assert_int_equal(key_jws_verify(k, "ES256", text, buf_bytes(&sig), &e), 0);
	assert_int_equal(key_jws_verify(k, "ES256", bytes_of(text.data, text.len - 1), buf_bytes(&sig), &e), -1);
	for (size_t i = 0; i < sig.len; i += 9)
		assert_int_equal(key_jws_verify(k, "ES256", text, bytes_of(sig.data, i), &e), -1);
	buf_append_str(&sig, "x");
	assert_int_equal(key_jws_verify(k, "ES256", text, buf_bytes(&sig), &e), -1);
	assert_int_equal(e.kind, ERR_TRUST);
	/* r = s = 0 once verified everything in another program */
	memset(sig.data, 0, sig.len);
	assert_int_equal(key_jws_verify(k, "ES256", text, bytes_of(sig.data, 64), &e), -1);
	assert_int_equal(key_jws_verify(k, "ES256", text, bytes_of(NULL, 0), &e), -1);
	(void)len;
	buf_release(&sig);
	key_free(k);
}

static void every_algorithm_signs_and_verifies(void **state)
{
	static const char *const rsa_algs[] = { "RS256", "RS384", "RS512", "PS256", "PS384", "PS512" };
	struct err e;
	struct key *rsa = key_new_rsa(2048, &e);
	struct key *ec = key_new_p256(&e);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rsa_algs); i++) {
		struct buf sig = { 0 };

		assert_int_equal(key_jws_sign(rsa, rsa_algs[i], bytes_str("text"), &sig, &e), 0);
		assert_int_equal(sig.len, 256);
		for (size_t j = 0; j < ARRAY_SIZE(rsa_algs); j++) {
			int rc = key_jws_verify(rsa, rsa_algs[j], bytes_str("text"), buf_bytes(&sig), &e);

			assert_int_equal(rc, i == j ? 0 : -1);
		}
		assert_int_equal(key_jws_verify(rsa, rsa_algs[i], bytes_str("text"), bytes_of(sig.data, 255), &e), -1);
		assert_int_equal(key_jws_verify(rsa, rsa_algs[i], bytes_str("text"), bytes_of(NULL, 0), &e), -1);
		buf_release(&sig);
	}
	for (int i = 0; i < 300; i++) { /* r or s with leading zeros comes up */
		struct buf sig = { 0 };

		assert_int_equal(key_jws_sign(ec, "ES256", bytes_str("text"), &sig, &e), 0);
		assert_int_equal(sig.len, 64);
		assert_int_equal(key_jws_verify(ec, "ES256", bytes_str("text"), buf_bytes(&sig), &e), 0);
		buf_release(&sig);
	}
	key_free(rsa);
	key_free(ec);
}

static void an_algorithm_that_does_not_fit_is_refused(void **state)
{
	static const char *const wrong[] = {
		"RS256", "ES384", "ES512", "EdDSA", "HS256", "none", "", "es256", "ES256 "
	};
	struct key *k = es256_key();
	struct buf sig = { 0 };
	struct err e;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		assert_int_equal(key_jws_verify(k, wrong[i], bytes_str("t"), bytes_str("s"), &e), -1);
		assert_int_equal(e.kind, ERR_PEER);
		assert_int_equal(key_jws_sign(k, wrong[i], bytes_str("t"), &sig, &e), -1);
		assert_int_equal(sig.len, 0);
	}
	key_free(k);
	buf_release(&sig);
}

/* Half of all x have none; a coordinate with a leading zero byte is one in 256. */
static void short_coordinates_are_padded(void **state)
{
	struct key *k = NULL;
	struct key *again;
	struct buf x = { 0 };
	struct buf y = { 0 };
	struct err e;

	(void)state;
	do {
		key_free(k);
		buf_clear(&x);
		buf_clear(&y);
		k = key_new_p256(&e);
		assert_int_equal(key_jwk_members(k, &x, &y, &e), 0);
		assert_int_equal(x.len, 32);
		assert_int_equal(y.len, 32);
	} while (x.data[0] != 0);
	again = key_from_ec_point("P-256", bytes_of(x.data + 1, 31), buf_bytes(&y), &e);
	assert_non_null(again);
	assert_true(key_equal_public(k, again));
	key_free(again);
	key_free(k);
	buf_release(&x);
	buf_release(&y);
}

static void a_point_beside_the_curve_is_refused(void **state)
{
	struct buf x = { 0 };
	struct buf y = { 0 };
	uint8_t zero[33] = { 0 };
	uint8_t ones[32];
	struct err e;

	(void)state;
	memset(ones, 0xff, sizeof(ones));
	decoded(&x, es256_x);
	decoded(&y, es256_y);
	y.data[31] ^= 1;
	assert_null(key_from_ec_point("P-256", buf_bytes(&x), buf_bytes(&y), &e));
	assert_int_equal(e.kind, ERR_PEER);
	y.data[31] ^= 1;
	assert_null(key_from_ec_point("P-256", bytes_of(zero, 32), bytes_of(zero, 32), &e));
	assert_null(key_from_ec_point("P-256", bytes_of(zero, 33), buf_bytes(&y), &e));
	assert_null(key_from_ec_point("P-256", bytes_of(ones, 32), bytes_of(ones, 32), &e));
	assert_null(key_from_ec_point("P-256", bytes_of(NULL, 0), bytes_of(NULL, 0), &e));
	assert_null(key_from_ec_point("P-384", buf_bytes(&x), buf_bytes(&y), &e));
	assert_null(key_from_ec_point("secp256k1", buf_bytes(&x), buf_bytes(&y), &e));
	assert_null(key_from_ec_point("", buf_bytes(&x), buf_bytes(&y), &e));
	assert_null(key_from_ed25519(bytes_of(ones, 31), &e));
	buf_release(&x);
	buf_release(&y);
}

static void an_rsa_key_comes_from_its_numbers(void **state)
{
	struct err e;
	struct key *k = key_new_rsa(2048, &e);
	struct key *again;
	struct buf n = { 0 };
	struct buf exponent = { 0 };
	static const struct {
		const char *bytes;
		size_t len;
	} wrong[] = { { "\x01", 1 },
		      { "\x00", 1 },
		      { "", 0 },
		      { "\x02", 1 },
		      { "\x01\x00\x00", 3 },
		      { "\x04\x00\x00\x00\x01", 5 },
		      { "\x00\x00\x00\x00\x00\x00\x01\x00\x01", 9 } };

	(void)state;
	assert_int_equal(key_jwk_members(k, &n, &exponent, &e), 0);
	assert_string_equal(key_type(k), "RSA");
	assert_null(key_curve(k));
	assert_int_equal(n.len, 256);
	assert_bytes_equal(buf_bytes(&exponent), bytes_of("\x01\x00\x01", 3));
	again = key_from_rsa(buf_bytes(&n), buf_bytes(&exponent), &e);
	assert_non_null(again);
	assert_true(key_equal_public(k, again));
	key_free(again);
	again = key_from_rsa(buf_bytes(&n), bytes_of("\x03", 1), &e);
	assert_non_null(again);
	assert_false(key_equal_public(k, again)); /* the exponent counts */
	key_free(again);
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
		assert_null(key_from_rsa(buf_bytes(&n), bytes_of(wrong[i].bytes, wrong[i].len), &e));
	key_free(k);
	buf_release(&n);
	buf_release(&exponent);
}

static void an_rsa_key_too_small_or_too_large_is_refused(void **state)
{
	static uint8_t n[8192 / 8 + 16];
	const struct bytes exponent = bytes_of("\x01\x00\x01", 3);
	struct key *k;
	struct err e;

	(void)state;
	memset(n, 0xff, sizeof(n));
	k = key_from_rsa(bytes_of(n, 256), exponent, &e);
	assert_non_null(k);
	key_free(k);
	k = key_from_rsa(bytes_of(n, 1024), exponent, &e);
	assert_non_null(k);
	key_free(k);
	assert_null(key_from_rsa(bytes_of(n, 255), exponent, &e));
	assert_null(key_from_rsa(bytes_of(n, 1025), exponent, &e));
	assert_null(key_from_rsa(bytes_of(n, sizeof(n)), exponent, &e));
	assert_null(key_from_rsa(bytes_of(NULL, 0), exponent, &e));
	assert_null(key_new_rsa(1024, &e));
	assert_int_equal(e.kind, ERR_CONFIG);
	assert_null(key_new_rsa(16384, &e));
}

static void keys_of_other_kinds_are_refused(void **state)
{
	/* X25519; P-256 with explicit parameters is made by openssl ecparam -param_enc explicit */
	static const char x25519[] =
		"302a300506032b656e032100e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c";
	static const char explicit_p256[] =
		"3082014b3082010306072a8648ce3d02013081f7020101302c06072a8648ce3d0101022100ffffffff00000001000000000000"
		"000000000000ffffffffffffffffffffffff305b0420ffffffff00000001000000000000000000000000ffffffffffffffffff"
		"fffffc04205ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604b031500c49d360886e704936a6678"
		"e1139d26b7819f7e900441046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c2964fe342e2fe1a7f"
		"9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5022100ffffffff00000000ffffffffffffffffbce6faada7179e"
		"84f3b9cac2fc632551020101034200046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c2964fe342"
		"e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5";
	static const char *const wrong[] = { x25519, explicit_p256 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		struct buf der = { 0 };
		struct err e = { 0 };

		hex_to_buf(wrong[i], &der);
		assert_null(key_from_spki(buf_bytes(&der), &e));
		assert_int_equal(e.kind, ERR_PEER);
		assert_null(strstr(e.text, "read a public key"));
		buf_release(&der);
	}
}

static void a_token_is_made_and_verifies(void **state)
{
	struct err e;
	struct key *k = key_new_p256(&e);
	struct buf token = { 0 };

	(void)state;
	assert_int_equal(jwt_sign(bytes_str("{\"alg\":\"ES256\"}"), bytes_str("{}"), k, "ES256", &token, &e), 0);
	assert_ptr_equal(strstr(buf_str(&token), "eyJhbGciOiJFUzI1NiJ9.e30."), buf_str(&token));
	assert_int_equal(verify(k, "ES256", buf_str(&token), &e), 0);
	buf_clear(&token);
	assert_int_equal(jwt_sign(bytes_str("{}"), bytes_str("{}"), k, "RS256", &token, &e), -1);
	assert_int_equal(token.len, 0);
	key_free(k);
	buf_release(&token);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_scalar_gives_the_spki_of_the_vectors),
		cmocka_unit_test(a_scalar_out_of_range_is_refused),
		cmocka_unit_test(pkcs8_and_spki_come_back),
		cmocka_unit_test(two_keys_differ),
		cmocka_unit_test(the_published_signatures_verify),
		cmocka_unit_test(a_changed_signature_or_text_is_refused),
		cmocka_unit_test(every_algorithm_signs_and_verifies),
		cmocka_unit_test(an_algorithm_that_does_not_fit_is_refused),
		cmocka_unit_test(short_coordinates_are_padded),
		cmocka_unit_test(a_point_beside_the_curve_is_refused),
		cmocka_unit_test(an_rsa_key_comes_from_its_numbers),
		cmocka_unit_test(an_rsa_key_too_small_or_too_large_is_refused),
		cmocka_unit_test(keys_of_other_kinds_are_refused),
		cmocka_unit_test(a_token_is_made_and_verifies),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
