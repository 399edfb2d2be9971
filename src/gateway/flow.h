/* SPDX-License-Identifier: Apache-2.0 */
/*
 * flow - one client's connection: its life, and its only end.
 *
 *   OPENING --> RELAYING --> (flow_close)
 *    ^ v|           |
 *   KEPT|           |
 *    |  |           |
 *    +--+-----------+--- any failure
 *
 * OPENING    near is there; who the client is, is found out; the far side is being dialed, secured, judged, and told of
 *            the client (PROXY protocol)
 * KEPT       the tunnel is open, and its client is still to come (knock.h)
 * RELAYING   the relay owns both streams
 *
 * Ingress: near is the application's socket, far the tunnel. Egress: near is the tunnel, far the service's
 * socket. The tunnel is a TLS connection of the flow's own, or a stream of a session.
 *
 * Threads: the worker.
 */
#pragma once

#include "gateway/announcement.h"
#include "gateway/gateway_internal.h"
#include "gateway/greeting.h"
#include "io/dial.h"
#include "io/sock_stream.h"
#include "relay/relay.h"
#include "tunnel/rats_tls/mux.h"
#include "tunnel/rats_tls/record_stream.h"
#include "tunnel/rats_tls/secure.h"
#include "tunnel/rats_tls/session_pool.h"

enum flow_state { FLOW_OPENING, FLOW_KEPT, FLOW_RELAYING };

struct flow {
	struct list link;    /* in the worker's flows */
	struct list session; /* egress: in the session's flows; ingress: in the lane's knocks */
	struct egress_session *session_owner;
	struct lane *lane;
	uint64_t knock; /* the gate's serial, until its client has come; 0: there is one */
	uint64_t started_ms;
	uint32_t id;
	enum flow_state state : 8;
	bool reported; /* counted and to be logged: false for a connection that became a session */
	bool counted;
	bool attested;
	bool from_mux;
	uint8_t descriptors;
	char tee[16];
	struct sock_addr client;
	struct endpoint to;
	struct sock_stream sock;	   /* fd -1 while there is none */
	struct record_stream *tls;	   /* raw tunnel */
	struct mux_stream *mux;		   /* multiplexed tunnel */
	struct announcement *announcement; /* what the far side is told first; until it has been */
	union {
		struct { /* until FLOW_RELAYING */
			struct stream_events sock_events;
			struct stream_events mux_events; /* of the tunnel */
			struct dial *dial;
			struct secure *secure;
			struct session_open *opening;
			struct greeting *greeting;
			struct stream *near; /* while the announcement is on its way, or the client */
			struct stream *far;
			struct secure_events secure_events;
			union {
				struct {
					struct greeting_events greeting_events;
					void (*begin)(struct flow *f);
				};
				struct announcement_events announcement_events;
				struct {
					struct timer timer;
					uint64_t until_ms;
				} kept;
				struct dial_events dial_events;
				struct session_open_events open_events;
			};
		};
		struct { /* FLOW_RELAYING */
			struct relay relay;
			struct relay_events relay_events;
			struct timer idle;
		};
	};
};

struct flow *flow_new(struct lane *lane, const struct sock_addr *client, const struct endpoint *to,
		      uint8_t descriptors);

/*
 * The captured socket is f->sock, not started. begin() comes when it is known who the client is, which is at once where
 * no PROXY protocol is configured.
 */
void flow_greet(struct flow *f, void (*begin)(struct flow *f));

/* A verdict has accepted the peer. tee: what it runs on; for the log, and cut there when it is long. */
void flow_attested(struct flow *f, const char *tee);

/* near and far are open: the far side is told what is to be told, and the rest is the relay's. */
void flow_relay(struct flow *f, struct stream *near, struct stream *far);

/*
 * The only end: log line, counters, streams, timers, memory. how applies to what is still open. why may be NULL.
 * f is gone when this returns.
 */
void flow_close(struct flow *f, enum reason reason, const struct err *why);

/* A connection that turned out to be a session of streams: gone without a trace; its tls has been taken away. */
void flow_dissolve(struct flow *f);

/* The address that the far side sees: the client's where transparency.out says so, else all zero. */
struct sock_addr flow_source(const struct flow *f);

/* To where the flow is aimed; dial_events are set. */
void flow_dial(struct flow *f);
