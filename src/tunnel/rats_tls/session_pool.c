/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session_pool - who waits for a stream, and which session gives it one.
 *
 *   open:     WAITING (for a session) --> ASKING (CONNECT sent) --> over
 *   session:  DIALING --> SECURING --> READY <--> JUDGING --> RETIRED
 *
 * JUDGING is a session whose verdict has run out and is being renewed. RETIRED takes no new streams and goes
 * with its last one. serve() looks at all that wait for a destination, gives out what there is, and opens
 * another session if that is not enough; it runs from a task, so that any number of changes cost one look.
 */
#include "tunnel/rats_tls/session_pool.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attest/verifier.h"
#include "base/clock.h"
#include "base/log.h"
#include "io/worker.h"
#include "tunnel/rats_tls/record_stream.h"
#include "tunnel/rats_tls/secure_side.h"

#define REAP_MS 1000 /* between two looks whether a retired session can go */
#define BUCKETS 256
#define UNKNOWN_ROOM 100 /* RFC 9113 6.5.2 recommends peers to allow at least this */
#define HTTP_BUSY 503	 /* the other gateway is at a limit of its own */

enum session_state { SESSION_DIALING, SESSION_SECURING, SESSION_READY, SESSION_JUDGING, SESSION_RETIRED };

struct destination {
	struct list link; /* in its bucket */
	struct session_pool *pool;
	struct endpoint to;
	struct sock_addr from; /* all zero: the kernel chooses */
	unsigned opens;	       /* struct session_open, in every state */
	struct list sessions;
	struct list waiting; /* struct session_open */
	unsigned waiting_count;
	unsigned opening;   /* sessions in DIALING or SECURING */
	unsigned last_room; /* that a new session offered */
	struct task serve;
};

struct session {
	struct list link;
	struct destination *dest;
	enum session_state state;
	struct dial *dial;
	struct dial_events dial_events;
	struct secure *secure;
	struct secure_events secure_events;
	struct record_stream tls;
	struct mux_session *mux;
	struct mux_session_events mux_events;
	uint64_t used_ms; /* when it last had a stream */
	bool ended;
	bool attested;
	uint64_t verdict_expires_ms;
	bool is_fresh; /* the verdict serves at least those who waited for it */
	char tee[32];
	struct buf cert;
	uint8_t cert_sha256[32];
	struct verify_call *verifying;
	struct verify_events verify_events;
	struct timer idle; /* looks whether it can go */
	struct task reap;
};

struct session_open {
	struct list link;
	struct destination *dest;
	struct session_open_events *events;
	struct session *session; /* ASKING */
	struct mux_stream *stream;
	struct mux_connect_events connect_events;
	struct timer deadline;
	unsigned tries;
	bool failed;
	enum reason reason;
	struct err why;
	struct task tell;
};

struct session_pool {
	struct session_pool_options options;
	struct worker *worker;
	struct list buckets[BUCKETS]; /* of destinations */
};

static struct loop *loop_of(const struct destination *d)
{
	return d->pool->worker->loop;
}

/* ---- sessions ---- */

static void session_free(struct session *s)
{
	struct loop *loop = loop_of(s->dest);

	list_remove(&s->link);
	atomic_fetch_sub_explicit(s->dest->pool->options.descriptors, 1, memory_order_relaxed);
	timer_cancel(loop, &s->idle);
	task_cancel(&s->reap);
	dial_cancel(s->dial);
	secure_cancel(s->secure);
	if (s->verifying != NULL)
		verify_call_cancel(s->verifying);
	if (s->mux != NULL)
		mux_session_free(s->mux);
	else if (s->tls.watch.fd >= 0)
		s->tls.stream.ops->close(&s->tls.stream, STREAM_FINISHED);
	buf_release(&s->cert);
	task_schedule(loop, &s->dest->serve); /* which forgets a destination that nobody uses */
	free(s);
}

static void on_reap(struct task *t)
{
	struct session *s = container_of(t, struct session, reap);

	if (s->state == SESSION_RETIRED && (s->mux == NULL || mux_session_streams(s->mux) == 0))
		session_free(s);
}

