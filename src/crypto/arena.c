/* SPDX-License-Identifier: Apache-2.0 */
/*
 * arena - free lists by size over a pointer that only goes up.
 *
 * All arenas lie in one reserved range of addresses, each in a slot of its own, so the arena of an
 * object follows from its address. An object has its class in the 8 bytes in front of it, which
 * also say whether it is free: freeing twice ends the process.
 *
 * The thread that is between begin and end frees into the lists. Anyone else, and everybody in
 * between, pushes the object on a stack of its arena's, which is emptied at the next begin.
 *
 *   cold --arena_new--> in use --arena_release--> warm --arena_new--> in use
 *    ^                      |                       |
 *    +-- beyond MOST_WARM --+--- not needed lately -+
 *
 * Cold slots have no memory; they are known by their numbers. An arena in which something outlived
 * its handshake (what libcrypto looked up for the first time, the text of an error) waits in a list
 * of its own until it is empty, and is used again as it is before a cold one is.
 */
#include "crypto/arena.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/mem.h"

#define SLOT_SIZE 262144 /* a handshake with certificates of both sides needs some 100 KiB */
#define STEP_SIZE 16384	 /* what is charged at once */
#define MOST_WARM 128
#define GRAIN	  16
#define MOST_FINE 1024 /* up to here a class for each grain, then eight for each power of two */
#define FINE	  (MOST_FINE / GRAIN)
#define CLASSES	  (FINE + 1 + 8 * 6)

enum state { OBJECT_USED = 0x75736564, OBJECT_FREE = 0x66726565 };

/* In front of what the caller sees: GRAIN/2 bytes; the link is in the caller's part. */
struct object {
	uint32_t class;
	uint32_t state;
	struct object *next;
};

#define HEAD_SIZE offsetof(struct object, next)

struct arena {
	_Atomic(void *) user;		 /* &thread_mark of the thread between begin and end */
	_Atomic(struct object *) others; /* freed by others, or in between */
	size_t used;			 /* of the slot, this struct included */
	size_t charged;
	size_t live;
	struct arena *next; /* in the pool */
	struct object *free[CLASSES];
};

static struct {
	uint8_t *start;
	size_t size;
	struct arena_budget budget;
	pthread_mutex_t lock; /* guards what follows */
	struct arena *warm;
	size_t warm_count;
	size_t not_needed;     /* the least warm_count since arenas_trim() */
	struct arena *partial; /* where something outlived its handshake; after warm, before cold */
	uint32_t *cold;	       /* a stack of slots */
	size_t cold_count;
	size_t fresh; /* slots from here on have never been used */
} pool = {.lock = PTHREAD_MUTEX_INITIALIZER};

static _Thread_local char thread_mark;

