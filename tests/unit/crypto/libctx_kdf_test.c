/* SPDX-License-Identifier: Apache-2.0 */
/* libctx_kdf_test - our TLS13-KDF gives what RFC 8448 and libcrypto's give, and refuses what that
 * refuses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/kdf.h>
#include <openssl/params.h>

#include "base/bytes.h"
#include "base/mem.h"
#include "crypto/libctx_internal.h"
#include "crypto/libctx_kdf.h"

#define EXTRACT EVP_KDF_HKDF_MODE_EXTRACT_ONLY
#define EXPAND EVP_KDF_HKDF_MODE_EXPAND_ONLY
#define MAX_OUT 300

static struct libctx *filtered;
static struct libctx *plain;

/* What is NULL or 0 is not given. */
struct question {
	int mode;
	const char *hash;
	const void *key;
	size_t key_len;
	const void *salt;
	size_t salt_len;
	const char *prefix;
	const char *label;
	const void *data;
	size_t data_len;
	size_t len;
};

struct answer {
	int rc;
	uint8_t out[MAX_OUT];
};

static EVP_KDF_CTX *new_kdf(struct libctx *l)
{
	EVP_KDF *kdf = EVP_KDF_fetch(libctx_ossl(l), "TLS13-KDF", NULL);
	EVP_KDF_CTX *c = EVP_KDF_CTX_new(kdf);

	assert_non_null(c);
	EVP_KDF_free(kdf);
	return c;
}

static OSSL_PARAM octets(const char *name, const void *data, size_t len)
{
	return OSSL_PARAM_construct_octet_string(name, (void *)(uintptr_t)data, len);
}

static void write_params(const struct question *q, int *mode, OSSL_PARAM *p)
{
	*mode = q->mode;
	*p++ = OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, mode);
	if (q->hash != NULL)
		*p++ = OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, (char *)(uintptr_t)q->hash, 0);
	if (q->key != NULL)
		*p++ = octets(OSSL_KDF_PARAM_KEY, q->key, q->key_len);
	if (q->salt != NULL)
		*p++ = octets(OSSL_KDF_PARAM_SALT, q->salt, q->salt_len);
	if (q->prefix != NULL)
		*p++ = octets(OSSL_KDF_PARAM_PREFIX, q->prefix, strlen(q->prefix));
	if (q->label != NULL)
		*p++ = octets(OSSL_KDF_PARAM_LABEL, q->label, strlen(q->label));
	if (q->data != NULL)
		*p++ = octets(OSSL_KDF_PARAM_DATA, q->data, q->data_len);
	*p = OSSL_PARAM_construct_end();
}

static struct answer ask(struct libctx *l, const struct question *q)
{
	struct answer a = { 0 };
	EVP_KDF_CTX *kdf = new_kdf(l);
	OSSL_PARAM params[8];
	int mode;

	write_params(q, &mode, params);
	a.rc = EVP_KDF_derive(kdf, a.out, q->len, params);
	if (a.rc != 1)
		memset(a.out, 0, sizeof(a.out));
	EVP_KDF_CTX_free(kdf);
	ERR_clear_error();
	return a;
}

static size_t parse_hex(const char *hex, uint8_t *out)
{
	size_t len = 0;
	unsigned byte;

	while (sscanf(hex + 2 * len, "%2x", &byte) == 1)
		out[len++] = (uint8_t)byte;
	return len;
}

static void assert_answer(const struct question *q, const char *hex)
{
	uint8_t expected[MAX_OUT];
	struct answer a = ask(filtered, q);

	assert_int_equal(a.rc, 1);
	assert_int_equal(parse_hex(hex, expected), q->len);
	assert_memory_equal(a.out, expected, q->len);
}

static void what_is_calculated_here_is_as_libcrypto_has_it(void **state)
{
	(void)state;
	assert_true(libctx_kdf_is_ours());
}

/* RFC 8448 section 3 */
static void the_published_handshake_has_these_secrets(void **state)
{
	uint8_t early[32], shared[32], secret[32], transcript[32];
	struct question q = { .mode = EXTRACT, .hash = "SHA256", .prefix = "tls13 ", .label = "derived", .len = 32 };

	(void)state;
	assert_answer(&q, "33ad0a1c607ec03b09e6cd9893680ce210adf300aa1f2660e1b22e10f170f92a");
	parse_hex("33ad0a1c607ec03b09e6cd9893680ce210adf300aa1f2660e1b22e10f170f92a", early);
	parse_hex("8bd4054fb55b9d63fdfbacf9f04b9f0d35e6d63f537563efd46272900f89492d", shared);
	q.salt = early;
	q.salt_len = 32;
	q.key = shared;
	q.key_len = 32;
	assert_answer(&q, "1dc826e93606aa6fdc0aadc12f741b01046aa6b99f691ed221a9f0ca043fbeac");
	parse_hex("1dc826e93606aa6fdc0aadc12f741b01046aa6b99f691ed221a9f0ca043fbeac", secret);
	parse_hex("860c06edc07858ee8e78f0e7428c58edd6b43f2ca3e6e95f02ed063cf0e1cad8", transcript);
	q = (struct question){ .mode = EXPAND,
			       .hash = "SHA256",
			       .key = secret,
			       .key_len = 32,
			       .prefix = "tls13 ",
			       .label = "c hs traffic",
			       .data = transcript,
			       .data_len = 32,
			       .len = 32 };
	assert_answer(&q, "b3eddb126e067f35a780b3abf45e2d8f3b1a950738f52e9600746a0e27a55a21");
}

