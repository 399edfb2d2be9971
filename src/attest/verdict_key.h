/* SPDX-License-Identifier: Apache-2.0 */
/*
 * verdict_key - by what a verdict is found again: the peer's certificate, and all that a decision rests on.
 *
 * Threads: any; pure functions.
 */
#pragma once

#include "attest/token.h"

#define VERDICT_KEY_LEN 32

struct verdict_basis {
	const char *name; /* of the entry, so that none profits from another */
	const struct verify_conf *conf;
	enum binding binding;
	enum token_trust trust;
	const struct cert_list *anchors; /* NULL: there are none */
};

/* SHA-256 of all of it. */
void verdict_basis_hash(const struct verdict_basis *basis, uint8_t sha256[32]);

void verdict_key_make(const uint8_t basis_sha256[32], const uint8_t cert_sha256[32], uint8_t key[VERDICT_KEY_LEN]);
