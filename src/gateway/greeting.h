/* SPDX-License-Identifier: Apache-2.0 */
/*
 * greeting - the PROXY protocol header in front of a connection, which some peers must send and all others must not.
 *
 * The first bytes are looked at where the kernel keeps them; only a header is taken off, so that nothing else is lost.
 *
 * Threads: the worker.
 */
#pragma once

#include "capture/proxy_protocol.h"
#include "io/sock_stream.h"
#include "metrics/reason.h"

struct greeting;
struct worker;

struct greeting_events {
	/* h has been taken off; NULL: there was none. The greeting is gone. */
	void (*greeted)(struct greeting_events *self, const struct proxy_header *h);
	void (*failed)(struct greeting_events *self, enum reason reason, const struct err *why);
};

struct greeting_options {
	int fd;	       /* borrowed; nobody else watches it */
	bool required; /* there must be a header; else there must be none */
	unsigned limit_ms;
	enum reason gone; /* when the connection breaks */
};

/* keeps events until one of the two came or cancel; never calls back from inside. NULL when the kernel refused. */
struct greeting *greeting_start(struct worker *w, const struct greeting_options *options,
				struct greeting_events *events, struct err *e);
void greeting_cancel(struct greeting *g);

/*
 * sock_stream.vet for one who must not send a header, but may also wait until the service speaks: IO_BROKEN if one
 * comes.
 */
enum io_result greeting_vet(struct sock_stream *s);
