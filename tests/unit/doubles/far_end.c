/* SPDX-License-Identifier: Apache-2.0 */
/*
 * far_end - connections, which are secured and become sessions, and their streams.
 *
 * A connection goes when its session has ended; its streams go with it. An echo is pushed from a task: while bytes of a
 * session are being looked at, nothing can be said in it.
 */
#include "far_end.h"

#include "attest/identity.h"
#include "io/sock.h"
#include "io/worker.h"
#include "run.h"
#include "tunnel/rats_tls/mux.h"
#include "tunnel/rats_tls/record_stream.h"
#include "tunnel/rats_tls/secure.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEADLINE_MS 10000

struct conn {
	struct list link;
	struct far_end *far;
	struct record_stream tls;
	struct secure *secure; /* NULL: not heard yet, or secured */
	struct secure_events secure_events;
	struct mux_session *mux;
	struct mux_session_events mux_events;
	struct list echoes;
	struct task reap;
};

struct echo {
	struct list link;
	struct conn *conn;
	struct mux_stream *mux;
	struct stream_events events;
	struct buf said;
	struct task push;
	bool held;
	bool over; /* nothing more will be said */
};

static void must(int rc)
{
	if (rc < 0)
		abort();
}

/* ---- streams ---- */

static void echo_free(struct echo *e)
{
	list_remove(&e->link);
	task_cancel(&e->push);
	buf_release(&e->said);
	free(e);
}

static void echo_close(struct echo *e, enum stream_close how)
{
	struct stream *s = mux_stream_stream(e->mux);

	s->ops->close(s, how);
	echo_free(e);
}

static void on_push(struct task *t)
{
	struct echo *e = container_of(t, struct echo, push);
	struct stream *s = mux_stream_stream(e->mux);
	size_t taken = 0;

	if (e->said.len > 0 && (s->ops->push(s, buf_bytes(&e->said), &taken) != IO_OK || taken < e->said.len))
		return; /* more than a test says at once, or a stream that has ended */
	buf_clear(&e->said);
	if (e->over)
		s->ops->shutdown(s);
}

static void on_ready(struct stream_events *self, struct stream *s)
{
	struct echo *e = container_of(self, struct echo, events);
	enum io_result result = IO_AGAIN;
	struct bytes view;

	while (!e->held && s->readable) {
		result = s->ops->pull(s, &view);
		if (result != IO_OK)
			break;
		buf_append_bytes(&e->said, view);
		s->ops->consumed(s, view.len);
	}
	if (result == IO_RESET || result == IO_BROKEN) {
		echo_close(e, STREAM_ABORT);
		return;
	}
	e->over = e->over || result == IO_END;
	task_schedule(e->conn->far->worker->loop, &e->push);
}

static void echo_accept(struct echo *e)
{
	e->held = false;
	mux_stream_accept(e->mux);
	on_ready(&e->events, mux_stream_stream(e->mux));
}

/* ---- connections ---- */

static void close_streams(struct conn *c)
{
	LIST_EACH (link, &c->echoes)
		echo_close(container_of(link, struct echo, link), STREAM_ABORT);
}

static void conn_free(struct conn *c)
{
	close_streams(c);
	list_remove(&c->link);
	c->far->open--;
	task_cancel(&c->reap);
	secure_cancel(c->secure);
	if (c->mux != NULL)
		mux_session_free(c->mux);
	else
		c->tls.stream.ops->close(&c->tls.stream, STREAM_FINISHED);
	free(c);
}

static void on_reap(struct task *t)
{
	conn_free(container_of(t, struct conn, reap));
}

