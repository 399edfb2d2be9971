/* SPDX-License-Identifier: Apache-2.0 */
/* session - one connection to another gateway, which the test plays: from the dial to the last stream. */
#include "../vectors.h"

#include "attest/identity.h"
#include "tunnel.h"

#define DEADLINE_MS 10000
#define SHORT_MS 100 /* of deadlines that are to pass */
#define IDLE_MS 300

static struct trial t;
static struct tunnel x;

/* The owner, and what it was told. */
static struct session_events events;
static struct list sessions;
static unsigned changed;
static enum session_state last_state; /* when it was told */
static unsigned failed;
static unsigned gone;
static enum reason reason;
static struct err why;

/* A stream that was asked for. */
static struct mux_connect_events connect_events;
static struct mux_stream *stream;
static unsigned answered;
static int status;
static unsigned unanswered;
static struct probe probe;
static bool connect_at_once; /* when the session is ready */

static void on_changed(struct session_events *self, struct session *s)
{
	(void)self;
	last_state = s->state;
	changed++;
	if (connect_at_once && s->state == SESSION_READY)
		stream = session_connect(s, &connect_events);
}

static void on_failed(struct session_events *self, enum reason r, const struct err *e)
{
	(void)self;
	failed++;
	reason = r;
	why = *e;
}

static void on_gone(struct session_events *self)
{
	(void)self;
	gone++;
}

static void on_answered(struct mux_connect_events *self, int code)
{
	(void)self;
	answered++;
	status = code;
}

static void on_unanswered(struct mux_connect_events *self, enum reason r, const struct err *e)
{
	(void)self;
	(void)r;
	(void)e;
	unanswered++;
}

static int set_up(void **state)
{
	(void)state;
	trial_begin(&t, AS_RESTFUL);
	tunnel_begin(&x, &t);
	events = (struct session_events){ on_changed, on_failed, on_gone };
	connect_events = (struct mux_connect_events){ on_answered, on_unanswered };
	list_init(&sessions);
	changed = failed = gone = answered = unanswered = 0;
	connect_at_once = false;
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	LIST_EACH (link, &sessions)
		session_free(container_of(link, struct session, link));
	probe_close(&probe, STREAM_ABORT);
	tunnel_end(&x);
	trial_end(&t);
	return 0;
}

/* ---- steps ---- */

static struct session *start(void)
{
	struct session *s;

	session_start(&x.options, &events, &sessions);
	s = container_of(sessions.prev, struct session, link);
	assert_int_equal(s->state, SESSION_DIALING);
	return s;
}

static void wait_for(const unsigned *count, unsigned wanted)
{
	assert_true(run_until_count(t.loop, count, wanted, DEADLINE_MS));
}

static struct session *start_ready(void)
{
	struct session *s = start();

	wait_for(&changed, 1);
	assert_int_equal(last_state, SESSION_READY);
	return s;
}

static void fail_to_start(enum reason expected)
{
	start();
	wait_for(&failed, 1);
	assert_string_equal(reason_word(reason), reason_word(expected));
	assert_true(why.text[0] != '\0');
	assert_int_equal(changed, 0);
}

/* It is not there any more, and its owner has been told so. */
static void expect_gone(void)
{
	wait_for(&gone, 1);
	assert_true(list_is_empty(&sessions));
	assert_int_equal(x.descriptors, 0);
	run_for(t.loop, 5);
	assert_int_equal(gone, 1);
}

static void connect_stream(struct session *s)
{
	stream = session_connect(s, &connect_events);
	assert_non_null(stream);
}

static void open_stream(struct session *s)
{
	connect_stream(s);
	wait_for(&answered, 1);
	assert_int_equal(status, 200);
	probe_attach(&probe, stream);
}

static void expect_echo(void)
{
	assert_true(probe_echoes(&probe, t.loop));
}

static void expect_state(const struct session *s, enum session_state state)
{
	assert_int_equal(s->state, state);
}

/* Its owner is told; it may be gone by now. */
static void wait_retired(void)
{
	wait_for(&changed, 1);
	assert_int_equal(last_state, SESSION_RETIRED);
}

/* Those who waited for the verdict have been served. */
static void serve(struct session *s)
{
	s->is_fresh = false;
}

/* ---- opening ---- */

