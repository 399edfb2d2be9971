/* SPDX-License-Identifier: Apache-2.0 */
/* flow - how flows begin and end. */
#include "gateway/flow.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/slab.h"
#include "gateway/egress.h"
#include "gateway/interception.h"
#include "gateway/knock.h"

#define FAILURES_LOGGED 20 /* lines a second for each worker and reason, but for our own limits */

static void on_idle(struct timer *t);

struct flow *flow_new(struct lane *lane, const struct sock_addr *client, const struct endpoint *to, uint8_t descriptors)
{
	static atomic_uint next_id;
	struct gateway_worker *gw = lane->gw;
	struct flow *f = slab_take(gw->flow_slab);

	f->lane = lane;
	f->id = atomic_fetch_add_explicit(&next_id, 1, memory_order_relaxed);
	f->client = *client;
	f->to = *to;
	f->reported = true;
	f->descriptors = descriptors;
	f->sock.watch.fd = -1;
	f->started_ms = loop_now_ms(gw->base.loop);
	list_init(&f->session);
	list_init(&f->link);
	list_append(&gw->flows, &f->link);
	gw->flow_count++;
	atomic_fetch_add_explicit(&gw->load, 1, memory_order_relaxed);
	gateway_count_flow(gw->gateway, descriptors);
	f->counted = true;
	counter_add(&gw->counters.flows_total, 1);
	counter_add(&gw->counters.flows_active, 1);
	return f;
}

/* ---- who the client is ---- */

static bool must_greet(const struct flow *f)
{
	const struct entry *en = f->lane->entry;

	for (size_t i = 0; i < en->accept_from_count; i++) {
		if (cidr_has(&en->accept_from[i], &f->client))
			return true;
	}
	return false;
}

/* Where the client was going, as it saw it: from its header, from the kernel, or the socket's own address. */
static struct sock_addr server_of(const struct flow *f, const struct proxy_header *h)
{
	struct sock_addr own = { 0 };
	socklen_t len = sizeof(own);

	if (h != NULL && h->has_addrs)
		return h->server;
	if (f->lane->entry->conf->netfilter != NULL)
		return f->to.addr;
	if (getsockname(f->sock.watch.fd, &own.any, &len) < 0)
		own = (struct sock_addr){ 0 }; /* announced as unknown */
	return own;
}

static void on_greeted(struct greeting_events *self, const struct proxy_header *h)
{
	struct flow *f = container_of(self, struct flow, greeting_events);
	enum proxy_protocol_version send = f->lane->entry->conf->proxy_protocol.send;
	struct sock_addr server;

	f->greeting = NULL;
	if (h != NULL && h->has_addrs) {
		char real[SOCK_ADDR_TEXT], said[SOCK_ADDR_TEXT];

		log_debug("flow %08x: %s says that it speaks for %s", f->id, sock_addr_format(&f->client, real),
			  sock_addr_format(&h->client, said));
		f->client = h->client;
	}
	if (send != PROXY_PROTOCOL_NONE) {
		server = server_of(f, h);
		f->announcement = announcement_new(send, &f->client, &server);
	}
	f->begin(f);
}

static void on_greeting_failed(struct greeting_events *self, enum reason reason, const struct err *why)
{
	struct flow *f = container_of(self, struct flow, greeting_events);

	f->greeting = NULL;
	flow_close(f, reason, why);
}

void flow_greet(struct flow *f, void (*begin)(struct flow *f))
{
	struct gateway_worker *gw = f->lane->gw;
	bool is_ingress = f->lane->entry->conf->kind == ENTRY_INGRESS;
	struct greeting_options options = {
		.fd = f->sock.watch.fd,
		.required = must_greet(f),
		.limit_ms = gw->gateway->config->timeouts.first_byte_ms,
		.gone = is_ingress ? REASON_CLIENT_RESET : REASON_PEER_CLOSED,
	};
	struct err why;

	f->begin = begin;
	f->greeting_events.greeted = on_greeted;
	f->greeting_events.failed = on_greeting_failed;
	/* A peer speaks first; an application may as well wait for its service to do so. */
	if (is_ingress && !options.required && f->lane->entry->accept_from_count > 0)
		f->sock.vet = greeting_vet;
	if (f->lane->entry->accept_from_count == 0 || f->sock.vet != NULL) {
		on_greeted(&f->greeting_events, NULL);
		return;
	}
	f->greeting = greeting_start(&gw->base, &options, &f->greeting_events, &why);
	if (f->greeting == NULL)
		flow_close(f, REASON_INTERNAL, &why);
}

