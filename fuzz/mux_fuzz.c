/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mux_fuzz - a session that is fed with anything, behind its peer's preface.
 *
 * The first byte chooses the role and how owners behave, the second how much arrives at once.
 */
#include <stdlib.h>
#include <string.h>

#include "io/loop.h"
#include "io/pool.h"
#include "io/worker.h"
#include "tunnel/rats_tls/mux.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { BE_CLIENT = 1, REFUSE = 2, WAIT = 4, STALL = 8, CLOSE = 16, ECHO = 32, TIGHT = 64, POOL_FULL = 128 };

#define STREAMS 64

struct owner {
	struct stream_events events;
	struct mux_connect_events connect;
	struct mux_stream *m;
};

struct world {
	struct worker worker;
	struct task stop;
	struct stream transport;
	struct bytes in;
	size_t view;
	size_t most;
	unsigned flags;
	struct mux_session *session;
	struct owner owners[STREAMS];
	unsigned count;
	bool ended;
};

static struct world *world;

static enum io_result pull(struct stream *s, struct bytes *view)
{
	if (world->view == 0) {
		world->view = world->in.len < world->most ? world->in.len : world->most;
		memcpy(pool_plain_scratch(world->worker.pool), world->in.data, world->view);
	}
	*view = bytes_of(pool_plain_scratch(world->worker.pool), world->view);
	(void)s;
	return world->view > 0 ? IO_OK : IO_END;
}

static void consumed(struct stream *s, size_t len)
{
	(void)s;
	memset(pool_plain_scratch(world->worker.pool), 0xEE, world->view);
	world->view = 0;
	world->in = bytes_of(world->in.data + len, world->in.len - len);
}

static enum io_result push(struct stream *s, struct bytes data, size_t *taken)
{
	if (world->view > 0)
		abort();
	*taken = world->flags & TIGHT ? data.len / 2 : data.len;
	s->writable = *taken == data.len;
	return IO_OK;
}

static enum io_result shut(struct stream *s)
{
	(void)s;
	return IO_OK;
}

static void close_transport(struct stream *s, enum stream_close how)
{
	(void)how;
	s->events = NULL;
}

static void forget(struct mux_stream *m)
{
	for (unsigned i = 0; i < STREAMS; i++) {
		if (world->owners[i].m == m)
			world->owners[i].m = NULL;
	}
}

static void on_ready(struct stream_events *self, struct stream *s)
{
	struct owner *o = container_of(self, struct owner, events);
	struct bytes view;

	if (world->flags & STALL)
		return;
	while (s->readable && s->ops->pull(s, &view) == IO_OK) {
		volatile uint8_t sum = 0;

		for (size_t i = 0; i < view.len; i++)
			sum = (uint8_t)(sum + view.data[i]);
		s->ops->consumed(s, (view.len + 1) / 2);
	}
	if (world->flags & CLOSE) {
		s->ops->close(s, STREAM_ABORT);
		o->m = NULL;
		return;
	}
	if ((world->flags & ECHO) && s->writable) {
		static const uint8_t zeros[1000];
		size_t taken;

		s->ops->push(s, bytes_of(zeros, sizeof(zeros)), &taken);
		s->ops->shutdown(s);
	}
}

static void on_requested(struct mux_session_events *self, struct mux_stream *m)
{
	struct owner *o = &world->owners[world->count % STREAMS];

	(void)self;
	if ((world->flags & REFUSE) || o->m != NULL) {
		mux_stream_refuse(m, 502);
		return;
	}
	world->count++;
	o->m = m;
	o->events.ready = on_ready;
	mux_stream_stream(m)->events = &o->events;
	if (!(world->flags & WAIT))
		mux_stream_accept(m);
}

static void on_withdrawn(struct mux_session_events *self, struct mux_stream *m)
{
	(void)self;
	forget(m);
}

static void on_changed(struct mux_session_events *self)
{
	(void)self;
}

