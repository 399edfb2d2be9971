/* SPDX-License-Identifier: Apache-2.0 */
/* client - HTTP requests against servers on the same loop. */
#include "../vectors.h"

#include "http/client.h"
#include "run.h"
#include "web.h"

#include <signal.h>

#define DEADLINE_MS 10000
#define CALLS 64

struct caller {
	struct http_events events;
	struct http_call *call;
	bool ended;
	int status; /* 0: no answer */
	struct buf body;
	struct buf headers;
	struct err why;
};

static struct loop *loop;
static struct web web;
static struct http_client *client;
static struct caller callers[CALLS];
static unsigned ended;
static struct web_request *held[CALLS];
static unsigned held_count;

static void on_ended(struct http_events *self, const struct http_reply *reply, const struct err *why)
{
	struct caller *c = container_of(self, struct caller, events);

	c->ended = true;
	c->call = NULL;
	ended++;
	if (reply == NULL) {
		c->why = *why;
		return;
	}
	c->status = reply->status;
	buf_append_bytes(&c->body, reply->body);
	buf_append_bytes(&c->headers, reply->headers);
}

static struct http_request request(const char *url)
{
	return (struct http_request){
		.url = url,
		.direct = true,
		.connect_timeout_ms = 2000,
		.timeout_ms = 5000,
		.body_max = 1 << 20,
	};
}

static void begin(unsigned i, const struct http_request *req)
{
	callers[i].events.ended = on_ended;
	callers[i].call = http_call(client, req, &callers[i].events);
}

static void get(unsigned i)
{
	struct http_request req = request(web.url);

	begin(i, &req);
}

static bool wait_ended(unsigned wanted)
{
	return run_until_count(loop, &ended, wanted, DEADLINE_MS);
}

static void say_hello(struct web *w, struct web_request *req)
{
	(void)w;
	web_answer_str(req, 200, "hello");
}

static void hold(struct web *w, struct web_request *req)
{
	(void)w;
	held[held_count++] = req;
}

static int set_up(void **state)
{
	struct err e;

	(void)state;
	signal(SIGPIPE, SIG_IGN);
	loop = loop_new(&e);
	web_start(&web, loop);
	web.on_request = say_hello;
	client = http_client_new(loop, &e);
	assert_non_null(client);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	http_client_free(client);
	web_stop(&web);
	loop_free(loop);
	for (unsigned i = 0; i < CALLS; i++) {
		buf_release(&callers[i].body);
		buf_release(&callers[i].headers);
	}
	memset(callers, 0, sizeof(callers));
	memset(&web, 0, sizeof(web));
	ended = held_count = 0;
	return 0;
}

static void mirror(struct web *w, struct web_request *req)
{
	assert_string_equal(req->method, "POST");
	assert_string_equal(req->path, "/x?y=1");
	assert_null(web_header(req, "expect"));
	assert_memory_equal(web_header(req, "x-key"), "secret\r", 7);
	assert_non_null(strstr(req->head, "\nx-empty:"));
	assert_memory_equal(web_header(req, "user-agent"), "tng/", 4);
	assert_int_equal(req->body.len, 1000000);
	assert_memory_equal(req->body.data + 999990, "0123456789", 10);
	(void)w;
	web_answer_str(req, 201, "taken");
}

static void a_post_carries_headers_and_body_and_gets_status_and_body(void **state)
{
	static const struct http_header headers[] = { { "X-Key", "secret" }, { "X-Empty", "" } };
	struct http_request req;
	struct buf body = { 0 };
	char url[128];

	(void)state;
	snprintf(url, sizeof(url), "%s/x?y=1", web.url);
	req = request(url);
	for (int i = 0; i < 100000; i++)
		buf_append_str(&body, "0123456789");
	req.post = true;
	req.body = buf_bytes(&body);
	req.headers = headers;
	req.header_count = ARRAY_SIZE(headers);
	web.on_request = mirror;
	begin(0, &req);
	assert_true(wait_ended(1));
	assert_int_equal(callers[0].status, 201);
	assert_bytes_equal(buf_bytes(&callers[0].body), bytes_str("taken"));
	buf_release(&body);
}

static void one_that_hangs_delays_no_other(void **state)
{
	(void)state;
	web.on_request = hold;
	get(0);
	assert_true(run_until_count(loop, &held_count, 1, DEADLINE_MS));
	web.on_request = say_hello;
	get(1);
	assert_true(wait_ended(1));
	assert_int_equal(callers[1].status, 200);
	assert_false(callers[0].ended);
}

