/* SPDX-License-Identifier: Apache-2.0 */
/* service - an attestation service that believes everything. */
#include "service.h"

#include "attestation_v1_5_2.pb-c.h"
#include "attestation_v1_6_0.pb-c.h"
#include "base/clock.h"
#include "codec/base64.h"
#include "codec/json.h"

#include <stdlib.h>
#include <string.h>

/* What a request asks about, whatever its layout. */
struct question {
	struct json *body; /* REST */
	const char *tee;
	const char *evidence; /* base64url */
	const struct json *runtime_data;
	struct json *own_runtime_data; /* gRPC */
};

static int mint_answer(struct service *s, const struct question *q, struct buf *jwt)
{
	struct buf text = { 0 };
	struct err e;
	struct mint_entry entry = { .tee = q->tee, .runtime_data = q->runtime_data, .affirming = true };
	struct mint_options o = s->token;
	struct json *evidence;
	int rc = -1;

	if (base64url_decode(bytes_str(q->evidence), &text, &e) < 0)
		return -1;
	evidence = json_parse(buf_bytes(&text), JSON_STRICT, &e);
	entry.evidence = evidence;
	o.now_unix = clock_unix();
	o.lifetime_s = o.lifetime_s == 0 ? 300 : o.lifetime_s;
	o.entries = &entry;
	o.entry_count = 1;
	o.policy_ids = s->policies;
	o.policy_count = s->policies[1] == NULL ? 1 : 2;
	if (evidence != NULL)
		rc = mint_token(s->mint, &o, jwt, &e);
	json_free(evidence);
	buf_release(&text);
	return rc;
}

static bool read_rest(const struct web_request *req, bool old_only, struct question *q)
{
	const struct json *entry;
	struct err e;

	q->body = json_parse(buf_bytes(&req->body), JSON_STRICT, &e);
	entry = json_member(q->body, "verification_requests");
	if (old_only || entry == NULL)
		entry = q->body;
	else
		entry = entry->items[0];
	q->tee = json_string(json_member(entry, "tee"));
	q->evidence = json_string(json_member(entry, "evidence"));
	q->runtime_data = json_at(entry, "runtime_data/structured");
	return q->tee != NULL;
}

static void answer_rest(struct service *s, struct web_request *req)
{
	struct question q = { 0 };
	struct buf jwt = { 0 };

	if (!read_rest(req, s->mode == SERVICE_OLD_LAYOUT, &q))
		web_answer_str(req, 400, "Json deserialize error: missing field `tee` at line 1 column 7");
	else if (mint_answer(s, &q, &jwt) < 0)
		web_answer_str(req, 500, "cannot mint");
	else
		web_answer(req, 200, buf_bytes(&jwt));
	json_free(q.body);
	buf_release(&jwt);
}

static void answer_message(struct service *s, struct web_request *req, const struct question *q)
{
	AsV160__AttestationResponse m = AS_V1_6_0__ATTESTATION_RESPONSE__INIT;
	struct buf jwt = { 0 };
	struct buf out = { 0 };

	if (mint_answer(s, q, &jwt) < 0) {
		grpc_answer(req, 10, "cannot mint", bytes_of(NULL, 0));
		return;
	}
	m.attestation_token = (char *)(uintptr_t)buf_str(&jwt);
	buf_reserve(&out, as_v1_6_0__attestation_response__get_packed_size(&m));
	out.len = as_v1_6_0__attestation_response__pack(&m, out.data);
	grpc_answer(req, 0, "", buf_bytes(&out));
	buf_release(&jwt);
	buf_release(&out);
}

