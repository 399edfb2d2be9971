/* SPDX-License-Identifier: Apache-2.0 */
/*
 * verdict_cache - a hash table whose entries also stand in the order in which they came.
 *
 * Keys are SHA-256 values, so any eight of their bytes are a hash.
 */
#include "attest/verdict_cache.h"

#include "base/list.h"

#include <pthread.h>
#include <stdlib.h>

struct entry {
	struct list chain; /* of its bucket */
	struct list age;   /* oldest first */
	uint8_t key[VERDICT_KEY_LEN];
	uint64_t expires_ms;
	char tee[32];
	char policy[96];
};

struct verdict_cache {
	pthread_mutex_t lock; /* guards all below */
	struct list *buckets;
	size_t bucket_count; /* a power of two */
	struct list ages;
	size_t count;
	size_t max;
};

_Static_assert(sizeof(((struct entry *)0)->tee) == sizeof(((struct verdict *)0)->tee), "tee");
_Static_assert(sizeof(((struct entry *)0)->policy) == sizeof(((struct verdict *)0)->policy), "policy");

static struct list *bucket_of(struct verdict_cache *c, const uint8_t key[VERDICT_KEY_LEN])
{
	uint64_t hash;

	memcpy(&hash, key, sizeof(hash));
	return &c->buckets[hash & (c->bucket_count - 1)];
}

static void entry_free(struct verdict_cache *c, struct entry *entry)
{
	list_remove(&entry->chain);
	list_remove(&entry->age);
	c->count--;
	free(entry);
}

static struct entry *find(struct verdict_cache *c, const uint8_t key[VERDICT_KEY_LEN])
{
	LIST_EACH (l, bucket_of(c, key)) {
		struct entry *entry = container_of(l, struct entry, chain);

		if (memcmp(entry->key, key, VERDICT_KEY_LEN) == 0)
			return entry;
	}
	return NULL;
}

struct verdict_cache *verdict_cache_new(size_t entries)
{
	struct verdict_cache *c = mem_new_of(struct verdict_cache);

	pthread_mutex_init(&c->lock, NULL);
	list_init(&c->ages);
	c->max = entries;
	c->bucket_count = 1;
	while (c->bucket_count < entries)
		c->bucket_count *= 2;
	c->buckets = mem_new_array(c->bucket_count, sizeof(*c->buckets));
	for (size_t i = 0; i < c->bucket_count; i++)
		list_init(&c->buckets[i]);
	return c;
}

void verdict_cache_free(struct verdict_cache *c)
{
	if (c == NULL)
		return;
	while (!list_is_empty(&c->ages))
		entry_free(c, container_of(c->ages.next, struct entry, age));
	pthread_mutex_destroy(&c->lock);
	free(c->buckets);
	free(c);
}

bool verdict_cache_get(struct verdict_cache *c, const uint8_t key[VERDICT_KEY_LEN], uint64_t now_ms,
		       struct verdict *out)
{
	struct entry *entry;
	bool found = false;

	pthread_mutex_lock(&c->lock);
	entry = find(c, key);
	if (entry != NULL && entry->expires_ms <= now_ms) {
		entry_free(c, entry);
		entry = NULL;
	}
	if (entry != NULL) {
		*out = (struct verdict){ .accepted = true, .expires_ms = entry->expires_ms };
		memcpy(out->tee, entry->tee, sizeof(out->tee));
		memcpy(out->policy, entry->policy, sizeof(out->policy));
		found = true;
	}
	pthread_mutex_unlock(&c->lock);
	return found;
}

void verdict_cache_put(struct verdict_cache *c, const uint8_t key[VERDICT_KEY_LEN], const struct verdict *verdict,
		       uint64_t now_ms)
{
	struct entry *entry;

	if (!verdict->accepted || verdict->expires_ms <= now_ms || c->max == 0)
		return;
	pthread_mutex_lock(&c->lock);
	entry = find(c, key);
	if (entry != NULL)
		entry_free(c, entry);
	if (c->count == c->max)
		entry_free(c, container_of(c->ages.next, struct entry, age));
	entry = mem_new_of(struct entry);
	memcpy(entry->key, key, VERDICT_KEY_LEN);
	entry->expires_ms = verdict->expires_ms;
	memcpy(entry->tee, verdict->tee, sizeof(entry->tee));
	memcpy(entry->policy, verdict->policy, sizeof(entry->policy));
	list_append(bucket_of(c, key), &entry->chain);
	list_append(&c->ages, &entry->age);
	c->count++;
	pthread_mutex_unlock(&c->lock);
}