static void a_session_is_dialed_and_secured_before_it_is_ready(void **state)
{
	struct session *s;

	(void)state;
	tunnel_open(&x);
	x.far.deaf = true;
	s = start();
	assert_int_equal(x.descriptors, 1);
	wait_for(&x.far.connections, 1);
	run_for(t.loop, 5);
	expect_state(s, SESSION_SECURING);
	assert_int_equal(changed, 0);
	far_end_hear(&x.far);
	wait_for(&changed, 1);
	expect_state(s, SESSION_READY);
	assert_false(s->peer.attested);
	open_stream(s);
	expect_echo();
	assert_int_equal(failed, 0);
	assert_int_equal(x.counters.handshakes, 2); /* both ends count here */
}

static void a_refused_dial_is_told_and_the_session_goes(void **state)
{
	(void)state;
	tunnel_open(&x);
	far_end_close(&x.far);
	fail_to_start(REASON_PEER_REFUSED);
	expect_gone();
}

static void an_address_that_is_taken_cannot_be_dialed_from(void **state)
{
	(void)state;
	tunnel_open(&x);
	x.options.from = x.far.endpoint.addr;
	fail_to_start(REASON_SOURCE_TAKEN);
	expect_gone();
	assert_int_equal(x.far.connections, 0);
}

static void a_session_is_dialed_from_the_address_that_it_is_to_show(void **state)
{
	(void)state;
	tunnel_open(&x);
	assert_true(sock_addr_parse("127.0.0.9", 0, &x.options.from));
	start_ready();
	sock_addr_set_port(&x.far.last_client, 0);
	assert_true(sock_addr_equal(&x.far.last_client, &x.options.from));
}

static void who_does_not_answer_the_handshake_in_time_is_given_up(void **state)
{
	(void)state;
	tunnel_open(&x);
	x.far.deaf = true;
	x.side.handshake_ms = SHORT_MS;
	fail_to_start(REASON_TLS_TIMEOUT);
	expect_gone();
}

static void who_closes_during_the_handshake_is_told(void **state)
{
	(void)state;
	tunnel_open(&x);
	x.far.deaf = true;
	start();
	wait_for(&x.far.connections, 1);
	far_end_hang_up(&x.far);
	wait_for(&failed, 1);
	expect_gone();
}

static void a_peer_that_takes_no_h2_is_told(void **state)
{
	(void)state;
	x.far.side.alpn = TLS_ALPN_RAW;
	tunnel_open(&x);
	fail_to_start(REASON_TLS_ALPN);
	expect_gone();
}

/* Its handshake ends well, but not with a tunnel that multiplexes. */
static void a_session_without_h2_is_none(void **state)
{
	(void)state;
	x.side.alpn = TLS_ALPN_RAW;
	tunnel_open(&x);
	fail_to_start(REASON_TLS_ALPN);
	assert_non_null(strstr(why.text, "h2"));
	expect_gone();
}

/* ---- whom to believe ---- */

static void a_peer_that_is_believed_is_attested(void **state)
{
	struct session *s;

	(void)state;
	tunnel_open_verified(&x);
	s = start_ready();
	assert_true(s->peer.attested);
	assert_string_equal(s->peer.tee, "sample");
	assert_true(s->is_fresh);
	assert_int_equal(t.service.evaluations, 1);
	open_stream(s);
	expect_echo();
}

static void a_peer_without_evidence_is_not_believed(void **state)
{
	struct err e;

	(void)state;
	identity_unref(x.identity);
	x.identity = identity_new_dummy(&e);
	x.far.side.dummy = x.identity;
	tunnel_open_verified(&x);
	fail_to_start(REASON_NO_EVIDENCE);
	expect_gone();
	assert_int_equal(t.service.evaluations, 0);
	assert_int_equal(x.far.requests, 0);
}

static void a_peer_that_the_service_refuses_is_not_believed(void **state)
{
	(void)state;
	t.service.mode = SERVICE_REFUSE;
	tunnel_open_verified(&x);
	fail_to_start(REASON_AS_REFUSED);
	expect_gone();
	assert_int_equal(x.far.requests, 0);
}

static void a_session_is_not_ready_before_the_verdict(void **state)
{
	struct session *s;

	(void)state;
	t.service.mode = SERVICE_HOLD;
	tunnel_open_verified(&x);
	s = start();
	wait_for(&t.service.held_count, 1);
	run_for(t.loop, 5);
	expect_state(s, SESSION_SECURING);
	service_release(&t.service);
	wait_for(&changed, 1);
	expect_state(s, SESSION_READY);
	assert_true(s->peer.attested);
}

static void a_verdict_that_does_not_come_in_time_is_none(void **state)
{
	(void)state;
	t.service.mode = SERVICE_HOLD;
	x.side.verify_ms = SHORT_MS;
	tunnel_open_verified(&x);
	fail_to_start(REASON_AS_TIMEOUT);
	expect_gone();
	t.service.held_count = 0; /* the call was cancelled */
}

