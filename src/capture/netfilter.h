/* SPDX-License-Identifier: Apache-2.0 */
/*
 * netfilter - listens for connections that the kernel diverts to us, and finds out where they were going.
 *
 * TPROXY leaves the destination in the socket; REDIRECT rewrites it and conntrack remembers it. A connection whose
 * destination is not known, or that was made to our own port, is refused (interception.md 1.6, 1.9). The rules
 * that divert are no matter of this file: see rules.h and guard.h.
 *
 * Threads: opening while the worker does not run.
 */
#pragma once

#include "base/err.h"
#include "capture/listener.h"
#include "config/config.h"

struct netfilter_options {
	const struct entry_conf *entry;
	const struct sock_options *sock;
	bool shared;   /* by several workers */
	uint16_t port; /* that the first of them has; 0: this is the first one */
};

/*
 * One socket for each family the host has, all on one port: the configured one, or else a free one (ingress), or the
 * first free one from EGRESS_PORT_FIRST + the entry's place on (egress). *port is that port. gives a set,
 * listeners_free().
 */
struct listeners *netfilter_open(const struct netfilter_options *options, uint16_t *port, struct err *e);
