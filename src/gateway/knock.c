/* SPDX-License-Identifier: Apache-2.0 */
/* knock - tunnels that wait for their clients. */
#include "gateway/knock.h"

#include <stdlib.h>

#include "capture/syn.h"
#include "gateway/flow.h"
#include "gateway/gate.h"
#include "gateway/ingress.h"

#define KNOCK_KEPT_MS 10000 /* our answer may be lost twice: it is sent again after 1 s, and 2 s later */

/* ---- finding ---- */

/* A zone is known of a socket, not of a packet. */
static struct sock_addr without_zone(const struct sock_addr *a)
{
	struct sock_addr plain = *a;

	if (plain.any.sa_family == AF_INET6)
		plain.v6.sin6_scope_id = 0;
	return plain;
}

static bool is_same(const struct sock_addr *a, const struct sock_addr *b)
{
	struct sock_addr x = without_zone(a);
	struct sock_addr y = without_zone(b);

	return sock_addr_equal(&x, &y);
}

/* Clients choose the addresses, ports go up by ones: all bits count. */
uint32_t knock_hash(const struct sock_addr *client, const struct sock_addr *server)
{
	uint32_t hash = sock_addr_hash(client) * 0x9e3779b1u ^ sock_addr_hash(server);

	hash = (hash ^ hash >> 16) * 0x85ebca6bu;
	return hash ^ hash >> 13;
}

static struct list *bucket_of(struct lane *lane, const struct sock_addr *client, const struct sock_addr *server)
{
	return &lane->knocks[(knock_hash(client, server) >> 8) % KNOCK_BUCKETS];
}

static struct flow *find_serial(struct list *bucket, uint64_t serial)
{
	LIST_EACH (link, bucket) {
		struct flow *f = container_of(link, struct flow, session);

		if (f->knock == serial)
			return f;
	}
	return NULL;
}

/* ---- from the gate ---- */

struct knock_mail {
	struct mail mail;
	struct lane *lane;
	uint64_t serial;
	struct sock_addr client;
	struct sock_addr server;
};

static void on_open(struct mail *m)
{
	struct knock_mail *k = container_of(m, struct knock_mail, mail);
	struct gateway *g = k->lane->gw->gateway;
	struct flow *f;

	if (k->lane->gw->draining) {
		gate_tell(g, k->serial, KNOCK_ENDED);
	} else {
		f = ingress_expect(k->lane, &k->client, &k->server);
		f->knock = k->serial;
		list_append(bucket_of(k->lane, &k->client, &k->server), &f->session);
		ingress_open(f);
	}
	gateway_unreserve(g); /* the flow counts itself */
	free(k);
}

static void on_withdraw(struct mail *m)
{
	struct knock_mail *k = container_of(m, struct knock_mail, mail);
	struct flow *f = find_serial(bucket_of(k->lane, &k->client, &k->server), k->serial);

	if (f != NULL)
		flow_close(f, REASON_LIMIT_PENDING_SYNS, NULL);
	free(k);
}

static void post(struct lane *lane, uint64_t serial, const struct syn *syn, void (*deliver)(struct mail *m))
{
	struct knock_mail *k = mem_new_of(struct knock_mail);

	k->mail.deliver = deliver;
	k->lane = lane;
	k->serial = serial;
	k->client = syn->client;
	k->server = syn->server;
	loop_post(lane->gw->base.loop, &k->mail);
}

void knock_open(struct lane *lane, uint64_t serial, const struct syn *syn)
{
	post(lane, serial, syn, on_open);
}

void knock_withdraw(struct lane *lane, uint64_t serial, const struct syn *syn)
{
	post(lane, serial, syn, on_withdraw);
}

/* ---- while a tunnel waits ---- */

static struct stream *far_of(const struct flow *f)
{
	return f->mux != NULL ? mux_stream_stream(f->mux) : &f->tls->stream;
}

/*
 * Pulling sends the last bytes of the handshake, and shows whether the tunnel has ended; what the service says first
 * stays for the relay.
 */
static bool still_holds(struct flow *f)
{
	struct stream *far = far_of(f);
	struct bytes view;
	enum io_result result;

	if (far->aborted)
		return false;
	if (f->mux != NULL)
		return true;
	result = far->ops->pull(far, &view);
	if (result == IO_OK)
		far->ops->consumed(far, 0);
	return result != IO_RESET && result != IO_BROKEN;
}

static void on_kept(struct timer *t)
{
	struct flow *f = container_of(t, struct flow, kept.timer);
	struct loop *loop = f->lane->gw->base.loop;
	uint64_t now = loop_now_ms(loop);

	if (!still_holds(f))
		flow_close(f, f->tls != NULL && f->tls->truncated ? REASON_TUNNEL_TRUNCATED : REASON_TUNNEL_RESET,
			   NULL);
	else if (now >= f->kept.until_ms)
		flow_close(f, REASON_CLIENT_ABSENT, NULL);
	else
		timer_start(loop, t, f->kept.until_ms - now);
}

/* Streams report from deep inside a session: looked at later. When the client is there, the relay will look. */
static void on_far_ready(struct stream_events *self, struct stream *s)
{
	struct flow *f = container_of(self, struct flow, mux_events);

	(void)s;
	if (f->state == FLOW_KEPT)
		timer_start(f->lane->gw->base.loop, &f->kept.timer, 0);
}

void knock_opened(struct flow *f, struct stream *far)
{
	struct loop *loop = f->lane->gw->base.loop;

	f->state = FLOW_KEPT;
	f->mux_events.ready = on_far_ready;
	far->events = &f->mux_events;
	f->kept.until_ms = loop_now_ms(loop) + KNOCK_KEPT_MS;
	timer_init(&f->kept.timer, on_kept);
	timer_start(loop, &f->kept.timer, 0);
	gate_tell(f->lane->gw->gateway, f->knock, KNOCK_OPENED);
}

/* ---- the end of waiting ---- */

void knock_ended(struct flow *f)
{
	if (f->state == FLOW_KEPT)
		timer_cancel(f->lane->gw->base.loop, &f->kept.timer);
	f->state = FLOW_OPENING;
	list_remove(&f->session);
	gate_tell(f->lane->gw->gateway, f->knock, KNOCK_ENDED);
	f->knock = 0;
}

struct flow *knock_claim(struct lane *lane, const struct captured *c, struct stream **far)
{
	LIST_EACH (link, bucket_of(lane, &c->client, &c->to.addr)) {
		struct flow *f = container_of(link, struct flow, session);

		if (f->state != FLOW_KEPT || !is_same(&f->client, &c->client) || !is_same(&f->to.addr, &c->to.addr))
			continue;
		knock_ended(f);
		*far = far_of(f);
		return f;
	}
	return NULL;
}

void knock_drain(struct gateway_worker *gw)
{
	LIST_EACH (link, &gw->flows) {
		struct flow *f = container_of(link, struct flow, link);

		if (f->knock != 0)
			flow_close(f, REASON_SHUTDOWN, NULL);
	}
}