static const char some[300] = "bytes that are a key, a salt or a hash, as the case may be, and go on for some time, "
			      "so that they also are longer than one block of either of the two hashes is";

#define P .prefix = "tls13 ", .label = "derived"

static const struct question questions[] = {
	/* as libssl asks */
	{ .mode = EXTRACT, .hash = "SHA2-256", P, .len = 32 },
	{ .mode = EXTRACT, .hash = "SHA2-384", P, .len = 48 },
	{ .mode = EXTRACT, .hash = "SHA2-384", .key = some, .key_len = 48, P, .len = 48 },
	{ .mode = EXTRACT, .hash = "SHA2-256", .key = some, .key_len = 66, .salt = some, .salt_len = 32, P, .len = 32 },
	{ .mode = EXTRACT, .hash = "SHA2-384", .salt = some, .salt_len = 48, P, .len = 48 },
	{ .mode = EXPAND, .hash = "SHA2-256", .key = some, .key_len = 32, P, .data = some, .data_len = 32, .len = 32 },
	{ .mode = EXPAND, .hash = "SHA2-384", .key = some, .key_len = 48, P, .data = some, .data_len = 48, .len = 48 },
	{ .mode = EXPAND, .hash = "SHA2-384", .key = some, .key_len = 48, P, .len = 12 },
	{ .mode = EXPAND, .hash = "SHA384", .key = some, .key_len = 48, P, .len = 1 },
	/* at the border of what is calculated here, and beyond */
	{ .mode = EXPAND, .hash = "SHA256", .key = some, .key_len = 64, P, .len = 32 },
	{ .mode = EXPAND, .hash = "SHA256", .key = some, .key_len = 65, P, .len = 32 },
	{ .mode = EXPAND, .hash = "SHA384", .key = some, .key_len = 128, P, .len = 48 },
	{ .mode = EXPAND, .hash = "SHA384", .key = some, .key_len = 129, P, .len = 48 },
	{ .mode = EXTRACT, .hash = "SHA256", .salt = some, .salt_len = 64, P, .len = 32 },
	{ .mode = EXTRACT, .hash = "SHA256", .salt = some, .salt_len = 65, P, .len = 32 },
	{ .mode = EXPAND, .hash = "SHA256", .key = some, .key_len = 32, P, .len = 33 },
	{ .mode = EXPAND, .hash = "SHA256", .key = some, .key_len = 32, P, .len = MAX_OUT },
	{ .mode = EXPAND, .hash = "SHA256", .key = some, .key_len = 32, P, .data = some, .data_len = 110, .len = 32 },
	{ .mode = EXPAND, .hash = "SHA256", .key = some, .key_len = 32, P, .data = some, .data_len = 111, .len = 32 },
	{ .mode = EXPAND, .hash = "SHA256", .key = some, .key_len = 32, P, .data = some, .data_len = 256, .len = 32 },
	{ .mode = EXPAND, .hash = "SHA256", .key = some, .key_len = 32, P, .data = some, .data_len = 0, .len = 32 },
	{ .mode = EXPAND, .hash = "SHA256", .key = some, .key_len = 32, P, .salt = some, .salt_len = 32, .len = 32 },
	{ .mode = EXTRACT, .hash = "SHA256", .key = some, .key_len = 0, P, .len = 32 },
	{ .mode = EXTRACT, .hash = "SHA256", P, .data = some, .data_len = 32, .len = 32 },
	{ .mode = EXPAND, .hash = "SHA512", .key = some, .key_len = 64, P, .len = 64 },
	{ .mode = EXPAND, .hash = "sha256", .key = some, .key_len = 32, P, .len = 32 },
	{ .mode = EXPAND, .hash = "SHA1", .key = some, .key_len = 20, P, .len = 20 },
	/* refused */
	{ .mode = EXTRACT, .hash = "SHA256", P, .len = 31 },
	{ .mode = EXTRACT, .hash = "SHA256", P, .len = 48 },
	{ .mode = EXPAND, .hash = "SHA256", P, .len = 32 },
	{ .mode = EXPAND, .key = some, .key_len = 32, P, .len = 32 },
	{ .mode = EXPAND, .hash = "nothing", .key = some, .key_len = 32, P, .len = 32 },
	{ .mode = EVP_KDF_HKDF_MODE_EXTRACT_AND_EXPAND, .hash = "SHA256", .key = some, .key_len = 32, P, .len = 32 },
	{ .mode = 7, .hash = "SHA256", .key = some, .key_len = 32, P, .len = 32 },
};

