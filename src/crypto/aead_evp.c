/* SPDX-License-Identifier: Apache-2.0 */
/*
 * aead_evp - the ciphers of libcrypto.
 *
 * The ciphers are fetched once: EVP_aes_256_gcm() and its like would be fetched again behind our
 * back for each record, which makes a small one three times as dear. An expanded key is an
 * EVP_CIPHER_CTX; only the nonce changes from message to message.
 */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "crypto/aead_internal.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>

struct evp_key {
	EVP_CIPHER_CTX *ctx;
	enum aead_algorithm algorithm;
};

static const char *const names[] = {
	[AEAD_AES_128_GCM] = "AES-128-GCM",
	[AEAD_AES_256_GCM] = "AES-256-GCM",
	[AEAD_CHACHA20_POLY1305] = "ChaCha20-Poly1305",
};

/* Constant after start(). */
static EVP_CIPHER *ciphers[ARRAY_SIZE(names)];

static int evp_start(struct err *e)
{
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (ciphers[i] == NULL)
			ciphers[i] = EVP_CIPHER_fetch(NULL, names[i], NULL);
		if (ciphers[i] == NULL) {
			ERR_clear_error();
			return err_set(e, ERR_SYSTEM, "libcrypto has no %s", names[i]);
		}
	}
	return 0;
}

static void evp_describe(char *out, size_t size)
{
	snprintf(out, size, "evp (OpenSSL %s)", OpenSSL_version(OPENSSL_VERSION_STRING));
}

static void evp_free(void *expanded)
{
	struct evp_key *x = expanded;

	EVP_CIPHER_CTX_free(x->ctx); /* wipes what it held */
	free(x);
}

static struct evp_key *evp_key_new(enum aead_algorithm alg)
{
	struct evp_key *x = mem_new_of(struct evp_key);

	x->algorithm = alg;
	x->ctx = EVP_CIPHER_CTX_new();
	if (x->ctx == NULL || !EVP_EncryptInit_ex(x->ctx, ciphers[alg], NULL, NULL, NULL))
		aead_die("a new cipher context");
	return x;
}

static void *evp_expand(void *old, const struct aead_key *k)
{
	struct evp_key *x = old;

	if (x != NULL && x->algorithm != k->algorithm) {
		evp_free(x);
		x = NULL;
	}
	if (x == NULL)
		x = evp_key_new(k->algorithm);
	if (!EVP_EncryptInit_ex(x->ctx, NULL, NULL, k->key, NULL))
		aead_die("expanding a key");
	return x;
}

/* libcrypto counts in int. */
static bool update(EVP_CIPHER_CTX *ctx, uint8_t *out, struct bytes in)
{
	int n;

	if (in.len == 0)
		return true;
	return in.len <= INT_MAX && EVP_CipherUpdate(ctx, out, &n, in.data, (int)in.len) == 1;
}

static void evp_seal(void *expanded, const struct aead_message *m)
{
	EVP_CIPHER_CTX *ctx = ((struct evp_key *)expanded)->ctx;
	uint8_t *tag = m->out + m->in.len + m->tail.len;
	int n;

	if (!EVP_EncryptInit_ex(ctx, NULL, NULL, NULL, m->iv) || !update(ctx, NULL, m->aad) ||
	    !update(ctx, m->out, m->in) || !update(ctx, m->out + m->in.len, m->tail) ||
	    !EVP_EncryptFinal_ex(ctx, tag, &n) || !EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, AEAD_TAG_LEN, tag))
		aead_die("sealing");
}

static bool evp_open(void *expanded, const struct aead_message *m)
{
	EVP_CIPHER_CTX *ctx = ((struct evp_key *)expanded)->ctx;
	size_t len = m->in.len - AEAD_TAG_LEN;
	void *tag = (void *)(m->in.data + len); /* the interface forgot const */
	uint8_t none;
	int n;

	if (EVP_DecryptInit_ex(ctx, NULL, NULL, NULL, m->iv) &&
	    EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, AEAD_TAG_LEN, tag) && update(ctx, NULL, m->aad) &&
	    update(ctx, m->out, bytes_of(m->in.data, len)) && EVP_DecryptFinal_ex(ctx, &none, &n))
		return true;
	ERR_clear_error();
	return false;
}

const struct aead_ops aead_evp = {
	.name = "evp",
	.start = evp_start,
	.describe = evp_describe,
	.expand = evp_expand,
	.free = evp_free,
	.seal = evp_seal,
	.open = evp_open,
};
