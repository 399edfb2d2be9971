/* SPDX-License-Identifier: Apache-2.0 */
/*
 * relay - carries bytes between the two sides of a flow until both are finished.
 *
 * Each direction is a pipe of its own. A pipe pulls only while its far end takes, so a slow side slows the
 * other one down instead of filling memory. End of input on one side becomes a write shutdown on the other;
 * the relay is finished when both pipes are. An abort of one side is passed on as an abort of the other.
 *
 * Threads: all calls and callbacks on the worker that owns both streams.
 */
#pragma once

#include <stdint.h>

#include "io/loop.h"
#include "io/stream.h"

struct worker;

enum relay_end {
	RELAY_DONE,
	RELAY_NEAR_RESET, /* near aborted or was cut off */
	RELAY_FAR_RESET,
	RELAY_NEAR_BROKEN, /* near broke its protocol */
	RELAY_FAR_BROKEN,
};

struct relay;

struct relay_events {
	/* Once, from the loop, never from inside relay_start(). Both streams have been closed. */
	void (*finished)(struct relay_events *self, enum relay_end end);
};

struct pipe {
	uint64_t bytes;
	bool ended; /* the source has told its end, and the sink was shut down */
	bool cut;   /* the sink takes no more */
};

/* Embedded in its owner. */
struct relay {
	struct worker *worker;
	struct stream *near; /* NULL when both have been closed */
	struct stream *far;
	struct relay_events *events;
	struct stream_events near_events;
	struct stream_events far_events;
	struct task task;    /* goes on where a turn stopped, or tells the end */
	struct timer linger; /* both have ended, but one does not read our last bytes */
	uint64_t moved_ms;   /* loop time of the last byte in either direction, for the owner's idle limit */
	struct pipe to_far;
	struct pipe to_near;
	unsigned linger_ms;
	bool over;
	enum relay_end end;
};

/*
 * keeps both streams, whose events it takes over, and events. linger_ms: how long a side may take to read the last
 * bytes when both directions have ended.
 */
void relay_start(struct relay *r, struct worker *w, struct stream *near, struct stream *far, unsigned linger_ms,
		 struct relay_events *events);

/* Closes both streams now, also when the end was found out but not yet told. finished is not called. */
void relay_cancel(struct relay *r, enum stream_close how);
