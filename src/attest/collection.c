/* SPDX-License-Identifier: Apache-2.0 */
/*
 * collection - key, evidence, token, certificate.
 *
 * The key lives in the collection only, until it goes into the identity: nothing but what one certificate
 * needs is ever made with it.
 */
#include "attest/collection.h"

#include "attest/coco/as.h"
#include "attest/evidence.h"
#include "attest/provider.h"
#include "attest/token.h"
#include "base/clock.h"
#include "crypto/cert.h"
#include "crypto/key.h"
#include "io/loop.h"

#include <stdio.h>
#include <stdlib.h>

#define CERT_LIFETIME_S (6 * 3600)

struct collector {
	struct loop *loop;
	const struct attest_conf *conf;
	enum binding binding;
	const struct provider_ops *ops;
	struct provider *provider;
	struct as_client *as; /* passport */
};

struct collection {
	struct collector *collector;
	struct collection_events *events;
	struct task end_unasked; /* nobody could be asked, for why */
	struct err why;
	struct key *key;
	struct key_binding binding;
	struct coco_evidence evidence;
	struct provider_events evidence_events;
	struct provider_call *evidence_call;
	struct as_events token_events;
	struct as_call *token_call;
};

void collection_cancel(struct collection *c)
{
	if (c->evidence_call != NULL)
		c->collector->ops->cancel(c->evidence_call);
	if (c->token_call != NULL)
		as_call_cancel(c->token_call);
	task_cancel(&c->end_unasked);
	key_free(c->key);
	key_binding_release(&c->binding);
	coco_evidence_release(&c->evidence);
	free(c);
}

/* Takes id; NULL: failed. */
static void end_collection(struct collection *c, struct identity *id, enum reason reason, const struct err *why)
{
	struct collection_events *events = c->events;

	collection_cancel(c);
	events->ended(events, id, reason, why);
}

static void fail_collection(struct collection *c, enum reason reason, const struct err *why)
{
	end_collection(c, NULL, reason, why);
}

static struct identity *make_identity(struct collection *c, uint64_t tag, struct bytes raw, int64_t expires_unix,
				      struct err *e)
{
	struct identity *id = mem_new_of(struct identity);
	struct buf extension = { 0 };
	int64_t now = clock_unix();
	struct rats_cert_options options = {
		.key = c->key,
		.not_before = now,
		.not_after = now + CERT_LIFETIME_S,
	};

	ref_init(&id->ref);
	evidence_blob_format(tag, raw, buf_bytes(&c->binding.claims_buffer), &extension);
	options.evidence = buf_bytes(&extension);
	id->expires_unix = MIN(expires_unix, options.not_after);
	snprintf(id->tee, sizeof(id->tee), "%s", c->evidence.tee);
	if (cert_make_rats_tls(&options, &id->cert_der, e) < 0 || key_pkcs8(c->key, &id->key_der, e) < 0) {
		identity_unref(id);
		id = NULL;
	}
	buf_release(&extension);
	return id;
}

static void finish(struct collection *c, uint64_t tag, struct bytes raw, int64_t expires_unix)
{
	struct err e;
	struct identity *id = make_identity(c, tag, raw, expires_unix, &e);

	end_collection(c, id, id != NULL ? REASON_DONE : REASON_INTERNAL, id != NULL ? NULL : &e);
}

static void on_token(struct as_events *self, const struct bytes *token, enum reason reason, const struct err *why)
{
	struct collection *c = container_of(self, struct collection, token_events);
	int64_t now = clock_unix();
	int64_t expires;
	struct err e;

	c->token_call = NULL;
	if (token == NULL) {
		fail_collection(c, reason, why);
		return;
	}
	if (token_peek_expiry(*token, &expires, &e) < 0) {
		fail_collection(c, REASON_AS_MALFORMED, &e);
		return;
	}
	if (expires <= now) {
		err_set(&e, ERR_TRUST, "the service's token expired %lld s ago", (long long)(now - expires));
		fail_collection(c, REASON_TOKEN_EXPIRED, &e);
		return;
	}
	finish(c, EVIDENCE_TAG_COCO_TOKEN, *token, expires);
}

