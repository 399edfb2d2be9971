/* SPDX-License-Identifier: Apache-2.0 */
/*
 * verdict_cache - accepted verdicts by a hash of all that they rest on. See verifier.h.
 *
 * The oldest entry makes room for a new one; one that has expired is forgotten when it is asked for.
 *
 * Threads: any; a lock inside, held for a few instructions.
 */
#pragma once

#include "attest/verifier.h"

#define VERDICT_KEY_LEN 32

/* true and a copy if there is one that is valid at now_ms. */
bool verdict_cache_get(struct verdict_cache *c, const uint8_t key[VERDICT_KEY_LEN], uint64_t now_ms,
		       struct verdict *out);

/* Keeps a copy of an accepted verdict; nothing is done for any other, or for one that has expired. */
void verdict_cache_put(struct verdict_cache *c, const uint8_t key[VERDICT_KEY_LEN], const struct verdict *verdict,
		       uint64_t now_ms);
