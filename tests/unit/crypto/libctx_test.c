/* SPDX-License-Identifier: Apache-2.0 */
/* libctx_test - a filtered context does what we need, lacks the rest, and gives the secrets away.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include <pthread.h>
#include <string.h>

#include "base/mem.h"
#include "crypto/libctx_internal.h"

#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

/* By version, not by outcome: where a filtered context works today, one that stops working must not become a skip. */
static void skip_where_libcrypto_refuses_a_filtered_context(void)
{
	if (OpenSSL_version_num() < 0x30500000L)
		return;
	print_message("skipped: %s instantiates no random generator of a filtered context; tng uses a plain one\n",
		      OpenSSL_version(OPENSSL_VERSION));
	skip();
}

static void handshakes_of_a_filtered_context_pass(void **state)
{
	struct err e;
	struct libctx *l;

	(void)state;
	skip_where_libcrypto_refuses_a_filtered_context();
	l = libctx_new_filtered(&e);
	assert_non_null(l);
	if (libctx_self_test(l, &e) < 0)
		fail_msg("%s", e.text);
	libctx_free(l);
}

static void a_plain_context_gives_no_secrets(void **state)
{
	struct err e;
	struct libctx *l = libctx_new_plain(&e);

	(void)state;
	assert_non_null(l);
	assert_false(libctx_is_filtered(l));
	assert_int_equal(libctx_self_test(l, &e), -1);
	assert_non_null(strstr(e.text, "key log"));
	libctx_free(l);
}

static void what_libcrypto_has_here_is_filtered(void **state)
{
	struct err e;
	struct libctx *l;

	(void)state;
	skip_where_libcrypto_refuses_a_filtered_context();
	l = libctx_new(&e);
	assert_non_null(l);
	assert_true(libctx_is_filtered(l));
	libctx_free(l);
	libctx_free(NULL);
	assert_null(libctx_ossl(NULL));
}

static bool has_digest(struct libctx *l, const char *name)
{
	EVP_MD *md = EVP_MD_fetch(libctx_ossl(l), name, NULL);

	EVP_MD_free(md);
	return md != NULL;
}

static bool has_key_type(struct libctx *l, const char *name)
{
	EVP_KEYMGMT *k = EVP_KEYMGMT_fetch(libctx_ossl(l), name, NULL);

	EVP_KEYMGMT_free(k);
	return k != NULL;
}

static void only_what_is_needed_can_be_fetched(void **state)
{
	struct err e;
	struct libctx *filtered = libctx_new_filtered(&e), *plain = libctx_new_plain(&e);

	(void)state;
	assert_true(has_digest(filtered, "SHA256") && has_key_type(filtered, "EC"));
	assert_true(has_digest(plain, "MD5") && has_key_type(plain, "DH"));
	assert_false(has_digest(filtered, "MD5"));
	assert_false(has_key_type(filtered, "DH"));
	assert_false(has_key_type(filtered, "SM2"));
	libctx_free(filtered);
	libctx_free(plain);
}

static void random_bytes_come_and_differ(void **state)
{
	struct err e;
	struct libctx *a, *b;
	uint8_t x[3][32];

	(void)state;
	skip_where_libcrypto_refuses_a_filtered_context();
	a = libctx_new_filtered(&e);
	b = libctx_new_filtered(&e);
	assert_int_equal(RAND_bytes_ex(libctx_ossl(a), x[0], 32, 0), 1);
	assert_int_equal(RAND_bytes_ex(libctx_ossl(a), x[1], 32, 0), 1);
	assert_int_equal(RAND_bytes_ex(libctx_ossl(b), x[2], 32, 0), 1);
	assert_memory_not_equal(x[0], x[1], 32);
	assert_memory_not_equal(x[0], x[2], 32);
	libctx_free(a);
	libctx_free(b);
}

static EVP_PKEY *new_key(const char *type)
{
	if (strcmp(type, "EC") == 0)
		return EVP_EC_gen("P-256");
	if (strcmp(type, "RSA") == 0)
		return EVP_RSA_gen(2048);
	return EVP_PKEY_Q_keygen(NULL, NULL, type);
}

static void keys_of_each_type_of_certificate_are_read(void **state)
{
	static const char *const types[] = { "EC", "RSA", "ED25519" };
	struct err e;
	struct libctx *l = libctx_new_filtered(&e);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		EVP_PKEY *made = new_key(types[i]);
		unsigned char *der = NULL;
		int len = i2d_PUBKEY(made, &der);
		const unsigned char *at = der;
		EVP_PKEY *read = d2i_PUBKEY_ex(NULL, &at, len, libctx_ossl(l), NULL);

		assert_non_null(read);
		assert_true(EVP_PKEY_is_a(read, types[i]));
		EVP_PKEY_free(read);
		OPENSSL_free(der);

		EVP_PKEY_free(made);
	}
	libctx_free(l);
}

static void *use_one(void *arg)
{
	struct err e;
	struct libctx *l = libctx_new(&e);
	bool *ok = arg;

	*ok = l != NULL && libctx_is_filtered(l) && libctx_self_test(l, &e) == 0;
	libctx_free(l);
	return NULL;
}

static void threads_have_contexts_of_their_own(void **state)
{
	pthread_t threads[4];
	bool ok[4];

	(void)state;
	skip_where_libcrypto_refuses_a_filtered_context();
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, use_one, &ok[i]), 0);
	for (int i = 0; i < 4; i++) {
		pthread_join(threads[i], NULL);
		assert_true(ok[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(threads_have_contexts_of_their_own),
		cmocka_unit_test(handshakes_of_a_filtered_context_pass),
		cmocka_unit_test(a_plain_context_gives_no_secrets),
		cmocka_unit_test(what_libcrypto_has_here_is_filtered),
		cmocka_unit_test(only_what_is_needed_can_be_fetched),
		cmocka_unit_test(random_bytes_come_and_differ),
		cmocka_unit_test(keys_of_each_type_of_certificate_are_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
