/* SPDX-License-Identifier: Apache-2.0 */
/* One record stream, with each record layer that there is, against bytes that the test seals itself. */
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

#include "attest/identity.h"
#include "crypto/aead.h"
#include "crypto/libctx.h"
#include "crypto/tls.h"
#include "crypto/tls_records.h"
#include "io/pool.h"
#include "io/worker.h"
#include "tunnel/rats_tls/record_stream.h"

enum way { OWN, LIBSSL_CLIENT, LIBSSL_SERVER };

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
	enum way way;
	struct libctx *libctx;
	struct tls_handshake *tls; /* until the stream is open */
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

	if (x->way == OWN) {
		make_side(&rx, 'r');
		make_side(&tx, 't');
		record_stream_open(&x->a.rs, &rx, &tx, early);
	} else {
		record_stream_open_libssl(&x->a.rs, x->tls, early);
		x->tls = NULL;
	}
	x->a.rs.stream.events = &x->a.events;
	assert_int_equal(loop_watch(x->worker.loop, &x->a.rs.watch, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, &e), 0);
}

static struct tls_config *make_config(struct libctx *l, enum tls_role role, bool libssl_records)
{
	struct err e;
	struct tls_config *c = tls_config_new(&(struct tls_options){ .role = role,
								     .alpn = TLS_ALPN_RAW,
								     .max_cert_size = 1 << 20,
								     .libctx = l,
								     .libssl_records = libssl_records },
					      &e);

	assert_non_null(c);
	if (role == TLS_SERVER) {
		struct identity *id = identity_new_dummy(&e);

		assert_int_equal(tls_config_set_identity(c, buf_bytes(&id->cert_der), buf_bytes(&id->key_der), &e), 0);
		identity_unref(id);
	}
	return c;
}

static enum tls_step step(struct tls_handshake *h, const struct buf *in, struct buf *out)
{
	enum reason reason;
	struct err e;
	size_t used;
	enum tls_step result = tls_handshake_step(h, buf_bytes(in), &used, out, &reason, &e);

	assert_int_not_equal(result, TLS_FAILED);
	assert_int_equal(used, in->len);
	return result;
}

/* libssl keeps the records of one end, the test takes the secrets of the other. */
static void shake_hands(struct fixture *x)
{
	enum tls_role role = x->way == LIBSSL_CLIENT ? TLS_CLIENT : TLS_SERVER;
	struct tls_config *ours = make_config(x->libctx, role, true);
	struct tls_config *theirs = make_config(x->libctx, role == TLS_CLIENT ? TLS_SERVER : TLS_CLIENT, false);
	struct err e;
	struct tls_handshake *tls = tls_handshake_new(ours, NULL, &e);
	struct tls_handshake *peer = tls_handshake_new(theirs, NULL, &e);
	struct tls_handshake *client = role == TLS_CLIENT ? tls : peer;
	struct tls_handshake *server = role == TLS_CLIENT ? peer : tls;
	struct buf hello = { 0 };
	struct buf flight = { 0 };
	struct buf finished = { 0 };

	assert_int_equal(step(client, &flight, &hello), TLS_MORE);
	assert_int_equal(step(server, &hello, &flight), TLS_MORE);
	assert_int_equal(step(client, &flight, &finished), TLS_DONE);
	buf_clear(&flight);
	assert_int_equal(step(server, &finished, &flight), TLS_DONE);
	assert_int_equal(flight.len, 0);
	assert_int_equal(tls_handshake_sides(peer, &x->peer_rx, &x->peer_tx, &e), 0);
	assert_int_equal(tls_handshake_sides(tls, &x->a.rs.rx, &x->a.rs.tx, &e), -1);
	tls_records_begin(tls);
	x->tls = tls;
	tls_handshake_free(peer);
	tls_config_free(ours);
	tls_config_free(theirs);
	buf_release(&hello);
	buf_release(&flight);
	buf_release(&finished);
}