/* ---- relaying ---- */

static enum reason relay_reason(const struct flow *f, enum relay_end end)
{
	bool is_ingress = f->lane->entry->conf->kind == ENTRY_INGRESS;
	bool tunnel = is_ingress ? end == RELAY_FAR_RESET || end == RELAY_FAR_BROKEN
				 : end == RELAY_NEAR_RESET || end == RELAY_NEAR_BROKEN;

	if (end == RELAY_DONE)
		return REASON_DONE;
	if (is_ingress && end == RELAY_NEAR_BROKEN)
		return REASON_PROXY_HEADER; /* greeting_vet() */
	if (!tunnel)
		return is_ingress ? REASON_CLIENT_RESET : REASON_SERVICE_RESET;
	if (end == RELAY_NEAR_BROKEN || end == RELAY_FAR_BROKEN)
		return REASON_TUNNEL_PROTOCOL;
	if (f->tls != NULL && f->tls->peer_alert != 0)
		return REASON_TLS_ALERT;
	return f->tls != NULL && f->tls->truncated ? REASON_TUNNEL_TRUNCATED : REASON_TUNNEL_RESET;
}

static uint64_t bytes_of_flow(const struct flow *f, bool to_far)
{
	if (f->state != FLOW_RELAYING)
		return 0;
	return to_far ? f->relay.to_far.bytes : f->relay.to_near.bytes;
}

/* What a reason alone does not tell. */
static bool explain(const struct flow *f, enum reason reason, struct err *why)
{
	if (f->tls != NULL && record_stream_alert(f->tls, why))
		return true;
	if (reason == REASON_PROXY_HEADER) {
		err_set(why, ERR_PEER, "from an address that is not in proxy_protocol.accept_from");
		return true;
	}
	if (reason != REASON_TUNNEL_TRUNCATED || bytes_of_flow(f, true) + bytes_of_flow(f, false) > 0)
		return false;
	err_set(why, ERR_PEER, "the other gateway closed a new tunnel; if it refused us, its log says why");
	return true;
}

static void on_finished(struct relay_events *self, enum relay_end end)
{
	struct flow *f = container_of(self, struct flow, relay_events);
	enum reason reason = relay_reason(f, end);
	struct err why;

	f->mux = NULL; /* the relay has closed it */
	flow_close(f, reason, explain(f, reason, &why) ? &why : NULL);
}

static void on_idle(struct timer *t)
{
	struct flow *f = container_of(t, struct flow, idle);
	struct loop *loop = f->lane->gw->base.loop;
	unsigned limit = f->lane->gw->gateway->config->timeouts.idle_ms;
	uint64_t idle = loop_now_ms(loop) - f->relay.moved_ms;

	if (idle >= limit)
		flow_close(f, REASON_IDLE, NULL);
	else
		timer_start(loop, &f->idle, limit - idle);
}

static void relay(struct flow *f, struct stream *near, struct stream *far)
{
	struct gateway_worker *gw = f->lane->gw;
	unsigned idle_ms = gw->gateway->config->timeouts.idle_ms;

	/* From here on the memory of what it took to open it is the relay's. */
	f->state = FLOW_RELAYING;
	timer_init(&f->idle, on_idle);
	f->relay_events.finished = on_finished;
	relay_start(&f->relay, &gw->base, near, far, gw->gateway->config->timeouts.linger_ms, &f->relay_events);
	if (idle_ms > 0)
		timer_start(gw->base.loop, &f->idle, idle_ms);
}

static void on_announced(struct announcement_events *self)
{
	struct flow *f = container_of(self, struct flow, announcement_events);

	announcement_free(f->announcement);
	f->announcement = NULL;
	relay(f, f->near, f->far);
}

