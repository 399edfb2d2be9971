/* SPDX-License-Identifier: Apache-2.0 */
/* session_pool - who waits for a stream, and which session gives it; the other gateway is the test's own. */
#include "../vectors.h"

#include "attest/identity.h"
#include "tunnel.h"
#include "tunnel/rats_tls/session_pool.h"

#define DEADLINE_MS 10000
#define SHORT_MS 100 /* of deadlines that are to pass */
#define CLIENTS 120

/* Somebody who wants a stream. */
struct client {
	struct session_open_events events;
	struct session_open *open; /* until one of the two is told */
	unsigned opened;	   /* the how manieth it was; 0: not */
	bool attested;
	char tee[32];
	bool failed;
	enum reason reason;
	struct err why;
	struct probe probe;
};

static struct trial t;
static struct tunnel x;
static struct session_pool_options options;
static struct session_pool *pool;
static struct sock_addr from;
static struct client clients[CLIENTS];
static unsigned opened;
static unsigned failed;

static void on_opened(struct session_open_events *self, struct mux_stream *stream, bool attested, const char *tee)
{
	struct client *c = container_of(self, struct client, events);

	assert_true(c->opened == 0 && !c->failed);
	c->open = NULL;
	c->opened = ++opened;
	c->attested = attested;
	snprintf(c->tee, sizeof(c->tee), "%s", tee);
	probe_attach(&c->probe, stream);
}

static void on_failed(struct session_open_events *self, enum reason reason, const struct err *why)
{
	struct client *c = container_of(self, struct client, events);

	assert_true(c->opened == 0 && !c->failed);
	c->open = NULL;
	c->failed = true;
	c->reason = reason;
	c->why = *why;
	failed++;
}

static int set_up(void **state)
{
	(void)state;
	trial_begin(&t, AS_RESTFUL);
	tunnel_begin(&x, &t);
	options = (struct session_pool_options){ .wait_ms = DEADLINE_MS };
	memset(clients, 0, sizeof(clients));
	memset(&from, 0, sizeof(from));
	opened = failed = 0;
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	for (unsigned i = 0; i < CLIENTS; i++)
		session_open_cancel(clients[i].open);
	session_pool_free(pool);
	pool = NULL;
	for (unsigned i = 0; i < CLIENTS; i++)
		probe_close(&clients[i].probe, STREAM_ABORT);
	tunnel_end(&x);
	trial_end(&t);
	return 0;
}

/* ---- steps ---- */

static void open_pool(void)
{
	if (x.side.config == NULL)
		tunnel_open(&x);
	options.session = x.options;
	pool = session_pool_new(&options);
}

static void ask_at(unsigned i, const struct endpoint *to)
{
	clients[i] = (struct client){ .events = { on_opened, on_failed } };
	clients[i].open = session_pool_open(pool, to, &from, &clients[i].events);
	assert_int_equal(clients[i].opened, 0);
	assert_false(clients[i].failed);
}

static void ask(unsigned i)
{
	ask_at(i, &x.far.endpoint);
}

static void ask_all(unsigned first, unsigned count)
{
	for (unsigned i = first; i < first + count; i++)
		ask(i);
}

static void withdraw(unsigned i)
{
	session_open_cancel(clients[i].open);
	clients[i].open = NULL;
}

static void wait_for(const unsigned *count, unsigned wanted)
{
	assert_true(run_until_count(t.loop, count, wanted, DEADLINE_MS));
	assert_int_equal(*count, wanted);
}

static void open_all(unsigned first, unsigned count)
{
	unsigned before = opened;

	ask_all(first, count);
	wait_for(&opened, before + count);
	assert_int_equal(failed, 0);
}

static void close_stream(unsigned i)
{
	probe_close(&clients[i].probe, STREAM_ABORT);
}

static void expect_echo(unsigned i)
{
	assert_true(probe_echoes(&clients[i].probe, t.loop));
}

