/* SPDX-License-Identifier: Apache-2.0 */
/* as_message - requests to and answers of an attestation service. */
#include "attest/coco/as_message.h"

#include "attest/coco/protobuf.h"
#include "attestation_v1_5_2.pb-c.h"
#include "attestation_v1_6_0.pb-c.h"
#include "codec/base64.h"
#include "codec/json.h"

#include <stdlib.h>

#define GRPC_PREFIX_LEN 5
#define GRPC_OK 0
#define GRPC_ABORTED 10
#define GRPC_INTERNAL 13

/* How much of what a service says goes into a log line. */
#define SAID_MAX 160

/* The parts of a request that need decoding. */
struct parts {
	struct json *runtime_data;
	struct json *additional; /* NULL: none */
	struct buf evidence;	 /* base64url */
	struct buf runtime_text; /* canonical */
};

static void parts_release(struct parts *p)
{
	json_free(p->runtime_data);
	json_free(p->additional);
	buf_release(&p->evidence);
	buf_release(&p->runtime_text);
}

static struct json *parse_object(const struct buf *text, const char *what, struct err *e)
{
	struct json *doc = json_parse(buf_bytes(text), JSON_STRICT, e);

	if (doc == NULL) {
		err_wrap(e, "%s", what);
		return NULL;
	}
	if (doc->type == JSON_OBJECT)
		return doc;
	json_free(doc);
	err_set(e, ERR_PEER, "%s is no JSON object", what);
	return NULL;
}

static int parts_make(const struct coco_evidence *ev, struct parts *p, struct err *e)
{
	*p = (struct parts){ 0 };
	p->runtime_data = parse_object(&ev->runtime_data, "runtime data", e);
	if (p->runtime_data == NULL)
		return -1;
	json_format_canonical(p->runtime_data, &p->runtime_text);
	base64url_encode(buf_bytes(&ev->evidence), &p->evidence);
	if (!ev->has_additional)
		return 0;
	p->additional = parse_object(&ev->additional, "additional evidence", e);
	if (p->additional == NULL)
		return -1;
	if (p->additional->count > AS_ADDITIONAL_MAX)
		return err_set(e, ERR_LIMIT, "more than %d entries of additional evidence", AS_ADDITIONAL_MAX);
	return 0;
}

static size_t additional_count(const struct parts *p)
{
	return p->additional == NULL ? 0 : p->additional->count;
}

/* base64url of the compact text. */
static void encode_additional(const struct json *value, struct buf *out)
{
	struct buf text = { 0 };

	json_format(value, &text);
	base64url_encode(buf_bytes(&text), out);
	buf_release(&text);
}

static void append_policies(const struct string_list *ids, struct buf *out)
{
	buf_append_str(out, "\"policy_ids\":[");
	for (size_t i = 0; i < ids->count; i++) {
		buf_append_str(out, i == 0 ? "" : ",");
		json_append_string(out, bytes_str(ids->items[i]));
	}
	buf_append_str(out, "]}");
}

/* The members that the two layouts have in common, without braces. */
static void append_primary(const struct coco_evidence *ev, const struct parts *p, struct buf *out)
{
	buf_append_str(out, "\"tee\":");
	json_append_string(out, bytes_str(ev->tee));
	buf_append_str(out, ",\"evidence\":\"");
	buf_append_bytes(out, buf_bytes(&p->evidence));
	buf_append_str(out, "\",\"runtime_data\":{\"structured\":");
	buf_append_bytes(out, buf_bytes(&p->runtime_text));
	buf_format(out, "},\"init_data\":null,\"runtime_data_hash_algorithm\":\"%s\"", digest_name(ev->hash));
}

static void append_additional(const struct parts *p, struct buf *out)
{
	for (size_t i = 0; i < additional_count(p); i++) {
		const struct json_key *key = &p->additional->keys[i];

		buf_append_str(out, ",{\"tee\":");
		json_append_string(out, bytes_of(key->name, key->len));
		buf_append_str(out, ",\"evidence\":\"");
		encode_additional(p->additional->items[i], out);
		buf_append_str(out, "\",\"runtime_data\":null,\"init_data\":null,"
				    "\"runtime_data_hash_algorithm\":null}");
	}
}

int as_rest_format(enum as_layout layout, const struct coco_evidence *ev, const struct string_list *policy_ids,
		   struct buf *out, struct err *e)
{
	struct parts p;
	int rc = parts_make(ev, &p, e);

	if (rc < 0)
		goto out;
	switch (layout) {
	case AS_V1_6_0:
		buf_append_str(out, "{\"verification_requests\":[{");
		append_primary(ev, &p, out);
		buf_append_str(out, "}");
		append_additional(&p, out);
		buf_append_str(out, "],");
		break;
	case AS_V1_5_2:
		buf_append_str(out, "{");
		append_primary(ev, &p, out);
		buf_append_str(out, ",\"init_data_hash_algorithm\":null,");
		break;
	}
	append_policies(policy_ids, out);
out:
	parts_release(&p);
	return rc;
}

