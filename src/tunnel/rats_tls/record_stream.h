/* SPDX-License-Identifier: Apache-2.0 */
/*
 * record_stream - an established TLS 1.3 connection as a stream: a record layer over a socket, our own or libssl's.
 *
 * The struct is embedded in its owner and is there from the first moment of a connection: while the
 * handshake runs it only holds the descriptor and the watch, which is registered once. An idle one owns no
 * buffer. Closing without close_notify is an abort, in both directions: pull() tells a missing close_notify as
 * IO_RESET.
 *
 * Threads: the worker.
 */
#pragma once

#include "base/err.h"
#include "crypto/record.h"
#include "io/loop.h"
#include "io/stream.h"

struct pool_buf;
struct record_layer;
struct secure;
struct tls_handshake;
struct worker;

struct record_stream {
	struct stream stream;
	struct worker *worker;
	struct secure *secure; /* while the connection is being made */
	struct watch watch;
	struct pool_buf *in;		  /* the beginning of a record */
	struct pool_buf *plain;		  /* opened, not yet consumed */
	struct pool_buf *out;		  /* sealed, not yet sent */
	const struct record_layer *layer; /* while open */
	struct tls_handshake *libssl;	  /* where that is the layer */
	struct record_side rx;		  /* of our own layer; libssl's counts in tx what was sealed */
	struct record_side tx;
	struct record_messages messages;
	bool abrupt;	  /* close() would be a reset (sock_listen_options.abrupt): an orderly end says otherwise */
	bool got_close;	  /* close_notify */
	bool hung_up;	  /* EPOLLRDHUP or worse was seen: a short read is not the last one */
	bool corked;	  /* out waits for what is pushed first, or for the first pull */
	bool owes_update; /* the peer asked for our KeyUpdate */
	bool in_is_new;	  /* in holds records that were never looked at */
	bool failed;	  /* nothing more to read; failure says how */
	bool send_failed; /* nothing more can be sent; what has come may still be read */
	bool truncated;	  /* the socket ended without close_notify */
	bool shut;	  /* our close_notify is in out or sent */
	enum io_result failure;
	uint8_t peer_alert; /* the fatal alert that the peer sent; 0: none */
	struct bytes view;  /* in the worker's scratch, between pull and consumed */
};

/* takes fd (non-blocking). Not watched yet: the handshake does that with its own ready function. */
void record_stream_init(struct record_stream *s, struct worker *w, int fd);

/*
 * The handshake is over: takes the two sides, and the bytes behind the handshake that were already read.
 * From now on watch.ready is the stream's own; readable and writable are set.
 */
void record_stream_open(struct record_stream *s, const struct record_side *rx, const struct record_side *tx,
			struct bytes early);

/* The same with libssl's record layer: takes tls, after tls_records_begin(). */
void record_stream_open_libssl(struct record_stream *s, struct tls_handshake *tls, struct bytes early);

/*
 * The last bytes of the handshake, at most RECORD_STREAM_CORK, which have not been sent yet: they leave together with
 * what is pushed first, and at the latest with the first pull. Right after one of the two above.
 */
#define RECORD_STREAM_CORK 4096
void record_stream_cork(struct record_stream *s, struct bytes handshake);

/* true when the peer ended the connection with a fatal alert; why says what it means and what to change. */
bool record_stream_alert(const struct record_stream *s, struct err *why);
