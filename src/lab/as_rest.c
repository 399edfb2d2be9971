/* SPDX-License-Identifier: Apache-2.0 */
/*
 * as_rest - the attestation service over HTTP. spec: attestation.md 3.2.
 *
 * Answers like openanolis 1.9.0, problem documents included; in the mode "old" like 1.5.2.
 */
#include <stdlib.h>
#include <strings.h>

#include "base/clock.h"
#include "lab/as_request.h"
#include "lab/http_conn.h"

#define BODY_MAX 2097152u

#define VARY "vary: Origin, Access-Control-Request-Method, Access-Control-Request-Headers\r\n"
#define PROBLEM_TYPE "https://github.com/confidential-containers/attestation-service/errors/"

#define TYPE_JSON "application/json"
#define TYPE_TEXT "text/plain; charset=utf-8"

struct problem {
	unsigned status;
	const char *kind;
	const char *code;
	const char *detail;
};

static const struct problem invalid_json = { 400, "BadRequest", "AS.REQUEST.INVALID_JSON",
					     "The request body is not valid JSON for this endpoint." };

static const struct problem problems[] = {
	[REFUSE_ENCODING] = { 400, "BadRequest", "AS.EVIDENCE.INVALID_ENCODING",
			      "The evidence is not valid base64url." },
	[REFUSE_FORMAT] = { 400, "BadRequest", "AS.EVIDENCE.INVALID_FORMAT", "The evidence is not valid JSON." },
	[REFUSE_TEE] = { 400, "BadRequest", "AS.REQUEST.UNSUPPORTED_TEE", "The TEE type is not supported." },
	[REFUSE_ARGUMENT] = { 400, "BadRequest", "AS.REQUEST.INVALID_ARGUMENT", "A request argument is invalid." },
	[REFUSE_CHALLENGE] = { 401, "Unauthorized", "AS.CHALLENGE.INVALID_TOKEN",
			       "The challenge token is invalid or expired." },
	[REFUSE_VERIFIER] = { 422, "UnprocessableEntity", "AS.EVIDENCE.VERIFICATION_FAILED",
			      "The evidence could not be verified." },
	[REFUSE_EVALUATION] = { 500, "InternalError", "AS.INTERNAL.ERROR", "An internal error occurred." },
};

static void reply_problem(const struct problem *p, const char *field, struct http_reply *reply)
{
	reply->status = p->status;
	reply->type = "application/problem+json";
	buf_format(&reply->body,
		   "{\"type\":\"" PROBLEM_TYPE "%s\",\"title\":\"%s\",\"status\":%u,\"code\":\"%s\","
		   "\"detail\":\"%s\",\"retryable\":false",
		   p->kind, http_status_text(p->status), p->status, p->code, p->detail);
	if (field[0] != '\0')
		buf_format(&reply->body, ",\"field\":\"%s\"", field);
	buf_append_str(&reply->body, "}");
}

/* 1.5.2: the debugging form of an error. */
static void reply_internal_error(const char *text, struct http_reply *reply)
{
	reply->status = 500;
	buf_append_str(&reply->body, "InternalError(\n    ");
	json_append_string(&reply->body, bytes_str(text));
	buf_append_str(&reply->body, ",\n)");
}

/* JSON that is none, or not what the endpoint takes. */
static void reply_bad_json(const struct http_request *r, bool old, const char *text, struct http_reply *reply)
{
	if (!old) {
		reply_problem(&invalid_json, "body", reply);
		return;
	}
	reply->status = 400;
	reply->type = TYPE_TEXT;
	buf_format(&reply->body, "Json deserialize error: %s at line 1 column %zu", text, r->body.len);
}

static void reply_bad_type(bool old, struct http_reply *reply)
{
	if (!old) {
		reply_problem(&invalid_json, "body", reply);
		return;
	}
	reply->status = 400;
	reply->type = TYPE_TEXT;
	buf_append_str(&reply->body, "Content type error");
}

/* gives the body as JSON, or NULL with the reply filled. */
static struct json *parse_body(const struct http_request *r, bool old, struct http_reply *reply)
{
	struct json *j;
	struct err e;

	if (!http_request_is_type(r, TYPE_JSON)) {
		reply_bad_type(old, reply);
		return NULL;
	}
	j = json_parse(buf_bytes(&r->body), JSON_STRICT, &e);
	if (j == NULL)
		reply_bad_json(r, old, e.text, reply);
	return j;
}

static void note_headers(const struct http_request *r, struct target *t)
{
	struct buf out = { 0 };
	const char *sep = "";

	buf_append_str(&out, "{");
	for (size_t i = 0; i < r->header_count; i++) {
		/* Of a repeated header the first counts, as everywhere here. */
		if (http_request_header(r, r->headers[i].name) != r->headers[i].value)
			continue;
		buf_append_str(&out, sep);
		json_append_string(&out, bytes_str(r->headers[i].name));
		buf_append_str(&out, ":");
		json_append_string(&out, bytes_str(r->headers[i].value));
		sep = ",";
	}
	buf_append_str(&out, "}");
	free(t->last_headers);
	t->last_headers = buf_take_str(&out);
}

static void answer_attestation(struct lab *lab, const struct http_request *r, const struct dealt *d,
			       struct http_reply *reply)
{
	struct target *t = &lab->targets[TARGET_AS_REST];
	struct appraise_request request = { .knows_sampledevice = true, .now_unix = clock_unix() };
	bool old = dealt_mode(d, MODE_OLD);
	enum as_layout layout = old ? AS_V1_5_2 : AS_V1_6_0;
	struct json *j = parse_body(r, old, reply);
	struct refusal why;
	struct err e;

