/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session_pool - the ingress's multiplexed sessions: for each destination a few, shared by all its flows.
 *
 * A session takes new streams only while its peer's verdict is valid; when that has run out, the certificate of
 * the session is judged again before the next stream, and a session whose peer is refused then takes no more.
 * Another session is opened when the peer's stream limit is reached, within max_connections.
 * spec: rats-tls.md 9.2, upstream-2.12.md 3.
 *
 * Threads: the worker.
 */
#pragma once

#include "tunnel/rats_tls/session.h"

struct session_pool;
struct session_open;

struct session_pool_options {
	struct session_options session; /* to and from are those of each open */
	unsigned wait_ms;		/* for a place on a session, once they are open */
	unsigned max_streams;		/* on one session, as long as another may be opened; 0: what the peer allows */
	bool single;			/* one stream for each session, which goes with it */
	unsigned max_connections;	/* of this worker, for one destination; 0: as many as needed */
};

struct session_pool *session_pool_new(const struct session_pool_options *options);
/* Every open has ended or been cancelled. Sessions are closed. */
void session_pool_free(struct session_pool *p);

struct session_open_events {
	/* The peer has answered 200. gives stream; attested and tee are those of the session. */
	void (*opened)(struct session_open_events *self, struct mux_stream *stream, bool attested, const char *tee);
	void (*failed)(struct session_open_events *self, enum reason reason, const struct err *why);
};

/*
 * A stream of a session to there that was dialed from there (all zero: the kernel chooses); different addresses to dial
 * from never share a session. keeps events until one of the two came or cancel. Never calls back inside.
 */
struct session_open *session_pool_open(struct session_pool *p, const struct endpoint *to, const struct sock_addr *from,
				       struct session_open_events *events);
void session_open_cancel(struct session_open *o);
