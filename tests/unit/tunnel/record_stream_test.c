/* SPDX-License-Identifier: Apache-2.0 */
/* Two record streams over a socket pair, or one against bytes that the test seals itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "crypto/aead.h"
#include "io/pool.h"
#include "io/worker.h"
#include "tunnel/rats_tls/record_stream.h"

struct end {
	struct record_stream rs;
	struct stream_events events;
	struct buf got;
	enum io_result last;
};

struct fixture {
	struct worker worker;
	struct pool_budget budget;
	struct end a;
	int peer; /* the descriptor behind a */
	struct record_side peer_rx;
	struct record_side peer_tx;
	struct aead_cache *peer_aead;
	struct timer patience;
};

static void make_side(struct record_side *s, char fill)
{
	uint8_t secret[32];
	struct err e;

	memset(secret, fill, sizeof(secret));
	assert_int_equal(record_side_init(s, SUITE_AES_128_GCM_SHA256, bytes_of(secret, 32), &e), 0);
}

/* Takes everything there is, one small piece at a time, as a slow reader does. */
static void drain(struct end *end, size_t piece)
{
	struct stream *s = &end->rs.stream;
	struct bytes view;

	while ((end->last = s->ops->pull(s, &view)) == IO_OK) {
		size_t n = MIN(view.len, piece);

		buf_append(&end->got, view.data, n);
		s->ops->consumed(s, n);
	}
}

static void on_ready(struct stream_events *self, struct stream *s)
{
	(void)s;
	drain(container_of(self, struct end, events), SIZE_MAX);
}

static void on_patience(struct timer *t)
{
	loop_stop(container_of(t, struct fixture, patience)->worker.loop);
}

static void run(struct fixture *x)
{
	timer_start(x->worker.loop, &x->patience, 5);
	loop_run(x->worker.loop);
}

static void open_stream(struct fixture *x, struct bytes early)
{
	struct record_side rx;
	struct record_side tx;
	struct err e;

	make_side(&rx, 'r');
	make_side(&tx, 't');
	record_stream_open(&x->a.rs, &rx, &tx, early);
	x->a.rs.stream.events = &x->a.events;
	assert_int_equal(loop_watch(x->worker.loop, &x->a.rs.watch, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, &e), 0);
}

static int set_up(void **state)
{
	struct fixture *x = mem_new_of(struct fixture);
	struct err e;
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
	x->peer = pair[1];
	x->worker.loop = loop_new(&e);
	x->budget.limit = 64 << 20;
	x->worker.pool = pool_new(&x->budget);
	x->worker.aead = aead_cache_new();
	x->peer_aead = aead_cache_new();
	make_side(&x->peer_tx, 'r');
	make_side(&x->peer_rx, 't');
	timer_init(&x->patience, on_patience);
	x->a.events.ready = on_ready;
	record_stream_init(&x->a.rs, &x->worker, pair[0]);
	*state = x;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *x = *state;

	x->a.rs.stream.ops->close(&x->a.rs.stream, STREAM_FINISHED);
	assert_int_equal(x->a.rs.watch.fd, -1);
	assert_int_equal(x->budget.used, 0);
	buf_release(&x->a.got);
	if (x->peer >= 0)
		close(x->peer);
	pool_free(x->worker.pool);
	aead_cache_free(x->worker.aead);
	aead_cache_free(x->peer_aead);
	loop_free(x->worker.loop);
	free(x);
	return 0;
}

static void peer_seals(struct fixture *x, struct buf *out, const char *text)
{
	uint8_t sealed[17000];

	buf_append(out, sealed,
		   record_seal(x->peer_aead, &x->peer_tx, RECORD_DATA, (const uint8_t *)text, strlen(text), sealed));
}

static void peer_writes(struct fixture *x, const struct buf *bytes)
{
	assert_int_equal(write(x->peer, bytes->data, bytes->len), (ssize_t)bytes->len);
}

static void records_of_the_peer_become_bytes(void **state)
{
	struct fixture *x = *state;
	struct buf wire = { 0 };

	open_stream(x, (struct bytes){ NULL, 0 });
	peer_seals(x, &wire, "one ");
	peer_seals(x, &wire, "two");
	peer_writes(x, &wire);
	run(x);
	assert_string_equal(buf_str(&x->a.got), "one two");
	assert_int_equal(x->a.last, IO_AGAIN);
	buf_release(&wire);
}

static void a_record_that_comes_byte_by_byte_is_put_together(void **state)
{
	struct fixture *x = *state;
	struct buf wire = { 0 };

	open_stream(x, (struct bytes){ NULL, 0 });
	peer_seals(x, &wire, "slowly");
	for (size_t i = 0; i < wire.len; i++) {
		assert_int_equal(write(x->peer, wire.data + i, 1), 1);
		run(x);
	}
	assert_string_equal(buf_str(&x->a.got), "slowly");
	buf_release(&wire);
}

static void bytes_that_came_with_the_handshake_come_first(void **state)
{
	struct fixture *x = *state;
	struct buf early = { 0 };
	struct buf late = { 0 };

	peer_seals(x, &early, "early ");
	peer_seals(x, &early, "too ");
	peer_seals(x, &late, "late");
	buf_append(&early, late.data, 7);
	open_stream(x, buf_bytes(&early));
	drain(&x->a, SIZE_MAX);
	assert_string_equal(buf_str(&x->a.got), "early too ");
	assert_int_equal(write(x->peer, late.data + 7, late.len - 7), (ssize_t)(late.len - 7));
	run(x);
	assert_string_equal(buf_str(&x->a.got), "early too late");
	buf_release(&early);
	buf_release(&late);
}

