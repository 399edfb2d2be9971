/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sock - TCP sockets and addresses, without a loop.
 *
 * Threads: any.
 */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/err.h"

/* An IPv4 or IPv6 address with its port, small enough to be kept by each connection. */
struct sock_addr {
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	};
};

#define SOCK_ADDR_TEXT 64

socklen_t sock_addr_len(const struct sock_addr *a);
bool sock_addr_is_loopback(const struct sock_addr *a);
uint16_t sock_addr_port(const struct sock_addr *a);
void sock_addr_set_port(struct sock_addr *a, uint16_t port);

/* "10.1.0.7:51234", "[::1]:443"; "-" when there is no address. Returns text. */
const char *sock_addr_format(const struct sock_addr *a, char text[SOCK_ADDR_TEXT]);

/* A literal; false when host is a name. "[::1]" is taken as well as "::1". */
bool sock_addr_parse(const char *host, uint16_t port, struct sock_addr *out);

struct sock_options {
	bool keepalive;
	int keepalive_idle_s;
	int keepalive_interval_s;
	int keepalive_count;
};

/*
 * A listening socket, non-blocking, with SO_REUSEPORT when shared. Accepted sockets inherit TCP_NODELAY and
 * the keepalive. gives a descriptor or -1.
 */
int sock_listen(const struct sock_addr *a, const struct sock_options *o, bool shared, struct err *e) MUST_CHECK;

/* Begins to connect; gives a descriptor, or -1 when it failed at once. */
int sock_connect(const struct sock_addr *a, const struct sock_options *o, struct err *e) MUST_CHECK;

/* What became of it: 0 or an errno. */
int sock_error(int fd);

/* close() will send RST. */
void sock_set_abort(int fd);

/* On loopback a pacing congestion control only costs: take one that does not pace. */
void sock_tune_accepted(int fd, const struct sock_addr *peer);
