/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mux_frames - what the peer's frames mean.
 *
 * nghttp2 checks the form of frames and headers, and resets a stream or ends the session where they
 * are wrong. Its callbacks note what has changed and answer bad requests; no owner is called from
 * here, but the one whose DATA arrives: for him nghttp2 is paused, and the session shows him the
 * chunk.
 */
#include <string.h>

#include "io/worker.h"
#include "tunnel/rats_tls/mux_internal.h"

static const char not_a_proxy[] = "This is the end of an attested tunnel: it answers CONNECT and nothing else.\n";

static struct mux_stream *stream_of(nghttp2_session *ng, int32_t id)
{
	return id == 0 ? NULL : nghttp2_session_get_stream_user_data(ng, id);
}

static void charge_flood(struct mux_session *s)
{
	uint64_t now = loop_now_ms(s->worker->loop);
	uint64_t gain = (now - s->flood_ms) * MUX_FLOOD_RATE / 1000;

	if (gain > 0) {
		s->flood_left = (unsigned)MIN(s->flood_left + gain, (uint64_t)MUX_FLOOD_BURST);
		s->flood_ms = now;
	}
	if (s->flood_left > 0) {
		s->flood_left--;
		return;
	}
	err_set(&s->why, ERR_PEER, "HTTP/2: too many frames that carry nothing");
	nghttp2_session_terminate_session(s->ng, NGHTTP2_ENHANCE_YOUR_CALM);
}

static bool is_flood_frame(const nghttp2_frame *f)
{
	switch (f->hd.type) {
	case NGHTTP2_RST_STREAM:
	case NGHTTP2_PRIORITY:
	case NGHTTP2_SETTINGS:
	case NGHTTP2_PING:
		return true;
	case NGHTTP2_DATA:
		return f->hd.length == f->data.padlen && !(f->hd.flags & NGHTTP2_FLAG_END_STREAM);
	}
	return false;
}

/* A request that never reached an owner. */
static void forget_request(struct mux_stream *m)
{
	if (!m->gone)
		nghttp2_session_set_stream_user_data(m->session->ng, m->id, NULL);
	m->gone = true;
	mux_stream_dispose(m);
}

static ssize_t read_text(nghttp2_session *ng, int32_t id, uint8_t *buf, size_t len, uint32_t *flags,
			 nghttp2_data_source *source, void *user_data)
{
	size_t all = sizeof(not_a_proxy) - 1;

	(void)ng;
	(void)id;
	(void)source;
	(void)user_data;
	len = MIN(len, all);
	memcpy(buf, not_a_proxy, len);
	*flags |= NGHTTP2_DATA_FLAG_EOF;
	return (ssize_t)len;
}

static void answer_bad_request(struct mux_session *s, int32_t id)
{
	static const nghttp2_data_provider text = { .read_callback = read_text };
	static const nghttp2_nv head[] = {
		{ (uint8_t *)":status", (uint8_t *)"400", 7, 3, NGHTTP2_NV_FLAG_NONE },
		{ (uint8_t *)"content-type", (uint8_t *)"text/plain; charset=utf-8", 12, 25, NGHTTP2_NV_FLAG_NONE },
	};

	nghttp2_submit_response(s->ng, id, head, ARRAY_SIZE(head), &text);
	charge_flood(s);
}

static int on_begin_headers(nghttp2_session *ng, const nghttp2_frame *f, void *user_data)
{
	struct mux_session *s = user_data;
	struct mux_stream *m;

	s->head = (struct mux_head){ 0 };
	if (f->hd.type != NGHTTP2_HEADERS || f->headers.cat != NGHTTP2_HCAT_REQUEST)
		return 0;
	/*
	 * nghttp2 counts streams that it knows. Those that the peer has reset still cost us
	 * something until their owners have let go of them.
	 */
	if (s->count / 2 >= s->max_streams) {
		nghttp2_submit_rst_stream(ng, 0, f->hd.stream_id, NGHTTP2_REFUSED_STREAM);
		return 0;
	}
	m = mux_stream_new(s, f->hd.stream_id);
	nghttp2_session_set_stream_user_data(ng, m->id, m);
	return 0;
}

