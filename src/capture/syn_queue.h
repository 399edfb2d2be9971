/* SPDX-License-Identifier: Apache-2.0 */
/*
 * syn_queue - first packets that the kernel holds back until we have decided (NFQUEUE).
 *
 * A packet stays where it is until it gets a verdict. What does not fit into the queue is dropped, and so is all that
 * waits when the descriptor closes, however the process ends; nothing passes that we have not let pass.
 *
 * Threads: one loop's.
 */
#pragma once

#include "base/err.h"
#include "capture/syn.h"
#include "io/loop.h"

struct syn_queue;

/* Where a packet waits; good for one verdict. */
struct queued {
	uint16_t queue;
	uint32_t id;
	uint32_t mark; /* that it has */
};

struct syn_queue_events {
	/* It gets a verdict from within, or later. */
	void (*came)(struct syn_queue_events *self, const struct queued *q, const struct syn *syn);
	/* The kernel does not talk with us any more. */
	void (*lost)(struct syn_queue_events *self, const struct err *why);
};

/*
 * Becomes the reader of these queues, in each of which length packets may wait. Fails when another process reads one of
 * them. gives a queue.
 */
struct syn_queue *syn_queue_open(const uint16_t *numbers, size_t count, unsigned length, struct err *e);

/* keeps events. */
int syn_queue_start(struct syn_queue *s, struct loop *l, struct syn_queue_events *events, struct err *e) MUST_CHECK;

/* The packet begins the same hook again, with this mark. */
void syn_queue_repeat(struct syn_queue *s, const struct queued *q, uint32_t mark);
void syn_queue_drop(struct syn_queue *s, const struct queued *q);

/* What still waits is dropped. */
void syn_queue_close(struct syn_queue *s);
