/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mux_test - a client and a server session back to back, and each of them against bytes made by
 * hand.
 *
 * Applications at the ends of the streams send and check a pattern that depends on stream,
 * direction and offset.
 */
#include "mem_stream.h"

#include "io/worker.h"
#include "tunnel/rats_tls/mux.h"
#include "tunnel/rats_tls/mux_internal.h"

/* The world: one loop, one pool, two ends of a transport, up to two sessions. */

struct world {
	struct worker worker;
	struct pool_budget budget;
	struct mem_end near; /* the client's */
	struct mem_end far;  /* the server's */
	struct task stop;
	unsigned seed;
};

static void stop_loop(struct task *t)
{
	loop_stop(container_of(t, struct world, stop)->worker.loop);
}

static void world_init(struct world *w)
{
	struct err e;

	memset(w, 0, sizeof(*w));
	w->budget.limit = 64 * 1024 * 1024;
	w->worker.loop = loop_new(&e);
	assert_non_null(w->worker.loop);
	w->worker.pool = pool_new(&w->budget);
	task_init(&w->stop, stop_loop);
	mem_pair(&w->near, &w->far, w->worker.loop, w->worker.pool);
}

static void world_release(struct world *w)
{
	mem_release(&w->near);
	mem_release(&w->far);
	assert_int_equal(w->budget.used, 0);
	pool_free(w->worker.pool);
	loop_free(w->worker.loop);
}

static void one_round(struct world *w)
{
	task_schedule(w->worker.loop, &w->stop);
	loop_run(w->worker.loop);
}

static void rounds(struct world *w, unsigned count)
{
	while (count-- > 0)
		one_round(w);
}

/* An application at one end of a stream. */

struct app {
	struct stream_events events;
	struct world *world;
	struct stream *s;
	struct task again;
	uint32_t key;  /* of what it sends */
	uint32_t peer; /* key of what it expects */
	uint64_t send;
	uint64_t sent;
	uint64_t got;
	size_t most_take; /* in one consumed(); 0: all */
	unsigned *seed;
	bool stalled;
	bool keep_open; /* does not shut down after its last byte */
	bool shut;
	bool ended;
	bool close_when_ready;
	enum io_result read_end; /* IO_AGAIN: not yet */
	enum io_result write_end;
	unsigned ready_count;
	unsigned view_count;
};

static uint8_t pattern(uint32_t key, uint64_t at)
{
	return (uint8_t)((at * 131 + at / 251 + key * 17) >> (key % 3));
}

static void app_read(struct app *a)
{
	while (!a->stalled && a->read_end == IO_AGAIN && a->s->readable) {
		struct bytes view;
		enum io_result r = a->s->ops->pull(a->s, &view);
		size_t take;

		if (r == IO_AGAIN)
			return;
		if (r != IO_OK) {
			a->read_end = r;
			return;
		}
		assert_true(view.len > 0);
		a->view_count++;
		take = view.len;
		if (a->most_take > 0) {
			size_t most = (size_t)rand_r(a->seed) % (a->most_take + 1);

			take = MIN(take, most);
		}
		for (size_t i = 0; i < take; i++) {
			if (view.data[i] != pattern(a->peer, a->got + i))
				fail_msg("byte %zu of key %u is wrong", (size_t)a->got + i, a->peer);
		}
		a->s->ops->consumed(a->s, take);
		a->got += take;
		if (take < view.len) {
			task_schedule(a->world->worker.loop, &a->again);
			return;
		}
	}
}

static void app_write(struct app *a)
{
	uint8_t data[70000];

	while (a->write_end == IO_OK && a->s->writable && a->sent < a->send) {
		size_t len = MIN(a->send - a->sent, sizeof(data));
		size_t taken;

		if (a->seed != NULL)
			len = (size_t)rand_r(a->seed) % len + 1;
		for (size_t i = 0; i < len; i++)
			data[i] = pattern(a->key, a->sent + i);
		a->write_end = a->s->ops->push(a->s, bytes_of(data, len), &taken);
		assert_true(taken == len || !a->s->writable || a->write_end != IO_OK);
		a->sent += taken;
	}
	if (a->write_end == IO_OK && a->sent == a->send && !a->shut && !a->keep_open) {
		a->shut = true;
		a->write_end = a->s->ops->shutdown(a->s);
	}
}

static void app_run(struct app *a)
{
	if (a->s == NULL)
		return;
	app_read(a);
	app_write(a);
}

static void app_ready(struct stream_events *self, struct stream *s)
{
	struct app *a = container_of(self, struct app, events);

	assert_ptr_equal(a->s, s);
	/* Whoever turned to the other direction now would overwrite the bytes that are shown. */
	assert_false(container_of(s, struct mux_stream, stream)->session->viewing && s->writable);
	a->ready_count++;
	if (a->close_when_ready) {
		a->s->ops->close(a->s, STREAM_ABORT);
		a->s = NULL;
		return;
	}
	app_run(a);
}

static void app_again(struct task *t)
{
	app_run(container_of(t, struct app, again));
}

static void app_init(struct app *a, struct world *w, uint32_t key, uint32_t peer)
{
	*a = (struct app){ .world = w, .key = key, .peer = peer, .read_end = IO_AGAIN, .write_end = IO_OK };
	a->events.ready = app_ready;
	task_init(&a->again, app_again);
}

static void app_start(struct app *a, struct stream *s)
{
	a->s = s;
	s->events = &a->events;
	task_schedule(a->world->worker.loop, &a->again);
}

static void app_close(struct app *a, enum stream_close how)
{
	task_cancel(&a->again);
	if (a->s != NULL)
		a->s->ops->close(a->s, how);
	a->s = NULL;
}

/* One side's session and what it has told. */

#define MOST 10000

struct side {
	struct world *world;
	struct mux_session *session;
	struct mux_session_events events;
	bool refuse;
	bool wait; /* do not answer */
	bool free_on_end;
	unsigned requested;
	unsigned withdrawn;
	unsigned changed;
	unsigned ended;
	enum reason reason;
	struct err why;
	struct mux_stream **streams;
	struct app *apps;
	unsigned count;
	void (*prepare)(struct side *side, struct app *a);
};

struct call {
	struct mux_connect_events events;
	struct side *side;
	struct mux_stream *stream;
	struct app *app;
	unsigned answered;
	int status;
	unsigned failed;
	enum reason reason;
};

static void on_requested(struct mux_session_events *self, struct mux_stream *m)
{
	struct side *side = container_of(self, struct side, events);
	struct app *a;

	side->requested++;
	if (side->refuse) {
		mux_stream_refuse(m, 502);
		return;
	}
	assert_true(side->count < MOST);
	side->streams[side->count] = m;
	a = &side->apps[side->count];
	app_init(a, side->world, 2 * side->count + 1, 2 * side->count);
	side->count++;
	if (side->wait)
		return;
	mux_stream_accept(m);
	if (side->prepare != NULL)
		side->prepare(side, a);
	app_start(a, mux_stream_stream(m));
}

static void on_withdrawn(struct mux_session_events *self, struct mux_stream *m)
{
	struct side *side = container_of(self, struct side, events);

	side->withdrawn++;
	for (unsigned i = 0; i < side->count; i++) {
		if (side->streams[i] == m)
			side->streams[i] = NULL;
	}
}

static void on_changed(struct mux_session_events *self)
{
	container_of(self, struct side, events)->changed++;
}

static void on_ended(struct mux_session_events *self, enum reason reason, const struct err *why)
{
	struct side *side = container_of(self, struct side, events);

	side->ended++;
	side->reason = reason;
	side->why = *why;
	if (side->free_on_end) {
		mux_session_free(side->session);
		side->session = NULL;
	}
}

static void side_start(struct side *side, struct world *w, enum mux_role role, unsigned max_streams)
{
	struct mux_session_options options = { .role = role, .max_streams = max_streams };
	struct err e;

	memset(side, 0, sizeof(*side));
	side->world = w;
	side->events = (struct mux_session_events){ on_requested, on_withdrawn, on_changed, on_ended };
	side->apps = mem_new_array(MOST, sizeof(struct app));
	side->streams = mem_new_array(MOST, sizeof(struct mux_stream *));
	side->session = mux_session_new(&w->worker, role == MUX_CLIENT ? &w->near.stream : &w->far.stream, &options,
					&side->events, &e);
	assert_non_null(side->session);
}

static void side_stop(struct side *side)
{
	for (unsigned i = 0; i < side->count; i++)
		app_close(&side->apps[i], STREAM_ABORT);
	mux_session_free(side->session);
	side->session = NULL;
	free(side->apps);
	free(side->streams);
}

static void on_answered(struct mux_connect_events *self, int status)
{
	struct call *c = container_of(self, struct call, events);

	c->answered++;
	c->status = status;
	if (status == 200 && c->app != NULL)
		app_start(c->app, mux_stream_stream(c->stream));
}

static void on_failed(struct mux_connect_events *self, enum reason reason, const struct err *why)
{
	struct call *c = container_of(self, struct call, events);

	(void)why;
	c->failed++;
	c->reason = reason;
}

/* CONNECT from a client session; its application starts with the answer. */
static void call_start(struct call *c, struct side *side)
{
	struct app *a = &side->apps[side->count];

	memset(c, 0, sizeof(*c));
	c->side = side;
	c->events = (struct mux_connect_events){ on_answered, on_failed };
	app_init(a, side->world, 2 * side->count, 2 * side->count + 1);
	c->app = a;
	side->count++;
	c->stream = mux_session_connect(side->session, &c->events);
}

static void call_close(struct call *c)
{
	struct stream *s = mux_stream_stream(c->stream);

	task_cancel(&c->app->again);
	s->ops->close(s, STREAM_ABORT);
	c->app->s = NULL;
}

struct pair {
	struct world world;
	struct side client;
	struct side server;
};