static void on_ended(struct mux_session_events *self, enum reason reason, const struct err *why)
{
	(void)self;
	(void)reason;
	(void)why;
	world->ended = true;
}

static void on_answered(struct mux_connect_events *self, int status)
{
	struct owner *o = container_of(self, struct owner, connect);

	if (status == 200)
		mux_stream_stream(o->m)->events = &o->events;
}

static void on_failed(struct mux_connect_events *self, enum reason reason, const struct err *why)
{
	struct owner *o = container_of(self, struct owner, connect);

	(void)reason;
	(void)why;
	mux_stream_stream(o->m)->ops->close(mux_stream_stream(o->m), STREAM_ABORT);
	o->m = NULL;
}

static void stop_loop(struct task *t)
{
	(void)t;
	loop_stop(world->worker.loop);
}

static void rounds(unsigned count)
{
	while (count-- > 0) {
		task_schedule(world->worker.loop, &world->stop);
		loop_run(world->worker.loop);
		if (world->transport.events != NULL && !world->transport.writable) {
			world->transport.writable = true;
			world->transport.events->ready(world->transport.events, &world->transport);
		}
	}
}

static void connect_some(void)
{
	for (unsigned i = 0; i < 3; i++) {
		struct owner *o = &world->owners[world->count++];

		o->events.ready = on_ready;
		o->connect = (struct mux_connect_events){ on_answered, on_failed };
		o->m = mux_session_connect(world->session, &o->connect);
	}
}

static void run(struct world *w)
{
	struct mux_session_events events = { on_requested, on_withdrawn, on_changed, on_ended };
	struct mux_session_options options = { .role = w->flags & BE_CLIENT ? MUX_CLIENT : MUX_SERVER,
					       .max_streams = 10 };
	struct err e;

	w->session = mux_session_new(&w->worker, &w->transport, &options, &events, &e);
	if (w->session == NULL)
		abort();
	if (w->flags & BE_CLIENT)
		connect_some();
	for (unsigned i = 0; i < 100 && !w->ended; i++)
		rounds(1);
	w->flags &= ~(unsigned)STALL;
	for (unsigned i = 0; i < STREAMS; i++) {
		if (w->owners[i].m != NULL && i % 2 == 0)
			mux_stream_stream(w->owners[i].m)
				->ops->close(mux_stream_stream(w->owners[i].m), STREAM_FINISHED);
		if (i % 2 == 0)
			w->owners[i].m = NULL;
	}
	rounds(2);
	mux_session_free(w->session);
	for (unsigned i = 0; i < STREAMS; i++) {
		if (w->owners[i].m != NULL)
			mux_stream_stream(w->owners[i].m)->ops->close(mux_stream_stream(w->owners[i].m), STREAM_ABORT);
		w->owners[i].m = NULL;
	}
	rounds(2);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0";
	static const struct stream_ops ops = { pull, consumed, push, shut, close_transport };
	size_t skip = 24;
	size_t head = sizeof(preface) - 1;
	struct pool_budget budget = { 0 };
	struct world w = { 0 };
	uint8_t *in;
	struct err e;

	if (size < 2)
		return 0;
	w.flags = data[0];
	w.most = data[1] == 0 ? 65536 : data[1];
	if (w.flags & BE_CLIENT)
		head -= skip;
	else
		skip = 0;
	in = malloc(head + size);
	memcpy(in, preface + skip, head);
	memcpy(in + head, data + 2, size - 2);
	w.in = bytes_of(in, head + size - 2);
	world = &w;
	budget.limit = w.flags & POOL_FULL ? 0 : 64 * 1024 * 1024;
	w.worker.loop = loop_new(&e);
	w.worker.pool = pool_new(&budget);
	w.transport = (struct stream){ .ops = &ops, .readable = true, .writable = true };
	task_init(&w.stop, stop_loop);
	run(&w);
	if (budget.used != 0)
		abort();
	pool_free(w.worker.pool);
	loop_free(w.worker.loop);
	free(in);
	return 0;
}
