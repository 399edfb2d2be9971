/* SPDX-License-Identifier: Apache-2.0 */
/*
 * aead - the three TLS 1.3 ciphers behind one small interface, with the fastest code for this CPU.
 *
 * Implementations: "ipsec-mb" (libipsec-mb's AES-GCM, x86 only) and "evp" (libcrypto). Selected once at
 * start. Expanded keys are large (about 1 KiB), connections are many: each worker owns a cache of a few
 * expanded keys, and a key carries a process-wide unique id by which the cache finds it.
 *
 * Threads: aead_select() once, before workers exist; a cache belongs to one thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"

#define AEAD_TAG_LEN 16
#define AEAD_IV_LEN 12
#define AEAD_MAX_KEY_LEN 32

enum aead_algorithm { AEAD_AES_128_GCM, AEAD_AES_256_GCM, AEAD_CHACHA20_POLY1305 };

struct aead_key {
	uint64_t id; /* set by aead_key_init(); never reused within the process */
	enum aead_algorithm algorithm;
	uint8_t key[AEAD_MAX_KEY_LEN];
};

struct aead_cache;

/* "auto", "ipsec-mb" or "evp". ERR_CONFIG for a name that this CPU or build does not have. */
int aead_select(const char *name, struct err *e) MUST_CHECK;

/* What is used, for tng --version: "ipsec-mb 1.3 (AVX512)" or "evp (OpenSSL 3.0.19)"; "none" before aead_select(). */
const char *aead_description(void);

size_t aead_key_len(enum aead_algorithm alg);
void aead_key_init(struct aead_key *k, enum aead_algorithm alg, const uint8_t *key);

/* Uses what is selected now, for all its life. */
struct aead_cache *aead_cache_new(void);
void aead_cache_free(struct aead_cache *c); /* wipes */

/* Drops an expanded key, if it is cached: when a connection ends. */
void aead_cache_forget(struct aead_cache *c, const struct aead_key *k);

/*
 * in and out do not overlap. seal writes len + AEAD_TAG_LEN bytes. open reads len bytes of ciphertext with
 * the tag behind them and writes len - AEAD_TAG_LEN; false: the tag is wrong and out has been wiped.
 */
void aead_seal(struct aead_cache *c, const struct aead_key *k, const uint8_t iv[AEAD_IV_LEN], struct bytes aad,
	       const uint8_t *in, size_t len, uint8_t *out);
bool aead_open(struct aead_cache *c, const struct aead_key *k, const uint8_t iv[AEAD_IV_LEN], struct bytes aad,
	       const uint8_t *in, size_t len, uint8_t *out) MUST_CHECK;

/* Seals in with tail right behind it, as if they were one: out has room for both and AEAD_TAG_LEN. */
void aead_seal_tail(struct aead_cache *c, const struct aead_key *k, const uint8_t iv[AEAD_IV_LEN], struct bytes aad,
		    struct bytes in, struct bytes tail, uint8_t *out);