static void retire(struct session *s)
{
	if (s->state == SESSION_RETIRED)
		return;
	if (s->state == SESSION_DIALING || s->state == SESSION_SECURING)
		s->dest->opening--;
	if (s->verifying != NULL) {
		verify_call_cancel(s->verifying);
		s->verifying = NULL;
	}
	s->state = SESSION_RETIRED;
	if (s->mux != NULL && !s->ended)
		mux_session_drain(s->mux);
	task_schedule(loop_of(s->dest), &s->reap);
	timer_start(loop_of(s->dest), &s->idle, REAP_MS);
}

/* Looks now and then: that the last stream has been closed is told by nobody. */
static void on_idle(struct timer *t)
{
	struct session *s = container_of(t, struct session, idle);
	struct loop *loop = loop_of(s->dest);
	unsigned limit = s->dest->pool->options.pool_idle_ms;

	if (s->state == SESSION_RETIRED) {
		timer_start(loop, &s->idle, REAP_MS);
		task_schedule(loop, &s->reap);
		return;
	}
	if (mux_session_streams(s->mux) > 0)
		s->used_ms = loop_now_ms(loop);
	if (loop_now_ms(loop) - s->used_ms >= limit)
		retire(s);
	else
		timer_start(loop, &s->idle, MAX(limit / 4, 1u));
}

static void on_changed(struct mux_session_events *self)
{
	struct session *s = container_of(self, struct session, mux_events);

	if (s->state == SESSION_RETIRED)
		task_schedule(loop_of(s->dest), &s->reap);
	else if (mux_session_is_closing(s->mux))
		retire(s);
	else
		s->dest->last_room = MAX(mux_session_room(s->mux) + mux_session_streams(s->mux), 1u);
	task_schedule(loop_of(s->dest), &s->dest->serve);
}

static void on_ended(struct mux_session_events *self, enum reason reason, const struct err *why)
{
	struct session *s = container_of(self, struct session, mux_events);
	char to[ENDPOINT_TEXT];

	log_debug("%s: session to %s ended: %s: %s", s->dest->pool->options.side->name,
		  endpoint_format(&s->dest->to, to), reason_word(reason), why->text);
	s->ended = true;
	retire(s);
	task_schedule(loop_of(s->dest), &s->dest->serve);
}

/* An open is linked only while it waits for a session. */
static void stop_waiting(struct session_open *o)
{
	if (list_is_empty(&o->link))
		return;
	list_remove(&o->link);
	o->dest->waiting_count--;
}

static void fail_open(struct session_open *o, enum reason reason, const struct err *why)
{
	if (o->failed)
		return;
	o->failed = true;
	o->reason = reason;
	o->why = *why;
	stop_waiting(o);
	task_schedule(loop_of(o->dest), &o->tell);
}

/* Nothing else is under way for them: all who wait are told why. */
static void session_failed(struct session *s, enum reason reason, const struct err *why)
{
	struct destination *d = s->dest;

	retire(s);
	if (d->opening > 0)
		return;
	LIST_EACH (link, &d->waiting)
		fail_open(container_of(link, struct session_open, link), reason, why);
}

static void keep_verdict(struct session *s, const struct verdict *v)
{
	s->attested = true;
	s->is_fresh = true;
	s->verdict_expires_ms = v->expires_ms;
	snprintf(s->tee, sizeof(s->tee), "%s", v->tee);
}

static void on_secured(struct secure_events *self, const struct secured *result)
{
	struct session *s = container_of(self, struct session, secure_events);
	struct destination *d = s->dest;
	struct mux_session_options options = { .role = MUX_CLIENT };
	struct err why;

	s->secure = NULL;
	if (result->alpn != TLS_ALPN_H2) {
		err_set(&why, ERR_PEER, "the peer does not multiplex (no ALPN h2)");
		session_failed(s, REASON_TLS_ALPN, &why);
		return;
	}
	if (result->attested) {
		keep_verdict(s, &result->verdict);
		buf_append_bytes(&s->cert, result->cert);
		memcpy(s->cert_sha256, result->cert_sha256, sizeof(s->cert_sha256));
	}
	s->mux = mux_session_new(d->pool->worker, &s->tls.stream, &options, &s->mux_events, &why);
	if (s->mux == NULL) {
		session_failed(s, REASON_INTERNAL, &why);
		return;
	}
	d->opening--;
	s->state = SESSION_READY;
	d->last_room = MAX(mux_session_room(s->mux), 1u);
	s->used_ms = loop_now_ms(loop_of(d));
	timer_start(loop_of(d), &s->idle, MAX(d->pool->options.pool_idle_ms / 4, 1u));
	task_schedule(loop_of(d), &d->serve);
}