static void on_requested(struct mux_session_events *self, struct mux_stream *s)
{
	struct conn *c = container_of(self, struct conn, mux_events);
	struct far_end *f = c->far;
	struct echo *echo;

	f->requests++;
	if (f->mode == FAR_END_DECLINE) {
		mux_stream_refuse(s, f->status);
		return;
	}
	echo = mem_new_of(struct echo);
	echo->conn = c;
	echo->mux = s;
	echo->held = true;
	echo->events.ready = on_ready;
	mux_stream_stream(s)->events = &echo->events;
	task_init(&echo->push, on_push);
	list_init(&echo->link);
	list_append(&c->echoes, &echo->link);
	if (f->mode == FAR_END_ACCEPT)
		echo_accept(echo);
	else if (f->mode == FAR_END_HANG_UP)
		task_schedule(f->worker->loop, &c->reap);
}

static void on_withdrawn(struct mux_session_events *self, struct mux_stream *s)
{
	container_of(self, struct conn, mux_events)->far->withdrawn++;
	echo_free(container_of(mux_stream_stream(s)->events, struct echo, events));
}

static void on_changed(struct mux_session_events *self)
{
	(void)self; /* of clients only */
}

static void on_ended(struct mux_session_events *self, enum reason reason, const struct err *why)
{
	struct conn *c = container_of(self, struct conn, mux_events);

	(void)reason;
	(void)why;
	close_streams(c);
	task_schedule(c->far->worker->loop, &c->reap);
}

static void on_secured(struct secure_events *self, const struct secured *result)
{
	struct conn *c = container_of(self, struct conn, secure_events);
	struct far_end *f = c->far;
	struct mux_session_options options = { .role = MUX_SERVER, .max_streams = f->max_streams };
	struct err why;

	c->secure = NULL;
	if (result->alpn != TLS_ALPN_H2) {
		task_schedule(f->worker->loop, &c->reap);
		return;
	}
	c->mux = mux_session_new(f->worker, &c->tls.stream, &options, &c->mux_events, &why);
	if (c->mux == NULL)
		abort();
	f->sessions++;
	if (f->drains)
		mux_session_drain(c->mux);
}

static void on_secure_failed(struct secure_events *self, enum reason reason, const struct err *why)
{
	struct conn *c = container_of(self, struct conn, secure_events);

	(void)reason;
	(void)why;
	c->secure = NULL;
	conn_free(c);
}

static void hear(struct conn *c)
{
	c->secure = secure_start(&c->far->side, &c->tls, NULL, &c->secure_events);
}

static void conn_new(struct far_end *f, int fd)
{
	struct conn *c = mem_new_of(struct conn);

	c->far = f;
	c->secure_events.secured = on_secured;
	c->secure_events.failed = on_secure_failed;
	c->mux_events.requested = on_requested;
	c->mux_events.withdrawn = on_withdrawn;
	c->mux_events.changed = on_changed;
	c->mux_events.ended = on_ended;
	record_stream_init(&c->tls, f->worker, fd);
	list_init(&c->echoes);
	task_init(&c->reap, on_reap);
	list_init(&c->link);
	list_append(&f->conns, &c->link);
	f->connections++;
	f->open++;
	if (!f->deaf)
		hear(c);
}

