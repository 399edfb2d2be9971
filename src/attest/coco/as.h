/* SPDX-License-Identifier: Apache-2.0 */
/*
 * as - asks an attestation service for a token, or for the certificates of its signer.
 *
 * REST or gRPC as configured; the newer layout first, the older one when the answer says that the service
 * does not know the newer. as_headers go with every request, certificates included.
 * spec: attestation.md 3.
 *
 * Threads: all calls and callbacks on the attestation loop.
 */
#pragma once

#include "attest/evidence.h"
#include "config/config.h"
#include "metrics/reason.h"

struct as_call;
struct as_client;
struct loop;

/* keeps conf; its type is AS_RESTFUL or AS_GRPC and addr is set. */
struct as_client *as_client_new(struct loop *l, const struct as_conf *conf, struct err *e);
/* Cancels all calls. Not from inside answered. */
void as_client_free(struct as_client *c);

/* content: the compact JWT, not verified; or PEM text. NULL: failed with reason (AS_*) and why. */
struct as_events {
	void (*answered)(struct as_events *self, const struct bytes *content, enum reason reason,
			 const struct err *why);
};

/*
 * Both keep events, and as_evaluate() keeps ev, until answered or cancel. Nothing is contacted for evidence
 * that cannot be put into a request; its reason is EVIDENCE_INVALID. All of a call, fallback included,
 * takes no longer than conf->timeout_ms.
 */
struct as_call *as_evaluate(struct as_client *c, const struct coco_evidence *ev, struct as_events *events);
struct as_call *as_fetch_certificates(struct as_client *c, struct as_events *events);

/* Before answered. */
void as_call_cancel(struct as_call *call);
