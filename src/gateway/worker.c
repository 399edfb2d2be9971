/* SPDX-License-Identifier: Apache-2.0 */
/*
 * worker - one thread of the data path: its lanes, the clients it takes or passes on, its drain and its end.
 *
 * A client is accepted by whichever worker the kernel's hash chose. It goes on as a flow there, or travels as mail to a
 * worker with less to do; from then on it never leaves its worker.
 *
 * Draining: listeners close, sessions tell their peers, flows go on. When the last flow has gone, or at the
 * deadline, the worker reports to the main loop. Closing ends what is left but for the listeners that the kernel
 * diverts to, stopping ends those too, and the loop.
 */
#include "gateway/worker.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/log.h"
#include "base/slab.h"
#include "capture/mapping.h"
#include "capture/netfilter.h"
#include "crypto/aead.h"
#include "crypto/libctx.h"
#include "gateway/egress.h"
#include "gateway/flow.h"
#include "gateway/gate.h"
#include "gateway/ingress.h"
#include "gateway/knock.h"
#include "tunnel/rats_tls/session_pool.h"

#define REMOVAL_MS 2000u   /* the guard blocks for a second, and iptables takes its time */
#define DEFAULT_SESSIONS 2 /* as 2.12.0 with multiplex_max_streams_per_connection alone */

#define FEW_FLOWS 16

/* ---- spreading ---- */

/*
 * The kernel spreads by hash; with few long connections that leaves workers idle, so few are spread evenly. Of many, a
 * new one is handed on only when another worker has clearly less to do, because the way there costs a wake-up.
 */
static struct gateway_worker *pick_worker(struct gateway_worker *self)
{
	struct gateway *g = self->gateway;
	struct gateway_worker *best = self;
	unsigned mine = atomic_load_explicit(&self->load, memory_order_relaxed);
	unsigned least = mine;

	for (unsigned i = 0; i < g->worker_count; i++) {
		unsigned load = atomic_load_explicit(&g->workers[i].load, memory_order_relaxed);

		if (load < least) {
			least = load;
			best = &g->workers[i];
		}
	}
	return mine > least + (mine > FEW_FLOWS ? 1 + least / 4 : 0) ? best : self;
}

/* A client on its way to another worker. */
struct passed_client {
	struct mail mail;
	struct lane *lane;
	struct captured captured;
};

/* What is refused ends as every flow does, so that it is logged and counted. */
static void refuse(struct lane *lane, const struct captured *c)
{
	struct flow *f = flow_new(lane, &c->client, &c->to, 1);

	sock_stream_init(&f->sock, &lane->gw->base, c->fd);
	flow_close(f, c->refused, c->why);
}

static void take_client(struct lane *lane, const struct captured *c)
{
	if (lane->gw->draining)
		close(c->fd);
	else if (c->refused != REASON_DONE)
		refuse(lane, c);
	else if (lane->entry->conf->kind == ENTRY_INGRESS)
		ingress_captured(lane, c);
	else
		egress_captured(lane, c);
	if (lane->knocks == NULL)
		gateway_unreserve(lane->gw->gateway); /* the flow counts itself */
}

static void on_passed(struct mail *m)
{
	struct passed_client *p = container_of(m, struct passed_client, mail);

	take_client(p->lane, &p->captured);
	atomic_fetch_sub_explicit(&p->lane->gw->load, 1, memory_order_relaxed); /* the flow counts itself */
	free(p);
}

/* Where max_connections binds, only so many workers have sessions for the entry. */
static unsigned session_bound(const struct entry_conf *conf)
{
	if (conf->multiplex_max_connections > 0)
		return conf->multiplex_max_connections;
	return conf->multiplex_max_streams > 0 ? DEFAULT_SESSIONS : 0;
}

struct gateway_worker *worker_of_client(struct gateway *g, const struct entry_conf *conf,
					const struct sock_addr *client, const struct sock_addr *server)
{
	unsigned index = knock_hash(client, server) % g->worker_count;
	unsigned bound = conf->multiplex == TRI_TRUE ? session_bound(conf) : 0;

	return &g->workers[bound > 0 ? index % bound : index];
}