static void expect_failure(unsigned i, enum reason reason)
{
	assert_true(clients[i].failed);
	assert_string_equal(reason_word(clients[i].reason), reason_word(reason));
	assert_true(clients[i].why.text[0] != '\0');
}

/* Nothing else comes. */
static void expect_quiet(void)
{
	unsigned opened_before = opened;
	unsigned failed_before = failed;
	unsigned connections = x.far.connections;

	run_for(t.loop, 20);
	assert_int_equal(opened, opened_before);
	assert_int_equal(failed, failed_before);
	assert_int_equal(x.far.connections, connections);
}

static void expect_sessions(size_t count)
{
	for (unsigned i = 0; i < DEADLINE_MS && x.descriptors != count; i++)
		run_for(t.loop, 1);
	assert_int_equal(x.descriptors, count);
}

/* ---- how many sessions ---- */

static void one_session_serves_all(void **state)
{
	(void)state;
	open_pool();
	open_all(0, 100);
	assert_int_equal(x.far.connections, 1);
	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(clients[i].opened, i + 1); /* in order */
	expect_echo(0);
	expect_echo(99);
	assert_false(clients[0].attested);
	assert_string_equal(clients[0].tee, "");
}

static void when_a_session_is_full_another_is_opened(void **state)
{
	(void)state;
	x.far.max_streams = 3;
	open_pool();
	open_all(0, 1); /* the peer's limit is known from now on */
	assert_int_equal(x.far.connections, 1);
	open_all(1, 2);
	assert_int_equal(x.far.connections, 1);
	open_all(3, 1);
	assert_int_equal(x.far.connections, 2);
	open_all(4, 6); /* two have room, six wait for two more */
	assert_int_equal(x.far.connections, 4);
	expect_echo(0);
	expect_echo(9);
}

static void who_is_over_a_limit_that_nobody_knew_gets_a_stream_of_another_session(void **state)
{
	(void)state;
	x.far.max_streams = 2;
	open_pool();
	open_all(0, 20);
	assert_in_range(x.far.connections, 10, 19);
	expect_echo(0);
	expect_echo(19);
}

static void who_is_over_a_limit_that_nobody_knew_waits_where_no_other_may_be_opened(void **state)
{
	(void)state;
	x.far.max_streams = 2;
	options.max_connections = 2;
	open_pool();
	ask_all(0, 6);
	wait_for(&opened, 4);
	expect_quiet();
	close_stream(0);
	close_stream(1);
	wait_for(&opened, 6);
	assert_int_equal(x.far.connections, 2);
}

/* Sessions that are being opened are counted as well. */
static void as_many_sessions_are_opened_at_once_as_are_needed(void **state)
{
	(void)state;
	options.max_streams = 2;
	x.far.deaf = true;
	open_pool();
	ask_all(0, 5);
	wait_for(&x.far.connections, 3);
	expect_quiet();
	ask(5); /* has room on the third */
	expect_quiet();
	ask(6);
	wait_for(&x.far.connections, 4);
	far_end_hear(&x.far);
	wait_for(&opened, 7);
	assert_int_equal(x.far.connections, 4);
}

static void more_than_max_connections_are_never_opened(void **state)
{
	(void)state;
	x.far.max_streams = 3;
	options.max_connections = 2;
	open_pool();
	open_all(0, 6);
	assert_int_equal(x.far.connections, 2);
	ask_all(6, 2);
	expect_quiet();
	close_stream(1);
	wait_for(&opened, 7);
	assert_int_equal(clients[6].opened, 7); /* who came first */
	expect_quiet();
	close_stream(2);
	wait_for(&opened, 8);
	assert_int_equal(x.far.connections, 2);
}

static void who_gets_no_place_in_time_is_told(void **state)
{
	(void)state;
	x.far.max_streams = 1;
	options.max_connections = 1;
	options.wait_ms = 5 * SHORT_MS;
	open_pool();
	open_all(0, 1);
	ask(1);
	wait_for(&failed, 1);
	expect_failure(1, REASON_LIMIT_STREAMS);
	expect_echo(0);
	close_stream(0);
	ask(2);
	wait_for(&opened, 2);
}

