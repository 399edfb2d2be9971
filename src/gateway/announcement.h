/* SPDX-License-Identifier: Apache-2.0 */
/*
 * announcement - the PROXY protocol header that we put in front of what the far side reads.
 *
 * It is made when the client is known, and pushed when the far side is open and judged, before the relay begins.
 *
 * Threads: the worker.
 */
#pragma once

#include "config/config.h"
#include "io/sock.h"
#include "io/stream.h"

struct announcement;
struct worker;

struct announcement *announcement_new(enum proxy_protocol_version version, const struct sock_addr *client,
				      const struct sock_addr *server);
/* Not of one that was started. NULL gives NULL. */
struct announcement *announcement_copy(const struct announcement *a);
/* Also cancels. */
void announcement_free(struct announcement *a);

struct announcement_events {
	/* The far side has taken it; its events are whose they were. */
	void (*announced)(struct announcement_events *self);
	/* IO_AGAIN: it did not take it in time. */
	void (*failed)(struct announcement_events *self, enum io_result result);
};

/* keeps far and events until one of the two came, or free. Never calls back from inside. */
void announcement_start(struct announcement *a, struct worker *w, struct stream *far, unsigned limit_ms,
			struct announcement_events *events);
