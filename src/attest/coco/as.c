/* SPDX-License-Identifier: Apache-2.0 */
/*
 * as - the client of an attestation service.
 *
 * When a service turns out to know only the older layout, the request goes out again in that layout, with
 * what is left of the time. Which of two refusals is told: the first, if the service could not read the
 * older layout, else the second; so that a service of either generation says why it really refuses.
 */
#include "attest/coco/as.h"

#include "attest/coco/as_message.h"
#include "attest/limits.h"
#include "base/clock.h"
#include "base/log.h"
#include "http/client.h"
#include "io/loop.h"

#include <stdlib.h>

#define GRPC_PATH "/attestation.AttestationService/AttestationEvaluate"

struct as_client {
	struct loop *loop;
	const struct as_conf *conf;
	struct http_client *http;
	struct list calls;
	struct log_limit dropped; /* lines about additional evidence */
};

enum question { QUESTION_EVALUATE, QUESTION_CERTIFICATES };

struct as_call {
	struct list link;
	struct as_client *client;
	struct as_events *events;
	struct http_events answers;
	struct http_call *pending;
	struct task end_unsent;
	uint64_t deadline_ms;

	enum question question;
	enum as_layout layout;
	const struct coco_evidence *ev;
	enum reason reason; /* of the first refusal */
	struct err why;
};

static void call_free(struct as_call *call)
{
	if (call->pending != NULL)
		http_call_cancel(call->pending);
	list_remove(&call->link);
	task_cancel(&call->end_unsent);
	free(call);
}

static void call_end(struct as_call *call, const struct bytes *content, enum reason reason, const struct err *why)
{
	struct as_events *events = call->events;

	call_free(call);
	events->answered(events, content, reason, why);
}

static void call_fail(struct as_call *call, enum reason reason, const struct err *why)
{
	static const char *const names[] = { "evaluate evidence", "fetch certificates" };
	struct err e = *why;

	err_wrap(&e, "%s", names[call->question]);
	call_end(call, NULL, reason, &e);
}

/* as_headers behind our own; released by the caller. */
static struct http_header *join_headers(const struct as_conf *conf, const struct http_header *own, size_t own_count)
{
	struct http_header *all = mem_new_array(own_count + conf->header_count, sizeof(*all));

	for (size_t i = 0; i < own_count; i++)
		all[i] = own[i];
	for (size_t i = 0; i < conf->header_count; i++)
		all[own_count + i] = (struct http_header){ conf->headers[i].name, conf->headers[i].value };
	return all;
}

static void send_request(struct as_call *call, const char *path, struct bytes body)
{
	static const struct http_header json[] = { { "Content-Type", "application/json" } };
	static const struct http_header grpc[] = { { "Content-Type", "application/grpc" }, { "te", "trailers" } };
	const struct as_conf *conf = call->client->conf;
	bool is_grpc = conf->type == AS_GRPC && call->question == QUESTION_EVALUATE;
	bool post = call->question == QUESTION_EVALUATE;
	size_t own_count = is_grpc ? ARRAY_SIZE(grpc) : post ? ARRAY_SIZE(json) : 0;
	struct http_header *headers = join_headers(conf, is_grpc ? grpc : json, own_count);
	char *url = mem_format("%s%s", conf->addr, path);
	uint64_t now = clock_ms();

	call->pending =
		http_call(call->client->http,
			  &(struct http_request){
				  .protocol = is_grpc ? HTTP_2 : HTTP_1,
				  .url = url,
				  .headers = headers,
				  .header_count = own_count + conf->header_count,
				  .post = post,
				  .body = body,
				  .connect_timeout_ms = conf->connect_timeout_ms,
				  .timeout_ms = call->deadline_ms > now ? (unsigned)(call->deadline_ms - now) : 1,
				  .body_max = conf->answer_max != 0 ? conf->answer_max : ATTEST_TOKEN_MAX,
			  },
			  &call->answers);
	free(headers);
	free(url);
}

static enum reason reason_of(const struct err *why)
{
	switch (why->kind) {
	case ERR_TIMEOUT:
		return REASON_AS_TIMEOUT;
	case ERR_PEER:
	case ERR_LIMIT:
		return REASON_AS_MALFORMED;
	case ERR_NONE:
	case ERR_CONFIG:
	case ERR_TRUST:
	case ERR_SYSTEM:
		return REASON_AS_UNAVAILABLE;
	}
	return REASON_AS_UNAVAILABLE;
}

static void warn_dropped(struct as_client *c)
{
	unsigned skipped;

	if (log_limit_pass(&c->dropped, 1, loop_now_ms(c->loop), &skipped))
		log_warn("attestation service %s: knows only the layout of 1.5.2, which has no place "
			 "for additional evidence: it was not sent",
			 c->conf->addr);
}

