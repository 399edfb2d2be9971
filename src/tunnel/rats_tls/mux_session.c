/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mux_session - the life of a session, and its rounds.
 *
 * All work is done in a task at the end of the loop's round: what arrived is received, owners are
 * told what it means, those who wait to push are called in turn, and all frames that came of it
 * leave together. Events of the transport and calls of the owners only schedule that task. There
 * are two exceptions: a push frames its bytes at once, since it may not keep them; and DATA is
 * shown to its owner while the transport's view is still open, so that it need not be copied.
 *
 * nghttp2 is never entered twice: its callbacks call no owner, and for the showing of DATA it is
 * paused.
 *
 * The memory of a session outlives mux_session_free() until its last stream is closed by its owner,
 * because streams hold the session's lists and find the pool through it.
 */
#include "tunnel/rats_tls/mux.h"

#include <assert.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "io/worker.h"
#include "tunnel/rats_tls/mux_internal.h"

#define RECEIVE_VIEWS 4		/* in one round: a busy session does not starve its neighbours */
#define FLUSH_AT POOL_SEAL_SIZE /* what fills its records leaves before the end of the round */
#define BATCH_RESERVE 4096	/* for what is not DATA: our longest such frame has some 100 bytes */

void mux_note(struct mux_stream *m, unsigned notes)
{
	struct mux_session *s = m->session;

	m->notes |= (uint8_t)notes;
	if (list_is_empty(&m->noted))
		list_append(&s->noted, &m->noted);
	if (!s->running)
		task_schedule(s->worker->loop, &s->round);
}

/* Sending. */

static void fail_sending(struct mux_session *s, enum io_result how)
{
	s->send_failure = how;
	if (s->batch != NULL)
		pool_give(s->worker->pool, s->batch);
	s->batch = NULL;
	s->transport->readable = true; /* what had arrived, and the end */
	task_schedule(s->worker->loop, &s->round);
}

void mux_flush(struct mux_session *s, enum mux_flush what)
{
	struct pool_buf *b = s->batch;
	size_t left;

	if (b == NULL || s->viewing || s->send_failure != IO_OK)
		return;
	left = b->end - b->start;
	if (what == FLUSH_RECORDS)
		left -= left % FLUSH_AT;
	while (left > 0 && s->transport->writable) {
		size_t taken = 0;
		enum io_result result =
			s->transport->ops->push(s->transport, bytes_of(b->data + b->start, left), &taken);

		if (result != IO_OK) {
			fail_sending(s, result);
			return;
		}
		if (taken == 0)
			break;
		b->start += taken;
		left -= taken;
	}
	if (b->start < b->end)
		return;
	pool_give(s->worker->pool, b);
	s->batch = NULL;
}

static void compact(struct pool_buf *b)
{
	memmove(b->data, b->data + b->start, b->end - b->start);
	b->end -= b->start;
	b->start = 0;
}

/* What is left of a full record makes room by moving to the front; more than that has to leave. */
uint8_t *mux_batch_reserve(struct mux_session *s, size_t len)
{
	size_t need = MUX_FRAME_HEAD + len + BATCH_RESERVE;

	if (s->batch != NULL && POOL_BUF_SIZE - s->batch->end < need &&
	    POOL_BUF_SIZE - (s->batch->end - s->batch->start) >= need)
		compact(s->batch);
	if (s->batch != NULL && POOL_BUF_SIZE - s->batch->end < need)
		mux_flush(s, FLUSH_ALL);
	if (s->send_failure != IO_OK)
		return NULL;
	if (s->batch == NULL)
		s->batch = pool_take(s->worker->pool, POOL_BUF_SIZE);
	return POOL_BUF_SIZE - s->batch->end >= need ? s->batch->data + s->batch->end : NULL;
}

