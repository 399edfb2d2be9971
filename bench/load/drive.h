/* SPDX-License-Identifier: Apache-2.0 */
/*
 * drive - the clients of a measurement.
 *
 * Threads: one.
 */
#pragma once

#include <stdbool.h>
#include <netinet/in.h>
#include <stdint.h>

#include "body.h"
#include "histogram.h"

struct drive_options {
	struct in_addr host; /* 0: 127.0.0.1 */
	uint16_t port;
	unsigned clients;
	struct exchange exchange;
	bool once;	       /* each client has one exchange; else they repeat, up to: */
	uint64_t count;	       /* exchanges in all */
	double seconds;	       /* none is begun after that */
	bool reconnect;	       /* each exchange on a connection of its own */
	unsigned time_limit_s; /* of each of the two parts */
};

struct drive_result {
	uint64_t exchanges;
	uint64_t bytes;
	uint64_t failed;
	uint64_t open; /* connections at the end */
	double wall_s;
	const char *error;	   /* why the result is none, or NULL */
	struct histogram times_ns; /* of an exchange; with reconnect, from connect() on */
};

struct drive;

struct drive *drive_new(const struct drive_options *o);

/* Opens the connections and has one byte come down each, which says that they reach the service. */
void drive_prepare(struct drive *d, struct drive_result *r);

/* The exchanges that are measured. */
void drive_run(struct drive *d, struct drive_result *r);

/* Closes what is still open. */
void drive_free(struct drive *d);
