/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session - a multiplexed connection to another gateway: dialed, secured, and judged again whenever its verdict has
 * run out. spec: rats-tls.md 9.2.
 *
 *   DIALING --> SECURING --> READY <--> JUDGING --> RETIRED --> gone
 *
 * JUDGING is a session whose verdict has run out and is being renewed. RETIRED takes no new streams and goes
 * with its last one: after a failure, a refusal, the peer's GOAWAY, or a time without streams.
 *
 * Threads: the worker.
 */
#pragma once

#include <stdatomic.h>

#include "io/dial.h"
#include "tunnel/rats_tls/mux.h"
#include "tunnel/rats_tls/peer_verdict.h"
#include "tunnel/rats_tls/record_stream.h"
#include "tunnel/rats_tls/secure.h"

struct session;

enum session_state { SESSION_DIALING, SESSION_SECURING, SESSION_READY, SESSION_JUDGING, SESSION_RETIRED };

struct session_options {
	struct endpoint to;
	struct sock_addr from; /* all zero: the kernel chooses */
	struct secure_side *side;
	const struct sock_options *sock;
	unsigned connect_ms;
	unsigned resolve_ms;
	unsigned idle_ms;
	atomic_size_t *descriptors; /* sessions count themselves here */
};

/* Embed in the owner, who has one for all sessions to the same place. */
struct session_events {
	/* s is ready, has been judged, takes no more streams, or takes more. */
	void (*changed)(struct session_events *self, struct session *s);
	/* A session will not become ready. */
	void (*failed)(struct session_events *self, enum reason reason, const struct err *why);
	/* A retired one is not there any more. */
	void (*gone)(struct session_events *self);
};

struct session {
	/* For the owner to read; link is the owner's, and is_fresh for it to clear. */
	struct list link;
	enum session_state state;
	struct mux_session *mux;  /* READY and JUDGING */
	struct peer_verdict peer; /* READY and JUDGING */
	bool is_fresh; /* the verdict serves at least those who waited for it; until the owner has served them */

	const struct session_options *options;
	struct session_events *events;
	struct dial *dial;
	struct dial_events dial_events;
	struct secure *secure;
	struct secure_events secure_events;
	struct record_stream tls;
	struct mux_session_events mux_events;
	uint64_t used_ms; /* when it last had a stream */
	bool ended;
	struct verify_events verify_events;
	struct timer idle; /* looks whether it can go */
	struct task reap;
};

/* Begins to dial. keeps options and events, which never come from inside; the session stands in list until it goes. */
void session_start(const struct session_options *options, struct session_events *events, struct list *list);
/* At once, whatever is under way. gone is not called. */
void session_free(struct session *s);

/* READY: the peer's verdict holds. false: it is being renewed, or the peer is refused; changed tells. */
bool session_is_believed(struct session *s);

/* READY: a stream of it; NULL when there is no room. keeps events. */
struct mux_stream *session_connect(struct session *s, struct mux_connect_events *events);

/* true when the peer ended the connection with a fatal alert; why says what it means and what to change. */
bool session_alert(const struct session *s, struct err *why);

/* Takes no more streams. Does nothing when it is retired already. */
void session_retire(struct session *s);
