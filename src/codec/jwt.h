/* SPDX-License-Identifier: Apache-2.0 */
/*
 * jwt - takes a signed token apart: RFC 7515, compact form. Whether to believe it is attest/token.h;
 * making one is crypto/jws.h.
 *
 * Threads: any; pure functions.
 */
#pragma once

#include "base/bytes.h"
#include "base/err.h"

#define JWT_MAX_SIZE (1u << 20)	    /* bytes of the whole text */
#define JWT_MAX_HEADER (128u << 10) /* bytes of the decoded header: it is parsed before the signature is known */

struct jwt {
	struct bytes signed_text; /* borrowed from the text: header and payload as they were signed */
	struct buf header;	  /* JSON text, not yet parsed */
	struct buf payload;
	struct buf signature;
};

/* Exactly three parts in strict base64url. ERR_LIMIT when it is too large, else ERR_PEER; out is empty then. */
int jwt_split(struct bytes text, struct jwt *out, struct err *e) MUST_CHECK;
void jwt_release(struct jwt *j);