/* ---- a verdict that runs out ---- */

static void a_session_without_a_verifier_is_always_believed(void **state)
{
	struct session *s;

	(void)state;
	tunnel_open(&x);
	s = start_ready();
	serve(s);
	assert_true(session_is_believed(s));
	expect_state(s, SESSION_READY);
}

static void a_verdict_that_holds_is_asked_for_once(void **state)
{
	struct session *s;

	(void)state;
	tunnel_open_verified(&x);
	s = start_ready();
	serve(s);
	assert_true(session_is_believed(s));
	assert_int_equal(t.service.evaluations, 1);
}

/* A session whose verdict was good for those who waited for it, and no longer. */
static struct session *start_expired(void)
{
	struct session *s;

	t.conf.verdict_max_age_s = 0;
	tunnel_open_verified(&x);
	s = start_ready();
	assert_true(session_is_believed(s));
	serve(s);
	changed = 0;
	return s;
}

static void judge_again(struct session *s)
{
	assert_false(session_is_believed(s));
	expect_state(s, SESSION_JUDGING);
	assert_int_equal(changed, 0);
}

static void a_verdict_that_has_run_out_is_renewed(void **state)
{
	struct session *s;

	(void)state;
	s = start_expired();
	judge_again(s);
	wait_for(&changed, 1);
	expect_state(s, SESSION_READY);
	assert_true(s->is_fresh);
	assert_true(session_is_believed(s));
	assert_int_equal(t.service.evaluations, 2);
	open_stream(s);
	expect_echo();
	serve(s);
	assert_false(session_is_believed(s)); /* it has run out already */
}

/* Somebody else has asked about the same certificate. */
static void a_verdict_that_was_renewed_elsewhere_is_taken_from_the_cache(void **state)
{
	struct session *s;
	struct verdict verdict;

	(void)state;
	t.conf.verdict_max_age_s = 1;
	tunnel_open_verified(&x);
	s = start_ready();
	serve(s);
	while (verifier_cached(x.verifier, t.peer.cert_sha256, &verdict))
		run_for(t.loop, 20);
	assert_accepted(trial_verdict_of_verifier(&t, x.verifier, &t.peer));
	assert_true(session_is_believed(s));
	expect_state(s, SESSION_READY);
	assert_int_equal(t.service.evaluations, 2);
}

static void whom_a_renewed_verdict_refuses_keeps_its_streams_and_gets_no_more(void **state)
{
	struct session *s;

	(void)state;
	s = start_expired();
	open_stream(s);
	t.service.mode = SERVICE_REFUSE;
	judge_again(s);
	expect_echo();
	wait_retired();
	assert_null(session_connect(s, &connect_events));
	expect_echo();
	assert_int_equal(gone, 0);
	probe_close(&probe, STREAM_ABORT);
	expect_gone();
	assert_int_equal(failed, 0); /* it had been ready */
}

static void a_renewed_verdict_that_does_not_come_in_time_is_a_refusal(void **state)
{
	struct session *s;

	(void)state;
	t.conf.as.timeout_ms = SHORT_MS * 5; /* the first one has to come */
	s = start_expired();
	t.service.mode = SERVICE_HOLD;
	judge_again(s);
	wait_for(&t.service.held_count, 1);
	expect_state(s, SESSION_JUDGING);
	wait_retired();
	expect_gone();
	t.service.held_count = 0;
}

/* What comes between: nobody hears of the verdict then, and nobody asks for it any more. */

static struct session *start_judging(void)
{
	struct session *s = start_expired();

	t.service.mode = SERVICE_HOLD;
	judge_again(s);
	wait_for(&t.service.held_count, 1);
	return s;
}

static void expect_nobody_asks(void)
{
	for (unsigned i = 0; i < DEADLINE_MS && !list_is_empty(&t.service.web.conns); i++)
		run_for(t.loop, 1);
	assert_true(list_is_empty(&t.service.web.conns));
	t.service.held_count = 0;
}

static void a_goaway_ends_the_judgement(void **state)
{
	(void)state;
	start_judging();
	far_end_drain(&x.far);
	wait_retired();
	expect_gone();
	expect_nobody_asks();
}

static void idleness_ends_the_judgement(void **state)
{
	(void)state;
	x.options.idle_ms = IDLE_MS;
	start_judging();
	expect_gone();
	expect_nobody_asks();
}

static void the_end_of_the_connection_ends_the_judgement(void **state)
{
	(void)state;
	start_judging();
	far_end_hang_up(&x.far);
	wait_retired();
	expect_gone();
	expect_nobody_asks();
}