static void what_is_not_consumed_is_kept(void **state)
{
	struct fixture *x = *state;
	struct buf wire = { 0 };

	open_stream(x, (struct bytes){ NULL, 0 });
	x->a.rs.stream.events = NULL;
	peer_seals(x, &wire, "piece by piece");
	peer_writes(x, &wire);
	run(x);
	drain(&x->a, 1);
	assert_string_equal(buf_str(&x->a.got), "piece by piece");
	assert_int_equal(x->budget.used, 0);
	buf_release(&wire);
}

static void close_notify_is_the_end(void **state)
{
	struct fixture *x = *state;
	struct buf wire = { 0 };
	uint8_t alert[64];

	open_stream(x, (struct bytes){ NULL, 0 });
	peer_seals(x, &wire, "bye");
	buf_append(&wire, alert, record_seal_alert(x->peer_aead, &x->peer_tx, ALERT_CLOSE_NOTIFY, alert));
	peer_writes(x, &wire);
	run(x);
	assert_string_equal(buf_str(&x->a.got), "bye");
	assert_int_equal(x->a.last, IO_END);
	buf_release(&wire);
}

static void an_end_without_close_notify_is_an_abort(void **state)
{
	struct fixture *x = *state;
	struct buf wire = { 0 };

	open_stream(x, (struct bytes){ NULL, 0 });
	peer_seals(x, &wire, "cut");
	peer_writes(x, &wire);
	close(x->peer);
	x->peer = -1;
	run(x);
	assert_string_equal(buf_str(&x->a.got), "cut");
	assert_int_equal(x->a.last, IO_RESET);
	assert_true(x->a.rs.truncated);
	buf_release(&wire);
}

static void a_forged_record_breaks_the_stream_and_is_answered_with_an_alert(void **state)
{
	struct fixture *x = *state;
	struct buf wire = { 0 };
	uint8_t answer[256];
	uint8_t plain[RECORD_MAX_PLAIN + 256];
	struct record_messages messages = { 0 };
	struct record_opened o;
	ssize_t n;

	open_stream(x, (struct bytes){ NULL, 0 });
	peer_seals(x, &wire, "forged");
	wire.data[wire.len - 1] ^= 1;
	peer_writes(x, &wire);
	run(x);
	assert_int_equal(x->a.got.len, 0);
	assert_int_equal(x->a.last, IO_BROKEN);
	n = read(x->peer, answer, sizeof(answer));
	assert_true(n > 0);
	o = record_open(x->peer_aead, &x->peer_rx, &messages, bytes_of(answer, (size_t)n), plain);
	assert_int_equal(o.result, RECORD_PEER_ALERT);
	assert_int_equal(o.alert, ALERT_BAD_RECORD_MAC);
	buf_release(&wire);
}

static size_t peer_reads(struct fixture *x, struct buf *plain_out, struct buf *wire)
{
	static uint8_t plain[RECORD_MAX_PLAIN + 256];
	struct record_messages messages = { 0 };
	uint8_t chunk[30000];
	ssize_t n = read(x->peer, chunk, sizeof(chunk));

	if (n > 0)
		buf_append(wire, chunk, (size_t)n);
	for (;;) {
		struct record_opened o =
			record_open(x->peer_aead, &x->peer_rx, &messages, buf_bytes(wire), plain);

		if (o.result != RECORD_PLAIN)
			return n > 0 ? (size_t)n : 0;
		buf_append(plain_out, plain, o.plain_len);
		memmove(wire->data, wire->data + o.wire_len, wire->len - o.wire_len);
		wire->len -= o.wire_len;
	}
}

static void pushing_into_a_full_socket_takes_no_more_and_loses_nothing(void **state)
{
	struct fixture *x = *state;
	struct stream *s = &x->a.rs.stream;
	size_t size = 4 << 20;
	uint8_t *data = mem_new(size);
	struct buf plain = { 0 };
	struct buf wire = { 0 };
	size_t pushed = 0;
	bool was_full = false;

	for (size_t i = 0; i < size; i++)
		data[i] = (uint8_t)(i * 2654435761u >> 13);
	open_stream(x, (struct bytes){ NULL, 0 });
	while (plain.len < size) {
		size_t taken = 0;

		assert_int_equal(s->ops->push(s, bytes_of(data + pushed, size - pushed), &taken), IO_OK);
		pushed += taken;
		was_full = was_full || !s->writable;
		peer_reads(x, &plain, &wire);
		run(x);
	}
	assert_true(was_full);
	assert_int_equal(plain.len, size);
	assert_memory_equal(plain.data, data, size);
	free(data);
	buf_release(&plain);
	buf_release(&wire);
}

#define stream_test(t) cmocka_unit_test_setup_teardown(t, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		stream_test(records_of_the_peer_become_bytes),
		stream_test(a_record_that_comes_byte_by_byte_is_put_together),
		stream_test(bytes_that_came_with_the_handshake_come_first),
		stream_test(what_is_not_consumed_is_kept),
		stream_test(close_notify_is_the_end),
		stream_test(an_end_without_close_notify_is_an_abort),
		stream_test(a_forged_record_breaks_the_stream_and_is_answered_with_an_alert),
		stream_test(pushing_into_a_full_socket_takes_no_more_and_loses_nothing),
	};
	struct err e;

	if (aead_select("auto", &e) < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