static void pair_start(struct pair *p, unsigned max_streams)
{
	world_init(&p->world);
	side_start(&p->client, &p->world, MUX_CLIENT, 0);
	side_start(&p->server, &p->world, MUX_SERVER, max_streams);
}

static void pair_stop(struct pair *p)
{
	side_stop(&p->client);
	side_stop(&p->server);
	rounds(&p->world, 3);
	world_release(&p->world);
}

/* Bytes made by hand. */

/* As upstream sends it, with Huffman codes, and as ours does: "CONNECT" does not get shorter by
 * them. */
static const uint8_t own_connect_bytes[] = { 0x00, 0x00, 0x14, 0x01, 0x04, 0x00, 0x00, 0x00, 0x01, 0x42,
					     0x07, 'C',	 'O',  'N',  'N',  'E',	 'C',  'T',  0x41, 0x89,
					     0x4d, 0x53, 0x2e, 0x6a, 0x92, 0x5b, 0x2a, 0x1d, 0x1f };
static const uint8_t connect_bytes[] = { 0x00, 0x00, 0x14, 0x01, 0x04, 0x00, 0x00, 0x00, 0x01, 0x42,
					 0x87, 0xbd, 0xab, 0x4e, 0x9c, 0x17, 0xb7, 0xff, 0x41, 0x89,
					 0x4d, 0x53, 0x2e, 0x6a, 0x92, 0x5b, 0x2a, 0x1d, 0x1f };
static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

enum { DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE };

static void frame(struct buf *b, unsigned type, unsigned flags, uint32_t id, const void *payload, size_t len)
{
	uint8_t *to = buf_reserve(b, 9);
	struct writer w = writer_of(to, 9);

	writer_u24(&w, (uint32_t)len);
	writer_u8(&w, (uint8_t)type);
	writer_u8(&w, (uint8_t)flags);
	writer_u32(&w, id);
	b->len += 9;
	buf_append(b, payload, len);
}

static void frame_u32(struct buf *b, unsigned type, uint32_t id, uint32_t value)
{
	uint8_t payload[4];
	struct writer w = writer_of(payload, 4);

	writer_u32(&w, value);
	frame(b, type, 0, id, payload, 4);
}

/* HPACK without tables and Huffman: name, value, name, value, NULL. */
static void headers(struct buf *b, unsigned flags, uint32_t id, const char *const *list)
{
	struct buf block = { 0 };

	for (; *list != NULL; list += 2) {
		uint8_t zero = 0;

		buf_append(&block, &zero, 1);
		for (int i = 0; i < 2; i++) {
			size_t len = strlen(list[i]);
			uint8_t head[4] = { 127, (uint8_t)(0x80 | ((len - 127) & 0x7f)),
					    (uint8_t)(0x80 | (((len - 127) >> 7) & 0x7f)),
					    (uint8_t)((len - 127) >> 14) };

			if (len < 127) {
				head[0] = (uint8_t)len;
				buf_append(&block, head, 1);
			} else {
				buf_append(&block, head, 4);
			}
			buf_append(&block, list[i], len);
		}
	}
	frame(b, HEADERS, flags | 4, id, block.data, block.len);
	buf_release(&block);
}

static const char *const connect_head[] = { ":method", "CONNECT", ":authority", "tng.internal", NULL };

/* A peer that is played by the test: what it says goes in at one end of the transport. */
static void say(struct world *w, struct mem_end *self, struct buf *b)
{
	buf_append(&self->other->in, b->data, b->len);
	self->other->stream.readable = true;
	task_schedule(w->worker.loop, &self->other->wake);
	b->len = 0;
	rounds(w, 4);
}

struct heard {
	unsigned type;
	unsigned flags;
	uint32_t id;
	struct bytes payload;
};

/* The next frame that has arrived at self; false when there is no whole one. */
static bool hear(struct mem_end *self, struct heard *h)
{
	struct reader r = reader_of(bytes_of(self->in.data + self->in_at, mem_pending(self)));
	size_t len = reader_u24(&r);

	h->type = reader_u8(&r);
	h->flags = reader_u8(&r);
	h->id = reader_u32(&r);
	h->payload = reader_bytes(&r, len);
	if (r.failed)
		return false;
	self->in_at += 9 + len;
	return true;
}

/* The next frame of this type, skipping others. */
static bool hear_type(struct mem_end *self, unsigned type, struct heard *h)
{
	while (hear(self, h)) {
		if (h->type == type)
			return true;
	}
	return false;
}

static uint32_t first_u32(const struct heard *h)
{
	struct reader r = reader_of(h->payload);

	return reader_u32(&r);
}

/* A client by hand in front of a server session: preface and SETTINGS are said. */
struct hand {
	struct world world;
	struct side side;
	struct buf b;
};

static void hand_client(struct hand *h, unsigned max_streams)
{
	memset(h, 0, sizeof(*h));
	world_init(&h->world);
	side_start(&h->side, &h->world, MUX_SERVER, max_streams);
	buf_append(&h->b, preface, 24);
	frame(&h->b, SETTINGS, 0, 0, NULL, 0);
	say(&h->world, &h->world.near, &h->b);
}

static void hand_server(struct hand *h)
{
	memset(h, 0, sizeof(*h));
	world_init(&h->world);
	side_start(&h->side, &h->world, MUX_CLIENT, 0);
	frame(&h->b, SETTINGS, 0, 0, NULL, 0);
	say(&h->world, &h->world.far, &h->b);
}

static void hand_stop(struct hand *h)
{
	side_stop(&h->side);
	buf_release(&h->b);
	rounds(&h->world, 3);
	world_release(&h->world);
}

static void connect_by_hand(struct hand *h)
{
	buf_append(&h->b, connect_bytes, sizeof(connect_bytes));
	say(&h->world, &h->world.near, &h->b);
}

/* The tests. */

static void the_first_bytes_of_a_client_are_preface_settings_window_and_connect(void **state)
{
	static const uint8_t settings[] = { 0, 2, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0, 5, 0, 1, 0, 0, 0, 6, 0, 0, 0x40, 0 };
	struct world w;
	struct side side;
	struct call call;
	struct heard h;

	(void)state;
	world_init(&w);
	side_start(&side, &w, MUX_CLIENT, 0);
	call_start(&call, &side);
	rounds(&w, 2);

	assert_memory_equal(w.far.in.data, preface, 24);
	w.far.in_at = 24;
	assert_true(hear(&w.far, &h));
	assert_int_equal(h.type, SETTINGS);
	assert_true(bytes_equal(h.payload, bytes_of(settings, sizeof(settings))));
	assert_true(hear(&w.far, &h));
	assert_int_equal(h.type, WINDOW_UPDATE);
	assert_int_equal(h.id, 0);
	assert_int_equal(first_u32(&h), MUX_WINDOW_CONNECTION - 65535);
	assert_int_equal(mem_pending(&w.far), sizeof(own_connect_bytes));
	assert_memory_equal(w.far.in.data + w.far.in_at, own_connect_bytes, sizeof(own_connect_bytes));

	call_close(&call);
	side_stop(&side);
	world_release(&w);
}

static void a_server_announces_its_streams_and_answers_connect_with_200_and_a_date(void **state)
{
	static const uint8_t settings[] = { 0, 3, 0, 0, 0x27, 0x10, 0, 4, 0, 1, 0,    0,
					    0, 5, 0, 1, 0,    0,    0, 6, 0, 0, 0x40, 0 };
	struct hand h;
	struct heard f;

	(void)state;
	hand_client(&h, 10000);
	h.side.wait = true;
	assert_true(hear(&h.world.near, &f));
	assert_int_equal(f.type, SETTINGS);
	assert_true(bytes_equal(f.payload, bytes_of(settings, sizeof(settings))));
	connect_by_hand(&h);
	assert_int_equal(h.side.requested, 1);
	assert_false(hear_type(&h.world.near, HEADERS, &f));

	mux_stream_accept(h.side.streams[0]);
	rounds(&h.world, 2);
	assert_true(hear_type(&h.world.near, HEADERS, &f));
	assert_int_equal(f.id, 1);
	assert_int_equal(f.flags, 4);		   /* END_HEADERS, not END_STREAM */
	assert_int_equal(f.payload.data[0], 0x88); /* :status 200 */
	assert_int_equal(f.payload.data[1], 0x61); /* date */

	app_start(&h.side.apps[0], mux_stream_stream(h.side.streams[0]));
	hand_stop(&h);
}

static void expect_done(const struct app *a, uint64_t got)
{
	assert_int_equal(a->got, got);
	assert_int_equal(a->read_end, IO_END);
	assert_int_equal(a->write_end, IO_OK);
	assert_int_equal(a->sent, a->send);
	assert_false(a->s->flushing);
}

static uint64_t server_sends;
static unsigned *server_seed;
static size_t server_takes;

static void prepare_server(struct side *side, struct app *a)
{
	(void)side;
	a->send = server_sends;
	a->seed = server_seed;
	a->most_take = server_takes;
}

static void run_pieces(unsigned seed)
{
	struct pair p;
	struct call calls[8];
	size_t sends = 300000 + seed * 1000;

	pair_start(&p, 100);
	p.world.seed = seed;
	p.world.near.seed = p.world.far.seed = &p.world.seed;
	switch (seed % 4) {
	case 0:
		p.world.near.most_view = p.world.far.most_view = 1;
		sends = 20000;
		break;
	case 1:
		p.world.near.most_push = p.world.far.most_push = 700;
		break;
	case 2:
		p.world.near.capacity = p.world.far.capacity = 5000;
		break;
	}
	server_sends = sends + 77;
	server_seed = &p.world.seed;
	server_takes = seed % 3 == 0 ? 9000 : 0;
	p.server.prepare = prepare_server;
	for (size_t i = 0; i < ARRAY_SIZE(calls); i++) {
		call_start(&calls[i], &p.client);
		calls[i].app->send = sends;
		calls[i].app->seed = &p.world.seed;
		calls[i].app->most_take = seed % 3 == 1 ? 9000 : 0;
	}
	for (unsigned i = 0; i < 200000; i++) {
		unsigned done = 0;

		one_round(&p.world);
		for (size_t k = 0; k < ARRAY_SIZE(calls); k++)
			done += p.client.apps[k].read_end == IO_END && p.server.apps[k].read_end == IO_END;
		if (done == ARRAY_SIZE(calls))
			break;
	}
	rounds(&p.world, 20);
	for (size_t k = 0; k < ARRAY_SIZE(calls); k++) {
		expect_done(&p.client.apps[k], sends + 77);
		expect_done(&p.server.apps[k], sends);
		app_close(&p.client.apps[k], STREAM_FINISHED);
	}
	assert_int_equal(mux_session_streams(p.client.session), 0);
	pair_stop(&p);
}