static void on_secure_failed(struct secure_events *self, enum reason reason, const struct err *why)
{
	struct session *s = container_of(self, struct session, secure_events);

	s->secure = NULL;
	session_failed(s, reason, why);
}

static enum reason dial_reason(enum dial_failure failure)
{
	switch (failure) {
	case DIAL_RESOLVE:
		return REASON_RESOLVE_FAILED;
	case DIAL_REFUSED:
		return REASON_PEER_REFUSED;
	case DIAL_UNREACHABLE:
		return REASON_PEER_UNREACHABLE;
	case DIAL_TIMEOUT:
		return REASON_PEER_TIMEOUT;
	case DIAL_NO_DESCRIPTORS:
		return REASON_NO_DESCRIPTORS;
	case DIAL_SOURCE:
		return REASON_SOURCE_TAKEN;
	}
	return REASON_INTERNAL;
}

static void on_dial_failed(struct dial_events *self, enum dial_failure failure, const struct err *why)
{
	struct session *s = container_of(self, struct session, dial_events);

	s->dial = NULL;
	session_failed(s, dial_reason(failure), why);
}

static void on_connected(struct dial_events *self, int fd, struct watch *watch, const struct sock_addr *addr)
{
	struct session *s = container_of(self, struct session, dial_events);
	struct worker *w = s->dest->pool->worker;
	struct err why;

	(void)addr;
	s->dial = NULL;
	record_stream_init(&s->tls, w, fd);
	if (loop_hand_over(w->loop, watch, &s->tls.watch, WATCH_STREAM, &why) < 0) {
		loop_unwatch(w->loop, watch);
		session_failed(s, REASON_INTERNAL, &why);
		return;
	}
	s->state = SESSION_SECURING;
	s->secure = secure_start(s->dest->pool->options.side, &s->tls, "tng.internal", &s->secure_events);
}

static void session_open_new(struct destination *d)
{
	struct session_pool *p = d->pool;
	struct session *s = mem_new_of(struct session);
	struct dial_options options = {
		.to = d->to,
		.from = d->from,
		.connect_ms = p->options.connect_ms,
		.resolve_ms = p->options.resolve_ms,
		.sock = p->options.sock,
	};

	s->dest = d;
	s->state = SESSION_DIALING;
	s->tls.watch.fd = -1;
	s->dial_events.connected = on_connected;
	s->dial_events.failed = on_dial_failed;
	s->secure_events.secured = on_secured;
	s->secure_events.failed = on_secure_failed;
	s->mux_events.changed = on_changed;
	s->mux_events.ended = on_ended;
	timer_init(&s->idle, on_idle);
	task_init(&s->reap, on_reap);
	list_init(&s->link);
	list_append(&d->sessions, &s->link);
	d->opening++;
	atomic_fetch_add_explicit(p->options.descriptors, 1, memory_order_relaxed);
	s->dial = dial_start(p->worker, &options, &s->dial_events);
}

/* ---- the verdict of a session that is in use ---- */

static void on_decided(struct verify_events *self, const struct verdict *v)
{
	struct session *s = container_of(self, struct session, verify_events);
	char to[ENDPOINT_TEXT];

	s->verifying = NULL;
	if (v->accepted) {
		keep_verdict(s, v);
		s->state = SESSION_READY;
	} else {
		/* A new handshake may bring newer evidence; if it does not, it is refused as well. */
		log_warn("%s: session to %s takes no more streams: %s: %s", s->dest->pool->options.side->name,
			 endpoint_format(&s->dest->to, to), reason_word(v->reason), v->why.text);
		retire(s);
	}
	task_schedule(loop_of(s->dest), &s->dest->serve);
}

/* true when the peer of the session is still believed; begins to find out when that is not known. */
static bool is_believed(struct session *s)
{
	struct verifier *verifier = s->dest->pool->options.side->verifier;
	struct verdict v;

	if (verifier == NULL || s->is_fresh || clock_ms() < s->verdict_expires_ms)
		return true;
	if (verifier_cached(verifier, s->cert_sha256, &v)) {
		keep_verdict(s, &v);
		return true;
	}
	s->state = SESSION_JUDGING;
	s->verify_events.decided = on_decided;
	s->verifying =
		verifier_check(verifier, loop_of(s->dest), buf_bytes(&s->cert), s->cert_sha256, &s->verify_events);
	return false;
}