static struct gateway_worker *worker_for(struct lane *lane, const struct captured *c)
{
	struct gateway_worker *self = lane->gw;
	struct gateway_worker *best = pick_worker(self);
	unsigned bound = lane->pool == NULL ? 0 : session_bound(lane->entry->conf);

	if (lane->knocks != NULL)
		return worker_of_client(self->gateway, lane->entry->conf, &c->client, &c->to.addr);
	if (bound > 0 && best->base.index >= bound)
		best = &self->gateway->workers[best->base.index % bound];
	return best;
}

static void on_captured(struct capture_events *self, const struct captured *c)
{
	struct lane *lane = container_of(self, struct lane, capture_events);
	struct gateway_worker *to = c->refused == REASON_DONE ? worker_for(lane, c) : lane->gw;
	struct passed_client *p;

	if (to == lane->gw) {
		take_client(lane, c);
		return;
	}
	p = mem_new_of(struct passed_client);
	p->mail.deliver = on_passed;
	p->lane = &to->lanes[lane - lane->gw->lanes];
	p->captured = *c;
	/* Until it arrives it counts here, so that a burst is spread and not passed on as a whole. */
	atomic_fetch_add_explicit(&to->load, 1, memory_order_relaxed);
	loop_post(to->base.loop, &p->mail);
}

/* With "connect_first" the place was reserved for the first packet: its client must not wait for another one. */
static bool on_reserve(struct capture_events *self)
{
	struct lane *lane = container_of(self, struct lane, capture_events);

	return lane->knocks != NULL || gateway_reserve(lane->gw->gateway);
}

static void on_release(struct capture_events *self)
{
	struct lane *lane = container_of(self, struct lane, capture_events);

	if (lane->knocks == NULL)
		gateway_unreserve(lane->gw->gateway);
}

static void on_lost(struct capture_events *self)
{
	struct lane *lane = container_of(self, struct lane, capture_events);

	gateway_lost_listener(lane->gw->gateway);
}

/* ---- lanes ---- */

static unsigned lane_alpn(const struct entry_conf *conf)
{
	if (conf->kind == ENTRY_INGRESS)
		return conf->multiplex == TRI_TRUE ? TLS_ALPN_H2 : TLS_ALPN_RAW;
	switch (conf->multiplex) {
	case TRI_TRUE:
		return TLS_ALPN_H2;
	case TRI_FALSE:
		return TLS_ALPN_RAW;
	case TRI_UNSET:
		break;
	}
	return TLS_ALPN_RAW | TLS_ALPN_H2;
}

static struct session_pool *make_pool(struct lane *lane)
{
	const struct entry_conf *conf = lane->entry->conf;
	struct gateway *g = lane->gw->gateway;
	const struct timeouts_conf *t = &g->config->timeouts;
	unsigned bound = session_bound(conf);
	unsigned sharers = MIN(bound, g->worker_count);
	struct session_pool_options options = {
		.session = {
			.side = &lane->side,
			.sock = &lane->sock,
			.connect_ms = t->connect_ms,
			.resolve_ms = t->resolve_ms,
			.idle_ms = t->pool_idle_ms,
			.descriptors = &g->descriptors,
		},
		.wait_ms = t->resolve_ms + t->connect_ms + t->handshake_ms + t->verify_ms,
		.max_streams = conf->multiplex_max_streams,
		.single = conf->transparency.client_port,
	};

	if (bound > 0 && lane->gw->base.index < sharers)
		options.max_connections = bound / sharers + (lane->gw->base.index < bound % sharers);
	return session_pool_new(&options);
}

static int open_listeners(struct lane *lane, struct err *e)
{
	struct gateway *g = lane->gw->gateway;
	struct entry *en = lane->entry;
	bool shared = g->worker_count > 1;
	struct netfilter_options options = {
		.entry = en->conf,
		.sock = &g->sock,
		.shared = shared,
		.port = en->listen_port,
	};

	if (en->conf->netfilter != NULL)
		lane->listeners = netfilter_open(&options, &en->listen_port, e);
	else
		lane->listeners =
			mapping_open(en->conf->rules, en->conf->rule_count, &g->sock, shared, en->conf->path, e);
	return lane->listeners == NULL ? -1 : 0;
}