static void bytes_pass_both_ways_exactly_in_pieces_of_any_size(void **state)
{
	(void)state;
	for (unsigned seed = 1; seed <= 12; seed++)
		run_pieces(seed);
}

static void stall_server(struct side *side, struct app *a)
{
	(void)side;
	a->stalled = true;
	a->keep_open = true;
}

static void one_call(struct pair *p, struct call *c, uint64_t send, uint64_t answer)
{
	pair_start(p, 100);
	server_sends = answer;
	server_seed = NULL;
	server_takes = 0;
	p->server.prepare = prepare_server;
	call_start(c, &p->client);
	c->app->send = send;
}

static void the_end_of_one_direction_leaves_the_other_open(void **state)
{
	struct pair p;
	struct call c;

	(void)state;
	one_call(&p, &c, 1000, 5);
	c.app->keep_open = true;
	rounds(&p.world, 10);
	assert_int_equal(c.app->read_end, IO_END);
	assert_int_equal(c.app->got, 5);
	assert_int_equal(p.server.apps[0].read_end, IO_AGAIN);

	c.app->send = 300000;
	c.app->keep_open = false;
	app_run(c.app);
	rounds(&p.world, 30);
	expect_done(&p.server.apps[0], 300000);
	app_close(c.app, STREAM_FINISHED);
	app_close(&p.server.apps[0], STREAM_FINISHED);
	rounds(&p.world, 3);
	assert_int_equal(mux_session_streams(p.client.session), 0);
	assert_int_equal(mux_session_streams(p.server.session), 0);
	assert_int_equal(mux_session_room(p.client.session), 100);
	pair_stop(&p);
}

static void an_abort_of_the_client_is_a_reset_for_the_server(void **state)
{
	struct pair p;
	struct call c;

	(void)state;
	one_call(&p, &c, 1000, 1000);
	c.app->keep_open = true;
	rounds(&p.world, 10);
	app_close(c.app, STREAM_ABORT);
	rounds(&p.world, 3);
	assert_int_equal(p.server.apps[0].got, 1000);
	assert_int_equal(p.server.apps[0].read_end, IO_RESET);
	assert_true(p.server.apps[0].s->aborted);
	assert_int_equal(p.server.ended + p.client.ended, 0);
	pair_stop(&p);
}

static void an_abort_of_the_server_is_a_reset_for_the_client_even_after_its_end(void **state)
{
	struct pair p;
	struct call c;

	(void)state;
	one_call(&p, &c, 1000, 1000);
	c.app->keep_open = true;
	rounds(&p.world, 10);
	assert_int_equal(c.app->read_end, IO_END);
	app_close(&p.server.apps[0], STREAM_ABORT);
	rounds(&p.world, 3);
	c.app->read_end = IO_AGAIN;
	c.app->send = 2000;
	app_run(c.app);
	assert_int_equal(c.app->read_end, IO_RESET);
	assert_int_equal(c.app->write_end, IO_RESET);
	pair_stop(&p);
}

static void finishing_a_stream_whose_peer_has_not_ended_is_an_abort(void **state)
{
	struct pair p;
	struct call c;

	(void)state;
	one_call(&p, &c, 1000, 0);
	p.server.prepare = stall_server;
	rounds(&p.world, 10);
	p.server.apps[0].stalled = false;
	app_run(&p.server.apps[0]);
	assert_int_equal(p.server.apps[0].read_end, IO_END);
	app_close(c.app, STREAM_FINISHED);
	rounds(&p.world, 3);
	assert_true(p.server.apps[0].s->aborted);
	pair_stop(&p);
}

static void a_refused_stream_is_answered_with_its_status(void **state)
{
	struct pair p;
	struct call c;

	(void)state;
	one_call(&p, &c, 1000, 1000);
	p.server.refuse = true;
	rounds(&p.world, 10);
	assert_int_equal(c.answered, 1);
	assert_int_equal(c.status, 502);
	assert_int_equal(c.failed, 0);
	assert_int_equal(mux_session_streams(p.server.session), 0);
	assert_int_equal(mux_session_room(p.client.session), 100);
	call_close(&c);
	assert_int_equal(p.client.ended, 0);
	pair_stop(&p);
}

static void a_stream_that_is_closed_before_its_answer_is_withdrawn(void **state)
{
	struct pair p;
	struct call c;

	(void)state;
	one_call(&p, &c, 1000, 1000);
	p.server.wait = true;
	rounds(&p.world, 10);
	assert_int_equal(p.server.requested, 1);
	call_close(&c);
	rounds(&p.world, 3);
	assert_int_equal(p.server.withdrawn, 1);
	assert_int_equal(mux_session_streams(p.server.session), 0);
	assert_int_equal(c.answered + c.failed, 0);
	pair_stop(&p);
}

static void a_stream_that_comes_and_goes_in_one_round_is_never_told(void **state)
{
	struct pair p;
	struct call c;

	(void)state;
	one_call(&p, &c, 0, 0);
	call_close(&c);
	rounds(&p.world, 5);
	assert_int_equal(p.server.requested + p.server.withdrawn, 0);
	assert_int_equal(p.client.ended + p.server.ended, 0);
	assert_int_equal(mux_session_room(p.client.session), 100);
	pair_stop(&p);
}

static void no_more_streams_than_the_peer_allows(void **state)
{
	struct pair p;
	struct call *calls = mem_new_array(201, sizeof(*calls));
	unsigned changed;

	(void)state;
	pair_start(&p, 200);
	assert_int_equal(mux_session_room(p.client.session), 100); /* RFC 9113, 6.5.2: before SETTINGS came */
	rounds(&p.world, 5);
	assert_int_equal(mux_session_room(p.client.session), 200);
	assert_int_equal(p.client.changed, 1);
	for (unsigned i = 0; i < 200; i++) {
		call_start(&calls[i], &p.client);
		assert_non_null(calls[i].stream);
		calls[i].app->keep_open = true;
	}
	assert_int_equal(mux_session_room(p.client.session), 0);
	assert_null(mux_session_connect(p.client.session, &calls[200].events));
	rounds(&p.world, 5);
	assert_int_equal(p.server.requested, 200);
	assert_int_equal(mux_session_streams(p.client.session), 200);

	changed = p.client.changed;
	app_close(calls[7].app, STREAM_ABORT);
	rounds(&p.world, 5);
	assert_int_equal(p.client.changed, changed + 1);
	assert_int_equal(mux_session_room(p.client.session), 1);
	call_start(&calls[200], &p.client);
	assert_non_null(calls[200].stream);
	rounds(&p.world, 5);
	assert_int_equal(calls[200].status, 200);
	pair_stop(&p);
	free(calls);
}

static void a_stalled_reader_holds_back_only_its_own_stream(void **state)
{
	struct pair p;
	struct call stalled, swift;

	(void)state;
	one_call(&p, &stalled, 10000000, 0);
	rounds(&p.world, 1);
	rounds(&p.world, 2);
	p.server.apps[0].stalled = true;
	call_start(&swift, &p.client);
	swift.app->send = 5000000;
	rounds(&p.world, 400);
	assert_true(stalled.app->sent < 200000);
	expect_done(&p.server.apps[1], 5000000);

	p.server.apps[0].stalled = false;
	app_run(&p.server.apps[0]);
	rounds(&p.world, 800);
	expect_done(&p.server.apps[0], 10000000);
	pair_stop(&p);
}

static void a_reader_that_never_reads_costs_its_first_window_and_no_more(void **state)
{
	struct pair p;
	struct call c;

	(void)state;
	one_call(&p, &c, 10000000, 0);
	p.server.prepare = stall_server;
	rounds(&p.world, 50);
	assert_int_equal(c.app->sent, MUX_WINDOW_FIRST);
	assert_false(c.app->s->writable);
	pair_stop(&p);
}

static void the_window_of_a_swift_reader_grows_while_the_pool_has_room(void **state)
{
	struct pair p;
	struct call c;
	struct mux_stream *m;

	(void)state;
	one_call(&p, &c, 4000000, 0);
	rounds(&p.world, 200);
	m = p.server.streams[0];
	assert_int_equal(m->window, MUX_WINDOW_MOST);
	pair_stop(&p);

	one_call(&p, &c, 4000000, 0);
	p.world.budget.limit = 0;
	rounds(&p.world, 400);
	m = p.server.streams[0];
	assert_int_equal(m->window, MUX_WINDOW_FIRST);
	expect_done(&p.server.apps[0], 4000000);
	pair_stop(&p);
}

