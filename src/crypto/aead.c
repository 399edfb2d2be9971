/* SPDX-License-Identifier: Apache-2.0 */
/*
 * aead - which implementation, and the cache of expanded keys.
 *
 * The cache is a small set-associative table: the id of a key says which set, the slot of the set
 * that was unused for longest makes room. Ids are handed out one after the other, so the keys of
 * busy connections spread over the sets by themselves. A slot gets its memory with its first key
 * and keeps it for the next ones; a key that is forgotten takes it along.
 */
#include "crypto/aead.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "crypto/aead_internal.h"

#define CACHE_SETS 32
#define CACHE_WAYS 4

/* id 0 is no key. */
struct slot {
	uint64_t id;
	uint64_t used; /* the cache's clock at the last use */
	const struct aead_ops *ops;
	void *expanded;
};

struct aead_cache {
	const struct aead_ops *gcm;
	uint64_t clock;
	struct slot slots[CACHE_SETS][CACHE_WAYS];
};

/* The first that starts is "auto". */
static const struct aead_ops *const implementations[] = { &aead_ipsec_mb, &aead_evp };

/* Written by aead_select() before other threads exist. */
static const struct aead_ops *selected;
static char description[96] = "none";

void aead_die(const char *what)
{
	log_error("aead: %s failed", what);
	abort();
}

static int select_auto(struct err *e)
{
	for (size_t i = 0; i < ARRAY_SIZE(implementations); i++) {
		if (implementations[i]->start(e) == 0) {
			selected = implementations[i];
			return 0;
		}
	}
	return -1;
}

static int select_named(const char *name, struct err *e)
{
	for (size_t i = 0; i < ARRAY_SIZE(implementations); i++) {
		if (strcmp(implementations[i]->name, name) != 0)
			continue;
		if (implementations[i]->start(e) != 0)
			return err_wrap(e, "aead %s", name);
		selected = implementations[i];
		return 0;
	}
	return err_set(e, ERR_CONFIG, "aead: expected auto, ipsec-mb or evp, found %s", name);
}

int aead_select(const char *name, struct err *e)
{
	/* ChaCha20-Poly1305 is libcrypto's in any case. */
	if (aead_evp.start(e) != 0)
		return -1;
	if ((strcmp(name, "auto") == 0 ? select_auto(e) : select_named(name, e)) != 0)
		return -1;
	selected->describe(description, sizeof(description));
	return 0;
}

const char *aead_description(void)
{
	return description;
}

size_t aead_key_len(enum aead_algorithm alg)
{
	switch (alg) {
	case AEAD_AES_128_GCM:
		return 16;
	case AEAD_AES_256_GCM:
	case AEAD_CHACHA20_POLY1305:
		return 32;
	}
	return 0;
}

void aead_key_init(struct aead_key *k, enum aead_algorithm alg, const uint8_t *key)
{
	static atomic_uint_fast64_t last;

	memset(k, 0, sizeof(*k));
	k->id = atomic_fetch_add_explicit(&last, 1, memory_order_relaxed) + 1;
	k->algorithm = alg;
	memcpy(k->key, key, aead_key_len(alg));
}

struct aead_cache *aead_cache_new(void)
{
	struct aead_cache *c = mem_new_of(struct aead_cache);

	assert(selected != NULL);
	c->gcm = selected;
	return c;
}

static void slot_empty(struct slot *s)
{
	if (s->expanded != NULL)
		s->ops->free(s->expanded);
	*s = (struct slot){ 0 };
}

void aead_cache_free(struct aead_cache *c)
{
	if (c == NULL)
		return;
	for (size_t set = 0; set < CACHE_SETS; set++) {
		for (size_t way = 0; way < CACHE_WAYS; way++)
			slot_empty(&c->slots[set][way]);
	}
	free(c);
}

void aead_cache_forget(struct aead_cache *c, const struct aead_key *k)
{
	struct slot *set = c->slots[k->id % CACHE_SETS];

	for (size_t way = 0; way < CACHE_WAYS; way++) {
		if (set[way].id == k->id)
			slot_empty(&set[way]);
	}
}

/* An empty slot was never used, which makes it the oldest of its set. */
static struct slot *oldest_of(struct slot *set)
{
	struct slot *oldest = &set[0];

	for (size_t way = 1; way < CACHE_WAYS; way++) {
		if (set[way].used < oldest->used)
			oldest = &set[way];
	}
	return oldest;
}

static void slot_fill(struct aead_cache *c, struct slot *s, const struct aead_key *k)
{
	const struct aead_ops *ops = k->algorithm == AEAD_CHACHA20_POLY1305 ? &aead_evp : c->gcm;

	if (s->ops != ops)
		slot_empty(s);
	s->expanded = ops->expand(s->expanded, k);
	s->ops = ops;
	s->id = k->id;
}

static struct slot *slot_of(struct aead_cache *c, const struct aead_key *k)
{
	struct slot *set = c->slots[k->id % CACHE_SETS];
	struct slot *s = NULL;

	if (k->id == 0)
		aead_die("use of a wiped key");
	for (size_t way = 0; way < CACHE_WAYS && s == NULL; way++) {
		if (set[way].id == k->id)
			s = &set[way];
	}
	if (s == NULL) {
		s = oldest_of(set);
		slot_fill(c, s, k);
	}
	s->used = ++c->clock;
	return s;
}

void aead_seal_tail(struct aead_cache *c, const struct aead_key *k, const uint8_t iv[AEAD_IV_LEN], struct bytes aad,
		    struct bytes in, struct bytes tail, uint8_t *out)
{
	struct slot *s = slot_of(c, k);

	s->ops->seal(s->expanded, &(struct aead_message){ .iv = iv, .aad = aad, .in = in, .tail = tail, .out = out });
}

void aead_seal(struct aead_cache *c, const struct aead_key *k, const uint8_t iv[AEAD_IV_LEN], struct bytes aad,
	       const uint8_t *in, size_t len, uint8_t *out)
{
	aead_seal_tail(c, k, iv, aad, bytes_of(in, len), bytes_of(NULL, 0), out);
}

bool aead_open(struct aead_cache *c, const struct aead_key *k, const uint8_t iv[AEAD_IV_LEN], struct bytes aad,
	       const uint8_t *in, size_t len, uint8_t *out)
{
	struct slot *s;

	if (len < AEAD_TAG_LEN)
		return false;
	s = slot_of(c, k);
	if (s->ops->open(s->expanded,
			 &(struct aead_message){ .iv = iv, .aad = aad, .in = bytes_of(in, len), .out = out }))
		return true;
	mem_wipe(out, len - AEAD_TAG_LEN);
	return false;
}
