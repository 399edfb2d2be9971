/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mux - many streams over one TLS connection: HTTP/2 CONNECT (RFC 9113 8.5). spec: rats-tls.md 9.2.
 *
 * A session owns its transport. It pulls from it, feeds nghttp2, and hands DATA to the streams; frames are
 * collected over one round of the loop and sealed together. Both roles share all of it but the few lines
 * that open a stream. Memory that a peer can grow: each stream's receive window starts at 64 KiB and doubles up
 * to 1 MiB only for a reader that keeps up and while the worker's pool has room; the connection window is
 * given back at once, so that stalled readers hold back only their own streams.
 *
 * End of input is END_STREAM. An abort is RST_STREAM(CONNECT_ERROR), and every RST_STREAM that comes before
 * END_STREAM is an abort (upstream's CANCEL and NO_ERROR too).
 *
 * Threads: the worker.
 */
#pragma once

#include "base/err.h"
#include "io/stream.h"
#include "metrics/reason.h"

struct mux_session;
struct worker;

/* A stream of the session, seen by the relay as a struct stream. */
struct mux_stream;

enum mux_role { MUX_CLIENT, MUX_SERVER };

struct mux_session_events {
	/*
	 * MUX_SERVER: the peer has sent CONNECT. The owner answers later with mux_stream_accept() or
	 * mux_stream_refuse(); DATA that comes before waits, at most the first window. From the end of the round.
	 */
	void (*requested)(struct mux_session_events *self, struct mux_stream *s);
	/* MUX_SERVER: the peer took a stream back that was not yet answered; it is gone when this returns. */
	void (*withdrawn)(struct mux_session_events *self, struct mux_stream *s);
	/* MUX_CLIENT: mux_session_room() has become larger, or the session takes no more streams. */
	void (*changed)(struct mux_session_events *self);
	/*
	 * The transport ended or the peer broke the protocol (why says how); all streams have been told (IO_RESET or
	 * IO_BROKEN). The session takes no more streams; the owner frees it, when its last stream has been closed.
	 */
	void (*ended)(struct mux_session_events *self, enum reason reason, const struct err *why);
};

struct mux_session_options {
	enum mux_role role;
	unsigned max_streams; /* MUX_SERVER: what we announce */
};

/* keeps transport, an open stream whose events it takes over and which it closes in mux_session_free(); keeps events.
 */
struct mux_session *mux_session_new(struct worker *w, struct stream *transport,
				    const struct mux_session_options *options, struct mux_session_events *events,
				    struct err *e);

/*
 * Ends all streams as aborted (their owners get ready() or failed() in the next round, then see IO_RESET, and close
 * them as ever); sends GOAWAY where that is possible. May be called from any callback.
 */
void mux_session_free(struct mux_session *s);

/* GOAWAY: no new streams; those that are open go on. */
void mux_session_drain(struct mux_session *s);

/* How many more streams the peer lets us open now; 0 after GOAWAY or the end. */
unsigned mux_session_room(const struct mux_session *s);
unsigned mux_session_streams(const struct mux_session *s);

/* MUX_CLIENT: no stream can be opened any more: GOAWAY, the end, or no stream ids left. */
bool mux_session_is_closing(const struct mux_session *s);

/*
 * Embed in the owner. One of the two comes, once, unless mux_stream_stream()->ops->close came first. The stream
 * stays until its owner closes it, also after failed.
 */
struct mux_connect_events {
	void (*answered)(struct mux_connect_events *self, int status);
	void (*failed)(struct mux_connect_events *self, enum reason reason, const struct err *why);
};

/*
 * MUX_CLIENT: CONNECT tng.internal. NULL when there is no room. No DATA leaves before status 200; after any other
 * the owner closes the stream.
 */
struct mux_stream *mux_session_connect(struct mux_session *s, struct mux_connect_events *events);

/* MUX_SERVER: 200 with date. Then the stream is open for data. */
void mux_stream_accept(struct mux_stream *s);
/* MUX_SERVER: another status with END_STREAM, e.g. 502. The stream is gone when this returns. */
void mux_stream_refuse(struct mux_stream *s, int status);

/*
 * The data side; its events are the caller's to set. ops->close() frees the mux_stream (the session lives on).
 */
struct stream *mux_stream_stream(struct mux_stream *s);