static void without_room_stalled_streams_hold_their_first_windows_and_nobody_else_back(void **state)
{
	enum { COUNT = 300 };
	struct pair p;
	struct call *calls = mem_new_array(COUNT + 1, sizeof(*calls));
	uint64_t sent = 0;

	(void)state;
	pair_start(&p, 1000);
	rounds(&p.world, 5);
	p.world.budget.limit = 0;
	p.server.prepare = stall_server;
	for (unsigned i = 0; i < COUNT; i++) {
		call_start(&calls[i], &p.client);
		calls[i].app->send = 70000;
	}
	rounds(&p.world, 600);
	for (unsigned i = 0; i < COUNT; i++)
		sent += calls[i].app->sent;
	assert_int_equal(sent, COUNT * MUX_WINDOW_FIRST);

	/* Although that is more than the connection's window. */
	assert_true(sent > MUX_WINDOW_CONNECTION);
	p.server.prepare = NULL;
	call_start(&calls[COUNT], &p.client);
	calls[COUNT].app->send = 50000;
	rounds(&p.world, 100);
	assert_int_equal(p.server.apps[COUNT].got, 50000);

	/* Readers that go on give it back. */
	for (unsigned i = 0; i < COUNT; i++) {
		p.server.apps[i].stalled = false;
		app_run(&p.server.apps[i]);
	}
	p.world.budget.limit = 64 * 1024 * 1024;
	rounds(&p.world, 600);
	for (unsigned i = 0; i < COUNT; i++)
		assert_int_equal(p.server.apps[i].got, 70000);
	pair_stop(&p);
	free(calls);
}

static void the_end_waits_for_a_full_window_even_after_the_stream_was_closed(void **state)
{
	struct pair p;
	struct call c;

	(void)state;
	one_call(&p, &c, 0, 3);
	c.app->keep_open = true;
	rounds(&p.world, 10);
	assert_int_equal(c.app->read_end, IO_END);
	p.server.apps[0].stalled = true;
	c.app->send = MUX_WINDOW_FIRST;
	c.app->keep_open = false;
	app_run(c.app);
	rounds(&p.world, 5);
	assert_int_equal(c.app->sent, MUX_WINDOW_FIRST);
	assert_true(c.app->s->flushing);
	app_close(c.app, STREAM_FINISHED);
	rounds(&p.world, 3);
	assert_int_equal(mux_session_streams(p.client.session), 0);
	assert_int_equal(mux_session_room(p.client.session), 99);

	p.server.apps[0].stalled = false;
	app_run(&p.server.apps[0]);
	rounds(&p.world, 5);
	assert_int_equal(p.server.apps[0].got, MUX_WINDOW_FIRST);
	assert_int_equal(p.server.apps[0].read_end, IO_END);
	assert_int_equal(mux_session_room(p.client.session), 100);
	pair_stop(&p);
}

static void goaway_ends_a_session_when_its_streams_have_ended(void **state)
{
	for (int by_server = 0; by_server < 2; by_server++) {
		struct pair p;
		struct call c;

		(void)state;
		one_call(&p, &c, 1000, 1000);
		c.app->keep_open = true;
		rounds(&p.world, 10);
		mux_session_drain(by_server ? p.server.session : p.client.session);
		rounds(&p.world, 10);
		assert_int_equal(mux_session_room(p.client.session), 0);
		assert_null(mux_session_connect(p.client.session, &c.events));
		assert_int_equal(p.client.ended + p.server.ended, 0);

		c.app->send = 500000;
		c.app->keep_open = false;
		app_run(c.app);
		rounds(&p.world, 50);
		expect_done(&p.server.apps[0], 500000);
		rounds(&p.world, 5);
		assert_int_equal(p.client.ended, 1);
		assert_int_equal(p.server.ended, 1);
		assert_int_equal(p.client.reason, REASON_DONE);
		assert_int_equal(p.server.reason, REASON_DONE);
		pair_stop(&p);
	}
}

static void a_stream_that_crosses_the_first_goaway_of_a_server_is_served(void **state)
{
	struct hand h;
	struct heard f;

	(void)state;
	hand_client(&h, 10);
	mux_session_drain(h.side.session);
	rounds(&h.world, 3);
	assert_true(hear_type(&h.world.near, GOAWAY, &f));
	assert_int_equal(first_u32(&f), 0x7fffffff);
	assert_true(hear_type(&h.world.near, PING, &f));
	connect_by_hand(&h);
	assert_int_equal(h.side.requested, 1);

	frame(&h.b, PING, 1, 0, "\0\0\0\0\0\0\0\0", 8);
	say(&h.world, &h.world.near, &h.b);
	assert_true(hear_type(&h.world.near, GOAWAY, &f));
	assert_int_equal(first_u32(&f), 1);
	headers(&h.b, 0, 3, connect_head); /* too late */
	say(&h.world, &h.world.near, &h.b);
	assert_int_equal(h.side.requested, 1);
	assert_int_equal(h.side.ended, 0);

	frame(&h.b, DATA, 1, 1, NULL, 0);
	say(&h.world, &h.world.near, &h.b);
	rounds(&h.world, 3);
	assert_int_equal(h.side.apps[0].read_end, IO_END);
	assert_int_equal(h.side.ended, 1);
	assert_int_equal(h.side.reason, REASON_DONE);
	hand_stop(&h);
}

static void a_connect_that_is_too_late_fails_and_may_be_tried_elsewhere(void **state)
{
	struct pair p;
	struct call c;

	(void)state;
	pair_start(&p, 100);
	rounds(&p.world, 5);
	mux_session_drain(p.server.session);
	call_start(&c, &p.client);
	rounds(&p.world, 10);
	assert_int_equal(c.failed, 1);
	assert_int_equal(c.reason, REASON_PEER_CLOSED);
	assert_int_equal(p.server.requested, 0);
	call_close(&c);
	pair_stop(&p);
}

/* Three are asked for before the limit comes, which leaves room for two; the third has not left, and can be had back.
 */
static void a_connect_over_a_limit_that_comes_before_it_has_left_is_given_back(void **state)
{
	struct pair p;
	struct call c[4];

	(void)state;
	world_init(&p.world);
	side_start(&p.server, &p.world, MUX_SERVER, 2);
	rounds(&p.world, 2); /* its SETTINGS are there */
	side_start(&p.client, &p.world, MUX_CLIENT, 0);
	for (unsigned i = 0; i < 3; i++) {
		call_start(&c[i], &p.client);
		c[i].app->keep_open = true;
	}
	rounds(&p.world, 5);
	assert_int_equal(c[0].status, 200);
	assert_int_equal(c[1].status, 200);
	assert_int_equal(c[2].answered, 0);
	assert_int_equal(c[2].failed, 1);
	assert_int_equal(c[2].reason, REASON_LIMIT_STREAMS);
	assert_int_equal(p.server.requested, 2);
	assert_int_equal(mux_session_room(p.client.session), 0);
	call_close(&c[2]);
	call_close(&c[0]);
	rounds(&p.world, 5);
	assert_int_equal(mux_session_room(p.client.session), 1);
	call_start(&c[3], &p.client);
	rounds(&p.world, 5);
	assert_int_equal(c[3].status, 200);
	assert_int_equal(p.server.requested, 3);
	assert_int_equal(p.client.ended, 0);
	call_close(&c[1]);
	call_close(&c[3]);
	pair_stop(&p);
}

static void a_session_that_is_freed_aborts_its_streams_on_both_sides(void **state)
{
	struct pair p;
	struct call open, waiting;

	(void)state;
	one_call(&p, &open, 1000, 1000);
	open.app->keep_open = true;
	rounds(&p.world, 10);
	p.server.wait = true;
	call_start(&waiting, &p.client);
	rounds(&p.world, 5);
	mux_session_free(p.client.session);
	p.client.session = NULL;
	assert_int_equal(p.world.near.how, STREAM_FINISHED);
	assert_int_equal(waiting.failed, 0);
	rounds(&p.world, 5);
	assert_int_equal(waiting.failed, 1);
	assert_true(open.app->s->aborted);
	assert_int_equal(p.server.apps[0].read_end, IO_RESET);
	assert_int_equal(p.server.withdrawn, 1);
	assert_int_equal(p.server.ended, 1);
	call_close(&waiting);
	pair_stop(&p);
}

static void the_loss_of_the_transport_resets_all_streams(void **state)
{
	struct pair p;
	struct call open, waiting;

	(void)state;
	one_call(&p, &open, 1000, 1000);
	open.app->keep_open = true;
	rounds(&p.world, 10);
	p.server.wait = true;
	call_start(&waiting, &p.client);
	rounds(&p.world, 5);
	p.client.free_on_end = true;
	p.world.near.failure = p.world.far.failure = IO_RESET;
	task_schedule(p.world.worker.loop, &p.world.near.wake);
	task_schedule(p.world.worker.loop, &p.world.far.wake);
	rounds(&p.world, 5);
	assert_int_equal(p.client.ended, 1);
	assert_int_equal(p.client.reason, REASON_TUNNEL_RESET);
	assert_int_equal(p.server.reason, REASON_TUNNEL_RESET);
	assert_int_equal(waiting.failed, 1);
	assert_int_equal(waiting.reason, REASON_TUNNEL_RESET);
	assert_int_equal(p.server.withdrawn, 1);
	assert_true(p.server.apps[0].s->aborted);
	assert_int_equal(p.world.near.how, STREAM_ABORT);
	call_close(&waiting);
	pair_stop(&p);
}

static void a_connection_that_closes_without_a_stream_is_done(void **state)
{
	struct hand h;

	(void)state;
	memset(&h, 0, sizeof(h));
	world_init(&h.world);
	side_start(&h.side, &h.world, MUX_SERVER, 10);
	h.side.free_on_end = true;
	mem_shut(&h.world.near.stream);
	rounds(&h.world, 3);
	assert_int_equal(h.side.ended, 1);
	assert_int_equal(h.side.reason, REASON_DONE);
	hand_stop(&h);
}