static void on_connection(struct watch *w, uint32_t events)
{
	struct far_end *f = container_of(w, struct far_end, listener);
	socklen_t len = sizeof(f->last_client);
	int fd = accept4(w->fd, &f->last_client.any, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

	(void)events;
	if (fd >= 0)
		conn_new(f, fd);
}

/* ---- for the test ---- */

void far_end_init(struct far_end *f, struct worker *w, struct identity *id)
{
	*f = (struct far_end){ .worker = w, .status = 502, .max_streams = 100 };
	f->side = (struct secure_side){
		.worker = w,
		.role = TLS_SERVER,
		.name = "add_egress[0]",
		.alpn = TLS_ALPN_RAW | TLS_ALPN_H2,
		.dummy = id,
		.first_byte_ms = DEADLINE_MS,
		.handshake_ms = DEADLINE_MS,
		.verify_ms = DEADLINE_MS,
		.certificate_size = 1 << 20,
	};
	f->endpoint = endpoint_of("127.0.0.1", 0);
	f->listener.fd = -1;
	f->listener.ready = on_connection;
	list_init(&f->conns);
}

void far_end_listen(struct far_end *f)
{
	static const struct sock_options options;
	static const struct sock_listen_options how;
	socklen_t len = sizeof(f->endpoint.addr);
	struct err why;

	f->listener.fd = sock_listen(&f->endpoint.addr, &options, &how, &why);
	must(f->listener.fd);
	must(getsockname(f->listener.fd, &f->endpoint.addr.any, &len));
	must(loop_watch(f->worker->loop, &f->listener, EPOLLIN, &why));
}

void far_end_start(struct far_end *f)
{
	struct err why;

	must(secure_side_init(&f->side, &why));
	far_end_listen(f);
}

void far_end_close(struct far_end *f)
{
	if (f->listener.fd >= 0)
		loop_close(f->worker->loop, &f->listener);
}

void far_end_stop(struct far_end *f)
{
	far_end_close(f);
	far_end_hang_up(f);
	secure_side_release(&f->side);
}

static bool is_heard(const struct conn *c)
{
	return c->secure != NULL || c->mux != NULL;
}

void far_end_hear(struct far_end *f)
{
	f->deaf = false;
	LIST_EACH (link, &f->conns) {
		struct conn *c = container_of(link, struct conn, link);

		if (!is_heard(c))
			hear(c);
	}
}

void far_end_release(struct far_end *f)
{
	LIST_EACH (link, &f->conns) {
		LIST_EACH (at, &container_of(link, struct conn, link)->echoes) {
			struct echo *echo = container_of(at, struct echo, link);

			if (echo->held)
				echo_accept(echo);
		}
	}
}

void far_end_drain(struct far_end *f)
{
	LIST_EACH (link, &f->conns) {
		struct conn *c = container_of(link, struct conn, link);

		if (c->mux != NULL)
			mux_session_drain(c->mux);
	}
}

void far_end_hang_up(struct far_end *f)
{
	LIST_EACH (link, &f->conns)
		conn_free(container_of(link, struct conn, link));
}

void far_end_hang_up_unheard(struct far_end *f)
{
	LIST_EACH (link, &f->conns) {
		struct conn *c = container_of(link, struct conn, link);

		if (is_heard(c))
			continue;
		conn_free(c);
		return;
	}
}

/* ---- the other end of a stream ---- */

static void on_probe_ready(struct stream_events *self, struct stream *s)
{
	struct probe *p = container_of(self, struct probe, events);
	struct bytes view;

	while (!p->ended && s->readable) {
		enum io_result result = s->ops->pull(s, &view);

		if (result == IO_AGAIN)
			return;
		p->ended = result != IO_OK;
		p->end = p->ended ? result : IO_AGAIN;
		if (p->ended)
			return;
		buf_append_bytes(&p->got, view);
		s->ops->consumed(s, view.len);
	}
}

void probe_attach(struct probe *p, struct mux_stream *s)
{
	*p = (struct probe){ .stream = mux_stream_stream(s), .end = IO_AGAIN };
	p->events.ready = on_probe_ready;
	p->stream->events = &p->events;
}

void probe_close(struct probe *p, enum stream_close how)
{
	if (p->stream != NULL)
		p->stream->ops->close(p->stream, how);
	p->stream = NULL;
	buf_release(&p->got);
}

bool probe_echoes(struct probe *p, struct loop *l)
{
	static const char word[] = "what is said comes back";
	size_t taken = 0;

	buf_clear(&p->got);
	if (p->stream->ops->push(p->stream, bytes_str(word), &taken) != IO_OK || taken < strlen(word))
		return false;
	for (unsigned i = 0; i < DEADLINE_MS && !p->ended && p->got.len < strlen(word); i++)
		run_for(l, 1);
	return p->got.len == strlen(word) && memcmp(p->got.data, word, p->got.len) == 0;
}
