/* SPDX-License-Identifier: Apache-2.0 */
/* Handshakes over sockets: two of ours, and ours with a peer that says what it must not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "attest/identity.h"
#include "attest/verdict_cache.h"
#include "attest/verifier.h"
#include "crypto/aead.h"
#include "crypto/libctx.h"
#include "io/pool.h"
#include "io/worker.h"
#include "tunnel/rats_tls/handshake.h"
#include "tunnel/rats_tls/record_stream.h"
#include "tunnel/rats_tls/secure_side.h"

struct end {
	struct secure_side side;
	struct record_stream rs;
	struct handshake handshake;
	enum handshake_step step;
	enum reason reason;
	struct err why;
};

struct fixture {
	struct worker worker;
	struct pool_budget budget;
	struct identity *identity;
	struct end client;
	struct end server;
};

static void on_ready(struct watch *w, uint32_t events)
{
	(void)w;
	(void)events;
}

static void end_init(struct end *end, struct fixture *x, enum tls_role role, int fd)
{
	struct err e;

	end->side = (struct secure_side){
		.worker = &x->worker,
		.role = role,
		.alpn = TLS_ALPN_RAW,
		.dummy = role == TLS_SERVER ? x->identity : NULL,
		.certificate_size = 1 << 20,
	};
	record_stream_init(&end->rs, &x->worker, fd);
	end->rs.watch.ready = on_ready;
	assert_int_equal(loop_watch(x->worker.loop, &end->rs.watch, WATCH_STREAM, &e), 0);
}

static int set_up(void **state)
{
	struct fixture *x = mem_new_of(struct fixture);
	struct err e;
	int pair[2];

	signal(SIGPIPE, SIG_IGN);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
	x->worker.loop = loop_new(&e);
	x->budget.limit = 64 << 20;
	x->worker.pool = pool_new(&x->budget);
	x->worker.aead = aead_cache_new();
	x->worker.libctx = libctx_new(&e);
	x->identity = identity_new_dummy(&e);
	end_init(&x->client, x, TLS_CLIENT, pair[0]);
	end_init(&x->server, x, TLS_SERVER, pair[1]);
	*state = x;
	return 0;
}

static void end_release(struct end *end)
{
	handshake_release(&end->handshake);
	end->rs.stream.ops->close(&end->rs.stream, STREAM_FINISHED);
	secure_side_release(&end->side);
}

static int tear_down(void **state)
{
	struct fixture *x = *state;

	end_release(&x->client);
	end_release(&x->server);
	identity_unref(x->identity);
	pool_free(x->worker.pool);
	aead_cache_free(x->worker.aead);
	libctx_free(x->worker.libctx);
	loop_free(x->worker.loop);
	free(x);
	return 0;
}

static void begin(struct end *end)
{
	struct err e;

	assert_int_equal(secure_side_init(&end->side, &e), 0);
	end->step = handshake_begin(&end->handshake, &end->side, &end->rs, NULL, &end->reason, &end->why);
}

static void go_on(struct end *end)
{
	end->handshake.drained = false;
	if (end->step == HANDSHAKE_WAITS)
		end->step = handshake_go_on(&end->handshake, &end->reason, &end->why);
}

/* Client's hello, server's answer, client's Finished. */
static void run(struct fixture *x)
{
	struct err e;

	begin(&x->server);
	begin(&x->client);
	for (unsigned i = 0; i < 3; i++) {
		go_on(&x->server);
		go_on(&x->client);
		if (x->client.step == HANDSHAKE_OVER)
			assert_int_equal(handshake_send_rest(&x->client.handshake, &e), 0);
	}
}

static void expect_failure(const struct end *end, enum reason reason)
{
	assert_int_equal(end->step, HANDSHAKE_FAILED);
	assert_string_equal(reason_word(end->reason), reason_word(reason));
	assert_true(end->why.text[0] != '\0');
}

