/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mux_internal - what the files of the multiplexer share.
 *
 *   mux_session.c  the life of a session, and its rounds: receive, tell, send
 *   mux_frames.c   what the peer's frames mean: the callbacks of nghttp2, and the answers to bad
 * requests mux_stream.c   one stream, seen as a struct stream
 *
 * Threads: the worker.
 */
#pragma once

#include <nghttp2/nghttp2.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/list.h"
#include "io/loop.h"
#include "io/pool.h"
#include "io/stream.h"
#include "tunnel/rats_tls/mux.h"

/*
 * Receive windows: of a new stream, of one whose reader keeps up, of a connection. Those of streams are whole frames of
 * 16 KiB, which is what upstream sends: with others its 2.12.0 has, seldom, ended streams before their last bytes
 * (seen by bench/soak schedules --only up-ours-mux).
 */
#define MUX_WINDOW_FIRST 65536
#define MUX_WINDOW_MOST (1024 * 1024)
#define MUX_WINDOW_CONNECTION (16 * 1024 * 1024)

/*
 * What we let the peer put into one frame, and the most that we put into one where the peer allows
 * it. A DATA frame is never kept as a whole, so a large one costs no memory; each one costs its
 * reader a write to a socket, so a small one costs time (16 KiB: a quarter more for bulk). Relays
 * push no more than this at once; beyond it, streams would wait for each other.
 */
#define MUX_FRAME_MOST 65536

/* RFC 9113, 4.1 */
#define MUX_FRAME_HEAD 9

/* RFC 9113, 6.5.2: names, values, and 32 bytes for each pair. */
#define MUX_HEADER_LIST_MOST 16384

/*
 * Frames that cost work and carry nothing: resets, pings, settings, priorities, empty DATA,
 * requests that are none. So many at once, and so many each second, before the session ends.
 * nghttp2's own limit for resets (33 each second) is switched off: applications that break off are
 * no attack.
 */
#define MUX_FLOOD_BURST 20000
#define MUX_FLOOD_RATE 2000

enum mux_phase {
	MUX_ASKING,   /* CONNECT was not answered yet */
	MUX_OPEN,     /* 200: data passes */
	MUX_DECLINED, /* another status */
};

/* What the owner of a stream is still to be told, in this order. */
enum mux_note {
	NOTE_REQUESTED = 1,
	NOTE_ANSWERED = 2,
	NOTE_ENDED = 4,
	NOTE_READY = 8,
};

/*
 * A stream lives from CONNECT until its owner closes it. nghttp2 forgets it earlier, when both
 * directions have ended or one side has reset it: then it is gone, and its id is not used any more.
 */
struct mux_stream {
	struct stream stream;
	struct mux_session *session;
	struct mux_connect_events *connect; /* MUX_CLIENT, until it was called */
	struct list link;		    /* session->streams */
	struct list noted;		    /* session->noted */
	struct list waiting;		    /* session->waiting */
	struct pool_buf *first;		    /* received, not yet consumed */
	struct pool_buf *last;
	int32_t id;
	int32_t window;	     /* what we let the peer send */
	int32_t prompt;	     /* bytes that were consumed at once, since the window last grew */
	uint32_t reset_code; /* why it is gone */
	int16_t status;
	uint8_t notes;
	enum mux_phase phase : 8;
	enum io_result failure : 8; /* IO_OK: none */
	bool offered;		    /* its owner knows it */
	bool gone;		    /* nghttp2 does not know it any more */
	bool closed;		    /* its owner does not know it any more: the memory goes with the round */
	bool peer_reset;
	bool end_received;
	bool shut;
	bool end_sent;
	bool stopped;	   /* the peer reads no more, without an abort: RFC 9113, 8.1 */
	bool wants_window; /* waits for the peer to read from this stream */
};

/* The header block that is being received: there is only one at a time. */
struct mux_head {
	size_t size;
	int status;
	bool connect;
	bool content; /* content-length other than 0 */
};

struct mux_session {
	struct worker *worker;
	struct stream *transport;
	struct mux_session_events *events; /* NULL after mux_session_free() */
	struct stream_events transport_events;
	struct task round;
	nghttp2_session *ng; /* NULL after mux_session_free() */
	enum mux_role role;
	unsigned max_streams;

	struct list streams;
	struct list noted;   /* streams with notes */
	struct list waiting; /* for the transport or the connection window, in turn */
	struct list closed;  /* to be freed at the end of the round */
	unsigned count;	     /* streams that their owners know */
	unsigned live;	     /* MUX_CLIENT: streams that count at the peer */
	unsigned told_room;

	/* sending */
	struct pool_buf *batch;	    /* frames of this round */
	struct mux_stream *pushing; /* whose bytes out are */
	struct bytes out;
	struct mux_stream *turn;     /* may push although others wait */
	enum io_result send_failure; /* nothing more can be sent; what has arrived is still read */
	uint32_t peer_window;	     /* the peer's initial window */

	/* receiving */
	struct mux_stream *chunk_of; /* whom chunk is shown to; NULL once that stream was closed */
	struct bytes chunk;
	const uint8_t *view_end; /* of the bytes that nghttp2 is reading */
	struct mux_head head;
	bool paused;  /* nghttp2 has something left to do, even without more bytes */
	bool viewing; /* bytes of the transport are being looked at: it must not be called */
	uint64_t flood_ms;
	unsigned flood_left;

	/* the end */
	bool running;  /* a round is */
	bool draining; /* mux_session_drain() */
	bool closing;  /* GOAWAY was received */
	bool told_closing;
	bool over;
	bool told_end;
	enum reason reason;
	struct err why;

	int64_t date_s; /* of date */
	char date[32];
};

/* mux_session.c */

/* A note for the owner of m, who is told at the end of the round. */
void mux_note(struct mux_stream *m, unsigned notes);

/* Sends what nghttp2 has, as far as there is room. Not from its callbacks. */
void mux_pump(struct mux_session *s);

enum mux_flush { FLUSH_ALL, FLUSH_RECORDS };

/* Pushes the batch to the transport: all, or only what makes full TLS records. Callbacks may. */
void mux_flush(struct mux_session *s, enum mux_flush what);

/* Room for len more bytes in the batch; NULL when the transport must take some first. */
uint8_t *mux_batch_reserve(struct mux_session *s, size_t len);

/* Whether the transport and the connection window would take something. */
bool mux_can_push(const struct mux_session *s);

/* Frees a session that was freed by its owner, when nothing uses it any more. */
void mux_session_bury(struct mux_session *s);

/* mux_frames.c */

/* gives callbacks for nghttp2. NULL: out of memory. */
nghttp2_session_callbacks *mux_callbacks_new(void);

/* What the frames of a stream are made of: the bytes that are being pushed, or the end. */
ssize_t mux_read_data(nghttp2_session *ng, int32_t id, uint8_t *buf, size_t len, uint32_t *flags,
		      nghttp2_data_source *source, void *user_data);

/* mux_stream.c */

/* A stream that its owner does not know yet. */
struct mux_stream *mux_stream_new(struct mux_session *s, int32_t id);

/* Frees it, now or at the end of the round. */
void mux_stream_dispose(struct mux_stream *m);

/* It ended in another way than by two END_STREAMs. */
void mux_stream_fail(struct mux_stream *m, enum io_result failure);

/* Keeps a copy. */
void mux_stream_queue(struct mux_stream *m, struct bytes data);

/* The chunk of the session is shown to its stream; what the owner leaves is kept. */
void mux_stream_show_chunk(struct mux_session *s);

/* Gives connection window back. */
void mux_give_connection_window(struct mux_session *s, size_t len);