static void one_that_hangs_runs_out_of_time(void **state)
{
	struct http_request slow = request(web.url);

	(void)state;
	slow.timeout_ms = 200;
	web.on_request = hold;
	begin(0, &slow);
	assert_true(wait_ended(1));
	assert_int_equal(callers[0].status, 0);
	assert_int_equal(callers[0].why.kind, ERR_TIMEOUT);
}

static void many_run_side_by_side(void **state)
{
	(void)state;
	web.on_request = hold;
	for (unsigned i = 0; i < CALLS; i++)
		get(i);
	assert_true(run_until_count(loop, &held_count, CALLS, DEADLINE_MS));
	for (unsigned i = CALLS; i > 0; i--)
		web_answer_str(held[i - 1], 200, "x");
	assert_true(wait_ended(CALLS));
	for (unsigned i = 0; i < CALLS; i++)
		assert_int_equal(callers[i].status, 200);
}

static void a_cancelled_request_is_never_heard_of_again(void **state)
{
	(void)state;
	web.on_request = hold;
	get(0);
	get(1);
	assert_true(run_until_count(loop, &held_count, 2, DEADLINE_MS));
	http_call_cancel(callers[0].call);
	web.on_request = say_hello;
	get(2);
	assert_true(wait_ended(1));
	assert_int_equal(callers[2].status, 200);
	assert_false(callers[0].ended);
	http_call_cancel(callers[1].call);
}

static void connections_are_kept(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 5; i++) {
		get(i);
		assert_true(wait_ended(i + 1));
		assert_int_equal(callers[i].status, 200);
	}
	assert_int_equal(web.connections, 1);
}

static void a_kept_connection_that_was_closed_is_replaced(void **state)
{
	(void)state;
	get(0);
	assert_true(wait_ended(1));
	web_drop_all(&web); /* without the client having had a look at it */
	get(1);
	assert_true(wait_ended(2));
	assert_int_equal(callers[1].status, 200);
	assert_int_equal(web.connections, 2);
}

/* The request and the end of the connection cross on the way. */
static void drop_unless_new(struct web *w, struct web_request *req)
{
	if (w->requests == 2)
		web_drop(req);
	else
		web_answer_str(req, 200, "hello");
}

static void a_kept_connection_that_ends_at_the_request_is_replaced(void **state)
{
	(void)state;
	web.on_request = drop_unless_new;
	get(0);
	assert_true(wait_ended(1));
	get(1);
	assert_true(wait_ended(2));
	assert_int_equal(callers[1].status, 200);
	assert_int_equal(web.requests, 3);
}

static void time_out_unless_new(struct web *w, struct web_request *req)
{
	static const char answer[] = "HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\n"
				     "connection: close\r\n\r\n";

	if (w->requests == 2)
		web_answer_raw(req, bytes_str(answer), true);
	else
		web_answer_str(req, 200, "hello");
}

static void a_408_on_a_kept_connection_is_no_answer(void **state)
{
	(void)state;
	web.on_request = time_out_unless_new;
	get(0);
	assert_true(wait_ended(1));
	get(1);
	assert_true(wait_ended(2));
	assert_int_equal(callers[1].status, 200);
	assert_int_equal(web.requests, 3);
}

static void always_408(struct web *w, struct web_request *req)
{
	(void)w;
	web_answer_str(req, 408, "");
}

static void a_408_on_a_new_connection_is_the_answer(void **state)
{
	(void)state;
	web.on_request = always_408;
	get(0);
	assert_true(wait_ended(1));
	assert_int_equal(callers[0].status, 408);
	assert_int_equal(web.requests, 1);
}

static void a_refused_connection_is_told_at_once(void **state)
{
	(void)state;
	web_stop(&web);
	get(0);
	assert_true(wait_ended(1));
	assert_int_equal(callers[0].status, 0);
	assert_int_equal(callers[0].why.kind, ERR_SYSTEM);
}

static struct bytes raw;

static void answer_raw(struct web *w, struct web_request *req)
{
	(void)w;
	web_answer_raw(req, raw, true);
}

static void get_raw(const char *text)
{
	raw = bytes_str(text);
	web.on_request = answer_raw;
	get(0);
	assert_true(wait_ended(1));
}

static void what_is_not_http_is_a_broken_protocol(void **state)
{
	(void)state;
	get_raw("SSH-2.0-OpenSSH_9.2\r\n");
	assert_int_equal(callers[0].status, 0);
	assert_int_equal(callers[0].why.kind, ERR_PEER);
}

static void an_answer_that_is_cut_off_is_a_broken_protocol(void **state)
{
	(void)state;
	get_raw("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nonly this");
	assert_int_equal(callers[0].status, 0);
	assert_int_equal(callers[0].why.kind, ERR_PEER);
}

