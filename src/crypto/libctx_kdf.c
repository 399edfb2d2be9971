/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libctx_kdf - the key schedule of TLS 1.3, RFC 8446 7.1, behind the functions of a provider.
 *
 * libcrypto's context is made only when it is needed: for parameters that are set ahead of a
 * derivation, and for those that we do not calculate. From then on everything of that context goes
 * there. What a derivation made here was given is not remembered for the next one: libssl gives
 * everything each time.
 *
 * The hashes are libcrypto's low-level functions: they need no allocation and no look-up. They are
 * marked as deprecated, which means "not for applications": here we stand inside a provider.
 */
#define OPENSSL_SUPPRESS_DEPRECATED

#include "crypto/libctx_kdf.h"

#include <stdint.h>
#include <string.h>

#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/sha.h>

#include "base/bytes.h"
#include "base/mem.h"
#include "crypto/libctx_internal.h"

#define MAX_HASH SHA384_DIGEST_LENGTH
#define MAX_BLOCK SHA512_CBLOCK
#define MAX_LABEL 128 /* of an HkdfLabel; libssl's have at most 67 */

struct kdf {
	void *provider;
	void *theirs; /* NULL: not needed so far */
};

/* libcrypto's functions; constant after libctx_kdf_wrap(). */
static struct {
	OSSL_FUNC_kdf_newctx_fn *newctx;
	OSSL_FUNC_kdf_dupctx_fn *dupctx; /* NULL in 3.0 */
	OSSL_FUNC_kdf_freectx_fn *freectx;
	OSSL_FUNC_kdf_reset_fn *reset;
	OSSL_FUNC_kdf_derive_fn *derive;
	OSSL_FUNC_kdf_gettable_ctx_params_fn *gettable;
	OSSL_FUNC_kdf_settable_ctx_params_fn *settable;
	OSSL_FUNC_kdf_get_ctx_params_fn *get;
	OSSL_FUNC_kdf_set_ctx_params_fn *set;
	bool are_equalled; /* by what we calculate */
} theirs;

static _Thread_local struct libctx_secrets *catching;

/* ---- hash ---- */

enum hash { HASH_NONE, HASH_SHA256, HASH_SHA384 };

struct sha {
	enum hash hash;
	int ok;
	union {
		SHA256_CTX sha256;
		SHA512_CTX sha384;
	} state;
};

static size_t hash_size(enum hash hash)
{
	return hash == HASH_SHA256 ? SHA256_DIGEST_LENGTH : SHA384_DIGEST_LENGTH;
}

static size_t block_size(enum hash hash)
{
	return hash == HASH_SHA256 ? SHA256_CBLOCK : SHA512_CBLOCK;
}

static void sha_init(struct sha *s, enum hash hash)
{
	s->hash = hash;
	s->ok = hash == HASH_SHA256 ? SHA256_Init(&s->state.sha256) : SHA384_Init(&s->state.sha384);
}

static void sha_update(struct sha *s, const uint8_t *data, size_t len)
{
	s->ok &= s->hash == HASH_SHA256 ? SHA256_Update(&s->state.sha256, data, len)
					: SHA384_Update(&s->state.sha384, data, len);
}

static bool sha_final(struct sha *s, uint8_t out[MAX_HASH])
{
	s->ok &= s->hash == HASH_SHA256 ? SHA256_Final(out, &s->state.sha256) : SHA384_Final(out, &s->state.sha384);
	return s->ok;
}

/* ---- HMAC, RFC 2104 ---- */

struct hmac {
	struct sha inner;
	struct sha outer;
};

static void begin_with_pad(struct sha *s, enum hash hash, struct bytes key, uint8_t pad)
{
	uint8_t block[MAX_BLOCK];
	size_t size = block_size(hash);

	memset(block, pad, size);
	for (size_t i = 0; i < key.len; i++)
		block[i] ^= key.data[i];
	sha_init(s, hash);
	sha_update(s, block, size);
	mem_wipe(block, size);
}