static void a_stream_may_be_closed_while_its_bytes_are_shown(void **state)
{
	struct pair p;
	struct call c;

	(void)state;
	one_call(&p, &c, 100000, 0);
	rounds(&p.world, 2);
	for (unsigned i = 0; i < 20 && p.server.apps[0].s == NULL; i++)
		one_round(&p.world);
	p.server.apps[0].close_when_ready = true;
	rounds(&p.world, 10);
	assert_null(p.server.apps[0].s);
	assert_int_equal(c.app->write_end == IO_RESET || c.app->read_end == IO_RESET, 1);
	assert_int_equal(p.client.ended + p.server.ended, 0);
	pair_stop(&p);
}

struct freer {
	struct stream_events events;
	struct side *side;
};

static void free_session(struct stream_events *self, struct stream *s)
{
	struct freer *f = container_of(self, struct freer, events);

	(void)s;
	mux_session_free(f->side->session);
	f->side->session = NULL;
}

static void a_session_may_be_freed_while_its_bytes_are_shown(void **state)
{
	struct pair p;
	struct call c;
	struct freer f = { { free_session }, &p.server };

	(void)state;
	one_call(&p, &c, 0, 0);
	c.app->keep_open = true;
	p.server.prepare = stall_server;
	rounds(&p.world, 10);
	p.server.apps[0].s->events = &f.events;
	c.app->send = 100000;
	app_run(c.app);
	for (unsigned i = 0; i < 10 && p.server.session != NULL; i++)
		one_round(&p.world);
	assert_null(p.server.session);
	p.server.apps[0].s->events = NULL;
	rounds(&p.world, 5);
	assert_int_equal(p.client.ended, 1);
	pair_stop(&p);
}

static void two_thousand_streams_pass_their_bytes(void **state)
{
	enum { COUNT = 2000 };
	struct pair p;
	struct call *calls = mem_new_array(COUNT, sizeof(*calls));

	(void)state;
	pair_start(&p, 10000);
	rounds(&p.world, 5);
	server_sends = 777;
	p.server.prepare = prepare_server;
	for (unsigned i = 0; i < COUNT; i++) {
		call_start(&calls[i], &p.client);
		calls[i].app->send = 3000;
	}
	for (unsigned i = 0; i < 3000 && p.server.count < COUNT; i++)
		one_round(&p.world);
	rounds(&p.world, 200);
	for (unsigned i = 0; i < COUNT; i++) {
		expect_done(&p.client.apps[i], 777);
		expect_done(&p.server.apps[i], 3000);
		app_close(&p.client.apps[i], STREAM_FINISHED);
		app_close(&p.server.apps[i], STREAM_FINISHED);
	}
	assert_int_equal(mux_session_room(p.client.session), 10000);
	pair_stop(&p);
	free(calls);
}

static void ten_thousand_idle_streams_may_be_reset_at_once(void **state)
{
	struct pair p;
	struct call *calls = mem_new_array(MOST, sizeof(*calls));

	(void)state;
	pair_start(&p, MOST);
	rounds(&p.world, 5);
	p.server.prepare = stall_server;
	for (unsigned i = 0; i < MOST; i++) {
		call_start(&calls[i], &p.client);
		assert_non_null(calls[i].stream);
		calls[i].app->keep_open = true;
	}
	rounds(&p.world, 30);
	assert_int_equal(mux_session_streams(p.server.session), MOST);
	assert_int_equal(mux_session_room(p.client.session), 0);
	for (unsigned i = 0; i < MOST; i++)
		app_close(calls[i].app, STREAM_ABORT);
	rounds(&p.world, 30);
	for (unsigned i = 0; i < MOST; i++)
		assert_true(p.server.apps[i].s->aborted);
	assert_int_equal(p.client.ended + p.server.ended, 0);
	assert_int_equal(mux_session_room(p.client.session), MOST);
	pair_stop(&p);
	free(calls);
}

static void streams_share_a_slow_transport_evenly(void **state)
{
	enum { COUNT = 5, EACH = 2000000 };
	struct pair p;
	struct call calls[COUNT];
	uint64_t least = EACH;

	(void)state;
	pair_start(&p, 100);
	rounds(&p.world, 5);
	p.world.far.capacity = 30000;
	server_sends = 0;
	server_seed = NULL;
	server_takes = 0;
	p.server.prepare = prepare_server;
	for (unsigned i = 0; i < COUNT; i++) {
		call_start(&calls[i], &p.client);
		calls[i].app->send = EACH;
	}
	for (unsigned i = 0; i < 5000; i++) {
		bool any_done = false;

		one_round(&p.world);
		for (unsigned k = 0; k < COUNT; k++)
			any_done = any_done || calls[k].app->sent == EACH;
		if (any_done)
			break;
	}
	for (unsigned k = 0; k < COUNT; k++)
		least = MIN(least, calls[k].app->sent);
	assert_true(least > EACH / 10 * 8);
	pair_stop(&p);
}

static void small_pushes_of_one_round_leave_together(void **state)
{
	enum { COUNT = 100 };
	struct pair p;
	struct call calls[COUNT];
	uint64_t before;

	(void)state;
	pair_start(&p, 10000);
	rounds(&p.world, 5);
	p.server.prepare = stall_server;
	for (unsigned i = 0; i < COUNT; i++) {
		call_start(&calls[i], &p.client);
		calls[i].app->keep_open = true;
	}
	rounds(&p.world, 10);
	before = p.world.near.pushes;
	for (unsigned i = 0; i < COUNT; i++) {
		calls[i].app->send = 100;
		app_run(calls[i].app);
	}
	rounds(&p.world, 1);
	assert_int_equal(p.world.near.pushes, before + 1);
	pair_stop(&p);
}

/* A peer by hand. */

static void requests_that_are_no_connect_get_400_and_the_session_lives(void **state)
{
	static const char *const get[] = {
		":method", "GET", ":scheme", "https", ":path", "/", ":authority", "a", NULL
	};
	static const char *const post[] = {
		":method", "POST", ":scheme", "https", ":path", "/", ":authority", "a", NULL
	};
	struct hand h;
	struct heard f;

	(void)state;
	hand_client(&h, 10);
	headers(&h.b, 1, 1, get);
	headers(&h.b, 0, 3, post);
	say(&h.world, &h.world.near, &h.b);
	assert_int_equal(h.side.requested, 0);
	assert_true(hear_type(&h.world.near, HEADERS, &f));
	assert_int_equal(f.id, 1);
	assert_int_equal(f.payload.data[0], 0x8c); /* :status 400 */
	assert_true(hear_type(&h.world.near, DATA, &f));
	assert_int_equal(f.flags, 1);
	assert_true(f.payload.len > 10);
	assert_true(hear_type(&h.world.near, RST_STREAM, &f)); /* need not send the rest */
	assert_int_equal(f.id, 3);
	assert_int_equal(first_u32(&f), NGHTTP2_NO_ERROR);

	headers(&h.b, 0, 5, connect_head);
	say(&h.world, &h.world.near, &h.b);
	assert_int_equal(h.side.requested, 1);
	assert_int_equal(h.side.ended, 0);
	hand_stop(&h);
}

static void extra_headers_are_tolerated_but_content_is_not(void **state)
{
	static const char *const tng[] = {
		":method",	  "CONNECT", ":authority", "x:1", "tng", "{\"type\": \"wrap_in_h2_tls\"}",
		"content-length", "0",	     NULL
	};
	static const char *const content[] = { ":method", "CONNECT", ":authority", "x", "content-length", "3", NULL };
	static const char *const scheme[] = { ":method", "CONNECT", ":authority", "x", ":scheme", "https", NULL };
	static const char *const protocol[] = {
		":method", "CONNECT", ":protocol", "websocket", ":authority", "x", NULL
	};
	static const char *const nowhere[] = { ":method", "CONNECT", NULL };
	static const char *const *const bad[] = { content, scheme, protocol, nowhere };
	struct hand h;
	struct heard f;
	unsigned id = 3;

	(void)state;
	hand_client(&h, 10);
	headers(&h.b, 0, 1, tng);
	say(&h.world, &h.world.near, &h.b);
	assert_int_equal(h.side.requested, 1);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++, id += 2) {
		headers(&h.b, 0, id, bad[i]);
		say(&h.world, &h.world.near, &h.b);
		assert_true(hear_type(&h.world.near, RST_STREAM, &f));
		assert_int_equal(f.id, id);
		assert_int_equal(first_u32(&f), NGHTTP2_PROTOCOL_ERROR);
	}
	assert_int_equal(h.side.requested, 1);
	headers(&h.b, 0, id, connect_head);
	say(&h.world, &h.world.near, &h.b);
	assert_int_equal(h.side.requested, 2);
	hand_stop(&h);
}

static void a_header_list_of_16_kib_is_the_limit(void **state)
{
	static const size_t fixed = 7 + 7 + 32 + 10 + 1 + 32 + 1 + 32;

	for (int over = 0; over < 2; over++) {
		char *value = mem_new(20000);
		const char *const list[] = { ":method", "CONNECT", ":authority", "x", "a", value, NULL };
		struct hand h;
		struct heard f;

		(void)state;
		hand_client(&h, 10);
		memset(value, 'v', MUX_HEADER_LIST_MOST - fixed + (size_t)over);
		headers(&h.b, 0, 1, list);
		say(&h.world, &h.world.near, &h.b);
		assert_int_equal(h.side.requested, !over);
		assert_int_equal(hear_type(&h.world.near, RST_STREAM, &f), over);
		headers(&h.b, 0, 3, connect_head);
		say(&h.world, &h.world.near, &h.b);
		assert_int_equal(h.side.requested, !over + 1);
		hand_stop(&h);
		free(value);
	}
}

static void data_before_the_answer_waits_for_it(void **state)
{
	uint8_t data[3000];
	struct hand h;

	(void)state;
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = pattern(0, i);
	hand_client(&h, 10);
	h.side.wait = true;
	connect_by_hand(&h);
	frame(&h.b, DATA, 0, 1, data, 1000);
	frame(&h.b, DATA, 1, 1, data + 1000, 2000);
	say(&h.world, &h.world.near, &h.b);
	assert_int_equal(h.side.requested, 1);
	mux_stream_accept(h.side.streams[0]);
	app_start(&h.side.apps[0], mux_stream_stream(h.side.streams[0]));
	rounds(&h.world, 3);
	expect_done(&h.side.apps[0], 3000);
	hand_stop(&h);
}

