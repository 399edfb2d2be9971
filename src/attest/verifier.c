/* SPDX-License-Identifier: Apache-2.0 */
/*
 * verifier - flights of checks.
 *
 * A flight is one check of one certificate, with all callers who wait for it. verifier_check() joins the
 * certificate's flight or begins one, on the caller's thread and under the lock; all else about a flight
 * happens on the attestation loop. It ends with what the newest trust anchors say, whichever there were
 * when a caller joined.
 *
 *   FRESH --> (local checks) --> QUEUED --> ASKING --> judged --> gone
 *                   |               ^          |          ^
 *                   +--> PARKED ----+          +-> PARKED-+
 *
 * FRESH   begun, the loop has not seen it
 * QUEUED  waits for one of the few requests that the service may have from us at a time
 * ASKING  the service is asked
 * PARKED  waits for trust anchors: for the first ones, or for newer ones since the token's signer is not
 *         endorsed by those we have
 *
 * What can be refused without the service is refused before it: a certificate that cannot be read, one
 * that holds the other model, evidence for another key. Passports are judged without the service.
 *
 * Three parties touch a flight, so the lock guards what they share: the table, who waits, and whether
 * anybody still does. A caller who leaves last takes the flight out of the table and hands it to the loop
 * to be cancelled. Answers are posted under the lock: whoever cancels afterwards knows that the mail is in
 * his loop. A verdict enters the cache and its flight leaves the table in one step, so that there is never
 * a second call for what is already known; refusals end with the flight.
 *
 * Calls keep a reference to the verifier. Those that are open when it is freed become orphans: their
 * caller never hears of them again, and frees them by cancelling.
 */
#include "attest/verifier.h"

#include "attest/anchors.h"
#include "attest/builtin.h"
#include "attest/coco/as.h"
#include "attest/limits.h"
#include "attest/peer_evidence.h"
#include "attest/token.h"
#include "attest/trust.h"
#include "attest/verdict_cache.h"
#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"
#include "base/ref.h"
#include "crypto/cert.h"
#include "crypto/digest.h"
#include "io/loop.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#define BUCKETS 1024
#define ACCEPTED_LINES 20 /* a second */
#define CERT_HASH_LEN 32

struct verifier {
	struct ref ref;
	struct loop *loop;
	const struct verify_conf *conf;
	enum binding binding;
	struct verdict_cache *cache;
	char *name;

	pthread_mutex_t lock;		    /* guards the following, and what is marked so in flights and calls */
	uint8_t fingerprint[CERT_HASH_LEN]; /* of all that a verdict rests on beside the certificate */
	struct list table[BUCKETS];
	struct list fresh;
	struct list abandoned;
	struct mail wake;
	bool wake_posted;
	bool dead;

	/* The loop's own. */
	enum token_trust trust;
	struct log_limit accepted_lines;
	struct as_client *as;	 /* NULL: nobody is ever asked */
	struct cert_list files;	 /* trusted_certs_paths */
	struct anchors *anchors; /* NULL: the files, or no anchors at all */
	struct anchors_events anchors_events;
	struct buf rests_on; /* what the fingerprint is made of, without anchors */
	struct list queued;
	struct list asking;
	struct list parked;
	size_t asking_count;
	size_t asking_max;
	struct timer queue_deadline;
};

struct flight {
	struct verifier *v;
	uint8_t cert_sha256[CERT_HASH_LEN];
	struct list table_link;	    /* lock */
	struct list waiters;	    /* lock */
	struct list abandoned_link; /* lock */

	struct list link; /* of the list of its stage; FRESH: lock */
	struct buf cert_der;
	struct peer_evidence peer;
	bool has_token;
	bool parked_once;
	uint64_t begun_ms;
	uint64_t deadline_ms; /* QUEUED */
	struct as_events answers;
	struct as_call *call;
};

enum call_state { CALL_WAITING, CALL_ANSWERED, CALL_ORPHAN };

struct verify_call {
	struct mail mail;
	struct list link; /* of flight->waiters */
	struct verifier *v;
	struct flight *flight;
	struct loop *reply_to;
	struct verify_events *events;
	enum call_state state; /* lock */
	bool cancelled;	       /* reply_to's thread */
	struct verdict verdict;
};

/* ---- references ---- */

