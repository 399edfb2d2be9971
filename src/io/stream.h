/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stream - one end of a flow: a socket, a TLS connection, or a stream of a multiplexed session.
 *
 * Bytes are pulled and pushed without being copied: pull() shows what there is, the reader says how much of
 * it it has taken. The flags readable and writable say whether trying makes sense; pull and push clear them
 * when there is nothing to be had, and the event ready() comes after one of them has been set again.
 *
 * Threads: the worker that owns the stream.
 */
#pragma once

#include <stdbool.h>

#include "base/bytes.h"

enum io_result {
	IO_OK,
	IO_AGAIN,  /* nothing now; ready() will tell */
	IO_END,	   /* pull: the other side has finished writing */
	IO_RESET,  /* the other side aborted, or was cut off */
	IO_BROKEN, /* the other side broke the protocol */
};

struct stream;

struct stream_events {
	/* readable or writable was set, or pull would tell an end. May come without need. */
	void (*ready)(struct stream_events *self, struct stream *s);
};

enum stream_close {
	STREAM_FINISHED, /* both directions ended: let go */
	STREAM_ABORT,	 /* tell the other side that this was no clean end */
};

struct stream_ops {
	/*
	 * IO_OK: view has at least one byte, which stays valid until consumed() or any other call for a stream of
	 * this worker but push() to another one. Without consumed() in between, pull() shows the same bytes again.
	 * Who consumes them all may write to them before.
	 */
	enum io_result (*pull)(struct stream *s, struct bytes *view);
	/* len bytes of the last view are taken; the stream keeps the rest. */
	void (*consumed)(struct stream *s, size_t len);
	/*
	 * Takes *taken <= data.len bytes; fewer only together with writable == false. A stream may keep
	 * taken bytes for a while, but takes none as long as it keeps some. IO_OK, IO_RESET or IO_BROKEN.
	 */
	enum io_result (*push)(struct stream *s, struct bytes data, size_t *taken);
	/* No more bytes will be pushed: they end after what was taken. */
	enum io_result (*shutdown)(struct stream *s);
	/*
	 * Ends the stream and releases what it holds, now; no event afterwards. FINISHED after shutdown() still
	 * delivers what was taken. The memory of the struct is the owner's.
	 */
	void (*close)(struct stream *s, enum stream_close how);
};

struct stream {
	const struct stream_ops *ops;
	struct stream_events *events;
	bool readable;
	bool writable;
	bool flushing; /* shutdown() was called and bytes are still on their way */
	bool last;     /* set before shutdown(): close() follows as soon as nothing is on its way any more */
	bool aborted;  /* the other side aborted; bytes that came before may still be pulled */
};
