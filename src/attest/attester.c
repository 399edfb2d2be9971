/* SPDX-License-Identifier: Apache-2.0 */
/*
 * attester - collections of evidence.
 *
 * A collection makes a key, has the TEE sign its hash, lets the service turn the evidence into a token
 * (passport) and wraps both into a certificate. There is at most one for the current identity, and one for
 * each call of attester_collect(), of which ATTEST_COLLECTIONS_MAX run at a time; the others wait in order.
 *
 * The current identity is renewed before it expires, by a fifth of what is left of it or RENEW_AHEAD_MAX_S.
 * A failure changes nothing about it; the next attempt follows after a pause that doubles up to
 * RETRY_PAUSE_MAX_MS, for ever.
 *
 *   NONE ---> GOOD <---> STALE ---> DOWN ---> GOOD      (each change is one line in the log)
 *     +-----------------------------^
 * NONE   nothing was collected yet
 * GOOD   the last collection succeeded
 * STALE  the last one failed, what we have is still valid
 * DOWN   there is nothing valid to present
 *
 * Calls come from other threads. The lock guards the list of those that wait, which collection works for
 * whom, and the current identity. Answers are posted under the lock, so whoever cancels afterwards knows
 * that the mail is in his loop. Calls keep a reference to the attester; those that are open when it is
 * freed become orphans: their caller never hears of them again, and frees them by cancelling.
 */
#include "attest/attester.h"

#include "attest/coco/as.h"
#include "attest/evidence.h"
#include "attest/limits.h"
#include "attest/provider.h"
#include "attest/token.h"
#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"
#include "base/ref.h"
#include "crypto/cert.h"
#include "crypto/key.h"
#include "io/loop.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define CERT_LIFETIME_S (6 * 3600)
#define RENEW_AHEAD_MAX_S 60
#define RETRY_PAUSE_MIN_MS 1000u
#define RETRY_PAUSE_MAX_MS 10000u
#define LINES_PER_SECOND 4

enum health { HEALTH_NONE, HEALTH_GOOD, HEALTH_STALE, HEALTH_DOWN };

struct attester {
	struct ref ref;
	struct loop *loop;
	const struct attest_conf *conf;
	enum binding binding;
	char *name;

	pthread_mutex_t lock; /* guards the following, and what is marked so in collections and calls */
	struct identity *current;
	struct list waiting; /* calls */
	size_t waiting_count;
	struct mail wake;
	bool wake_posted;
	bool dead;

	/* The loop's own. */
	const struct provider_ops *ops;
	struct provider *provider;
	struct as_client *as; /* passport */
	struct list running;  /* collections for calls */
	size_t running_count;
	struct timer waiting_deadline;
	struct collection *renewal;
	struct timer next;
	struct timer expiry;
	unsigned pause_ms;
	enum health health;
	enum reason reason; /* of the last failure */
	struct log_limit lines;
};

struct collection {
	struct list link;
	struct attester *a;
	struct attester_call *caller; /* lock; NULL: a renewal, or nobody waits any more */
	struct key *key;
	struct key_binding binding;
	struct coco_evidence evidence;
	struct provider_events evidence_events;
	struct provider_call *evidence_call;
	struct as_events token_events;
	struct as_call *token_call;
};

enum call_state { CALL_WAITING, CALL_RUNNING, CALL_ANSWERED, CALL_ORPHAN };

struct attester_call {
	struct mail mail;
	struct list link; /* of waiting */
	struct attester *a;
	struct collection *collection; /* lock */
	struct loop *reply_to;
	struct attester_events *events;
	uint64_t deadline_ms;
	enum call_state state; /* lock */
	bool cancelled;	       /* reply_to's thread */
	struct identity *id;
	enum reason reason;
	struct err why;
};

/* ---- references ---- */

static void attester_unref(struct attester *a)
{
	if (!ref_put(&a->ref))
		return;
	pthread_mutex_destroy(&a->lock);
	free(a->name);
	free(a);
}

static void call_free(struct attester_call *call)
{
	struct attester *a = call->a;

	if (call->id != NULL)
		identity_unref(call->id);
	free(call);
	attester_unref(a);
}

static void collection_free(struct collection *c)
{
	if (c->evidence_call != NULL)
		c->a->ops->cancel(c->evidence_call);
	if (c->token_call != NULL)
		as_call_cancel(c->token_call);
	list_remove(&c->link);
	key_free(c->key);
	key_binding_release(&c->binding);
	coco_evidence_release(&c->evidence);
	free(c);
}