void mux_pump(struct mux_session *s)
{
	while (!s->over && nghttp2_session_want_write(s->ng) && mux_batch_reserve(s, 0) != NULL) {
		const uint8_t *frame;
		ssize_t len = nghttp2_session_mem_send(s->ng, &frame);

		if (len == 0)
			return;
		if (len < 0) {
			err_set(&s->why, ERR_SYSTEM, "HTTP/2: %s", nghttp2_strerror((int)len));
			s->reason = REASON_INTERNAL;
			fail_sending(s, IO_BROKEN);
			return;
		}
		assert((size_t)len <= POOL_BUF_SIZE - s->batch->end);
		memcpy(s->batch->data + s->batch->end, frame, (size_t)len);
		s->batch->end += (size_t)len;
	}
}

bool mux_can_push(const struct mux_session *s)
{
	return !s->over && !s->viewing && s->send_failure == IO_OK && s->transport->writable &&
	       nghttp2_session_get_remote_window_size(s->ng) > 0;
}

/* Those whose turn did not come keep their place at the front of the line. */
static void wake(struct mux_session *s)
{
	struct list line;

	list_init(&line);
	list_splice(&line, &s->waiting);
	while (!list_is_empty(&line) && mux_can_push(s)) {
		struct mux_stream *m = container_of(list_pop(&line), struct mux_stream, waiting);

		m->stream.writable = true;
		s->turn = m;
		if (m->stream.events != NULL)
			m->stream.events->ready(m->stream.events, &m->stream);
		s->turn = NULL;
	}
	list_splice(&line, &s->waiting);
	list_splice(&s->waiting, &line);
}

/* Ending. */

/*
 * No more frames are received or sent. Streams that had ended properly are not concerned; a request
 * that its owner does not know is forgotten.
 */
static void end(struct mux_session *s, enum reason reason, enum io_result failure)
{
	if (s->over)
		return;
	s->over = true;
	s->reason = reason;
	LIST_EACH (link, &s->streams) {
		struct mux_stream *m = container_of(link, struct mux_stream, link);

		if (m->gone)
			continue;
		nghttp2_session_set_stream_user_data(s->ng, m->id, NULL);
		m->gone = true;
		if (!m->offered)
			mux_stream_dispose(m);
		else if (m->phase != MUX_DECLINED)
			mux_stream_fail(m, failure);
	}
	task_schedule(s->worker->loop, &s->round);
}

static bool is_idle(const struct mux_session *s)
{
	LIST_EACH (link, &s->streams) {
		if (!container_of(link, struct mux_stream, link)->gone)
			return false;
	}
	return true;
}

/* The transport has told its end. */
static void lose(struct mux_session *s, enum io_result how)
{
	if (how == IO_END && is_idle(s)) {
		end(s, REASON_DONE, IO_RESET);
		return;
	}
	if (how != IO_END)
		s->send_failure = how;
	if (!s->closing || s->why.kind == ERR_NONE)
		err_set(&s->why, ERR_PEER, "%s",
			how == IO_END	   ? "the peer closed the connection under its streams"
			: how == IO_BROKEN ? "the peer broke TLS"
					   : "the connection was reset");
	end(s, how == IO_BROKEN ? REASON_TUNNEL_PROTOCOL : REASON_TUNNEL_RESET,
	    how == IO_BROKEN ? IO_BROKEN : IO_RESET);
}

/* nghttp2 cannot go on. The peer is told why, where that is still possible. */
static void give_up(struct mux_session *s, ssize_t code)
{
	bool flooded = code == NGHTTP2_ERR_FLOODED;

	err_set(&s->why, ERR_PEER, "HTTP/2: %s", nghttp2_strerror((int)code));
	nghttp2_session_terminate_session(s->ng, flooded ? NGHTTP2_ENHANCE_YOUR_CALM : NGHTTP2_PROTOCOL_ERROR);
	mux_pump(s);
	end(s, REASON_TUNNEL_PROTOCOL, IO_BROKEN);
}

/* Receiving. */

