/* SPDX-License-Identifier: Apache-2.0 */
/*
 * aead_bench - what sealing and opening one message costs, for each implementation, cipher and
 * size.
 *
 * The messages are sealed as TLS records are: five bytes of header, and a type behind the data.
 * "key" is the first message under a key that is not in the cache.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "crypto/aead.h"

#define ROUNDS 5
#define ROUND_S 0.03

static const struct {
	const char *name;
	enum aead_algorithm id;
} algorithms[] = {
	{ "AES-128-GCM", AEAD_AES_128_GCM },
	{ "AES-256-GCM", AEAD_AES_256_GCM },
	{ "ChaCha20-Poly1305", AEAD_CHACHA20_POLY1305 },
};
static const char *const implementations[] = { "evp", "ipsec-mb" };
static const size_t sizes[] = { 100, 1400, 16384 };

static const uint8_t iv[AEAD_IV_LEN];
static const uint8_t header[5] = { 23, 3, 3, 0x40, 0x11 };

struct bench {
	struct aead_cache *cache;
	struct aead_key key;
	size_t len;
	uint8_t *plain;
	uint8_t *sealed;
};

static double now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void seal(struct bench *b)
{
	static const uint8_t type = 23;

	aead_seal_tail(b->cache, &b->key, iv, bytes_of(header, sizeof(header)), bytes_of(b->plain, b->len),
		       bytes_of(&type, 1), b->sealed);
}

static void open(struct bench *b)
{
	if (!aead_open(b->cache, &b->key, iv, bytes_of(header, sizeof(header)), b->sealed, b->len + 1 + AEAD_TAG_LEN,
		       b->plain))
		abort();
}

static void seal_with_new_key(struct bench *b)
{
	aead_cache_forget(b->cache, &b->key);
	seal(b);
}

/* Seconds of one call: the best of some rounds, since the machine may be shared. */
static double best_of(struct bench *b, void (*call)(struct bench *))
{
	double best = 1;

	for (int round = 0; round < ROUNDS; round++) {
		double start = now_s(), end = start;
		size_t calls = 0;

		while (end - start < ROUND_S) {
			for (int i = 0; i < 64; i++)
				call(b);
			calls += 64;
			end = now_s();
		}
		if ((end - start) / (double)calls < best)
			best = (end - start) / (double)calls;
	}
	return best;
}

static void measure(const char *name, enum aead_algorithm id, size_t len)
{
	static const uint8_t key[AEAD_MAX_KEY_LEN] = { 1, 2, 3 };
	struct bench b = { .cache = aead_cache_new(), .len = len };
	double sealing, opening, keyed;

	b.plain = mem_new(len + 1);
	b.sealed = mem_new(len + 1 + AEAD_TAG_LEN);
	aead_key_init(&b.key, id, key);
	sealing = best_of(&b, seal);
	opening = best_of(&b, open);
	keyed = best_of(&b, seal_with_new_key);
	printf("  %-18s %6zu B  seal %7.3f us %6.2f GB/s  open %7.3f us %6.2f GB/s  key %+.3f us\n", name, len,
	       sealing * 1e6, (double)len / sealing * 1e-9, opening * 1e6, (double)len / opening * 1e-9,
	       (keyed - sealing) * 1e6);
	free(b.plain);
	free(b.sealed);
	aead_cache_free(b.cache);
}

int main(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(implementations); i++) {
		struct err e;
		double start = now_s();

		if (aead_select(implementations[i], &e) < 0) {
			printf("%s\n", e.text);
			continue;
		}
		printf("%s, selected in %.0f us\n", aead_description(), (now_s() - start) * 1e6);
		for (size_t a = 0; a < ARRAY_SIZE(algorithms); a++) {
			for (size_t s = 0; s < ARRAY_SIZE(sizes); s++)
				measure(algorithms[a].name, algorithms[a].id, sizes[s]);
		}
	}
	return 0;
}
