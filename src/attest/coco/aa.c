/* SPDX-License-Identifier: Apache-2.0 */
/*
 * aa - evidence from an attestation agent over ttrpc. spec: attestation.md 1.4.
 *
 * One collection is three calls, one after the other: GetEvidence, GetTeeType, GetAdditionalEvidence with
 * empty runtime data. The third never fails the collection: many agents do not have that method, and one
 * without devices answers with nothing.
 */
#include "attest/coco/ttrpc.h"
#include "attest/limits.h"
#include "attest/provider.h"
#include "attestation_agent.pb-c.h"
#include "attest/coco/protobuf.h"

#include <stdlib.h>

#define AA_SERVICE "attestation_agent.AttestationAgentService"
#define UNIX_SCHEME "unix://"
#define TEE_NAME_MAX 31

struct provider {
	struct ttrpc *ttrpc;
	unsigned timeout_ms;
};

enum stage { STAGE_EVIDENCE, STAGE_TEE, STAGE_ADDITIONAL };

struct provider_call {
	struct provider *p;
	struct provider_events *events;
	struct ttrpc_events answers;
	struct ttrpc_call *pending;
	enum stage stage;
	struct provider_evidence ev;
};

static const char *const methods[] = { "GetEvidence", "GetTeeType", "GetAdditionalEvidence" };

static void call_free(struct provider_call *c)
{
	provider_evidence_release(&c->ev);
	free(c);
}

static void call_end(struct provider_call *c, const struct err *why)
{
	c->events->collected(c->events, why == NULL ? &c->ev : NULL, why);
	call_free(c);
}

static int ask(struct provider_call *c, enum stage stage, struct bytes payload, struct err *e)
{
	c->stage = stage;
	c->pending = ttrpc_call(c->p->ttrpc,
				&(struct ttrpc_request){
					.service = AA_SERVICE,
					.method = methods[stage],
					.payload = payload,
					.timeout_ms = c->p->timeout_ms,
				},
				&c->answers, e);
	return c->pending == NULL ? -1 : 0;
}

/* GetEvidence and GetAdditionalEvidence answer with the same message. */
static int parse_evidence(struct bytes payload, struct buf *out, struct err *e)
{
	struct protobuf_budget budget;
	Aa__GetEvidenceResponse *message;

	protobuf_budget_init(&budget, payload.len);
	message = aa__get_evidence_response__unpack(&budget.allocator, payload.len, payload.data);
	if (message == NULL)
		return err_set(e, ERR_PEER, "the answer cannot be decoded");
	buf_append(out, message->evidence.data, message->evidence.len);
	aa__get_evidence_response__free_unpacked(message, &budget.allocator);
	return 0;
}

static int parse_tee(struct bytes payload, char **out, struct err *e)
{
	struct protobuf_budget budget;
	Aa__GetTeeTypeResponse *message;

	protobuf_budget_init(&budget, payload.len);
	message = aa__get_tee_type_response__unpack(&budget.allocator, payload.len, payload.data);
	if (message == NULL)
		return err_set(e, ERR_PEER, "the answer cannot be decoded");
	if (message->tee[0] != '\0' && strlen(message->tee) <= TEE_NAME_MAX)
		*out = mem_strdup(message->tee);
	aa__get_tee_type_response__free_unpacked(message, &budget.allocator);
	return *out != NULL ? 0 : err_set(e, ERR_PEER, "the name of the TEE has no length from 1 to %d", TEE_NAME_MAX);
}

static int on_evidence(struct provider_call *c, struct bytes payload, struct err *e)
{
	if (parse_evidence(payload, &c->ev.evidence, e) < 0)
		return -1;
	if (c->ev.evidence.len == 0)
		return err_set(e, ERR_PEER, "the evidence is empty");
	return ask(c, STAGE_TEE, bytes_of(NULL, 0), e);
}

static int on_tee(struct provider_call *c, struct bytes payload, struct err *e)
{
	if (parse_tee(payload, &c->ev.tee, e) < 0)
		return -1;
	return ask(c, STAGE_ADDITIONAL, bytes_of(NULL, 0), e);
}

static void on_additional(struct provider_call *c, const struct bytes *payload)
{
	struct err ignored;

	if (payload != NULL && parse_evidence(*payload, &c->ev.additional, &ignored) == 0)
		c->ev.has_additional = c->ev.additional.len > 0;
}

/* true: the collection has ended, well or badly. */
static bool take_answer(struct provider_call *c, const struct bytes *payload, const struct err *why, struct err *e)
{
	switch (c->stage) {
	case STAGE_EVIDENCE:
	case STAGE_TEE:
		if (payload == NULL) {
			*e = *why;
			return true;
		}
		return (c->stage == STAGE_EVIDENCE ? on_evidence(c, *payload, e) : on_tee(c, *payload, e)) < 0;
	case STAGE_ADDITIONAL:
		on_additional(c, payload);
		return true;
	}
	return true;
}

static void on_answer(struct ttrpc_events *self, const struct bytes *payload, int code, const struct err *why)
{
	struct provider_call *c = container_of(self, struct provider_call, answers);
	const char *method = methods[c->stage];
	struct err e = { 0 };

	(void)code;
	c->pending = NULL;
	if (!take_answer(c, payload, why, &e))
		return;
	if (e.kind == ERR_NONE) {
		call_end(c, NULL);
		return;
	}
	err_wrap(&e, "%s", method);
	call_end(c, &e);
}

static struct provider *aa_open(struct loop *l, const struct attest_conf *conf, struct err *e)
{
	struct provider *p;

	if (conf->aa_addr == NULL || strncmp(conf->aa_addr, UNIX_SCHEME "/", strlen(UNIX_SCHEME "/")) != 0) {
		err_set(e, ERR_CONFIG, "aa_addr must start with unix:///");
		return NULL;
	}
	p = mem_new_of(struct provider);
	p->ttrpc = ttrpc_new(l, conf->aa_addr + strlen(UNIX_SCHEME), ATTEST_AGENT_ANSWER_MAX);
	p->timeout_ms = conf->aa_timeout_ms;
	return p;
}

static struct provider_call *aa_collect(struct provider *p, struct bytes report_data, struct provider_events *events)
{
	struct provider_call *c = mem_new_of(struct provider_call);
	Aa__GetEvidenceRequest message = AA__GET_EVIDENCE_REQUEST__INIT;
	struct buf payload = { 0 };
	struct err e;

	c->p = p;
	c->events = events;
	c->answers.answered = on_answer;
	message.runtime_data.data = (uint8_t *)report_data.data;
	message.runtime_data.len = report_data.len;
	buf_reserve(&payload, aa__get_evidence_request__get_packed_size(&message));
	payload.len = aa__get_evidence_request__pack(&message, payload.data);
	if (ask(c, STAGE_EVIDENCE, buf_bytes(&payload), &e) < 0)
		abort(); /* some hundred bytes are below every limit */
	buf_release(&payload);
	return c;
}

static void aa_cancel(struct provider_call *call)
{
	if (call->pending != NULL)
		ttrpc_call_cancel(call->pending);
	call_free(call);
}

static void aa_close(struct provider *p)
{
	ttrpc_free(p->ttrpc);
	free(p);
}

const struct provider_ops provider_aa = {
	.name = "attestation agent",
	.open = aa_open,
	.collect = aa_collect,
	.cancel = aa_cancel,
	.close = aa_close,
};