/* key: of at most one block. */
static void hmac_init(struct hmac *h, enum hash hash, struct bytes key)
{
	begin_with_pad(&h->inner, hash, key, 0x36);
	begin_with_pad(&h->outer, hash, key, 0x5c);
}

static void hmac_update(struct hmac *h, const uint8_t *data, size_t len)
{
	sha_update(&h->inner, data, len);
}

/* Wipes h. */
static bool hmac_final(struct hmac *h, uint8_t out[MAX_HASH])
{
	uint8_t inner[MAX_HASH];
	bool ok = sha_final(&h->inner, inner);

	sha_update(&h->outer, inner, hash_size(h->outer.hash));
	ok &= sha_final(&h->outer, out);
	mem_wipe(inner, sizeof(inner));
	mem_wipe(h, sizeof(*h));
	return ok;
}

/* ---- HKDF, RFC 5869 and RFC 8446 7.1 ---- */

struct derivation {
	int mode;
	enum hash hash;
	struct bytes key;
	struct bytes salt;
	struct bytes prefix;
	struct bytes label;
	struct bytes data;
};

/* HKDF-Expand-Label of up to one hash. */
static bool expand_label(const struct derivation *d, struct bytes secret, struct bytes data, uint8_t *out, size_t len)
{
	uint8_t label[MAX_LABEL], block[MAX_HASH];
	struct writer w = writer_of(label, sizeof(label));
	struct hmac h;
	bool ok;

	writer_u16(&w, (uint16_t)len);
	writer_u8(&w, (uint8_t)(d->prefix.len + d->label.len));
	writer_bytes(&w, d->prefix);
	writer_bytes(&w, d->label);
	writer_u8(&w, (uint8_t)data.len);
	writer_bytes(&w, data);
	writer_u8(&w, 1); /* T(1) */
	if (w.failed)	  /* longer than libssl's */
		return false;
	hmac_init(&h, d->hash, secret);
	hmac_update(&h, label, w.len);
	ok = hmac_final(&h, block);
	memcpy(out, block, len);
	mem_wipe(block, sizeof(block));
	return ok;
}

/* The salt is the secret before, through Derive-Secret(., "derived", ""). */
static bool extract(const struct derivation *d, uint8_t *out)
{
	static const uint8_t zeros[MAX_HASH];
	uint8_t empty[MAX_HASH], salt[MAX_HASH] = { 0 };
	size_t size = hash_size(d->hash);
	struct sha s;
	struct hmac h;
	bool ok = true;

	if (d->salt.len > 0) {
		sha_init(&s, d->hash);
		ok = sha_final(&s, empty) && expand_label(d, d->salt, bytes_of(empty, size), salt, size);
	}
	hmac_init(&h, d->hash, bytes_of(salt, size));
	hmac_update(&h, d->key.len > 0 ? d->key.data : zeros, d->key.len > 0 ? d->key.len : size);
	mem_wipe(salt, sizeof(salt));
	return hmac_final(&h, out) && ok;
}

static enum hash hash_of(const OSSL_PARAM *p)
{
	static const struct {
		const char *name;
		enum hash hash;
	} names[] = {
		{ "SHA2-256", HASH_SHA256 },
		{ "SHA256", HASH_SHA256 },
		{ "SHA2-384", HASH_SHA384 },
		{ "SHA384", HASH_SHA384 },
	};

	if (p->data_type != OSSL_PARAM_UTF8_STRING || p->data == NULL)
		return HASH_NONE;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (strlen(names[i].name) == p->data_size && memcmp(names[i].name, p->data, p->data_size) == 0)
			return names[i].hash;
	}
	return HASH_NONE;
}

static bool read_int(const OSSL_PARAM *p, int *out)
{
	return p->data_type == OSSL_PARAM_INTEGER && *out == -1 && OSSL_PARAM_get_int(p, out);
}

/* Once each, and not empty: what an empty one means is left to libcrypto. */
static bool read_octets(const OSSL_PARAM *p, struct bytes *out)
{
	if (p->data_type != OSSL_PARAM_OCTET_STRING || p->data == NULL || p->data_size == 0 || out->len > 0)
		return false;
	*out = bytes_of(p->data, p->data_size);
	return true;
}