static void every_question_is_answered_as_libcrypto_does(void **state)
{
	size_t refused = 0;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(questions); i++) {
		struct answer ours = ask(filtered, &questions[i]), theirs = ask(plain, &questions[i]);

		if (ours.rc != theirs.rc || memcmp(ours.out, theirs.out, MAX_OUT) != 0)
			fail_msg("question %zu: %d and %d", i, ours.rc, theirs.rc);
		refused += ours.rc != 1;
	}
	assert_in_range(refused, 5, 10);
}

static void parameters_may_be_set_ahead(void **state)
{
	const struct question q = { .mode = EXPAND, .hash = "SHA256", .key = some, .key_len = 32, P, .len = 32 };
	struct answer at_once = ask(filtered, &q);
	uint8_t out[32];
	EVP_KDF_CTX *kdf = new_kdf(filtered), *copy;
	OSSL_PARAM params[8];
	int mode;

	(void)state;
	write_params(&q, &mode, params);
	assert_int_equal(EVP_KDF_CTX_set_params(kdf, params), 1);
	assert_int_equal(EVP_KDF_CTX_get_kdf_size(kdf), SIZE_MAX);
	assert_int_equal(EVP_KDF_derive(kdf, out, 32, NULL), 1);
	assert_memory_equal(out, at_once.out, 32);
	copy = EVP_KDF_CTX_dup(kdf);
	if (copy != NULL) {
		assert_int_equal(EVP_KDF_derive(copy, out, 32, NULL), 1);
		assert_memory_equal(out, at_once.out, 32);
	}
	EVP_KDF_CTX_free(copy);
	EVP_KDF_CTX_reset(kdf);
	assert_int_not_equal(EVP_KDF_derive(kdf, out, 32, NULL), 1);
	EVP_KDF_CTX_free(kdf);
	ERR_clear_error();
}

static void what_was_given_for_one_derivation_is_no_part_of_the_next(void **state)
{
	const struct question q = { .mode = EXPAND, .hash = "SHA256", .key = some, .key_len = 32, P, .len = 32 };
	EVP_KDF_CTX *kdf = new_kdf(filtered);
	OSSL_PARAM params[8];
	uint8_t out[32];
	int mode;

	(void)state;
	write_params(&q, &mode, params);
	assert_int_equal(EVP_KDF_derive(kdf, out, 32, params), 1);
	assert_int_not_equal(EVP_KDF_derive(kdf, out, 32, NULL), 1);
	EVP_KDF_CTX_free(kdf);
	ERR_clear_error();
}

static void the_parameters_that_can_be_set_are_told(void **state)
{
	EVP_KDF_CTX *kdf = new_kdf(filtered);

	(void)state;
	assert_non_null(OSSL_PARAM_locate_const(EVP_KDF_CTX_settable_params(kdf), OSSL_KDF_PARAM_LABEL));
	assert_non_null(OSSL_PARAM_locate_const(EVP_KDF_CTX_gettable_params(kdf), OSSL_KDF_PARAM_SIZE));
	assert_non_null(EVP_KDF_settable_ctx_params(EVP_KDF_CTX_kdf(kdf)));
	EVP_KDF_CTX_free(kdf);
}

static void only_application_secrets_are_caught(void **state)
{
	struct question q = { .mode = EXPAND,
			      .hash = "SHA256",
			      .key = some,
			      .key_len = 32,
			      .prefix = "tls13 ",
			      .label = "c hs traffic",
			      .len = 32 };
	struct libctx_secrets caught = { 0 };
	struct answer client;

	(void)state;
	libctx_catch_secrets(&caught);
	ask(filtered, &q);
	assert_int_equal(caught.client_len + caught.server_len, 0);
	q.label = "c ap traffic";
	client = ask(filtered, &q);
	libctx_catch_secrets(NULL);
	q.label = "s ap traffic";
	ask(filtered, &q);
	assert_int_equal(caught.client_len, 32);
	assert_memory_equal(caught.client, client.out, 32);
	assert_int_equal(caught.server_len, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_calculated_here_is_as_libcrypto_has_it),
		cmocka_unit_test(the_published_handshake_has_these_secrets),
		cmocka_unit_test(every_question_is_answered_as_libcrypto_does),
		cmocka_unit_test(parameters_may_be_set_ahead),
		cmocka_unit_test(what_was_given_for_one_derivation_is_no_part_of_the_next),
		cmocka_unit_test(the_parameters_that_can_be_set_are_told),
		cmocka_unit_test(only_application_secrets_are_caught),
	};
	struct err e;
	int failed;

	filtered = libctx_new_filtered(&e);
	plain = libctx_new_plain(&e);
	if (filtered == NULL || plain == NULL)
		return 1;
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	libctx_free(filtered);
	libctx_free(plain);
	return failed;
}