/* max_streams is a wish, the peer's limit is not. */
static void max_streams_holds_as_long_as_another_session_may_be_opened(void **state)
{
	(void)state;
	options.max_streams = 2;
	options.max_connections = 2;
	x.far.max_streams = 3;
	open_pool();
	open_all(0, 2);
	assert_int_equal(x.far.connections, 1);
	open_all(2, 1);
	assert_int_equal(x.far.connections, 2);
	open_all(3, 3);
	assert_int_equal(x.far.connections, 2);
	ask(6); /* over the peer's limit */
	expect_quiet();
	close_stream(5);
	wait_for(&opened, 7);
}

static void without_max_connections_max_streams_always_holds(void **state)
{
	(void)state;
	options.max_streams = 2;
	open_pool();
	open_all(0, 2);
	assert_int_equal(x.far.connections, 1);
	open_all(2, 3);
	assert_int_equal(x.far.connections, 3);
	close_stream(0);
	open_all(5, 2); /* two places were free */
	assert_int_equal(x.far.connections, 3);
}

static void a_single_stream_goes_with_its_session(void **state)
{
	(void)state;
	options.single = true;
	open_pool();
	open_all(0, 2);
	assert_int_equal(x.far.connections, 2);
	expect_echo(0);
	expect_echo(1);
	close_stream(0);
	expect_sessions(1);
	expect_echo(1);
	open_all(2, 1);
	assert_int_equal(x.far.connections, 3);
}

/* ---- where to, and where from ---- */

static void each_destination_has_its_own_sessions(void **state)
{
	struct far_end other;

	(void)state;
	open_pool();
	far_end_init(&other, &x.worker, x.identity);
	far_end_start(&other);
	open_all(0, 2);
	ask_at(2, &other.endpoint);
	ask_at(3, &other.endpoint);
	wait_for(&opened, 4);
	assert_int_equal(x.far.connections, 1);
	assert_int_equal(other.connections, 1);
	far_end_stop(&other);
	expect_echo(0);
	assert_true(run_until(t.loop, &clients[2].probe.ended, DEADLINE_MS));
}

static void addresses_to_dial_from_do_not_share_a_session(void **state)
{
	(void)state;
	open_pool();
	open_all(0, 1);
	assert_true(sock_addr_parse("127.0.0.2", 0, &from));
	open_all(1, 2);
	assert_int_equal(x.far.connections, 2);
	assert_true(sock_addr_parse("127.0.0.3", 0, &from));
	open_all(3, 1);
	assert_int_equal(x.far.connections, 3);
	assert_true(sock_addr_parse("127.0.0.2", 0, &from));
	open_all(4, 1);
	assert_int_equal(x.far.connections, 3);
}

/* ---- what goes wrong ---- */

static void all_who_wait_are_told_that_the_dial_failed(void **state)
{
	(void)state;
	open_pool();
	far_end_close(&x.far);
	ask_all(0, 3);
	wait_for(&failed, 3);
	for (unsigned i = 0; i < 3; i++)
		expect_failure(i, REASON_PEER_REFUSED);
	expect_sessions(0);
	far_end_listen(&x.far);
	ask(3);
	wait_for(&opened, 1);
}

static void who_has_a_stream_keeps_it_when_another_dial_fails(void **state)
{
	(void)state;
	x.far.max_streams = 1;
	open_pool();
	open_all(0, 1);
	far_end_close(&x.far);
	ask(1);
	wait_for(&failed, 1);
	expect_failure(1, REASON_PEER_REFUSED);
	expect_echo(0);
	close_stream(0);
	ask(2);
	wait_for(&opened, 1 + 1);
	expect_echo(2);
}

