/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mux_stream - one stream of a session, as a struct stream.
 *
 * Receiving: a chunk of DATA is shown to the owner while it still lies in the transport's view, so
 * that what the owner takes at once is never copied. The rest goes into buffers of the pool, behind
 * which further chunks queue up. Consumed bytes give their window back. The window grows for an
 * owner that takes everything at once, and never shrinks.
 *
 * Sending: push() frames its bytes straight into the batch of the session and keeps none. A stream
 * that cannot send waits for one of two things: for its own window (wants_window), or, in the
 * session's line, for what all streams share: the transport and the connection window. Who stands
 * in line is called in turn, and nobody passes it.
 *
 * nghttp2 knows what a stream sends as an item (some 160 bytes). It gets one when there is something to send, which
 * ends with what was pushed: a stream that waits has none.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "io/worker.h"
#include "tunnel/rats_tls/mux_internal.h"

static struct mux_stream *from_stream(struct stream *s)
{
	return container_of(s, struct mux_stream, stream);
}

static bool is_shown(const struct mux_stream *m)
{
	return m->session->chunk_of == m && m->session->chunk.len > 0;
}

static bool has_ended(const struct mux_stream *m)
{
	return m->failure != IO_OK || m->end_received;
}

/* At once, also for bytes that are queued: the windows of the streams are the bound. */
void mux_give_connection_window(struct mux_session *s, size_t len)
{
	if (s->ng == NULL || len == 0)
		return;
	nghttp2_session_consume_connection(s->ng, len);
	task_schedule(s->worker->loop, &s->round);
}

static void give_stream_window(struct mux_stream *m, size_t len)
{
	struct mux_session *s = m->session;

	if (m->gone || m->end_received || len == 0)
		return;
	nghttp2_session_consume_stream(s->ng, m->id, len);
	task_schedule(s->worker->loop, &s->round);
}

/* The owner has taken len bytes at once. */
static void grow_window(struct mux_stream *m, size_t len)
{
	m->prompt += (int32_t)len;
	if (m->prompt < m->window || m->window >= MUX_WINDOW_MOST || m->gone || m->end_received)
		return;
	m->prompt = 0;
	if (!pool_has_room(m->session->worker->pool))
		return;
	m->window *= 2;
	nghttp2_session_set_local_window_size(m->session->ng, 0, m->id, m->window);
}

/* Receiving. */

void mux_stream_queue(struct mux_stream *m, struct bytes data)
{
	struct pool *pool = m->session->worker->pool;

	m->prompt = 0;
	while (data.len > 0) {
		struct pool_buf *b = m->last;
		size_t len;

		if (b == NULL || b->end == b->size) {
			b = pool_take(pool, MIN(data.len, (size_t)POOL_BUF_SIZE));
			if (m->last != NULL)
				m->last->next = b;
			else
				m->first = b;
			m->last = b;
		}
		len = MIN(data.len, b->size - b->end);
		memcpy(b->data + b->end, data.data, len);
		b->end += len;
		data = bytes_of(data.data + len, data.len - len);
	}
	m->stream.readable = true;
}

static void consume_queue(struct mux_stream *m, size_t len)
{
	struct pool_buf *b = m->first;

	if (b == NULL)
		return;
	b->start += len;
	if (b->start < b->end)
		return;
	m->first = b->next;
	if (m->first == NULL)
		m->last = NULL;
	pool_give(m->session->worker->pool, b);
}

static void drop_queue(struct mux_stream *m)
{
	while (m->first != NULL)
		consume_queue(m, m->first->end - m->first->start);
}

static enum io_result pull(struct stream *stream, struct bytes *view)
{
	struct mux_stream *m = from_stream(stream);

	if (m->phase == MUX_OPEN && is_shown(m)) {
		*view = m->session->chunk;
		return IO_OK;
	}
	if (m->phase == MUX_OPEN && m->first != NULL) {
		*view = bytes_of(m->first->data + m->first->start, m->first->end - m->first->start);
		return IO_OK;
	}
	if (m->failure != IO_OK)
		return m->failure;
	if (m->phase == MUX_OPEN && m->end_received)
		return IO_END;
	stream->readable = false;
	return IO_AGAIN;
}

static void consumed(struct stream *stream, size_t len)
{
	struct mux_stream *m = from_stream(stream);
	struct mux_session *s = m->session;

	if (is_shown(m)) {
		s->chunk = bytes_of(s->chunk.data + len, s->chunk.len - len);
		mux_give_connection_window(s, len);
	} else {
		consume_queue(m, len);
	}
	give_stream_window(m, len);
}

/*
 * What the owner sees while it is shown the chunk is a stream that cannot be written. The transport
 * must not be called now; and an owner that turned to its other direction would read from a socket,
 * into the very scratch that the chunk lies in.
 */
