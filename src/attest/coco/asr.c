/* SPDX-License-Identifier: Apache-2.0 */
/*
 * asr - evidence from an API-server-rest, the attestation agent's HTTP front. spec: attestation.md 2.
 *
 * One collection is up to three requests, one after the other: /info until it has named the TEE once, then
 * /aa/evidence, then /aa/additional-evidence, which never fails the collection. No proxy is asked: the
 * server is on this machine, and what passes is for nobody else.
 */
#include "attest/limits.h"
#include "attest/provider.h"
#include "codec/base64.h"
#include "codec/json.h"
#include "http/client.h"

#include <stdlib.h>

#define CONNECT_TIMEOUT_MAX_MS 5000u
#define TEE_NAME_MAX 31

struct provider {
	struct http_client *http;
	const char *addr;
	unsigned timeout_ms;
	char *tee; /* NULL until /info has told */
};

enum stage { STAGE_INFO, STAGE_EVIDENCE, STAGE_ADDITIONAL };

struct provider_call {
	struct provider *p;
	struct provider_events *events;
	struct http_events answers;
	struct http_call *pending;
	enum stage stage;
	struct buf query;
	struct provider_evidence ev;
};

static const char *const paths[] = { "/info", "/aa/evidence", "/aa/additional-evidence" };

static void call_free(struct provider_call *c)
{
	provider_evidence_release(&c->ev);
	buf_release(&c->query);
	free(c);
}

static void call_end(struct provider_call *c, const struct err *why)
{
	c->events->collected(c->events, why == NULL ? &c->ev : NULL, why);
	call_free(c);
}

static void ask(struct provider_call *c, enum stage stage)
{
	struct provider *p = c->p;
	struct buf url = { 0 };

	buf_format(&url, "%s%s", p->addr, paths[stage]);
	if (stage == STAGE_EVIDENCE)
		buf_format(&url, "?runtime_data=%s&encoding=base64", buf_str(&c->query));
	else if (stage == STAGE_ADDITIONAL)
		buf_append_str(&url, "?runtime_data=&encoding=base64");
	c->stage = stage;
	c->pending = http_call(p->http,
			       &(struct http_request){
				       .protocol = HTTP_1,
				       .url = buf_str(&url),
				       .direct = true,
				       .connect_timeout_ms = MIN(p->timeout_ms, CONNECT_TIMEOUT_MAX_MS),
				       .timeout_ms = p->timeout_ms,
				       .body_max = ATTEST_AGENT_ANSWER_MAX,
			       },
			       &c->answers);
	buf_release(&url);
}

static int parse_info(struct bytes body, char **tee, struct err *e)
{
	struct json *doc = json_parse(body, JSON_STRICT, e);
	const char *name;

	if (doc == NULL)
		return -1;
	name = json_string(json_member(doc, "tee"));
	if (name != NULL && name[0] != '\0' && strlen(name) <= TEE_NAME_MAX)
		*tee = mem_strdup(name);
	json_free(doc);
	return *tee != NULL ? 0 : err_set(e, ERR_PEER, "member tee has no name in it");
}

static int check_status(const struct http_reply *reply, struct err *e)
{
	if (reply->status >= 200 && reply->status <= 299)
		return 0;
	return err_set(e, ERR_PEER, "status %d: %.*s", reply->status, (int)MIN(reply->body.len, (size_t)160),
		       (const char *)reply->body.data);
}

static int on_info(struct provider_call *c, const struct http_reply *reply, struct err *e)
{
	struct provider *p = c->p;

	if (check_status(reply, e) < 0)
		return -1;
	if (p->tee == NULL && parse_info(reply->body, &p->tee, e) < 0)
		return -1;
	ask(c, STAGE_EVIDENCE);
	return 0;
}

static int on_evidence(struct provider_call *c, const struct http_reply *reply, struct err *e)
{
	if (check_status(reply, e) < 0)
		return -1;
	if (reply->body.len == 0)
		return err_set(e, ERR_PEER, "the evidence is empty");
	buf_append_bytes(&c->ev.evidence, reply->body);
	ask(c, STAGE_ADDITIONAL);
	return 0;
}

static void on_additional(struct provider_call *c, const struct http_reply *reply)
{
	struct err ignored;

	if (reply == NULL || check_status(reply, &ignored) < 0)
		return;
	buf_append_bytes(&c->ev.additional, reply->body);
	c->ev.has_additional = c->ev.additional.len > 0;
}

static void on_answer(struct http_events *self, const struct http_reply *reply, const struct err *why)
{
	struct provider_call *c = container_of(self, struct provider_call, answers);
	const char *path = paths[c->stage];
	struct err e;
	int rc = 0;

	c->pending = NULL;
	if (c->stage == STAGE_ADDITIONAL) {
		on_additional(c, reply);
		c->ev.tee = mem_strdup(c->p->tee);
		call_end(c, NULL);
		return;
	}
	if (reply == NULL) {
		e = *why;
		rc = -1;
	} else {
		rc = c->stage == STAGE_INFO ? on_info(c, reply, &e) : on_evidence(c, reply, &e);
	}
	if (rc < 0) {
		err_wrap(&e, "GET %s", path);
		call_end(c, &e);
	}
}

static struct provider *asr_open(struct loop *l, const struct attest_conf *conf, struct err *e)
{
	struct provider *p;

	if (conf->asr_addr == NULL) {
		err_set(e, ERR_CONFIG, "asr_addr is missing");
		return NULL;
	}
	p = mem_new_of(struct provider);
	p->addr = conf->asr_addr;
	p->timeout_ms = conf->aa_timeout_ms;
	p->http = http_client_new(l, e);
	if (p->http == NULL) {
		free(p);
		return NULL;
	}
	return p;
}

static struct provider_call *asr_collect(struct provider *p, struct bytes report_data, struct provider_events *events)
{
	struct provider_call *c = mem_new_of(struct provider_call);

	c->p = p;
	c->events = events;
	c->answers.ended = on_answer;
	base64url_encode(report_data, &c->query);
	ask(c, p->tee == NULL ? STAGE_INFO : STAGE_EVIDENCE);
	return c;
}

static void asr_cancel(struct provider_call *call)
{
	if (call->pending != NULL)
		http_call_cancel(call->pending);
	call_free(call);
}

static void asr_close(struct provider *p)
{
	http_client_free(p->http);
	free(p->tee);
	free(p);
}

const struct provider_ops provider_asr = {
	.name = "API-server-rest",
	.open = asr_open,
	.collect = asr_collect,
	.cancel = asr_cancel,
	.close = asr_close,
};