static int set_up(void **state, enum way way)
{
	struct fixture *x = mem_new_of(struct fixture);
	struct err e;
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
	x->peer = pair[1];
	x->way = way;
	x->worker.loop = loop_new(&e);
	x->budget.limit = 64 << 20;
	x->worker.pool = pool_new(&x->budget);
	x->worker.aead = aead_cache_new();
	x->peer_aead = aead_cache_new();
	timer_init(&x->patience, on_patience);
	x->a.events.ready = on_ready;
	record_stream_init(&x->a.rs, &x->worker, pair[0]);
	if (way == OWN) {
		make_side(&x->peer_tx, 'r');
		make_side(&x->peer_rx, 't');
	} else {
		x->libctx = libctx_new(&e);
		assert_non_null(x->libctx);
		shake_hands(x);
	}
	*state = x;
	return 0;
}

static int set_up_own(void **state)
{
	return set_up(state, OWN);
}

static int set_up_libssl_client(void **state)
{
	return set_up(state, LIBSSL_CLIENT);
}

static int set_up_libssl_server(void **state)
{
	return set_up(state, LIBSSL_SERVER);
}

static int tear_down(void **state)
{
	struct fixture *x = *state;

	x->a.rs.stream.ops->close(&x->a.rs.stream, STREAM_FINISHED);
	assert_int_equal(x->a.rs.watch.fd, -1);
	assert_null(x->a.rs.libssl);
	assert_int_equal(x->budget.used, 0);
	buf_release(&x->a.got);
	if (x->peer >= 0)
		close(x->peer);
	pool_free(x->worker.pool);
	aead_cache_free(x->worker.aead);
	aead_cache_free(x->peer_aead);
	loop_free(x->worker.loop);
	tls_handshake_free(x->tls);
	libctx_free(x->libctx);
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
		struct record_opened o = record_open(x->peer_aead, &x->peer_rx, &messages, buf_bytes(wire), plain);

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

/* ---- what goes on beside the data ---- */

/* One record as a peer may make it and record_seal() does not: with this behind the content. */
static void peer_seals_tail(struct fixture *x, struct buf *out, struct bytes content, struct bytes tail)
{
	struct record_side *s = &x->peer_tx;
	size_t body = content.len + tail.len + AEAD_TAG_LEN;
	uint8_t *at = buf_reserve(out, RECORD_HEADER_LEN + body);
	const uint8_t header[] = { RECORD_DATA, 3, 3, (uint8_t)(body >> 8), (uint8_t)body };
	uint8_t nonce[AEAD_IV_LEN];

	memcpy(nonce, s->iv, sizeof(nonce));
	nonce[AEAD_IV_LEN - 1] ^= (uint8_t)s->sequence++;
	memcpy(at, header, sizeof(header));
	aead_seal_tail(x->peer_aead, &s->key, nonce, bytes_of(at, RECORD_HEADER_LEN), content, tail,
		       at + RECORD_HEADER_LEN);
	out->len += RECORD_HEADER_LEN + body;
}

static void peer_seals_message(struct fixture *x, struct buf *out, const void *message, size_t len)
{
	const uint8_t tail[] = { RECORD_HANDSHAKE };

	peer_seals_tail(x, out, bytes_of(message, len), bytes_of(tail, 1));
}

static void peer_seals_key_update(struct fixture *x, struct buf *out, bool request)
{
	uint8_t sealed[64];

	buf_append(out, sealed, record_seal_key_update(x->peer_aead, &x->peer_tx, request, sealed));
}

static void peer_seals_alert(struct fixture *x, struct buf *out, enum tls_alert alert)
{
	uint8_t sealed[64];

	buf_append(out, sealed, record_seal_alert(x->peer_aead, &x->peer_tx, alert, sealed));
}

/* Opens the first record that a has sent, and takes it off wire. */
static enum record_result peer_opens(struct fixture *x, struct buf *wire, struct buf *plain_out)
{
	static uint8_t plain[RECORD_MAX_PLAIN + 256];
	struct record_messages messages = { 0 };
	uint8_t chunk[30000];
	ssize_t n = read(x->peer, chunk, sizeof(chunk));
	struct record_opened o;

	if (n > 0)
		buf_append(wire, chunk, (size_t)n);
	o = record_open(x->peer_aead, &x->peer_rx, &messages, buf_bytes(wire), plain);
	if (o.result == RECORD_PLAIN)
		buf_append(plain_out, plain, o.plain_len);
	if (o.wire_len > 0)
		memmove(wire->data, wire->data + o.wire_len, wire->len - o.wire_len);
	wire->len -= o.wire_len;
	return o.result;
}

static void push_text(struct fixture *x, const char *text)
{
	size_t taken;

	assert_int_equal(x->a.rs.stream.ops->push(&x->a.rs.stream, bytes_str(text), &taken), IO_OK);
	assert_int_equal(taken, strlen(text));
}

static void a_key_update_is_followed_and_answered_where_the_peer_asks(void **state)
{
	struct fixture *x = *state;
	struct buf wire = { 0 };
	struct buf answer = { 0 };
	struct buf plain = { 0 };
	size_t answers = 0; /* and the data; libssl answers each */

	open_stream(x, (struct bytes){ NULL, 0 });
	peer_seals(x, &wire, "old ");
	peer_seals_key_update(x, &wire, false);
	peer_seals(x, &wire, "new ");
	for (int i = 0; i < RECORD_MAX_KEY_UPDATES - 1; i++)
		peer_seals_key_update(x, &wire, true);
	peer_seals(x, &wire, "newest");
	peer_writes(x, &wire);
	run(x);
	assert_string_equal(buf_str(&x->a.got), "old new newest");
	push_text(x, "ours");
	for (enum record_result result = RECORD_KEY_UPDATED; result != RECORD_PLAIN; answers++) {
		result = peer_opens(x, &answer, &plain);
		assert_true(result == RECORD_PLAIN || result == RECORD_KEY_UPDATED);
	}
	assert_in_range(answers, 2, x->way == OWN ? 2 : RECORD_MAX_KEY_UPDATES);
	assert_string_equal(buf_str(&plain), "ours");
	assert_int_equal(answer.len, 0);
	buf_release(&wire);
	buf_release(&answer);
	buf_release(&plain);
}

static void our_key_moves_on_before_it_is_worn_out(void **state)
{
	struct fixture *x = *state;
	struct buf wire = { 0 };
	struct buf plain = { 0 };

	open_stream(x, (struct bytes){ NULL, 0 });
	push_text(x, "one ");
	assert_int_equal(peer_opens(x, &wire, &plain), RECORD_PLAIN);
	assert_int_equal(x->a.rs.tx.sequence, 1);
	x->a.rs.tx.sequence = 1 << 24;
	if (x->way == OWN) /* which also makes its nonces of it */
		x->peer_rx.sequence = 1 << 24;
	push_text(x, "two");
	assert_int_equal(peer_opens(x, &wire, &plain), RECORD_KEY_UPDATED);
	assert_int_equal(peer_opens(x, &wire, &plain), RECORD_PLAIN);
	assert_string_equal(buf_str(&plain), "one two");
	assert_int_equal(x->a.rs.tx.sequence, 1);
	buf_release(&wire);
	buf_release(&plain);
}

/* type, 3 bytes of length, lifetime, age_add, nonce, ticket, extensions */
static const uint8_t ticket[] = {
	4, 0, 0, 20, 0, 0, 14, 16, 1, 2, 3, 4, 1, 0, 0, 6, 't', 'i', 'c', 'k', 'e', 't', 0, 0
};

static void tickets_are_dropped_whole_and_in_pieces_of_one_byte(void **state)
{
	struct fixture *x = *state;
	struct buf wire = { 0 };

	open_stream(x, (struct bytes){ NULL, 0 });
	peer_seals_message(x, &wire, ticket, sizeof(ticket));
	peer_seals(x, &wire, "between ");
	for (size_t i = 0; i < sizeof(ticket); i++)
		peer_seals_message(x, &wire, ticket + i, 1);
	peer_seals(x, &wire, "tickets");
	peer_writes(x, &wire);
	run(x);
	assert_string_equal(buf_str(&x->a.got), "between tickets");
	push_text(x, "fine");
	buf_release(&wire);
}

static void a_server_refuses_tickets(void **state)
{
	struct fixture *x = *state;
	struct buf wire = { 0 };

	open_stream(x, (struct bytes){ NULL, 0 });
	x->a.rs.messages.refuse_tickets = true;
	peer_seals_message(x, &wire, ticket, sizeof(ticket));
	peer_writes(x, &wire);
	run(x);
	assert_int_equal(x->a.last, IO_BROKEN);
	buf_release(&wire);
}

static void tickets_without_end_break_the_stream(void **state)
{
	struct fixture *x = *state;
	uint8_t big[16000] = { 4, 0, (sizeof(big) - 4) >> 8,  (sizeof(big) - 4) & 0xff, 0, 0, 14, 16, 1, 2, 3, 4,
			       1, 0, (sizeof(big) - 18) >> 8, (sizeof(big) - 18) & 0xff };
	struct buf wire = { 0 };

	open_stream(x, (struct bytes){ NULL, 0 });
	for (size_t sent = 0; sent + sizeof(big) <= RECORD_MAX_MESSAGE_BYTES; sent += sizeof(big)) {
		peer_seals_message(x, &wire, big, sizeof(big));
		peer_writes(x, &wire);
		buf_clear(&wire);
		run(x);
		assert_int_equal(x->a.last, IO_AGAIN);
	}
	peer_seals_message(x, &wire, big, sizeof(big));
	peer_writes(x, &wire);
	run(x);
	assert_int_equal(x->a.last, IO_BROKEN);
	buf_release(&wire);
}

static void key_updates_without_end_break_the_stream(void **state)
{
	struct fixture *x = *state;
	struct buf wire = { 0 };

	open_stream(x, (struct bytes){ NULL, 0 });
	for (int i = 0; i < RECORD_MAX_KEY_UPDATES; i++)
		peer_seals_key_update(x, &wire, false);
	peer_seals(x, &wire, "data begins a new count");
	for (int i = 0; i < RECORD_MAX_KEY_UPDATES; i++)
		peer_seals_key_update(x, &wire, false);
	peer_writes(x, &wire);
	run(x);
	assert_int_equal(x->a.last, IO_AGAIN);
	buf_clear(&wire);
	peer_seals_key_update(x, &wire, false);
	peer_writes(x, &wire);
	run(x);
	assert_int_equal(x->a.last, IO_BROKEN);
	buf_release(&wire);
}

static void padding_and_empty_records_are_taken_off(void **state)
{
	static const uint8_t padded[300] = { RECORD_DATA };
	struct fixture *x = *state;
	struct buf wire = { 0 };

	open_stream(x, (struct bytes){ NULL, 0 });
	peer_seals_tail(x, &wire, bytes_str("pad"), bytes_of(padded, sizeof(padded)));
	peer_seals(x, &wire, "");
	peer_seals_tail(x, &wire, bytes_str("ded"), bytes_of(padded, 1));
	peer_writes(x, &wire);
	run(x);
	assert_string_equal(buf_str(&x->a.got), "padded");
	assert_int_equal(x->a.last, IO_AGAIN);
	buf_release(&wire);
}

static void empty_records_without_end_break_the_stream(void **state)
{
	struct fixture *x = *state;
	struct buf wire = { 0 };

	open_stream(x, (struct bytes){ NULL, 0 });
	for (int i = 0; i < 40; i++)
		peer_seals(x, &wire, "");
	peer_writes(x, &wire);
	run(x);
	assert_int_equal(x->a.last, IO_BROKEN);
	buf_release(&wire);
}

static void zeros_only_break_the_stream(void **state)
{
	static const uint8_t zeros[20];
	struct fixture *x = *state;
	struct buf wire = { 0 };

	open_stream(x, (struct bytes){ NULL, 0 });
	peer_seals_tail(x, &wire, bytes_str(""), bytes_of(zeros, sizeof(zeros)));
	peer_writes(x, &wire);
	run(x);
	assert_int_equal(x->a.last, IO_BROKEN);
	buf_release(&wire);
}

static void a_fatal_alert_of_the_peer_is_told(void **state)
{
	struct fixture *x = *state;
	struct buf wire = { 0 };
	struct err why;

	open_stream(x, (struct bytes){ NULL, 0 });
	assert_false(record_stream_alert(&x->a.rs, &why));
	peer_seals(x, &wire, "before");
	peer_seals_alert(x, &wire, ALERT_CERTIFICATE_REQUIRED);
	peer_writes(x, &wire);
	run(x);
	assert_string_equal(buf_str(&x->a.got), "before");
	assert_int_equal(x->a.last, IO_RESET);
	assert_int_equal(x->a.rs.peer_alert, ALERT_CERTIFICATE_REQUIRED);
	assert_true(record_stream_alert(&x->a.rs, &why));
	assert_false(x->a.rs.truncated);
	buf_release(&wire);
}

static void user_canceled_is_ignored(void **state)
{
	struct fixture *x = *state;
	struct buf wire = { 0 };

	open_stream(x, (struct bytes){ NULL, 0 });
	peer_seals_alert(x, &wire, ALERT_USER_CANCELED);
	peer_seals(x, &wire, "after");
	peer_writes(x, &wire);
	run(x);
	assert_string_equal(buf_str(&x->a.got), "after");
	assert_int_equal(x->a.last, IO_AGAIN);
	buf_release(&wire);
}

/* Five bytes are enough: the body never has to come. */
static void a_wrong_header_breaks_the_stream_at_once(void **state)
{
	static const uint8_t headers[][RECORD_HEADER_LEN] = {
		{ 'H', 'T', 'T', 'P', '/' },
		{ RECORD_DATA, 3, 3, 0x41, 0x01 },
		{ RECORD_HANDSHAKE, 3, 3, 0, 200 },
		{ RECORD_ALERT, 3, 3, 0, 2 },
		{ 20, 3, 3, 0, 1 },
		{ RECORD_DATA, 3, 3, 0, 0 },
	};
	struct fixture *x = *state;

	for (size_t i = 0; i < ARRAY_SIZE(headers); i++) {
		struct fixture *y;

		assert_int_equal(set_up((void **)&y, x->way), 0);
		open_stream(y, (struct bytes){ NULL, 0 });
		assert_int_equal(write(y->peer, headers[i], RECORD_HEADER_LEN), RECORD_HEADER_LEN);
		run(y);
		assert_int_equal(y->a.last, IO_BROKEN);
		tear_down((void **)&y);
	}
}

static void each_direction_ends_by_itself(void **state)
{
	struct fixture *x = *state;
	struct stream *s = &x->a.rs.stream;
	struct buf wire = { 0 };
	struct buf sent = { 0 };
	struct buf plain = { 0 };
	size_t taken;

	open_stream(x, (struct bytes){ NULL, 0 });
	peer_seals(x, &wire, "question");
	peer_seals_alert(x, &wire, ALERT_CLOSE_NOTIFY);
	peer_writes(x, &wire);
	run(x);
	assert_int_equal(x->a.last, IO_END);
	push_text(x, "answer");
	assert_int_equal(s->ops->shutdown(s), IO_OK);
	assert_int_equal(s->ops->shutdown(s), IO_OK);
	assert_int_equal(peer_opens(x, &sent, &plain), RECORD_PLAIN);
	assert_int_equal(peer_opens(x, &sent, &plain), RECORD_CLOSED);
	assert_string_equal(buf_str(&plain), "answer");
	assert_int_equal(read(x->peer, &taken, 1), 0);
	buf_release(&wire);
	buf_release(&sent);
	buf_release(&plain);
}

static void what_comes_after_our_own_end_is_still_read(void **state)
{
	struct fixture *x = *state;
	struct stream *s = &x->a.rs.stream;
	struct buf wire = { 0 };

	open_stream(x, (struct bytes){ NULL, 0 });
	assert_int_equal(s->ops->shutdown(s), IO_OK);
	peer_seals(x, &wire, "late ");
	for (int i = 0; i < 3 * RECORD_MAX_KEY_UPDATES; i++) {
		peer_seals_key_update(x, &wire, true);
		peer_seals(x, &wire, i == 0 ? "answer" : ".");
	}
	peer_seals_alert(x, &wire, ALERT_CLOSE_NOTIFY);
	peer_writes(x, &wire);
	run(x);
	assert_int_equal(x->a.got.len, strlen("late answer") + 3 * RECORD_MAX_KEY_UPDATES - 1);
	assert_memory_equal(x->a.got.data, "late answer...", strlen("late answer..."));
	assert_int_equal(x->a.last, IO_END);
	buf_release(&wire);
}

static void full_records_pass_in_both_directions(void **state)
{
	struct fixture *x = *state;
	char *text = mem_new(RECORD_MAX_PLAIN * 3 + 100);
	struct buf wire = { 0 };
	struct buf plain = { 0 };
	size_t taken;

	open_stream(x, (struct bytes){ NULL, 0 });
	memset(text, 'x', RECORD_MAX_PLAIN * 3 + 99);
	assert_int_equal(x->a.rs.stream.ops->push(&x->a.rs.stream, bytes_str(text), &taken), IO_OK);
	assert_int_equal(taken, RECORD_MAX_PLAIN * 3 + 99);
	while (plain.len < taken) {
		enum record_result result = peer_opens(x, &wire, &plain);

		assert_true(result == RECORD_PLAIN || result == RECORD_MORE);
	}
	assert_int_equal(x->peer_rx.sequence, 4);
	text[RECORD_MAX_PLAIN] = '\0';
	buf_clear(&wire);
	peer_seals(x, &wire, text);
	peer_seals(x, &wire, text);
	peer_writes(x, &wire);
	run(x);
	assert_int_equal(x->a.got.len, 2 * RECORD_MAX_PLAIN);
	free(text);
	buf_release(&wire);
	buf_release(&plain);
}

#define TEST_WITH(t, set_up_way)                                                                                       \
	{                                                                                                              \
#t " with " #set_up_way, t, set_up_way, tear_down, NULL                                                \
	}
/* For a peer that is a server, or may be. */
#define test_as_client(t) TEST_WITH(t, set_up_own), TEST_WITH(t, set_up_libssl_client)
#define test_as_server(t) TEST_WITH(t, set_up_own), TEST_WITH(t, set_up_libssl_server)
#define test_in_every_way(t) test_as_client(t), TEST_WITH(t, set_up_libssl_server)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test_in_every_way(records_of_the_peer_become_bytes),
		test_in_every_way(a_record_that_comes_byte_by_byte_is_put_together),
		test_in_every_way(bytes_that_came_with_the_handshake_come_first),
		test_in_every_way(what_is_not_consumed_is_kept),
		test_in_every_way(close_notify_is_the_end),
		test_in_every_way(an_end_without_close_notify_is_an_abort),
		test_in_every_way(a_forged_record_breaks_the_stream_and_is_answered_with_an_alert),
		test_in_every_way(pushing_into_a_full_socket_takes_no_more_and_loses_nothing),
		test_in_every_way(full_records_pass_in_both_directions),
		test_in_every_way(a_key_update_is_followed_and_answered_where_the_peer_asks),
		test_in_every_way(our_key_moves_on_before_it_is_worn_out),
		test_in_every_way(key_updates_without_end_break_the_stream),
		test_as_client(tickets_are_dropped_whole_and_in_pieces_of_one_byte),
		test_as_client(tickets_without_end_break_the_stream),
		test_as_server(a_server_refuses_tickets),
		test_in_every_way(padding_and_empty_records_are_taken_off),
		test_in_every_way(empty_records_without_end_break_the_stream),
		test_in_every_way(zeros_only_break_the_stream),
		test_in_every_way(a_fatal_alert_of_the_peer_is_told),
		test_in_every_way(user_canceled_is_ignored),
		test_in_every_way(a_wrong_header_breaks_the_stream_at_once),
		test_in_every_way(each_direction_ends_by_itself),
		test_in_every_way(what_comes_after_our_own_end_is_still_read),
	};
	struct err e;

	if (aead_select("auto", &e) < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
