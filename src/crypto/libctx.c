/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libctx - the provider that leaves algorithms out.
 *
 * Two libcrypto contexts make one of ours. In the hidden one libcrypto's default provider is
 * loaded. In the visible one there is only a provider of ours; its functions are those of the
 * default provider, given the default provider's own object, except that the answer to "what have
 * you got?" is shorter. What an algorithm needs inside, such as the digest of a signature or random
 * numbers for a key, it takes from the hidden context, where nothing is missing.
 *
 * libcrypto asks the question often, and says nothing by which to know our context. The answers are
 * therefore the same for all of them, made by the first one and constant from then on; that the
 * default provider of a later context has the same algorithms at the same addresses is checked, not
 * believed.
 */
#include "crypto/libctx.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/core_dispatch.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/provider.h>

#include "base/log.h"
#include "base/mem.h"
#include "crypto/libctx_internal.h"
#include "crypto/libctx_kdf.h"
#include "crypto/libctx_keys.h"
#include "crypto/ossl.h"

#define PROVIDER_NAME "tng"
#define MAX_ALGORITHMS 64 /* of one operation */
#define MAX_FUNCTIONS 32
#define MAX_OPERATION 32

struct libctx {
	OSSL_LIB_CTX *hidden;
	OSSL_LIB_CTX *visible; /* a plain context has only this one */
	OSSL_PROVIDER *whole;  /* the default provider, in hidden */
	OSSL_PROVIDER *part;   /* ours, in visible */
};

/* Names as the default provider has them: the first of those that an algorithm goes by. */
static const char *const digests[] = { "SHA1", "SHA2-256", "SHA2-384", "SHA2-512", NULL };
static const char *const ciphers[] = { "AES-128-GCM", "AES-256-GCM", "ChaCha20-Poly1305", "AES-256-CTR", "AES-256-ECB",
				       "AES-256-CBC", NULL };
static const char *const macs[] = { "HMAC", NULL };
static const char *const kdfs[] = { "HKDF", "TLS13-KDF", NULL };
static const char *const rands[] = { "CTR-DRBG", "HASH-DRBG", "HMAC-DRBG", "SEED-SRC", NULL };
static const char *const key_types[] = { "EC", "RSA", "ED25519", "X25519", "HKDF", "HMAC", NULL };
static const char *const exchanges[] = { "ECDH", "X25519", "HKDF", NULL };
static const char *const signatures[] = { "ECDSA", "RSA", "ED25519", "HMAC", NULL };
static const char *const public_keys[] = { "EC", "RSA", "ED25519", NULL }; /* in certificates */
static const char *const private_keys[] = { "EC", NULL };		   /* our own, in PKCS#8 */

/* properties: what must stand among those of the algorithm; NULL: anything. */
struct wanted {
	int operation;
	const char *const *names;
	const char *properties;
};

static const struct wanted wanted[] = {
	{ OSSL_OP_DIGEST, digests, NULL },
	{ OSSL_OP_CIPHER, ciphers, NULL },
	{ OSSL_OP_MAC, macs, NULL },
	{ OSSL_OP_KDF, kdfs, NULL },
	{ OSSL_OP_RAND, rands, NULL },
	{ OSSL_OP_KEYMGMT, key_types, NULL },
	{ OSSL_OP_KEYEXCH, exchanges, NULL },
	{ OSSL_OP_SIGNATURE, signatures, NULL },
	{ OSSL_OP_DECODER, public_keys, "structure=SubjectPublicKeyInfo" },
	{ OSSL_OP_DECODER, private_keys, "structure=PrivateKeyInfo" },
};

/* What all contexts answer with; constant once ready. */
static struct {
	pthread_mutex_t lock; /* guards ready, and the rest while it is false */
	bool ready;
	OSSL_ALGORITHM algorithms[MAX_OPERATION][MAX_ALGORITHMS + 1];
	OSSL_DISPATCH provider[MAX_FUNCTIONS + 1];
	OSSL_DISPATCH kdf[LIBCTX_KDF_FUNCTIONS];   /* our TLS13-KDF */
	OSSL_DISPATCH keys[LIBCTX_KEYS_FUNCTIONS]; /* our decoder of EC keys in certificates */
} shared = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* Set while the provider of this thread's new context starts. */
static _Thread_local OSSL_PROVIDER *starting;

/* ---- the answers ---- */

static bool is_one_of(const char *const *names, const char *text, size_t len)
{
	for (; *names != NULL; names++) {
		if (strlen(*names) == len && memcmp(*names, text, len) == 0)
			return true;
	}
	return false;
}

/* Signatures of newer versions have also names with a hash, such as ECDSA-SHA2-256. */
static size_t first_name_len(int operation, const char *names)
{
	return strcspn(names, operation == OSSL_OP_SIGNATURE ? ":-" : ":");
}