/* ---- streams ---- */

static void no_more_streams_than_the_peer_allows(void **state)
{
	struct session *s;

	(void)state;
	x.far.max_streams = 1;
	tunnel_open(&x);
	s = start_ready();
	open_stream(s); /* the peer's SETTINGS come before its answer */
	assert_int_equal(mux_session_room(s->mux), 0);
	assert_null(session_connect(s, &connect_events));
	expect_state(s, SESSION_READY);
	changed = 0;
	probe_close(&probe, STREAM_ABORT);
	wait_for(&changed, 1);
	assert_int_equal(mux_session_room(s->mux), 1);
	answered = 0;
	open_stream(s);
	expect_echo();
}

static void a_declined_stream_is_no_end_of_the_session(void **state)
{
	struct session *s;

	(void)state;
	x.far.mode = FAR_END_DECLINE;
	tunnel_open(&x);
	s = start_ready();
	connect_stream(s);
	wait_for(&answered, 1);
	assert_int_equal(status, 502);
	mux_stream_stream(stream)->ops->close(mux_stream_stream(stream), STREAM_ABORT);
	expect_state(s, SESSION_READY);
	x.far.mode = FAR_END_ACCEPT;
	answered = 0;
	open_stream(s);
	expect_echo();
}

/* ---- ends ---- */

static void after_goaway_streams_go_on_and_the_session_goes_with_the_last(void **state)
{
	struct session *s;

	(void)state;
	tunnel_open(&x);
	s = start_ready();
	open_stream(s);
	changed = 0;
	far_end_drain(&x.far);
	wait_retired();
	assert_null(session_connect(s, &connect_events));
	expect_echo();
	assert_int_equal(gone, 0);
	probe_close(&probe, STREAM_ABORT);
	expect_gone();
}

static void after_goaway_a_session_without_streams_goes_at_once(void **state)
{
	(void)state;
	tunnel_open(&x);
	start_ready();
	wait_for(&x.far.sessions, 1);
	far_end_drain(&x.far);
	expect_gone();
	assert_int_equal(changed, 2);
	assert_int_equal(failed, 0);
}

static void who_ends_the_connection_ends_its_streams(void **state)
{
	struct session *s;
	struct err alert;

	(void)state;
	tunnel_open(&x);
	s = start_ready();
	open_stream(s);
	changed = 0;
	far_end_hang_up(&x.far);
	wait_retired();
	assert_true(run_until(t.loop, &probe.ended, DEADLINE_MS));
	assert_int_equal(probe.end, IO_RESET);
	assert_false(session_alert(s, &alert));
	assert_int_equal(gone, 0);
	probe_close(&probe, STREAM_ABORT);
	expect_gone();
}

/* A server that wants our certificate says so when our handshake is over. */
static void an_alert_after_the_handshake_says_what_to_change(void **state)
{
	struct session *s;
	struct err alert;

	(void)state;
	tunnel_want_certificate(&x);
	tunnel_open(&x);
	connect_at_once = true;
	s = start();
	wait_for(&unanswered, 1);
	expect_state(s, SESSION_RETIRED);
	assert_true(session_alert(s, &alert));
	assert_non_null(strstr(alert.text, "attest"));
	mux_stream_stream(stream)->ops->close(mux_stream_stream(stream), STREAM_ABORT);
	expect_gone();
}

static void who_is_retired_says_goaway_and_waits_for_its_stream(void **state)
{
	struct session *s;

	(void)state;
	tunnel_open(&x);
	s = start_ready();
	open_stream(s);
	session_retire(s);
	session_retire(s);
	expect_state(s, SESSION_RETIRED);
	assert_null(session_connect(s, &connect_events));
	expect_echo();
	probe_close(&probe, STREAM_FINISHED);
	expect_gone();
	while (x.far.open > 0)
		run_for(t.loop, 1);
}

static void an_idle_session_goes(void **state)
{
	(void)state;
	x.options.idle_ms = IDLE_MS;
	tunnel_open(&x);
	start_ready();
	expect_gone();
	assert_int_equal(failed, 0);
}

static void a_session_is_not_idle_as_long_as_it_has_a_stream(void **state)
{
	struct session *s;
	uint64_t closed_ms;

	(void)state;
	x.options.idle_ms = IDLE_MS;
	tunnel_open(&x);
	s = start_ready();
	open_stream(s); /* and nothing is said in it */
	run_for(t.loop, 2 * IDLE_MS);
	expect_state(s, SESSION_READY);
	closed_ms = clock_ms();
	probe_close(&probe, STREAM_ABORT);
	expect_gone();
	assert_true(clock_ms() - closed_ms >= IDLE_MS / 2); /* counted from when a stream was last seen */
}

