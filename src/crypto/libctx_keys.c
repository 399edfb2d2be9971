/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libctx_keys - what goes in is compared, what comes out is kept.
 *
 * The provider's object of an EC key is an EC_KEY with a count of references; whoever gets one by reference
 * (OSSL_OBJECT_PARAM_REFERENCE) takes it over. A key belongs to the context that decoded it, so the keys of a thread
 * have an owner, and go when another context comes along.
 */
#define OPENSSL_SUPPRESS_DEPRECATED /* EC_KEY_up_ref() has no other name */
#include "crypto/libctx_keys.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/bio.h>
#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/core_object.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>

#include "base/mem.h"

#define MAX_KEYS 8   /* of each thread */
#define MAX_SPKI 160 /* bytes; P-521 has 158 */

struct known_key {
	size_t len; /* 0: none */
	unsigned char spki[MAX_SPKI];
	EC_KEY *key;
};

struct known_keys {
	void *owner; /* the provider's object */
	struct known_key keys[MAX_KEYS];
	unsigned next; /* the oldest */
	unsigned long spared;
};

struct decoder {
	void *provider;
	void *theirs;
};

static struct {
	OSSL_FUNC_decoder_newctx_fn *newctx;
	OSSL_FUNC_decoder_freectx_fn *freectx;
	OSSL_FUNC_decoder_decode_fn *decode;
	OSSL_FUNC_decoder_export_object_fn *export_object;
} theirs;

/* Set once, and the same for every context. */
static OSSL_FUNC_BIO_read_ex_fn *core_read;
static OSSL_FUNC_BIO_ctrl_fn *core_ctrl;

/* ---- the keys of this thread ---- */

static pthread_key_t of_thread;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static bool has_thread_key;

static void forget_all(struct known_keys *known)
{
	for (size_t i = 0; i < MAX_KEYS; i++)
		EC_KEY_free(known->keys[i].key);
	memset(known->keys, 0, sizeof(known->keys));
	known->owner = NULL;
	known->next = 0;
}

static void on_thread_end(void *arg)
{
	forget_all(arg);
	free(arg);
}

static void make_thread_key(void)
{
	has_thread_key = pthread_key_create(&of_thread, on_thread_end) == 0;
}

static struct known_keys *known_of(void *provider)
{
	struct known_keys *known = pthread_getspecific(of_thread);

	if (known == NULL) {
		known = mem_new_of(struct known_keys);
		if (pthread_setspecific(of_thread, known) != 0) {
			free(known);
			return NULL;
		}
	}
	if (known->owner != provider)
		forget_all(known);
	known->owner = provider;
	return known;
}

static EC_KEY *find_key(const struct known_keys *known, const unsigned char *spki, size_t len)
{
	for (size_t i = 0; i < MAX_KEYS; i++) {
		if (len > 0 && known->keys[i].len == len && memcmp(known->keys[i].spki, spki, len) == 0)
			return known->keys[i].key;
	}
	return NULL;
}

/* takes key. */
static void keep_key(struct known_keys *known, const unsigned char *spki, size_t len, EC_KEY *key)
{
	struct known_key *k = &known->keys[known->next];

	known->next = (known->next + 1) % MAX_KEYS;
	EC_KEY_free(k->key);
	memcpy(k->spki, spki, len);
	k->len = len;
	k->key = key;
}

void libctx_keys_forget(void *provider)
{
	struct known_keys *known = has_thread_key ? pthread_getspecific(of_thread) : NULL;

	if (known != NULL && known->owner == provider)
		forget_all(known);
}

unsigned long libctx_keys_spared(void)
{
	const struct known_keys *known = has_thread_key ? pthread_getspecific(of_thread) : NULL;

	return known == NULL ? 0 : known->spared;
}

/* ---- the decoder ---- */

static void *decoder_new(void *provider)
{
	struct decoder *d = mem_new_of(struct decoder);

	d->provider = provider;
	d->theirs = theirs.newctx(provider);
	if (d->theirs != NULL)
		return d;
	free(d);
	return NULL;
}

static void decoder_free(void *arg)
{
	struct decoder *d = arg;

	if (d == NULL)
		return;
	theirs.freectx(d->theirs);
	free(d);
}

static int decoder_export(void *arg, const void *reference, size_t len, OSSL_CALLBACK *export, void *export_arg)
{
	return theirs.export_object(((struct decoder *)arg)->theirs, reference, len, export, export_arg);
}

static long position(OSSL_CORE_BIO *in)
{
	return core_ctrl(in, BIO_C_FILE_TELL, 0, NULL);
}

static bool go_to(OSSL_CORE_BIO *in, long at)
{
	core_ctrl(in, BIO_C_FILE_SEEK, at, NULL);
	return position(in) == at;
}

/* What in holds, up to len bytes. */
static size_t read_some(OSSL_CORE_BIO *in, unsigned char *to, size_t len)
{
	size_t n = 0;

	return core_read(in, (char *)to, len, &n) == 1 ? n : 0;
}

struct listening {
	OSSL_CALLBACK *found;
	void *found_arg;
	EC_KEY *key; /* a reference of ours, or NULL */
};

static int on_decoded(const OSSL_PARAM *params, void *arg)
{
	struct listening *l = arg;
	const OSSL_PARAM *type = OSSL_PARAM_locate_const(params, OSSL_OBJECT_PARAM_DATA_TYPE);
	const OSSL_PARAM *reference = OSSL_PARAM_locate_const(params, OSSL_OBJECT_PARAM_REFERENCE);

	if (type != NULL && type->data != NULL && strcmp(type->data, "EC") == 0 && reference != NULL &&
	    reference->data_size == sizeof(l->key)) {
		memcpy(&l->key, reference->data, sizeof(l->key));
		if (l->key != NULL)
			EC_KEY_up_ref(l->key);
	}
	return l->found(params, l->found_arg);
}

