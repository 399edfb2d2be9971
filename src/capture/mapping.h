/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mapping - accepts connections on the ports of a mapping rule.
 *
 * One listening socket for each port and worker (SO_REUSEPORT). When the process or the configured limit has no
 * room, accepting pauses and the kernel's queue holds the clients; it goes on by itself.
 *
 * Threads: the worker.
 */
#pragma once

#include <stdbool.h>

#include "base/err.h"
#include "config/config.h"
#include "io/sock.h"

struct worker;
struct mapping;

struct mapping_events {
	/* gives fd and the place that was reserved. port is the place in the rule's out range: out_port + offset is where it goes. */
	void (*captured)(struct mapping_events *self, int fd, const struct sock_addr *client,
			 const struct mapping_rule_conf *rule, uint16_t out_port);
	/* A place for another connection; captured takes it over. false: there is none, asked again shortly. */
	bool (*reserve)(struct mapping_events *self);
	/* Nobody came. */
	void (*release)(struct mapping_events *self);
	/* A listening socket can no longer be used. */
	void (*lost)(struct mapping_events *self);
};

/*
 * A set of listening sockets for all rules of an entry, opened before the workers start, so that a taken
 * port is an error of the start. keeps rules.
 */
struct mapping *mapping_new(const struct mapping_rule_conf *rules, size_t count, const struct sock_options *sock,
			    bool shared, const char *name, struct err *e);

/* Begins to accept on this worker; keeps events. */
int mapping_start(struct mapping *m, struct worker *w, struct mapping_events *events, struct err *e) MUST_CHECK;

/* Closes the listening sockets; those that are still in their queues are reset by the kernel. */
void mapping_stop(struct mapping *m);
void mapping_free(struct mapping *m);
