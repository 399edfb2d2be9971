/* SPDX-License-Identifier: Apache-2.0 */
/* ttrpc - the client against an agent on a unix socket. */
#include "../../vectors.h"

#include "agent.h"
#include "attest/coco/ttrpc.h"
#include "run.h"

#define DEADLINE_MS 5000
#define CALLS 8

struct caller {
	struct ttrpc_events events;
	struct ttrpc_call *call;
	unsigned answers;
	struct buf payload;
	bool failed;
	int code;
	struct err why;
};

static struct loop *loop;
static struct agent agent;
static struct ttrpc *client;
static struct caller callers[CALLS];
static unsigned answers; /* of all callers */
static struct agent_request held[CALLS];
static unsigned held_count;

static void on_answered(struct ttrpc_events *self, const struct bytes *payload, int code, const struct err *why)
{
	struct caller *c = container_of(self, struct caller, events);

	c->call = NULL;
	c->answers++;
	c->failed = payload == NULL;
	c->code = code;
	if (payload != NULL)
		buf_append_bytes(&c->payload, *payload);
	else
		c->why = *why;
	answers++;
}

static void begin_call(unsigned i, const char *method, unsigned timeout_ms)
{
	struct caller *c = &callers[i];
	struct err e;

	c->events.answered = on_answered;
	c->call = ttrpc_call(
		client,
		&(struct ttrpc_request){
			.service = "s", .method = method, .payload = bytes_str(method), .timeout_ms = timeout_ms },
		&c->events, &e);
	assert_non_null(c->call);
}

static bool wait_answers(unsigned wanted)
{
	return run_until_count(loop, &answers, wanted, DEADLINE_MS);
}

static void echo(struct agent *a, struct agent_request *req)
{
	(void)a;
	agent_answer(req->conn, req->stream, TTRPC_OK, "", buf_bytes(&req->in.payload));
}

/* Keeps what is called "hang" and answers the rest. */
static void echo_unless_hang(struct agent *a, struct agent_request *req)
{
	if (strcmp(req->in.method, "hang") != 0)
		echo(a, req);
}

static void hold(struct agent *a, struct agent_request *req)
{
	(void)a;
	held[held_count].conn = req->conn;
	held[held_count].stream = req->stream;
	held_count++;
}

static int set_up(void **state)
{
	struct err e;

	(void)state;
	loop = loop_new(&e);
	agent_start(&agent, loop);
	agent.on_request = echo;
	client = ttrpc_new(loop, agent.path, 1 << 20);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	ttrpc_free(client);
	agent_free(&agent);
	loop_free(loop);
	for (unsigned i = 0; i < CALLS; i++)
		buf_release(&callers[i].payload);
	memset(callers, 0, sizeof(callers));
	answers = held_count = 0;
	return 0;
}

static void answers_in_any_order_find_their_calls(void **state)
{
	static const char *const names[] = { "zero", "one", "two", "three" };

	(void)state;
	agent.on_request = hold;
	for (unsigned i = 0; i < 4; i++)
		begin_call(i, names[i], 1000);
	assert_true(run_until_count(loop, &held_count, 4, DEADLINE_MS));
	assert_int_equal(answers, 0);
	for (int i = 3; i >= 0; i--) {
		assert_int_equal(held[i].stream, 1 + 2 * i);
		agent_answer(held[i].conn, held[i].stream, TTRPC_OK, "", bytes_str(names[i]));
	}
	assert_true(wait_answers(4));
	for (unsigned i = 0; i < 4; i++)
		assert_bytes_equal(buf_bytes(&callers[i].payload), bytes_str(names[i]));
	assert_int_equal(agent.connections, 1);
}

static void a_call_that_hangs_delays_no_other(void **state)
{
	(void)state;
	agent.on_request = echo_unless_hang;
	begin_call(0, "hang", 60000);
	begin_call(1, "quick", 5000);
	assert_true(wait_answers(1));
	assert_int_equal(callers[1].answers, 1);
	assert_false(callers[1].failed);
}

static void a_call_that_hangs_runs_out_of_time_and_the_connection_stays(void **state)
{
	(void)state;
	agent.on_request = echo_unless_hang;
	begin_call(0, "hang", 200);
	begin_call(1, "bystander", 5000);
	assert_true(wait_answers(2));
	assert_true(callers[0].failed);
	assert_int_equal(callers[0].why.kind, ERR_TIMEOUT);
	begin_call(2, "again", 5000);
	assert_true(wait_answers(3));
	assert_int_equal(agent.connections, 1);
}