static void a_redirect_is_not_followed(void **state)
{
	(void)state;
	get_raw("HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n");
	assert_int_equal(callers[0].status, 302);
	assert_int_equal(web.requests, 1);
}

static void an_interim_answer_is_skipped(void **state)
{
	struct http_reply reply = { 0 };

	(void)state;
	get_raw("HTTP/1.1 103 Early Hints\r\nx-a: early\r\n\r\n"
		"HTTP/1.1 200 OK\r\nX-A:  final \r\ncontent-length: 2\r\n\r\nok");
	assert_int_equal(callers[0].status, 200);
	reply.headers = buf_bytes(&callers[0].headers);
	assert_bytes_equal(http_reply_header(&reply, "x-a"), bytes_str("final"));
	assert_null(http_reply_header(&reply, "x-").data);
	assert_null(http_reply_header(&reply, "x-b").data);
}

static void an_answer_may_be_as_long_as_the_limit_and_no_longer(void **state)
{
	struct http_request req = request(web.url);

	(void)state;
	req.body_max = 5;
	begin(0, &req);
	assert_true(wait_ended(1));
	assert_int_equal(callers[0].status, 200);
	req.body_max = 4;
	begin(1, &req);
	assert_true(wait_ended(2));
	assert_int_equal(callers[1].status, 0);
	assert_int_equal(callers[1].why.kind, ERR_LIMIT);
}