static void make_knocks(struct lane *lane)
{
	lane->knocks = mem_new_array(KNOCK_BUCKETS, sizeof(*lane->knocks));
	for (size_t i = 0; i < KNOCK_BUCKETS; i++)
		list_init(&lane->knocks[i]);
}

static int lane_init(struct lane *lane, struct gateway_worker *gw, struct entry *en, struct err *e)
{
	struct gateway *g = gw->gateway;
	const struct timeouts_conf *t = &g->config->timeouts;
	bool is_ingress = en->conf->kind == ENTRY_INGRESS;
	struct secure_side side = {
		.worker = &gw->base,
		.role = is_ingress ? TLS_CLIENT : TLS_SERVER,
		.name = en->conf->path,
		.alpn = lane_alpn(en->conf),
		.attester = en->attester,
		.dummy = en->dummy,
		.verifier = en->verifier,
		.first_byte_ms = t->first_byte_ms,
		.handshake_ms = t->handshake_ms,
		.verify_ms = t->verify_ms,
		.certificate_size = g->config->limits.certificate_size,
		.libssl_records = g->config->tls_records == TLS_RECORDS_LIBSSL,
	};

	lane->entry = en;
	lane->gw = gw;
	lane->sock = g->sock;
	if (en->conf->netfilter != NULL)
		lane->sock.mark = en->conf->netfilter->so_mark;
	list_init(&lane->sessions);
	if (gate_is_before(en->conf))
		make_knocks(lane);
	lane->capture_events.captured = on_captured;
	lane->capture_events.reserve = on_reserve;
	lane->capture_events.release = on_release;
	lane->capture_events.lost = on_lost;
	lane->side = side;
	if (secure_side_init(&lane->side, e) < 0)
		return err_wrap(e, "%s", en->conf->path);
	if (is_ingress && en->conf->multiplex == TRI_TRUE)
		lane->pool = make_pool(lane);
	return open_listeners(lane, e);
}

static void lane_release(struct lane *lane)
{
	listeners_free(lane->listeners);
	session_pool_free(lane->pool);
	free(lane->knocks);
	secure_side_release(&lane->side);
}

/* ---- workers ---- */

int worker_init(struct gateway_worker *gw, struct gateway *g, unsigned index, struct err *e)
{
	gw->gateway = g;
	gw->base.index = index;
	gw->base.loop = loop_new(e);
	if (gw->base.loop == NULL)
		return -1;
	list_init(&gw->flows);
	gw->base.pool = pool_new(&g->budget);
	gw->base.resolver = g->resolver;
	gw->base.aead = aead_cache_new();
	gw->base.libctx = libctx_new(e);
	if (gw->base.libctx == NULL)
		return -1;
	gw->base.counters = &gw->counters;
	gw->flow_slab = slab_new(sizeof(struct flow));
	gw->tls_slab = slab_new(sizeof(struct record_stream));
	gw->lanes = mem_new_array(g->entry_count, sizeof(struct lane));
	for (size_t i = 0; i < g->entry_count; i++) {
		if (lane_init(&gw->lanes[i], gw, &g->entries[i], e) < 0)
			return -1;
	}
	return 0;
}

void worker_release(struct gateway_worker *gw)
{
	if (gw->base.loop == NULL)
		return;
	for (size_t i = 0; gw->lanes != NULL && i < gw->gateway->entry_count; i++)
		lane_release(&gw->lanes[i]);
	/* Clients on their way here are turned away when the loop delivers its last mail, which knows the lanes. */
	gw->draining = true;
	loop_free(gw->base.loop);
	free(gw->lanes);
	pool_free(gw->base.pool);
	aead_cache_free(gw->base.aead);
	slab_free(gw->flow_slab);
	slab_free(gw->tls_slab);
	libctx_free(gw->base.libctx);
}