static bool is_wanted(int operation, const OSSL_ALGORITHM *a)
{
	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++) {
		const struct wanted *w = &wanted[i];

		if (w->operation != operation)
			continue;
		if (!is_one_of(w->names, a->algorithm_names, first_name_len(operation, a->algorithm_names)))
			continue;
		if (w->properties == NULL || strstr(a->property_definition, w->properties) != NULL)
			return true;
	}
	return false;
}

/* Everything that we want of one operation; out has room for MAX_ALGORITHMS and an end. */
static bool filter(OSSL_PROVIDER *whole, int operation, OSSL_ALGORITHM *out)
{
	int no_cache = 0;
	size_t count = 0;
	const OSSL_ALGORITHM *a = OSSL_PROVIDER_query_operation(whole, operation, &no_cache);

	if (a == NULL || no_cache)
		return false;
	for (; a->algorithm_names != NULL; a++) {
		if (!is_wanted(operation, a))
			continue;
		if (count == MAX_ALGORITHMS)
			return false;
		out[count++] = *a;
	}
	memset(&out[count], 0, sizeof(out[count]));
	return count > 0;
}

static bool copy_functions(const OSSL_DISPATCH *from, OSSL_DISPATCH *to)
{
	size_t count = 0;

	for (; from->function_id != 0; from++) {
		if (count == MAX_FUNCTIONS)
			return false;
		to[count++] = *from;
	}
	memset(&to[count], 0, sizeof(to[count]));
	return true;
}

static OSSL_DISPATCH *find_function(OSSL_DISPATCH *functions, int id)
{
	for (; functions->function_id != 0; functions++) {
		if (functions->function_id == id)
			return functions;
	}
	return NULL;
}

static bool wrap_kdf(OSSL_ALGORITHM *kdf, void *provider)
{
	for (; kdf->algorithm_names != NULL; kdf++) {
		if (strcmp(kdf->algorithm_names, "TLS13-KDF") == 0)
			break;
	}
	if (kdf->algorithm_names == NULL || !libctx_kdf_wrap(kdf->implementation, provider, shared.kdf))
		return false;
	kdf->implementation = shared.kdf;
	return true;
}

/* Without it all is as it was, but for the time it takes. */
static void wrap_keys(OSSL_ALGORITHM *decoder)
{
	static const char *const names[] = { "EC", NULL };

	for (; decoder->algorithm_names != NULL; decoder++) {
		const char *all = decoder->algorithm_names;

		if (is_one_of(names, all, first_name_len(OSSL_OP_DECODER, all)) &&
		    strstr(decoder->property_definition, "structure=SubjectPublicKeyInfo") != NULL &&
		    libctx_keys_wrap(decoder->implementation, shared.keys))
			decoder->implementation = shared.keys;
	}
}

static const OSSL_ALGORITHM *query(void *provider, int operation, int *no_cache)
{
	(void)provider;
	*no_cache = 0;
	if (operation < 0 || operation >= MAX_OPERATION)
		return NULL;
	return shared.algorithms[operation];
}

/* The default provider is taken down by the hidden context. */
static void teardown(void *provider)
{
	(void)provider;
}

static void unquery(void *provider, int operation, const OSSL_ALGORITHM *a)
{
	(void)provider;
	(void)operation;
	(void)a;
}

static bool make_dispatch(const OSSL_DISPATCH *of_default)
{
	OSSL_DISPATCH *f;
	const struct {
		int id;
		void (*function)(void);
		bool must_be;
	} ours[] = {
		{ OSSL_FUNC_PROVIDER_QUERY_OPERATION, (void (*)(void))query, true },
		{ OSSL_FUNC_PROVIDER_TEARDOWN, (void (*)(void))teardown, true },
		{ OSSL_FUNC_PROVIDER_UNQUERY_OPERATION, (void (*)(void))unquery, false },
	};

	if (of_default == NULL || !copy_functions(of_default, shared.provider))
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(ours); i++) {
		f = find_function(shared.provider, ours[i].id);
		if (f == NULL && ours[i].must_be)
			return false;
		if (f != NULL)
			f->function = ours[i].function;
	}
	return true;
}

static bool make_answers(OSSL_PROVIDER *whole)
{
	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++) {
		if (!filter(whole, wanted[i].operation, shared.algorithms[wanted[i].operation]))
			return false;
	}
	wrap_keys(shared.algorithms[OSSL_OP_DECODER]);
	return wrap_kdf(shared.algorithms[OSSL_OP_KDF], OSSL_PROVIDER_get0_provider_ctx(whole)) &&
	       make_dispatch(OSSL_PROVIDER_get0_dispatch(whole));
}

static bool are_same(const OSSL_ALGORITHM *found, const OSSL_ALGORITHM *known)
{
	for (; found->algorithm_names != NULL; found++, known++) {
		if (known->algorithm_names == NULL || strcmp(found->algorithm_names, known->algorithm_names) != 0)
			return false;
		if (found->implementation != known->implementation && known->implementation != shared.kdf &&
		    known->implementation != shared.keys)
			return false;
	}
	return known->algorithm_names == NULL;
}

