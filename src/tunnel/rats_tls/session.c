/* SPDX-License-Identifier: Apache-2.0 */
/* session - from the dial to the last stream. */
#include "tunnel/rats_tls/session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "io/worker.h"
#include "tunnel/dial_reason.h"
#include "tunnel/rats_tls/secure_side.h"

#define REAP_MS 1000 /* between two looks whether a retired session can go */

static struct loop *loop_of(const struct session *s)
{
	return s->options->side->worker->loop;
}

/* ---- the end ---- */

void session_free(struct session *s)
{
	struct loop *loop = loop_of(s);

	list_remove(&s->link);
	atomic_fetch_sub_explicit(s->options->descriptors, 1, memory_order_relaxed);
	timer_cancel(loop, &s->idle);
	task_cancel(&s->reap);
	dial_cancel(s->dial);
	secure_cancel(s->secure);
	if (s->mux != NULL)
		mux_session_free(s->mux);
	else if (s->tls.watch.fd >= 0)
		s->tls.stream.ops->close(&s->tls.stream, STREAM_FINISHED);
	peer_verdict_release(&s->peer);
	free(s);
}

static void on_reap(struct task *t)
{
	struct session *s = container_of(t, struct session, reap);
	struct session_events *events = s->events;

	if (s->state != SESSION_RETIRED || (s->mux != NULL && mux_session_streams(s->mux) > 0))
		return;
	session_free(s);
	events->gone(events);
}

void session_retire(struct session *s)
{
	if (s->state == SESSION_RETIRED)
		return;
	peer_verdict_cancel(&s->peer);
	s->state = SESSION_RETIRED;
	if (s->mux != NULL && !s->ended)
		mux_session_drain(s->mux);
	task_schedule(loop_of(s), &s->reap);
	timer_start(loop_of(s), &s->idle, REAP_MS);
}

/* Looks now and then: that the last stream has been closed is told by nobody. */
static void on_idle(struct timer *t)
{
	struct session *s = container_of(t, struct session, idle);
	struct loop *loop = loop_of(s);
	unsigned limit = s->options->idle_ms;

	if (s->state == SESSION_RETIRED) {
		timer_start(loop, &s->idle, REAP_MS);
		task_schedule(loop, &s->reap);
		return;
	}
	if (mux_session_streams(s->mux) > 0)
		s->used_ms = loop_now_ms(loop);
	if (loop_now_ms(loop) - s->used_ms >= limit)
		session_retire(s);
	else
		timer_start(loop, &s->idle, MAX(limit / 4, 1u));
}

/* ---- its streams ---- */

static void on_changed(struct mux_session_events *self)
{
	struct session *s = container_of(self, struct session, mux_events);

	if (s->state == SESSION_RETIRED)
		task_schedule(loop_of(s), &s->reap);
	else if (mux_session_is_closing(s->mux))
		session_retire(s);
	s->events->changed(s->events, s);
}

static void on_ended(struct mux_session_events *self, enum reason reason, const struct err *why)
{
	struct session *s = container_of(self, struct session, mux_events);
	char to[ENDPOINT_TEXT];

	log_debug("%s: session to %s ended: %s: %s", s->options->side->name, endpoint_format(&s->options->to, to),
		  reason_word(reason), why->text);
	s->ended = true;
	session_retire(s);
	s->events->changed(s->events, s);
}

/* ---- opening ---- */

static void opening_failed(struct session *s, enum reason reason, const struct err *why)
{
	session_retire(s);
	s->events->failed(s->events, reason, why);
}

static void on_secured(struct secure_events *self, const struct secured *result)
{
	struct session *s = container_of(self, struct session, secure_events);
	struct mux_session_options options = { .role = MUX_CLIENT };
	struct err why;

	s->secure = NULL;
	if (result->alpn != TLS_ALPN_H2) {
		err_set(&why, ERR_PEER, "the peer does not multiplex (no ALPN h2)");
		opening_failed(s, REASON_TLS_ALPN, &why);
		return;
	}
	peer_verdict_init(&s->peer, s->options->side->verifier, result);
	s->is_fresh = true;
	s->mux = mux_session_new(s->options->side->worker, &s->tls.stream, &options, &s->mux_events, &why);
	if (s->mux == NULL) {
		opening_failed(s, REASON_INTERNAL, &why);
		return;
	}
	s->state = SESSION_READY;
	s->used_ms = loop_now_ms(loop_of(s));
	timer_start(loop_of(s), &s->idle, MAX(s->options->idle_ms / 4, 1u));
	s->events->changed(s->events, s);
}

