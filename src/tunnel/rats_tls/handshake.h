/* SPDX-License-Identifier: Apache-2.0 */
/*
 * handshake - a TLS handshake between libssl and a socket, until both Finished messages have been checked.
 *
 * Nobody is judged here, and nothing waits: the owner watches the socket, and calls on when it is ready. What is
 * kept on behalf of the peer counts against the budget of handshakes (crypto/tls.h).
 *
 * Threads: the worker.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/bytes.h"
#include "base/err.h"
#include "crypto/record.h"
#include "crypto/tls.h"
#include "metrics/reason.h"

struct record_stream;
struct secure_side;

/* Embed in the owner, as zeroed memory. */
struct handshake {
	/* For the owner to read. */
	bool first_byte; /* has come */
	bool drained;	 /* the socket held no more when it was last read; the owner clears it at an event */
	/* When it is over. */
	enum tls_alpn alpn;
	struct buf cert; /* of the peer, where there is a verifier to look at it */

	struct secure_side *side;
	struct record_stream *rs;
	struct tls_handshake *tls; /* until it is over, and then where libssl is to do the records as well */
	struct buf out;		   /* for the peer, not yet sent */
	size_t out_sent;
	struct buf early; /* read behind the handshake */
	struct record_side rx;
	struct record_side tx;
	size_t charged;
};

enum handshake_step { HANDSHAKE_WAITS, HANDSHAKE_OVER, HANDSHAKE_FAILED };

/* keeps side and rs, of which it uses the socket. server_name: SNI, or NULL. HANDSHAKE_FAILED: reason and why. */
enum handshake_step handshake_begin(struct handshake *h, struct secure_side *side, struct record_stream *rs,
				    const char *server_name, enum reason *reason, struct err *why);
/* Wipes keys that nobody has taken. Also of one that has not begun. */
void handshake_release(struct handshake *h);

/* Sends what is left, and reads on until the socket is empty or the handshake has ended. */
enum handshake_step handshake_go_on(struct handshake *h, enum reason *reason, struct err *why);

/* How much of what the peer must read has not been sent. */
size_t handshake_unsent(const struct handshake *h);

/* After HANDSHAKE_OVER: sends what it can of that, and asks for an event where it cannot. -1: the peer has gone. */
int handshake_send_rest(struct handshake *h, struct err *why) MUST_CHECK;

/* After HANDSHAKE_OVER: gives rs keys and early bytes, and what is unsent, which fits RECORD_STREAM_CORK. */
void handshake_open_records(struct handshake *h);