static int append_message(const ProtobufCMessage *message, struct buf *out, struct err *e)
{
	size_t len = protobuf_c_message_get_packed_size(message);
	struct writer w = writer_of(buf_reserve(out, GRPC_PREFIX_LEN + len), GRPC_PREFIX_LEN);

	if (len > UINT32_MAX)
		return err_set(e, ERR_LIMIT, "a message of %zu bytes", len);
	writer_u8(&w, 0); /* not compressed */
	writer_u32(&w, (uint32_t)len);
	out->len += GRPC_PREFIX_LEN;
	out->len += protobuf_c_message_pack(message, out->data + out->len);
	return 0;
}

static int format_v1_5_2(const struct coco_evidence *ev, struct parts *p, const struct string_list *policy_ids,
			 struct buf *out, struct err *e)
{
	AsV152__AttestationRequest m = AS_V1_5_2__ATTESTATION_REQUEST__INIT;

	m.tee = ev->tee;
	m.evidence = (char *)buf_str(&p->evidence);
	m.runtime_data_case = AS_V1_5_2__ATTESTATION_REQUEST__RUNTIME_DATA_STRUCTURED_RUNTIME_DATA;
	m.structured_runtime_data = (char *)buf_str(&p->runtime_text);
	m.runtime_data_hash_algorithm = (char *)digest_name(ev->hash);
	m.n_policy_ids = policy_ids->count;
	m.policy_ids = policy_ids->items;
	return append_message(&m.base, out, e);
}

static int format_v1_6_0(const struct coco_evidence *ev, struct parts *p, const struct string_list *policy_ids,
			 struct buf *out, struct err *e)
{
	AsV160__IndividualAttestationRequest entries[1 + AS_ADDITIONAL_MAX];
	AsV160__IndividualAttestationRequest *places[1 + AS_ADDITIONAL_MAX];
	struct buf evidence[1 + AS_ADDITIONAL_MAX] = { 0 };
	AsV160__AttestationRequest m = AS_V1_6_0__ATTESTATION_REQUEST__INIT;
	int rc;

	m.n_verification_requests = 1 + additional_count(p);
	m.verification_requests = places;
	m.n_policy_ids = policy_ids->count;
	m.policy_ids = policy_ids->items;
	for (size_t i = 0; i < m.n_verification_requests; i++) {
		places[i] = &entries[i];
		as_v1_6_0__individual_attestation_request__init(&entries[i]);
		if (i == 0)
			continue;
		encode_additional(p->additional->items[i - 1], &evidence[i]);
		entries[i].tee = p->additional->keys[i - 1].name;
		entries[i].evidence = (char *)buf_str(&evidence[i]);
	}
	entries[0].tee = ev->tee;
	entries[0].evidence = (char *)buf_str(&p->evidence);
	entries[0].runtime_data_case = AS_V1_6_0__INDIVIDUAL_ATTESTATION_REQUEST__RUNTIME_DATA_STRUCTURED_RUNTIME_DATA;
	entries[0].structured_runtime_data = (char *)buf_str(&p->runtime_text);
	entries[0].runtime_data_hash_algorithm = (char *)digest_name(ev->hash);
	rc = append_message(&m.base, out, e);
	for (size_t i = 1; i < m.n_verification_requests; i++)
		buf_release(&evidence[i]);
	return rc;
}

int as_grpc_format(enum as_layout layout, const struct coco_evidence *ev, const struct string_list *policy_ids,
		   struct buf *out, struct err *e)
{
	struct parts p;
	int rc = parts_make(ev, &p, e);

	if (rc < 0)
		goto out;
	switch (layout) {
	case AS_V1_6_0:
		rc = format_v1_6_0(ev, &p, policy_ids, out, e);
		break;
	case AS_V1_5_2:
		rc = format_v1_5_2(ev, &p, policy_ids, out, e);
		break;
	}
out:
	parts_release(&p);
	return rc;
}