static void a_peer_that_does_not_answer_is_told_at_the_deadline(void **state)
{
	(void)state;
	options.wait_ms = SHORT_MS;
	x.far.deaf = true;
	open_pool();
	ask(0);
	wait_for(&failed, 1);
	expect_failure(0, REASON_PEER_TIMEOUT);
}

static void a_connect_that_is_not_answered_is_told_at_the_deadline(void **state)
{
	(void)state;
	options.wait_ms = 5 * SHORT_MS;
	x.far.mode = FAR_END_HOLD;
	open_pool();
	ask(0);
	wait_for(&x.far.requests, 1);
	wait_for(&failed, 1);
	expect_failure(0, REASON_PEER_TIMEOUT);
	wait_for(&x.far.withdrawn, 1);
	expect_sessions(1);
}

static void a_connect_that_is_declined_is_told(void **state)
{
	(void)state;
	open_pool();
	x.far.mode = FAR_END_DECLINE;
	ask(0);
	wait_for(&failed, 1);
	expect_failure(0, REASON_PEER_DECLINED);
	assert_int_equal(clients[0].why.kind, ERR_PEER);
	assert_non_null(strstr(clients[0].why.text, "502"));
	x.far.status = 503;
	ask(1);
	wait_for(&failed, 2);
	assert_int_equal(clients[1].why.kind, ERR_LIMIT);
	assert_int_equal(x.far.requests, 2); /* nobody is asked twice */
	x.far.mode = FAR_END_ACCEPT;
	ask(2);
	wait_for(&opened, 1);
	assert_int_equal(x.far.connections, 1);
}

static void a_session_that_ends_before_it_answers_is_replaced_once(void **state)
{
	(void)state;
	open_pool();
	x.far.mode = FAR_END_HANG_UP;
	ask(0);
	wait_for(&x.far.requests, 1);
	x.far.mode = FAR_END_ACCEPT;
	wait_for(&opened, 1);
	assert_int_equal(x.far.connections, 2);
	expect_echo(0);
}

static void a_second_session_that_ends_before_it_answers_is_the_last(void **state)
{
	(void)state;
	open_pool();
	x.far.mode = FAR_END_HANG_UP;
	ask(0);
	wait_for(&failed, 1);
	assert_true(clients[0].failed);
	assert_int_equal(x.far.requests, 2);
	expect_sessions(0);
}

/* A server that wants our certificate would say so each time. */
static void an_alert_is_told_at_once(void **state)
{
	struct err e;

	(void)state;
	t.conf.as = (struct as_conf){ .type = AS_BUILTIN };
	t.conf.builtin_policy = POLICY_TRUST_ALL;
	x.verifier = verifier_new(t.loop, &t.conf, BINDING_CURRENT, x.cache, "x", &e);
	x.far.side.verifier = x.verifier;
	open_pool();
	ask(0);
	wait_for(&failed, 1);
	expect_failure(0, REASON_TLS_ALERT);
	assert_non_null(strstr(clients[0].why.text, "attest"));
	assert_int_equal(x.far.connections, 1);
}

static void after_goaway_another_session_is_opened(void **state)
{
	(void)state;
	options.max_connections = 1;
	open_pool();
	open_all(0, 1);
	far_end_drain(&x.far);
	run_for(t.loop, 5);
	open_all(1, 1);
	assert_int_equal(x.far.connections, 2);
	expect_echo(0);
	expect_echo(1);
}

static void after_an_idle_time_another_session_is_opened(void **state)
{
	(void)state;
	x.options.idle_ms = 3 * SHORT_MS;
	open_pool();
	open_all(0, 1);
	close_stream(0);
	open_all(1, 1);
	assert_int_equal(x.far.connections, 1);
	close_stream(1);
	expect_sessions(0);
	open_all(2, 1);
	assert_int_equal(x.far.connections, 2);
}

/* ---- verdicts ---- */

