/* SPDX-License-Identifier: Apache-2.0 */
#include "lab/http_server.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define BODY_MAX 16

/* Feeds text in pieces of step bytes; what was not eaten is in *rest. */
static enum http_progress feed(struct http_parser *p, const char *text, size_t step, struct bytes *rest)
{
	struct bytes all = bytes_str(text);
	enum http_progress progress = HTTP_MORE;
	size_t given = 0;

	while (progress == HTTP_MORE || progress == HTTP_CONTINUE) {
		struct bytes in;

		if (given == all.len)
			break;
		in = bytes_of(all.data, MIN(given + step, all.len));
		in.data += given;
		in.len -= given;
		progress = http_parser_feed(p, &in);
		given = (size_t)(in.data - all.data);
	}
	*rest = bytes_of(all.data + given, all.len - given);
	return progress;
}

static void parse(struct http_parser *p, const char *text)
{
	struct bytes rest;

	http_parser_init(p, BODY_MAX);
	assert_int_equal(feed(p, text, strlen(text), &rest), HTTP_COMPLETE);
	assert_int_equal(rest.len, 0);
}

static void assert_broken(const char *text, unsigned status)
{
	struct http_parser p;
	struct bytes rest;
	enum http_progress progress;

	http_parser_init(&p, BODY_MAX);
	progress = feed(&p, text, strlen(text), &rest);
	if (progress != HTTP_BROKEN || p.status != status)
		fail_msg("%s: progress %d, status %u", text, progress, p.status);
	http_parser_release(&p);
}

static void a_request_gives_method_path_query_and_headers(void **state)
{
	struct http_parser p;

	(void)state;
	parse(&p, "GET /aa/evidence?runtime_data=x&encoding=base64 HTTP/1.1\r\nHost: h\r\nX-Y:  a b \t\r\n\r\n");
	assert_string_equal(p.request.method, "GET");
	assert_string_equal(p.request.path, "/aa/evidence");
	assert_string_equal(p.request.query, "runtime_data=x&encoding=base64");
	assert_string_equal(http_request_header(&p.request, "x-y"), "a b");
	assert_null(http_request_header(&p.request, "x-z"));
	assert_true(p.request.keep_alive);
	assert_int_equal(p.request.body.len, 0);
	http_parser_release(&p);
}

static void a_request_is_the_same_however_it_is_cut(void **state)
{
	static const char text[] = "POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
				   "4;x=y\r\nabcd\r\n3\r\nefg\r\n0\r\nT: v\r\n\r\n";

	(void)state;
	for (size_t step = 1; step <= sizeof(text); step++) {
		struct http_parser p;
		struct bytes rest;

		http_parser_init(&p, BODY_MAX);
		assert_int_equal(feed(&p, text, step, &rest), HTTP_COMPLETE);
		assert_int_equal(rest.len, 0);
		assert_true(bytes_equal_str(buf_bytes(&p.request.body), "abcdefg"));
		http_parser_release(&p);
	}
}

static void what_follows_a_request_is_left_for_the_next(void **state)
{
	static const char text[] = "POST /1 HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nabGET /2 "
				   "HTTP/1.1\r\nHost: h\r\n\r\n";
	struct http_parser p;
	struct bytes in = bytes_str(text);

	(void)state;
	http_parser_init(&p, BODY_MAX);
	assert_int_equal(http_parser_feed(&p, &in), HTTP_COMPLETE);
	assert_true(bytes_equal_str(buf_bytes(&p.request.body), "ab"));
	http_parser_next(&p);
	assert_int_equal(http_parser_feed(&p, &in), HTTP_COMPLETE);
	assert_string_equal(p.request.path, "/2");
	assert_int_equal(in.len, 0);
	http_parser_release(&p);
}

static void a_request_that_is_cut_short_is_never_complete(void **state)
{
	static const char text[] = "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nabcd";

	(void)state;
	for (size_t len = 0; len < sizeof(text) - 1; len++) {
		struct http_parser p;
		struct bytes in = bytes_of(text, len);

		http_parser_init(&p, BODY_MAX);
		assert_int_equal(http_parser_feed(&p, &in), HTTP_MORE);
		assert_int_equal(in.len, 0);
		http_parser_release(&p);
	}
}

