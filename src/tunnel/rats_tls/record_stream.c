/* SPDX-License-Identifier: Apache-2.0 */
/*
 * record_stream - sealing and opening between a socket and the relay.
 *
 * Reading: the socket is read into the worker's cipher scratch, behind the beginning of a record that was kept
 * from last time; whole records are opened into the plain scratch, back to back, and shown as one view. What is
 * left of a record goes to `in`, what the relay did not take to `plain`.
 *
 * Writing: all that is pushed is sealed into the cipher scratch and sent at once. What the socket did not take
 * goes to `out`; until that has left, nothing more is taken. KeyUpdates and alerts of ours travel the same way.
 */
#include "tunnel/rats_tls/record_stream.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "io/pool.h"
#include "io/sock.h"
#include "io/worker.h"
#include "tunnel/rats_tls/record_layer.h"

#define CONTROL_ROOM 256 /* for alerts and KeyUpdates behind the data */

static struct record_stream *from_stream(struct stream *s)
{
	return container_of(s, struct record_stream, stream);
}

static enum io_result fail(struct record_stream *s, enum io_result how)
{
	s->failed = true;
	s->failure = how;
	return how;
}

static enum io_result fail_sending(struct record_stream *s)
{
	s->send_failed = true;
	s->stream.aborted = true; /* the kernel tells an error once */
	s->stream.flushing = false;
	return IO_RESET;
}

static enum io_result wait_for_room(struct record_stream *s)
{
	s->stream.writable = false;
	return loop_watch_output(s->worker->loop, &s->watch) < 0 ? fail_sending(s) : IO_OK;
}

/* Sends what is in out. */
static enum io_result flush(struct record_stream *s)
{
	struct pool_buf *b = s->out;
	ssize_t n;