/* len bytes of what the application of stream id expects, from at on; flags may ask for three bytes of padding. */
static void say_data(struct hand *h, unsigned flags, uint32_t id, size_t at, size_t len)
{
	uint8_t payload[1 + 40000 + 3] = { 3 };
	size_t from = (flags & NGHTTP2_FLAG_PADDED) != 0 ? 1 : 0;

	for (size_t i = 0; i < len; i++)
		payload[from + i] = pattern(id - 1, at + i);
	memset(payload + from + len, 0, 3);
	frame(&h->b, DATA, flags, id, payload, from == 0 ? len : 1 + len + 3);
}

static void two_streams_by_hand(struct hand *h)
{
	hand_client(h, 10);
	connect_by_hand(h);
	buf_append(&h->b, connect_bytes, sizeof(connect_bytes));
	h->b.data[8] = 3;
	frame(&h->b, SETTINGS, 1, 0, NULL, 0);
	say(&h->world, &h->world.near, &h->b);
	assert_int_equal(h->side.requested, 2);
}

static void data_of_one_stream_that_arrives_together_is_shown_together(void **state)
{
	static const size_t sizes[] = { 1, 16375, 9, 20000, 1, 1 };
	struct hand h;
	struct app *a;
	size_t at = 0;

	(void)state;
	two_streams_by_hand(&h);
	a = &h.side.apps[0];
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		say_data(&h, i == ARRAY_SIZE(sizes) - 1, 1, at, sizes[i]);
		at += sizes[i];
	}
	say(&h.world, &h.world.near, &h.b);
	expect_done(a, at);
	assert_int_equal(a->view_count, 1);
	hand_stop(&h);
}

static void data_is_shown_apart_where_something_else_stands_between(void **state)
{
	struct hand h;
	struct app *a, *b;

	(void)state;
	two_streams_by_hand(&h);
	a = &h.side.apps[0];
	b = &h.side.apps[1];
	say_data(&h, 0, 1, 0, 100);
	say_data(&h, 0, 3, 0, 200);
	say_data(&h, 0, 3, 200, 50);
	say_data(&h, 0, 1, 100, 30);
	say(&h.world, &h.world.near, &h.b);
	assert_int_equal(a->got, 130);
	assert_int_equal(a->view_count, 2);
	assert_int_equal(b->got, 250);
	assert_int_equal(b->view_count, 1);

	frame_u32(&h.b, WINDOW_UPDATE, 0, 1);
	say_data(&h, 0, 1, 130, 5);
	frame_u32(&h.b, WINDOW_UPDATE, 1, 1);
	say_data(&h, 0, 1, 135, 5);
	say_data(&h, NGHTTP2_FLAG_PADDED, 1, 140, 5); /* padding must not get into it */
	say_data(&h, 0, 1, 145, 5);
	say_data(&h, 0, 1, 150, 0);
	say_data(&h, 0, 1, 150, 5);
	say(&h.world, &h.world.near, &h.b);
	assert_int_equal(a->got, 155);
	hand_stop(&h);
}

static void data_whose_frames_arrive_in_pieces_is_exact_wherever_they_are_cut(void **state)
{
	(void)state;
	for (size_t cut = 1; cut < 3 * MUX_FRAME_HEAD + 60; cut++) {
		struct hand h;
		struct buf all = { 0 };

		two_streams_by_hand(&h);
		say_data(&h, 0, 1, 0, 10);
		say_data(&h, 0, 1, 10, 20);
		say_data(&h, NGHTTP2_FLAG_END_STREAM, 1, 30, 30);
		buf_append(&all, h.b.data, h.b.len);
		h.b.len = cut;
		say(&h.world, &h.world.near, &h.b);
		buf_append(&h.b, all.data + cut, all.len - cut);
		say(&h.world, &h.world.near, &h.b);
		expect_done(&h.side.apps[0], 60);
		buf_release(&all);
		hand_stop(&h);
	}
}

/* One byte of padding moves the head of the next frame by one: 00 01 00 00 00 00 00 01 01 looks like DATA of stream 1.
 */
static void padding_that_looks_like_the_head_of_a_frame_is_none(void **state)
{
	struct hand h;
	uint8_t padded[1 + 100 + 1] = { 1 };

	(void)state;
	hand_client(&h, 10);
	connect_by_hand(&h);
	buf_append(&h.b, connect_bytes, sizeof(connect_bytes));
	h.b.data[7] = 1;
	h.b.data[8] = 1;
	frame(&h.b, SETTINGS, 1, 0, NULL, 0);
	say(&h.world, &h.world.near, &h.b);
	assert_int_equal(h.side.requested, 2);
	for (size_t i = 0; i < 100; i++)
		padded[1 + i] = pattern(0, i);
	frame(&h.b, DATA, NGHTTP2_FLAG_PADDED, 1, padded, sizeof(padded));
	h.side.apps[1].peer = 256;
	say_data(&h, 0, 257, 0, 0x100);
	say_data(&h, 0, 1, 100, 100);
	say(&h.world, &h.world.near, &h.b);
	assert_int_equal(h.side.apps[0].got, 200);
	assert_int_equal(h.side.apps[1].got, 0x100);
	hand_stop(&h);
}

/* Whatever the frames' sizes, their order, their padding, and where they are cut. */
static void data_of_two_streams_is_exact_however_it_is_framed(void **state)
{
	unsigned seed = 7;

	(void)state;
	for (unsigned run = 0; run < 20; run++) {
		struct hand h;
		struct buf all = { 0 };
		size_t at[2] = { 0, 0 };

		two_streams_by_hand(&h);
		for (unsigned i = 0; i < 300; i++) {
			unsigned which = rand_r(&seed) % 5 == 0;
			size_t len = (size_t)rand_r(&seed) % (run % 2 == 0 ? 60 : 1000);

			say_data(&h, rand_r(&seed) % 6 == 0 ? NGHTTP2_FLAG_PADDED : 0, 2 * which + 1, at[which], len);
			at[which] += len;
			if (rand_r(&seed) % 10 == 0)
				frame_u32(&h.b, WINDOW_UPDATE, 1, 1);
			buf_append(&all, h.b.data, h.b.len);
			h.b.len = 0;
			if (all.len < (size_t)rand_r(&seed) % 20000)
				continue;
			buf_append(&h.b, all.data, all.len - 1);
			say(&h.world, &h.world.near, &h.b);
			all.data[0] = all.data[all.len - 1];
			all.len = 1;
		}
		buf_append(&h.b, all.data, all.len);
		say(&h.world, &h.world.near, &h.b);
		assert_int_equal(h.side.apps[0].got, at[0]);
		assert_int_equal(h.side.apps[1].got, at[1]);
		assert_int_equal(h.side.ended, 0);
		buf_release(&all);
		hand_stop(&h);
	}
}

/* Over its window, a stream is reset between two frames that were to be shown as one, and another stream's data comes.
 */
static void a_chunk_whose_successor_is_refused_is_not_lost_to_another_stream(void **state)
{
	struct hand h;

	(void)state;
	two_streams_by_hand(&h);
	h.world.far.most_view = POOL_BUF_SIZE;
	say_data(&h, 0, 1, 0, 40000);
	say_data(&h, 0, 1, 40000, MUX_WINDOW_FIRST - 40000 + 1);
	say_data(&h, 0, 1, MUX_WINDOW_FIRST + 1, 10);
	say_data(&h, 0, 3, 0, 50);
	say(&h.world, &h.world.near, &h.b);
	assert_true(h.side.apps[0].got >= MUX_WINDOW_FIRST);
	assert_int_equal(h.side.apps[1].got, 50);
	hand_stop(&h);
}

static void what_came_in_front_of_data_that_may_not_be_is_shown(void **state)
{
	struct hand h;
	struct app *a;

	(void)state;
	two_streams_by_hand(&h);
	a = &h.side.apps[0];
	say_data(&h, 0, 1, 0, 100);
	say_data(&h, NGHTTP2_FLAG_END_STREAM, 1, 100, 100);
	say_data(&h, 0, 1, 200, 100); /* behind its end */
	say(&h.world, &h.world.near, &h.b);
	assert_int_equal(a->got, 200);
	assert_int_not_equal(a->read_end, IO_AGAIN);
	hand_stop(&h);
}

static void a_client_sends_no_data_before_200(void **state)
{
	static const char *const early[] = { ":status", "103", NULL };
	static const char *const ok[] = { ":status", "200", "server", "tng", NULL };
	struct hand h;
	struct heard f;
	struct call c;
	struct stream *s;
	size_t taken = 1;

	(void)state;
	hand_server(&h);
	call_start(&c, &h.side);
	c.app->send = 10;
	s = mux_stream_stream(c.stream);
	assert_int_equal(s->ops->push(s, bytes_str("too early"), &taken), IO_OK);
	assert_int_equal(taken, 0);
	rounds(&h.world, 5);
	headers(&h.b, 0, 1, early);
	say(&h.world, &h.world.far, &h.b);
	assert_int_equal(c.answered, 0);
	h.world.far.in_at += 24;
	assert_true(hear_type(&h.world.far, HEADERS, &f));
	assert_false(hear_type(&h.world.far, DATA, &f));

	headers(&h.b, 0, 1, ok);
	say(&h.world, &h.world.far, &h.b);
	assert_int_equal(c.status, 200);
	assert_true(hear_type(&h.world.far, DATA, &f));
	assert_int_equal(f.payload.len, 10);
	assert_true(hear_type(&h.world.far, DATA, &f));
	assert_int_equal(f.payload.len, 0);
	assert_int_equal(f.flags, 1);
	hand_stop(&h);
}