static void answer_grpc(struct service *s, struct web_request *req)
{
	const uint8_t *data = req->body.data + 5;
	size_t len = req->body.len - 5;
	AsV160__AttestationRequest *newer = NULL;
	AsV152__AttestationRequest *older = NULL;
	struct question q = { 0 };
	struct err e;

	if (s->mode == SERVICE_OLD_LAYOUT)
		older = as_v1_5_2__attestation_request__unpack(NULL, len, data);
	else
		newer = as_v1_6_0__attestation_request__unpack(NULL, len, data);
	if (newer != NULL && newer->n_verification_requests > 0) {
		q.tee = newer->verification_requests[0]->tee;
		q.evidence = newer->verification_requests[0]->evidence;
		q.own_runtime_data = json_parse(bytes_str(newer->verification_requests[0]->structured_runtime_data),
						JSON_STRICT, &e);
	} else if (older != NULL && older->structured_runtime_data != NULL) {
		q.tee = older->tee;
		q.evidence = older->evidence;
		q.own_runtime_data = json_parse(bytes_str(older->structured_runtime_data), JSON_STRICT, &e);
	}
	q.runtime_data = q.own_runtime_data;
	if (q.tee == NULL)
		grpc_answer(req, 13, "failed to decode Protobuf message", bytes_of(NULL, 0));
	else
		answer_message(s, req, &q);
	json_free(q.own_runtime_data);
	if (newer != NULL)
		as_v1_6_0__attestation_request__free_unpacked(newer, NULL);
	if (older != NULL)
		as_v1_5_2__attestation_request__free_unpacked(older, NULL);
}

static void answer(struct service *s, struct web_request *req)
{
	if (s->web.grpc)
		answer_grpc(s, req);
	else
		answer_rest(s, req);
}

static void refuse(struct service *s, struct web_request *req)
{
	if (s->web.grpc)
		grpc_answer(req, 10, "Attestation%20evaluation%20failed", bytes_of(NULL, 0));
	else
		web_answer_str(req, 500, "InternalError(evaluation failed)");
}

static void talk_nonsense(struct service *s, struct web_request *req)
{
	if (s->web.grpc)
		grpc_answer(req, 0, "", bytes_str("\xff\xff\xff"));
	else
		web_answer_str(req, 200, "<html>welcome</html>");
}

static void evaluate(struct service *s, struct web_request *req)
{
	s->evaluations++;
	switch (s->mode) {
	case SERVICE_HOLD:
		s->held[s->held_count++] = req;
		return;
	case SERVICE_REFUSE:
		refuse(s, req);
		return;
	case SERVICE_GARBAGE:
		talk_nonsense(s, req);
		return;
	case SERVICE_SERVE:
	case SERVICE_OLD_LAYOUT:
		answer(s, req);
		return;
	}
}

static void tell_certificates(struct service *s, struct web_request *req)
{
	struct buf pem = { 0 };

	s->certificates++;
	mint_chain_pem(s->mint, s->token.form, &pem);
	if (s->no_certificates)
		web_answer_str(req, 404, "{\"error\":\"No certificate configured\"}");
	else
		web_answer(req, 200, buf_bytes(&pem));
	buf_release(&pem);
}

static void on_request(struct web *w, struct web_request *req)
{
	struct service *s = container_of(w, struct service, web);

	free(s->last_head);
	s->last_head = mem_strdup(req->head);
	if (strcmp(req->path, "/certificate") == 0)
		tell_certificates(s, req);
	else
		evaluate(s, req);
}

static void init(struct service *s, const struct mint *mint)
{
	*s = (struct service){ .mint = mint, .policies = { "default" }, .token.form = TOKEN_SIMPLE };
	s->web.on_request = on_request;
}

void service_start(struct service *s, struct loop *l, const struct mint *mint)
{
	init(s, mint);
	web_start(&s->web, l);
}

void service_start_grpc(struct service *s, struct loop *l, const struct mint *mint)
{
	init(s, mint);
	grpc_start(&s->web, l);
}

void service_stop(struct service *s)
{
	web_stop(&s->web);
	free(s->last_head);
	s->last_head = NULL;
}

void service_release(struct service *s)
{
	for (unsigned i = 0; i < s->held_count; i++)
		answer(s, s->held[i]);
	s->held_count = 0;
}