static void an_answer_nobody_waits_for_is_ignored(void **state)
{
	(void)state;
	agent.on_request = hold;
	begin_call(0, "left", 5000);
	assert_true(run_until_count(loop, &held_count, 1, DEADLINE_MS));
	ttrpc_call_cancel(callers[0].call);
	agent_answer(held[0].conn, held[0].stream, TTRPC_OK, "", bytes_str("late"));
	agent_answer(held[0].conn, 77, TTRPC_OK, "", bytes_str("never asked"));
	agent.on_request = echo;
	begin_call(1, "next", 5000);
	assert_true(wait_answers(1));
	assert_int_equal(callers[0].answers, 0);
	assert_bytes_equal(buf_bytes(&callers[1].payload), bytes_str("next"));
	assert_int_equal(agent.connections, 1);
}

static void a_call_cancelled_before_it_was_sent_never_reaches_the_agent(void **state)
{
	(void)state;
	begin_call(0, "left", 5000);
	ttrpc_call_cancel(callers[0].call);
	begin_call(1, "kept", 5000);
	assert_true(wait_answers(1));
	assert_int_equal(agent.requests, 1);
}

static void refuse(struct agent *a, struct agent_request *req)
{
	(void)a;
	agent_answer(req->conn, req->stream, TTRPC_INTERNAL, "no\nTDX\x1b here", bytes_of(NULL, 0));
}

static void a_status_is_told_with_its_code(void **state)
{
	(void)state;
	agent.on_request = refuse;
	begin_call(0, "x", 5000);
	assert_true(wait_answers(1));
	assert_true(callers[0].failed);
	assert_int_equal(callers[0].code, TTRPC_INTERNAL);
	assert_int_equal(callers[0].why.kind, ERR_PEER);
	assert_string_equal(callers[0].why.text, "the agent refused with status 13: no?TDX? here");
}

static void an_absent_agent_fails_at_once(void **state)
{
	(void)state;
	agent_stop(&agent);
	begin_call(0, "x", 60000);
	assert_true(wait_answers(1));
	assert_true(callers[0].failed);
	assert_int_equal(callers[0].why.kind, ERR_SYSTEM);
	agent_listen(&agent);
	begin_call(1, "x", 5000);
	assert_true(wait_answers(2));
	assert_false(callers[1].failed);
}

static void an_agent_that_restarts_between_two_calls_is_reached_again(void **state)
{
	(void)state;
	begin_call(0, "one", 5000);
	assert_true(wait_answers(1));
	agent_stop(&agent);
	agent_listen(&agent);
	begin_call(1, "two", 5000); /* before the loop has seen the end of the connection */
	assert_true(wait_answers(2));
	assert_false(callers[1].failed);
	assert_int_equal(agent.connections, 2);
}

static void an_agent_that_restarts_under_a_call_is_asked_again(void **state)
{
	(void)state;
	agent.on_request = hold;
	begin_call(0, "one", 5000);
	assert_true(run_until_count(loop, &held_count, 1, DEADLINE_MS));
	agent_stop(&agent);
	agent.on_request = echo;
	agent_listen(&agent);
	assert_true(wait_answers(1));
	assert_false(callers[0].failed);
	assert_int_equal(agent.requests, 2);
}

static void hang_up(struct agent *a, struct agent_request *req)
{
	(void)a;
	agent_close(req->conn);
}

static void an_agent_that_ends_at_each_request_is_asked_twice(void **state)
{
	(void)state;
	agent.on_request = hang_up;
	begin_call(0, "one", 5000);
	assert_true(wait_answers(1));
	assert_true(callers[0].failed);
	assert_int_equal(callers[0].why.kind, ERR_SYSTEM);
	assert_int_equal(agent.requests, 2);
}

static void cut_off(struct agent *a, struct agent_request *req)
{
	static const uint8_t half[] = { 0, 0, 0, 9, 0, 0, 0, 1, 2, 0, 0x0a, 0 };

	(void)a;
	agent_send(req->conn, bytes_of(half, sizeof(half)));
	agent_close(req->conn);
}

static void a_frame_that_is_cut_off_is_an_error(void **state)
{
	(void)state;
	agent.on_request = cut_off;
	begin_call(0, "one", 5000);
	assert_true(wait_answers(1));
	assert_true(callers[0].failed);
	assert_int_equal(callers[0].why.kind, ERR_PEER);
	assert_string_equal(callers[0].why.text, "the agent closed in the middle of a frame");
}

static void send_header(struct agent_request *req, uint32_t length, uint8_t type)
{
	struct ttrpc_header h = { .length = length, .stream = req->stream, .type = type };
	uint8_t raw[TTRPC_HEADER_LEN];

	ttrpc_header_format(&h, raw);
	agent_send(req->conn, bytes_of(raw, sizeof(raw)));
}

static void boast(struct agent *a, struct agent_request *req)
{
	(void)a;
	if (strcmp(req->in.method, "big") == 0)
		send_header(req, TTRPC_PAYLOAD_MAX + 1, TTRPC_RESPONSE);
	else if (strcmp(req->in.method, "limit") == 0)
		send_header(req, (1 << 20) + 1, TTRPC_RESPONSE);
	else if (a->connections > 1)
		echo(a, req);
}