/* ---- the log ---- */

static void log_good(struct attester *a, const struct identity *id)
{
	log_info("%s: has evidence of %s, valid for %lld s", a->name, id->tee,
		 (long long)(id->expires_unix - clock_unix()));
}

static void log_bad(struct attester *a, const struct err *why)
{
	if (a->health == HEALTH_STALE)
		log_warn("%s: cannot renew its evidence: %s: %s; the present one stays until it "
			 "expires, retrying",
			 a->name, reason_word(a->reason), why->text);
	else
		log_error("%s: has no evidence, peers are refused: %s: %s; retrying", a->name,
			  reason_word(a->reason), why->text);
}

/* One of id and why. What peers and agents can provoke at will is limited. */
static void set_health(struct attester *a, enum health health, const struct identity *id,
		       enum reason reason, const struct err *why)
{
	bool changed = health != a->health || (why != NULL && reason != a->reason);
	unsigned skipped;

	a->health = health;
	a->reason = reason;
	if (!changed || !log_limit_pass(&a->lines, LINES_PER_SECOND, clock_ms(), &skipped))
		return;
	if (id != NULL)
		log_good(a, id);
	else
		log_bad(a, why);
}

/* ---- answers ---- */

static void deliver_answer(struct mail *mail)
{
	struct attester_call *call = container_of(mail, struct attester_call, mail);
	struct attester_events *events = call->events;
	struct identity *id = call->id;
	enum reason reason = call->reason;
	struct err why = call->why;
	bool silent = call->cancelled;

	pthread_mutex_lock(&call->a->lock);
	silent = silent || call->a->dead;
	pthread_mutex_unlock(&call->a->lock);
	if (silent) {
		call_free(call);
		return;
	}
	call->id = NULL;
	call_free(call);
	events->collected(events, id, reason, id == NULL ? &why : NULL);
}

/* Takes id. With the lock held. */
static void post_answer(struct attester_call *call, struct identity *id, enum reason reason,
			const struct err *why)
{
	call->state = CALL_ANSWERED;
	call->collection = NULL;
	call->id = id;
	call->reason = reason;
	if (why != NULL)
		call->why = *why;
	loop_post(call->reply_to, &call->mail);
}

/* ---- renewal ---- */

static void renew(struct attester *a);

static void publish(struct attester *a, struct identity *id)
{
	struct identity *old;

	pthread_mutex_lock(&a->lock);
	old = a->current;
	a->current = id;
	pthread_mutex_unlock(&a->lock);
	if (old != NULL)
		identity_unref(old);
}

static void on_renewed(struct attester *a, struct identity *id)
{
	int64_t left_s = MAX(id->expires_unix - clock_unix(), (int64_t)0);
	int64_t ahead_s = MIN(left_s / 5 + 1, (int64_t)RENEW_AHEAD_MAX_S);
	int64_t delay_s = MIN((int64_t)a->conf->refresh_interval_s, MAX(left_s - ahead_s, (int64_t)1));

	set_health(a, HEALTH_GOOD, id, REASON_DONE, NULL);
	a->pause_ms = RETRY_PAUSE_MIN_MS;
	timer_start(a->loop, &a->next, (uint64_t)delay_s * 1000);
	timer_start(a->loop, &a->expiry, (uint64_t)left_s * 1000);
	publish(a, id);
}

static bool has_current(struct attester *a)
{
	struct identity *id = attester_current(a);

	if (id == NULL)
		return false;
	identity_unref(id);
	return true;
}

static void on_renewal_failed(struct attester *a, enum reason reason, const struct err *why)
{
	set_health(a, has_current(a) ? HEALTH_STALE : HEALTH_DOWN, NULL, reason, why);
	timer_start(a->loop, &a->next, a->pause_ms);
	a->pause_ms = MIN(2 * a->pause_ms, RETRY_PAUSE_MAX_MS);
}

/* A renewal that is still under way has not failed, but there is nothing to present meanwhile. */
static void on_expiry(struct timer *t)
{
	struct attester *a = container_of(t, struct attester, expiry);
	struct err why;

	if (has_current(a)) { /* the clock was set back */
		timer_start(a->loop, &a->expiry, 1000);
		return;
	}
	err_set(&why, ERR_TIMEOUT, "the evidence has expired before it could be renewed");
	set_health(a, HEALTH_DOWN, NULL,
		   a->health == HEALTH_STALE ? a->reason : REASON_ATTESTER_UNAVAILABLE, &why);
}