/* Returns 0, or why nghttp2 cannot go on. */
static ssize_t feed(struct mux_session *s, struct bytes view)
{
	while (!s->over && (view.len > 0 || s->paused)) {
		ssize_t len;

		s->paused = false;
		s->view_end = view.data + view.len;
		len = nghttp2_session_mem_recv(s->ng, view.data, view.len);
		if (s->chunk_of != NULL)
			mux_stream_show_chunk(s);
		if (len < 0)
			return len;
		view = bytes_of(view.data + len, view.len - (size_t)len);
	}
	return 0;
}

static void receive(struct mux_session *s)
{
	for (unsigned i = 0; i < RECEIVE_VIEWS && !s->over; i++) {
		struct stream *t = s->transport;
		struct bytes view;
		enum io_result result = t->ops->pull(t, &view);
		ssize_t code;

		if (result == IO_AGAIN) {
			if (s->send_failure != IO_OK)
				lose(s, s->send_failure);
			return;
		}
		if (result != IO_OK) {
			lose(s, result);
			return;
		}
		s->viewing = true;
		code = feed(s, view);
		s->viewing = false;
		if (s->events == NULL)
			return; /* freed by an owner: so is the transport */
		t->ops->consumed(t, view.len);
		if (code < 0)
			give_up(s, code);
	}
	if (!s->over)
		task_schedule(s->worker->loop, &s->round);
}

/* Telling. */

static void tell_answer(struct mux_stream *m)
{
	struct mux_connect_events *connect = m->connect;

	m->connect = NULL;
	m->phase = m->status == 200 ? MUX_OPEN : MUX_DECLINED;
	if (m->phase == MUX_DECLINED)
		m->failure = IO_RESET;
	m->stream.writable = true;
	m->stream.readable = m->first != NULL || m->end_received || m->failure != IO_OK;
	connect->answered(connect, m->status);
}

/* Why CONNECT was not answered. */
static enum reason find_reason(const struct mux_stream *m, struct err *why)
{
	const struct mux_session *s = m->session;
	bool refused = m->reset_code == NGHTTP2_REFUSED_STREAM;

	*why = s->why;
	if (s->over)
		return s->reason == REASON_DONE ? REASON_PEER_CLOSED : s->reason;
	if (!m->peer_reset && !refused) {
		if (why->kind == ERR_NONE)
			err_set(why, ERR_PEER, "HTTP/2: the answer to CONNECT is malformed");
		return REASON_TUNNEL_PROTOCOL;
	}
	err_set(why, ERR_PEER, "the peer reset CONNECT: %s", nghttp2_http2_strerror(m->reset_code));
	if (refused)
		return s->closing ? REASON_PEER_CLOSED : REASON_LIMIT_STREAMS;
	return REASON_PEER_DECLINED;
}

/* It ended before it was answered. */
static void tell_no_answer(struct mux_stream *m)
{
	struct mux_session *s = m->session;
	struct mux_connect_events *connect = m->connect;
	struct err why;
	enum reason reason;

	if (s->role == MUX_CLIENT) {
		reason = find_reason(m, &why);
		m->connect = NULL;
		connect->failed(connect, reason, &why);
		return;
	}
	if (s->events == NULL)
		return; /* its owner knows */
	s->events->withdrawn(s->events, m);
	if (!m->closed)
		mux_stream_dispose(m);
}

static void tell_stream(struct mux_stream *m)
{
	struct mux_session *s = m->session;
	unsigned notes = m->notes;

	m->notes = 0;
	if (notes & NOTE_REQUESTED) {
		m->offered = true;
		s->count++;
		s->events->requested(s->events, m);
	}
	if (!m->closed && (notes & NOTE_ANSWERED)) {
		tell_answer(m);
		if (m->stream.readable)
			notes |= NOTE_READY;
	}
	if (!m->closed && m->phase == MUX_ASKING && (notes & NOTE_ENDED))
		tell_no_answer(m);
	else if (!m->closed && m->phase == MUX_OPEN && (notes & (NOTE_ENDED | NOTE_READY)) && m->stream.events != NULL)
		m->stream.events->ready(m->stream.events, &m->stream);
}