static void open_verified(unsigned max_age_s)
{
	t.conf.verdict_max_age_s = max_age_s;
	tunnel_open_verified(&x);
	open_pool();
}

static void streams_of_an_attested_session_say_so(void **state)
{
	(void)state;
	open_verified(60);
	open_all(0, 3);
	assert_true(clients[2].attested);
	assert_string_equal(clients[2].tee, "sample");
	open_all(3, 3);
	assert_int_equal(t.service.evaluations, 1);
}

static void all_who_wait_are_told_that_the_peer_is_not_believed(void **state)
{
	(void)state;
	open_verified(60);
	t.service.mode = SERVICE_REFUSE;
	ask_all(0, 3);
	wait_for(&failed, 3);
	for (unsigned i = 0; i < 3; i++)
		expect_failure(i, REASON_AS_REFUSED);
	assert_int_equal(x.far.requests, 0);
	expect_sessions(0);
}

/* A verdict that runs out at once serves all who waited for it, and nobody else. */
static void a_verdict_serves_those_who_waited_for_it(void **state)
{
	(void)state;
	open_verified(0);
	open_all(0, 10);
	assert_int_equal(t.service.evaluations, 1);
	t.service.mode = SERVICE_HOLD;
	ask_all(10, 5);
	wait_for(&t.service.held_count, 1);
	ask_all(15, 5);
	expect_quiet(); /* and no other session is opened meanwhile */
	expect_echo(0);
	t.service.mode = SERVICE_SERVE;
	service_release(&t.service);
	wait_for(&opened, 20);
	assert_int_equal(t.service.evaluations, 2);
	assert_int_equal(x.far.connections, 1);
	open_all(20, 1);
	assert_int_equal(t.service.evaluations, 3);
}

/* A new handshake may bring newer evidence. */
static void when_a_renewed_verdict_refuses_another_session_is_opened(void **state)
{
	(void)state;
	open_verified(0);
	open_all(0, 1);
	t.service.mode = SERVICE_REFUSE;
	ask(1);
	wait_for(&t.service.evaluations, 2);
	t.service.mode = SERVICE_SERVE;
	wait_for(&opened, 2);
	assert_int_equal(x.far.connections, 2);
	expect_echo(0); /* it had been believed */
}

static void who_is_refused_after_another_handshake_as_well_gets_nothing(void **state)
{
	(void)state;
	open_verified(0);
	open_all(0, 1);
	t.service.mode = SERVICE_REFUSE;
	ask(1);
	wait_for(&failed, 1);
	expect_failure(1, REASON_AS_REFUSED);
	assert_int_equal(x.far.connections, 2);
	assert_int_equal(x.far.requests, 1);
}

static void a_judgement_that_takes_too_long_is_called_so(void **state)
{
	(void)state;
	options.wait_ms = 5 * SHORT_MS;
	open_verified(0);
	open_all(0, 1);
	t.service.mode = SERVICE_HOLD;
	ask(1);
	wait_for(&failed, 1);
	expect_failure(1, REASON_AS_TIMEOUT);
	expect_echo(0);
	t.service.mode = SERVICE_SERVE;
	service_release(&t.service);
	ask(2);
	wait_for(&opened, 2);
}

/* A session that is being judged may be all that somebody needs. */
static void nobody_is_told_of_a_failed_dial_as_long_as_a_session_is_judged(void **state)
{
	(void)state;
	x.far.max_streams = 2;
	open_verified(0);
	open_all(0, 1);
	open_all(1, 1);
	x.far.deaf = true;
	ask(2);
	wait_for(&x.far.connections, 2);
	t.service.mode = SERVICE_HOLD;
	close_stream(0);
	wait_for(&t.service.held_count, 1);
	far_end_hang_up_unheard(&x.far);
	expect_quiet();
	service_release(&t.service);
	wait_for(&opened, 3);
	assert_int_equal(x.far.connections, 2);
}

/* ---- who does not want any more ---- */