static void verifier_unref(struct verifier *v)
{
	if (!ref_put(&v->ref))
		return;
	pthread_mutex_destroy(&v->lock);
	free(v->name);
	free(v);
}

static void call_free(struct verify_call *call)
{
	struct verifier *v = call->v;

	free(call);
	verifier_unref(v);
}

/* Does not touch waiters: there are none, or they are taken care of. */
static void flight_free(struct flight *f)
{
	if (f->call != NULL) {
		as_call_cancel(f->call);
		f->v->asking_count--;
	}
	list_remove(&f->table_link);
	list_remove(&f->abandoned_link);
	list_remove(&f->link);
	buf_release(&f->cert_der);
	peer_evidence_release(&f->peer);
	free(f);
}

/* ---- keys ---- */

static void append_field(struct buf *b, const char *text)
{
	buf_format(b, "%zu:%s,", text == NULL ? (size_t)0 : strlen(text), text == NULL ? "" : text);
}

/* Everything in the configuration that a verdict rests on; and the entry, so that none profits from another. */
static void describe(struct verifier *v)
{
	const struct verify_conf *conf = v->conf;
	struct buf *b = &v->rests_on;

	append_field(b, v->name);
	buf_format(b, "%d,%d,%d,%d,%d,%u,", (int)conf->model, (int)conf->as.type, (int)v->binding, (int)v->trust,
		   (int)conf->builtin_policy, conf->verdict_max_age_s);
	append_field(b, conf->as.addr);
	buf_format(b, "%zu,", conf->as.policy_ids.count);
	for (size_t i = 0; i < conf->as.policy_ids.count; i++)
		append_field(b, conf->as.policy_ids.items[i]);
	buf_format(b, "%zu,", conf->as.header_count);
	for (size_t i = 0; i < conf->as.header_count; i++) {
		append_field(b, conf->as.headers[i].name);
		append_field(b, conf->as.headers[i].value);
	}
}

static const struct cert_list *current_anchors(const struct verifier *v)
{
	return v->anchors != NULL ? anchors_list(v->anchors) : &v->files;
}

/* Whenever the anchors have changed. */
static void update_fingerprint(struct verifier *v)
{
	const struct cert_list *anchors = current_anchors(v);
	struct buf b = { 0 };
	uint8_t hash[CERT_HASH_LEN];

	buf_append_bytes(&b, buf_bytes(&v->rests_on));
	for (size_t i = 0; anchors != NULL && i < anchors->count; i++) {
		cert_sha256(anchors->items[i], hash);
		buf_append(&b, hash, sizeof(hash));
	}
	digest_compute(DIGEST_SHA256, buf_bytes(&b), hash);
	pthread_mutex_lock(&v->lock);
	memcpy(v->fingerprint, hash, sizeof(hash));
	pthread_mutex_unlock(&v->lock);
	buf_release(&b);
}

/* With the lock held. */
static void make_key(const struct verifier *v, const uint8_t cert_sha256[CERT_HASH_LEN], uint8_t key[VERDICT_KEY_LEN])
{
	uint8_t both[2 * CERT_HASH_LEN];

	memcpy(both, cert_sha256, CERT_HASH_LEN);
	memcpy(both + CERT_HASH_LEN, v->fingerprint, CERT_HASH_LEN);
	digest_compute(DIGEST_SHA256, bytes_of(both, sizeof(both)), key);
}

static struct list *bucket_of(struct verifier *v, const uint8_t cert_sha256[CERT_HASH_LEN])
{
	uint32_t hash;

	memcpy(&hash, cert_sha256, sizeof(hash));
	return &v->table[hash % BUCKETS];
}

static struct flight *find_flight(struct verifier *v, const uint8_t cert_sha256[CERT_HASH_LEN])
{
	LIST_EACH (l, bucket_of(v, cert_sha256)) {
		struct flight *f = container_of(l, struct flight, table_link);

		if (memcmp(f->cert_sha256, cert_sha256, CERT_HASH_LEN) == 0)
			return f;
	}
	return NULL;
}

/* ---- answers ---- */

static void deliver_answer(struct mail *mail)
{
	struct verify_call *call = container_of(mail, struct verify_call, mail);
	struct verify_events *events = call->events;
	struct verdict verdict = call->verdict;
	bool silent = call->cancelled;

	pthread_mutex_lock(&call->v->lock);
	silent = silent || call->v->dead;
	pthread_mutex_unlock(&call->v->lock);
	call_free(call);
	if (!silent)
		events->decided(events, &verdict);
}