static void only_200_opens_a_tunnel(void **state)
{
	static const char *const statuses[] = { "201", "204", "302", "400", "502" };

	for (size_t i = 0; i < ARRAY_SIZE(statuses); i++) {
		const char *const list[] = { ":status", statuses[i], NULL };
		struct hand h;
		struct call c;

		(void)state;
		hand_server(&h);
		call_start(&c, &h.side);
		rounds(&h.world, 3);
		headers(&h.b, 0, 1, list);
		frame(&h.b, DATA, 1, 1, "sorry", 5);
		say(&h.world, &h.world.far, &h.b);
		assert_int_equal(c.answered, 1);
		assert_int_equal(c.status, atoi(statuses[i]));
		call_close(&c);
		rounds(&h.world, 3);
		assert_int_equal(h.side.ended, 0);
		hand_stop(&h);
	}
}

/* A client session whose stream 1 is open; what has been said so far was heard. */
static void open_by_hand(struct hand *h, struct call *c)
{
	static const char *const ok[] = { ":status", "200", NULL };

	hand_server(h);
	call_start(c, &h->side);
	c->app->keep_open = true;
	rounds(&h->world, 3);
	headers(&h->b, 0, 1, ok);
	say(&h->world, &h->world.far, &h->b);
	assert_int_equal(c->status, 200);
	h->world.far.in_at = h->world.far.in.len;
}

static void what_a_reset_means(void **state)
{
	static const struct {
		uint32_t code;
		bool end_first;
		enum io_result read;
		enum io_result write;
	} cases[] = {
		{ NGHTTP2_CONNECT_ERROR, false, IO_RESET, IO_RESET },
		{ NGHTTP2_CANCEL, false, IO_RESET, IO_RESET },
		{ NGHTTP2_NO_ERROR, false, IO_RESET, IO_RESET },
		{ NGHTTP2_NO_ERROR, true, IO_END, IO_RESET },
		{ NGHTTP2_CANCEL, true, IO_RESET, IO_RESET },
		{ NGHTTP2_CONNECT_ERROR, true, IO_RESET, IO_RESET },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct hand h;
		struct call c;
		size_t taken;

		open_by_hand(&h, &c);
		c.app->stalled = true;
		if (cases[i].end_first)
			frame(&h.b, DATA, 1, 1, NULL, 0);
		frame_u32(&h.b, RST_STREAM, 1, cases[i].code);
		say(&h.world, &h.world.far, &h.b);
		c.app->stalled = false;
		app_run(c.app);
		assert_int_equal(c.app->read_end, cases[i].read);
		assert_int_equal(c.app->s->aborted, cases[i].read == IO_RESET);
		assert_int_equal(c.app->s->ops->push(c.app->s, bytes_str("x"), &taken), cases[i].write);
		hand_stop(&h);
	}
}

static void an_answer_with_its_end_and_a_reset_in_one_view_is_no_abort(void **state)
{
	static const char *const ok[] = { ":status", "200", NULL };
	struct hand h;
	struct call c;

	(void)state;
	hand_server(&h);
	call_start(&c, &h.side);
	c.app->keep_open = true;
	rounds(&h.world, 3);
	headers(&h.b, 0, 1, ok);
	frame(&h.b, DATA, 1, 1, NULL, 0);
	frame_u32(&h.b, RST_STREAM, 1, NGHTTP2_NO_ERROR);
	say(&h.world, &h.world.far, &h.b);
	assert_int_equal(c.status, 200);
	assert_int_equal(c.app->read_end, IO_END);
	assert_false(c.app->s->aborted);
	hand_stop(&h);
}

static void a_reset_before_the_answer_says_why_connect_failed(void **state)
{
	static const struct {
		uint32_t code;
		enum reason reason;
	} cases[] = {
		{ NGHTTP2_REFUSED_STREAM, REASON_LIMIT_STREAMS },
		{ NGHTTP2_INTERNAL_ERROR, REASON_PEER_DECLINED },
		{ NGHTTP2_NO_ERROR, REASON_PEER_DECLINED },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct hand h;
		struct call c;

		hand_server(&h);
		call_start(&c, &h.side);
		rounds(&h.world, 3);
		frame_u32(&h.b, RST_STREAM, 1, cases[i].code);
		say(&h.world, &h.world.far, &h.b);
		assert_int_equal(c.failed, 1);
		assert_int_equal(c.reason, cases[i].reason);
		assert_int_equal(c.answered, 0);
		call_close(&c);
		hand_stop(&h);
	}
}

static void a_malformed_answer_fails_connect(void **state)
{
	static const char *const two[] = { ":status", "200", ":status", "200", NULL };
	struct hand h;
	struct call c;

	(void)state;
	hand_server(&h);
	call_start(&c, &h.side);
	rounds(&h.world, 3);
	headers(&h.b, 0, 1, two);
	say(&h.world, &h.world.far, &h.b);
	assert_int_equal(c.failed, 1);
	assert_int_equal(c.reason, REASON_TUNNEL_PROTOCOL);
	assert_int_equal(c.answered + h.side.ended, 0);
	call_close(&c);
	hand_stop(&h);
}

static void goaway_fails_the_streams_that_it_leaves_out(void **state)
{
	static const uint8_t last_is_1[] = { 0, 0, 0, 1, 0, 0, 0, 0 };
	struct hand h;
	struct call first, second;

	(void)state;
	open_by_hand(&h, &first);
	call_start(&second, &h.side);
	rounds(&h.world, 3);
	frame(&h.b, GOAWAY, 0, 0, last_is_1, 8);
	say(&h.world, &h.world.far, &h.b);
	assert_int_equal(second.failed, 1);
	assert_int_equal(second.reason, REASON_PEER_CLOSED);
	assert_true(h.side.changed > 0);
	assert_int_equal(mux_session_room(h.side.session), 0);
	frame(&h.b, DATA, 1, 1, NULL, 0);
	say(&h.world, &h.world.far, &h.b);
	assert_int_equal(first.app->read_end, IO_END);
	assert_int_equal(h.side.ended, 0);
	call_close(&second);
	hand_stop(&h);
}

static void frames_that_do_not_belong_into_a_tunnel_break_its_stream(void **state)
{
	static const char *const trailer[] = { "a", "b", NULL };
	struct hand h;
	struct call c;
	struct heard f;

	(void)state;
	open_by_hand(&h, &c);
	headers(&h.b, 1, 1, trailer);
	say(&h.world, &h.world.far, &h.b);
	assert_true(hear_type(&h.world.far, RST_STREAM, &f));
	assert_int_equal(first_u32(&f), NGHTTP2_PROTOCOL_ERROR);
	c.app->read_end = IO_AGAIN;
	app_run(c.app);
	assert_int_equal(c.app->read_end, IO_BROKEN);
	assert_int_equal(h.side.ended, 0);
	hand_stop(&h);
}

static void expect_broken(struct hand *h, struct mem_end *self, struct call *c)
{
	struct heard f;

	say(&h->world, self, &h->b);
	assert_int_equal(h->side.ended, 1);
	assert_int_equal(h->side.reason, REASON_TUNNEL_PROTOCOL);
	assert_int_equal(h->side.why.kind, ERR_PEER);
	assert_true(strlen(h->side.why.text) > 0);
	if (c != NULL)
		assert_int_equal(c->app->read_end, IO_BROKEN);
	assert_true(hear_type(self, GOAWAY, &f));
	hand_stop(h);
}

static void what_is_no_http2_ends_the_session(void **state)
{
	static const char garbage[] = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
	struct hand h;
	struct call c;

	(void)state;
	memset(&h, 0, sizeof(h));
	world_init(&h.world);
	side_start(&h.side, &h.world, MUX_SERVER, 10);
	buf_append_str(&h.b, garbage);
	expect_broken(&h, &h.world.near, NULL);

	/* DATA on stream 0; a frame that is too long; a window that overflows. */
	open_by_hand(&h, &c);
	frame(&h.b, DATA, 0, 0, "x", 1);
	expect_broken(&h, &h.world.far, &c);

	open_by_hand(&h, &c);
	buf_append(&h.b, "\x01\x00\x01\x00\x00\x00\x00\x00\x01", 9);
	expect_broken(&h, &h.world.far, &c);

	open_by_hand(&h, &c);
	frame_u32(&h.b, WINDOW_UPDATE, 0, 0x7fffffff);
	expect_broken(&h, &h.world.far, &c);
}

static void more_data_than_the_window_allows_ends_the_session(void **state)
{
	uint8_t *data = mem_new(32768);
	struct hand h;

	(void)state;
	hand_client(&h, 10);
	frame(&h.b, SETTINGS, 1, 0, NULL, 0);
	h.side.prepare = stall_server;
	connect_by_hand(&h);
	frame(&h.b, DATA, 0, 1, data, 32768);
	frame(&h.b, DATA, 0, 1, data, MUX_WINDOW_FIRST - 32768);
	say(&h.world, &h.world.near, &h.b);
	assert_int_equal(h.side.ended, 0);
	assert_false(h.side.apps[0].s->aborted);
	frame(&h.b, DATA, 0, 1, data, 1);
	say(&h.world, &h.world.near, &h.b);
	h.side.apps[0].peer = 99;
	h.side.apps[0].stalled = false;
	assert_true(h.side.apps[0].s->aborted || h.side.ended == 1);
	hand_stop(&h);
	free(data);
}

static void pings_are_answered_and_floods_end_the_session(void **state)
{
	struct hand h;
	struct heard f;

	(void)state;
	hand_client(&h, 10);
	frame(&h.b, PING, 0, 0, "12345678", 8);
	say(&h.world, &h.world.near, &h.b);
	assert_true(hear_type(&h.world.near, PING, &f));
	assert_int_equal(f.flags, 1);
	assert_true(bytes_equal_str(f.payload, "12345678"));
	for (unsigned i = 0; i < 2000; i++)
		frame(&h.b, PING, 0, 0, "12345678", 8);
	say(&h.world, &h.world.near, &h.b);
	assert_int_equal(h.side.ended, 1);
	assert_int_equal(h.side.reason, REASON_TUNNEL_PROTOCOL);
	hand_stop(&h);
}

