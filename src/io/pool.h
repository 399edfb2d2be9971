/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pool - the buffers of one worker.
 *
 * Two scratch buffers serve every read and every seal of the worker; a connection borrows a buffer of its own
 * only while bytes are in flight that its other side did not take. All pools of the process share one
 * budget: who is about to read asks pool_has_room() first, and waits when there is none. So the budget is
 * exceeded by a few buffers for each worker at most, and pool_take() never fails.
 *
 * Threads: a pool belongs to its worker, the budget to all.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"

/* Four full TLS records with their overhead, a partial one in front of them, and room to spare. */
#define POOL_READ_SIZE 65536
#define POOL_BUF_SIZE (POOL_READ_SIZE + 17408)

struct pool_budget {
	size_t limit; /* bytes */
	atomic_size_t used;
};

struct pool_buf {
	struct pool_buf *next; /* free for the borrower's use */
	size_t start;	       /* of what is still wanted */
	size_t end;
	uint8_t data[POOL_BUF_SIZE];
};

/* Told when there is room again. Initialise the link with list_init(). */
struct pool_waiter {
	struct list link;
	void (*room)(struct pool_waiter *self);
};

struct loop;
struct pool;

/* keeps budget. */
struct pool *pool_new(struct loop *loop, struct pool_budget *budget);
void pool_free(struct pool *p);

/* POOL_BUF_SIZE bytes each, for the length of one call. */
uint8_t *pool_cipher_scratch(struct pool *p);
uint8_t *pool_plain_scratch(struct pool *p);

bool pool_has_room(const struct pool *p);

/* An empty buffer (start == end == 0). Give it back. */
struct pool_buf *pool_take(struct pool *p);
void pool_give(struct pool *p, struct pool_buf *b);

/* keeps w; room is called once, from the loop, when a buffer has come back. Cancel with list_remove(). */
void pool_wait(struct pool *p, struct pool_waiter *w);
