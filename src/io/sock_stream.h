/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sock_stream - a plain TCP socket as a stream.
 *
 * Registered once, edge-triggered. An idle one owns no buffer. Embedded in its owner.
 *
 * Threads: the worker.
 */
#pragma once

#include "base/err.h"
#include "io/loop.h"
#include "io/stream.h"

struct pool_buf;
struct worker;

struct sock_stream {
	struct stream stream;
	struct worker *worker;
	struct watch watch;
	/* NULL, or looks at the first bytes before they are pulled, until it says IO_OK; else pull() says what it says.
	 */
	enum io_result (*vet)(struct sock_stream *s);
	struct pool_buf *left; /* read, not yet consumed */
	struct bytes view;     /* in the worker's scratch, between pull and consumed */
	bool abrupt;  /* close() would be a reset (sock_listen_options.abrupt): an orderly end says otherwise */
	bool hung_up; /* EPOLLRDHUP or worse was seen: a short read is not the last one */
};

/* takes fd, connected and non-blocking. No event comes before sock_stream_start(). */
void sock_stream_init(struct sock_stream *s, struct worker *w, int fd);

/* Watches the socket. It counts as readable and writable until tried. */
int sock_stream_start(struct sock_stream *s, struct err *e) MUST_CHECK;

/* Closes the descriptor if there is one. ABORT sends RST. */
void sock_stream_close(struct sock_stream *s, enum stream_close how);
