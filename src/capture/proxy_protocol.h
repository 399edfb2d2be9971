/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proxy_protocol - the header of the PROXY protocol, versions 1 and 2: who the client is, in front of its bytes.
 * spec: haproxy's doc/proxy-protocol.txt.
 *
 * Threads: any; no state.
 */
#pragma once

#include <stdbool.h>

#include "base/bytes.h"
#include "base/err.h"
#include "config/config.h"
#include "io/sock.h"

#define PROXY_V1_MAX 107 /* with its CR LF */
#define PROXY_V2_HEAD 16
#define PROXY_V2_REST_MAX 2048 /* addresses and TLVs; the specification asks receivers for 536 at least */
#define PROXY_HEADER_MAX (PROXY_V2_HEAD + PROXY_V2_REST_MAX)
#define PROXY_WRITTEN_MAX PROXY_V1_MAX /* of what we write, in either version */

enum proxy_parse {
	PROXY_NOT,    /* these bytes begin with no header */
	PROXY_MORE,   /* they may: more are needed */
	PROXY_HEADER, /* they do */
	PROXY_BROKEN, /* they begin as one, but are none */
};

struct proxy_header {
	size_t len;	/* of the header: the client's bytes follow */
	bool has_addrs; /* false: LOCAL, UNKNOWN, or a family that is not ours; the connection's own hold */
	struct sock_addr client;
	struct sock_addr server;
};

/* in: what has come so far. PROXY_HEADER fills h, PROXY_BROKEN e. */
enum proxy_parse proxy_protocol_parse(struct bytes in, struct proxy_header *h, struct err *e);

/*
 * Writes a header of that version (not NONE) to out and returns its length. Addresses of different families, or none,
 * are written as unknown.
 */
size_t proxy_protocol_format(enum proxy_protocol_version version, const struct sock_addr *client,
			     const struct sock_addr *server, uint8_t out[PROXY_WRITTEN_MAX]);
