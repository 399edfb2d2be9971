/* SPDX-License-Identifier: Apache-2.0 */
/*
 * peer_verdict - what a multiplexed session believes of its peer, and for how long.
 *
 * A session outlives its verdict. Before it carries another stream the verdict must hold, or the certificate of the
 * session is judged again. spec: rats-tls.md 9.2.
 *
 * Threads: the worker.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "attest/verdict.h"
#include "attest/verifier.h"
#include "base/bytes.h"

struct loop;
struct secured;

struct peer_verdict {
	bool attested; /* for anybody to read, as tee */
	char tee[32];
	struct verifier *verifier; /* NULL: the peer is not judged */
	struct buf cert;	   /* DER */
	uint8_t cert_sha256[32];
	uint64_t expires_ms; /* monotonic */
	struct verify_call *renewal;
};

/* Takes what the handshake has found out. keeps verifier. */
void peer_verdict_init(struct peer_verdict *p, struct verifier *verifier, const struct secured *result);
/* Cancels a renewal. All zero is fine as well. */
void peer_verdict_release(struct peer_verdict *p);

/* The verdict has not run out, or somebody else's judgement of the same certificate has renewed it. */
bool peer_verdict_holds(struct peer_verdict *p);

/* Asks again, on loop; events come once, unless it is cancelled. Not while it is asking already. */
void peer_verdict_renew(struct peer_verdict *p, struct loop *loop, struct verify_events *events);
bool peer_verdict_is_renewing(const struct peer_verdict *p);
void peer_verdict_cancel(struct peer_verdict *p);

/* The first thing that events do. true: the peer is accepted. */
bool peer_verdict_decided(struct peer_verdict *p, const struct verdict *v);