static void a_client_that_expects_100_is_told_before_its_body_comes(void **state)
{
	static const char head[] = "POST /a HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n";
	struct http_parser p;
	struct bytes in = bytes_str(head);

	(void)state;
	http_parser_init(&p, BODY_MAX);
	assert_int_equal(http_parser_feed(&p, &in), HTTP_CONTINUE);
	in = bytes_str("a");
	assert_int_equal(http_parser_feed(&p, &in), HTTP_MORE);
	in = bytes_str("b");
	assert_int_equal(http_parser_feed(&p, &in), HTTP_COMPLETE);
	http_parser_release(&p);
}

static void a_client_that_did_not_wait_for_100_is_not_told(void **state)
{
	struct http_parser p;

	(void)state;
	parse(&p, "POST /a HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nab");
	http_parser_release(&p);
}

static void connections_are_kept_as_the_version_and_the_client_want(void **state)
{
	static const struct {
		const char *text;
		bool keep;
	} cases[] = {
		{ "GET / HTTP/1.1\r\nHost: h\r\n\r\n", true },
		{ "GET / HTTP/1.1\r\nHost: h\r\nConnection: x, Close\r\n\r\n", false },
		{ "GET / HTTP/1.0\r\n\r\n", false },
		{ "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", true },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct http_parser p;

		parse(&p, cases[i].text);
		assert_int_equal(p.request.keep_alive, cases[i].keep);
		http_parser_release(&p);
	}
}