static void on_next(struct timer *t)
{
	renew(container_of(t, struct attester, next));
}

/* ---- collections ---- */

static void start_waiting(struct attester *a);

/* Takes id; NULL: failed. */
static void end_collection(struct collection *c, struct identity *id, enum reason reason,
			   const struct err *why)
{
	struct attester *a = c->a;
	bool is_renewal = c == a->renewal;

	if (!is_renewal) {
		set_health(a, id != NULL ? HEALTH_GOOD : HEALTH_DOWN, id, reason, why);
		pthread_mutex_lock(&a->lock);
		if (c->caller != NULL)
			post_answer(c->caller, id, REASON_ATTESTER_UNAVAILABLE, why);
		else if (id != NULL)
			identity_unref(id);
		pthread_mutex_unlock(&a->lock);
		a->running_count--;
		collection_free(c);
		start_waiting(a);
		return;
	}
	a->renewal = NULL;
	collection_free(c);
	if (id != NULL)
		on_renewed(a, id);
	else
		on_renewal_failed(a, reason, why);
}

static void fail_collection(struct collection *c, enum reason reason, const struct err *why)
{
	end_collection(c, NULL, reason, why);
}

static struct identity *make_identity(struct collection *c, uint64_t tag, struct bytes raw,
				      int64_t expires_unix, struct err *e)
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
	if (cert_make_rats_tls(&options, &id->cert_der, e) < 0 ||
	    key_pkcs8(c->key, &id->key_der, e) < 0) {
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

static void on_token(struct as_events *self, const struct bytes *token, enum reason reason,
		     const struct err *why)
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
		err_set(&e, ERR_TRUST, "the service's token expired %lld s ago",
			(long long)(now - expires));
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
	if (c->a->binding == BINDING_LEGACY && strcmp(to->tee, "sgx-dcap") == 0) {
		free(to->tee);
		to->tee = mem_strdup("sgx");
	}
}

/* What no peer could read is not presented. Peers of the legacy format take any name of a TEE. */
static int check_presentable(struct collection *c, struct bytes raw, struct err *e)
{
	struct coco_evidence again = { 0 };
	int rc;

	if (c->a->binding == BINDING_LEGACY)
		return 0;
	rc = coco_evidence_parse(raw, &again, e);
	coco_evidence_release(&again);
	return rc;
}