/* ---- opens ---- */

static void open_free(struct session_open *o)
{
	struct loop *loop = loop_of(o->dest);

	stop_waiting(o);
	timer_cancel(loop, &o->deadline);
	task_cancel(&o->tell);
	if (o->stream != NULL)
		mux_stream_stream(o->stream)->ops->close(mux_stream_stream(o->stream), STREAM_ABORT);
	o->dest->opens--;
	task_schedule(loop, &o->dest->serve);
	free(o);
}

static void on_tell(struct task *t)
{
	struct session_open *o = container_of(t, struct session_open, tell);
	struct session_open_events *events = o->events;
	enum reason reason = o->reason;
	struct err why = o->why;

	open_free(o);
	events->failed(events, reason, &why);
}

static void on_answered(struct mux_connect_events *self, int status)
{
	struct session_open *o = container_of(self, struct session_open, connect_events);
	struct session_open_events *events = o->events;
	struct mux_stream *stream = o->stream;
	struct session *s = o->session;
	struct err why;

	if (status != 200) {
		err_set(&why, status == HTTP_BUSY ? ERR_LIMIT : ERR_PEER, "the other gateway answered CONNECT with %d",
			status);
		fail_open(o, REASON_PEER_DECLINED, &why);
		return;
	}
	o->stream = NULL;
	open_free(o);
	events->opened(events, stream, s->attested, s->tee);
}

static void wait_again(struct session_open *o)
{
	o->session = NULL;
	list_append(&o->dest->waiting, &o->link);
	o->dest->waiting_count++;
	task_schedule(loop_of(o->dest), &o->dest->serve);
}

/*
 * A session that ended before it answered: once more on another one, for the peer may have closed it
 * while our CONNECT was on its way. No byte of the application has left yet.
 */
static void on_connect_failed(struct mux_connect_events *self, enum reason reason, const struct err *why)
{
	struct session_open *o = container_of(self, struct session_open, connect_events);
	struct stream *s = mux_stream_stream(o->stream);
	struct err alert;
	bool alerted = record_stream_alert(&o->session->tls, &alert);

	s->ops->close(s, STREAM_ABORT);
	o->stream = NULL;
	if (alerted)
		fail_open(o, REASON_TLS_ALERT, &alert);
	else if (o->tries < 2)
		wait_again(o);
	else
		fail_open(o, reason, why);
}

static void on_open_deadline(struct timer *t)
{
	struct session_open *o = container_of(t, struct session_open, deadline);
	char to[ENDPOINT_TEXT];
	struct err why;

	endpoint_format(&o->dest->to, to);
	if (o->session == NULL && o->dest->opening == 0) {
		err_set(&why, ERR_LIMIT, "no session to %s has a free stream", to);
		fail_open(o, REASON_LIMIT_STREAMS, &why);
	} else {
		err_set(&why, ERR_TIMEOUT, "no tunnel to %s in time", to);
		fail_open(o, REASON_PEER_TIMEOUT, &why);
	}
}

static bool ask(struct session_open *o, struct session *s)
{
	struct mux_stream *stream = mux_session_connect(s->mux, &o->connect_events);

	if (stream == NULL)
		return false;
	o->tries++;
	o->stream = stream;
	o->session = s;
	stop_waiting(o);
	s->used_ms = loop_now_ms(loop_of(o->dest));
	if (o->dest->pool->options.single)
		retire(s); /* goes with this stream */
	return true;
}

static bool may_open_another(const struct destination *d)
{
	unsigned most = d->pool->options.max_connections;
	unsigned count = 0;

	if (most == 0)
		return true;
	LIST_EACH (link, &d->sessions) {
		if (container_of(link, struct session, link)->state != SESSION_RETIRED)
			count++;
	}
	return count < most;
}

/* The first session that may take a stream. soft: max_streams holds only as long as another may be opened. */
static struct session *find_session(struct destination *d, bool soft_limit)
{
	unsigned most = d->pool->options.max_streams;

