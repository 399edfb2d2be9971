/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conn - the lab's servers: a listener, and a connection with what came in and what must go out.
 *
 * The protocol behind a connection reads from in, which it consumes with conn_consume(), and appends to
 * out. Reading pauses while more than CONN_OUT_HIGH bytes wait to be sent, so a client that does not read
 * its answers cannot make us grow; what may pile up in front of a protocol is its own limit, for which it
 * calls conn_pause().
 *
 * Threads: all on the thread of the loop.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/list.h"
#include "io/loop.h"

#define CONN_READ_SIZE (64u << 10)
#define CONN_OUT_HIGH (1u << 20)

/* A client that does not take the end of our answer is cut off after this. */
#define CONN_LINGER_MS 2000

struct conn;
struct listener;

/* What a protocol does; one const struct for each. */
struct conn_ops {
	/* gives the connection inside a new, zeroed object of the protocol; on_closed frees it. */
	struct conn *(*open)(struct listener *l);

	/* There is more in c->in, or c->input_ended was set, or what was sent made room again. */
	void (*on_input)(struct conn *c);

	/* timer set by conn_set_deadline() */
	void (*on_deadline)(struct conn *c);

	/* The descriptor is closed; free the object. */
	void (*on_closed)(struct conn *c);
};

struct conn {
	const struct conn_ops *ops;
	struct listener *listener;
	struct loop *loop;
	struct list link; /* in listener->conns */

	struct watch watch;
	uint32_t interest; /* what epoll was told */
	struct timer deadline;
	struct task step; /* runs on_input later */

	struct buf in;
	size_t in_at; /* consumed so far */
	struct buf out;
	size_t out_at;
	uint64_t filler; /* bytes of no meaning to be sent behind out */

	bool input_ended; /* the client has closed its direction */
	bool paused;	  /* by the protocol */
	bool finishing;	  /* close when out is sent; input is discarded */
	bool shut;	  /* our direction is closed */
	bool closed;	  /* on_closed is scheduled */
};

struct listener {
	const struct conn_ops *ops;
	struct loop *loop;
	struct watch watch;
	struct timer retry; /* accepting goes on */
	struct list conns;
	size_t conn_count;
	size_t conn_limit;

	uint16_t port; /* TCP: where we listen, also while we are down */
	char *path;    /* unix: the socket's file */
	uint64_t accepted;
};

/* l is zeroed. TCP on 127.0.0.1; port 0 takes a free one, which is then in l->port. */
int listener_open_tcp(struct listener *l, struct loop *loop, uint16_t port, const struct conn_ops *ops,
		      struct err *e) MUST_CHECK;

/* Replaces a file that is there already: the caller knows that nobody serves it. */
int listener_open_unix(struct listener *l, struct loop *loop, const char *path, const struct conn_ops *ops,
		       struct err *e) MUST_CHECK;

/* As if the process had died: the socket is closed (and its file removed), connections are reset. */
void listener_down(struct listener *l);

/* Listens again where it did before. Does nothing when it listens. */
int listener_up(struct listener *l, struct err *e) MUST_CHECK;
static inline bool listener_is_up(const struct listener *l)
{
	return watch_is_active(&l->watch) || timer_is_started(&l->retry);
}

/* Down for ever. Call it before the loop is freed; l may be zeroed again afterwards. */
void listener_close(struct listener *l);

/* The unread part of what came in. */
static inline struct bytes conn_input(const struct conn *c)
{
	if (c->in_at == c->in.len)
		return (struct bytes){ 0 };
	return bytes_of(c->in.data + c->in_at, c->in.len - c->in_at);
}
void conn_consume(struct conn *c, size_t len);

/* Sends what was appended to c->out. */
void conn_flush(struct conn *c);

/* Whether so much waits to be sent that no more should be produced. */
bool conn_is_full(const struct conn *c);

/* Stops and resumes reading. */
void conn_pause(struct conn *c, bool paused);

/* on_input once more, from the loop. */
void conn_schedule(struct conn *c);

/* 0 cancels. */
void conn_set_deadline(struct conn *c, uint64_t delay_ms);

/* Sends what is there, closes our direction, and waits shortly for the client to close its own. */
void conn_finish(struct conn *c);

/* Now. on_closed is called from the loop, nothing else any more. */
void conn_close(struct conn *c);

/* Now, with a reset where the protocol has one. */
void conn_reset(struct conn *c);
