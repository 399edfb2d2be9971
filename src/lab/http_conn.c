/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http_conn - one request at a time: those behind it wait in the connection's input, so answers keep the
 * order of the requests. While an answer is pending only a little more is read, which also notices a
 * client that goes away.
 */
#include "lab/http_conn.h"

#include <stdlib.h>
#include <time.h>

#include "base/clock.h"

/* Read ahead while an answer is pending. */
#define READ_AHEAD_MAX (64u << 10)

/* Of one connection, so that a pipeline of many does not starve the rest. */
#define REQUESTS_PER_ROUND 16

enum phase {
	PHASE_NEW,    /* not a byte yet */
	PHASE_HEAD,   /* the head of a request must be complete soon */
	PHASE_BODY,   /* more of the body must come */
	PHASE_ANSWER, /* ours to speak */
	PHASE_IDLE    /* between requests */
};

struct http_conn {
	struct conn conn;
	const struct http_component *component;
	struct http_parser parser;
	struct pending pending;
	struct dealt dealt;
	enum phase phase;
};

static void on_resume(struct pending *p);

static struct http_conn *http_conn_of(struct conn *c)
{
	return container_of(c, struct http_conn, conn);
}

static struct lab *lab_of_conn(struct http_conn *h)
{
	return lab_of(h->conn.listener, h->component->target);
}

static struct target *target_of(struct http_conn *h)
{
	return &lab_of_conn(h)->targets[h->component->target];
}

struct conn *http_conn_new(const struct http_component *component)
{
	struct http_conn *h = mem_new_of(struct http_conn);

	h->component = component;
	http_parser_init(&h->parser, component->body_max);
	pending_init(&h->pending, on_resume);
	return &h->conn;
}

void http_conn_closed(struct conn *c)
{
	struct http_conn *h = http_conn_of(c);

	pending_cancel(&h->pending);
	http_parser_release(&h->parser);
	free(h);
}

static void set_phase(struct http_conn *h, enum phase phase)
{
	static const unsigned deadlines_ms[] = {
		[PHASE_NEW] = HTTP_HEAD_TIMEOUT_MS,  [PHASE_HEAD] = HTTP_HEAD_TIMEOUT_MS,
		[PHASE_BODY] = HTTP_BODY_TIMEOUT_MS, [PHASE_ANSWER] = 0,
		[PHASE_IDLE] = HTTP_IDLE_TIMEOUT_MS,
	};
	bool from_start = h->phase == PHASE_NEW && phase == PHASE_HEAD;

	/* A head may not be fed for ever, a body may. */
	if ((phase == h->phase && phase != PHASE_BODY) || from_start)
		return;
	h->phase = phase;
	conn_set_deadline(&h->conn, deadlines_ms[phase]);
}

static void append_head(const struct http_reply *reply, uint64_t body_len, bool close, struct buf *out)
{
	char date[64];
	time_t now = clock_unix();
	struct tm tm;
	char *extra;
	struct http_answer head = { .status = reply->status, .type = reply->type, .close = close };

	gmtime_r(&now, &tm);
	strftime(date, sizeof(date), "%a, %d %b %Y %H:%M:%S GMT", &tm);
	extra = mem_format("%sdate: %s\r\n", reply->extra != NULL ? reply->extra : "", date);
	head.extra = extra;
	http_format_head(&head, body_len, out);
	free(extra);
}

/* Writes the reply as the fault wants it; returns whether the connection goes on. */
static bool write_reply(struct http_conn *h, const struct http_reply *reply)
{
	const struct http_request *r = &h->parser.request;
	struct buf *out = &h->conn.out;
	bool is_head = r->method != NULL && strcmp(r->method, "HEAD") == 0;
	bool keep = r->keep_alive && h->parser.state == HTTP_DONE;
	size_t start = out->len;

	switch (h->dealt.fault) {
	case FAULT_HUGE:
		append_head(reply, h->dealt.bytes, true, out);
		h->conn.filler = h->dealt.bytes;
		return false;
	case FAULT_TRUNCATED:
		append_head(reply, reply->body.len, true, out);
		if (reply->body.len == 0)
			out->len = start + (out->len - start) / 2;
		else
			buf_append(out, reply->body.data, reply->body.len / 2);
		return false;
	default:
		append_head(reply, reply->body.len, !keep, out);
		if (!is_head)
			buf_append_bytes(out, buf_bytes(&reply->body));
		return keep;
	}
}

static void give_garbage(struct http_reply *reply)
{
	static const char junk[] = "{\"\x01\xff\xfe this is no answer of a service";

	buf_clear(&reply->body);
	buf_append(&reply->body, junk, sizeof(junk));
	reply->status = 200;
}