static bool read_parameter(struct derivation *d, const OSSL_PARAM *p)
{
	if (strcmp(p->key, OSSL_KDF_PARAM_KEY) == 0)
		return read_octets(p, &d->key);
	if (strcmp(p->key, OSSL_KDF_PARAM_SALT) == 0)
		return read_octets(p, &d->salt);
	if (strcmp(p->key, OSSL_KDF_PARAM_PREFIX) == 0)
		return read_octets(p, &d->prefix);
	if (strcmp(p->key, OSSL_KDF_PARAM_LABEL) == 0)
		return read_octets(p, &d->label);
	if (strcmp(p->key, OSSL_KDF_PARAM_DATA) == 0)
		return read_octets(p, &d->data);
	if (strcmp(p->key, OSSL_KDF_PARAM_MODE) == 0)
		return read_int(p, &d->mode);
	if (strcmp(p->key, OSSL_KDF_PARAM_DIGEST) != 0 || d->hash != HASH_NONE)
		return false;
	d->hash = hash_of(p);
	return d->hash != HASH_NONE;
}

/*
 * Only the salts that libssl has: none, or a secret of the schedule. What another length means is
 * for libcrypto to say, and its versions differ.
 */
static bool is_salt_of_the_schedule(const struct derivation *d)
{
	return d->salt.len == 0 || d->salt.len == hash_size(d->hash);
}

static bool is_one_of_ours(const struct derivation *d, size_t len)
{
	if (d->hash == HASH_NONE || d->prefix.len == 0 || d->label.len == 0)
		return false;
	if (d->mode == EVP_KDF_HKDF_MODE_EXTRACT_ONLY)
		return len == hash_size(d->hash) && is_salt_of_the_schedule(d) && d->data.len == 0;
	return d->mode == EVP_KDF_HKDF_MODE_EXPAND_ONLY && len > 0 && len <= hash_size(d->hash) && d->key.len > 0 &&
	       d->key.len <= block_size(d->hash) && d->salt.len == 0 && d->data.len <= UINT8_MAX &&
	       d->prefix.len + d->label.len <= UINT8_MAX;
}

/* false: not calculated, libcrypto may say why. */
static bool calculate(uint8_t *out, size_t len, const OSSL_PARAM params[])
{
	struct derivation d = { .mode = -1 };

	for (; params->key != NULL; params++) {
		if (!read_parameter(&d, params))
			return false;
	}
	if (!is_one_of_ours(&d, len))
		return false;
	return d.mode == EVP_KDF_HKDF_MODE_EXTRACT_ONLY ? extract(&d, out) : expand_label(&d, d.key, d.data, out, len);
}

/* ---- secrets ---- */

void libctx_catch_secrets(struct libctx_secrets *into)
{
	catching = into;
}

static bool is_label(const OSSL_PARAM *p, const char *label)
{
	return p->data_size == strlen(label) && memcmp(p->data, label, p->data_size) == 0;
}

/* RFC 8446 7.1: one call for each secret, told apart by their labels. */
static void catch_secret(const OSSL_PARAM *label, const uint8_t *secret, size_t len)
{
	if (label == NULL || label->data == NULL || len > LIBCTX_MAX_SECRET)
		return;
	if (is_label(label, "c ap traffic")) {
		memcpy(catching->client, secret, len);
		catching->client_len = len;
	} else if (is_label(label, "s ap traffic")) {
		memcpy(catching->server, secret, len);
		catching->server_len = len;
	}
}

/* ---- the functions of a provider's KDF ---- */

static bool need_theirs(struct kdf *k)
{
	if (k->theirs == NULL)
		k->theirs = theirs.newctx(k->provider);
	return k->theirs != NULL;
}

static void *kdf_new(void *provider)
{
	struct kdf *k = OPENSSL_zalloc(sizeof(*k));

	if (k != NULL)
		k->provider = provider;
	return k;
}

static void kdf_free(void *p)
{
	struct kdf *k = p;

	if (k != NULL && k->theirs != NULL)
		theirs.freectx(k->theirs);
	OPENSSL_free(k);
}

