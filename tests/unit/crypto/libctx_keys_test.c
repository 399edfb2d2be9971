/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <pthread.h>
#include <string.h>

#include "base/clock.h"
#include "crypto/cert.h"
#include "crypto/key.h"
#include "crypto/libctx_internal.h"
#include "crypto/libctx_keys.h"

#define MORE_KEYS 9 /* one more than are kept */

static struct libctx *lib;

static int make_context(void **state)
{
	struct err e;

	(void)state;
	lib = libctx_new(&e);
	return lib == NULL ? -1 : 0;
}

static int free_context(void **state)
{
	(void)state;
	libctx_free(lib);
	return 0;
}

static void need_filter(void)
{
	if (!libctx_is_filtered(lib))
		skip();
}

struct signer {
	EVP_PKEY *pair;
	unsigned char spki[200];
	int len;
};

static void signer_make(struct signer *s, const char *curve)
{
	unsigned char *to = s->spki;

	s->pair = EVP_PKEY_Q_keygen(NULL, NULL, "EC", curve);
	assert_non_null(s->pair);
	s->len = i2d_PUBKEY(s->pair, NULL);
	assert_in_range(s->len, 1, sizeof(s->spki));
	i2d_PUBKEY(s->pair, &to);
}

static EVP_PKEY *decode(const struct libctx *l, const unsigned char *spki, int len)
{
	const unsigned char *at = spki;

	return d2i_PUBKEY_ex(NULL, &at, len, libctx_ossl(l), NULL);
}

static bool verifies(const struct libctx *l, EVP_PKEY *public, EVP_PKEY *pair)
{
	static const unsigned char text[] = "what was signed";
	unsigned char signature[200];
	size_t len = sizeof(signature);
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	bool ok;

	assert_int_equal(EVP_DigestSignInit_ex(ctx, NULL, "SHA256", NULL, NULL, pair, NULL), 1);
	assert_int_equal(EVP_DigestSign(ctx, signature, &len, text, sizeof(text)), 1);
	EVP_MD_CTX_reset(ctx);
	assert_int_equal(EVP_DigestVerifyInit_ex(ctx, NULL, "SHA256", libctx_ossl(l), NULL, public, NULL), 1);
	ok = EVP_DigestVerify(ctx, signature, len, text, sizeof(text)) == 1;
	EVP_MD_CTX_free(ctx);
	return ok;
}

static void the_second_time_a_key_is_not_decoded_again_and_verifies_the_same(void **state)
{
	static const char *const curves[] = { "P-256", "P-384", "P-521" };

	(void)state;
	need_filter();
	for (size_t i = 0; i < ARRAY_SIZE(curves); i++) {
		struct signer s;
		struct signer other;
		EVP_PKEY *first;
		EVP_PKEY *second;
		unsigned long spared;

		signer_make(&s, curves[i]);
		signer_make(&other, curves[i]);
		first = decode(lib, s.spki, s.len);
		assert_non_null(first);
		spared = libctx_keys_spared();
		second = decode(lib, s.spki, s.len);
		assert_non_null(second);
		assert_int_equal(libctx_keys_spared(), spared + 1);
		assert_true(verifies(lib, first, s.pair));
		EVP_PKEY_free(first);
		assert_true(verifies(lib, second, s.pair));
		assert_false(verifies(lib, second, other.pair));
		EVP_PKEY_free(second);
		EVP_PKEY_free(s.pair);
		EVP_PKEY_free(other.pair);
	}
}

static void a_key_that_differs_in_one_bit_is_another_key(void **state)
{
	struct signer s;
	EVP_PKEY *key;

	(void)state;
	need_filter();
	signer_make(&s, "P-256");
	key = decode(lib, s.spki, s.len);
	assert_non_null(key);
	EVP_PKEY_free(key);
	for (int bit = (s.len - 64) * 8; bit < s.len * 8; bit++) {
		unsigned long spared = libctx_keys_spared();

		s.spki[bit / 8] ^= (unsigned char)(1 << bit % 8);
		key = decode(lib, s.spki, s.len);
		assert_int_equal(libctx_keys_spared(), spared);
		/* A changed x is on the curve in half of the cases, a changed y in none. */
		if (key != NULL)
			assert_false(verifies(lib, key, s.pair));
		EVP_PKEY_free(key);
		s.spki[bit / 8] ^= (unsigned char)(1 << bit % 8);
	}
	EVP_PKEY_free(s.pair);
}

