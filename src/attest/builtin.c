/* SPDX-License-Identifier: Apache-2.0 */
/* builtin - `sample` evidence, made and checked in process. */
#include "attest/builtin.h"

#include "attest/provider.h"
#include "codec/base64.h"
#include "codec/json.h"
#include "crypto/digest.h"
#include "io/loop.h"

#include <stdlib.h>

#define SAMPLE_TEE "sample"
#define SAMPLE_DEVICE_TEE "sampledevice"
#define MEASURE_REGISTER_HEX_LEN 64

struct provider {
	struct loop *loop;
};

struct provider_call {
	struct provider_events *events;
	struct task done;
	struct provider_evidence ev;
};

static void call_free(struct provider_call *c)
{
	task_cancel(&c->done);
	provider_evidence_release(&c->ev);
	free(c);
}

static void on_done(struct task *task)
{
	struct provider_call *c = container_of(task, struct provider_call, done);

	c->events->collected(c->events, &c->ev, NULL);
	call_free(c);
}

/* spec: attestation.md 1.6, the form with four members. */
static void format_sample(struct bytes report_data, struct buf *out)
{
	buf_format(out, "{\"cc_eventlog\":null,\"measure_register\":\"%0*d\",\"report_data\":\"",
		   MEASURE_REGISTER_HEX_LEN, 0);
	base64_encode(report_data, out);
	buf_append_str(out, "\",\"svn\":\"1\"}");
}

static struct provider *builtin_open(struct loop *l, const struct attest_conf *conf, struct err *e)
{
	struct provider *p = mem_new_of(struct provider);

	(void)conf;
	(void)e;
	p->loop = l;
	return p;
}

static struct provider_call *builtin_collect(struct provider *p, struct bytes report_data,
					     struct provider_events *events)
{
	struct provider_call *c = mem_new_of(struct provider_call);

	c->events = events;
	c->ev.tee = mem_strdup(SAMPLE_TEE);
	format_sample(report_data, &c->ev.evidence);
	task_init(&c->done, on_done);
	task_schedule(p->loop, &c->done);
	return c;
}

static void builtin_close(struct provider *p)
{
	free(p);
}

const struct provider_ops provider_builtin = {
	.name = "builtin",
	.open = builtin_open,
	.collect = builtin_collect,
	.cancel = call_free,
	.close = builtin_close,
};

const char *builtin_policy_name(enum builtin_policy policy)
{
	switch (policy) {
	case POLICY_TRUST_ALL:
		return "trust_all";
	case POLICY_HARDWARE_ONLY:
		return "hardware_only";
	}
	return "";
}

static int check_measure_register(const struct json *evidence, struct err *e)
{
	const char *hex = json_string(json_member(evidence, "measure_register"));

	if (hex == NULL || strlen(hex) != MEASURE_REGISTER_HEX_LEN ||
	    strspn(hex, "0123456789abcdefABCDEF") != MEASURE_REGISTER_HEX_LEN)
		return err_set(e, ERR_PEER, "measure_register is not %d hex digits", MEASURE_REGISTER_HEX_LEN);
	return 0;
}

/* An event log would have to be replayed against measure_register. Nobody sends one, so we refuse it. */
static int check_event_log(const struct json *evidence, struct err *e)
{
	const struct json *log = json_member(evidence, "cc_eventlog");

	if (log != NULL && log->type != JSON_NULL)
		return err_set(e, ERR_PEER, "cc_eventlog is not supported by the builtin service");
	return 0;
}

static int decode_report_data(const struct json *evidence, struct buf *out, struct err *e)
{
	const char *text = json_string(json_member(evidence, "report_data"));

	if (text == NULL)
		return err_set(e, ERR_PEER, "report_data is missing");
	if (base64_decode(bytes_str(text), out, e) < 0)
		return err_wrap(e, "report_data");
	if (json_string(json_member(evidence, "svn")) == NULL)
		return err_set(e, ERR_PEER, "svn is missing");
	return 0;
}

static int digest_runtime_data(const struct coco_evidence *ev, uint8_t *out, struct err *e)
{
	struct json *doc = json_parse(buf_bytes(&ev->runtime_data), JSON_STRICT, e);
	struct buf canonical = { 0 };

	if (doc == NULL)
		return err_wrap(e, "runtime data");
	json_format_canonical(doc, &canonical);
	digest_compute(ev->hash, buf_bytes(&canonical), out);
	buf_release(&canonical);
	json_free(doc);
	return 0;
}

static int check_sample(const struct coco_evidence *ev, enum reason *reason, struct err *e)
{
	uint8_t digest[DIGEST_MAX_LEN];
	struct json *doc = NULL;
	struct buf report_data = { 0 };
	int rc = -1;

	*reason = REASON_EVIDENCE_INVALID;
	doc = json_parse(buf_bytes(&ev->evidence), JSON_STRICT, e);
	if (doc == NULL)
		goto out;
	if (check_measure_register(doc, e) < 0 || check_event_log(doc, e) < 0 ||
	    decode_report_data(doc, &report_data, e) < 0 || digest_runtime_data(ev, digest, e) < 0)
		goto out;
	if (!bytes_equal(buf_bytes(&report_data), bytes_of(digest, digest_len(ev->hash)))) {
		*reason = REASON_BINDING_MISMATCH;
		err_set(e, ERR_TRUST, "report_data is not the digest of the runtime data");
		goto out;
	}
	rc = 0;
out:
	buf_release(&report_data);
	json_free(doc);
	return rc < 0 ? err_wrap(e, "sample evidence") : 0;
}

/* Device evidence comes without runtime data, so only its form can be checked. */
static int check_device(const struct json_key *name, const struct json *evidence, struct err *e)
{
	struct buf report_data = { 0 };
	int rc;

	if (!bytes_equal_str(bytes_of(name->name, name->len), SAMPLE_DEVICE_TEE))
		return err_set(e, ERR_TRUST, "the builtin service cannot check evidence of %.31s", name->name);
	rc = decode_report_data(evidence, &report_data, e);
	buf_release(&report_data);
	return rc < 0 ? err_wrap(e, SAMPLE_DEVICE_TEE " evidence") : 0;
}

static int check_additional(const struct coco_evidence *ev, enum reason *reason, struct err *e)
{
	struct json *doc;
	int rc = 0;

	if (!ev->has_additional)
		return 0;
	*reason = REASON_EVIDENCE_INVALID;
	doc = json_parse(buf_bytes(&ev->additional), JSON_STRICT, e);
	if (doc == NULL || doc->type != JSON_OBJECT)
		rc = err_set(e, ERR_PEER, "the additional evidence is no JSON object");
	for (size_t i = 0; rc == 0 && i < doc->count; i++)
		rc = check_device(&doc->keys[i], doc->items[i], e);
	json_free(doc);
	return rc;
}

int builtin_verify(const struct coco_evidence *ev, enum builtin_policy policy, enum reason *reason, struct err *e)
{
	if (strcmp(ev->tee, SAMPLE_TEE) != 0) {
		*reason = REASON_POLICY_REFUSED;
		return err_set(e, ERR_TRUST, "the builtin service cannot check evidence of %.31s", ev->tee);
	}
	if (check_sample(ev, reason, e) < 0 || check_additional(ev, reason, e) < 0)
		return -1;
	switch (policy) {
	case POLICY_TRUST_ALL:
		return 0;
	case POLICY_HARDWARE_ONLY:
		break;
	}
	*reason = REASON_POLICY_REFUSED;
	return err_set(e, ERR_TRUST, "policy %s does not accept %s evidence", builtin_policy_name(policy), ev->tee);
}
