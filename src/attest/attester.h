/* SPDX-License-Identifier: Apache-2.0 */
/*
 * attester - gets evidence for a fresh key and keeps a certificate with it ready.
 *
 * One for each entry with `attest`. It lives on the attestation loop, where all its calls to agents and
 * services run side by side. With refresh_interval N > 0 it keeps one current identity, makes the next one
 * at min(N, time to expiry), keeps the old one until it expires when that fails, and retries for ever with
 * pauses of at most 10 s. With N == 0 every handshake asks with attester_collect().
 * spec: attestation.md 5.4, rats-tls.md 5.
 *
 * Threads: new, start and free on the attestation loop or while it is not running; the rest from any.
 */
#pragma once

#include <stdbool.h>

#include "attest/identity.h"
#include "config/config.h"
#include "metrics/reason.h"

struct attester;
struct loop;

/* keeps conf; name ("add_egress[0]") is for logs. The loop is the attestation loop. */
struct attester *attester_new(struct loop *loop, const struct attest_conf *conf, enum binding binding, const char *name,
			      struct err *e);
/* Begins to collect at once; never fails because an agent is absent. */
void attester_start(struct attester *a);
/* No callback afterwards. Calls that are still open are freed by cancelling them. */
void attester_free(struct attester *a);

/* gives the current identity (identity_unref), or NULL while there is none that has not expired. */
struct identity *attester_current(struct attester *a);

/* refresh_interval is 0: attester_current() is always NULL. */
bool attester_is_per_handshake(const struct attester *a);

struct attester_call;

/* Embed in the owner. id is given, NULL when it failed with reason and why. Runs on reply_to's thread. */
struct attester_events {
	void (*collected)(struct attester_events *self, struct identity *id, enum reason reason, const struct err *why);
};

/*
 * keeps events until collected or cancel; reply_to is the caller's own loop. Fails within aa_timeout for
 * each of three calls to the agent, and as_timeout in the model passport; at once when the agent is absent.
 */
struct attester_call *attester_collect(struct attester *a, struct loop *reply_to, struct attester_events *events);
/* On reply_to's thread, before collected. */
void attester_call_cancel(struct attester_call *call);
