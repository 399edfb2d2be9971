/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session_pool - who waits for a stream, and which session gives it one.
 *
 *   WAITING (for a session) --> ASKING (CONNECT sent) --> over
 *
 * serve() looks at all that wait for a destination, gives out what there is, and opens another session if that
 * is not enough; it runs from a task, so that any number of changes cost one look.
 *
 * A peer that does not do its part is not dialed again and again: after a setback no session is opened as long as
 * others are on their way, nor beside one that allows no stream at all; and who has seen two sessions end is told.
 */
#include "tunnel/rats_tls/session_pool.h"

#include <stdlib.h>

#include "io/worker.h"
#include "tunnel/rats_tls/secure_side.h"

#define BUCKETS 256
#define UNKNOWN_ROOM 100 /* RFC 9113 6.5.2 recommends peers to allow at least this */
#define HTTP_BUSY 503	 /* the other gateway is at a limit of its own */
#define MOST_TRIES 2	 /* sessions that may end under one who wants a stream */

struct destination {
	struct list link; /* in its bucket */
	struct session_pool *pool;
	struct session_options options;
	struct session_events session_events;
	unsigned opens; /* struct session_open, in every state */
	struct list sessions;
	struct list waiting; /* struct session_open */
	unsigned waiting_count;
	unsigned last_room; /* that a session offered */
	bool setback;	    /* a session was of no use; how others fare that are being opened is not known yet */
	struct task serve;
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
	struct list buckets[BUCKETS]; /* of destinations */
};

static struct loop *loop_of(const struct destination *d)
{
	return d->options.side->worker->loop;
}

/* ---- opens ---- */

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
	events->opened(events, stream, s->peer.attested, s->peer.tee);
}

static void wait_again(struct session_open *o)
{
	o->session = NULL;
	list_append(&o->dest->waiting, &o->link);
	o->dest->waiting_count++;
	task_schedule(loop_of(o->dest), &o->dest->serve);
}

/* Streams are asked for before a peer has said how many it allows. */
static bool is_over_limit(const struct session *s, enum reason reason)
{
	return reason == REASON_LIMIT_STREAMS && s->state != SESSION_RETIRED && mux_session_room(s->mux) == 0;
}

/*
 * A session that ended before it answered: once more on another one, for the peer may have closed it
 * while our CONNECT was on its way. No byte of the application has left yet. Who is over the peer's limit has not been
 * asked at all (RFC 9113, 8.7), and waits for a place like those who came when it was known.
 */
static void on_connect_failed(struct mux_connect_events *self, enum reason reason, const struct err *why)
{
	struct session_open *o = container_of(self, struct session_open, connect_events);
	struct stream *s = mux_stream_stream(o->stream);
	struct err alert;
	bool alerted = session_alert(o->session, &alert);

	s->ops->close(s, STREAM_ABORT);
	o->stream = NULL;
	if (is_over_limit(o->session, reason)) {
		o->dest->last_room = MAX(mux_session_streams(o->session->mux), 1u);
		o->tries--;
	}
	if (alerted)
		fail_open(o, REASON_TLS_ALERT, &alert);
	else if (o->tries < MOST_TRIES)
		wait_again(o);
	else
		fail_open(o, reason, why);
}

static bool is_opening(const struct session *s)
{
	return s->state == SESSION_DIALING || s->state == SESSION_SECURING;
}

static unsigned count_opening(const struct destination *d)
{
	unsigned count = 0;

	LIST_EACH (link, &d->sessions)
		count += is_opening(container_of(link, struct session, link));
	return count;
}

static bool is_judging(const struct destination *d)
{
	LIST_EACH (link, &d->sessions) {
		if (container_of(link, struct session, link)->state == SESSION_JUDGING)
			return true;
	}
	return false;
}

static void on_open_deadline(struct timer *t)
{
	struct session_open *o = container_of(t, struct session_open, deadline);
	char to[ENDPOINT_TEXT];
	struct err why;

	endpoint_format(&o->dest->options.to, to);
	if (o->session != NULL || count_opening(o->dest) > 0) {
		err_set(&why, ERR_TIMEOUT, "no tunnel to %s in time", to);
		fail_open(o, REASON_PEER_TIMEOUT, &why);
	} else if (is_judging(o->dest)) {
		err_set(&why, ERR_TIMEOUT, "no verdict on the session to %s in time", to);
		fail_open(o, REASON_AS_TIMEOUT, &why);
	} else {
		err_set(&why, ERR_LIMIT, "no session to %s has a free stream", to);
		fail_open(o, REASON_LIMIT_STREAMS, &why);
	}
}