/* ---- freed ---- */

static void free_now(struct session *s)
{
	session_free(s);
	assert_true(list_is_empty(&sessions));
	assert_int_equal(x.descriptors, 0);
	changed = 0;
	run_for(t.loop, 20);
	assert_int_equal(changed, 0);
	assert_int_equal(failed, 0);
	assert_int_equal(gone, 0);
}

static void a_session_can_be_freed_while_it_is_dialed_or_secured(void **state)
{
	struct session *s;

	(void)state;
	tunnel_open(&x);
	x.far.deaf = true;
	free_now(start());
	s = start();
	wait_for(&x.far.connections, 2); /* the first one had got as far as the queue */
	run_for(t.loop, 5);
	expect_state(s, SESSION_SECURING);
	free_now(s);
}

static void a_session_can_be_freed_while_it_waits_for_its_first_verdict(void **state)
{
	struct session *s;

	(void)state;
	t.service.mode = SERVICE_HOLD;
	tunnel_open_verified(&x);
	s = start();
	wait_for(&t.service.held_count, 1);
	free_now(s);
	expect_nobody_asks();
}

static void a_session_can_be_freed_under_its_streams(void **state)
{
	struct session *s;

	(void)state;
	tunnel_open(&x);
	s = start_ready();
	open_stream(s);
	free_now(s);
	assert_true(probe.ended);
	assert_int_equal(probe.end, IO_RESET);
}

static void a_session_can_be_freed_while_it_is_judged_again(void **state)
{
	(void)state;
	free_now(start_judging());
	expect_nobody_asks();
}

static void a_retired_session_can_be_freed_before_it_has_gone(void **state)
{
	struct session *s;

	(void)state;
	tunnel_open(&x);
	s = start_ready();
	session_retire(s);
	free_now(s);
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
		TEST(a_session_is_dialed_and_secured_before_it_is_ready),
		TEST(a_refused_dial_is_told_and_the_session_goes),
		TEST(an_address_that_is_taken_cannot_be_dialed_from),
		TEST(a_session_is_dialed_from_the_address_that_it_is_to_show),
		TEST(who_does_not_answer_the_handshake_in_time_is_given_up),
		TEST(who_closes_during_the_handshake_is_told),
		TEST(a_peer_that_takes_no_h2_is_told),
		TEST(a_session_without_h2_is_none),
		TEST(a_peer_that_is_believed_is_attested),
		TEST(a_peer_without_evidence_is_not_believed),
		TEST(a_peer_that_the_service_refuses_is_not_believed),
		TEST(a_session_is_not_ready_before_the_verdict),
		TEST(a_verdict_that_does_not_come_in_time_is_none),
		TEST(a_session_without_a_verifier_is_always_believed),
		TEST(a_verdict_that_holds_is_asked_for_once),
		TEST(a_verdict_that_has_run_out_is_renewed),
		TEST(a_verdict_that_was_renewed_elsewhere_is_taken_from_the_cache),
		TEST(whom_a_renewed_verdict_refuses_keeps_its_streams_and_gets_no_more),
		TEST(a_renewed_verdict_that_does_not_come_in_time_is_a_refusal),
		TEST(a_goaway_ends_the_judgement),
		TEST(idleness_ends_the_judgement),
		TEST(the_end_of_the_connection_ends_the_judgement),
		TEST(no_more_streams_than_the_peer_allows),
		TEST(a_declined_stream_is_no_end_of_the_session),
		TEST(after_goaway_streams_go_on_and_the_session_goes_with_the_last),
		TEST(after_goaway_a_session_without_streams_goes_at_once),
		TEST(who_ends_the_connection_ends_its_streams),
		TEST(an_alert_after_the_handshake_says_what_to_change),
		TEST(who_is_retired_says_goaway_and_waits_for_its_stream),
		TEST(an_idle_session_goes),
		TEST(a_session_is_not_idle_as_long_as_it_has_a_stream),
		TEST(a_session_can_be_freed_while_it_is_dialed_or_secured),
		TEST(a_session_can_be_freed_while_it_waits_for_its_first_verdict),
		TEST(a_session_can_be_freed_under_its_streams),
		TEST(a_session_can_be_freed_while_it_is_judged_again),
		TEST(a_retired_session_can_be_freed_before_it_has_gone),
	};

	return cmocka_run_group_tests(tests, init, release);
}