/* With the lock held. */
static void post_answer(struct verify_call *call, const struct verdict *verdict)
{
	list_remove(&call->link);
	call->flight = NULL;
	call->state = CALL_ANSWERED;
	call->verdict = *verdict;
	loop_post(call->reply_to, &call->mail);
}

static void ask_service(struct verifier *v);

/* Once for each verdict, not for each connection that it serves. */
static void log_accepted(struct verifier *v, const struct verdict *verdict)
{
	uint64_t now = clock_ms();
	unsigned skipped;

	if (!log_limit_pass(&v->accepted_lines, ACCEPTED_LINES, now, &skipped))
		return;
	log_info("%s: peer accepted: tee %s, policy %s, judged by %s, valid for %llu s", v->name, verdict->tee,
		 verdict->policy,
		 v->conf->model == MODEL_PASSPORT ? "its passport"
		 : v->conf->as.type == AS_BUILTIN ? "the builtin service"
						  : v->conf->as.addr,
		 (unsigned long long)(MAX(verdict->expires_ms, now) - now + 500) / 1000);
}

static void end_flight(struct flight *f, const struct verdict *verdict)
{
	struct verifier *v = f->v;
	uint8_t key[VERDICT_KEY_LEN];

	pthread_mutex_lock(&v->lock);
	if (verdict->accepted) {
		make_key(v, f->cert_sha256, key);
		verdict_cache_put(v->cache, key, verdict, clock_ms());
	}
	while (!list_is_empty(&f->waiters))
		post_answer(container_of(f->waiters.next, struct verify_call, link), verdict);
	list_remove(&f->table_link);
	list_remove(&f->abandoned_link);
	pthread_mutex_unlock(&v->lock);
	if (verdict->accepted)
		log_accepted(v, verdict);
	flight_free(f);
}

static void refuse(struct flight *f, enum reason reason, const struct err *why)
{
	struct verdict verdict = { .accepted = false, .reason = reason, .why = *why };

	end_flight(f, &verdict);
}

static uint64_t max_age_end(const struct flight *f)
{
	return f->begun_ms + (uint64_t)f->v->conf->verdict_max_age_s * 1000;
}

static void accept_token(struct flight *f, const struct token_claims *claims, int64_t now_unix)
{
	struct verdict verdict = { .accepted = true };
	int64_t left_s = MAX(claims->expires_unix - now_unix, (int64_t)0);

	verdict.expires_ms = MIN(max_age_end(f), clock_ms() + (uint64_t)left_s * 1000);
	snprintf(verdict.tee, sizeof(verdict.tee), "%s",
		 claims->tee[0] != '\0' || f->peer.evidence.tee == NULL ? claims->tee : f->peer.evidence.tee);
	snprintf(verdict.policy, sizeof(verdict.policy), "%s", claims->policies);
	end_flight(f, &verdict);
}

/* ---- tokens ---- */

/* true: f waits for anchors. */
static bool park(struct flight *f)
{
	struct verifier *v = f->v;

	if (v->anchors == NULL || f->parked_once || !anchors_ask(v->anchors))
		return false;
	f->parked_once = true;
	list_remove(&f->link);
	list_append(&v->parked, &f->link);
	return true;
}

static void refuse_without_anchors(struct flight *f)
{
	struct err e = *anchors_why(f->v->anchors);

	err_wrap(&e, "no trust anchors yet");
	refuse(f, REASON_AS_UNAVAILABLE, &e);
}

static bool anchors_are_missing(const struct verifier *v)
{
	return v->trust == TOKEN_TRUST_ANCHORS && current_anchors(v) == NULL;
}

static void judge(struct flight *f)
{
	struct verifier *v = f->v;
	struct token_claims claims;
	enum reason reason = REASON_INTERNAL;
	struct err e;
	struct token_rules rules = {
		.trust = v->trust,
		.anchors = current_anchors(v),
		.policy_ids = &v->conf->as.policy_ids,
		.binding = v->binding,
		.spki = buf_bytes(&f->peer.spki),
		.claims_buffer = buf_bytes(&f->peer.claims_buffer),
		.now_unix = clock_unix(),
	};

	if (token_verify(buf_bytes(&f->peer.token), &rules, &claims, &reason, &e) == 0) {
		accept_token(f, &claims, rules.now_unix);
		return;
	}
	if (reason == REASON_TOKEN_UNTRUSTED && park(f))
		return;
	refuse(f, reason, &e);
}

