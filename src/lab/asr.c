/* SPDX-License-Identifier: Apache-2.0 */
/*
 * asr - the API server: evidence over HTTP. spec: attestation.md 2.
 *
 * Answers like inclavare's: query keys that it does not know are refused.
 */
#include <stdlib.h>

#include "codec/base64.h"
#include "lab/http_conn.h"
#include "lab/sample.h"

#define BODY_MAX (64u << 10)

#define PATH_INFO "/info"
#define PATH_EVIDENCE "/aa/evidence"
#define PATH_ADDITIONAL "/aa/additional-evidence"

struct query {
	bool has_runtime_data;
	struct buf runtime_data;
	struct buf encoding;
	bool has_encoding;
};

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* As forms are encoded: '+' is a space, a '%' without two digits is itself. */
static void decode_form(const char *text, size_t len, struct buf *out)
{
	buf_clear(out);
	for (size_t i = 0; i < len; i++) {
		char c = text[i];

		if (c == '+') {
			c = ' ';
		} else if (c == '%' && len - i > 2 && hex_digit(text[i + 1]) >= 0 && hex_digit(text[i + 2]) >= 0) {
			c = (char)(hex_digit(text[i + 1]) * 16 + hex_digit(text[i + 2]));
			i += 2;
		}
		buf_append(out, &c, 1);
	}
}

/* One "key=value"; of a repeated key the last counts. */
static bool take_pair(const char *text, size_t len, struct query *q)
{
	const char *equals = memchr(text, '=', len);
	size_t key_len = equals != NULL ? (size_t)(equals - text) : len;
	const char *value = equals != NULL ? equals + 1 : text + len;
	size_t value_len = len - (size_t)(value - text);
	struct buf key = { 0 };
	bool known = true;

	decode_form(text, key_len, &key);
	if (bytes_equal_str(buf_bytes(&key), "runtime_data")) {
		q->has_runtime_data = true;
		decode_form(value, value_len, &q->runtime_data);
	} else if (bytes_equal_str(buf_bytes(&key), "encoding")) {
		q->has_encoding = true;
		decode_form(value, value_len, &q->encoding);
	} else {
		known = false;
	}
	buf_release(&key);
	return known;
}

static bool parse_query(const char *text, struct query *q)
{
	while (text != NULL && *text != '\0') {
		size_t len = strcspn(text, "&");

		if (len > 0 && !take_pair(text, len, q))
			return false;
		text += len + (text[len] == '&');
	}
	return q->has_runtime_data;
}

static void query_release(struct query *q)
{
	buf_release(&q->runtime_data);
	buf_release(&q->encoding);
}

static void reply_text(unsigned status, const char *text, struct http_reply *reply)
{
	reply->status = status;
	buf_append_str(&reply->body, text);
}

/* The runtime data of the query, decoded; false after a reply. */
static bool read_runtime_data(const struct http_request *r, struct buf *out, struct http_reply *reply)
{
	struct query q = { 0 };
	struct err e;
	bool good = parse_query(r->query, &q);

	if (good && !q.has_encoding)
		buf_append_bytes(out, buf_bytes(&q.runtime_data));
	else if (good)
		good = bytes_equal_str(buf_bytes(&q.encoding), "base64") &&
		       base64url_decode(buf_bytes(&q.runtime_data), out, &e) == 0;
	if (!good)
		reply_text(400, "BAD REQUEST", reply);
	query_release(&q);
	return good;
}

static void reply_failure(const char *text, struct http_reply *reply)
{
	reply->status = 500;
	buf_format(&reply->body,
		   "rpc status: Status { code: INTERNAL, message: \"[ERROR:attestation-agent] %s\", "
		   "details: [], special_fields: SpecialFields { unknown_fields: UnknownFields { "
		   "fields: None }, cached_size: CachedSize { size: 0 } } }",
		   text);
}

static void answer_info(const struct http_request *r, const struct dealt *d, struct http_reply *reply)
{
	(void)r;
	if (d->fault == FAULT_REFUSE) {
		reply_failure("AA-KBC get tee type failed", reply);
		return;
	}
	reply->status = 200;
	reply->type = "application/json";
	buf_append_str(&reply->body, "{\"version\":\"tng lab\",\"tee\":\"" SAMPLE_TEE "\",\"additional_tees\":[]}");
}

static void answer_evidence(const struct http_request *r, const struct dealt *d, struct http_reply *reply)
{
	struct buf runtime_data = { 0 };

	if (!read_runtime_data(r, &runtime_data, reply)) {
		/* the reply says so */
	} else if (d->fault == FAULT_REFUSE) {
		reply_failure("AA-KBC get evidence failed", reply);
	} else {
		reply->status = 200;
		reply->type = "application/octet-stream";
		sample_evidence(buf_bytes(&runtime_data), d, &reply->body);
	}
	buf_release(&runtime_data);
}

static void answer_additional(const struct http_request *r, const struct dealt *d, struct http_reply *reply)
{
	struct buf runtime_data = { 0 };

	if (!read_runtime_data(r, &runtime_data, reply)) {
		/* the reply says so */
	} else if (d->fault == FAULT_REFUSE) {
		reply_failure("AA-KBC get evidence failed", reply);
	} else {
		reply->status = 200;
		reply->type = "application/octet-stream";
		if (dealt_mode(d, MODE_DEVICE))
			sample_device_evidence(buf_bytes(&runtime_data), &reply->body);
	}
	buf_release(&runtime_data);
}

static const struct endpoint {
	const char *path;
	struct http_route route;
	void (*answer)(const struct http_request *r, const struct dealt *d, struct http_reply *reply);
} endpoints[] = {
	{ PATH_INFO, { CALL_TEE, "info" }, answer_info },
	{ PATH_EVIDENCE, { CALL_EVIDENCE, "evidence" }, answer_evidence },
	{ PATH_ADDITIONAL, { CALL_DEVICE, "additional-evidence" }, answer_additional },
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

	return ep != NULL && strcmp(r->method, "GET") == 0 ? ep->route : (struct http_route){ CALL_OTHER, "other" };
}

static void answer(struct lab *lab, const struct http_request *r, const struct dealt *d, struct http_reply *reply)
{
	const struct endpoint *ep = find_endpoint(r);

	if (ep == NULL) {
		reply_text(404, strncmp(r->path, "/aa/", 4) == 0 ? "URL NOT FOUND" : "", reply);
		return;
	}
	if (strcmp(r->method, "GET") != 0) {
		reply_text(405, "Method Not Allowed", reply);
		return;
	}
	ep->answer(r, d, reply);
	if (reply->status == 200)
		lab->targets[TARGET_ASR].issued++;
}

static const struct http_component component = {
	.target = TARGET_ASR,
	.body_max = BODY_MAX,
	.route = route,
	.answer = answer,
};

static struct conn *open_conn(struct listener *l)
{
	(void)l;
	return http_conn_new(&component);
}

const struct conn_ops asr_server = {
	.open = open_conn,
	.on_input = http_conn_input,
	.on_deadline = http_conn_deadline,
	.on_closed = http_conn_closed,
};
