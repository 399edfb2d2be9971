/* SPDX-License-Identifier: Apache-2.0 */
/*
 * judge - comes to a verdict on a certificate: local checks, the attestation service where the model asks for it,
 * the token.
 *
 * Each call is judged for itself: whom else a verdict may serve, and for how long it is remembered, is the
 * verifier's business. The service has only a few requests from us at a time; the rest wait their turn.
 *
 * Threads: the attestation loop; new, start, basis and free also while it is not running.
 */
#pragma once

#include "attest/verdict.h"
#include "base/bytes.h"
#include "config/config.h"

struct judge;
struct judge_call;
struct loop;

struct basis_events {
	/* judge_basis() has changed. Calls that wait for just that are decided after it. */
	void (*changed)(struct basis_events *self);
};

/* keeps conf and events. name: of the entry. Fails for anchors that cannot be read. */
struct judge *judge_new(struct loop *loop, const struct verify_conf *conf, enum binding binding, const char *name,
			struct basis_events *events, struct err *e);
/* Begins to fetch the service's certificates, where they are needed, and retries for ever. */
void judge_start(struct judge *j);
/* All calls have been decided or cancelled. */
void judge_free(struct judge *j);

/* A hash of all that decisions rest on at the moment, beside the certificate. */
void judge_basis(const struct judge *j, uint8_t sha256[32]);

/* Embed in the owner. */
struct judge_events {
	/* The call is gone. Not a place to free the judge in. */
	void (*decided)(struct judge_events *self, const struct verdict *verdict);
};

/*
 * takes the content of cert_der, which is empty afterwards; keeps events until decided or cancel. How long it takes is
 * bounded by as_timeout, for waiting and for asking each.
 */
struct judge_call *judge_decide(struct judge *j, struct buf *cert_der, struct judge_events *events);
/* Before decided. */
void judge_call_cancel(struct judge_call *call);
