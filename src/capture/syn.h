/* SPDX-License-Identifier: Apache-2.0 */
/*
 * syn - the first packet of a TCP connection: who wants to go where.
 *
 * The bytes begin with the header of IPv4 or IPv6 and may be cut off behind that of TCP. Whoever is between may have
 * made them: nothing is believed that was not looked at.
 *
 * Threads: any.
 */
#pragma once

#include "base/bytes.h"
#include "io/sock.h"

#define SYN_EXTENSIONS_MAX 8 /* headers of IPv6 in front of TCP */

struct syn {
	struct sock_addr client;
	struct sock_addr server;
};

enum syn_parse {
	SYN_GOOD,
	SYN_CUT,      /* shorter than its headers say */
	SYN_NOT_IP,   /* another version, or a header that contradicts itself */
	SYN_FRAGMENT, /* a part of a packet, whose rest nobody has seen */
	SYN_ROUTED,   /* its header names another destination than the one it will reach */
	SYN_NOT_TCP,  /* or more extension headers than SYN_EXTENSIONS_MAX */
	SYN_NOT_SYN,  /* not the first packet of a connection, or with a port 0 */
};

/* out is written when the packet is good. */
enum syn_parse syn_parse(struct bytes packet, struct syn *out);

/* "cut short", for logs. */
const char *syn_parse_text(enum syn_parse result);