	note_headers(r, t);
	if (j == NULL)
		return;
	if (as_request_from_json(j, layout, &request, &e) < 0) {
		reply_bad_json(r, old, e.text, reply);
		goto out;
	}
	request.knows_sampledevice = !old;
	as_request_note(&request, layout, t);
	if (appraise(&lab->service, &request, d, &reply->body, &why) == 0) {
		reply->status = 200;
		reply->extra = VARY;
		t->issued++;
	} else if (old) {
		reply_internal_error(why.cause.text, reply);
	} else {
		reply_problem(&problems[why.kind], why.field, reply);
	}
out:
	json_free(j);
}

/* An object of strings; "tee" may name a TEE that we know. */
static bool is_challenge_request(const struct json *j, bool *has_tee)
{
	const char *tee = json_string(json_member(j, "tee"));

	*has_tee = tee != NULL;
	if (j->type != JSON_OBJECT || (tee != NULL && !appraise_is_tee(tee, true)))
		return false;
	for (size_t i = 0; i < j->count; i++) {
		if (j->items[i]->type != JSON_STRING)
			return false;
	}
	return true;
}

static void answer_challenge(struct lab *lab, const struct http_request *r, const struct dealt *d,
			     struct http_reply *reply)
{
	bool old = dealt_mode(d, MODE_OLD);
	struct json *j;
	struct err e;
	bool has_tee;

	if (old || dealt_mode(d, MODE_NO_CHALLENGE)) {
		reply_internal_error("Failed to get inner tee", reply);
		return;
	}
	if (d->fault == FAULT_REFUSE) {
		reply_problem(&problems[REFUSE_EVALUATION], "", reply);
		return;
	}
	j = parse_body(r, old, reply);
	if (j == NULL)
		return;
	if (!is_challenge_request(j, &has_tee)) {
		reply_problem(&invalid_json, "body", reply);
	} else if (has_tee) {
		reply->status = 200;
	} else if (mint_prepare(lab->mint, TOKEN_SIMPLE, &e) < 0 ||
		   mint_challenge(lab->mint, clock_unix(), &reply->body, &e) < 0) {
		buf_clear(&reply->body);
		reply_problem(&problems[REFUSE_EVALUATION], "", reply);
	} else {
		reply->status = 200;
		reply->extra = VARY;
	}
	json_free(j);
}

static void answer_certificate(struct lab *lab, const struct http_request *r, const struct dealt *d,
			       struct http_reply *reply)
{
	(void)r;
	if (dealt_mode(d, MODE_NO_CERTIFICATE)) {
		reply->status = 404;
		reply->type = TYPE_JSON;
		buf_append_str(&reply->body, "{\"error\":\"No certificate configured\"}");
	} else if (d->fault == FAULT_REFUSE) {
		reply->status = 500;
		reply->type = TYPE_JSON;
		buf_append_str(&reply->body, "{\"error\":\"Failed to get certificate: refused\"}");
	} else {
		reply->status = 200;
		reply->type = "application/x-pem-file";
		reply->extra = VARY;
		mint_chain_pem(lab->mint, lab->service.form, &reply->body);
	}
}

static const struct endpoint {
	const char *path;
	const char *method;
	const char *allow;
	struct http_route route;
	void (*answer)(struct lab *lab, const struct http_request *r, const struct dealt *d, struct http_reply *reply);
} endpoints[] = {
	{ "/attestation", "POST", "allow: POST\r\n", { CALL_TOKEN, "attestation" }, answer_attestation },
	{ "/challenge", "POST", "allow: POST\r\n", { CALL_CHALLENGE, "challenge" }, answer_challenge },
	{ "/certificate", "GET", "allow: GET\r\n", { CALL_CERTIFICATE, "certificate" }, answer_certificate },
};

static const struct endpoint *find_endpoint(const struct http_request *r)
{
	for (size_t i = 0; i < ARRAY_SIZE(endpoints); i++) {
		if (strcmp(r->path, endpoints[i].path) == 0)
			return &endpoints[i];
	}
	return NULL;
}

static struct http_route route(const struct http_request *r)
{
	const struct endpoint *ep = find_endpoint(r);

	return ep != NULL && strcmp(r->method, ep->method) == 0 ? ep->route
								: (struct http_route){ CALL_OTHER, "other" };
}

static void answer(struct lab *lab, const struct http_request *r, const struct dealt *d, struct http_reply *reply)
{
	const struct endpoint *ep = find_endpoint(r);

	if (ep == NULL) {
		reply->status = 404;
	} else if (strcmp(r->method, ep->method) != 0) {
		reply->status = 405;
		reply->extra = ep->allow;
	} else {
		ep->answer(lab, r, d, reply);
	}
}

static void too_large(const struct http_request *r, struct http_reply *reply)
{
	(void)r;
	reply_problem(&invalid_json, "body", reply);
}

static const struct http_component component = {
	.target = TARGET_AS_REST,
	.body_max = BODY_MAX,
	.route = route,
	.answer = answer,
	.too_large = too_large,
};

static struct conn *open_conn(struct listener *l)
{
	(void)l;
	return http_conn_new(&component);
}

const struct conn_ops as_rest_server = {
	.open = open_conn,
	.on_input = http_conn_input,
	.on_deadline = http_conn_deadline,
	.on_closed = http_conn_closed,
};