static void *kdf_dup(void *p)
{
	const struct kdf *from = p;
	struct kdf *k = kdf_new(from->provider);

	if (k == NULL || from->theirs == NULL)
		return k;
	k->theirs = theirs.dupctx(from->theirs);
	if (k->theirs != NULL)
		return k;
	kdf_free(k);
	return NULL;
}

static void kdf_reset(void *p)
{
	struct kdf *k = p;

	if (k->theirs != NULL)
		theirs.reset(k->theirs);
}

static int kdf_derive(void *p, unsigned char *out, size_t len, const OSSL_PARAM params[])
{
	struct kdf *k = p;
	bool ours = theirs.are_equalled && k->theirs == NULL && params != NULL && calculate(out, len, params);

	if (!ours && (!need_theirs(k) || !theirs.derive(k->theirs, out, len, params)))
		return 0;
	if (catching != NULL && params != NULL)
		catch_secret(OSSL_PARAM_locate_const(params, OSSL_KDF_PARAM_LABEL), out, len);
	return 1;
}

static int kdf_set(void *p, const OSSL_PARAM params[])
{
	struct kdf *k = p;

	return params == NULL || (need_theirs(k) && theirs.set(k->theirs, params));
}

static int kdf_get(void *p, OSSL_PARAM params[])
{
	struct kdf *k = p;

	return need_theirs(k) && theirs.get(k->theirs, params);
}

static const OSSL_PARAM *kdf_settable(void *p, void *provider)
{
	struct kdf *k = p;

	return theirs.settable(k == NULL ? NULL : k->theirs, provider);
}

static const OSSL_PARAM *kdf_gettable(void *p, void *provider)
{
	struct kdf *k = p;

	return theirs.gettable(k == NULL ? NULL : k->theirs, provider);
}

/* ---- ours beside libcrypto's ---- */

#define TEST_SECRET 48

struct test_case {
	int mode;
	const char *hash;
	bool has_key;
	bool has_salt;
	bool has_data;
	size_t len;
};

#define EXTRACT EVP_KDF_HKDF_MODE_EXTRACT_ONLY
#define EXPAND EVP_KDF_HKDF_MODE_EXPAND_ONLY

static const struct test_case cases[] = {
	{ EXTRACT, "SHA2-256", false, false, false, 32 }, { EXTRACT, "SHA2-256", true, false, false, 32 },
	{ EXTRACT, "SHA2-256", true, true, false, 32 },	  { EXTRACT, "SHA2-256", false, true, false, 32 },
	{ EXPAND, "SHA2-256", true, false, true, 32 },	  { EXPAND, "SHA2-256", true, false, false, 12 },
	{ EXTRACT, "SHA2-384", false, false, false, 48 }, { EXTRACT, "SHA2-384", true, false, false, 48 },
	{ EXTRACT, "SHA2-384", true, true, false, 48 },	  { EXTRACT, "SHA2-384", false, true, false, 48 },
	{ EXPAND, "SHA2-384", true, false, true, 48 },	  { EXPAND, "SHA2-384", true, false, false, 32 },
};

static bool both_give_the_same(const struct test_case *t, void *provider)
{
	static const char key[TEST_SECRET] = "a secret that goes in";
	static const char salt[TEST_SECRET] = "the secret before, as a salt";
	static const char data[TEST_SECRET] = "a hash of all messages so far";
	OSSL_PARAM params[8], *p = params;
	uint8_t ours[MAX_HASH], reference[MAX_HASH];
	int mode = t->mode;
	void *kdf = theirs.newctx(provider);
	bool same = false;

	*p++ = OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &mode);
	*p++ = OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, (char *)t->hash, 0);
	if (t->has_key)
		*p++ = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, (char *)key, 32);
	if (t->has_salt)
		*p++ = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT, (char *)salt, t->len);
	*p++ = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_PREFIX, (char *)"tls13 ", 6);
	*p++ = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_LABEL, (char *)"derived", 7);
	if (t->has_data)
		*p++ = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_DATA, (char *)data, t->len);
	*p = OSSL_PARAM_construct_end();
	if (kdf != NULL)
		same = theirs.derive(kdf, reference, t->len, params) && calculate(ours, t->len, params) &&
		       memcmp(ours, reference, t->len) == 0;
	theirs.freectx(kdf);
	return same;
}