/* Formats and sends in call->layout. */
static int send_evidence(struct as_call *call, struct err *e)
{
	const struct as_conf *conf = call->client->conf;
	bool is_grpc = conf->type == AS_GRPC;
	struct buf body = { 0 };
	int rc;

	if (is_grpc)
		rc = as_grpc_format(call->layout, call->ev, &conf->policy_ids, &body, e);
	else
		rc = as_rest_format(call->layout, call->ev, &conf->policy_ids, &body, e);
	if (rc == 0)
		send_request(call, is_grpc ? GRPC_PATH : "/attestation", buf_bytes(&body));
	buf_release(&body);
	return rc;
}

static void try_older(struct as_call *call, enum reason reason, const struct err *why)
{
	struct err e;

	call->layout = AS_V1_5_2;
	call->reason = reason;
	call->why = *why;
	if (call->ev->has_additional)
		warn_dropped(call->client);
	if (send_evidence(call, &e) < 0)
		call_fail(call, REASON_EVIDENCE_INVALID, &e);
}

static int parse_answer(const struct as_call *call, const struct http_reply *reply, struct as_answer *out,
			enum reason *reason, struct err *e)
{
	if (call->client->conf->type == AS_GRPC)
		return as_grpc_parse(reply, out, reason, e);
	return as_rest_parse(reply, out, reason, e);
}

static void on_evaluated(struct as_call *call, const struct http_reply *reply)
{
	struct as_answer answer;
	enum reason reason;
	struct bytes token;
	struct err e;

	if (parse_answer(call, reply, &answer, &reason, &e) == 0) {
		token = buf_bytes(&answer.token);
		call_end(call, &token, REASON_DONE, NULL);
		buf_release(&answer.token);
		return;
	}
	if (answer.other_layout && call->layout == AS_V1_6_0) {
		try_older(call, reason, &e);
		return;
	}
	/* A gRPC service that cannot read the older layout has meant what it said first. */
	if (answer.unreadable && call->layout == AS_V1_5_2) {
		reason = call->reason;
		e = call->why;
	}
	call_fail(call, reason, &e);
}

static void on_certificates(struct as_call *call, const struct http_reply *reply)
{
	struct err e;

	if (reply->status >= 200 && reply->status <= 299) {
		struct bytes pem = reply->body;

		call_end(call, &pem, REASON_DONE, NULL);
		return;
	}
	err_set(&e, ERR_SYSTEM, "GET /certificate: status %d: %.*s", reply->status,
		(int)MIN(reply->body.len, (size_t)160), reply->body.len == 0 ? "" : (const char *)reply->body.data);
	call_fail(call, REASON_AS_UNAVAILABLE, &e);
}

static void on_ended(struct http_events *self, const struct http_reply *reply, const struct err *why)
{
	struct as_call *call = container_of(self, struct as_call, answers);

	call->pending = NULL;
	if (reply == NULL) {
		call_fail(call, reason_of(why), why);
		return;
	}
	switch (call->question) {
	case QUESTION_EVALUATE:
		on_evaluated(call, reply);
		return;
	case QUESTION_CERTIFICATES:
		on_certificates(call, reply);
		return;
	}
}

static void on_unsent(struct task *t)
{
	struct as_call *call = container_of(t, struct as_call, end_unsent);

	call_fail(call, call->reason, &call->why);
}

static struct as_call *call_new(struct as_client *c, enum question question, struct as_events *events)
{
	struct as_call *call = mem_new_of(struct as_call);

	call->client = c;
	call->events = events;
	call->question = question;
	call->answers.ended = on_ended;
	call->deadline_ms = clock_ms() + c->conf->timeout_ms;
	task_init(&call->end_unsent, on_unsent);
	list_append(&c->calls, &call->link);
	return call;
}

struct as_client *as_client_new(struct loop *l, const struct as_conf *conf, struct err *e)
{
	struct as_client *c = mem_new_of(struct as_client);

	c->loop = l;
	c->conf = conf;
	list_init(&c->calls);
	c->http = http_client_new(l, e);
	if (c->http == NULL) {
		free(c);
		return NULL;
	}
	return c;
}

void as_client_free(struct as_client *c)
{
	if (c == NULL)
		return;
	while (!list_is_empty(&c->calls))
		call_free(container_of(c->calls.next, struct as_call, link));
	http_client_free(c->http);
	free(c);
}

struct as_call *as_evaluate(struct as_client *c, const struct coco_evidence *ev, struct as_events *events)
{
	struct as_call *call = call_new(c, QUESTION_EVALUATE, events);

	call->ev = ev;
	call->layout = AS_V1_6_0;
	if (send_evidence(call, &call->why) < 0) {
		call->reason = REASON_EVIDENCE_INVALID;
		task_schedule(c->loop, &call->end_unsent);
	}
	return call;
}

struct as_call *as_fetch_certificates(struct as_client *c, struct as_events *events)
{
	struct as_call *call = call_new(c, QUESTION_CERTIFICATES, events);

	send_request(call, "/certificate", bytes_of(NULL, 0));
	return call;
}

void as_call_cancel(struct as_call *call)
{
	call_free(call);
}
