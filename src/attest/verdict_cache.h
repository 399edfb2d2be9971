/* SPDX-License-Identifier: Apache-2.0 */
/*
 * verdict_cache - accepted verdicts by a hash of all that they rest on (verdict_key.h).
 *
 * The oldest entry makes room for a new one; one that has expired is forgotten when it is asked for.
 *
 * Threads: any; a lock inside, held for a few instructions.
 */
#pragma once

#include <stddef.h>

#include "attest/verdict.h"
#include "attest/verdict_key.h"

struct verdict_cache;

/* Bounded, shared by all verifiers of the process. */
struct verdict_cache *verdict_cache_new(size_t entries);
void verdict_cache_free(struct verdict_cache *c);

/* true and a copy if there is one that is valid at now_ms. */
bool verdict_cache_get(struct verdict_cache *c, const uint8_t key[VERDICT_KEY_LEN], uint64_t now_ms,
		       struct verdict *out);

/* Keeps a copy of an accepted verdict; nothing is done for any other, or for one that has expired. */
void verdict_cache_put(struct verdict_cache *c, const uint8_t key[VERDICT_KEY_LEN], const struct verdict *verdict,
		       uint64_t now_ms);
