/* SPDX-License-Identifier: Apache-2.0 */
/*
 * egress - captured peer -> tunnel -> service -> relay.
 *
 * A connection begins as a flow. When the peer asks for h2 it becomes a session, and each of its streams a flow of its
 * own. The service is dialed when the peer has been judged, and not before; a stream is answered with 200
 * when the service has answered.
 *
 * A session outlives its verdict: when a stream is requested after that has run out, the session's certificate
 * is judged again, and until then its new streams wait. If the peer is refused, they are refused, and the session takes
 * no more.
 */
#include "gateway/egress.h"

#include <stdlib.h>

#include "base/slab.h"
#include "gateway/flow.h"
#include "tunnel/dial_reason.h"
#include "tunnel/rats_tls/peer_verdict.h"

#define RAW_DESCRIPTORS 2    /* the peer and the service */
#define STREAM_DESCRIPTORS 1 /* the service */
#define REFUSED_MS 1000	     /* between two looks whether a refused session can go */

struct egress_session {
	struct list link; /* in the lane's sessions */
	struct lane *lane;
	struct record_stream *tls;
	struct mux_session *mux;
	struct mux_session_events mux_events;
	struct sock_addr client;
	struct endpoint to;
	struct announcement *announcement; /* of each stream, to the service */
	struct list flows;
	struct list waiting; /* flows whose peer is being judged again */
	struct peer_verdict peer;
	struct verify_events verify_events;
	bool ended;
	bool refused;	  /* the peer, when its verdict was to be renewed */
	uint64_t used_ms; /* when it last had a stream */
	struct timer idle;
	struct task reap;
};

static void egress_session_free(struct egress_session *s)
{
	struct gateway_worker *gw = s->lane->gw;

	list_remove(&s->link);
	task_cancel(&s->reap);
	timer_cancel(gw->base.loop, &s->idle);
	mux_session_free(s->mux);
	slab_give(gw->tls_slab, s->tls);
	gateway_uncount_flow(gw->gateway, 1);
	atomic_fetch_sub_explicit(&gw->load, 1, memory_order_relaxed);
	peer_verdict_release(&s->peer);
	announcement_free(s->announcement);
	free(s);
}

void egress_session_reap_if_done(struct egress_session *s)
{
	if (s->ended && list_is_empty(&s->flows) && list_is_empty(&s->waiting))
		task_schedule(s->lane->gw->base.loop, &s->reap);
}

static void on_reap(struct task *t)
{
	struct egress_session *s = container_of(t, struct egress_session, reap);

	if (!list_is_empty(&s->flows) || !list_is_empty(&s->waiting))
		return;
	/* The last flow's stream may have just been closed: one more round until nothing refers to it. */
	egress_session_free(s);
}

/* ---- to the service ---- */

static void on_connected(struct dial_events *self, int fd, struct watch *watch, const struct sock_addr *addr)
{
	struct flow *f = container_of(self, struct flow, dial_events);
	struct gateway_worker *gw = f->lane->gw;
	struct err why;

	(void)addr;
	f->dial = NULL;
	sock_stream_init(&f->sock, &gw->base, fd);
	f->sock.stream.readable = true;
	f->sock.stream.writable = true;
	if (loop_hand_over(gw->base.loop, watch, &f->sock.watch, WATCH_STREAM, &why) < 0) {
		loop_unwatch(gw->base.loop, watch);
		flow_close(f, REASON_INTERNAL, &why);
		return;
	}
	if (f->mux != NULL) {
		mux_stream_accept(f->mux);
		flow_relay(f, mux_stream_stream(f->mux), &f->sock.stream);
	} else {
		flow_relay(f, &f->tls->stream, &f->sock.stream);
	}
}

static void refuse_stream(struct flow *f, int status)
{
	if (f->mux == NULL)
		return;
	mux_stream_refuse(f->mux, status);
	f->mux = NULL;
}

static void on_dial_failed(struct dial_events *self, enum dial_failure failure, const struct err *why)
{
	struct flow *f = container_of(self, struct flow, dial_events);

	f->dial = NULL;
	refuse_stream(f, 502);
	flow_close(f, dial_reason_service(failure), why);
}

