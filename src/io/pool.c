/* SPDX-License-Identifier: Apache-2.0 */
/* pool - a free list over a shared budget. */
#include "io/pool.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/mem.h"

#define FREE_BUFFERS 16 /* of each size are kept for the next borrower; they count as unused */

static const size_t sizes[] = { POOL_PIECE_SIZE, POOL_RECORD_SIZE, POOL_BUF_SIZE };
#define SIZES ARRAY_SIZE(sizes)

struct pool {
	struct pool_budget *budget;
	struct pool_buf *free[SIZES];
	unsigned free_count[SIZES];
	uint8_t *cipher;
	uint8_t *plain;
};

/* Scratch is mapped, not allocated, so that pages which nothing touches cost nothing. */
static uint8_t *map_scratch(void)
{
	void *p = mmap(NULL, POOL_BUF_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? mem_new(POOL_BUF_SIZE) : p;
}

struct pool *pool_new(struct pool_budget *budget)
{
	struct pool *p = mem_new_of(struct pool);

	p->budget = budget;
	p->cipher = map_scratch();
	p->plain = map_scratch();
	return p;
}

void pool_free(struct pool *p)
{
	if (p == NULL)
		return;
	for (size_t i = 0; i < SIZES; i++) {
		while (p->free[i] != NULL) {
			struct pool_buf *b = p->free[i];

			p->free[i] = b->next;
			free(b);
		}
	}
	munmap(p->cipher, POOL_BUF_SIZE);
	munmap(p->plain, POOL_BUF_SIZE);
	free(p);
}

uint8_t *pool_cipher_scratch(struct pool *p)
{
	return p->cipher;
}

uint8_t *pool_plain_scratch(struct pool *p)
{
	return p->plain;
}

static size_t used(const struct pool *p)
{
	return atomic_load_explicit(&p->budget->used, memory_order_relaxed);
}

size_t pool_read_size(const struct pool *p, size_t most, size_t piece)
{
	return pool_has_room(p) ? most : piece;
}

bool pool_has_room(const struct pool *p)
{
	return used(p) < p->budget->limit / 2;
}

static size_t size_index(size_t size)
{
	size_t i = 0;

	assert(size <= POOL_BUF_SIZE);
	while (sizes[i] < size)
		i++;
	return i;
}

struct pool_buf *pool_take(struct pool *p, size_t size)
{
	size_t i = size_index(size);
	struct pool_buf *b = p->free[i];

	atomic_fetch_add_explicit(&p->budget->used, sizeof(*b) + sizes[i], memory_order_relaxed);
	if (b != NULL) {
		p->free[i] = b->next;
		p->free_count[i]--;
	} else {
		/* Not zeroed: its pages are touched as far as they are filled. */
		b = mem_resize(NULL, sizeof(*b) + sizes[i]);
		b->size = sizes[i];
	}
	b->next = NULL;
	b->start = 0;
	b->end = 0;
	return b;
}

void pool_give(struct pool *p, struct pool_buf *b)
{
	size_t i = size_index(b->size);

	atomic_fetch_sub_explicit(&p->budget->used, sizeof(*b) + b->size, memory_order_relaxed);
	if (p->free_count[i] < FREE_BUFFERS) {
		b->next = p->free[i];
		p->free[i] = b;
		p->free_count[i]++;
	} else {
		free(b);
	}
}

void pool_keep_rest(struct pool *p, struct pool_buf **kept, struct bytes *view, size_t len)
{
	struct pool_buf *b = *kept;
	struct bytes rest;

	if (b != NULL) {
		b->start += len;
		if (b->start == b->end) {
			pool_give(p, b);
			*kept = NULL;
		}
		return;
	}
	rest = bytes_of(view->data + len, view->len - len);
	*view = (struct bytes){ NULL, 0 };
	if (rest.len == 0)
		return;
	b = pool_take(p, rest.len);
	memcpy(b->data, rest.data, rest.len);
	b->end = rest.len;
	*kept = b;
}
