/* SPDX-License-Identifier: Apache-2.0 */
/*
 * secure - makes a TCP connection a RATS-TLS one: handshake, then verdict, then open.
 * spec: rats-tls.md 6, 7 and 8.
 *
 * The peer's certificate is judged after both Finished messages, so that the attestation service is asked only
 * about a peer that has proved its key; not one byte of an application passes before the verdict. Bytes that
 * the peer sends early wait, at most one read of them.
 *
 * Threads: the worker.
 */
#pragma once

#include <stdbool.h>

#include "attest/verdict.h"
#include "base/bytes.h"
#include "base/err.h"
#include "crypto/tls.h"
#include "metrics/reason.h"

struct record_stream;
struct secure;
struct secure_side;

/* What a connection turned out to be. */
struct secured {
	enum tls_alpn alpn;
	bool attested; /* a verdict accepted the peer */
	bool from_cache;
	struct verdict verdict; /* when attested */
	struct bytes cert;	/* when attested: DER, borrowed during the call */
	uint8_t cert_sha256[32];
};

struct secure_events {
	/* rs is open. The secure object is gone when this returns. */
	void (*secured)(struct secure_events *self, const struct secured *result);
	/* rs has been told what there is to tell; the owner closes it. */
	void (*failed)(struct secure_events *self, enum reason reason, const struct err *why);
};

/*
 * keeps rs, whose descriptor is connected and whose watch is registered or not yet; and events, until one of the two
 * came or cancel. server_name: SNI, or NULL; borrowed during the call. Never calls back from inside.
 */
struct secure *secure_start(struct secure_side *side, struct record_stream *rs, const char *server_name,
			    struct secure_events *events);
void secure_cancel(struct secure *s);
