/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dial - a TCP connection to a host, by name or address.
 *
 * Names are resolved; the addresses are tried in order, the next one 250 ms after the last began or at once
 * when it failed (RFC 8305); the first that answers wins. Every wait has a deadline. With an address to dial from, only
 * addresses of its family are tried; if that address cannot be used there is no second attempt (interception.md 4.2).
 *
 * Threads: the worker.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "io/endpoint.h"
#include "io/loop.h"
#include "io/resolve.h"
#include "io/sock.h"

struct worker;

enum dial_failure {
	DIAL_RESOLVE,
	DIAL_REFUSED,
	DIAL_UNREACHABLE,
	DIAL_TIMEOUT,
	DIAL_NO_DESCRIPTORS,
	DIAL_SOURCE, /* the address and port that we were to dial from cannot be used now */
};

struct dial_events {
	/*
	 * gives fd: connected, non-blocking, and perhaps still watched through watch, which the owner passes to
	 * loop_hand_over() or loop_unwatch() before it returns.
	 */
	void (*connected)(struct dial_events *self, int fd, struct watch *watch, const struct sock_addr *addr);
	void (*failed)(struct dial_events *self, enum dial_failure failure, const struct err *why);
};

struct dial_options {
	struct endpoint to;    /* its name is borrowed until the end */
	struct sock_addr from; /* the address that shows; port 0: any. All zero: the kernel chooses */
	unsigned connect_ms;   /* for each address */
	unsigned resolve_ms;
	const struct sock_options *sock;
};

struct dial;

/* keeps events until one of the two came or cancel. Never calls back from inside. */
struct dial *dial_start(struct worker *w, const struct dial_options *options, struct dial_events *events);
void dial_cancel(struct dial *d);