static void both_ends_come_to_an_end_and_carry_bytes(void **state)
{
	struct fixture *x = *state;
	struct stream *from = &x->client.rs.stream;
	struct stream *to = &x->server.rs.stream;
	struct bytes view;
	size_t taken = 0;

	run(x);
	assert_int_equal(x->client.step, HANDSHAKE_OVER);
	assert_int_equal(x->server.step, HANDSHAKE_OVER);
	assert_int_equal(x->client.handshake.alpn, TLS_ALPN_RAW);
	assert_int_equal(x->server.handshake.alpn, TLS_ALPN_RAW);
	assert_int_equal(x->client.handshake.cert.len, 0); /* nobody wants to look at it */
	assert_int_equal(handshake_unsent(&x->client.handshake), 0);
	handshake_open_records(&x->client.handshake);
	handshake_open_records(&x->server.handshake);
	assert_int_equal(from->ops->push(from, bytes_str("hello"), &taken), IO_OK);
	assert_int_equal(taken, 5);
	assert_int_equal(to->ops->pull(to, &view), IO_OK);
	assert_memory_equal(view.data, "hello", 5);
	to->ops->consumed(to, view.len);
}

/* The client's Finished and its first bytes are one packet; the server reads them with one call. */
static void what_comes_behind_the_handshake_is_not_lost(void **state)
{
	struct fixture *x = *state;
	struct stream *from = &x->client.rs.stream;
	struct stream *to = &x->server.rs.stream;
	struct bytes view;
	size_t taken = 0;

	begin(&x->server);
	begin(&x->client);
	go_on(&x->server);
	go_on(&x->client);
	assert_int_equal(x->client.step, HANDSHAKE_OVER);
	assert_true(handshake_unsent(&x->client.handshake) > 0);
	go_on(&x->server);
	assert_int_equal(x->server.step, HANDSHAKE_WAITS); /* not a byte of Finished has left */
	handshake_open_records(&x->client.handshake);
	assert_int_equal(from->ops->push(from, bytes_str("hello"), &taken), IO_OK);
	go_on(&x->server);
	assert_int_equal(x->server.step, HANDSHAKE_OVER);
	handshake_open_records(&x->server.handshake);
	assert_int_equal(to->ops->pull(to, &view), IO_OK);
	assert_memory_equal(view.data, "hello", 5);
	to->ops->consumed(to, view.len);
}

static void the_certificate_is_kept_for_a_verifier(void **state)
{
	struct fixture *x = *state;
	struct verify_conf conf = { .as.type = AS_BUILTIN, .builtin_policy = POLICY_TRUST_ALL };
	struct verdict_cache *cache = verdict_cache_new(1);
	struct err e;

	x->client.side.verifier = verifier_new(x->worker.loop, &conf, BINDING_CURRENT, cache, "x", &e);
	assert_non_null(x->client.side.verifier);
	run(x);
	assert_int_equal(x->client.step, HANDSHAKE_OVER);
	assert_int_equal(x->client.handshake.cert.len, x->identity->cert_der.len);
	assert_memory_equal(x->client.handshake.cert.data, x->identity->cert_der.data, x->identity->cert_der.len);
	verifier_free(x->client.side.verifier);
	verdict_cache_free(cache);
}

static void a_client_without_a_certificate_does_not_pass_a_verifier(void **state)
{
	struct fixture *x = *state;
	struct verify_conf conf = { .as.type = AS_BUILTIN, .builtin_policy = POLICY_TRUST_ALL };
	struct verdict_cache *cache = verdict_cache_new(1);
	struct err e;

	x->server.side.verifier = verifier_new(x->worker.loop, &conf, BINDING_CURRENT, cache, "x", &e);
	assert_non_null(x->server.side.verifier);
	run(x);
	expect_failure(&x->server, REASON_TLS_NO_CERTIFICATE);
	verifier_free(x->server.side.verifier);
	verdict_cache_free(cache);
}

static void a_byte_at_a_time_will_do(void **state)
{
	struct fixture *x = *state;
	uint8_t hello[4096];
	ssize_t len;

	begin(&x->server);
	begin(&x->client);
	len = recv(x->server.rs.watch.fd, hello, sizeof(hello), 0);
	assert_true(len > 0);
	for (ssize_t i = 0; i < len; i++) {
		assert_int_equal(send(x->client.rs.watch.fd, &hello[i], 1, 0), 1);
		go_on(&x->server);
		assert_int_equal(x->server.step, HANDSHAKE_WAITS);
		assert_true(x->server.handshake.first_byte);
		assert_true(x->server.handshake.drained);
	}
	go_on(&x->client);
	assert_int_equal(x->client.step, HANDSHAKE_OVER);
}

