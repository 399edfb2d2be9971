/* SPDX-License-Identifier: Apache-2.0 */
/*
 * slab - chunks of SLAB_CHUNK bytes, aligned to their size, so that an object finds its chunk by its address.
 *
 * Chunks with a free place are in one list, the fullest ones are not. An empty chunk is unmapped unless it
 * is the only one with room, which spares a flow that comes and goes the two system calls.
 */
#include "base/slab.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "base/mem.h"

#define SLAB_CHUNK 65536u
#define SLAB_ALIGN 16u

struct slab {
	size_t size;
	size_t per_chunk;
	size_t count;
	struct list with_room;
	struct list full;
};

struct place {
	struct place *next;
};

struct chunk {
	struct list link;
	struct place *free;
	size_t used;
	size_t fresh; /* places from here on were never taken: their pages are untouched */
	_Alignas(16) uint8_t objects[];
};

struct slab *slab_new(size_t object_size)
{
	struct slab *s = mem_new_of(struct slab);

	s->size = (MAX(object_size, sizeof(struct place)) + SLAB_ALIGN - 1) / SLAB_ALIGN * SLAB_ALIGN;
	s->per_chunk = (SLAB_CHUNK - sizeof(struct chunk)) / s->size;
	list_init(&s->with_room);
	list_init(&s->full);
	return s;
}

void slab_free(struct slab *s)
{
	struct list *link;

	if (s == NULL)
		return;
	while ((link = list_pop(&s->with_room)) != NULL)
		free(container_of(link, struct chunk, link));
	free(s);
}

static struct chunk *chunk_with_room(struct slab *s)
{
	struct chunk *c;

	if (!list_is_empty(&s->with_room))
		return container_of(s->with_room.next, struct chunk, link);
	c = aligned_alloc(SLAB_CHUNK, SLAB_CHUNK);
	if (c == NULL)
		abort();
	c->free = NULL;
	c->used = 0;
	c->fresh = 0;
	list_init(&c->link);
	list_append(&s->with_room, &c->link);
	return c;
}

void *slab_take(struct slab *s)
{
	struct chunk *c = chunk_with_room(s);
	void *object = c->free;

	if (object != NULL)
		c->free = c->free->next;
	else
		object = c->objects + s->size * c->fresh++;
	if (++c->used == s->per_chunk) {
		list_remove(&c->link);
		list_append(&s->full, &c->link);
	}
	s->count++;
	return memset(object, 0, s->size);
}

void slab_give(struct slab *s, void *object)
{
	struct chunk *c = (struct chunk *)((uintptr_t)object & ~(uintptr_t)(SLAB_CHUNK - 1));
	struct place *p = object;

	p->next = c->free;
	c->free = p;
	s->count--;
	if (c->used-- == s->per_chunk) {
		list_remove(&c->link);
		list_append(&s->with_room, &c->link);
	}
	if (c->used == 0 && s->with_room.next->next != &s->with_room) {
		list_remove(&c->link);
		free(c);
	}
}

size_t slab_count(const struct slab *s)
{
	return s->count;
}