/* Whoever takes the reference sets it to NULL. */
static int give(EC_KEY *key, OSSL_CALLBACK *found, void *found_arg)
{
	int type = OSSL_OBJECT_PKEY;
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_int(OSSL_OBJECT_PARAM_TYPE, &type),
		OSSL_PARAM_construct_utf8_string(OSSL_OBJECT_PARAM_DATA_TYPE, (char *)"EC", 0),
		OSSL_PARAM_construct_octet_string(OSSL_OBJECT_PARAM_REFERENCE, &key, sizeof(key)),
		OSSL_PARAM_construct_end(),
	};
	int rc;

	EC_KEY_up_ref(key);
	rc = found(params, found_arg);
	EC_KEY_free(key);
	return rc;
}

static int decode(void *arg, OSSL_CORE_BIO *in, int selection, OSSL_CALLBACK *found, void *found_arg,
		  OSSL_PASSPHRASE_CALLBACK *passphrase, void *passphrase_arg)
{
	struct decoder *d = arg;
	struct listening l = { .found = found, .found_arg = found_arg };
	struct known_keys *known = core_read == NULL ? NULL : known_of(d->provider);
	unsigned char spki[MAX_SPKI + 1];
	long at = known == NULL ? -1 : position(in);
	size_t len;
	EC_KEY *key;
	int rc;

	if (at < 0)
		return theirs.decode(d->theirs, in, selection, found, found_arg, passphrase, passphrase_arg);
	len = read_some(in, spki, sizeof(spki));
	key = find_key(known, spki, len);
	if (key != NULL) {
		known->spared++;
		return give(key, found, found_arg);
	}
	if (!go_to(in, at))
		return 0;
	rc = theirs.decode(d->theirs, in, selection, on_decoded, &l, passphrase, passphrase_arg);
	/* Bytes behind the key are for the caller to find. */
	if (rc == 1 && l.key != NULL && len <= MAX_SPKI && position(in) == at + (long)len)
		keep_key(known, spki, len, l.key);
	else
		EC_KEY_free(l.key);
	return rc;
}

/* ---- wrapping ---- */

static bool take_theirs(const OSSL_DISPATCH *f)
{
	for (; f->function_id != 0; f++) {
		switch (f->function_id) {
		case OSSL_FUNC_DECODER_NEWCTX:
			theirs.newctx = OSSL_FUNC_decoder_newctx(f);
			break;
		case OSSL_FUNC_DECODER_FREECTX:
			theirs.freectx = OSSL_FUNC_decoder_freectx(f);
			break;
		case OSSL_FUNC_DECODER_DECODE:
			theirs.decode = OSSL_FUNC_decoder_decode(f);
			break;
		case OSSL_FUNC_DECODER_EXPORT_OBJECT:
			theirs.export_object = OSSL_FUNC_decoder_export_object(f);
			break;
		case OSSL_FUNC_DECODER_SETTABLE_CTX_PARAMS:
		case OSSL_FUNC_DECODER_SET_CTX_PARAMS:
			return false; /* would be given our object */
		default:
			break;
		}
	}
	return theirs.newctx != NULL && theirs.freectx != NULL && theirs.decode != NULL && theirs.export_object != NULL;
}

static void (*ours_of(int id))(void)
{
	switch (id) {
	case OSSL_FUNC_DECODER_NEWCTX:
		return (void (*)(void))decoder_new;
	case OSSL_FUNC_DECODER_FREECTX:
		return (void (*)(void))decoder_free;
	case OSSL_FUNC_DECODER_DECODE:
		return (void (*)(void))decode;
	case OSSL_FUNC_DECODER_EXPORT_OBJECT:
		return (void (*)(void))decoder_export;
	}
	return NULL;
}

bool libctx_keys_wrap(const OSSL_DISPATCH *of_default, OSSL_DISPATCH *out)
{
	size_t count = 0;

	/* Version 3 has EC_KEY inside. */
	pthread_once(&once, make_thread_key);
	if (!has_thread_key || OPENSSL_version_major() != 3 || !take_theirs(of_default))
		return false;
	for (const OSSL_DISPATCH *f = of_default; f->function_id != 0; f++) {
		void (*ours)(void) = ours_of(f->function_id);

		if (count + 1 == LIBCTX_KEYS_FUNCTIONS)
			return false;
		out[count] = *f;
		if (ours != NULL)
			out[count].function = ours;
		count++;
	}
	out[count] = (OSSL_DISPATCH){ 0, NULL };
	return true;
}

void libctx_keys_use_core(const OSSL_DISPATCH *core)
{
	OSSL_FUNC_BIO_read_ex_fn *read = NULL;
	OSSL_FUNC_BIO_ctrl_fn *ctrl = NULL;

	for (; core->function_id != 0; core++) {
		if (core->function_id == OSSL_FUNC_BIO_READ_EX)
			read = OSSL_FUNC_BIO_read_ex(core);
		else if (core->function_id == OSSL_FUNC_BIO_CTRL)
			ctrl = OSSL_FUNC_BIO_ctrl(core);
	}
	if (read == NULL || ctrl == NULL || core_read != NULL)
		return;
	core_ctrl = ctrl;
	core_read = read;
}
