/* SPDX-License-Identifier: Apache-2.0 */
/*
 * counters - one block per worker, added up when read.
 *
 * Threads: a block is written by its worker only; reading from elsewhere sees a moment that may be a little old.
 */
#pragma once

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "metrics/reason.h"

struct counters {
	_Alignas(64) atomic_uint_fast64_t flows_total;
	atomic_uint_fast64_t flows_active;
	atomic_uint_fast64_t bytes_to_far;
	atomic_uint_fast64_t bytes_to_near;
	atomic_uint_fast64_t handshakes;   /* that ended well */
	atomic_uint_fast64_t verdict_hits; /* handshakes that a cached verdict served */
	atomic_uint_fast64_t ends[REASON_COUNT];
};

/* By the owner only: no locked instruction. */
static inline void counter_add(atomic_uint_fast64_t *c, uint64_t n)
{
	atomic_store_explicit(c, atomic_load_explicit(c, memory_order_relaxed) + n, memory_order_relaxed);
}

static inline uint64_t counter_read(const atomic_uint_fast64_t *c)
{
	return atomic_load_explicit(c, memory_order_relaxed);
}

struct buf;

/* Appends "flows_total=3 flows_active=1 ... end_done=2", zero ends left out. */
void counters_format(struct counters *const *blocks, size_t count, struct buf *out);