static void on_announcement_failed(struct announcement_events *self, enum io_result result)
{
	struct flow *f = container_of(self, struct flow, announcement_events);
	bool is_ingress = f->lane->entry->conf->kind == ENTRY_INGRESS;
	struct err why;

	if (result != IO_AGAIN) {
		flow_close(f, is_ingress ? REASON_TUNNEL_RESET : REASON_SERVICE_RESET, NULL);
		return;
	}
	err_set(&why, ERR_TIMEOUT, "it does not take our PROXY protocol header");
	flow_close(f, is_ingress ? REASON_PEER_TIMEOUT : REASON_SERVICE_TIMEOUT, &why);
}

void flow_attested(struct flow *f, const char *tee)
{
	f->attested = true;
	memccpy(f->tee, tee, '\0', sizeof(f->tee) - 1);
}

void flow_relay(struct flow *f, struct stream *near, struct stream *far)
{
	struct gateway_worker *gw = f->lane->gw;

	if (f->announcement == NULL) {
		relay(f, near, far);
		return;
	}
	f->near = near;
	f->far = far;
	f->announcement_events.announced = on_announced;
	f->announcement_events.failed = on_announcement_failed;
	announcement_start(f->announcement, &gw->base, far, gw->gateway->config->timeouts.connect_ms,
			   &f->announcement_events);
}

/* ---- the end ---- */

/* For each worker. Where it is our own limit, each further line says the same. */
static unsigned lines_a_second(enum reason reason)
{
	return reason == REASON_LIMIT_CONNECTIONS || reason == REASON_NO_DESCRIPTORS ? 1 : FAILURES_LOGGED;
}

/* What was decided about the flow. */
static const char *decision(const struct flow *f, enum reason reason)
{
	if (reason == REASON_RECURSION || reason == REASON_NO_DESTINATION)
		return "refused";
	return f->mux != NULL || f->from_mux ? "via rats-tls multiplexed" : "via rats-tls";
}

static void log_end(struct flow *f, enum reason reason, const struct err *why)
{
	struct gateway_worker *gw = f->lane->gw;
	uint64_t now = loop_now_ms(gw->base.loop);
	char client[SOCK_ADDR_TEXT];
	char left_out[48] = "";
	enum log_level level = reason == REASON_DONE || reason == REASON_SHUTDOWN ? LOG_INFO : LOG_WARN;
	char to[ENDPOINT_TEXT];
	unsigned skipped = 0;

	if (!log_is_on(level))
		return;
	if (level == LOG_WARN && !log_limit_pass(&gw->failure_limits[reason], lines_a_second(reason), now, &skipped))
		return;
	if (skipped > 0)
		snprintf(left_out, sizeof(left_out), " (%u like this were not logged)", skipped);
	log_write(level, "flow %08x: %s %s -> %s %s%s%s%s: %s%s%s, %llu.%03llus, %llu/%llu bytes%s", f->id,
		  f->lane->entry->conf->path, sock_addr_format(&f->client, client), endpoint_format(&f->to, to),
		  decision(f, reason), f->attested ? " attested(" : "", f->attested ? f->tee : "",
		  f->attested ? ")" : "", reason_word(reason), why == NULL ? "" : ": ", why == NULL ? "" : why->text,
		  (unsigned long long)(now - f->started_ms) / 1000, (unsigned long long)(now - f->started_ms) % 1000,
		  (unsigned long long)bytes_of_flow(f, true), (unsigned long long)bytes_of_flow(f, false), left_out);
}

/*
 * A flow that fails before it relays has nothing to end: application and service see a reset, as they would of each
 * other, since a clean end would say that this was all. Only a peer is told by an alert why, which a reset might
 * overtake; without close_notify it takes the end for an abort all the same.
 */
