/* SPDX-License-Identifier: Apache-2.0 */
/*
 * collection - makes one identity: a key, evidence for it, a certificate that holds both.
 *
 * The evidence comes from the configured provider; in the model passport the service turns it into a token
 * first. Any number of collections run side by side.
 *
 * Threads: all calls and callbacks on the attestation loop.
 */
#pragma once

#include "attest/identity.h"
#include "config/config.h"
#include "metrics/reason.h"

struct collection;
struct collector;
struct loop;

/* keeps conf. Fails for a configuration that no agent or service could serve. */
struct collector *collector_new(struct loop *l, const struct attest_conf *conf, enum binding binding, struct err *e);
/* No collection may be under way. */
void collector_free(struct collector *c);

/* id is given; NULL when it failed with reason and why. */
struct collection_events {
	void (*ended)(struct collection_events *self, struct identity *id, enum reason reason, const struct err *why);
};

/* keeps events until ended or cancel. */
struct collection *collection_start(struct collector *c, struct collection_events *events);

/* Before ended. */
void collection_cancel(struct collection *c);
