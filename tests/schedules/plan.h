/* SPDX-License-Identifier: Apache-2.0 */
/*
 * plan - what the two ends of a connection intend to do, drawn from a seed.
 *
 * An end writes and reads independently of each other, each in steps. A step may pause first; a
 * step of writing may also wait until so many bytes have been read, as a service does that answers.
 * Only one end of a connection waits for the other one, so that two plans never wait for each
 * other. A plan ends with the shutdown of writing; the end that resets does so when something else
 * has happened first.
 *
 * The same seed and number give the same plans; when things happen is up to the machine.
 *
 * Threads: any.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define PLAN_WRITES_MAX 9
#define PLAN_READS_MAX 6
#define PLAN_ALL UINT32_MAX /* bytes of the last step of reading */

struct plan_write {
	uint32_t pause_ms;
	uint32_t after_read; /* waits until the other end's first so many bytes are here */
	uint32_t len;
};

struct plan_read {
	uint32_t pause_ms; /* nothing is read meanwhile */
	uint32_t len;
	uint32_t piece; /* at most so many at a time */
};

enum plan_reset {
	PLAN_RESET_NEVER,
	PLAN_RESET_WRITTEN,  /* when so many bytes have been written */
	PLAN_RESET_READ,     /* when so many bytes have been read */
	PLAN_RESET_SHUTDOWN, /* when writing has been shut down */
	PLAN_RESET_END,	     /* when the other end's shutdown was seen */
	PLAN_RESET_TIME,     /* after so many milliseconds */
};

struct plan {
	struct plan_write writes[PLAN_WRITES_MAX];
	struct plan_read reads[PLAN_READS_MAX];
	unsigned writes_count;
	unsigned reads_count;
	uint32_t total;		    /* bytes of all writes */
	uint32_t shutdown_pause_ms; /* after the last write */
	bool shutdown_waits;	    /* for the other end's shutdown */
	enum plan_reset reset;
	uint32_t reset_at;
	uint32_t receive_buffer; /* SO_RCVBUF, 0: as it comes */
};

struct plan_kind {
	bool resets; /* an end may reset */
	bool rough;  /* both ends most often have a small receive buffer, and a client most often resets */
};

void plan_make(struct plan *client, struct plan *service, uint64_t seed, uint32_t number, struct plan_kind kind);

/* In words, one line for each step. */
void plan_print(FILE *out, const char *who, const struct plan *p);