void mux_stream_show_chunk(struct mux_session *s)
{
	struct mux_stream *m = s->chunk_of;
	size_t len = s->chunk.len;
	bool writable = m->stream.writable;
	struct bytes rest;

	m->stream.readable = true;
	m->stream.writable = false;
	m->stream.events->ready(m->stream.events, &m->stream);

	m = s->chunk_of;
	rest = s->chunk;
	s->chunk_of = NULL;
	s->chunk = (struct bytes){ NULL, 0 };
	if (m == NULL || m->failure != IO_OK) {
		mux_give_connection_window(s, rest.len);
		return;
	}
	if (list_is_empty(&m->waiting) && !m->wants_window && !m->shut)
		m->stream.writable = writable;
	if (rest.len == 0) {
		m->stream.readable = has_ended(m);
		grow_window(m, len);
		return;
	}
	mux_stream_queue(m, rest);
	mux_give_connection_window(s, rest.len);
}

/* Sending. */

/* Takes its place in the line, or waits for the peer. */
static void wait_to_push(struct mux_stream *m)
{
	struct mux_session *s = m->session;

	m->stream.writable = false;
	if (m->phase != MUX_OPEN || m->gone)
		return;
	if (nghttp2_session_get_stream_remote_window_size(s->ng, m->id) <= 0) {
		m->wants_window = true;
		return;
	}
	if (list_is_empty(&m->waiting))
		list_append(&s->waiting, &m->waiting);
	if (mux_can_push(s))
		task_schedule(s->worker->loop, &s->round);
}

/* Others come first who stand in line already. */
static bool is_its_turn(const struct mux_stream *m)
{
	const struct mux_session *s = m->session;

	return s->turn == m || (s->turn == NULL && list_is_empty(&s->waiting));
}

static bool is_one_frame(const struct mux_session *s, size_t len)
{
	return nghttp2_session_get_remote_settings(s->ng, NGHTTP2_SETTINGS_MAX_FRAME_SIZE) >= len;
}

/* There is something to send: what is being pushed, or the end. */
static void send_more(struct mux_stream *m)
{
	static const nghttp2_data_provider data = { .read_callback = mux_read_data };
	nghttp2_session *ng = m->session->ng;

	/* NGHTTP2_ERR_DATA_EXIST: the last push could not send all, and its item waits. */
	if (nghttp2_submit_data(ng, NGHTTP2_FLAG_END_STREAM, m->id, &data) != 0)
		nghttp2_session_resume_data(ng, m->id);
}

static size_t send_data(struct mux_stream *m, struct bytes data)
{
	struct mux_session *s = m->session;
	size_t left;

	s->pushing = m;
	s->out = data;
	send_more(m);
	mux_pump(s);
	left = s->out.len;
	s->pushing = NULL;
	s->out = (struct bytes){ NULL, 0 };
	/* A frame that fills its records leaves with what was in front of it, so that the next one begins a record. */
	mux_flush(s, data.len - left == POOL_READ_SIZE && is_one_frame(s, POOL_READ_SIZE) ? FLUSH_ALL : FLUSH_RECORDS);
	return data.len - left;
}

static enum io_result push(struct stream *stream, struct bytes data, size_t *taken)
{
	struct mux_stream *m = from_stream(stream);
	struct mux_session *s = m->session;

	*taken = 0;
	if (m->failure != IO_OK)
		return m->failure;
	if (m->stopped)
		return IO_RESET;
	if (m->phase == MUX_OPEN && !m->shut && mux_can_push(s) && is_its_turn(m)) {
		*taken = send_data(m, data);
		task_schedule(s->worker->loop, &s->round);
	}
	if (*taken < data.len)
		wait_to_push(m);
	return m->failure;
}

static enum io_result shut(struct stream *stream)
{
	struct mux_stream *m = from_stream(stream);
	struct mux_session *s = m->session;

	if (m->failure != IO_OK)
		return m->failure;
	if (m->shut)
		return IO_OK;
	m->shut = true;
	m->wants_window = false;
	stream->writable = false;
	list_remove(&m->waiting);
	if (m->gone)
		return IO_OK;
	send_more(m);
	if (mux_can_push(s))
		mux_pump(s);
	stream->flushing = !m->end_sent && m->failure == IO_OK;
	task_schedule(s->worker->loop, &s->round);
	return IO_OK;
}

/* Ending. */

void mux_stream_fail(struct mux_stream *m, enum io_result failure)
{
	m->failure = failure;
	m->stream.readable = true;
	m->stream.writable = true;
	m->stream.flushing = false;
	m->stream.aborted = true;
	list_remove(&m->waiting);
	mux_note(m, NOTE_ENDED);
}