	LIST_EACH (link, &d->sessions) {
		struct session *s = container_of(link, struct session, link);

		if (s->state != SESSION_READY || mux_session_room(s->mux) == 0)
			continue;
		if (soft_limit && most > 0 && mux_session_streams(s->mux) >= most)
			continue;
		if (is_believed(s))
			return s;
	}
	return NULL;
}

static bool is_judging(const struct destination *d)
{
	LIST_EACH (link, &d->sessions) {
		if (container_of(link, struct session, link)->state == SESSION_JUDGING)
			return true;
	}
	return false;
}

static void open_more(struct destination *d)
{
	unsigned most = d->pool->options.max_streams;
	unsigned room = most > 0 ? most : d->last_room;
	unsigned wanted = (d->waiting_count + room - 1) / room;

	while (d->opening < wanted && may_open_another(d))
		session_open_new(d);
}

/* Clients choose the destinations of an entry that captures: what is not in use is forgotten. */
static void destination_free(struct destination *d)
{
	list_remove(&d->link);
	task_cancel(&d->serve);
	free(d);
}

static void serve(struct task *t)
{
	struct destination *d = container_of(t, struct destination, serve);

	while (!list_is_empty(&d->waiting)) {
		struct session_open *o = container_of(d->waiting.next, struct session_open, link);
		struct session *s = find_session(d, true);

		if (s == NULL && !may_open_another(d))
			s = find_session(d, false);
		if (s == NULL || !ask(o, s))
			break;
	}
	LIST_EACH (link, &d->sessions)
		container_of(link, struct session, link)->is_fresh = false;
	if (!list_is_empty(&d->waiting) && !is_judging(d))
		open_more(d);
	else if (list_is_empty(&d->sessions) && d->opens == 0)
		destination_free(d);
}

/* ---- the pool ---- */

struct session_pool *session_pool_new(const struct session_pool_options *options)
{
	struct session_pool *p = mem_new_of(struct session_pool);

	p->options = *options;
	p->worker = options->side->worker;
	for (size_t i = 0; i < BUCKETS; i++)
		list_init(&p->buckets[i]);
	return p;
}

void session_pool_free(struct session_pool *p)
{
	if (p == NULL)
		return;
	for (size_t i = 0; i < BUCKETS; i++) {
		LIST_EACH (link, &p->buckets[i]) {
			struct destination *d = container_of(link, struct destination, link);

			LIST_EACH (at, &d->sessions)
				session_free(container_of(at, struct session, link));
			destination_free(d);
		}
	}
	free(p);
}

static struct list *bucket_of(struct session_pool *p, const struct endpoint *to, const struct sock_addr *from)
{
	uint32_t hash = endpoint_hash(to) * 31 + sock_addr_hash(from);

	return &p->buckets[(hash ^ hash >> 16) % BUCKETS];
}

static struct destination *find_destination(struct session_pool *p, const struct endpoint *to,
					    const struct sock_addr *from)
{
	struct list *bucket = bucket_of(p, to, from);
	struct destination *d;

	LIST_EACH (link, bucket) {
		d = container_of(link, struct destination, link);
		if (endpoint_equal(&d->to, to) && sock_addr_equal(&d->from, from))
			return d;
	}
	d = mem_new_of(struct destination);
	d->pool = p;
	d->to = *to;
	d->from = *from;
	d->last_room = UNKNOWN_ROOM;
	list_init(&d->sessions);
	list_init(&d->waiting);
	task_init(&d->serve, serve);
	list_append(bucket, &d->link);
	return d;
}

struct session_open *session_pool_open(struct session_pool *p, const struct endpoint *to, const struct sock_addr *from,
				       struct session_open_events *events)
{
	struct destination *d = find_destination(p, to, from);
	struct session_open *o = mem_new_of(struct session_open);

	d->opens++;
	o->dest = d;
	o->events = events;
	o->connect_events.answered = on_answered;
	o->connect_events.failed = on_connect_failed;
	task_init(&o->tell, on_tell);
	timer_init(&o->deadline, on_open_deadline);
	timer_start(loop_of(d), &o->deadline, p->options.wait_ms);
	list_init(&o->link);
	list_append(&d->waiting, &o->link);
	d->waiting_count++;
	task_schedule(loop_of(d), &d->serve);
	return o;
}

void session_open_cancel(struct session_open *o)
{
	if (o != NULL)
		open_free(o);
}