static void on_secure_failed(struct secure_events *self, enum reason reason, const struct err *why)
{
	struct session *s = container_of(self, struct session, secure_events);

	s->secure = NULL;
	opening_failed(s, reason, why);
}

static void on_dial_failed(struct dial_events *self, enum dial_failure failure, const struct err *why)
{
	struct session *s = container_of(self, struct session, dial_events);

	s->dial = NULL;
	opening_failed(s, dial_reason_peer(failure), why);
}

static void on_connected(struct dial_events *self, int fd, struct watch *watch, const struct sock_addr *addr)
{
	struct session *s = container_of(self, struct session, dial_events);
	struct worker *w = s->options->side->worker;
	struct err why;

	(void)addr;
	s->dial = NULL;
	record_stream_init(&s->tls, w, fd);
	if (loop_hand_over(w->loop, watch, &s->tls.watch, WATCH_STREAM, &why) < 0) {
		loop_unwatch(w->loop, watch);
		opening_failed(s, REASON_INTERNAL, &why);
		return;
	}
	s->state = SESSION_SECURING;
	s->secure = secure_start(s->options->side, &s->tls, "tng.internal", &s->secure_events);
}

/* ---- the verdict of one that is in use ---- */

static void on_decided(struct verify_events *self, const struct verdict *v)
{
	struct session *s = container_of(self, struct session, verify_events);
	char to[ENDPOINT_TEXT];

	if (peer_verdict_decided(&s->peer, v)) {
		s->is_fresh = true;
		s->state = SESSION_READY;
	} else {
		/* A new handshake may bring newer evidence; if it does not, it is refused as well. */
		log_warn("%s: session to %s takes no more streams: %s: %s", s->options->side->name,
			 endpoint_format(&s->options->to, to), reason_word(v->reason), v->why.text);
		session_retire(s);
	}
	s->events->changed(s->events, s);
}

bool session_is_believed(struct session *s)
{
	if (s->is_fresh || peer_verdict_holds(&s->peer))
		return true;
	s->state = SESSION_JUDGING;
	peer_verdict_renew(&s->peer, loop_of(s), &s->verify_events);
	return false;
}

/* ---- for its owner ---- */

struct mux_stream *session_connect(struct session *s, struct mux_connect_events *events)
{
	struct mux_stream *stream = mux_session_connect(s->mux, events);

	if (stream != NULL)
		s->used_ms = loop_now_ms(loop_of(s));
	return stream;
}

bool session_alert(const struct session *s, struct err *why)
{
	return record_stream_alert(&s->tls, why);
}

void session_start(const struct session_options *options, struct session_events *events, struct list *list)
{
	struct session *s = mem_new_of(struct session);
	struct dial_options dial = {
		.to = options->to,
		.from = options->from,
		.connect_ms = options->connect_ms,
		.resolve_ms = options->resolve_ms,
		.sock = options->sock,
	};

	s->options = options;
	s->events = events;
	s->state = SESSION_DIALING;
	s->tls.watch.fd = -1;
	s->dial_events.connected = on_connected;
	s->dial_events.failed = on_dial_failed;
	s->secure_events.secured = on_secured;
	s->secure_events.failed = on_secure_failed;
	s->mux_events.changed = on_changed;
	s->mux_events.ended = on_ended;
	s->verify_events.decided = on_decided;
	timer_init(&s->idle, on_idle);
	task_init(&s->reap, on_reap);
	list_init(&s->link);
	list_append(list, &s->link);
	atomic_fetch_add_explicit(options->descriptors, 1, memory_order_relaxed);
	s->dial = dial_start(options->side->worker, &dial, &s->dial_events);
}
