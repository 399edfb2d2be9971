/* SPDX-License-Identifier: Apache-2.0 */
/* key_internal - what certificates need of a key. For src/crypto only. */
#pragma once

#include <openssl/evp.h>

#include "crypto/key.h"

/*
 * takes pkey; NULL with ERR_PEER, and pkey stays the caller's, when it is none of the kinds that we work
 * with: EC on P-256, P-384 or P-521 by name, RSA of 2048 to 8192 bits, Ed25519.
 */
struct key *key_admit(EVP_PKEY *pkey, struct err *e);

/* Borrowed. */
EVP_PKEY *key_pkey(const struct key *k);

/* Bytes of a coordinate; 0 unless EC. */
size_t key_field_len(const struct key *k);