static void who_withdraws_is_told_nothing_at_any_stage(void **state)
{
	(void)state;
	x.far.deaf = true;
	open_pool();
	session_open_cancel(NULL);
	ask(0);
	withdraw(0); /* nothing has been done for it */
	expect_quiet();
	ask_all(1, 2);
	wait_for(&x.far.connections, 1);
	withdraw(1); /* a session is being opened for it */
	x.far.mode = FAR_END_HOLD;
	far_end_hear(&x.far);
	wait_for(&x.far.requests, 1); /* of the one who stays */
	withdraw(2);		      /* CONNECT is on its way */
	wait_for(&x.far.withdrawn, 1);
	expect_quiet();
	x.far.mode = FAR_END_ACCEPT;
	open_all(3, 1);
	assert_int_equal(x.far.connections, 1);
	assert_int_equal(opened, 1);
}

static void nothing_is_dialed_for_who_withdraws_at_once(void **state)
{
	(void)state;
	open_pool();
	ask_all(0, 3);
	for (unsigned i = 0; i < 3; i++)
		withdraw(i);
	expect_quiet();
	assert_int_equal(x.far.connections, 0);
	assert_int_equal(x.descriptors, 0);
}

static void who_withdraws_makes_way(void **state)
{
	(void)state;
	x.far.max_streams = 1;
	options.max_connections = 1;
	open_pool();
	open_all(0, 1);
	ask_all(1, 3);
	expect_quiet();
	withdraw(1);
	close_stream(0);
	wait_for(&opened, 2);
	assert_int_equal(clients[2].opened, 2);
	close_stream(2);
	wait_for(&opened, 3);
	assert_int_equal(clients[3].opened, 3);
}

static void waiters_are_served_in_order(void **state)
{
	(void)state;
	x.far.max_streams = 1;
	options.max_connections = 1;
	open_pool();
	ask_all(0, 8);
	for (unsigned i = 0; i < 8; i++) {
		wait_for(&opened, i + 1);
		assert_int_equal(clients[i].opened, i + 1);
		close_stream(i);
	}
	assert_int_equal(x.far.connections, 1);
}

/* ---- a peer that does not do its part: it is not dialed again and again ---- */

static void after_a_setback_no_session_is_opened_while_others_are_on_their_way(void **state)
{
	(void)state;
	options.max_streams = 1;
	x.far.deaf = true;
	open_pool();
	ask_all(0, 3);
	wait_for(&x.far.connections, 3);
	far_end_hang_up_unheard(&x.far);
	expect_sessions(2);
	expect_quiet();
	far_end_hang_up_unheard(&x.far);
	expect_sessions(1);
	expect_quiet();
	far_end_hear(&x.far);
	wait_for(&opened, 3); /* the last one serves the first, and two more are opened for the others */
	assert_int_equal(clients[0].opened, 1);
	assert_int_equal(x.far.connections, 5);
}

/* Streams come and go on a session that is full, and tell nothing about the ones that are being opened. */
static void room_on_a_session_is_no_end_of_a_setback(void **state)
{
	(void)state;
	options.max_streams = 1;
	open_pool();
	open_all(0, 1);
	x.far.deaf = true;
	ask_all(1, 4);
	wait_for(&x.far.connections, 5);
	far_end_hang_up_unheard(&x.far);
	far_end_hang_up_unheard(&x.far);
	expect_sessions(3);
	close_stream(0);
	wait_for(&opened, 2);
	assert_int_equal(clients[1].opened, 2);
	expect_quiet();
	assert_int_equal(x.far.connections, 5);
}

static void when_the_last_one_fails_as_well_all_who_wait_are_told(void **state)
{
	(void)state;
	options.max_streams = 1;
	x.far.deaf = true;
	open_pool();
	ask_all(0, 2);
	wait_for(&x.far.connections, 2);
	far_end_hang_up_unheard(&x.far);
	far_end_hang_up_unheard(&x.far);
	wait_for(&failed, 2);
	assert_int_equal(x.far.connections, 2);
	ask_all(2, 2); /* that was their setback */
	wait_for(&x.far.connections, 4);
}

