/* SPDX-License-Identifier: Apache-2.0 */
/*
 * slab - objects of one size, packed into pages that go back to the system when they are empty.
 *
 * Threads: a slab belongs to one thread.
 */
#pragma once

#include <stddef.h>

struct slab;

struct slab *slab_new(size_t object_size);

/* Every object must have been given back. */
void slab_free(struct slab *s);

/* A zeroed object. */
void *slab_take(struct slab *s);
void slab_give(struct slab *s, void *object);
size_t slab_count(const struct slab *s);