static void on_evaluated(struct as_events *self, const struct bytes *content, enum reason reason, const struct err *why)
{
	struct flight *f = container_of(self, struct flight, answers);
	struct verifier *v = f->v;

	f->call = NULL;
	v->asking_count--;
	if (content == NULL) {
		refuse(f, reason, why);
	} else {
		buf_append_bytes(&f->peer.token, *content);
		f->has_token = true;
		judge(f);
	}
	ask_service(v);
}

static void ask_service(struct verifier *v)
{
	while (v->asking_count < v->asking_max && !list_is_empty(&v->queued)) {
		struct flight *f = container_of(v->queued.next, struct flight, link);

		list_remove(&f->link);
		list_append(&v->asking, &f->link);
		v->asking_count++;
		f->begun_ms = clock_ms();
		f->answers.answered = on_evaluated;
		f->call = as_evaluate(v->as, &f->peer.evidence, &f->answers);
	}
	if (list_is_empty(&v->queued))
		timer_cancel(v->loop, &v->queue_deadline);
}

/* All wait equally long, so the first in the queue is the first to run out of time. */
static void start_queue_deadline(struct verifier *v)
{
	struct flight *f = container_of(v->queued.next, struct flight, link);
	uint64_t now = clock_ms();

	timer_start(v->loop, &v->queue_deadline, f->deadline_ms > now ? f->deadline_ms - now : 0);
}

static void on_queue_deadline(struct timer *t)
{
	struct verifier *v = container_of(t, struct verifier, queue_deadline);
	uint64_t now = clock_ms();
	struct err e;

	while (!list_is_empty(&v->queued)) {
		struct flight *f = container_of(v->queued.next, struct flight, link);

		if (f->deadline_ms > now) {
			start_queue_deadline(v);
			return;
		}
		err_set(&e, ERR_TIMEOUT, "%zu other requests were under way for %u ms", v->asking_count,
			v->conf->as.timeout_ms);
		refuse(f, REASON_AS_TIMEOUT, &e);
	}
}

static void queue(struct flight *f)
{
	struct verifier *v = f->v;

	list_remove(&f->link);
	f->deadline_ms = clock_ms() + v->conf->as.timeout_ms;
	list_append(&v->queued, &f->link);
	ask_service(v);
	if (!list_is_empty(&v->queued) && !timer_is_started(&v->queue_deadline))
		start_queue_deadline(v);
}

/* What is left to do when the local checks are done. */
static void proceed(struct flight *f)
{
	if (anchors_are_missing(f->v)) {
		if (!park(f))
			refuse_without_anchors(f);
	} else if (f->has_token) {
		judge(f);
	} else {
		queue(f);
	}
}

static void on_anchors(struct anchors_events *self)
{
	struct verifier *v = container_of(self, struct verifier, anchors_events);
	struct list waiting;

	update_fingerprint(v);
	list_init(&waiting);
	list_splice(&waiting, &v->parked);
	while (!list_is_empty(&waiting))
		proceed(container_of(waiting.next, struct flight, link));
}

/* ---- the beginning ---- */

static void decide_builtin(struct flight *f)
{
	const struct verify_conf *conf = f->v->conf;
	struct verdict verdict = { .accepted = true };
	enum reason reason;
	struct err e;

	if (builtin_verify(&f->peer.evidence, conf->builtin_policy, &reason, &e) < 0) {
		refuse(f, reason, &e);
		return;
	}
	verdict.expires_ms = max_age_end(f);
	snprintf(verdict.tee, sizeof(verdict.tee), "%s", f->peer.evidence.tee);
	snprintf(verdict.policy, sizeof(verdict.policy), "%s", builtin_policy_name(conf->builtin_policy));
	end_flight(f, &verdict);
}

static void begin(struct flight *f)
{
	const struct verify_conf *conf = f->v->conf;
	enum reason reason = REASON_INTERNAL;
	struct err e;

	f->begun_ms = clock_ms();
	if (peer_evidence_read(buf_bytes(&f->cert_der), conf->model, f->v->binding, &f->peer, &reason, &e) < 0) {
		refuse(f, reason, &e);
		return;
	}
	buf_release(&f->cert_der);
	f->has_token = conf->model == MODEL_PASSPORT;
	if (conf->as.type == AS_BUILTIN)
		decide_builtin(f);
	else
		proceed(f);
}

