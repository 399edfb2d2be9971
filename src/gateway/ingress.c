/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ingress - captured client -> tunnel -> relay.
 *
 * The client's socket is watched from the start, so that one that goes away while the tunnel is made does not
 * leave work behind; not one byte of it is read before the tunnel is open.
 */
#include "gateway/ingress.h"

#include "base/slab.h"
#include "gateway/flow.h"
#include "gateway/knock.h"
#include "tunnel/dial_reason.h"

#define RAW_DESCRIPTORS 2 /* the client and the tunnel */
#define MUX_DESCRIPTORS 1

/* Before the relay, all we want to know of the client is whether it is still there. */
static void on_client_ready(struct stream_events *self, struct stream *s)
{
	struct flow *f = container_of(self, struct flow, sock_events);

	if (s->aborted)
		flow_close(f, REASON_CLIENT_RESET, NULL);
}

/* With open_ports "connect_first" the client may be still to come. */
static void tunnel_opened(struct flow *f, struct stream *far)
{
	if (f->knock != 0)
		knock_opened(f, far);
	else
		flow_relay(f, &f->sock.stream, far);
}

/* ---- a tunnel of its own ---- */

static void on_secured(struct secure_events *self, const struct secured *result)
{
	struct flow *f = container_of(self, struct flow, secure_events);

	f->secure = NULL;
	if (result->attested)
		flow_attested(f, result->verdict.tee);
	tunnel_opened(f, &f->tls->stream);
}

static void on_secure_failed(struct secure_events *self, enum reason reason, const struct err *why)
{
	struct flow *f = container_of(self, struct flow, secure_events);

	f->secure = NULL;
	flow_close(f, reason, why);
}

static void on_connected(struct dial_events *self, int fd, struct watch *watch, const struct sock_addr *addr)
{
	struct flow *f = container_of(self, struct flow, dial_events);
	struct gateway_worker *gw = f->lane->gw;
	struct err why;

	(void)addr;
	f->dial = NULL;
	f->tls = slab_take(gw->tls_slab);
	record_stream_init(f->tls, &gw->base, fd);
	if (loop_hand_over(gw->base.loop, watch, &f->tls->watch, WATCH_STREAM, &why) < 0) {
		loop_unwatch(gw->base.loop, watch);
		flow_close(f, REASON_INTERNAL, &why);
		return;
	}
	f->secure_events.secured = on_secured;
	f->secure_events.failed = on_secure_failed;
	/* SNI is the name of the peer, if it has one (rats-tls.md 6). */
	f->secure = secure_start(&f->lane->side, f->tls, f->to.host, &f->secure_events);
}

static void on_dial_failed(struct dial_events *self, enum dial_failure failure, const struct err *why)
{
	struct flow *f = container_of(self, struct flow, dial_events);

	f->dial = NULL;
	flow_close(f, dial_reason_peer(failure), why);
}

static void open_raw(struct flow *f)
{
	f->dial_events.connected = on_connected;
	f->dial_events.failed = on_dial_failed;
	flow_dial(f);
}

/* ---- a stream of a session ---- */

static void on_opened(struct session_open_events *self, struct mux_stream *stream, bool attested, const char *tee)
{
	struct flow *f = container_of(self, struct flow, open_events);

	f->opening = NULL;
	f->mux = stream;
	if (attested)
		flow_attested(f, tee);
	tunnel_opened(f, mux_stream_stream(stream));
}

static void on_open_failed(struct session_open_events *self, enum reason reason, const struct err *why)
{
	struct flow *f = container_of(self, struct flow, open_events);

	f->opening = NULL;
	flow_close(f, reason, why);
}

static void open_mux(struct flow *f)
{
	struct sock_addr from = flow_source(f);

	f->from_mux = true;
	f->open_events.opened = on_opened;
	f->open_events.failed = on_open_failed;
	f->opening = session_pool_open(f->lane->pool, &f->to, &from, &f->open_events);
}

/* ---- begin ---- */

void ingress_open(struct flow *f)
{
	if (f->lane->pool != NULL)
		open_mux(f);
	else
		open_raw(f);
}

/* false: f is gone. */
static bool watch_client(struct flow *f)
{
	struct err why;

	f->sock_events.ready = on_client_ready;
	f->sock.stream.events = &f->sock_events;
	if (sock_stream_start(&f->sock, &why) == 0)
		return true;
	flow_close(f, REASON_INTERNAL, &why);
	return false;
}

static void begin(struct flow *f)
{
	if (watch_client(f))
		ingress_open(f);
}

/* Its tunnel is there already. */
static void begin_expected(struct flow *f)
{
	if (watch_client(f))
		flow_relay(f, &f->sock.stream, f->far);
}

static uint8_t descriptors_of(const struct lane *lane)
{
	return lane->pool != NULL ? MUX_DESCRIPTORS : RAW_DESCRIPTORS;
}

static void take_socket(struct flow *f, int fd, void (*go_on)(struct flow *f))
{
	sock_stream_init(&f->sock, &f->lane->gw->base, fd);
	f->sock.abrupt = f->lane->entry->conf->netfilter != NULL;
	flow_greet(f, go_on);
}

static void begin_without_place(struct flow *f)
{
	flow_close(f, REASON_LIMIT_CONNECTIONS, NULL);
}

/* Its tunnel has ended meanwhile, and its place has gone with it: it is treated as any other. */
static void take_unexpected(struct lane *lane, const struct captured *c)
{
	struct gateway *g = lane->gw->gateway;
	bool has_place = gateway_reserve(g);
	struct flow *f = flow_new(lane, &c->client, &c->to, descriptors_of(lane));

	if (has_place)
		gateway_unreserve(g); /* the flow counts itself */
	take_socket(f, c->fd, has_place ? begin : begin_without_place);
}

static void take_expected(struct lane *lane, const struct captured *c)
{
	struct stream *far = NULL;
	struct flow *f = knock_claim(lane, c, &far);

	if (f == NULL) {
		take_unexpected(lane, c);
		return;
	}
	f->far = far;
	take_socket(f, c->fd, begin_expected);
}

void ingress_captured(struct lane *lane, const struct captured *c)
{
	if (lane->knocks != NULL)
		take_expected(lane, c);
	else
		take_socket(flow_new(lane, &c->client, &c->to, descriptors_of(lane)), c->fd, begin);
}

struct flow *ingress_expect(struct lane *lane, const struct sock_addr *client, const struct sock_addr *server)
{
	struct endpoint to = endpoint_at(server);

	return flow_new(lane, client, &to, descriptors_of(lane));
}