static bool is_base64url(uint8_t c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

/* Does this look like a compact JWT? What does not cannot be blamed on the peer's evidence. */
static int check_token(struct bytes token, struct err *e)
{
	unsigned dots = 0;

	for (size_t i = 0; i < token.len; i++) {
		if (token.data[i] == '.')
			dots++;
		else if (!is_base64url(token.data[i]))
			return err_set(e, ERR_PEER, "the answer is no token: %.*s",
				       (int)MIN(token.len, (size_t)SAID_MAX), (const char *)token.data);
	}
	if (dots != 2)
		return err_set(e, ERR_PEER, "the answer is no token: %u dots in %zu bytes", dots, token.len);
	return 0;
}

static int refused(enum reason *reason, int status, struct bytes said, struct err *e)
{
	*reason = REASON_AS_REFUSED;
	return err_set(e, ERR_TRUST, "status %d: %.*s", status, (int)MIN(said.len, (size_t)SAID_MAX),
		       said.len == 0 ? "" : (const char *)said.data);
}

/* Only 200 is success. */
int as_rest_parse(const struct http_reply *reply, struct as_answer *out, enum reason *reason, struct err *e)
{
	*out = (struct as_answer){ 0 };
	if (reply->status != 200) {
		out->other_layout = bytes_find(reply->body, bytes_str("missing field `tee`")) >= 0;
		return refused(reason, reply->status, reply->body, e);
	}
	*reason = REASON_AS_MALFORMED;
	if (check_token(reply->body, e) < 0)
		return -1;
	buf_append_bytes(&out->token, reply->body);
	return 0;
}

static int hex_digit(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* grpc-message is percent-encoded; what is not well-formed stays as it is. */
static void percent_decode(struct bytes in, struct buf *out)
{
	for (size_t i = 0; i < in.len; i++) {
		uint8_t c = in.data[i];

		if (c == '%' && in.len - i > 2 && hex_digit(in.data[i + 1]) >= 0 && hex_digit(in.data[i + 2]) >= 0) {
			c = (uint8_t)(hex_digit(in.data[i + 1]) << 4 | hex_digit(in.data[i + 2]));
			i += 2;
		}
		buf_append(out, &c, 1);
	}
}

/* -1: absent or no number from 0 to 99. */
static int parse_grpc_status(const struct http_reply *reply)
{
	struct bytes text = http_reply_header(reply, "grpc-status");
	int status = 0;

	if (text.len == 0 || text.len > 2)
		return -1;
	for (size_t i = 0; i < text.len; i++) {
		if (text.data[i] < '0' || text.data[i] > '9')
			return -1;
		status = status * 10 + (text.data[i] - '0');
	}
	return status;
}

static int grpc_refused(const struct http_reply *reply, int status, struct as_answer *out, enum reason *reason,
			struct err *e)
{
	struct buf said = { 0 };

	percent_decode(http_reply_header(reply, "grpc-message"), &said);
	/* What an old service makes of the new layout is the one or the other. */
	out->unreadable = status == GRPC_INTERNAL;
	out->other_layout = out->unreadable || status == GRPC_ABORTED;
	refused(reason, status, buf_bytes(&said), e);
	err_wrap(e, "gRPC");
	buf_release(&said);
	return -1;
}

static int parse_message(struct bytes message, struct buf *token, struct err *e)
{
	struct protobuf_budget budget;
	AsV160__AttestationResponse *m;

	protobuf_budget_init(&budget, message.len);
	m = as_v1_6_0__attestation_response__unpack(&budget.allocator, message.len, message.data);
	if (m == NULL)
		return err_set(e, ERR_PEER, "a message of %zu bytes cannot be decoded", message.len);
	buf_append_str(token, m->attestation_token);
	as_v1_6_0__attestation_response__free_unpacked(m, &budget.allocator);
	return check_token(buf_bytes(token), e);
}

static int parse_body(struct bytes body, struct buf *token, struct err *e)
{
	struct reader r = reader_of(body);
	uint8_t compressed = reader_u8(&r);
	uint32_t len = reader_u32(&r);
	struct bytes message = reader_bytes(&r, len);

	if (r.failed || reader_left(&r) != 0)
		return err_set(e, ERR_PEER, "%zu bytes are not one gRPC message", body.len);
	if (compressed != 0)
		return err_set(e, ERR_PEER, "the gRPC message is compressed");
	return parse_message(message, token, e);
}

static bool is_grpc(const struct http_reply *reply)
{
	static const char type[] = "application/grpc";
	struct bytes found = http_reply_header(reply, "content-type");

	return found.len >= strlen(type) && memcmp(found.data, type, strlen(type)) == 0;
}

int as_grpc_parse(const struct http_reply *reply, struct as_answer *out, enum reason *reason, struct err *e)
{
	int status = parse_grpc_status(reply);

	*out = (struct as_answer){ 0 };
	if (reply->status != 200)
		return refused(reason, reply->status, reply->body, e);
	*reason = REASON_AS_MALFORMED;
	if (!is_grpc(reply) || status < 0)
		return err_set(e, ERR_PEER, "the answer is not gRPC");
	if (status != GRPC_OK)
		return grpc_refused(reply, status, out, reason, e);
	if (parse_body(reply->body, &out->token, e) < 0) {
		buf_release(&out->token);
		return -1;
	}
	return 0;
}