/* Moves what the agent gave, and what was hashed for it, into the evidence. */
static void fill_evidence(struct collection *c, struct provider_evidence *from)
{
	struct coco_evidence *to = &c->evidence;

	to->tee = from->tee;
	to->evidence = from->evidence;
	to->has_additional = from->has_additional;
	to->additional = from->additional;
	to->runtime_data = c->binding.runtime_data;
	to->hash = DIGEST_SHA384;
	c->binding.runtime_data = (struct buf){ 0 };
	*from = (struct provider_evidence){ 0 };
	if (c->collector->binding == BINDING_LEGACY && strcmp(to->tee, "sgx-dcap") == 0) {
		free(to->tee);
		to->tee = mem_strdup("sgx");
	}
}

/* What no peer could read is not presented. Peers of the legacy format take any name of a TEE. */
static int check_presentable(struct collection *c, struct bytes raw, struct err *e)
{
	struct coco_evidence again = { 0 };
	int rc;

	if (c->collector->binding == BINDING_LEGACY)
		return 0;
	rc = coco_evidence_parse(raw, &again, e);
	coco_evidence_release(&again);
	return rc;
}

static void on_evidence(struct provider_events *self, struct provider_evidence *ev, const struct err *why)
{
	struct collection *c = container_of(self, struct collection, evidence_events);
	struct collector *by = c->collector;
	struct buf raw = { 0 };
	struct err e;

	c->evidence_call = NULL;
	if (ev == NULL) {
		e = *why;
		err_wrap(&e, "%s", by->ops->name);
		fail_collection(c, REASON_ATTESTER_UNAVAILABLE, &e);
		return;
	}
	fill_evidence(c, ev);
	coco_evidence_format(&c->evidence, by->binding, &raw);
	if (check_presentable(c, buf_bytes(&raw), &e) < 0) {
		err_wrap(&e, "%s", by->ops->name);
		fail_collection(c, REASON_ATTESTER_UNAVAILABLE, &e);
	} else if (by->as != NULL) {
		c->token_call = as_evaluate(by->as, &c->evidence, &c->token_events);
	} else {
		finish(c, EVIDENCE_TAG_COCO, buf_bytes(&raw), clock_unix() + CERT_LIFETIME_S);
	}
	buf_release(&raw);
}

static int make_key(struct collection *c, struct err *e)
{
	struct buf spki = { 0 };
	int rc = -1;

	c->key = key_new_p256(e);
	if (c->key != NULL && key_spki(c->key, &spki, e) == 0)
		rc = key_binding_make(buf_bytes(&spki), c->collector->binding, &c->binding, e);
	buf_release(&spki);
	return rc;
}

static void on_unasked(struct task *t)
{
	struct collection *c = container_of(t, struct collection, end_unasked);
	struct err why = c->why;

	fail_collection(c, REASON_INTERNAL, &why);
}

struct collection *collection_start(struct collector *by, struct collection_events *events)
{
	struct collection *c = mem_new_of(struct collection);

	c->collector = by;
	c->events = events;
	c->evidence_events.collected = on_evidence;
	c->token_events.answered = on_token;
	task_init(&c->end_unasked, on_unasked);
	if (make_key(c, &c->why) < 0)
		task_schedule(by->loop, &c->end_unasked);
	else
		c->evidence_call =
			by->ops->collect(by->provider, bytes_of(c->binding.report_data, sizeof(c->binding.report_data)),
					 &c->evidence_events);
	return c;
}

static int open_service(struct collector *c, struct err *e)
{
	const struct as_conf *conf = &c->conf->as;

	if (c->conf->model != MODEL_PASSPORT)
		return 0;
	if (conf->type == AS_BUILTIN || conf->addr == NULL)
		return err_set(e, ERR_CONFIG, "a passport needs an attestation service: set as_addr");
	c->as = as_client_new(c->loop, conf, e);
	return c->as == NULL ? -1 : 0;
}

struct collector *collector_new(struct loop *l, const struct attest_conf *conf, enum binding binding, struct err *e)
{
	struct collector *c = mem_new_of(struct collector);

	c->loop = l;
	c->conf = conf;
	c->binding = binding;
	c->ops = provider_of(conf);
	c->provider = c->ops->open(l, conf, e);
	if (c->provider == NULL || open_service(c, e) < 0) {
		collector_free(c);
		return NULL;
	}
	return c;
}

void collector_free(struct collector *c)
{
	if (c == NULL)
		return;
	as_client_free(c->as);
	if (c->provider != NULL)
		c->ops->close(c->provider);
	free(c);
}