/* What the peer is told about a stream that its owner does not want any more. */
static void leave(struct mux_stream *m, enum stream_close how)
{
	struct mux_session *s = m->session;
	bool finished = how == STREAM_FINISHED && m->shut && m->end_received;

	if (m->gone)
		return;
	nghttp2_session_set_stream_user_data(s->ng, m->id, NULL);
	if (!finished)
		nghttp2_submit_rst_stream(s->ng, 0, m->id,
					  m->phase == MUX_OPEN ? NGHTTP2_CONNECT_ERROR : NGHTTP2_CANCEL);
	m->gone = true;
	task_schedule(s->worker->loop, &s->round);
}

void mux_stream_dispose(struct mux_stream *m)
{
	struct mux_session *s = m->session;

	m->closed = true;
	m->stream.events = NULL;
	if (m->offered)
		s->count--;
	if (s->chunk_of == m)
		s->chunk_of = NULL;
	drop_queue(m);
	list_remove(&m->link);
	list_remove(&m->noted);
	list_remove(&m->waiting);
	if (s->running)
		list_append(&s->closed, &m->link);
	else
		free(m);
}

static void close_stream(struct stream *stream, enum stream_close how)
{
	struct mux_stream *m = from_stream(stream);
	struct mux_session *s = m->session;

	leave(m, how);
	mux_stream_dispose(m);
	mux_session_bury(s);
}

static const struct stream_ops mux_ops = { pull, consumed, push, shut, close_stream };

struct mux_stream *mux_stream_new(struct mux_session *s, int32_t id)
{
	struct mux_stream *m = mem_new_of(struct mux_stream);

	m->stream.ops = &mux_ops;
	m->session = s;
	m->id = id;
	m->window = MUX_WINDOW_FIRST;
	m->phase = MUX_ASKING;
	list_init(&m->noted);
	list_init(&m->waiting);
	list_append(&s->streams, &m->link);
	return m;
}

struct stream *mux_stream_stream(struct mux_stream *m)
{
	return &m->stream;
}

/* CONNECT. */

#define HEADER(name_text, value_text)                                                                                  \
	{                                                                                                              \
		.name = (uint8_t *)(name_text), .value = (uint8_t *)(value_text), .namelen = sizeof(name_text) - 1,    \
		.valuelen = sizeof(value_text) - 1                                                                     \
	}

struct mux_stream *mux_session_connect(struct mux_session *s, struct mux_connect_events *events)
{
	static const nghttp2_nv head[] = { HEADER(":method", "CONNECT"), HEADER(":authority", "tng.internal") };
	struct mux_stream *m;

	if (mux_session_room(s) == 0)
		return NULL;
	m = mux_stream_new(s, 0);
	m->id = nghttp2_submit_headers(s->ng, NGHTTP2_FLAG_NONE, -1, NULL, head, ARRAY_SIZE(head), m);
	if (m->id < 0) {
		m->gone = true;
		mux_stream_dispose(m);
		return NULL;
	}
	m->connect = events;
	m->offered = true;
	s->count++;
	s->live++;
	s->told_room = mux_session_room(s);
	task_schedule(s->worker->loop, &s->round);
	return m;
}

/* RFC 9110, 5.6.7 */
static const char *http_date(struct mux_session *s)
{
	time_t now = (time_t)clock_unix();
	struct tm t;

	if (now == s->date_s)
		return s->date;
	gmtime_r(&now, &t);
	strftime(s->date, sizeof(s->date), "%a, %d %b %Y %H:%M:%S GMT", &t); /* in the C locale */
	s->date_s = now;
	return s->date;
}

void mux_stream_accept(struct mux_stream *m)
{
	struct mux_session *s = m->session;
	nghttp2_nv head[] = { HEADER(":status", "200"), HEADER("date", "") };

	m->phase = MUX_OPEN;
	m->stream.writable = true;
	m->stream.readable = m->first != NULL || has_ended(m);
	if (m->gone)
		return;
	head[1].value = (uint8_t *)http_date(s);
	head[1].valuelen = strlen(s->date);
	nghttp2_submit_headers(s->ng, NGHTTP2_FLAG_NONE, m->id, NULL, head, ARRAY_SIZE(head), NULL);
	task_schedule(s->worker->loop, &s->round);
}

void mux_stream_refuse(struct mux_stream *m, int status)
{
	struct mux_session *s = m->session;
	char text[8];
	nghttp2_nv head[] = { HEADER(":status", "000") };

	if (!m->gone) {
		snprintf(text, sizeof(text), "%03d", status % 1000);
		head[0].value = (uint8_t *)text;
		nghttp2_submit_response(s->ng, m->id, head, ARRAY_SIZE(head), NULL);
		nghttp2_session_set_stream_user_data(s->ng, m->id, NULL);
		m->gone = true;
		task_schedule(s->worker->loop, &s->round);
	}
	mux_stream_dispose(m);
	mux_session_bury(s);
}
