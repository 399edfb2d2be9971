/* SPDX-License-Identifier: Apache-2.0 */
/*
 * worker - what one thread of the data path owns. Filled in by the gateway; others get a pointer.
 *
 * Threads: everything in it belongs to the worker's thread.
 */
#pragma once

struct aead_cache;
struct counters;
struct libctx;
struct loop;
struct pool;
struct resolver;

struct worker {
	unsigned index;
	struct loop *loop;
	struct pool *pool;
	struct resolver *resolver; /* shared by all; answers on this worker's loop */
	struct aead_cache *aead;
	struct libctx *libctx;
	struct counters *counters;
};