static int on_header(nghttp2_session *ng, const nghttp2_frame *f, const uint8_t *name, size_t name_len,
		     const uint8_t *value, size_t value_len, uint8_t flags, void *user_data)
{
	struct mux_session *s = user_data;
	struct bytes n = bytes_of(name, name_len);
	struct bytes v = bytes_of(value, value_len);

	(void)ng;
	(void)f;
	(void)flags;
	s->head.size += name_len + value_len + 32;
	if (s->head.size > MUX_HEADER_LIST_MOST)
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE; /* resets it, skips the rest */
	if (bytes_equal_str(n, ":method"))
		s->head.connect = bytes_equal_str(v, "CONNECT");
	else if (bytes_equal_str(n, "content-length"))
		s->head.content = !bytes_equal_str(v, "0");
	else if (bytes_equal_str(n, ":status") && value_len == 3)
		s->head.status = (v.data[0] - '0') * 100 + (v.data[1] - '0') * 10 + v.data[2] - '0';
	return 0;
}

static void take_request(struct mux_session *s, struct mux_stream *m)
{
	if (!s->head.connect) {
		answer_bad_request(s, m->id);
		forget_request(m);
		return;
	}
	if (s->head.content) {
		nghttp2_submit_rst_stream(s->ng, 0, m->id, NGHTTP2_PROTOCOL_ERROR);
		charge_flood(s);
		forget_request(m);
		return;
	}
	mux_note(m, NOTE_REQUESTED);
}

static void take_headers(struct mux_session *s, const nghttp2_frame *f, struct mux_stream *m)
{
	if (f->headers.cat == NGHTTP2_HCAT_REQUEST) {
		take_request(s, m);
		return;
	}
	if (s->role == MUX_CLIENT && m->phase == MUX_ASKING && m->status == 0) {
		if (s->head.status / 100 == 1)
			return;
		m->status = (int16_t)s->head.status;
		mux_note(m, NOTE_ANSWERED);
		return;
	}
	if (m->phase == MUX_DECLINED)
		return;
	/* RFC 9113, 8.5: only DATA may follow. */
	err_set(&s->why, ERR_PEER, "HTTP/2: HEADERS inside a tunnel");
	nghttp2_submit_rst_stream(s->ng, 0, f->hd.stream_id, NGHTTP2_PROTOCOL_ERROR);
}

static void take_end(struct mux_stream *m)
{
	m->end_received = true;
	if (m->phase != MUX_OPEN)
		return;
	m->stream.readable = true;
	mux_note(m, NOTE_READY);
}

static void take_window(nghttp2_session *ng, struct mux_stream *m)
{
	if (!m->wants_window || nghttp2_session_get_stream_remote_window_size(ng, m->id) <= 0)
		return;
	m->wants_window = false;
	m->stream.writable = true;
	mux_note(m, NOTE_READY);
}

/*
 * Requests that have not left and are over the limit that the peer has just told. nghttp2 would keep them until others
 * end; their owners may find a place elsewhere. The last ones came last.
 */
