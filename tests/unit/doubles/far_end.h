/* SPDX-License-Identifier: Apache-2.0 */
/*
 * far_end - plays the other gateway of a multiplexed tunnel on a port of 127.0.0.1, on the test's own loop. What comes
 * in a stream goes back in it.
 *
 * Threads: the worker.
 */
#pragma once

#include "base/bytes.h"
#include "io/endpoint.h"
#include "io/loop.h"
#include "io/stream.h"
#include "tunnel/rats_tls/secure_side.h"

struct identity;
struct mux_stream;
struct worker;

/* What becomes of CONNECT. */
enum far_end_mode {
	FAR_END_ACCEPT,
	FAR_END_HOLD,	 /* it waits for far_end_release() */
	FAR_END_DECLINE, /* it is answered with status */
	FAR_END_HANG_UP, /* the whole connection is closed */
};

struct far_end {
	struct worker *worker;
	struct secure_side side; /* the test may change it between init and start */
	struct watch listener;
	struct endpoint endpoint; /* where it listens */
	struct list conns;
	enum far_end_mode mode;
	int status;
	unsigned max_streams; /* of connections that begin from now on; 100 */
	bool deaf;	      /* connections wait for far_end_hear() before a byte of them is read */
	bool drains;	      /* GOAWAY is the first that a connection says */
	unsigned connections; /* taken so far */
	unsigned open;	      /* of these */
	unsigned sessions;    /* of these, so far: secured, with h2 */
	struct sock_addr last_client;
	unsigned requests;
	unsigned withdrawn;
};

/* keeps w; shows id, of which it keeps a reference. */
void far_end_init(struct far_end *f, struct worker *w, struct identity *id);
void far_end_start(struct far_end *f);
/* Connections are refused from now on, until far_end_listen() opens the same port again. */
void far_end_close(struct far_end *f);
void far_end_listen(struct far_end *f);
/* Closes everything. */
void far_end_stop(struct far_end *f);

/* Connections that wait are heard. */
void far_end_hear(struct far_end *f);
/* All that was held is accepted, in the order in which it came. */
void far_end_release(struct far_end *f);
/* GOAWAY on all connections. */
void far_end_drain(struct far_end *f);
/* Closes all connections; what waits to be heard as well. */
void far_end_hang_up(struct far_end *f);
/* Closes the first of those that wait to be heard. */
void far_end_hang_up_unheard(struct far_end *f);

/* The client's end of a stream. */
struct probe {
	struct stream_events events;
	struct stream *stream; /* NULL: not attached, or closed */
	struct buf got;
	enum io_result end; /* IO_AGAIN: none so far */
	bool ended;
};

/* takes s. */
void probe_attach(struct probe *p, struct mux_stream *s);
void probe_close(struct probe *p, enum stream_close how);
/* What is said comes back. */
bool probe_echoes(struct probe *p, struct loop *l);