static void tell(struct mux_session *s)
{
	struct list now;

	list_init(&now);
	list_splice(&now, &s->noted);
	while (!list_is_empty(&now))
		tell_stream(container_of(list_pop(&now), struct mux_stream, noted));
}

static void tell_room(struct mux_session *s)
{
	unsigned room = mux_session_room(s);
	bool more = room > s->told_room;
	bool closing = s->closing && !s->told_closing;

	if (s->role != MUX_CLIENT || s->events == NULL || s->over)
		return;
	s->told_room = room;
	s->told_closing = s->closing;
	if (more || closing)
		s->events->changed(s->events);
}

static void tell_end(struct mux_session *s)
{
	tell(s);
	if (s->told_end || s->events == NULL)
		return;
	s->told_end = true;
	s->events->ended(s->events, s->reason, &s->why);
}

/* GOAWAY was sent or received, and there is nothing left to do. */
static bool is_finished(const struct mux_session *s)
{
	return !nghttp2_session_want_read(s->ng) && !nghttp2_session_want_write(s->ng);
}

static void free_closed(struct mux_session *s)
{
	for (;;) {
		struct list *link = list_pop(&s->closed);

		if (link == NULL)
			return;
		free(container_of(link, struct mux_stream, link));
	}
}

static void work(struct mux_session *s)
{
	mux_flush(s, FLUSH_ALL);
	receive(s);
	tell(s);
	if (!s->over)
		wake(s);
	if (!s->over)
		mux_pump(s);
	mux_flush(s, FLUSH_ALL);
	if (!s->over && is_finished(s))
		end(s, s->reason, s->reason == REASON_DONE ? IO_RESET : IO_BROKEN);
	tell_room(s);
	if (s->over)
		tell_end(s);
}

static void on_round(struct task *t)
{
	struct mux_session *s = container_of(t, struct mux_session, round);

	s->running = true;
	if (s->over)
		tell_end(s);
	else
		work(s);
	s->running = false;
	free_closed(s);
	if (!list_is_empty(&s->noted))
		task_schedule(s->worker->loop, &s->round);
	mux_session_bury(s);
}

static void on_transport(struct stream_events *self, struct stream *t)
{
	struct mux_session *s = container_of(self, struct mux_session, transport_events);

	(void)t;
	task_schedule(s->worker->loop, &s->round);
}

/* The life. */

static nghttp2_session *new_nghttp2(struct mux_session *s)
{
	nghttp2_session_callbacks *callbacks = mux_callbacks_new();
	nghttp2_option *options = NULL;
	nghttp2_session *ng = NULL;

	if (callbacks == NULL || nghttp2_option_new(&options) != 0)
		goto out;
	nghttp2_option_set_no_auto_window_update(options, 1);
	nghttp2_option_set_no_closed_streams(options, 1);
	nghttp2_option_set_stream_reset_rate_limit(options, UINT32_MAX, UINT32_MAX);
	if (s->role == MUX_CLIENT)
		nghttp2_session_client_new2(&ng, callbacks, s, options);
	else
		nghttp2_session_server_new2(&ng, callbacks, s, options);
out:
	nghttp2_option_del(options);
	nghttp2_session_callbacks_del(callbacks);
	return ng;
}

static int submit_settings(struct mux_session *s)
{
	nghttp2_settings_entry first =
		s->role == MUX_CLIENT
			? (nghttp2_settings_entry){ NGHTTP2_SETTINGS_ENABLE_PUSH, 0 }
			: (nghttp2_settings_entry){ NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, s->max_streams };
	nghttp2_settings_entry settings[] = {
		first,
		{ NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, MUX_WINDOW_FIRST },
		{ NGHTTP2_SETTINGS_MAX_FRAME_SIZE, MUX_FRAME_MOST },
		{ NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, MUX_HEADER_LIST_MOST },
	};

	if (nghttp2_submit_settings(s->ng, 0, settings, ARRAY_SIZE(settings)) != 0)
		return -1;
	return nghttp2_session_set_local_window_size(s->ng, 0, 0, MUX_WINDOW_CONNECTION) == 0 ? 0 : -1;
}