static void close_streams(struct flow *f, enum reason reason)
{
	enum stream_close how = reason == REASON_DONE ? STREAM_FINISHED : STREAM_ABORT;

	if (f->state == FLOW_RELAYING && f->relay.near != NULL) {
		relay_cancel(&f->relay, how);
		f->mux = NULL;
	}
	if (f->sock.watch.fd >= 0)
		sock_stream_close(&f->sock, f->state == FLOW_RELAYING ? how : STREAM_ABORT);
	if (f->mux != NULL) {
		struct stream *s = mux_stream_stream(f->mux);

		s->ops->close(s, STREAM_ABORT);
		f->mux = NULL;
	}
	if (f->tls == NULL)
		return;
	if (f->tls->watch.fd >= 0)
		f->tls->stream.ops->close(&f->tls->stream, f->state == FLOW_RELAYING ? how : STREAM_FINISHED);
	slab_give(f->lane->gw->tls_slab, f->tls);
	f->tls = NULL;
}

static void flow_free(struct flow *f)
{
	struct gateway_worker *gw = f->lane->gw;
	struct egress_session *owner = f->session_owner;

	announcement_free(f->announcement);
	if (f->state == FLOW_RELAYING) {
		timer_cancel(gw->base.loop, &f->idle);
	} else {
		dial_cancel(f->dial);
		secure_cancel(f->secure);
		session_open_cancel(f->opening);
	}
	list_remove(&f->session);
	list_remove(&f->link);
	gw->flow_count--;
	atomic_fetch_sub_explicit(&gw->load, 1, memory_order_relaxed);
	counter_add(&gw->counters.flows_active, (uint64_t)-1);
	gateway_uncount_flow(gw->gateway, f->descriptors);
	slab_give(gw->flow_slab, f);
	if (owner != NULL)
		egress_session_reap_if_done(owner);
	gateway_worker_flow_gone(gw);
}

/* The destination has nobody who listens. Whom we do not trust, and what a limit stopped, may be there next time. */
static bool is_refusal(const struct flow *f, enum reason reason, const struct err *why)
{
	const struct entry_conf *conf = f->lane->entry->conf;

	if (conf->kind != ENTRY_INGRESS || conf->netfilter == NULL ||
	    conf->netfilter->open_ports != OPEN_PORTS_NEGATIVE_CACHE)
		return false;
	if (reason == REASON_PEER_DECLINED)
		return why != NULL && why->kind != ERR_LIMIT;
	return reason == REASON_PEER_REFUSED || reason == REASON_PEER_UNREACHABLE || reason == REASON_PEER_TIMEOUT;
}

void flow_close(struct flow *f, enum reason reason, const struct err *why)
{
	struct gateway_worker *gw = f->lane->gw;

	if (f->state != FLOW_RELAYING) {
		greeting_cancel(f->greeting);
		f->greeting = NULL;
	}
	if (f->knock != 0)
		knock_ended(f);
	if (f->state == FLOW_OPENING && is_refusal(f, reason, why))
		interception_refused(gw->gateway, f->lane->entry->conf, &f->to.addr);
	log_end(f, reason, why);
	counter_add(&gw->counters.ends[reason], 1);
	counter_add(&gw->counters.bytes_to_far, bytes_of_flow(f, true));
	counter_add(&gw->counters.bytes_to_near, bytes_of_flow(f, false));
	close_streams(f, reason);
	flow_free(f);
}

void flow_dissolve(struct flow *f)
{
	counter_add(&f->lane->gw->counters.flows_total, (uint64_t)-1);
	flow_free(f);
}

struct sock_addr flow_source(const struct flow *f)
{
	const struct transparency_conf *t = &f->lane->entry->conf->transparency;
	struct sock_addr from = { 0 };

	if (!t->out)
		return from;
	from = f->client;
	if (!t->client_port)
		sock_addr_set_port(&from, 0);
	return from;
}

void flow_dial(struct flow *f)
{
	struct gateway *g = f->lane->gw->gateway;
	struct dial_options options = {
		.to = f->to,
		.from = flow_source(f),
		.connect_ms = g->config->timeouts.connect_ms,
		.resolve_ms = g->config->timeouts.resolve_ms,
		.sock = &f->lane->sock,
	};

	f->dial = dial_start(&f->lane->gw->base, &options, &f->dial_events);
}
