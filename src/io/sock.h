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
bool sock_addr_equal(const struct sock_addr *a, const struct sock_addr *b);
uint32_t sock_addr_hash(const struct sock_addr *a);
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
	/* Congestion control of connections to this host itself, and of all others; NULL: what the host chooses. */
	const char *congestion_loopback;
	const char *congestion_remote;
	uint32_t mark; /* SO_MARK of what we dial; 0: none */
};

/* What a listener is besides; {0} is an ordinary one. */
struct sock_listen_options {
	bool shared; /* with SO_REUSEPORT, one for each worker */
	bool sole;   /* shared, but the first one: fails where anybody has the port, also another process of ours */
	bool others; /* serves clients that are not of this host, wherever it is bound */
	bool transparent; /* IP(V6)_TRANSPARENT: takes connections to addresses that are not ours */
	/*
	 * Accepted sockets send RST when they are closed, unless sock_set_orderly() was called: the kernel does it also
	 * for a process that was killed, and then what the application sends next goes nowhere.
	 */
	bool abrupt;
};

/*
 * A listening socket, non-blocking. Accepted sockets inherit TCP_NODELAY and the keepalive. gives a descriptor or -1.
 */
int sock_listen(const struct sock_addr *a, const struct sock_options *o, const struct sock_listen_options *how,
		struct err *e) MUST_CHECK;

/*
 * Begins to connect; gives a descriptor, or -1 when it failed at once. from: the address that shows, which need not be
 * one of ours, with its port unless that is 0; NULL: the kernel chooses.
 */
int sock_connect(const struct sock_addr *a, const struct sock_addr *from, const struct sock_options *o,
		 struct err *e) MUST_CHECK;

/* What became of it: 0 or an errno. */
int sock_error(int fd);

/* Whether connect() has come to its good end: on one host mostly before sock_connect() returns. */
bool sock_is_connected(int fd);

/* close() will send RST. */
void sock_set_abort(int fd);
/* close() will send FIN. */
void sock_set_orderly(int fd);

/* What sets SO_MARK or IP_TRANSPARENT works here; if not, e says which right is missing. */
int sock_probe_rights(struct err *e) MUST_CHECK;

#define SOCK_CONGESTION_TEXT 16 /* TCP_CA_NAME_MAX */

/* The congestion control that this host chooses; "" when it cannot be asked. */
void sock_host_congestion(char name[SOCK_CONGESTION_TEXT]);
/* Whether this process may choose it. */
int sock_try_congestion(const char *name, struct err *e) MUST_CHECK;

/* For a connection from a listener that is not bound to loopback. */
void sock_tune_accepted(int fd, const struct sock_addr *peer, const struct sock_options *o);
