/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mapping - listens on the ports of mapping rules, each of which leads to one place.
 *
 * One listening socket for each port and worker (SO_REUSEPORT).
 *
 * Threads: while the worker does not run.
 */
#pragma once

#include "base/err.h"
#include "capture/listener.h"
#include "config/config.h"

/* A set of listening sockets for all rules of an entry. keeps rules and name; gives a set, listeners_free(). */
struct listeners *mapping_open(const struct mapping_rule_conf *rules, size_t count, const struct sock_options *sock,
			       bool shared, const char *name, struct err *e);