static void bodies_up_to_the_limit_pass_and_one_byte_more_does_not(void **state)
{
	struct http_parser p;
	struct bytes in;

	(void)state;
	parse(&p, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 16\r\n\r\n0123456789abcdef");
	http_parser_release(&p);

	http_parser_init(&p, BODY_MAX);
	in = bytes_str("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 17\r\n\r\n");
	assert_int_equal(http_parser_feed(&p, &in), HTTP_TOO_LARGE);
	http_parser_release(&p);

	parse(&p, "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
		  "8\r\n01234567\r\n8\r\n89abcdef\r\n0\r\n\r\n");
	http_parser_release(&p);

	http_parser_init(&p, BODY_MAX);
	in = bytes_str("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n01234567\r\n9\r\n");
	assert_int_equal(http_parser_feed(&p, &in), HTTP_TOO_LARGE);
	http_parser_release(&p);
}

static void what_could_be_read_in_two_ways_is_refused(void **state)
{
	static const struct {
		const char *text;
		unsigned status;
	} cases[] = {
		{ "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400 },
		{ "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", 400 },
		{ "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: +1\r\n\r\n", 400 },
		{ "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1, 1\r\n\r\n", 400 },
		{ "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: \r\n\r\n", 400 },
		{ "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9999999999999999\r\n\r\n", 400 },
		{ "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501 },
		{ "GET / HTTP/1.1\r\nHost: h\r\nA : b\r\n\r\n", 400 },
		{ "GET / HTTP/1.1\r\nHost: h\r\nA: b\r\n c\r\n\r\n", 400 },
		{ "GET / HTTP/1.1\r\nHost: h\nA: b\r\n\r\n", 400 },
		{ "GET / HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n", 400 },
		{ "GET / HTTP/1.1\r\nA: b\r\n\r\n", 400 },
		{ "GET  / HTTP/1.1\r\nHost: h\r\n\r\n", 400 },
		{ "GET / HTTP/1.1 \r\nHost: h\r\n\r\n", 505 },
		{ "GET / HTTP/2.0\r\nHost: h\r\n\r\n", 505 },
		{ "GET /\r\n\r\n", 400 },
		{ "G@T / HTTP/1.1\r\nHost: h\r\n\r\n", 400 },
		{ "GET /\xc3\xa4 HTTP/1.1\r\nHost: h\r\n\r\n", 400 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_broken(cases[i].text, cases[i].status);
}

static void chunks_that_are_none_are_refused(void **state)
{
	static const char *const bodies[] = {
		"x\r\n", "\r\n", "-1\r\n", " \r\n", "0x1\r\na\r\n", "1\r\nabcd", "1\r\na\n\n", "fffffffffffffffff\r\n",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bodies); i++) {
		char *text =
			mem_format("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n%s", bodies[i]);

		assert_broken(text, 400);
		free(text);
	}
}

static void heads_headers_chunk_lines_and_trailers_have_limits(void **state)
{
	struct http_parser p;
	struct buf text = { 0 };
	struct bytes in;

	(void)state;
	buf_append_str(&text, "GET / HTTP/1.1\r\nHost: h\r\nA: ");
	while (text.len < HTTP_HEAD_MAX + 1)
		buf_append_str(&text, "x");
	http_parser_init(&p, BODY_MAX);
	in = buf_bytes(&text);
	assert_int_equal(http_parser_feed(&p, &in), HTTP_BROKEN);
	assert_int_equal(p.status, 431);
	http_parser_release(&p);

	/* one more header than there may be */
	buf_clear(&text);
	buf_append_str(&text, "GET / HTTP/1.1\r\nHost: h\r\n");
	for (int i = 1; i < HTTP_HEADERS_MAX; i++)
		buf_append_str(&text, "A: b\r\n");
	buf_append_str(&text, "\r\n");
	http_parser_init(&p, BODY_MAX);
	in = buf_bytes(&text);
	assert_int_equal(http_parser_feed(&p, &in), HTTP_COMPLETE);
	http_parser_release(&p);
	text.len -= 2;
	buf_append_str(&text, "A: b\r\n\r\n");
	http_parser_init(&p, BODY_MAX);
	in = buf_bytes(&text);
	assert_int_equal(http_parser_feed(&p, &in), HTTP_BROKEN);
	assert_int_equal(p.status, 431);
	http_parser_release(&p);

	/* trailers that never end */
	buf_clear(&text);
	buf_append_str(&text, "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n");
	while (text.len < 2 * HTTP_TRAILERS_MAX)
		buf_append_str(&text, "A: bbbbbbbbbbbbbbbbbbbbbbbbb\r\n");
	http_parser_init(&p, BODY_MAX);
	in = buf_bytes(&text);
	assert_int_equal(http_parser_feed(&p, &in), HTTP_BROKEN);
	http_parser_release(&p);
	buf_release(&text);
}

static void media_types_are_compared_without_their_parameters(void **state)
{
	static const struct {
		const char *type;
		bool json;
	} cases[] = {
		{ "application/json", true },	   { "Application/JSON; charset=utf-8", true },
		{ "application/json ;x=y", true }, { "application/jsonp", false },
		{ "text/plain", false },	   { "application/json/x", false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char *text = mem_format("POST / HTTP/1.1\r\nHost: h\r\nContent-Type: %s\r\n\r\n", cases[i].type);
		struct http_parser p;

		parse(&p, text);
		assert_int_equal(http_request_is_type(&p.request, "application/json"), cases[i].json);
		http_parser_release(&p);
		free(text);
	}
}

static void an_answer_without_a_type_has_no_content_type(void **state)
{
	struct buf out = { 0 };

	(void)state;
	http_format_head(&(struct http_answer){ .status = 200 }, 5, &out);
	assert_string_equal(buf_str(&out), "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n");
	buf_clear(&out);
	http_format_head(
		&(struct http_answer){ .status = 405, .type = "a/b", .extra = "allow: GET\r\n", .close = true }, 0,
		&out);
	assert_string_equal(buf_str(&out), "HTTP/1.1 405 Method Not Allowed\r\ncontent-length: 0\r\n"
					   "content-type: a/b\r\nallow: GET\r\nconnection: close\r\n\r\n");
	buf_release(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_request_gives_method_path_query_and_headers),
		cmocka_unit_test(a_request_is_the_same_however_it_is_cut),
		cmocka_unit_test(what_follows_a_request_is_left_for_the_next),
		cmocka_unit_test(a_request_that_is_cut_short_is_never_complete),
		cmocka_unit_test(a_client_that_expects_100_is_told_before_its_body_comes),
		cmocka_unit_test(a_client_that_did_not_wait_for_100_is_not_told),
		cmocka_unit_test(connections_are_kept_as_the_version_and_the_client_want),
		cmocka_unit_test(bodies_up_to_the_limit_pass_and_one_byte_more_does_not),
		cmocka_unit_test(what_could_be_read_in_two_ways_is_refused),
		cmocka_unit_test(chunks_that_are_none_are_refused),
		cmocka_unit_test(heads_headers_chunk_lines_and_trailers_have_limits),
		cmocka_unit_test(media_types_are_compared_without_their_parameters),
		cmocka_unit_test(an_answer_without_a_type_has_no_content_type),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
