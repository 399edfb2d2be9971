/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pool - the buffers of one worker.
 *
 * Two scratch buffers serve every read and every seal of the worker; a connection borrows a buffer of its own
 * only while bytes are in flight that its other side did not take. All pools of the process share one
 * budget. While less than half of it is used, everybody reads as much as there is; beyond that, a piece at a
 * time (pool_read_size()), so that those who stall keep little. Nobody is ever stopped from reading: a few
 * hundred stalled readers must not hold back the others, and an end that nobody reads would never be
 * noticed. So the budget is exceeded by at most one small buffer in each direction of a connection.
 *
 * Threads: a pool belongs to its worker, the budget to all.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"

/*
 * Bytes travel by four TLS records, so that nothing is left over at either end: what is read at once from a plain
 * socket makes, with the head of an HTTP/2 frame in front of it, just as much as is sealed at once; that is, with
 * its overhead, what is read at once from a tunnel, and opened at once. It is also what the kernel carries at once
 * where packets are as large as they can be: a few bytes more would travel as a packet of their own.
 */
#define POOL_WIRE_SIZE 65483 /* IPv4's 65535, less heads with time stamps */
#define POOL_SEAL_SIZE (POOL_WIRE_SIZE - 4 * 22)
#define POOL_READ_SIZE (POOL_SEAL_SIZE - 9)
#define POOL_RECORD_SIZE 17408 /* one TLS record and what we may have to say ourselves */
#define POOL_PIECE_SIZE 4608   /* what is read at a time from a plain socket when the budget is short */
#define POOL_BUF_SIZE (POOL_SEAL_SIZE + POOL_RECORD_SIZE) /* a partial record may stand in front */

struct pool_budget {
	size_t limit; /* bytes */
	atomic_size_t used;
};

struct pool_buf {
	struct pool_buf *next; /* free for the borrower's use */
	size_t start;	       /* of what is still wanted */
	size_t end;
	size_t size; /* of data */
	uint8_t data[];
};

struct pool;

/* keeps budget. */
struct pool *pool_new(struct pool_budget *budget);
void pool_free(struct pool *p);

/* POOL_BUF_SIZE bytes each, for the length of one call. */
uint8_t *pool_cipher_scratch(struct pool *p);
uint8_t *pool_plain_scratch(struct pool *p);

/* How much to read at once: most, or piece when the budget is short. */
size_t pool_read_size(const struct pool *p, size_t most, size_t piece);

/* Less than half of the budget is used. */
bool pool_has_room(const struct pool *p);

/* An empty buffer (start == end == 0) for at least size bytes, POOL_BUF_SIZE at most. Give it back. */
struct pool_buf *pool_take(struct pool *p, size_t size);
void pool_give(struct pool *p, struct pool_buf *b);

/*
 * len bytes of what a stream showed have been used: of *kept, which goes back when it is empty, or of *view, whose rest
 * moves into *kept. *view is empty afterwards.
 */
void pool_keep_rest(struct pool *p, struct pool_buf **kept, struct bytes *view, size_t len);