/* Whether the answers, made from another instance of the default provider, hold for this one too.
 */
static bool answers_fit(OSSL_PROVIDER *whole)
{
	OSSL_ALGORITHM found[MAX_ALGORITHMS + 1];

	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++) {
		const OSSL_ALGORITHM *known = shared.algorithms[wanted[i].operation];

		if (!filter(whole, wanted[i].operation, found) || !are_same(found, known))
			return false;
	}
	return true;
}

static bool have_answers(OSSL_PROVIDER *whole)
{
	bool ok;

	pthread_mutex_lock(&shared.lock);
	if (shared.ready)
		ok = answers_fit(whole);
	else
		ok = shared.ready = make_answers(whole);
	pthread_mutex_unlock(&shared.lock);
	return ok;
}

/* ---- contexts ---- */

/* OSSL_provider_init_fn: our provider's object is the default provider's. */
static int start_provider(const OSSL_CORE_HANDLE *core, const OSSL_DISPATCH *in, const OSSL_DISPATCH **out,
			  void **object)
{
	(void)core;
	if (starting == NULL)
		return 0;
	pthread_mutex_lock(&shared.lock);
	libctx_keys_use_core(in);
	pthread_mutex_unlock(&shared.lock);
	*out = shared.provider;
	*object = OSSL_PROVIDER_get0_provider_ctx(starting);
	return 1;
}

struct libctx *libctx_new_filtered(struct err *e)
{
	struct libctx *l = mem_new_of(struct libctx);

	l->hidden = OSSL_LIB_CTX_new();
	l->visible = OSSL_LIB_CTX_new();
	if (l->hidden == NULL || l->visible == NULL) {
		err_openssl(e, ERR_SYSTEM, "libcrypto: new context");
		goto fail;
	}
	l->whole = OSSL_PROVIDER_load(l->hidden, "default");
	if (l->whole == NULL) {
		err_openssl(e, ERR_SYSTEM, "libcrypto: default provider");
		goto fail;
	}
	if (!have_answers(l->whole)) {
		err_set(e, ERR_SYSTEM, "libcrypto: its default provider is not as expected");
		goto fail;
	}
	starting = l->whole;
	if (OSSL_PROVIDER_add_builtin(l->visible, PROVIDER_NAME, start_provider))
		l->part = OSSL_PROVIDER_load(l->visible, PROVIDER_NAME);
	starting = NULL;
	if (l->part == NULL) {
		err_openssl(e, ERR_SYSTEM, "libcrypto: filtered provider");
		goto fail;
	}
	return l;
fail:
	libctx_free(l);
	return NULL;
}

struct libctx *libctx_new_plain(struct err *e)
{
	struct libctx *l = mem_new_of(struct libctx);

	l->visible = OSSL_LIB_CTX_new();
	if (l->visible == NULL) {
		err_openssl(e, ERR_SYSTEM, "libcrypto: new context");
		free(l);
		return NULL;
	}
	return l;
}

/* Ours goes first: its algorithms use the object of the other. */
void libctx_free(struct libctx *l)
{
	if (l == NULL)
		return;
	if (l->whole != NULL)
		libctx_keys_forget(OSSL_PROVIDER_get0_provider_ctx(l->whole));
	if (l->part != NULL)
		OSSL_PROVIDER_unload(l->part);
	OSSL_LIB_CTX_free(l->visible);
	if (l->whole != NULL)
		OSSL_PROVIDER_unload(l->whole);
	OSSL_LIB_CTX_free(l->hidden);
	free(l);
}

bool libctx_is_filtered(const struct libctx *l)
{
	return l->part != NULL;
}

OSSL_LIB_CTX *libctx_ossl(const struct libctx *l)
{
	return l == NULL ? NULL : l->visible;
}

/* ---- which of the two ---- */

static pthread_once_t tested = PTHREAD_ONCE_INIT;
static bool filter_works;
static _Atomic(struct libctx *) tested_ctx; /* for the first who wants one: it has all that is made at first use */

static void test_filter(void)
{
	struct err e;
	struct libctx *l = libctx_new_filtered(&e);

	filter_works = l != NULL && libctx_self_test(l, &e) == 0;
	if (!filter_works) {
		libctx_free(l);
		log_warn("handshakes use all of libcrypto, which is slower: %s", e.text);
		return;
	}
	/* What the test left is this thread's, which need not be the one that uses the context and frees it. */
	libctx_keys_forget(OSSL_PROVIDER_get0_provider_ctx(l->whole));
	OPENSSL_thread_stop_ex(l->visible);
	OPENSSL_thread_stop_ex(l->hidden);
	atomic_store(&tested_ctx, l);
}

struct libctx *libctx_new(struct err *e)
{
	struct libctx *l;

	pthread_once(&tested, test_filter);
	l = atomic_exchange(&tested_ctx, NULL);
	if (l == NULL && filter_works)
		l = libctx_new_filtered(e);
	return l != NULL ? l : libctx_new_plain(e);
}