static void a_peer_that_allows_no_stream_is_dialed_once(void **state)
{
	(void)state;
	x.far.max_streams = 0;
	options.wait_ms = 5 * SHORT_MS;
	open_verified(0); /* its SETTINGS are there before the verdict */
	ask_all(0, 3);
	wait_for(&failed, 3);
	for (unsigned i = 0; i < 3; i++)
		expect_failure(i, REASON_LIMIT_STREAMS);
	assert_int_equal(x.far.connections, 1);
	assert_int_equal(x.far.requests, 0);
}

static void a_single_stream_that_is_not_allowed_is_tried_twice(void **state)
{
	(void)state;
	x.far.max_streams = 0;
	options.single = true;
	open_pool();
	ask(0);
	wait_for(&failed, 1);
	assert_int_equal(x.far.connections, 2);
	expect_sessions(0);
}

static void sessions_that_end_before_they_carry_a_stream_are_tried_twice(void **state)
{
	(void)state;
	x.far.drains = true;
	open_verified(0); /* its GOAWAY is there before the verdict */
	ask_all(0, 3);
	wait_for(&failed, 3);
	for (unsigned i = 0; i < 3; i++)
		expect_failure(i, REASON_PEER_CLOSED);
	assert_int_equal(x.far.connections, 2);
	expect_sessions(0);
}

static void a_second_session_that_carries_streams_is_enough(void **state)
{
	(void)state;
	x.far.drains = true;
	open_verified(0);
	ask_all(0, 3);
	wait_for(&x.far.sessions, 1);
	x.far.drains = false;
	wait_for(&opened, 3);
	assert_int_equal(x.far.connections, 2);
}

static void an_alert_before_anybody_asks_is_told_at_once(void **state)
{
	(void)state;
	tunnel_want_certificate(&x);
	open_verified(0);
	ask_all(0, 2);
	wait_for(&failed, 2);
	for (unsigned i = 0; i < 2; i++)
		expect_failure(i, REASON_TLS_ALERT);
	assert_int_equal(x.far.connections, 1);
}

/* ---- freed ---- */

static void a_pool_can_be_freed_under_its_streams(void **state)
{
	(void)state;
	x.far.max_streams = 2;
	open_pool();
	open_all(0, 3);
	session_pool_free(pool);
	pool = NULL;
	assert_int_equal(x.descriptors, 0);
	for (unsigned i = 0; i < 3; i++) {
		assert_true(run_until(t.loop, &clients[i].probe.ended, DEADLINE_MS));
		assert_int_equal(clients[i].probe.end, IO_RESET);
	}
	for (unsigned i = 0; i < DEADLINE_MS && x.far.open > 0; i++)
		run_for(t.loop, 1);
	assert_int_equal(x.far.open, 0);
}

/* Its owner withdraws them first, and nothing runs in between. */
static void a_pool_can_be_freed_behind_those_who_waited(void **state)
{
	(void)state;
	x.far.max_streams = 1;
	options.max_connections = 2;
	x.far.mode = FAR_END_HOLD;
	open_pool();
	ask(0);
	wait_for(&x.far.requests, 1); /* is asking */
	x.far.deaf = true;
	ask_all(1, 3);
	wait_for(&x.far.connections, 2); /* wait, one session is being opened */
	for (unsigned i = 0; i < 4; i++)
		withdraw(i);
	session_pool_free(pool);
	pool = NULL;
	assert_int_equal(x.descriptors, 0);
	expect_quiet();
	assert_int_equal(opened + failed, 0);
}