/* ---- between the threads ---- */

/* With the lock held. */
static void wake_loop(struct verifier *v)
{
	if (v->wake_posted)
		return;
	v->wake_posted = true;
	ref_get(&v->ref);
	loop_post(v->loop, &v->wake);
}

/* f->link as well under the lock, in case the flight is still FRESH. */
static struct flight *take_abandoned(struct verifier *v)
{
	struct flight *f = NULL;
	struct list *l;

	pthread_mutex_lock(&v->lock);
	l = list_pop(&v->abandoned);
	if (l != NULL) {
		f = container_of(l, struct flight, abandoned_link);
		list_remove(&f->link);
	}
	pthread_mutex_unlock(&v->lock);
	return f;
}

static struct flight *take_fresh(struct verifier *v)
{
	struct list *l;

	pthread_mutex_lock(&v->lock);
	l = list_pop(&v->fresh);
	pthread_mutex_unlock(&v->lock);
	return l == NULL ? NULL : container_of(l, struct flight, link);
}

static void on_wake(struct mail *mail)
{
	struct verifier *v = container_of(mail, struct verifier, wake);
	struct flight *f;
	bool dead;

	pthread_mutex_lock(&v->lock);
	v->wake_posted = false;
	dead = v->dead;
	pthread_mutex_unlock(&v->lock);
	if (!dead) {
		while ((f = take_abandoned(v)) != NULL)
			flight_free(f);
		ask_service(v);
		while ((f = take_fresh(v)) != NULL)
			begin(f);
	}
	verifier_unref(v);
}

bool verifier_cached(struct verifier *v, const uint8_t cert_sha256[32], struct verdict *out)
{
	uint8_t key[VERDICT_KEY_LEN];

	pthread_mutex_lock(&v->lock);
	make_key(v, cert_sha256, key);
	pthread_mutex_unlock(&v->lock);
	return verdict_cache_get(v->cache, key, clock_ms(), out);
}

static struct flight *flight_new(struct verifier *v, const uint8_t cert_sha256[CERT_HASH_LEN], struct bytes cert_der)
{
	struct flight *f = mem_new_of(struct flight);

	f->v = v;
	memcpy(f->cert_sha256, cert_sha256, CERT_HASH_LEN);
	buf_append_bytes(&f->cert_der, cert_der);
	list_init(&f->table_link);
	list_init(&f->waiters);
	list_init(&f->abandoned_link);
	list_init(&f->link);
	return f;
}

/* With the lock held. */
static void join(struct verifier *v, struct verify_call *call, struct bytes cert_der,
		 const uint8_t cert_sha256[CERT_HASH_LEN])
{
	struct flight *f = find_flight(v, cert_sha256);
	uint8_t key[VERDICT_KEY_LEN];
	struct verdict verdict;

	if (f == NULL) {
		make_key(v, cert_sha256, key);
		if (verdict_cache_get(v->cache, key, clock_ms(), &verdict)) {
			post_answer(call, &verdict);
			return;
		}
		f = flight_new(v, cert_sha256, cert_der);
		list_append(bucket_of(v, cert_sha256), &f->table_link);
		list_append(&v->fresh, &f->link);
		wake_loop(v);
	}
	call->flight = f;
	list_append(&f->waiters, &call->link);
}

struct verify_call *verifier_check(struct verifier *v, struct loop *reply_to, struct bytes cert_der,
				   const uint8_t cert_sha256[32], struct verify_events *events)
{
	struct verify_call *call = mem_new_of(struct verify_call);

	ref_get(&v->ref);
	call->v = v;
	call->reply_to = reply_to;
	call->events = events;
	call->mail.deliver = deliver_answer;
	list_init(&call->link);
	pthread_mutex_lock(&v->lock);
	if (v->dead)
		call->state = CALL_ORPHAN;
	else
		join(v, call, cert_der, cert_sha256);
	pthread_mutex_unlock(&v->lock);
	return call;
}