static void on_evidence(struct provider_events *self, struct provider_evidence *ev,
			const struct err *why)
{
	struct collection *c = container_of(self, struct collection, evidence_events);
	struct attester *a = c->a;
	struct buf raw = { 0 };
	struct err e;

	c->evidence_call = NULL;
	if (ev == NULL) {
		e = *why;
		err_wrap(&e, "%s", a->ops->name);
		fail_collection(c, REASON_ATTESTER_UNAVAILABLE, &e);
		return;
	}
	fill_evidence(c, ev);
	coco_evidence_format(&c->evidence, a->binding, &raw);
	if (check_presentable(c, buf_bytes(&raw), &e) < 0) {
		err_wrap(&e, "%s", a->ops->name);
		fail_collection(c, REASON_ATTESTER_UNAVAILABLE, &e);
	} else if (a->as != NULL) {
		c->token_call = as_evaluate(a->as, &c->evidence, &c->token_events);
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
		rc = key_binding_make(buf_bytes(&spki), c->a->binding, &c->binding, e);
	buf_release(&spki);
	return rc;
}

static struct collection *collection_new(struct attester *a)
{
	struct collection *c = mem_new_of(struct collection);

	c->a = a;
	c->evidence_events.collected = on_evidence;
	c->token_events.answered = on_token;
	list_init(&c->link);
	return c;
}

/* The collection may be gone when this returns. */
static void collection_start(struct collection *c)
{
	struct attester *a = c->a;
	struct err e;

	if (make_key(c, &e) < 0) {
		fail_collection(c, REASON_INTERNAL, &e);
		return;
	}
	c->evidence_call = a->ops->collect(a->provider,
					   bytes_of(c->binding.report_data,
						    sizeof(c->binding.report_data)),
					   &c->evidence_events);
}

static void renew(struct attester *a)
{
	if (a->renewal != NULL)
		return;
	a->renewal = collection_new(a);
	collection_start(a->renewal);
}

/* ---- calls ---- */

/* With the lock held. */
static void leave_waiting(struct attester_call *call)
{
	list_remove(&call->link);
	call->a->waiting_count--;
}

static struct collection *take_waiting(struct attester *a)
{
	struct collection *c = NULL;

	pthread_mutex_lock(&a->lock);
	if (!list_is_empty(&a->waiting)) {
		struct attester_call *call = container_of(a->waiting.next, struct attester_call, link);

		c = collection_new(a);
		c->caller = call;
		leave_waiting(call);
		call->state = CALL_RUNNING;
		call->collection = c;
	}
	pthread_mutex_unlock(&a->lock);
	return c;
}

/* All wait equally long, so the first is the first to run out of time. */
static uint64_t fail_late(struct attester *a, uint64_t now)
{
	uint64_t next = 0;
	struct err e;

	err_set(&e, ERR_TIMEOUT, "%zu other handshakes wanted evidence for %u ms", a->running_count,
		a->conf->aa_timeout_ms);
	pthread_mutex_lock(&a->lock);
	while (!list_is_empty(&a->waiting)) {
		struct attester_call *call = container_of(a->waiting.next, struct attester_call, link);

		if (call->deadline_ms > now) {
			next = call->deadline_ms;
			break;
		}
		leave_waiting(call);
		post_answer(call, NULL, REASON_ATTESTER_UNAVAILABLE, &e);
	}
	pthread_mutex_unlock(&a->lock);
	return next;
}

static void watch_deadlines(struct attester *a)
{
	uint64_t now = clock_ms();
	uint64_t next = fail_late(a, now);

	if (next == 0)
		timer_cancel(a->loop, &a->waiting_deadline);
	else
		timer_start(a->loop, &a->waiting_deadline, next - now);
}

static void on_waiting_deadline(struct timer *t)
{
	watch_deadlines(container_of(t, struct attester, waiting_deadline));
}

static void start_waiting(struct attester *a)
{
	while (a->running_count < ATTEST_COLLECTIONS_MAX) {
		struct collection *c = take_waiting(a);

		if (c == NULL)
			break;
		a->running_count++;
		list_append(&a->running, &c->link);
		collection_start(c);
	}
	watch_deadlines(a);
}

static bool is_wanted(struct collection *c)
{
	bool wanted;

	pthread_mutex_lock(&c->a->lock);
	wanted = c->caller != NULL;
	pthread_mutex_unlock(&c->a->lock);
	return wanted;
}

static void stop_unwanted(struct attester *a)
{
	LIST_EACH(l, &a->running) {
		struct collection *c = container_of(l, struct collection, link);

		if (is_wanted(c))
			continue;
		a->running_count--;
		collection_free(c);
	}
}

/* With the lock held. */
static void wake_loop(struct attester *a)
{
	if (a->wake_posted)
		return;
	a->wake_posted = true;
	ref_get(&a->ref);
	loop_post(a->loop, &a->wake);
}

static void on_wake(struct mail *mail)
{
	struct attester *a = container_of(mail, struct attester, wake);
	bool dead;

	pthread_mutex_lock(&a->lock);
	a->wake_posted = false;
	dead = a->dead;
	pthread_mutex_unlock(&a->lock);
	if (!dead) {
		stop_unwanted(a);
		start_waiting(a);
	}
	attester_unref(a);
}

/* With the lock held. */
static void enqueue(struct attester *a, struct attester_call *call)
{
	struct err e;

	if (a->waiting_count >= ATTEST_COLLECTIONS_WAITING_MAX) {
		err_set(&e, ERR_LIMIT, "%zu handshakes wait for evidence already", a->waiting_count);
		post_answer(call, NULL, REASON_ATTESTER_UNAVAILABLE, &e);
		return;
	}
	call->deadline_ms = clock_ms() + a->conf->aa_timeout_ms;
	list_append(&a->waiting, &call->link);
	a->waiting_count++;
	wake_loop(a);
}

struct attester_call *attester_collect(struct attester *a, struct loop *reply_to,
				       struct attester_events *events)
{
	struct attester_call *call = mem_new_of(struct attester_call);

	ref_get(&a->ref);
	call->a = a;
	call->reply_to = reply_to;
	call->events = events;
	call->mail.deliver = deliver_answer;
	list_init(&call->link);
	pthread_mutex_lock(&a->lock);
	if (a->dead)
		call->state = CALL_ORPHAN;
	else
		enqueue(a, call);
	pthread_mutex_unlock(&a->lock);
	return call;
}

void attester_call_cancel(struct attester_call *call)
{
	struct attester *a = call->a;
	bool answered;

	pthread_mutex_lock(&a->lock);
	answered = call->state == CALL_ANSWERED;
	if (call->state == CALL_WAITING)
		leave_waiting(call);
	if (call->state == CALL_RUNNING) {
		call->collection->caller = NULL;
		wake_loop(a);
	}
	pthread_mutex_unlock(&a->lock);
	if (answered)
		call->cancelled = true; /* freed when the mail arrives */
	else
		call_free(call);
}

struct identity *attester_current(struct attester *a)
{
	struct identity *id = NULL;

	pthread_mutex_lock(&a->lock);
	if (a->current != NULL && a->current->expires_unix > clock_unix())
		id = identity_ref(a->current);
	pthread_mutex_unlock(&a->lock);
	return id;
}

bool attester_is_per_handshake(const struct attester *a)
{
	return a->conf->refresh_interval_s == 0;
}

/* ---- life ---- */

static int open_parts(struct attester *a, struct err *e)
{
	const struct attest_conf *conf = a->conf;
	size_t answer_max = conf->answer_max != 0 ? conf->answer_max : ATTEST_ANSWER_MAX;
	size_t token_max = conf->as.answer_max != 0 ? conf->as.answer_max : ATTEST_ANSWER_MAX;

	a->ops = provider_of(conf);
	a->provider = a->ops->open(a->loop, conf, answer_max, e);
	if (a->provider == NULL)
		return -1;
	if (conf->model != MODEL_PASSPORT)
		return 0;
	if (conf->as.type == AS_BUILTIN || conf->as.addr == NULL)
		return err_set(e, ERR_CONFIG, "a passport needs an attestation service: set as_addr");
	a->as = as_client_new(a->loop, &conf->as, token_max, e);
	return a->as == NULL ? -1 : 0;
}

struct attester *attester_new(struct loop *loop, const struct attest_conf *conf, enum binding binding,
			      const char *name, struct err *e)
{
	struct attester *a = mem_new_of(struct attester);

	ref_init(&a->ref);
	a->loop = loop;
	a->conf = conf;
	a->binding = binding;
	a->name = mem_format("%s.attest", name);
	a->pause_ms = RETRY_PAUSE_MIN_MS;
	a->wake.deliver = on_wake;
	pthread_mutex_init(&a->lock, NULL);
	list_init(&a->waiting);
	list_init(&a->running);
	timer_init(&a->waiting_deadline, on_waiting_deadline);
	timer_init(&a->next, on_next);
	timer_init(&a->expiry, on_expiry);
	if (open_parts(a, e) < 0) {
		err_wrap(e, "%s", a->name);
		attester_free(a);
		return NULL;
	}
	return a;
}

void attester_start(struct attester *a)
{
	if (!attester_is_per_handshake(a))
		renew(a);
}

/* With the lock held. */
static void orphan_calls(struct attester *a)
{
	while (!list_is_empty(&a->waiting)) {
		struct attester_call *call = container_of(a->waiting.next, struct attester_call, link);

		leave_waiting(call);
		call->state = CALL_ORPHAN;
	}
	LIST_EACH(l, &a->running) {
		struct collection *c = container_of(l, struct collection, link);

		if (c->caller == NULL)
			continue;
		c->caller->state = CALL_ORPHAN;
		c->caller->collection = NULL;
		c->caller = NULL;
	}
}

void attester_free(struct attester *a)
{
	if (a == NULL)
		return;
	pthread_mutex_lock(&a->lock);
	a->dead = true;
	orphan_calls(a);
	pthread_mutex_unlock(&a->lock);
	while (!list_is_empty(&a->running))
		collection_free(container_of(a->running.next, struct collection, link));
	if (a->renewal != NULL)
		collection_free(a->renewal);
	timer_cancel(a->loop, &a->waiting_deadline);
	timer_cancel(a->loop, &a->next);
	timer_cancel(a->loop, &a->expiry);
	as_client_free(a->as);
	if (a->provider != NULL)
		a->ops->close(a->provider);
	if (a->current != NULL)
		identity_unref(a->current);
	a->current = NULL;
	attester_unref(a);
}
