/* SPDX-License-Identifier: Apache-2.0 */
/*
 * aead_internal - what an implementation of the ciphers gives to aead.c.
 *
 * Threads: start() and describe() before workers exist; the rest on the thread that owns the
 * expanded key.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"
#include "crypto/aead.h"

/* One message. in is plaintext to seal, or ciphertext and tag to open. */
struct aead_message {
	const uint8_t *iv;
	struct bytes aad;
	struct bytes in;
	struct bytes tail; /* plaintext behind in; empty to open */
	uint8_t *out;
};

struct aead_ops {
	const char *name;

	/* Finds out whether this build and CPU have it. May be called again. */
	int (*start)(struct err *e) MUST_CHECK;
	void (*describe)(char *out, size_t size);

	/* gives an expanded key, free() releases it; old is NULL or one that may be used again. */
	void *(*expand)(void *old, const struct aead_key *k);
	void (*free)(void *expanded); /* wipes; not NULL */

	void (*seal)(void *expanded, const struct aead_message *m);
	bool (*open)(void *expanded, const struct aead_message *m); /* false: out may hold anything */
};

extern const struct aead_ops aead_evp;
extern const struct aead_ops aead_ipsec_mb;

/*
 * Ends the process: a cipher that fails for another reason than a wrong tag leaves nothing that
 * could be sent, and nothing that a peer does leads here.
 */
_Noreturn void aead_die(const char *what);