/* With the lock held. A flight that is FRESH is in the loop's hands as soon as it is abandoned. */
static void leave_flight(struct verify_call *call)
{
	struct flight *f = call->flight;

	list_remove(&call->link);
	if (!list_is_empty(&f->waiters))
		return;
	list_remove(&f->table_link);
	list_append(&call->v->abandoned, &f->abandoned_link);
	wake_loop(call->v);
}

void verify_call_cancel(struct verify_call *call)
{
	struct verifier *v = call->v;
	bool answered;

	pthread_mutex_lock(&v->lock);
	answered = call->state == CALL_ANSWERED;
	if (call->state == CALL_WAITING)
		leave_flight(call);
	pthread_mutex_unlock(&v->lock);
	if (answered)
		call->cancelled = true; /* freed when the mail arrives */
	else
		call_free(call);
}

/* ---- life ---- */

static size_t flights_max(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return ATTEST_FLIGHTS_MAX;
	return MAX(MIN((size_t)limit.rlim_cur / ATTEST_FLIGHTS_FD_SHARE, (size_t)ATTEST_FLIGHTS_MAX), (size_t)4);
}

static int open_parts(struct verifier *v, struct err *e)
{
	const struct verify_conf *conf = v->conf;
	bool asks = conf->model == MODEL_BACKGROUND_CHECK && conf->as.type != AS_BUILTIN;
	enum trust_source source;

	if (trust_source_of(conf, &source, e) < 0)
		return -1;
	v->trust = source == TRUST_EMBEDDED ? TOKEN_TRUST_EMBEDDED : TOKEN_TRUST_ANCHORS;
	if (source == TRUST_FILES && trust_load_files(&conf->trusted_certs_paths, &v->files, e) < 0)
		return -1;
	if (asks || source == TRUST_SERVICE) {
		v->as = as_client_new(v->loop, &conf->as, e);
		if (v->as == NULL)
			return -1;
	}
	if (source == TRUST_SERVICE)
		v->anchors = anchors_new(v->loop, v->as, v->name, &v->anchors_events);
	return 0;
}

struct verifier *verifier_new(struct loop *loop, const struct verify_conf *conf, enum binding binding,
			      struct verdict_cache *cache, const char *name, struct err *e)
{
	struct verifier *v = mem_new_of(struct verifier);

	ref_init(&v->ref);
	v->loop = loop;
	v->conf = conf;
	v->binding = binding;
	v->cache = cache;
	v->name = mem_format("%s.verify", name);
	v->asking_max = flights_max();
	v->wake.deliver = on_wake;
	v->anchors_events.fetched = on_anchors;
	pthread_mutex_init(&v->lock, NULL);
	for (size_t i = 0; i < BUCKETS; i++)
		list_init(&v->table[i]);
	list_init(&v->fresh);
	list_init(&v->abandoned);
	list_init(&v->queued);
	list_init(&v->asking);
	list_init(&v->parked);
	timer_init(&v->queue_deadline, on_queue_deadline);
	if (open_parts(v, e) < 0) {
		err_wrap(e, "%s", v->name);
		verifier_free(v);
		return NULL;
	}
	describe(v);
	update_fingerprint(v);
	return v;
}

void verifier_start(struct verifier *v)
{
	if (v->anchors != NULL)
		anchors_start(v->anchors);
}

/* With the lock held. */
static void orphan_waiters(struct flight *f)
{
	while (!list_is_empty(&f->waiters)) {
		struct verify_call *call = container_of(f->waiters.next, struct verify_call, link);

		list_remove(&call->link);
		call->flight = NULL;
		call->state = CALL_ORPHAN;
	}
}

static void free_flights(struct list *stage)
{
	while (!list_is_empty(stage)) {
		struct flight *f = container_of(stage->next, struct flight, link);

		orphan_waiters(f);
		flight_free(f);
	}
}

void verifier_free(struct verifier *v)
{
	if (v == NULL)
		return;
	pthread_mutex_lock(&v->lock);
	v->dead = true;
	free_flights(&v->fresh);
	free_flights(&v->queued);
	free_flights(&v->asking);
	free_flights(&v->parked);
	pthread_mutex_unlock(&v->lock);
	timer_cancel(v->loop, &v->queue_deadline);
	anchors_free(v->anchors);
	as_client_free(v->as);
	cert_list_release(&v->files);
	buf_release(&v->rests_on);
	verifier_unref(v);
}