static void answer_with_many_headers(struct web *w, struct web_request *req)
{
	struct buf head = { 0 };
	size_t lines = w->requests == 1 ? 500 : 1000; /* of 100 bytes */

	buf_append_str(&head, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n");
	for (size_t i = 0; i < lines; i++)
		buf_format(&head, "x-%04zu: %091d\r\n", i, 0);
	buf_append_str(&head, "\r\n");
	web_answer_raw(req, buf_bytes(&head), false);
	buf_release(&head);
}

static void headers_are_bounded(void **state)
{
	(void)state;
	web.on_request = answer_with_many_headers;
	get(0);
	assert_true(wait_ended(1));
	assert_int_equal(callers[0].status, 200);
	get(1);
	assert_true(wait_ended(2));
	assert_int_equal(callers[1].status, 0);
}

static void a_header_with_a_line_end_is_not_sent(void **state)
{
	static const struct http_header bad[] = { { "X-Key", "a\r\nX-Other: b" } };
	struct http_request req = request(web.url);

	(void)state;
	req.headers = bad;
	req.header_count = 1;
	begin(0, &req);
	assert_false(callers[0].ended);
	assert_true(wait_ended(1));
	assert_int_equal(callers[0].why.kind, ERR_CONFIG);
	assert_int_equal(web.requests, 0);
}

static void a_url_of_another_scheme_is_refused(void **state)
{
	struct http_request req = request("file:///etc/passwd");

	(void)state;
	begin(0, &req);
	assert_true(wait_ended(1));
	assert_int_equal(callers[0].why.kind, ERR_CONFIG);
}

static void a_server_that_does_not_speak_tls_is_no_https_server(void **state)
{
	char url[64];
	struct http_request req;

	(void)state;
	snprintf(url, sizeof(url), "https://127.0.0.1:%u", web.port);
	req = request(url);
	begin(0, &req);
	req.timeout_ms = 200;
	begin(1, &req);
	assert_true(wait_ended(1));
}

static void a_client_with_requests_under_way_can_be_freed(void **state)
{
	(void)state;
	web.on_request = hold;
	get(0);
	get(1);
	assert_true(run_until_count(loop, &held_count, 2, DEADLINE_MS));
	http_client_free(client);
	client = NULL;
	run_for(loop, 5);
	assert_int_equal(ended, 0);
}

static void the_environments_proxy_is_asked_unless_direct(void **state)
{
	struct http_request req = request("http://service.invalid/x");

	(void)state;
	setenv("http_proxy", web.url, 1);
	req.direct = false;
	begin(0, &req);
	assert_true(wait_ended(1));
	assert_int_equal(callers[0].status, 200);
	unsetenv("http_proxy");
}

/* ---- HTTP/2 ---- */

static int set_up_grpc(void **state)
{
	int rc = set_up(state);

	web_stop(&web);
	memset(&web, 0, sizeof(web));
	grpc_start(&web, loop);
	return rc;
}

static void grpc_mirror(struct web *w, struct web_request *req)
{
	(void)w;
	grpc_answer(req, 0, "", bytes_of(req->body.data, req->body.len));
}

static void grpc_post(unsigned i, struct bytes body)
{
	static const struct http_header headers[] = { { "Content-Type", "application/grpc" }, { "TE", "trailers" } };
	struct http_request req = request(web.url);

	req.protocol = HTTP_2;
	req.post = true;
	req.body = body;
	req.headers = headers;
	req.header_count = ARRAY_SIZE(headers);
	begin(i, &req);
}

static struct bytes header_of(unsigned i, const char *name)
{
	struct http_reply reply = { .headers = buf_bytes(&callers[i].headers) };

	return http_reply_header(&reply, name);
}

static void http_2_brings_trailers(void **state)
{
	(void)state;
	web.on_request = grpc_mirror;
	grpc_post(0, bytes_str("ping"));
	assert_true(wait_ended(1));
	assert_int_equal(callers[0].status, 200);
	assert_int_equal(callers[0].body.len, 9);
	assert_bytes_equal(header_of(0, "grpc-status"), bytes_str("0"));
}

static void grpc_refuse(struct web *w, struct web_request *req)
{
	char *text = mem_new(8001);

	(void)w;
	memset(text, 'x', 8000);
	grpc_answer(req, 13, text, bytes_of(NULL, 0));
	free(text);
}

static void http_2_brings_trailers_alone_with_a_long_message(void **state)
{
	(void)state;
	web.on_request = grpc_refuse;
	grpc_post(0, bytes_str("ping"));
	assert_true(wait_ended(1));
	assert_int_equal(callers[0].status, 200);
	assert_bytes_equal(header_of(0, "grpc-status"), bytes_str("13"));
	assert_int_equal(header_of(0, "grpc-message").len, 8000);
}

static void no_http_2_request_waits_for_another(void **state)
{
	(void)state;
	web.on_request = hold;
	for (unsigned i = 0; i < 32; i++)
		grpc_post(i, bytes_str("ping"));
	assert_true(run_until_count(loop, &held_count, 32, DEADLINE_MS));
	for (unsigned i = 31; i > 0; i--)
		grpc_answer(held[i], 0, "", bytes_str("pong"));
	assert_true(wait_ended(31));
	http_call_cancel(callers[0].call);
	assert_int_equal(callers[0].ended, false);
	run_for(loop, 5);
}

static void a_large_http_2_body_passes_flow_control(void **state)
{
	struct buf body = { 0 };

	(void)state;
	for (int i = 0; i < 30000; i++)
		buf_append_str(&body, "0123456789");
	web.on_request = grpc_mirror;
	grpc_post(0, buf_bytes(&body));
	assert_true(wait_ended(1));
	assert_int_equal(callers[0].status, 200);
	assert_int_equal(callers[0].body.len, body.len + 5);
	buf_release(&body);
}

static void an_http_2_server_that_restarts_is_reached_again(void **state)
{
	(void)state;
	web.on_request = grpc_mirror;
	grpc_post(0, bytes_str("ping"));
	assert_true(wait_ended(1));
	web_drop_all(&web);
	grpc_post(1, bytes_str("ping"));
	assert_true(wait_ended(2));
	assert_int_equal(callers[1].status, 200);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
#define TEST_GRPC(f) cmocka_unit_test_setup_teardown(f, set_up_grpc, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_post_carries_headers_and_body_and_gets_status_and_body),
		TEST(one_that_hangs_delays_no_other),
		TEST(one_that_hangs_runs_out_of_time),
		TEST(many_run_side_by_side),
		TEST(a_cancelled_request_is_never_heard_of_again),
		TEST(connections_are_kept),
		TEST(a_kept_connection_that_was_closed_is_replaced),
		TEST(a_kept_connection_that_ends_at_the_request_is_replaced),
		TEST(a_408_on_a_kept_connection_is_no_answer),
		TEST(a_408_on_a_new_connection_is_the_answer),
		TEST(a_refused_connection_is_told_at_once),
		TEST(what_is_not_http_is_a_broken_protocol),
		TEST(an_answer_that_is_cut_off_is_a_broken_protocol),
		TEST(a_redirect_is_not_followed),
		TEST(an_interim_answer_is_skipped),
		TEST(an_answer_may_be_as_long_as_the_limit_and_no_longer),
		TEST(headers_are_bounded),
		TEST(a_header_with_a_line_end_is_not_sent),
		TEST(a_url_of_another_scheme_is_refused),
		TEST(a_server_that_does_not_speak_tls_is_no_https_server),
		TEST(a_client_with_requests_under_way_can_be_freed),
		TEST(the_environments_proxy_is_asked_unless_direct),
		TEST_GRPC(http_2_brings_trailers),
		TEST_GRPC(http_2_brings_trailers_alone_with_a_long_message),
		TEST_GRPC(no_http_2_request_waits_for_another),
		TEST_GRPC(a_large_http_2_body_passes_flow_control),
		TEST_GRPC(an_http_2_server_that_restarts_is_reached_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
