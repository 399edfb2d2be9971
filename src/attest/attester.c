/* SPDX-License-Identifier: Apache-2.0 */
/*
 * attester - collections of evidence.
 *
 * At most one collection (collection.h) is under way for the current identity, and one for each call of
 * attester_collect(), of which ATTEST_COLLECTIONS_MAX run at a time; the others wait in order.
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
 * Calls come from other threads. The lock guards the list of those that wait, which errand is whose,
 * and the current identity. Answers are posted under the lock, so whoever cancels afterwards knows
 * that the mail is in his loop. Calls keep a reference to the attester; those that are open when it is
 * freed become orphans: their caller never hears of them again, and frees them by cancelling.
 */
#include "attest/attester.h"

#include "attest/collection.h"
#include "attest/limits.h"
#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"
#include "base/ref.h"
#include "io/loop.h"

#include <pthread.h>
#include <stdlib.h>

#define RENEW_AHEAD_MAX_S 60
#define RETRY_PAUSE_MIN_MS 1000u
#define RETRY_PAUSE_MAX_MS 10000u
#define LINES_PER_SECOND 4

enum health { HEALTH_NONE, HEALTH_GOOD, HEALTH_STALE, HEALTH_DOWN };

struct attester {
	struct ref ref;
	struct loop *loop;
	const struct attest_conf *conf;
	char *name;

	pthread_mutex_t lock; /* guards the following, and what is marked so in collections and calls */
	struct identity *current;
	struct list waiting; /* calls */
	size_t waiting_count;
	struct mail wake;
	bool wake_posted;
	bool dead;

	/* The loop's own. */
	struct collector *collector;
	struct list running; /* errands */
	size_t running_count;
	struct timer waiting_deadline;
	struct collection *renewal;
	struct collection_events renewal_events;
	struct timer next;
	struct timer expiry;
	unsigned pause_ms;
	enum health health;
	enum reason reason; /* of the last failure */
	struct log_limit lines;
};

/* A collection for a call, which may have been left alone. */
struct errand {
	struct list link;
	struct attester *a;
	struct attester_call *caller; /* lock; NULL: nobody waits any more */
	struct collection *collection;
	struct collection_events events;
};

enum call_state { CALL_WAITING, CALL_RUNNING, CALL_ANSWERED, CALL_ORPHAN };

struct attester_call {
	struct mail mail;
	struct list link; /* of waiting */
	struct attester *a;
	struct errand *errand; /* lock */
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

	identity_unref(call->id);
	free(call);
	attester_unref(a);
}

static void errand_free(struct errand *r)
{
	if (r->collection != NULL)
		collection_cancel(r->collection);
	list_remove(&r->link);
	free(r);
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
		log_error("%s: has no evidence, peers are refused: %s: %s; retrying", a->name, reason_word(a->reason),
			  why->text);
}

/* One of id and why. What peers and agents can provoke at will is limited. */
static void set_health(struct attester *a, enum health health, const struct identity *id, enum reason reason,
		       const struct err *why)
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
static void post_answer(struct attester_call *call, struct identity *id, enum reason reason, const struct err *why)
{
	call->state = CALL_ANSWERED;
	call->errand = NULL;
	call->id = id;
	call->reason = reason;
	if (why != NULL)
		call->why = *why;
	loop_post(call->reply_to, &call->mail);
}

/* ---- renewal ---- */

static void publish(struct attester *a, struct identity *id)
{
	struct identity *old;

	pthread_mutex_lock(&a->lock);
	old = a->current;
	a->current = id;
	pthread_mutex_unlock(&a->lock);
	identity_unref(old);
}

/* Takes id. */
static void take_renewed(struct attester *a, struct identity *id)
{
	int64_t left_s = MAX(id->expires_unix - clock_unix(), (int64_t)0);
	int64_t ahead_s = MIN(left_s / 5 + 1, (int64_t)RENEW_AHEAD_MAX_S);
	int64_t delay_s = MIN((int64_t)a->conf->refresh_interval_s, MAX(left_s - ahead_s, (int64_t)1));

	/* First published, then told: who reads the line may connect. */
	publish(a, id);
	set_health(a, HEALTH_GOOD, id, REASON_DONE, NULL);
	a->pause_ms = RETRY_PAUSE_MIN_MS;
	timer_start(a->loop, &a->next, (uint64_t)delay_s * 1000);
	timer_start(a->loop, &a->expiry, (uint64_t)left_s * 1000);
}

static bool has_current(struct attester *a)
{
	struct identity *id = attester_current(a);

	if (id == NULL)
		return false;
	identity_unref(id);
	return true;
}