static bool all_are_the_same(void *provider)
{
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		if (!both_give_the_same(&cases[i], provider))
			return false;
	}
	return true;
}

static bool take_theirs(const OSSL_DISPATCH *f)
{
	for (; f->function_id != 0; f++) {
		switch (f->function_id) {
		case OSSL_FUNC_KDF_NEWCTX:
			theirs.newctx = OSSL_FUNC_kdf_newctx(f);
			break;
		case OSSL_FUNC_KDF_DUPCTX:
			theirs.dupctx = OSSL_FUNC_kdf_dupctx(f);
			break;
		case OSSL_FUNC_KDF_FREECTX:
			theirs.freectx = OSSL_FUNC_kdf_freectx(f);
			break;
		case OSSL_FUNC_KDF_RESET:
			theirs.reset = OSSL_FUNC_kdf_reset(f);
			break;
		case OSSL_FUNC_KDF_DERIVE:
			theirs.derive = OSSL_FUNC_kdf_derive(f);
			break;
		case OSSL_FUNC_KDF_GETTABLE_CTX_PARAMS:
			theirs.gettable = OSSL_FUNC_kdf_gettable_ctx_params(f);
			break;
		case OSSL_FUNC_KDF_SETTABLE_CTX_PARAMS:
			theirs.settable = OSSL_FUNC_kdf_settable_ctx_params(f);
			break;
		case OSSL_FUNC_KDF_GET_CTX_PARAMS:
			theirs.get = OSSL_FUNC_kdf_get_ctx_params(f);
			break;
		case OSSL_FUNC_KDF_SET_CTX_PARAMS:
			theirs.set = OSSL_FUNC_kdf_set_ctx_params(f);
			break;
		default: /* of a later version, and not needed here */
			break;
		}
	}
	return theirs.newctx != NULL && theirs.freectx != NULL && theirs.reset != NULL && theirs.derive != NULL &&
	       theirs.gettable != NULL && theirs.settable != NULL && theirs.get != NULL && theirs.set != NULL;
}

static void write_ours(OSSL_DISPATCH *out)
{
	const OSSL_DISPATCH ours[] = {
		{ OSSL_FUNC_KDF_NEWCTX, (void (*)(void))kdf_new },
		{ OSSL_FUNC_KDF_FREECTX, (void (*)(void))kdf_free },
		{ OSSL_FUNC_KDF_RESET, (void (*)(void))kdf_reset },
		{ OSSL_FUNC_KDF_DERIVE, (void (*)(void))kdf_derive },
		{ OSSL_FUNC_KDF_GETTABLE_CTX_PARAMS, (void (*)(void))kdf_gettable },
		{ OSSL_FUNC_KDF_SETTABLE_CTX_PARAMS, (void (*)(void))kdf_settable },
		{ OSSL_FUNC_KDF_GET_CTX_PARAMS, (void (*)(void))kdf_get },
		{ OSSL_FUNC_KDF_SET_CTX_PARAMS, (void (*)(void))kdf_set },
	};

	_Static_assert(ARRAY_SIZE(ours) + 2 <= LIBCTX_KDF_FUNCTIONS, "room for dupctx and an end");
	memcpy(out, ours, sizeof(ours));
	out += ARRAY_SIZE(ours);
	if (theirs.dupctx != NULL)
		*out++ = (OSSL_DISPATCH){ OSSL_FUNC_KDF_DUPCTX, (void (*)(void))kdf_dup };
	*out = (OSSL_DISPATCH){ 0, NULL };
}

bool libctx_kdf_wrap(const OSSL_DISPATCH *of_default, void *provider, OSSL_DISPATCH *out)
{
	if (!take_theirs(of_default))
		return false;
	theirs.are_equalled = all_are_the_same(provider);
	write_ours(out);
	return true;
}

bool libctx_kdf_is_ours(void)
{
	return theirs.are_equalled;
}
