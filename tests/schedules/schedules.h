/* SPDX-License-Identifier: Apache-2.0 */
/*
 * schedules - runs random conversations through a relay and checks them.
 *
 * Threads: one.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct schedules_options {
	uint16_t listen;  /* we are the service there, on 127.0.0.1 */
	uint16_t connect; /* the relay */
	uint64_t seed;
	uint32_t first;	      /* number of the first connection */
	uint32_t count;	      /* of connections */
	unsigned parallel;    /* at the same time */
	unsigned seconds;     /* begins nothing new afterwards; 0: no limit */
	unsigned deadline_ms; /* of each connection */
	bool resets;
	bool rough; /* small receive buffers, and a reset in most connections */
};

struct schedules_result {
	uint64_t connections; /* that ended as they should */
	uint64_t unseen;      /* of them: reset before the service saw them */
	uint64_t resets;
	uint64_t resets_seen;
	uint64_t resets_lost; /* of them: only when the end had asked */
	uint64_t bytes;	      /* compared, both directions */
	uint64_t failures;
	uint64_t ms;
};

/* Prints each failure to standard output. 0 when there was none, or -1. */
int schedules_run(const struct schedules_options *options, struct schedules_result *result);