struct mux_session *mux_session_new(struct worker *w, struct stream *transport,
				    const struct mux_session_options *options, struct mux_session_events *events,
				    struct err *e)
{
	struct mux_session *s = mem_new_of(struct mux_session);

	s->worker = w;
	s->role = options->role;
	s->max_streams = options->max_streams;
	s->events = events;
	s->reason = REASON_DONE;
	s->flood_ms = loop_now_ms(w->loop);
	s->flood_left = MUX_FLOOD_BURST;
	list_init(&s->streams);
	list_init(&s->noted);
	list_init(&s->waiting);
	list_init(&s->closed);
	task_init(&s->round, on_round);
	s->ng = new_nghttp2(s);
	if (s->ng == NULL || submit_settings(s) < 0) {
		err_set(e, ERR_SYSTEM, "nghttp2: out of memory");
		nghttp2_session_del(s->ng);
		free(s);
		return NULL;
	}
	s->transport = transport;
	s->transport_events.ready = on_transport;
	transport->events = &s->transport_events;
	s->told_room = mux_session_room(s);
	task_schedule(w->loop, &s->round);
	return s;
}

/* The last words: each stream is reset, so that its end is not taken for a clean one. */
static void say_goodbye(struct mux_session *s)
{
	LIST_EACH (link, &s->streams) {
		struct mux_stream *m = container_of(link, struct mux_stream, link);

		if (m->gone)
			continue;
		nghttp2_submit_rst_stream(s->ng, 0, m->id,
					  m->phase == MUX_OPEN ? NGHTTP2_CONNECT_ERROR : NGHTTP2_REFUSED_STREAM);
		nghttp2_session_set_stream_user_data(s->ng, m->id, NULL);
	}
	nghttp2_session_terminate_session(s->ng, NGHTTP2_NO_ERROR);
	mux_pump(s);
	end(s, REASON_SHUTDOWN, IO_RESET);
}

static void close_transport(struct mux_session *s)
{
	struct stream *t = s->transport;
	enum stream_close how = STREAM_ABORT;

	if (!s->viewing) {
		mux_flush(s, FLUSH_ALL);
		if (s->batch == NULL && s->send_failure == IO_OK && t->ops->shutdown(t) == IO_OK)
			how = STREAM_FINISHED;
	}
	t->ops->close(t, how);
	s->transport = NULL;
	if (s->batch != NULL)
		pool_give(s->worker->pool, s->batch);
	s->batch = NULL;
}

void mux_session_bury(struct mux_session *s)
{
	if (s->events != NULL || s->running || !list_is_empty(&s->streams))
		return;
	task_cancel(&s->round);
	free(s);
}

void mux_session_free(struct mux_session *s)
{
	if (s == NULL)
		return;
	if (!s->over)
		say_goodbye(s);
	s->events = NULL;
	s->told_end = true;
	close_transport(s);
	nghttp2_session_del(s->ng);
	s->ng = NULL;
	mux_session_bury(s);
}

void mux_session_drain(struct mux_session *s)
{
	if (s->over || s->draining)
		return;
	s->draining = true;
	if (s->role == MUX_CLIENT)
		nghttp2_submit_goaway(s->ng, 0, 0, NGHTTP2_NO_ERROR, NULL, 0);
	else
		nghttp2_submit_shutdown_notice(s->ng);
	task_schedule(s->worker->loop, &s->round);
}

bool mux_session_is_closing(const struct mux_session *s)
{
	return s->over || s->draining || s->closing || s->send_failure != IO_OK ||
	       !nghttp2_session_check_request_allowed(s->ng);
}

unsigned mux_session_room(const struct mux_session *s)
{
	uint32_t most;

	if (s->role != MUX_CLIENT || mux_session_is_closing(s))
		return 0;
	most = nghttp2_session_get_remote_settings(s->ng, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
	return most > s->live ? most - s->live : 0;
}

unsigned mux_session_streams(const struct mux_session *s)
{
	return s->count;
}