/* ---- news of the sessions ---- */

static void fail_waiting(struct destination *d, enum reason reason, const struct err *why)
{
	LIST_EACH (link, &d->waiting)
		fail_open(container_of(link, struct session_open, link), reason, why);
}

/* A session was of no use. Another that is under way may still be, for all who wait. */
static bool others_may_serve(const struct destination *d)
{
	return count_opening(d) > 0 || is_judging(d);
}

/* For those who wait it is as if they had asked it: once more on another one, unless that would end the same way. */
static void on_ended_unused(struct destination *d, const struct session *s)
{
	char to[ENDPOINT_TEXT];
	struct err why;

	if (session_alert(s, &why)) {
		fail_waiting(d, REASON_TLS_ALERT, &why);
		return;
	}
	err_set(&why, ERR_PEER, "sessions to %s end before they carry a stream", endpoint_format(&d->options.to, to));
	LIST_EACH (link, &d->waiting) {
		struct session_open *o = container_of(link, struct session_open, link);

		if (++o->tries >= MOST_TRIES)
			fail_open(o, REASON_PEER_CLOSED, &why);
	}
}

static void on_changed(struct session_events *self, struct session *s)
{
	struct destination *d = container_of(self, struct destination, session_events);

	if (s->state != SESSION_RETIRED) {
		d->last_room = MAX(mux_session_room(s->mux) + mux_session_streams(s->mux), 1u);
		d->setback = d->setback && !s->is_fresh; /* room on one that is in use says nothing about new ones */
	} else if (s->is_fresh) {
		s->is_fresh = false; /* it ended before it was looked at; this is said once */
		d->setback = others_may_serve(d);
		if (!d->setback)
			on_ended_unused(d, s);
	}
	task_schedule(loop_of(d), &d->serve);
}

static void on_failed(struct session_events *self, enum reason reason, const struct err *why)
{
	struct destination *d = container_of(self, struct destination, session_events);

	d->setback = others_may_serve(d);
	if (!d->setback)
		fail_waiting(d, reason, why);
}

static void on_gone(struct session_events *self)
{
	struct destination *d = container_of(self, struct destination, session_events);

	task_schedule(loop_of(d), &d->serve); /* which forgets a destination that nobody uses */
}

/* ---- who gets what ---- */

static bool ask(struct session_open *o, struct session *s)
{
	struct mux_stream *stream = session_connect(s, &o->connect_events);

	if (stream == NULL)
		return false;
	o->tries++;
	o->stream = stream;
	o->session = s;
	stop_waiting(o);
	if (o->dest->pool->options.single)
		session_retire(s); /* goes with this stream */
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
		if (session_is_believed(s))
			return s;
	}
	return NULL;
}

/* A peer that allows no stream at the moment would allow none on another session. */
static bool is_denied(const struct destination *d)
{
	LIST_EACH (link, &d->sessions) {
		struct session *s = container_of(link, struct session, link);

		if (s->state == SESSION_READY && mux_session_streams(s->mux) == 0 && mux_session_room(s->mux) == 0)
			return true;
	}
	return false;
}

static void open_more(struct destination *d)
{
	unsigned most = d->pool->options.max_streams;
	unsigned room = most > 0 ? most : d->last_room;
	unsigned wanted = (d->waiting_count + room - 1) / room;

	if (count_opening(d) == 0)
		d->setback = false;
	if (d->setback || is_denied(d))
		return;
	for (unsigned opening = count_opening(d); opening < wanted && may_open_another(d); opening++)
		session_start(&d->options, &d->session_events, &d->sessions);
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
		if (endpoint_equal(&d->options.to, to) && sock_addr_equal(&d->options.from, from))
			return d;
	}
	d = mem_new_of(struct destination);
	d->pool = p;
	d->options = p->options.session;
	d->options.to = *to;
	d->options.from = *from;
	d->session_events.changed = on_changed;
	d->session_events.failed = on_failed;
	d->session_events.gone = on_gone;
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