static void dial_service(struct flow *f)
{
	f->dial_events.connected = on_connected;
	f->dial_events.failed = on_dial_failed;
	flow_dial(f);
}

/* ---- sessions ---- */

static void refuse_peer(struct egress_session *s)
{
	s->refused = true;
	mux_session_drain(s->mux);
	timer_start(s->lane->gw->base.loop, &s->idle, REFUSED_MS);
}

/* The ingress's pool is the first to let go of an idle session; this is for peers that never do. */
static void on_idle(struct timer *t)
{
	struct egress_session *s = container_of(t, struct egress_session, idle);
	struct loop *loop = s->lane->gw->base.loop;
	unsigned limit = 2 * s->lane->gw->gateway->config->timeouts.pool_idle_ms;
	bool is_used = !list_is_empty(&s->flows) || !list_is_empty(&s->waiting);

	if (is_used)
		s->used_ms = loop_now_ms(loop);
	if (!is_used && (s->refused || loop_now_ms(loop) - s->used_ms >= limit))
		egress_session_free(s);
	else
		timer_start(loop, &s->idle, s->refused ? REFUSED_MS : MAX(limit / 4, 1u));
}

static void on_decided(struct verify_events *self, const struct verdict *v)
{
	struct egress_session *s = container_of(self, struct egress_session, verify_events);
	struct list now;
	struct list *link;

	if (!peer_verdict_decided(&s->peer, v))
		refuse_peer(s);
	list_init(&now);
	list_splice(&now, &s->waiting);
	while ((link = list_pop(&now)) != NULL) {
		struct flow *f = container_of(link, struct flow, session);

		list_append(&s->flows, &f->session);
		if (v->accepted) {
			dial_service(f);
			continue;
		}
		refuse_stream(f, 403);
		flow_close(f, v->reason, &v->why);
	}
}

/* Until the service has answered, what the peer sends waits. */
static void on_stream_ready(struct stream_events *self, struct stream *s)
{
	(void)self;
	(void)s;
}

static void on_requested(struct mux_session_events *self, struct mux_stream *stream)
{
	struct egress_session *s = container_of(self, struct egress_session, mux_events);
	struct gateway *g = s->lane->gw->gateway;
	bool has_place = gateway_reserve(g);
	struct flow *f = flow_new(s->lane, &s->client, &s->to, STREAM_DESCRIPTORS);

	if (has_place)
		gateway_unreserve(g); /* the flow counts itself */
	f->mux = stream;
	f->announcement = announcement_copy(s->announcement);
	f->mux_events.ready = on_stream_ready;
	mux_stream_stream(stream)->events = &f->mux_events;
	f->session_owner = s;
	f->from_mux = true;
	if (s->peer.attested)
		flow_attested(f, s->peer.tee);
	list_append(&s->flows, &f->session);
	if (!has_place) {
		refuse_stream(f, 503);
		flow_close(f, REASON_LIMIT_CONNECTIONS, NULL);
		return;
	}
	if (s->refused) {
		refuse_stream(f, 403);
		flow_close(f, REASON_AS_REFUSED, NULL);
		return;
	}
	if (peer_verdict_holds(&s->peer)) {
		dial_service(f);
		return;
	}
	list_remove(&f->session);
	list_append(&s->waiting, &f->session);
	if (!peer_verdict_is_renewing(&s->peer))
		peer_verdict_renew(&s->peer, s->lane->gw->base.loop, &s->verify_events);
}

static void on_withdrawn(struct mux_session_events *self, struct mux_stream *stream)
{
	struct flow *f = container_of(mux_stream_stream(stream)->events, struct flow, mux_events);

	(void)self;
	f->mux = NULL;
	flow_close(f, REASON_TUNNEL_RESET, NULL);
}

static void on_ended(struct mux_session_events *self, enum reason reason, const struct err *why)
{
	struct egress_session *s = container_of(self, struct egress_session, mux_events);

	log_debug("%s: session ended: %s: %s", s->lane->entry->conf->path, reason_word(reason), why->text);
	s->ended = true;
	egress_session_reap_if_done(s);
}