static void what_cannot_be_decoded_is_not_kept(void **state)
{
	struct signer s;
	unsigned long spared;

	(void)state;
	need_filter();
	signer_make(&s, "P-256");
	s.spki[s.len - 1] ^= 1; /* y of no point with this x */
	spared = libctx_keys_spared();
	assert_null(decode(lib, s.spki, s.len));
	assert_null(decode(lib, s.spki, s.len));
	assert_null(decode(lib, s.spki, s.len - 1));
	assert_null(decode(lib, s.spki, s.len - 1));
	assert_int_equal(libctx_keys_spared(), spared);
	EVP_PKEY_free(s.pair);
}

static void of_many_keys_the_last_ones_are_kept(void **state)
{
	struct signer s[MORE_KEYS];
	unsigned long spared;

	(void)state;
	need_filter();
	for (size_t i = 0; i < MORE_KEYS; i++) {
		signer_make(&s[i], "P-256");
		EVP_PKEY_free(decode(lib, s[i].spki, s[i].len));
	}
	spared = libctx_keys_spared();
	for (size_t i = MORE_KEYS; i-- > 1;)
		EVP_PKEY_free(decode(lib, s[i].spki, s[i].len));
	assert_int_equal(libctx_keys_spared(), spared + MORE_KEYS - 1);
	EVP_PKEY_free(decode(lib, s[0].spki, s[0].len));
	assert_int_equal(libctx_keys_spared(), spared + MORE_KEYS - 1);
	for (size_t i = 0; i < MORE_KEYS; i++)
		EVP_PKEY_free(s[i].pair);
}

static void a_key_of_one_context_is_not_given_to_another(void **state)
{
	struct libctx *second;
	struct signer s;
	struct err e;
	unsigned long spared;
	EVP_PKEY *key;

	(void)state;
	need_filter();
	second = libctx_new(&e);
	signer_make(&s, "P-256");
	EVP_PKEY_free(decode(lib, s.spki, s.len));
	spared = libctx_keys_spared();
	key = decode(second, s.spki, s.len);
	assert_non_null(key);
	assert_int_equal(libctx_keys_spared(), spared);
	assert_true(verifies(second, key, s.pair));
	EVP_PKEY_free(key);
	libctx_free(second);
	/* What was kept of the one that has gone has gone too. */
	key = decode(lib, s.spki, s.len);
	assert_int_equal(libctx_keys_spared(), spared);
	assert_true(verifies(lib, key, s.pair));
	EVP_PKEY_free(key);
	EVP_PKEY_free(s.pair);
}

static void *decode_twice(void *arg)
{
	const struct signer *s = arg;
	struct err e;
	struct libctx *own = libctx_new(&e);
	bool ok = true;

	for (int i = 0; i < 2; i++) {
		EVP_PKEY *key = decode(own, s->spki, s->len);

		ok = ok && key != NULL && libctx_keys_spared() == (unsigned long)i;
		EVP_PKEY_free(key);
	}
	return ok ? own : (libctx_free(own), NULL);
}

static void a_thread_leaves_nothing_behind(void **state)
{
	struct signer s;
	pthread_t thread;
	void *own;

	(void)state;
	need_filter();
	signer_make(&s, "P-256");
	assert_int_equal(pthread_create(&thread, NULL, decode_twice, &s), 0);
	assert_int_equal(pthread_join(thread, &own), 0);
	assert_non_null(own);
	libctx_free(own); /* after the thread's end, as a worker's */
	EVP_PKEY_free(s.pair);
}

static void keys_of_other_types_pass_as_ever(void **state)
{
	EVP_PKEY *rsa = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)2048);
	unsigned char *spki = NULL;
	int len = i2d_PUBKEY(rsa, &spki);
	unsigned long spared = libctx_keys_spared();

	(void)state;
	for (int i = 0; i < 2; i++) {
		EVP_PKEY *key = decode(lib, spki, len);

		assert_non_null(key);
		assert_int_equal(EVP_PKEY_eq(key, rsa), 1);
		EVP_PKEY_free(key);
	}
	assert_int_equal(libctx_keys_spared(), spared);
	OPENSSL_free(spki);
	EVP_PKEY_free(rsa);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_second_time_a_key_is_not_decoded_again_and_verifies_the_same),
		cmocka_unit_test(a_key_that_differs_in_one_bit_is_another_key),
		cmocka_unit_test(what_cannot_be_decoded_is_not_kept),
		cmocka_unit_test(of_many_keys_the_last_ones_are_kept),
		cmocka_unit_test(a_key_of_one_context_is_not_given_to_another),
		cmocka_unit_test(a_thread_leaves_nothing_behind),
		cmocka_unit_test(keys_of_other_types_pass_as_ever),
	};

	return cmocka_run_group_tests(tests, make_context, free_context);
}
