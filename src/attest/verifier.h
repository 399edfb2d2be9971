/* SPDX-License-Identifier: Apache-2.0 */
/*
 * verifier - a verdict on the certificate of a peer that has proved to hold its key.
 *
 * Verdicts are cached for all workers by SHA-256 of the whole certificate together with everything that the
 * decision rests on (verdict_key.h): the lifetime is the smaller of the token's expiry and verdict_max_age.
 * Refusals are told to those who wait and forgotten. Callers that ask for the same verdict at the same time
 * share one judgement (judge.h), which runs on the attestation loop, never on a worker.
 *
 * Threads: new, start and free on the attestation loop or while it is not running; the rest from any.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "attest/verdict.h"
#include "base/bytes.h"
#include "config/config.h"

struct loop;
struct verifier;
struct verify_call;
struct verdict_cache;

/* keeps conf and cache. Fails for anchors that cannot be read. */
struct verifier *verifier_new(struct loop *loop, const struct verify_conf *conf, enum binding binding,
			      struct verdict_cache *cache, const char *name, struct err *e);
/* Begins to fetch the service's certificates, where they are needed, and retries for ever. */
void verifier_start(struct verifier *v);
/* Nobody is told. Calls that are still open are freed by cancelling them. */
void verifier_free(struct verifier *v);

/* true with an accepted verdict that is still valid. Takes a short lock; makes no call. */
bool verifier_cached(struct verifier *v, const uint8_t cert_sha256[32], struct verdict *out);

/* Embed in the owner. Runs on reply_to's thread, once. */
struct verify_events {
	void (*decided)(struct verify_events *self, const struct verdict *verdict);
};

/*
 * Only for a peer that has proved to hold the certificate's key (its Finished has been checked): who has
 * not must not make us ask the service. Copies cert_der, unless somebody has asked about the same
 * certificate already; keeps events until decided or cancel. How long it takes is bounded by as_timeout,
 * for waiting and for asking each, and by the caller's patience.
 */
struct verify_call *verifier_check(struct verifier *v, struct loop *reply_to, struct bytes cert_der,
				   const uint8_t cert_sha256[32], struct verify_events *events);
/* On reply_to's thread, before decided. The last one who leaves cancels the call to the service. */
void verify_call_cancel(struct verify_call *call);