static void *worker_main(void *arg)
{
	struct gateway_worker *gw = arg;
	struct err e;

	prctl(PR_SET_NAME, "tng worker"); /* for those who look at threads */
	for (size_t i = 0; i < gw->gateway->entry_count; i++) {
		struct lane *lane = &gw->lanes[i];

		if (listeners_start(lane->listeners, &gw->base, &lane->capture_events, &e) < 0) {
			log_error("%s: %s", lane->entry->conf->path, e.text);
			gateway_lost_listener(gw->gateway);
		}
	}
	loop_run(gw->base.loop);
	return NULL;
}

static void report_drained(struct gateway_worker *gw)
{
	if (gw->has_drained)
		return;
	gw->has_drained = true;
	loop_post(gw->gateway->main_loop, &gw->drained_mail);
}

void gateway_worker_flow_gone(struct gateway_worker *gw)
{
	if (gw->draining && gw->flow_count == 0)
		report_drained(gw);
}

static void close_flows(struct gateway_worker *gw)
{
	while (!list_is_empty(&gw->flows))
		flow_close(container_of(gw->flows.next, struct flow, link), REASON_SHUTDOWN, NULL);
}

static void on_drain_deadline(struct timer *t)
{
	struct gateway_worker *gw = container_of(t, struct gateway_worker, drain_deadline);

	close_flows(gw);
	report_drained(gw);
}

/* Where there are rules of ours, taking them away is part of the time that the operator allows. */
static unsigned drain_ms(const struct gateway *g)
{
	unsigned ms = g->config->timeouts.drain_ms;

	return g->guard == NULL ? ms : ms - MIN(REMOVAL_MS, ms / 2);
}

static void on_drain(struct mail *m)
{
	struct gateway_worker *gw = container_of(m, struct gateway_worker, drain_mail);

	gw->draining = true;
	knock_drain(gw); /* their clients have not been answered */
	for (size_t i = 0; i < gw->gateway->entry_count; i++) {
		/* What the kernel still diverts to us is taken, and reset at once: in clear it must not go on. */
		if (gw->lanes[i].entry->conf->netfilter == NULL)
			listeners_stop(gw->lanes[i].listeners);
		egress_drain(&gw->lanes[i]);
	}
	timer_init(&gw->drain_deadline, on_drain_deadline);
	timer_start(gw->base.loop, &gw->drain_deadline, drain_ms(gw->gateway));
	if (gw->flow_count == 0)
		report_drained(gw);
}

static void close_all(struct gateway_worker *gw)
{
	timer_cancel(gw->base.loop, &gw->drain_deadline);
	gw->draining = true;
	close_flows(gw); /* a peer may have opened a stream after the last one had gone */
	for (size_t i = 0; i < gw->gateway->entry_count; i++) {
		egress_stop(&gw->lanes[i]);
		session_pool_free(gw->lanes[i].pool);
		gw->lanes[i].pool = NULL;
	}
}

static void on_close(struct mail *m)
{
	struct gateway_worker *gw = container_of(m, struct gateway_worker, close_mail);

	close_all(gw);
	loop_post(gw->gateway->main_loop, &gw->closed_mail);
}

static void on_stop(struct mail *m)
{
	struct gateway_worker *gw = container_of(m, struct gateway_worker, stop_mail);

	close_all(gw);
	for (size_t i = 0; i < gw->gateway->entry_count; i++)
		listeners_stop(gw->lanes[i].listeners);
	loop_stop(gw->base.loop);
}

int worker_start(struct gateway_worker *gw, struct err *e)
{
	errno = pthread_create(&gw->thread, NULL, worker_main, gw);
	if (errno != 0)
		return err_errno(e, ERR_SYSTEM, "start a worker");
	gw->started = true;
	return 0;
}

void worker_drain(struct gateway_worker *gw)
{
	gw->drain_mail.deliver = on_drain;
	loop_post(gw->base.loop, &gw->drain_mail);
}

void worker_close(struct gateway_worker *gw)
{
	gw->close_mail.deliver = on_close;
	loop_post(gw->base.loop, &gw->close_mail);
}

void worker_stop(struct gateway_worker *gw)
{
	if (!gw->started)
		return;
	gw->stop_mail.deliver = on_stop;
	loop_post(gw->base.loop, &gw->stop_mail);
	pthread_join(gw->thread, NULL);
	gw->started = false;
}
