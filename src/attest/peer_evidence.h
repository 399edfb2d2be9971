/* SPDX-License-Identifier: Apache-2.0 */
/*
 * peer_evidence - what a peer's certificate holds, and all that can be refused without asking anybody.
 * spec: rats-tls.md 7.2, steps 1 to 7.
 *
 * Threads: any; pure functions.
 */
#pragma once

#include "attest/evidence.h"
#include "metrics/reason.h"

struct peer_evidence {
	struct buf spki;
	struct buf claims_buffer;
	struct coco_evidence evidence; /* MODEL_BACKGROUND_CHECK */
	struct buf token;	       /* MODEL_PASSPORT */
};

/*
 * The certificate must be signed with its own key, hold what the model wants, and evidence must be bound
 * to that key: the service is never asked about evidence of another. A token is not looked at.
 */
int peer_evidence_read(struct bytes cert_der, enum ra_model model, enum binding binding, struct peer_evidence *out,
		       enum reason *reason, struct err *e) MUST_CHECK;
void peer_evidence_release(struct peer_evidence *p);
