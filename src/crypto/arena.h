/* SPDX-License-Identifier: Apache-2.0 */
/*
 * arena - one handshake's many short-lived objects, in one piece of memory.
 *
 * Objects of an arena are re-used within it, by size. When the handshake is over the arena goes
 * back to a pool whole, so what it leaves behind is never a heap full of holes. The pool keeps
 * those warm that the next handshakes will need, and gives the memory of the others back to the
 * kernel. An object may outlive its handshake: its arena is then used with that object in it.
 *
 * Threads: an arena belongs to one thread between begin and end; arena_free() any thread, any time.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct arena;

#define ARENA_MOST_OBJECT 32768 /* bytes; larger ones are not for an arena */

/* What arenas take is charged in steps, and given back on release, whatever outlives the handshake. */
struct arena_budget {
	bool (*take)(size_t size);
	void (*give)(size_t size);
};

/* Once, before all others. count: how many there can be at the same time. false: no address space.
 */
bool arenas_init(size_t count, struct arena_budget budget);

/* NULL: all are in use, or there are none. */
struct arena *arena_new(void);

/* What still lives in it goes on living. NULL: nothing. */
void arena_release(struct arena *a);

/* Around arena_alloc(): this thread uses a. */
void arena_begin(struct arena *a);
void arena_end(struct arena *a);

/* NULL: too large, the arena is full, or the budget is. 16 bytes aligned. */
void *arena_alloc(struct arena *a, size_t size);

/* Whether p came from arena_alloc(), of any arena. */
bool arena_has(const void *p);
void arena_free(void *p);

/* At least what was asked for. */
size_t arena_object_size(const void *p);

/* From time to time: gives back to the kernel what has not been needed since the last call. */
void arenas_trim(void);