static void *reserve(size_t size, int access)
{
	void *p = mmap(NULL, size, access, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

bool arenas_init(size_t count, struct arena_budget budget)
{
	size_t size = (count + 1) * SLOT_SIZE;
	uint8_t *range = reserve(size, PROT_NONE);

	if (range != NULL)
		pool.cold = reserve(count * sizeof(*pool.cold), PROT_READ | PROT_WRITE);
	if (pool.cold == NULL)
		return false;
	madvise(range, size, MADV_NOHUGEPAGE); /* they would never be empty as a whole */
	pool.budget = budget;
	pool.size = count * SLOT_SIZE;
	pool.start = range + (SLOT_SIZE - (uintptr_t)range % SLOT_SIZE) % SLOT_SIZE;
	return true;
}

/* ---- the pool ---- */

static struct arena *arena_in(size_t slot)
{
	return (struct arena *)(void *)(pool.start + slot * SLOT_SIZE);
}

static void reset(struct arena *a)
{
	memset(a->free, 0, sizeof(a->free));
	a->used = (sizeof(*a) + GRAIN - 1) / GRAIN * GRAIN + GRAIN - HEAD_SIZE;
}

static struct arena *take_warm(void)
{
	struct arena *a = pool.warm;

	if (a == NULL)
		return NULL;
	pool.warm = a->next;
	pool.warm_count--;
	pool.not_needed = MIN(pool.not_needed, pool.warm_count);
	return a;
}

static struct arena *take_partial(void)
{
	struct arena *a = pool.partial;

	if (a != NULL)
		pool.partial = a->next;
	return a;
}

static struct arena *take_cold(void)
{
	struct arena *a;

	if (pool.cold_count > 0) {
		a = arena_in(pool.cold[--pool.cold_count]);
	} else if (pool.fresh < pool.size / SLOT_SIZE) {
		a = arena_in(pool.fresh);
		if (mprotect(a, SLOT_SIZE, PROT_READ | PROT_WRITE) < 0)
			return NULL;
		pool.fresh++;
	} else {
		return NULL;
	}
	reset(a);
	return a;
}

struct arena *arena_new(void)
{
	struct arena *a;

	pthread_mutex_lock(&pool.lock);
	a = take_warm();
	if (a == NULL)
		a = take_partial();
	if (a == NULL)
		a = take_cold();
	pthread_mutex_unlock(&pool.lock);
	return a;
}

static void put_warm(struct arena *a)
{
	a->next = pool.warm;
	pool.warm = a;
	pool.warm_count++;
}

static void put_partial(struct arena *a)
{
	a->next = pool.partial;
	pool.partial = a;
}

/* Only where nothing lives. What is read from it next time is zero. */
static void put_cold(struct arena *a)
{
	madvise(a, SLOT_SIZE, MADV_DONTNEED);
	pool.cold[pool.cold_count++] = (uint32_t)(((uint8_t *)a - pool.start) / SLOT_SIZE);
}

static void take_back(struct arena *a)
{
	struct object *o = atomic_exchange_explicit(&a->others, NULL, memory_order_acquire), *next;

	for (; o != NULL; o = next) {
		next = o->next;
		o->next = a->free[o->class];
		a->free[o->class] = o;
		a->live--;
	}
	if (a->live == 0)
		reset(a);
}

void arena_release(struct arena *a)
{
	if (a == NULL)
		return;
	take_back(a);
	pool.budget.give(a->charged);
	a->charged = 0;
	pthread_mutex_lock(&pool.lock);
	if (a->live > 0)
		put_partial(a);
	else if (pool.warm_count < MOST_WARM)
		put_warm(a);
	else
		put_cold(a);
	pthread_mutex_unlock(&pool.lock);
}

/* The last ones are those that were not needed for longest. */
static struct arena *cut_behind(size_t count)
{
	struct arena **at = &pool.warm, *rest;

	for (; count > 0; count--)
		at = &(*at)->next;
	rest = *at;
	*at = NULL;
	return rest;
}

static void cool(struct arena *a)
{
	struct arena *next;

	for (; a != NULL; a = next) {
		next = a->next;
		put_cold(a);
	}
}

static void look_at_partial(void)
{
	struct arena *a = pool.partial, *next;

	pool.partial = NULL;
	for (; a != NULL; a = next) {
		next = a->next;
		take_back(a);
		if (a->live > 0)
			put_partial(a);
		else
			put_cold(a);
	}
}

void arenas_trim(void)
{
	pthread_mutex_lock(&pool.lock);
	cool(cut_behind(pool.warm_count - pool.not_needed));
	pool.warm_count -= pool.not_needed;
	pool.not_needed = pool.warm_count;
	look_at_partial();
	pthread_mutex_unlock(&pool.lock);
}

/* ---- objects ---- */

static unsigned class_of(size_t total)
{
	unsigned log, eighth;

	if (total <= MOST_FINE)
		return (unsigned)(total / GRAIN);
	log = 63u - (unsigned)__builtin_clzl(total - 1); /* 10: up to 2048 */
	eighth = (unsigned)((total - 1) >> (log - 3)) & 7u;
	return FINE + 1 + 8 * (log - 10) + eighth;
}

static size_t class_size(unsigned class)
{
	unsigned log, eighth;

	if (class <= FINE)
		return (size_t) class * GRAIN;
	log = 10 + (class - FINE - 1) / 8;
	eighth = (class - FINE - 1) % 8;
	return (size_t)(9 + eighth) << (log - 3);
}

static bool charge_up_to(struct arena *a, size_t used)
{
	while (a->charged < used) {
		if (!pool.budget.take(STEP_SIZE))
			return false;
		a->charged += STEP_SIZE;
	}
	return true;
}

static struct object *carve(struct arena *a, unsigned class)
{
	size_t size = class_size(class);
	struct object *o = (struct object *)(void *)((uint8_t *)a + a->used);

	if (SLOT_SIZE - a->used < size || !charge_up_to(a, a->used + size))
		return NULL;
	a->used += size;
	o->class = class;
	return o;
}

/* What wrote over the head of an object, or freed it twice, must not get further. */
static void check(const struct object *o, enum state state)
{
	if (o->state == state && o->class < CLASSES)
		return;
	fputs("arena: freed twice, or overwritten\n", stderr);
	abort();
}

void *arena_alloc(struct arena *a, size_t size)
{
	size_t total = (size + HEAD_SIZE + GRAIN - 1) / GRAIN * GRAIN;
	struct object *o;
	unsigned class;

	if (size > ARENA_MOST_OBJECT)
		return NULL;
	class = class_of(total);
	o = a->free[class];
	if (o != NULL) {
		check(o, OBJECT_FREE);
		a->free[class] = o->next;
	} else {
		o = carve(a, class);
	}
	if (o == NULL)
		return NULL;
	o->state = OBJECT_USED;
	a->live++;
	return &o->next;
}

static struct object *object_of(const void *p)
{
	return (struct object *)(uintptr_t)((const uint8_t *)p - HEAD_SIZE);
}

bool arena_has(const void *p)
{
	return (uintptr_t)p - (uintptr_t)pool.start < pool.size;
}

size_t arena_object_size(const void *p)
{
	return class_size(object_of(p)->class) - HEAD_SIZE;
}

static void push_for_later(struct arena *a, struct object *o)
{
	struct object *first = atomic_load_explicit(&a->others, memory_order_relaxed);

	do {
		o->next = first;
	} while (!atomic_compare_exchange_weak_explicit(&a->others, &first, o, memory_order_release,
							memory_order_relaxed));
}

void arena_free(void *p)
{
	struct object *o = object_of(p);
	struct arena *a = (struct arena *)((uintptr_t)p & ~(uintptr_t)(SLOT_SIZE - 1));

	check(o, OBJECT_USED);
	o->state = OBJECT_FREE;
	if (atomic_load_explicit(&a->user, memory_order_relaxed) != &thread_mark) {
		push_for_later(a, o);
		return;
	}
	o->next = a->free[o->class];
	a->free[o->class] = o;
	a->live--;
}

void arena_begin(struct arena *a)
{
	if (a == NULL)
		return;
	atomic_store_explicit(&a->user, &thread_mark, memory_order_relaxed);
	if (atomic_load_explicit(&a->others, memory_order_relaxed) != NULL)
		take_back(a);
	charge_up_to(a, a->used);
}

void arena_end(struct arena *a)
{
	if (a != NULL)
		atomic_store_explicit(&a->user, NULL, memory_order_relaxed);
}