/* The request is answered; the parser is ready for the next or the connection ends. */
static void answer(struct http_conn *h)
{
	struct http_reply reply = { .status = 500 };
	bool goes_on;

	h->component->answer(lab_of_conn(h), &h->parser.request, &h->dealt, &reply);
	if (h->dealt.fault == FAULT_GARBAGE)
		give_garbage(&reply);
	if (reply.status >= 400)
		target_of(h)->refused++;
	goes_on = write_reply(h, &reply);
	buf_release(&reply.body);
	if (!goes_on) {
		conn_finish(&h->conn);
		return;
	}
	http_parser_next(&h->parser);
	set_phase(h, PHASE_IDLE);
	conn_flush(&h->conn);
}

static void on_resume(struct pending *p)
{
	struct http_conn *h = container_of(p, struct http_conn, pending);

	conn_pause(&h->conn, false);
	answer(h);
	conn_schedule(&h->conn);
}

static void on_request(struct http_conn *h)
{
	struct lab *lab = lab_of_conn(h);
	struct target *t = target_of(h);
	struct http_route route = h->component->route(&h->parser.request);

	set_phase(h, PHASE_ANSWER);
	target_count(t, route.name);
	h->dealt = fault_deal(t, route.call);
	if (!pending_start(&h->pending, lab->loop, t, &h->dealt))
		answer(h);
}

/* A request that cannot be read to its end: answered, and the connection is over. */
static void on_broken(struct http_conn *h, unsigned status)
{
	struct http_reply reply = { .status = status };

	h->dealt = (struct dealt){ .fault = FAULT_NONE };
	write_reply(h, &reply);
	conn_finish(&h->conn);
}

static void on_too_large(struct http_conn *h)
{
	struct http_reply reply = { .status = 413 };

	h->dealt = (struct dealt){ .fault = FAULT_NONE };
	target_count(target_of(h), h->component->route(&h->parser.request).name);
	target_of(h)->refused++;
	if (h->component->too_large != NULL)
		h->component->too_large(&h->parser.request, &reply);
	write_reply(h, &reply);
	buf_release(&reply.body);
	conn_finish(&h->conn);
}

static void on_more(struct http_conn *h)
{
	if (h->conn.input_ended) {
		conn_finish(&h->conn);
		return;
	}
	if (h->parser.in_head)
		set_phase(h, PHASE_HEAD);
	else if (h->parser.state != HTTP_HEAD)
		set_phase(h, PHASE_BODY);
	else if (h->phase == PHASE_NEW && !timer_is_started(&h->conn.deadline))
		conn_set_deadline(&h->conn, HTTP_HEAD_TIMEOUT_MS);
}

/*
 * A client that closes while it is kept waiting has most likely gone, and its call with it; one that only
 * closed its direction loses by that no more than with the real services. A slow answer it still gets.
 */
static void while_pending(struct http_conn *h)
{
	if (h->conn.input_ended && h->dealt.fault != FAULT_SLOW)
		conn_close(&h->conn);
	else if (conn_input(&h->conn).len > READ_AHEAD_MAX)
		conn_pause(&h->conn, true);
}

/* false: no further progress for now. */
static bool input_step(struct http_conn *h)
{
	struct bytes in = conn_input(&h->conn);
	size_t before = in.len;
	enum http_progress progress = http_parser_feed(&h->parser, &in);

	conn_consume(&h->conn, before - in.len);
	switch (progress) {
	case HTTP_MORE:
		on_more(h);
		return false;
	case HTTP_CONTINUE:
		buf_append_str(&h->conn.out, "HTTP/1.1 100 Continue\r\n\r\n");
		conn_flush(&h->conn);
		return true;
	case HTTP_COMPLETE:
		on_request(h);
		return true;
	case HTTP_TOO_LARGE:
		on_too_large(h);
		return false;
	case HTTP_BROKEN:
		on_broken(h, h->parser.status);
		return false;
	}
	return false;
}

void http_conn_input(struct conn *c)
{
	struct http_conn *h = http_conn_of(c);

	for (int i = 0; !c->closed && !c->finishing && !conn_is_full(c); i++) {
		if (pending_is_started(&h->pending)) {
			while_pending(h);
			return;
		}
		if (i == REQUESTS_PER_ROUND) {
			conn_schedule(c);
			return;
		}
		if (!input_step(h))
			return;
	}
}

void http_conn_deadline(struct conn *c)
{
	struct http_conn *h = http_conn_of(c);

	if (h->phase == PHASE_NEW || h->phase == PHASE_HEAD)
		on_broken(h, 408);
	else
		conn_finish(c);
}
