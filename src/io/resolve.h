/* SPDX-License-Identifier: Apache-2.0 */
/*
 * resolve - host names to addresses, without blocking a loop.
 *
 * getaddrinfo() runs in a few helper threads, which start with the first name. Answers are kept for a
 * few seconds; callers that ask for one name at the same time share one look-up. A look-up that hangs holds one
 * helper; callers wait no longer than their own deadline.
 *
 * Threads: any. Answers come on the loop that is given.
 */
#pragma once

#include <stddef.h>

#include "base/err.h"
#include "io/loop.h"
#include "io/sock.h"

#define RESOLVE_MAX_ADDRS 16

struct resolver;
struct resolve_call;

/* cache_s 0: nothing is kept. */
struct resolver *resolver_new(unsigned cache_s);
/* Does not wait: a look-up that hangs ends on its own. Every call has been answered or cancelled. */
void resolver_free(struct resolver *r);

/* In the order in which to try them (RFC 8305 section 4); ports are 0. */
struct resolve_result {
	struct sock_addr addrs[RESOLVE_MAX_ADDRS];
	size_t count;
};

/* true when the answer is at hand. */
bool resolver_cached(struct resolver *r, const char *host, struct resolve_result *out);

/* Embed in the owner. result is NULL when there is no address; why says it. */
struct resolve_events {
	void (*resolved)(struct resolve_events *self, const struct resolve_result *result, const struct err *why);
};

/* keeps events until resolved or cancel. */
struct resolve_call *resolver_start(struct resolver *r, struct loop *reply_to, const char *host,
				    struct resolve_events *events);
/* On reply_to's thread, before resolved. */
void resolve_call_cancel(struct resolve_call *c);
