/* SPDX-License-Identifier: Apache-2.0 */
/*
 * verifier - flights of calls.
 *
 * A flight is one judgement of one certificate, with all callers who wait for it. verifier_check() joins the
 * certificate's flight or begins one, on the caller's thread and under the lock; the judge works on the
 * attestation loop.
 *
 *   FRESH --> UNDER WAY --> gone
 *     |           |          ^
 *     +-----------+--> ABANDONED
 *
 * FRESH      begun, the loop has not seen it
 * UNDER WAY  the judge has it
 * ABANDONED  nobody waits any more; the loop is to cancel it
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

#include "attest/judge.h"
#include "attest/verdict_cache.h"
#include "attest/verdict_key.h"
#include "base/clock.h"
#include "base/list.h"
#include "base/ref.h"
#include "io/loop.h"

#include <pthread.h>
#include <stdlib.h>

#define BUCKETS 1024
#define HASH_LEN 32

struct verifier {
	struct ref ref;
	struct loop *loop;
	struct verdict_cache *cache;
	struct judge *judge; /* the loop's own */
	struct basis_events basis_events;

	pthread_mutex_t lock;	 /* guards the following, and what is marked so in flights and calls */
	uint8_t basis[HASH_LEN]; /* all that a verdict rests on beside the certificate */
	struct list table[BUCKETS];
	struct list fresh;
	struct list under_way;
	struct list abandoned;
	struct mail wake;
	bool wake_posted;
	bool dead;
};

struct flight {
	struct verifier *v;
	uint8_t cert_sha256[HASH_LEN];
	struct list table_link; /* lock; in none when ABANDONED */
	struct list link;	/* lock; of the list of its state */
	struct list waiters;	/* lock */

	/* The loop's own. */
	struct buf cert_der; /* FRESH */
	struct judge_call *call;
	struct judge_events judge_events;
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
	free(v);
}

static void call_free(struct verify_call *call)
{
	struct verifier *v = call->v;

	free(call);
	verifier_unref(v);
}

/* On the loop. Does not touch waiters: there are none, or they are taken care of. */
static void flight_free(struct flight *f)
{
	if (f->call != NULL)
		judge_call_cancel(f->call);
	list_remove(&f->table_link);
	list_remove(&f->link);
	buf_release(&f->cert_der);
	free(f);
}

/* ---- keys ---- */

static void on_basis_changed(struct basis_events *self)
{
	struct verifier *v = container_of(self, struct verifier, basis_events);
	uint8_t basis[HASH_LEN];

	judge_basis(v->judge, basis);
	pthread_mutex_lock(&v->lock);
	memcpy(v->basis, basis, sizeof(basis));
	pthread_mutex_unlock(&v->lock);
}

static struct list *bucket_of(struct verifier *v, const uint8_t cert_sha256[HASH_LEN])
{
	uint32_t hash;

	memcpy(&hash, cert_sha256, sizeof(hash));
	return &v->table[hash % BUCKETS];
}

static struct flight *find_flight(struct verifier *v, const uint8_t cert_sha256[HASH_LEN])
{
	LIST_EACH (l, bucket_of(v, cert_sha256)) {
		struct flight *f = container_of(l, struct flight, table_link);

		if (memcmp(f->cert_sha256, cert_sha256, HASH_LEN) == 0)
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

static void on_judged(struct judge_events *self, const struct verdict *verdict)
{
	struct flight *f = container_of(self, struct flight, judge_events);
	struct verifier *v = f->v;
	uint8_t key[VERDICT_KEY_LEN];

	f->call = NULL;
	pthread_mutex_lock(&v->lock);
	if (verdict->accepted) {
		verdict_key_make(v->basis, f->cert_sha256, key);
		verdict_cache_put(v->cache, key, verdict, clock_ms());
	}
	while (!list_is_empty(&f->waiters))
		post_answer(container_of(f->waiters.next, struct verify_call, link), verdict);
	list_remove(&f->table_link);
	list_remove(&f->link);
	pthread_mutex_unlock(&v->lock);
	flight_free(f);
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

static struct flight *take_abandoned(struct verifier *v)
{
	struct list *l;

	pthread_mutex_lock(&v->lock);
	l = list_pop(&v->abandoned);
	pthread_mutex_unlock(&v->lock);
	return l == NULL ? NULL : container_of(l, struct flight, link);
}

static struct flight *take_fresh(struct verifier *v)
{
	struct list *l;

	pthread_mutex_lock(&v->lock);
	l = list_pop(&v->fresh);
	if (l != NULL)
		list_append(&v->under_way, l);
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
		while ((f = take_fresh(v)) != NULL)
			f->call = judge_decide(v->judge, &f->cert_der, &f->judge_events);
	}
	verifier_unref(v);
}

bool verifier_cached(struct verifier *v, const uint8_t cert_sha256[32], struct verdict *out)
{
	uint8_t key[VERDICT_KEY_LEN];

	pthread_mutex_lock(&v->lock);
	verdict_key_make(v->basis, cert_sha256, key);
	pthread_mutex_unlock(&v->lock);
	return verdict_cache_get(v->cache, key, clock_ms(), out);
}

static struct flight *flight_new(struct verifier *v, const uint8_t cert_sha256[HASH_LEN], struct bytes cert_der)
{
	struct flight *f = mem_new_of(struct flight);

	f->v = v;
	memcpy(f->cert_sha256, cert_sha256, HASH_LEN);
	buf_append_bytes(&f->cert_der, cert_der);
	list_init(&f->table_link);
	list_init(&f->waiters);
	list_init(&f->link);
	f->judge_events.decided = on_judged;
	return f;
}

/* With the lock held. */
static void join(struct verifier *v, struct verify_call *call, struct bytes cert_der,
		 const uint8_t cert_sha256[HASH_LEN])
{
	struct flight *f = find_flight(v, cert_sha256);
	uint8_t key[VERDICT_KEY_LEN];
	struct verdict verdict;

	if (f == NULL) {
		verdict_key_make(v->basis, cert_sha256, key);
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

/* With the lock held. */
static void leave_flight(struct verify_call *call)
{
	struct flight *f = call->flight;

	list_remove(&call->link);
	if (!list_is_empty(&f->waiters))
		return;
	list_remove(&f->table_link);
	list_remove(&f->link);
	list_append(&call->v->abandoned, &f->link);
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

struct verifier *verifier_new(struct loop *loop, const struct verify_conf *conf, enum binding binding,
			      struct verdict_cache *cache, const char *name, struct err *e)
{
	struct verifier *v = mem_new_of(struct verifier);

	ref_init(&v->ref);
	v->loop = loop;
	v->cache = cache;
	v->wake.deliver = on_wake;
	v->basis_events.changed = on_basis_changed;
	pthread_mutex_init(&v->lock, NULL);
	for (size_t i = 0; i < BUCKETS; i++)
		list_init(&v->table[i]);
	list_init(&v->fresh);
	list_init(&v->under_way);
	list_init(&v->abandoned);
	v->judge = judge_new(loop, conf, binding, name, &v->basis_events, e);
	if (v->judge == NULL) {
		verifier_free(v);
		return NULL;
	}
	judge_basis(v->judge, v->basis);
	return v;
}

void verifier_start(struct verifier *v)
{
	judge_start(v->judge);
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

static void free_flights(struct list *flights)
{
	while (!list_is_empty(flights)) {
		struct flight *f = container_of(flights->next, struct flight, link);

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
	free_flights(&v->under_way);
	free_flights(&v->abandoned);
	pthread_mutex_unlock(&v->lock);
	judge_free(v->judge);
	verifier_unref(v);
}
