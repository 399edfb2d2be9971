/* SPDX-License-Identifier: Apache-2.0 */
/*
 * jws - makes signed tokens: RFC 7515, compact form.
 *
 * Threads: any; pure functions.
 */
#pragma once

#include "base/bytes.h"
#include "base/err.h"
#include "crypto/key.h"

/* Appends "<header>.<payload>.<signature>". header and payload are JSON text; alg as in key_jws_sign(). */
int jwt_sign(struct bytes header, struct bytes payload, const struct key *key, const char *alg, struct buf *out,
	     struct err *e) MUST_CHECK;