static void a_frame_over_the_limit_is_refused_from_its_length(void **state)
{
	(void)state;
	agent.on_request = boast;
	begin_call(0, "bystander", 5000);
	begin_call(1, "big", 5000);
	assert_true(wait_answers(2));
	assert_true(callers[1].failed);
	assert_int_equal(callers[1].why.kind, ERR_LIMIT);
	assert_false(callers[0].failed); /* over the second connection */
	begin_call(2, "limit", 5000);
	assert_true(wait_answers(3));
	assert_int_equal(callers[2].why.kind, ERR_LIMIT);
}

static void send_data_frame(struct agent *a, struct agent_request *req)
{
	(void)a;
	send_header(req, 0, TTRPC_DATA);
}

static void a_frame_of_another_type_ends_its_call(void **state)
{
	(void)state;
	agent.on_request = send_data_frame;
	begin_call(0, "x", 5000);
	assert_true(wait_answers(1));
	assert_int_equal(callers[0].why.kind, ERR_PEER);
}

static void send_garbage(struct agent *a, struct agent_request *req)
{
	static const uint8_t frame[] = { 0, 0, 0, 2, 0, 0, 0, 1, 2, 0, 0xff, 0xff };

	(void)a;
	agent_send(req->conn, bytes_of(frame, sizeof(frame)));
}

static void an_answer_that_is_no_message_ends_its_call(void **state)
{
	(void)state;
	agent.on_request = send_garbage;
	begin_call(0, "x", 5000);
	assert_true(wait_answers(1));
	assert_int_equal(callers[0].why.kind, ERR_PEER);
	assert_int_equal(callers[0].code, 0);
}

static void send_in_pieces(struct agent *a, struct agent_request *req)
{
	struct buf frame = { 0 };
	struct err e;

	(void)a;
	assert_int_equal(ttrpc_response_format(req->stream, 0, "", buf_bytes(&req->in.payload), &frame, &e), 0);
	for (size_t i = 0; i < frame.len; i++) {
		agent_send(req->conn, bytes_of(frame.data + i, 1));
		if (i == 4 || i == 11)
			run_for(loop, 2);
	}
	buf_release(&frame);
}

static void an_answer_may_come_in_pieces(void **state)
{
	(void)state;
	agent.on_request = hold;
	begin_call(0, "pieces", 5000);
	assert_true(run_until_count(loop, &held_count, 1, DEADLINE_MS));
	buf_append_str(&held[0].in.payload, "pieces");
	send_in_pieces(&agent, &held[0]);
	buf_release(&held[0].in.payload);
	assert_true(wait_answers(1));
	assert_bytes_equal(buf_bytes(&callers[0].payload), bytes_str("pieces"));
}

static void a_silent_connection_is_replaced_after_a_time_out(void **state)
{
	(void)state;
	agent.deaf = true;
	begin_call(0, "x", 50);
	assert_true(wait_answers(1));
	assert_int_equal(callers[0].why.kind, ERR_TIMEOUT);
	agent.deaf = false;
	begin_call(1, "y", 5000);
	assert_true(wait_answers(2));
	assert_false(callers[1].failed);
	assert_int_equal(agent.connections, 2);
}

static void freeing_the_client_cancels_its_calls(void **state)
{
	(void)state;
	agent.on_request = hold;
	begin_call(0, "x", 5000);
	assert_true(run_until_count(loop, &held_count, 1, DEADLINE_MS));
	begin_call(1, "y", 5000);
	ttrpc_free(client);
	client = NULL;
	run_for(loop, 5);
	assert_int_equal(answers, 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(answers_in_any_order_find_their_calls),
		TEST(a_call_that_hangs_delays_no_other),
		TEST(a_call_that_hangs_runs_out_of_time_and_the_connection_stays),
		TEST(an_answer_nobody_waits_for_is_ignored),
		TEST(a_call_cancelled_before_it_was_sent_never_reaches_the_agent),
		TEST(a_status_is_told_with_its_code),
		TEST(an_absent_agent_fails_at_once),
		TEST(an_agent_that_restarts_between_two_calls_is_reached_again),
		TEST(an_agent_that_restarts_under_a_call_is_asked_again),
		TEST(an_agent_that_ends_at_each_request_is_asked_twice),
		TEST(a_frame_that_is_cut_off_is_an_error),
		TEST(a_frame_over_the_limit_is_refused_from_its_length),
		TEST(a_frame_of_another_type_ends_its_call),
		TEST(an_answer_that_is_no_message_ends_its_call),
		TEST(an_answer_may_come_in_pieces),
		TEST(a_silent_connection_is_replaced_after_a_time_out),
		TEST(freeing_the_client_cancels_its_calls),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