static void on_changed(struct mux_session_events *self)
{
	struct egress_session *s = container_of(self, struct egress_session, mux_events);

	egress_session_reap_if_done(s);
}

/* The flow that the connection began as becomes a session. */
static void become_session(struct flow *f, const struct secured *result)
{
	struct lane *lane = f->lane;
	struct gateway_worker *gw = lane->gw;
	struct egress_session *s = mem_new_of(struct egress_session);
	struct mux_session_options options = { .role = MUX_SERVER, .max_streams = gw->gateway->config->limits.streams };
	struct err why;

	s->lane = lane;
	s->tls = f->tls;
	s->client = f->client;
	s->to = f->to;
	peer_verdict_init(&s->peer, lane->side.verifier, result);
	list_init(&s->flows);
	list_init(&s->waiting);
	task_init(&s->reap, on_reap);
	s->verify_events.decided = on_decided;
	s->mux_events.requested = on_requested;
	s->mux_events.withdrawn = on_withdrawn;
	s->mux_events.changed = on_changed;
	s->mux_events.ended = on_ended;
	s->mux = mux_session_new(&gw->base, &s->tls->stream, &options, &s->mux_events, &why);
	if (s->mux == NULL) {
		peer_verdict_release(&s->peer);
		free(s);
		flow_close(f, REASON_INTERNAL, &why);
		return;
	}
	list_init(&s->link);
	list_append(&lane->sessions, &s->link);
	s->used_ms = loop_now_ms(gw->base.loop);
	timer_init(&s->idle, on_idle);
	timer_start(gw->base.loop, &s->idle, MAX(gw->gateway->config->timeouts.pool_idle_ms / 2, 1u));
	gateway_count_flow(gw->gateway, 1);
	atomic_fetch_add_explicit(&gw->load, 1, memory_order_relaxed); /* so that a peer's sessions are spread */
	f->tls = NULL;
	s->announcement = f->announcement;
	f->announcement = NULL;
	flow_dissolve(f);
	if (gw->draining)
		mux_session_drain(s->mux);
}

/* ---- the peer's connection ---- */

static void on_secured(struct secure_events *self, const struct secured *result)
{
	struct flow *f = container_of(self, struct flow, secure_events);
	struct err why;

	f->secure = NULL;
	if (result->alpn == TLS_ALPN_H2) {
		become_session(f, result);
		return;
	}
	if (result->alpn == TLS_ALPN_NONE && f->lane->entry->conf->multiplex == TRI_TRUE) {
		err_set(&why, ERR_PEER, "the peer names no tunnel protocol and rats_tls.multiplex is true");
		flow_close(f, REASON_TLS_ALPN, &why);
		return;
	}
	if (result->attested)
		flow_attested(f, result->verdict.tee);
	dial_service(f);
}

static void on_secure_failed(struct secure_events *self, enum reason reason, const struct err *why)
{
	struct flow *f = container_of(self, struct flow, secure_events);

	f->secure = NULL;
	flow_close(f, reason, why);
}

static void begin(struct flow *f)
{
	struct gateway_worker *gw = f->lane->gw;

	f->tls = slab_take(gw->tls_slab);
	record_stream_init(f->tls, &gw->base, f->sock.watch.fd);
	f->tls->abrupt = f->sock.abrupt;
	f->sock.watch.fd = -1;
	f->secure_events.secured = on_secured;
	f->secure_events.failed = on_secure_failed;
	f->secure = secure_start(&f->lane->side, f->tls, NULL, &f->secure_events);
}

void egress_captured(struct lane *lane, const struct captured *c)
{
	struct flow *f = flow_new(lane, &c->client, &c->to, RAW_DESCRIPTORS);

	sock_stream_init(&f->sock, &lane->gw->base, c->fd);
	f->sock.abrupt = lane->entry->conf->netfilter != NULL;
	flow_greet(f, begin);
}

void egress_drain(struct lane *lane)
{
	LIST_EACH (link, &lane->sessions)
		mux_session_drain(container_of(link, struct egress_session, link)->mux);
}

void egress_stop(struct lane *lane)
{
	LIST_EACH (link, &lane->sessions)
		egress_session_free(container_of(link, struct egress_session, link));
}