	if (b == NULL)
		return IO_OK;
	do {
		n = send(s->watch.fd, b->data + b->start, b->end - b->start, MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	if (n < 0 && errno != EAGAIN)
		return fail_sending(s);
	if (n > 0)
		b->start += (size_t)n;
	if (b->start < b->end)
		return wait_for_room(s);
	pool_give(s->worker->pool, b);
	s->out = NULL;
	if (s->stream.flushing) {
		s->stream.flushing = false;
		if (!s->stream.last && shutdown(s->watch.fd, SHUT_WR) < 0)
			return fail_sending(s);
	}
	return IO_OK;
}

/* Behind the end of the handshake, in one go. */
static enum io_result send_corked(struct record_stream *s, const uint8_t *sealed, size_t len)
{
	struct pool_buf *b = s->out;

	s->corked = false;
	memcpy(b->data + b->end, sealed, len);
	b->end += len;
	return flush(s);
}

/* Sends sealed bytes, keeping the rest in out. sealed may be the cipher scratch. */
static enum io_result send_sealed(struct record_stream *s, const uint8_t *sealed, size_t len, int flags)
{
	size_t sent = 0;

	if (s->corked)
		return send_corked(s, sealed, len);
	if (s->out == NULL && s->stream.writable) {
		ssize_t n;

		do {
			n = send(s->watch.fd, sealed, len, MSG_NOSIGNAL | flags);
		} while (n < 0 && errno == EINTR);
		if (n < 0 && errno != EAGAIN)
			return fail_sending(s);
		if (n > 0)
			sent = (size_t)n;
	}
	if (sent == len)
		return IO_OK;
	if (s->out == NULL)
		s->out = pool_take(s->worker->pool, MIN(len - sent + CONTROL_ROOM, (size_t)POOL_BUF_SIZE));
	if (s->out->size - s->out->end < len - sent) {
		memmove(s->out->data, s->out->data + s->out->start, s->out->end - s->out->start);
		s->out->end -= s->out->start;
		s->out->start = 0;
	}
	/* Control records only come on top of one push, and a flood of them is broken off by record_open(). */
	if (s->out->size - s->out->end < len - sent)
		return fail(s, IO_BROKEN);
	memcpy(s->out->data + s->out->end, sealed + sent, len - sent);
	s->out->end += len - sent;
	return wait_for_room(s);
}

static enum io_result send_key_update(struct record_stream *s)
{
	uint8_t sealed[RECORD_CONTROL_MAX];
	size_t len = s->layer->seal_key_update(s, sealed);

	return len == 0 ? fail(s, IO_BROKEN) : send_sealed(s, sealed, len, 0);
}

static void send_alert(struct record_stream *s, enum tls_alert alert)
{
	uint8_t sealed[RECORD_CONTROL_MAX];

	if (!s->shut)
		send_sealed(s, sealed, s->layer->seal_alert(s, alert, sealed), 0);
	s->shut = true;
}

/* What one record means for the stream. IO_AGAIN: go on with the next one. */
static enum io_result take_record(struct record_stream *s, const struct record_opened *o)
{
	switch (o->result) {
	case RECORD_MORE:
	case RECORD_PLAIN:
	case RECORD_NOTHING:
	case RECORD_KEY_UPDATED:
		return IO_AGAIN;
	case RECORD_KEY_UPDATE_REQUESTED:
		s->owes_update = true;
		return IO_AGAIN;
	case RECORD_CLOSED:
		s->got_close = true;
		return IO_END;
	case RECORD_PEER_ALERT:
		s->peer_alert = o->alert;
		return fail(s, IO_RESET);
	case RECORD_BROKEN:
		send_alert(s, o->alert);
		return fail(s, IO_BROKEN);
	}
	return IO_AGAIN;
}

static void keep_partial(struct record_stream *s, struct bytes rest)
{
	if (rest.len == 0)
		return;
	s->in = pool_take(s->worker->pool, rest.len);
	memcpy(s->in->data, rest.data, rest.len);
	s->in->end = rest.len;
}

/*
 * Opens all whole records of cipher into the plain scratch. Returns how the last one ended; data that came
 * before an end or a failure is delivered first, and the end is told by the next pull.
 */
static enum io_result open_records(struct record_stream *s, struct bytes cipher)
{
	uint8_t *plain = pool_plain_scratch(s->worker->pool);
	enum io_result result = IO_AGAIN;
	size_t len = 0;

	while (result == IO_AGAIN && cipher.len > 0) {
		struct record_opened o = s->layer->open(s, cipher, plain + len);

		if (o.result == RECORD_MORE)
			break;
		if (o.result == RECORD_PLAIN)
			len += o.plain_len;
		cipher = bytes_of(cipher.data + o.wire_len, cipher.len - o.wire_len);
		result = take_record(s, &o);
	}
	if (result == IO_AGAIN)
		keep_partial(s, cipher);
	/* One answer for all that asked, so that a peer cannot make us queue. A failure shows at the next push. */
	if (s->owes_update && !s->shut && result != IO_BROKEN)
		send_key_update(s);
	s->owes_update = false;
	s->view = bytes_of(plain, len);
	return len > 0 ? IO_OK : result;
}

static enum io_result pull_socket(struct record_stream *s, struct bytes *view)
{
	uint8_t *scratch = pool_cipher_scratch(s->worker->pool);
	size_t most = pool_read_size(s->worker->pool, POOL_WIRE_SIZE, RECORD_MAX_WIRE);

	while (s->stream.readable) {
		size_t have = 0;
		size_t size;
		ssize_t n;
		enum io_result result;

		if (s->in != NULL) {
			have = s->in->end - s->in->start;
			memcpy(scratch, s->in->data + s->in->start, have);
		}
		/* What completes the records that are there: then no partial one is left over. */
		size = most > have ? most - have : RECORD_MAX_WIRE;
		do {
			n = recv(s->watch.fd, scratch + have, size, 0);
		} while (n < 0 && errno == EINTR);
		if (n < 0 && errno == EAGAIN) {
			s->stream.readable = false;
			break;
		}
		if (n <= 0) {
			s->truncated = n == 0;
			return fail(s, IO_RESET);
		}
		if ((size_t)n < size && !s->hung_up)
			s->stream.readable = false;
		if (s->in != NULL) {
			pool_give(s->worker->pool, s->in);
			s->in = NULL;
		}
		result = open_records(s, bytes_of(scratch, have + (size_t)n));
		if (result == IO_OK)
			*view = s->view;
		if (result != IO_AGAIN)
			return result;
	}
	return IO_AGAIN;
}

/* What came in one read with the end of the handshake. */
static enum io_result pull_early(struct record_stream *s, struct bytes *view)
{
	uint8_t *scratch = pool_cipher_scratch(s->worker->pool);
	size_t have = s->in->end - s->in->start;
	enum io_result result;

	memcpy(scratch, s->in->data + s->in->start, have);
	pool_give(s->worker->pool, s->in);
	s->in = NULL;
	s->in_is_new = false;
	result = open_records(s, bytes_of(scratch, have));
	if (result == IO_OK)
		*view = s->view;
	return result;
}

static enum io_result pull(struct stream *stream, struct bytes *view)
{
	struct record_stream *s = from_stream(stream);

	if (s->corked) {
		s->corked = false;
		flush(s); /* a failure shows at the next push */
	}
	if (s->plain != NULL) {
		*view = bytes_of(s->plain->data + s->plain->start, s->plain->end - s->plain->start);
		return IO_OK;
	}
	if (s->view.len > 0) {
		*view = s->view;
		return IO_OK;
	}
	if (s->failed)
		return s->failure;
	if (s->got_close)
		return IO_END;
	if (s->in_is_new) {
		enum io_result result = pull_early(s, view);

		if (result != IO_AGAIN)
			return result;
	}
	return pull_socket(s, view);
}

static void consumed(struct stream *stream, size_t len)
{
	struct record_stream *s = from_stream(stream);

	pool_keep_rest(s->worker->pool, &s->plain, &s->view, len);
}

static enum io_result push(struct stream *stream, struct bytes data, size_t *taken)
{
	struct record_stream *s = from_stream(stream);
	uint8_t *scratch = pool_cipher_scratch(s->worker->pool);
	size_t len = MIN(data.len, (size_t)POOL_SEAL_SIZE);
	size_t sealed_len;
	enum io_result result;

	*taken = 0;
	if (s->failed || s->send_failed)
		return s->failed ? s->failure : IO_RESET;
	if (!stream->writable)
		return IO_OK;
	if (record_side_is_tired(&s->tx)) {
		result = send_key_update(s);
		if (result != IO_OK || !stream->writable)
			return result;
	}
	sealed_len = s->layer->seal_data(s, bytes_of(data.data, len), scratch);
	if (sealed_len == 0 && len > 0)
		return fail(s, IO_BROKEN);
	result = send_sealed(s, scratch, sealed_len, 0);
	if (result != IO_OK)
		return result;
	*taken = len;
	return IO_OK;
}

/* The alert and the FIN travel in one segment. */
static enum io_result shut(struct stream *stream)
{
	struct record_stream *s = from_stream(stream);
	uint8_t sealed[RECORD_CONTROL_MAX];
	size_t len;
	enum io_result result;

	if (s->failed || s->send_failed)
		return s->failed ? s->failure : IO_RESET;
	if (s->shut)
		return IO_OK;
	s->shut = true;
	len = s->layer->seal_alert(s, ALERT_CLOSE_NOTIFY, sealed);
	if (len == 0)
		return fail(s, IO_BROKEN);
	result = send_sealed(s, sealed, len, MSG_MORE);
	if (result != IO_OK)
		return result;
	if (s->out != NULL) {
		stream->flushing = true;
		return IO_OK;
	}
	if (stream->last)
		return IO_OK; /* close() sends the rest with the FIN */
	return shutdown(s->watch.fd, SHUT_WR) < 0 ? fail_sending(s) : IO_OK;
}

static void on_ready(struct watch *w, uint32_t events)
{
	struct record_stream *s = container_of(w, struct record_stream, watch);

	if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		s->hung_up = true;
	if (events & EPOLLERR)
		s->stream.aborted = true;
	if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		s->stream.readable = true;
	if ((events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) && !s->stream.writable) {
		s->stream.writable = true;
		flush(s);
	}
	if (s->stream.events != NULL)
		s->stream.events->ready(s->stream.events, &s->stream);
}

static void give_all(struct record_stream *s)
{
	struct pool_buf **bufs[] = { &s->in, &s->plain, &s->out };

	for (size_t i = 0; i < ARRAY_SIZE(bufs); i++) {
		if (*bufs[i] == NULL)
			continue;
		pool_give(s->worker->pool, *bufs[i]);
		*bufs[i] = NULL;
	}
}

static void close_stream(struct stream *stream, enum stream_close how)
{
	struct record_stream *s = from_stream(stream);

	stream->events = NULL;
	give_all(s);
	if (s->layer != NULL) {
		s->layer->release(s);
		s->layer = NULL;
	}
	if (s->watch.fd < 0)
		return;
	if (how == STREAM_ABORT && !(s->failed && s->failure == IO_BROKEN))
		sock_set_abort(s->watch.fd);
	else if (s->abrupt)
		sock_set_orderly(s->watch.fd);
	loop_close(s->worker->loop, &s->watch);
}

static const struct stream_ops record_ops = { pull, consumed, push, shut, close_stream };

void record_stream_init(struct record_stream *s, struct worker *w, int fd)
{
	*s = (struct record_stream){ .worker = w };
	s->stream.ops = &record_ops;
	s->watch.fd = fd;
}

static void open_stream(struct record_stream *s, const struct record_layer *layer, struct bytes early)
{
	s->layer = layer;
	s->watch.ready = on_ready;
	s->stream.readable = true;
	s->stream.writable = true;
	keep_partial(s, early);
	s->in_is_new = s->in != NULL;
}

void record_stream_open(struct record_stream *s, const struct record_side *rx, const struct record_side *tx,
			struct bytes early)
{
	s->rx = *rx;
	s->tx = *tx;
	open_stream(s, &record_layer_own, early);
}

void record_stream_open_libssl(struct record_stream *s, struct tls_handshake *tls, struct bytes early)
{
	s->libssl = tls;
	s->tx.suite = tls_records_suite(tls);
	open_stream(s, &record_layer_libssl, early);
}

void record_stream_cork(struct record_stream *s, struct bytes handshake)
{
	s->out = pool_take(s->worker->pool, POOL_BUF_SIZE);
	memcpy(s->out->data, handshake.data, handshake.len);
	s->out->end = handshake.len;
	s->corked = true;
}

/* A server that wants our certificate says so when our handshake is already over (rats-tls.md 8). */
bool record_stream_alert(const struct record_stream *s, struct err *why)
{
	if (s->peer_alert == 0)
		return false;
	if (s->peer_alert == ALERT_CERTIFICATE_REQUIRED)
		err_set(why, ERR_PEER,
			"the peer verifies and we present nothing: add \"attest\" to this entry, or remove "
			"\"verify\" from the peer's");
	else
		err_set(why, ERR_PEER, "the peer sent TLS alert %u", s->peer_alert);
	return true;
}