static void give_back_unsent(struct mux_session *s)
{
	uint32_t most = nghttp2_session_get_remote_settings(s->ng, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
	unsigned excess = s->role == MUX_CLIENT && s->live > most ? s->live - most : 0;

	for (struct list *link = s->streams.prev; excess > 0 && link != &s->streams; link = link->prev) {
		struct mux_stream *m = container_of(link, struct mux_stream, link);

		if (m->gone || nghttp2_session_find_stream(s->ng, m->id) != NULL)
			continue;
		nghttp2_session_set_stream_user_data(s->ng, m->id, NULL);
		nghttp2_submit_rst_stream(s->ng, 0, m->id, NGHTTP2_REFUSED_STREAM);
		m->gone = true;
		m->reset_code = NGHTTP2_REFUSED_STREAM;
		mux_stream_fail(m, IO_RESET);
		excess--;
	}
}

static void take_settings(struct mux_session *s)
{
	uint32_t window = nghttp2_session_get_remote_settings(s->ng, NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE);

	give_back_unsent(s);
	if (window == s->peer_window)
		return;
	/* The initial window changes the windows of all streams. */
	s->peer_window = window;
	LIST_EACH (link, &s->streams) {
		struct mux_stream *m = container_of(link, struct mux_stream, link);

		if (!m->gone)
			take_window(s->ng, m);
	}
}

static void take_goaway(struct mux_session *s, const nghttp2_goaway *f)
{
	s->closing = true;
	s->why = (struct err){ 0 }; /* complaints about single streams */
	if (f->error_code != NGHTTP2_NO_ERROR)
		err_set(&s->why, ERR_PEER, "HTTP/2: the peer ends the session: %s %.*s",
			nghttp2_http2_strerror(f->error_code), (int)MIN(f->opaque_data_len, (size_t)100),
			(const char *)f->opaque_data);
}

/* Draining: now the peer has read our first word, and what it opened before that has arrived. */
static void take_ping_answer(struct mux_session *s)
{
	if (!s->draining || s->role != MUX_SERVER)
		return;
	nghttp2_submit_goaway(s->ng, 0, nghttp2_session_get_last_proc_stream_id(s->ng), NGHTTP2_NO_ERROR, NULL, 0);
}

static int on_frame_recv(nghttp2_session *ng, const nghttp2_frame *f, void *user_data)
{
	struct mux_session *s = user_data;
	struct mux_stream *m = stream_of(ng, f->hd.stream_id);

	if (is_flood_frame(f))
		charge_flood(s);
	switch (f->hd.type) {
	case NGHTTP2_HEADERS:
		if (m != NULL)
			take_headers(s, f, m);
		m = stream_of(ng, f->hd.stream_id); /* it may have been refused */
		break;
	case NGHTTP2_RST_STREAM:
		if (m != NULL)
			m->peer_reset = true; /* on_stream_close() comes next */
		return 0;
	case NGHTTP2_SETTINGS:
		if (!(f->hd.flags & NGHTTP2_FLAG_ACK))
			take_settings(s);
		return 0;
	case NGHTTP2_WINDOW_UPDATE:
		if (m != NULL)
			take_window(ng, m);
		return 0;
	case NGHTTP2_GOAWAY:
		take_goaway(s, &f->goaway);
		return 0;
	case NGHTTP2_PING:
		if (f->hd.flags & NGHTTP2_FLAG_ACK)
			take_ping_answer(s);
		return 0;
	case NGHTTP2_DATA:
		break;
	default:
		return 0;
	}
	if (m != NULL && (f->hd.flags & NGHTTP2_FLAG_END_STREAM))
		take_end(m);
	return 0;
}

/*
 * Whether the bytes behind a chunk begin a frame with more of this stream. They do not if the chunk's own frame goes
 * on with its padding, which may look like anything, nor behind the end of the stream.
 */
static bool more_follows(const struct mux_session *s, uint8_t flags, int32_t id, const uint8_t *at)
{
	uint32_t len, whose;

	if ((flags & (NGHTTP2_FLAG_PADDED | NGHTTP2_FLAG_END_STREAM)) != 0 || s->view_end - at <= MUX_FRAME_HEAD)
		return false;
	len = (uint32_t)at[0] << 16 | (uint32_t)at[1] << 8 | at[2];
	whose = (uint32_t)at[5] << 24 | (uint32_t)at[6] << 16 | (uint32_t)at[7] << 8 | at[8];
	return len > 0 && at[3] == NGHTTP2_DATA && (at[4] & NGHTTP2_FLAG_PADDED) == 0 && whose == (uint32_t)id;
}

/* Two pieces of one stream with the head of a frame between them: the shorter one closes up. */
static struct bytes join(struct bytes first, struct bytes second)
{
	uint8_t *from = (uint8_t *)first.data; /* stream.h: it may be written to */

	if (first.len < second.len) {
		from += second.data - (first.data + first.len);
		memmove(from, first.data, first.len);
	} else {
		memmove(from + first.len, second.data, second.len);
	}
	return bytes_of(from, first.len + second.len);
}

/* Its owner cannot be shown it where it lies. */
static void keep_for_later(struct mux_stream *m, struct bytes data)
{
	if (m->phase == MUX_OPEN && m->first == NULL)
		mux_note(m, NOTE_READY);
	mux_stream_queue(m, data);
	mux_give_connection_window(m->session, data.len);
}

/* nghttp2 has refused what was to follow the chunk, and goes on with another stream. */
static void put_chunk_aside(struct mux_session *s)
{
	keep_for_later(s->chunk_of, s->chunk);
	s->chunk_of = NULL;
	s->chunk = (struct bytes){ NULL, 0 };
}

static int on_data_chunk(nghttp2_session *ng, uint8_t flags, int32_t id, const uint8_t *data, size_t len,
			 void *user_data)
{
	struct mux_session *s = user_data;
	struct mux_stream *m = stream_of(ng, id);

	if (s->chunk_of != NULL && s->chunk_of != m)
		put_chunk_aside(s);
	if (m == NULL || m->phase == MUX_DECLINED) {
		nghttp2_session_consume(ng, id, len);
		return 0;
	}
	if (m->phase != MUX_OPEN || m->first != NULL || m->stream.events == NULL) {
		keep_for_later(m, bytes_of(data, len));
		return 0;
	}
	s->chunk = s->chunk_of == m ? join(s->chunk, bytes_of(data, len)) : bytes_of(data, len);
	s->chunk_of = m;
	if (more_follows(s, flags, id, data + len))
		return 0;
	s->paused = true;
	return NGHTTP2_ERR_PAUSE;
}

/* An abort; or, after the peer's END_STREAM and without an error, that it reads no more. */
static void take_reset(struct mux_stream *m, uint32_t code)
{
	m->reset_code = code;
	if (!m->peer_reset) {
		/* By nghttp2: the peer has refused it with GOAWAY, or sent something wrong. */
		mux_stream_fail(m, code == NGHTTP2_REFUSED_STREAM ? IO_RESET : IO_BROKEN);
	} else if (code == NGHTTP2_NO_ERROR && m->end_received && (m->phase == MUX_OPEN || m->status == 200)) {
		m->stopped = true;
		m->stream.writable = true;
		m->stream.flushing = false;
		mux_note(m, NOTE_READY);
	} else {
		mux_stream_fail(m, IO_RESET);
	}
}

static int on_stream_close(nghttp2_session *ng, int32_t id, uint32_t code, void *user_data)
{
	struct mux_session *s = user_data;
	struct mux_stream *m = stream_of(ng, id);

	if (s->role == MUX_CLIENT && s->live > 0)
		s->live--;
	if (m == NULL)
		return 0;
	m->gone = true;
	if (!m->offered)
		forget_request(m);
	else if (!(m->end_received && m->end_sent) && m->phase != MUX_DECLINED)
		take_reset(m, code);
	return 0;
}

static void take_end_sent(struct mux_session *s, int32_t id, struct mux_stream *m)
{
	if (m == NULL) {
		/* A refused request: RFC 9113, 8.1, the peer need not send the rest of it. */
		if (s->role == MUX_SERVER && nghttp2_session_get_stream_remote_close(s->ng, id) == 0)
			nghttp2_submit_rst_stream(s->ng, 0, id, NGHTTP2_NO_ERROR);
		return;
	}
	m->end_sent = true;
	if (!m->stream.flushing)
		return;
	m->stream.flushing = false;
	mux_note(m, NOTE_READY);
}

/*
 * Either the first word of mux_session_drain(): the PING is asked for only now, since it would
 * overtake GOAWAY. Or the session ends: where nghttp2 has found the fault, its reason is in the
 * frame.
 */
static void take_goaway_sent(struct mux_session *s, const nghttp2_goaway *f)
{
	if (f->error_code == NGHTTP2_NO_ERROR) {
		if (s->role == MUX_SERVER && s->draining && f->last_stream_id == INT32_MAX)
			nghttp2_submit_ping(s->ng, 0, NULL);
		return;
	}
	s->reason = REASON_TUNNEL_PROTOCOL;
	if (f->opaque_data_len > 0)
		err_set(&s->why, ERR_PEER, "HTTP/2: %.*s", (int)MIN(f->opaque_data_len, (size_t)200),
			(const char *)f->opaque_data);
	else if (s->why.kind == ERR_NONE)
		err_set(&s->why, ERR_PEER, "HTTP/2: %s", nghttp2_http2_strerror(f->error_code));
}

static int on_frame_send(nghttp2_session *ng, const nghttp2_frame *f, void *user_data)
{
	struct mux_session *s = user_data;

	if (f->hd.type == NGHTTP2_GOAWAY)
		take_goaway_sent(s, &f->goaway);
	if ((f->hd.type == NGHTTP2_DATA || f->hd.type == NGHTTP2_HEADERS) && (f->hd.flags & NGHTTP2_FLAG_END_STREAM))
		take_end_sent(s, f->hd.stream_id, stream_of(ng, f->hd.stream_id));
	return 0;
}

static int on_error(nghttp2_session *ng, int code, const char *text, size_t len, void *user_data)
{
	struct mux_session *s = user_data;

	(void)ng;
	(void)code;
	err_set(&s->why, ERR_PEER, "HTTP/2: %.*s", (int)MIN(len, (size_t)200), text);
	return 0;
}

static ssize_t choose_frame_size(nghttp2_session *ng, uint8_t type, int32_t id, int32_t session_window,
				 int32_t stream_window, uint32_t peer_frame_size, void *user_data)
{
	(void)ng;
	(void)type;
	(void)id;
	(void)session_window;
	(void)stream_window;
	(void)user_data;
	return (ssize_t)MIN(peer_frame_size, (uint32_t)MUX_FRAME_MOST);
}

ssize_t mux_read_data(nghttp2_session *ng, int32_t id, uint8_t *buf, size_t len, uint32_t *flags,
		      nghttp2_data_source *source, void *user_data)
{
	struct mux_session *s = user_data;
	struct mux_stream *m = stream_of(ng, id);

	(void)buf;
	(void)source;
	*flags |= NGHTTP2_DATA_FLAG_NO_COPY;
	if (m != NULL && m == s->pushing && s->out.len > 0) {
		if (mux_batch_reserve(s, MIN(len, s->out.len)) == NULL)
			return NGHTTP2_ERR_DEFERRED;
		if (len >= s->out.len)
			*flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
		return (ssize_t)MIN(len, s->out.len);
	}
	if (m != NULL && !m->shut)
		return NGHTTP2_ERR_DEFERRED;
	*flags |= NGHTTP2_DATA_FLAG_EOF;
	return 0;
}

/* The batch has room for it: mux_read_data() has asked. */
static int send_data(nghttp2_session *ng, nghttp2_frame *f, const uint8_t *head, size_t len,
		     nghttp2_data_source *source, void *user_data)
{
	struct mux_session *s = user_data;
	uint8_t *to = mux_batch_reserve(s, len);

	(void)ng;
	(void)f;
	(void)source;
	if (to == NULL)
		return NGHTTP2_ERR_WOULDBLOCK;
	memcpy(to, head, MUX_FRAME_HEAD);
	s->batch->end += MUX_FRAME_HEAD + len;
	if (len == 0)
		return 0;
	memcpy(to + MUX_FRAME_HEAD, s->out.data, len);
	s->out = bytes_of(s->out.data + len, s->out.len - len);
	return 0;
}

nghttp2_session_callbacks *mux_callbacks_new(void)
{
	nghttp2_session_callbacks *c;

	if (nghttp2_session_callbacks_new(&c) != 0)
		return NULL;
	nghttp2_session_callbacks_set_on_begin_headers_callback(c, on_begin_headers);
	nghttp2_session_callbacks_set_on_header_callback(c, on_header);
	nghttp2_session_callbacks_set_on_frame_recv_callback(c, on_frame_recv);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(c, on_data_chunk);
	nghttp2_session_callbacks_set_on_stream_close_callback(c, on_stream_close);
	nghttp2_session_callbacks_set_on_frame_send_callback(c, on_frame_send);
	nghttp2_session_callbacks_set_error_callback2(c, on_error);
	nghttp2_session_callbacks_set_data_source_read_length_callback(c, choose_frame_size);
	nghttp2_session_callbacks_set_send_data_callback(c, send_data);
	return c;
}