static void empty_data_without_end_is_counted_as_flood(void **state)
{
	for (int over = 0; over < 2; over++) {
		struct hand h;

		(void)state;
		hand_client(&h, 10);
		connect_by_hand(&h);
		h.world.far.in.len = h.world.far.in_at = 0;
		for (unsigned i = 0; i < (over ? 3 : 1) * MUX_FLOOD_BURST / 2; i++)
			frame(&h.b, DATA, 0, 1, NULL, 0);
		say(&h.world, &h.world.near, &h.b);
		rounds(&h.world, 20);
		assert_int_equal(h.side.ended, over);
		hand_stop(&h);
	}
}

static void streams_that_are_opened_and_reset_at_once_are_counted_as_flood(void **state)
{
	struct hand h;
	struct heard f;
	uint32_t id = 1;

	(void)state;
	hand_client(&h, 100);
	/* Ten times more than nghttp2 would allow. */
	for (unsigned i = 0; i < MUX_FLOOD_BURST / 2; i++, id += 2) {
		headers(&h.b, 0, id, connect_head);
		frame_u32(&h.b, RST_STREAM, id, NGHTTP2_CANCEL);
	}
	say(&h.world, &h.world.near, &h.b);
	rounds(&h.world, 50);
	assert_int_equal(h.side.ended, 0);
	for (unsigned i = 0; i < MUX_FLOOD_BURST && h.side.ended == 0; i++, id += 2) {
		headers(&h.b, 0, id, connect_head);
		frame_u32(&h.b, RST_STREAM, id, NGHTTP2_CANCEL);
	}
	say(&h.world, &h.world.near, &h.b);
	rounds(&h.world, 100);
	assert_int_equal(h.side.ended, 1);
	assert_true(hear_type(&h.world.near, GOAWAY, &f));
	assert_int_equal(f.payload.data[7], NGHTTP2_ENHANCE_YOUR_CALM);
	hand_stop(&h);
}

static void reset_streams_that_their_owner_still_holds_are_bounded(void **state)
{
	struct hand h;
	struct heard f;
	uint32_t id = 1;

	(void)state;
	hand_client(&h, 10);
	h.side.prepare = stall_server;
	for (unsigned i = 0; i < 30; i++, id += 2) {
		headers(&h.b, 0, id, connect_head);
		say(&h.world, &h.world.near, &h.b);
		frame_u32(&h.b, RST_STREAM, id, NGHTTP2_CANCEL);
		say(&h.world, &h.world.near, &h.b);
	}
	assert_int_equal(h.side.requested, 20);
	assert_true(hear_type(&h.world.near, RST_STREAM, &f));
	assert_int_equal(first_u32(&f), NGHTTP2_REFUSED_STREAM);
	hand_stop(&h);
}

static void a_larger_initial_window_wakes_who_waits_for_it(void **state)
{
	static const uint8_t larger[] = { 0, 4, 0, 2, 0, 0 };
	struct hand h;
	struct call c;

	(void)state;
	open_by_hand(&h, &c);
	c.app->send = 100000;
	frame_u32(&h.b, WINDOW_UPDATE, 0, 1000000);
	say(&h.world, &h.world.far, &h.b);
	app_run(c.app);
	assert_int_equal(c.app->sent, 65535);
	frame(&h.b, SETTINGS, 0, 0, larger, 6);
	say(&h.world, &h.world.far, &h.b);
	assert_int_equal(c.app->sent, 100000);
	hand_stop(&h);
}

static void who_waits_for_the_connection_window_is_called_in_turn(void **state)
{
	enum { COUNT = 4 };
	static const char *const ok[] = { ":status", "200", NULL };
	struct hand h;
	struct call calls[COUNT];

	(void)state;
	hand_server(&h);
	for (unsigned i = 0; i < COUNT; i++) {
		call_start(&calls[i], &h.side);
		calls[i].app->send = 60000;
		calls[i].app->keep_open = true;
	}
	rounds(&h.world, 3);
	for (unsigned i = 0; i < COUNT; i++)
		headers(&h.b, 0, 2 * i + 1, ok);
	say(&h.world, &h.world.far, &h.b);
	assert_int_equal(calls[0].app->sent, 60000);
	assert_int_equal(calls[1].app->sent, 5535);
	for (unsigned i = 0; i < 3; i++) {
		frame_u32(&h.b, WINDOW_UPDATE, 0, 100);
		say(&h.world, &h.world.far, &h.b);
	}
	assert_int_equal(calls[1].app->sent, 5535 + 100);
	assert_int_equal(calls[2].app->sent, 100);
	assert_int_equal(calls[3].app->sent, 100);
	hand_stop(&h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_first_bytes_of_a_client_are_preface_settings_window_and_connect),
		cmocka_unit_test(a_server_announces_its_streams_and_answers_connect_with_200_and_a_date),
		cmocka_unit_test(bytes_pass_both_ways_exactly_in_pieces_of_any_size),
		cmocka_unit_test(the_end_of_one_direction_leaves_the_other_open),
		cmocka_unit_test(an_abort_of_the_client_is_a_reset_for_the_server),
		cmocka_unit_test(an_abort_of_the_server_is_a_reset_for_the_client_even_after_its_end),
		cmocka_unit_test(finishing_a_stream_whose_peer_has_not_ended_is_an_abort),
		cmocka_unit_test(a_refused_stream_is_answered_with_its_status),
		cmocka_unit_test(a_stream_that_is_closed_before_its_answer_is_withdrawn),
		cmocka_unit_test(a_stream_that_comes_and_goes_in_one_round_is_never_told),
		cmocka_unit_test(no_more_streams_than_the_peer_allows),
		cmocka_unit_test(a_stalled_reader_holds_back_only_its_own_stream),
		cmocka_unit_test(a_reader_that_never_reads_costs_its_first_window_and_no_more),
		cmocka_unit_test(the_window_of_a_swift_reader_grows_while_the_pool_has_room),
		cmocka_unit_test(without_room_stalled_streams_hold_their_first_windows_and_nobody_else_back),
		cmocka_unit_test(the_end_waits_for_a_full_window_even_after_the_stream_was_closed),
		cmocka_unit_test(goaway_ends_a_session_when_its_streams_have_ended),
		cmocka_unit_test(a_stream_that_crosses_the_first_goaway_of_a_server_is_served),
		cmocka_unit_test(a_connect_that_is_too_late_fails_and_may_be_tried_elsewhere),
		cmocka_unit_test(a_connect_over_a_limit_that_comes_before_it_has_left_is_given_back),
		cmocka_unit_test(a_session_that_is_freed_aborts_its_streams_on_both_sides),
		cmocka_unit_test(the_loss_of_the_transport_resets_all_streams),
		cmocka_unit_test(a_connection_that_closes_without_a_stream_is_done),
		cmocka_unit_test(a_stream_may_be_closed_while_its_bytes_are_shown),
		cmocka_unit_test(a_session_may_be_freed_while_its_bytes_are_shown),
		cmocka_unit_test(two_thousand_streams_pass_their_bytes),
		cmocka_unit_test(ten_thousand_idle_streams_may_be_reset_at_once),
		cmocka_unit_test(streams_share_a_slow_transport_evenly),
		cmocka_unit_test(small_pushes_of_one_round_leave_together),
		cmocka_unit_test(requests_that_are_no_connect_get_400_and_the_session_lives),
		cmocka_unit_test(extra_headers_are_tolerated_but_content_is_not),
		cmocka_unit_test(a_header_list_of_16_kib_is_the_limit),
		cmocka_unit_test(data_before_the_answer_waits_for_it),
		cmocka_unit_test(data_of_one_stream_that_arrives_together_is_shown_together),
		cmocka_unit_test(data_is_shown_apart_where_something_else_stands_between),
		cmocka_unit_test(data_whose_frames_arrive_in_pieces_is_exact_wherever_they_are_cut),
		cmocka_unit_test(padding_that_looks_like_the_head_of_a_frame_is_none),
		cmocka_unit_test(data_of_two_streams_is_exact_however_it_is_framed),
		cmocka_unit_test(a_chunk_whose_successor_is_refused_is_not_lost_to_another_stream),
		cmocka_unit_test(what_came_in_front_of_data_that_may_not_be_is_shown),
		cmocka_unit_test(a_client_sends_no_data_before_200),
		cmocka_unit_test(only_200_opens_a_tunnel),
		cmocka_unit_test(what_a_reset_means),
		cmocka_unit_test(an_answer_with_its_end_and_a_reset_in_one_view_is_no_abort),
		cmocka_unit_test(a_reset_before_the_answer_says_why_connect_failed),
		cmocka_unit_test(a_malformed_answer_fails_connect),
		cmocka_unit_test(goaway_fails_the_streams_that_it_leaves_out),
		cmocka_unit_test(frames_that_do_not_belong_into_a_tunnel_break_its_stream),
		cmocka_unit_test(what_is_no_http2_ends_the_session),
		cmocka_unit_test(more_data_than_the_window_allows_ends_the_session),
		cmocka_unit_test(pings_are_answered_and_floods_end_the_session),
		cmocka_unit_test(empty_data_without_end_is_counted_as_flood),
		cmocka_unit_test(streams_that_are_opened_and_reset_at_once_are_counted_as_flood),
		cmocka_unit_test(reset_streams_that_their_owner_still_holds_are_bounded),
		cmocka_unit_test(a_larger_initial_window_wakes_who_waits_for_it),
		cmocka_unit_test(who_waits_for_the_connection_window_is_called_in_turn),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