static void a_pool_can_be_freed_while_a_session_is_judged(void **state)
{
	(void)state;
	open_verified(0);
	open_all(0, 1);
	t.service.mode = SERVICE_HOLD;
	ask(1);
	wait_for(&t.service.held_count, 1);
	withdraw(1);
	session_pool_free(pool);
	pool = NULL;
	for (unsigned i = 0; i < DEADLINE_MS && !list_is_empty(&t.service.web.conns); i++)
		run_for(t.loop, 1);
	assert_true(list_is_empty(&t.service.web.conns)); /* nobody asks any more */
	t.service.held_count = 0;
}

static void a_pool_that_was_never_used_can_be_freed(void **state)
{
	(void)state;
	session_pool_free(NULL);
	open_pool();
}

static int init(void **state)
{
	(void)state;
	return trial_init(&t) < 0 || tunnel_init() < 0 ? -1 : 0;
}

static int release(void **state)
{
	(void)state;
	trial_release(&t);
	return 0;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(one_session_serves_all),
		TEST(when_a_session_is_full_another_is_opened),
		TEST(who_is_over_a_limit_that_nobody_knew_gets_a_stream_of_another_session),
		TEST(who_is_over_a_limit_that_nobody_knew_waits_where_no_other_may_be_opened),
		TEST(as_many_sessions_are_opened_at_once_as_are_needed),
		TEST(more_than_max_connections_are_never_opened),
		TEST(who_gets_no_place_in_time_is_told),
		TEST(max_streams_holds_as_long_as_another_session_may_be_opened),
		TEST(without_max_connections_max_streams_always_holds),
		TEST(a_single_stream_goes_with_its_session),
		TEST(each_destination_has_its_own_sessions),
		TEST(addresses_to_dial_from_do_not_share_a_session),
		TEST(all_who_wait_are_told_that_the_dial_failed),
		TEST(who_has_a_stream_keeps_it_when_another_dial_fails),
		TEST(a_peer_that_does_not_answer_is_told_at_the_deadline),
		TEST(a_connect_that_is_not_answered_is_told_at_the_deadline),
		TEST(a_connect_that_is_declined_is_told),
		TEST(a_session_that_ends_before_it_answers_is_replaced_once),
		TEST(a_second_session_that_ends_before_it_answers_is_the_last),
		TEST(an_alert_is_told_at_once),
		TEST(after_goaway_another_session_is_opened),
		TEST(after_an_idle_time_another_session_is_opened),
		TEST(streams_of_an_attested_session_say_so),
		TEST(all_who_wait_are_told_that_the_peer_is_not_believed),
		TEST(a_verdict_serves_those_who_waited_for_it),
		TEST(when_a_renewed_verdict_refuses_another_session_is_opened),
		TEST(who_is_refused_after_another_handshake_as_well_gets_nothing),
		TEST(a_judgement_that_takes_too_long_is_called_so),
		TEST(nobody_is_told_of_a_failed_dial_as_long_as_a_session_is_judged),
		TEST(who_withdraws_is_told_nothing_at_any_stage),
		TEST(nothing_is_dialed_for_who_withdraws_at_once),
		TEST(who_withdraws_makes_way),
		TEST(waiters_are_served_in_order),
		TEST(after_a_setback_no_session_is_opened_while_others_are_on_their_way),
		TEST(room_on_a_session_is_no_end_of_a_setback),
		TEST(when_the_last_one_fails_as_well_all_who_wait_are_told),
		TEST(a_peer_that_allows_no_stream_is_dialed_once),
		TEST(a_single_stream_that_is_not_allowed_is_tried_twice),
		TEST(sessions_that_end_before_they_carry_a_stream_are_tried_twice),
		TEST(a_second_session_that_carries_streams_is_enough),
		TEST(an_alert_before_anybody_asks_is_told_at_once),
		TEST(a_pool_can_be_freed_under_its_streams),
		TEST(a_pool_can_be_freed_behind_those_who_waited),
		TEST(a_pool_can_be_freed_while_a_session_is_judged),
		TEST(a_pool_that_was_never_used_can_be_freed),
	};

	return cmocka_run_group_tests(tests, init, release);
}
