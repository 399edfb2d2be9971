/* SPDX-License-Identifier: Apache-2.0 */
/*
 * listener - the listening sockets of an entry on one worker, whatever its mode.
 *
 * A mode opens them and says where a connection is aimed; accepting, pausing and losing a socket are the same for all.
 * When the process or the configured limit has no room, accepting pauses and the kernel's queue holds the clients; it
 * goes on by itself.
 *
 * Threads: the worker; opening and freeing while it does not run.
 */
#pragma once

#include <stdbool.h>

#include "base/err.h"
#include "io/endpoint.h"
#include "io/loop.h"
#include "io/sock.h"
#include "metrics/reason.h"

struct worker;
struct listeners;

/* A connection that has reached us. */
struct captured {
	int fd;
	struct sock_addr client;
	struct endpoint to;
	enum reason refused; /* REASON_DONE: not. It is to be reset, and why says more */
	struct err *why;     /* only with refused; borrowed during the call */
};

struct capture_events {
	/* gives c->fd and the place that was reserved. */
	void (*captured)(struct capture_events *self, const struct captured *c);
	/* A place for another connection; captured takes it over. false: there is none, asked again shortly. */
	bool (*reserve)(struct capture_events *self);
	/* Nobody came. */
	void (*release)(struct capture_events *self);
	/* A listening socket can no longer be used. */
	void (*lost)(struct capture_events *self);
};

struct listener {
	struct watch watch;
	struct listeners *set;
	struct endpoint to; /* mapping: where it leads */
	uint16_t port;	    /* where it listens */
	bool on_loopback;
	uint8_t doubled; /* how many may come in the next turn; 0: one */
};

/* Says where c, whose fd and client are set, is aimed: to, or refused and *c->why. */
typedef void listener_aim(const struct listener *l, struct captured *c);

/* A set that may hold max sockets. keeps name. Free with listeners_free(). */
struct listeners *listeners_new(size_t max, listener_aim *aim, const char *name);

/* Opens another socket, so that a taken port is an error of the start. to may be NULL. */
int listeners_add(struct listeners *ls, const struct sock_addr *addr, const struct endpoint *to,
		  const struct sock_options *sock, const struct sock_listen_options *how, struct err *e) MUST_CHECK;

/* Of the first socket. */
uint16_t listeners_port(const struct listeners *ls);

/* Begins to accept on this worker; keeps events. */
int listeners_start(struct listeners *ls, struct worker *w, struct capture_events *events, struct err *e) MUST_CHECK;

/* Closes the sockets; those that are still in their queues are reset by the kernel. */
void listeners_stop(struct listeners *ls);
void listeners_free(struct listeners *ls);
