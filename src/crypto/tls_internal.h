/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tls_internal - what tls.c, which makes handshakes, and tls_records.c, which goes on from there, share.
 *
 * Threads: as tls.h.
 */
#pragma once

#include <openssl/ssl.h>

#include "crypto/libctx.h"
#include "crypto/tls.h"

struct tls_handshake {
	SSL *ssl;
	enum tls_role role;
	struct bytes in;      /* during a call */
	struct buf *out;      /* during a step of the handshake */
	struct writer sealed; /* during a call of tls_records */
	bool over_budget;
	bool catches;
	struct libctx_secrets secrets;
	struct tls_established *records; /* after tls_records_begin() */
};

/* For what is kept after the handshake. */
void tls_records_free(struct tls_established *r);