static void take_failure(struct attester *a, enum reason reason, const struct err *why)
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
	set_health(a, HEALTH_DOWN, NULL, a->health == HEALTH_STALE ? a->reason : REASON_ATTESTER_UNAVAILABLE, &why);
}

static void on_renewed(struct collection_events *self, struct identity *id, enum reason reason, const struct err *why)
{
	struct attester *a = container_of(self, struct attester, renewal_events);

	a->renewal = NULL;
	if (id != NULL)
		take_renewed(a, id);
	else
		take_failure(a, reason, why);
}

static void renew(struct attester *a)
{
	if (a->renewal == NULL)
		a->renewal = collection_start(a->collector, &a->renewal_events);
}

static void on_next(struct timer *t)
{
	renew(container_of(t, struct attester, next));
}

/* ---- errands ---- */

static void start_waiting(struct attester *a);

static void on_errand_ended(struct collection_events *self, struct identity *id, enum reason reason,
			    const struct err *why)
{
	struct errand *r = container_of(self, struct errand, events);
	struct attester *a = r->a;

	r->collection = NULL;
	set_health(a, id != NULL ? HEALTH_GOOD : HEALTH_DOWN, id, reason, why);
	pthread_mutex_lock(&a->lock);
	if (r->caller != NULL)
		post_answer(r->caller, id, REASON_ATTESTER_UNAVAILABLE, why);
	else
		identity_unref(id);
	pthread_mutex_unlock(&a->lock);
	a->running_count--;
	errand_free(r);
	start_waiting(a);
}

static struct errand *errand_new(struct attester_call *caller)
{
	struct errand *r = mem_new_of(struct errand);

	r->a = caller->a;
	r->caller = caller;
	r->events.ended = on_errand_ended;
	list_init(&r->link);
	return r;
}

/* ---- calls ---- */

/* With the lock held. */
static void leave_waiting(struct attester_call *call)
{
	list_remove(&call->link);
	call->a->waiting_count--;
}

static struct errand *take_waiting(struct attester *a)
{
	struct errand *r = NULL;

	pthread_mutex_lock(&a->lock);
	if (!list_is_empty(&a->waiting)) {
		struct attester_call *call = container_of(a->waiting.next, struct attester_call, link);

		r = errand_new(call);
		leave_waiting(call);
		call->state = CALL_RUNNING;
		call->errand = r;
	}
	pthread_mutex_unlock(&a->lock);
	return r;
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
		struct errand *r = take_waiting(a);

		if (r == NULL)
			break;
		a->running_count++;
		list_append(&a->running, &r->link);
		r->collection = collection_start(a->collector, &r->events);
	}
	watch_deadlines(a);
}

static bool is_wanted(struct errand *r)
{
	bool wanted;

	pthread_mutex_lock(&r->a->lock);
	wanted = r->caller != NULL;
	pthread_mutex_unlock(&r->a->lock);
	return wanted;
}

static void stop_unwanted(struct attester *a)
{
	LIST_EACH (l, &a->running) {
		struct errand *r = container_of(l, struct errand, link);

		if (is_wanted(r))
			continue;
		a->running_count--;
		errand_free(r);
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

struct attester_call *attester_collect(struct attester *a, struct loop *reply_to, struct attester_events *events)
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
		call->errand->caller = NULL;
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

struct attester *attester_new(struct loop *loop, const struct attest_conf *conf, enum binding binding, const char *name,
			      struct err *e)
{
	struct attester *a = mem_new_of(struct attester);

	ref_init(&a->ref);
	a->loop = loop;
	a->conf = conf;
	a->name = mem_format("%s.attest", name);
	a->pause_ms = RETRY_PAUSE_MIN_MS;
	a->wake.deliver = on_wake;
	pthread_mutex_init(&a->lock, NULL);
	list_init(&a->waiting);
	list_init(&a->running);
	timer_init(&a->waiting_deadline, on_waiting_deadline);
	timer_init(&a->next, on_next);
	timer_init(&a->expiry, on_expiry);
	a->renewal_events.ended = on_renewed;
	a->collector = collector_new(loop, conf, binding, e);
	if (a->collector == NULL) {
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
	LIST_EACH (l, &a->running) {
		struct errand *r = container_of(l, struct errand, link);

		if (r->caller == NULL)
			continue;
		r->caller->state = CALL_ORPHAN;
		r->caller->errand = NULL;
		r->caller = NULL;
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
		errand_free(container_of(a->running.next, struct errand, link));
	if (a->renewal != NULL)
		collection_cancel(a->renewal);
	timer_cancel(a->loop, &a->waiting_deadline);
	timer_cancel(a->loop, &a->next);
	timer_cancel(a->loop, &a->expiry);
	collector_free(a->collector);
	identity_unref(a->current);
	a->current = NULL;
	attester_unref(a);
}
