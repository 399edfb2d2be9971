/* SPDX-License-Identifier: Apache-2.0 */
/*
 * endpoint - where a connection is to go: a name or an address, and a port.
 *
 * Small enough to be kept by each connection. A name comes from the configuration and is borrowed for good; what a
 * connection itself tells us is always an address.
 *
 * Threads: any.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "io/sock.h"

struct endpoint {
	const char *host;      /* a name, or NULL: addr says it all */
	struct sock_addr addr; /* with a name only its port counts */
};

#define ENDPOINT_TEXT 320 /* the longest name, and a port */

/* host is an address or a name, which is borrowed for as long as the endpoint is used. */
struct endpoint endpoint_of(const char *host, uint16_t port);
struct endpoint endpoint_at(const struct sock_addr *addr);

uint16_t endpoint_port(const struct endpoint *p);
bool endpoint_equal(const struct endpoint *a, const struct endpoint *b);
uint32_t endpoint_hash(const struct endpoint *p);

/* "db.internal:5432", "10.1.0.7:80", "[::1]:443". Returns text. */
const char *endpoint_format(const struct endpoint *p, char text[ENDPOINT_TEXT]);
