/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sock_stream - reads into the worker's scratch, keeps only what the reader left.
 *
 * Edge triggering gives one event for each change, so the flags remember: readable stays set until a read
 * came up short or found nothing. A short read means that the socket is drained, which saves the read that
 * would only say so; not when a hang-up was seen, which gives no second event.
 */
#include "io/sock_stream.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "io/pool.h"
#include "io/sock.h"
#include "io/worker.h"

static struct sock_stream *from_stream(struct stream *s)
{
	return container_of(s, struct sock_stream, stream);
}

static void on_ready(struct watch *w, uint32_t events)
{
	struct sock_stream *s = container_of(w, struct sock_stream, watch);

	if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		s->hung_up = true;
	if (events & EPOLLERR)
		s->stream.aborted = true;
	if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		s->stream.readable = true;
	if (events & (EPOLLOUT | EPOLLERR | EPOLLHUP))
		s->stream.writable = true;
	if (s->stream.events != NULL)
		s->stream.events->ready(s->stream.events, &s->stream);
}

static enum io_result pull(struct stream *stream, struct bytes *view)
{
	struct sock_stream *s = from_stream(stream);
	uint8_t *scratch = pool_plain_scratch(s->worker->pool);
	size_t size;
	ssize_t n;

	if (s->left != NULL) {
		*view = bytes_of(s->left->data + s->left->start, s->left->end - s->left->start);
		return IO_OK;
	}
	if (s->view.len > 0) {
		*view = s->view;
		return IO_OK;
	}
	if (!stream->readable)
		return IO_AGAIN;
	if (s->vet != NULL) {
		enum io_result result = s->vet(s);

		if (result != IO_OK)
			return result;
		s->vet = NULL;
	}
	size = pool_read_size(s->worker->pool, POOL_READ_SIZE, POOL_PIECE_SIZE);
	do {
		n = recv(s->watch.fd, scratch, size, 0);
	} while (n < 0 && errno == EINTR);
	if (n < 0 && errno == EAGAIN) {
		stream->readable = false;
		return IO_AGAIN;
	}
	if (n < 0)
		return IO_RESET;
	if (n == 0)
		return stream->aborted ? IO_RESET : IO_END;
	if ((size_t)n < size && !s->hung_up)
		stream->readable = false;
	s->view = *view = bytes_of(scratch, (size_t)n);
	return IO_OK;
}

static void consumed(struct stream *stream, size_t len)
{
	struct sock_stream *s = from_stream(stream);

	pool_keep_rest(s->worker->pool, &s->left, &s->view, len);
}

/* The kernel tells an error once; a read that comes later would see a clean end. */
static enum io_result note_abort(struct stream *stream)
{
	stream->aborted = true;
	return IO_RESET;
}

static enum io_result wait_for_room(struct sock_stream *s)
{
	s->stream.writable = false;
	return loop_watch_output(s->worker->loop, &s->watch) < 0 ? note_abort(&s->stream) : IO_OK;
}

static enum io_result push(struct stream *stream, struct bytes data, size_t *taken)
{
	struct sock_stream *s = from_stream(stream);
	ssize_t n;

	*taken = 0;
	if (!stream->writable)
		return IO_OK;
	do {
		n = send(s->watch.fd, data.data, data.len, MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	if (n < 0 && errno == EAGAIN)
		return wait_for_room(s);
	if (n < 0)
		return note_abort(stream);
	*taken = (size_t)n;
	return *taken < data.len ? wait_for_room(s) : IO_OK;
}

static enum io_result shut(struct stream *stream)
{
	struct sock_stream *s = from_stream(stream);

	if (stream->last)
		return IO_OK; /* close() sends the FIN */
	return shutdown(s->watch.fd, SHUT_WR) < 0 ? note_abort(stream) : IO_OK;
}

static void close_stream(struct stream *stream, enum stream_close how)
{
	sock_stream_close(from_stream(stream), how);
}

static const struct stream_ops sock_ops = { pull, consumed, push, shut, close_stream };

void sock_stream_init(struct sock_stream *s, struct worker *w, int fd)
{
	*s = (struct sock_stream){ .worker = w };
	s->stream.ops = &sock_ops;
	s->watch.fd = fd;
	s->watch.ready = on_ready;
}

int sock_stream_start(struct sock_stream *s, struct err *e)
{
	s->stream.readable = true;
	s->stream.writable = true;
	return loop_watch(s->worker->loop, &s->watch, WATCH_STREAM, e);
}

void sock_stream_close(struct sock_stream *s, enum stream_close how)
{
	if (s->left != NULL) {
		pool_give(s->worker->pool, s->left);
		s->left = NULL;
	}
	s->stream.events = NULL;
	if (s->watch.fd < 0)
		return;
	if (how == STREAM_ABORT)
		sock_set_abort(s->watch.fd);
	else if (s->abrupt)
		sock_set_orderly(s->watch.fd);
	loop_close(s->worker->loop, &s->watch);
}