static void what_is_not_tls_is_answered_with_an_alert(void **state)
{
	static const uint8_t decode_error[] = { 0x15, 0x03, 0x03, 0x00, 0x02, 0x02, 0x32 };
	struct fixture *x = *state;
	uint8_t answer[64];

	begin(&x->server);
	assert_int_equal(send(x->client.rs.watch.fd, "GET / HTTP/1.1\r\n", 16, 0), 16);
	go_on(&x->server);
	expect_failure(&x->server, REASON_TLS_PLAINTEXT);
	assert_int_equal(recv(x->client.rs.watch.fd, answer, sizeof(answer), 0), sizeof(decode_error));
	assert_memory_equal(answer, decode_error, sizeof(decode_error));
}

static void a_client_sends_no_alert_to_what_is_not_tls(void **state)
{
	struct fixture *x = *state;
	uint8_t hello[4096];

	begin(&x->client);
	assert_true(recv(x->server.rs.watch.fd, hello, sizeof(hello), 0) > 0);
	assert_int_equal(send(x->server.rs.watch.fd, "SSH-2.0\r\n", 9, 0), 9);
	go_on(&x->client);
	expect_failure(&x->client, REASON_TLS_PLAINTEXT);
	assert_true(recv(x->server.rs.watch.fd, hello, sizeof(hello), 0) < 0);
}

/* An alert may be the first that a server says, and the last. */
static void a_client_is_told_of_an_alert_as_such(void **state)
{
	static const uint8_t handshake_failure[] = { 0x15, 0x03, 0x03, 0x00, 0x02, 0x02, 0x28 };
	struct fixture *x = *state;

	begin(&x->client);
	assert_int_equal(send(x->server.rs.watch.fd, handshake_failure, sizeof(handshake_failure), 0),
			 sizeof(handshake_failure));
	go_on(&x->client);
	expect_failure(&x->client, REASON_TLS_ALERT);
}

static void a_server_takes_an_alert_for_no_beginning(void **state)
{
	static const uint8_t alert[] = { 0x15, 0x03, 0x03, 0x00, 0x02, 0x02, 0x28 };
	struct fixture *x = *state;

	begin(&x->server);
	assert_int_equal(send(x->client.rs.watch.fd, alert, sizeof(alert), 0), sizeof(alert));
	go_on(&x->server);
	expect_failure(&x->server, REASON_TLS_PLAINTEXT);
}

static void a_peer_that_closes_has_not_finished(void **state)
{
	struct fixture *x = *state;

	begin(&x->server);
	begin(&x->client);
	shutdown(x->client.rs.watch.fd, SHUT_WR);
	x->server.rs.hung_up = true; /* as the event says */
	go_on(&x->server);
	expect_failure(&x->server, REASON_PEER_CLOSED);
}

static void garbage_after_the_hello_is_refused(void **state)
{
	struct fixture *x = *state;
	uint8_t flight[16384];
	ssize_t len;

	begin(&x->server);
	begin(&x->client);
	go_on(&x->server);
	len = recv(x->client.rs.watch.fd, flight, sizeof(flight), 0);
	assert_true(len > 200);
	flight[len - 1] ^= 1; /* of a tag */
	assert_int_equal(send(x->server.rs.watch.fd, flight, (size_t)len, 0), len);
	go_on(&x->client);
	assert_int_equal(x->client.step, HANDSHAKE_FAILED);
	go_on(&x->server); /* is told by an alert */
	assert_int_equal(x->server.step, HANDSHAKE_FAILED);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(both_ends_come_to_an_end_and_carry_bytes),
		TEST(what_comes_behind_the_handshake_is_not_lost),
		TEST(the_certificate_is_kept_for_a_verifier),
		TEST(a_client_without_a_certificate_does_not_pass_a_verifier),
		TEST(a_byte_at_a_time_will_do),
		TEST(what_is_not_tls_is_answered_with_an_alert),
		TEST(a_client_sends_no_alert_to_what_is_not_tls),
		TEST(a_client_is_told_of_an_alert_as_such),
		TEST(a_server_takes_an_alert_for_no_beginning),
		TEST(a_peer_that_closes_has_not_finished),
		TEST(garbage_after_the_hello_is_refused),
	};
	struct err e;

	if (aead_select("auto", &e) < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
