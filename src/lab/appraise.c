/* SPDX-License-Identifier: Apache-2.0 */
/*
 * appraise - from a request to a token, in the order of the service that is simulated (openanolis 1.9.0):
 * the form of every entry; then challenge and evidence of each; then policies.
 */
#include "lab/appraise.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "codec/base64.h"
#include "crypto/digest.h"

#define MEASURE_HEX_LEN 64

/* One entry after its form was checked. */
struct checked {
	struct json *evidence;
	enum digest_algorithm hash;
	struct buf raw; /* decoded */
};

static int refuse(struct refusal *why, enum refusal_kind kind, size_t entry, const char *member)
{
	why->kind = kind;
	why->field[0] = '\0';
	if (member != NULL)
		snprintf(why->field, sizeof(why->field), "verification_requests[%zu].%s", entry, member);
	return -1;
}

/* For failures that carry no cause of their own. */
static int refuse_because(struct refusal *why, enum refusal_kind kind, size_t entry, const char *member,
			  const char *text)
{
	err_set(&why->cause, ERR_TRUST, "%s", text);
	return refuse(why, kind, entry, member);
}

bool appraise_is_tee(const char *name, bool knows_sampledevice)
{
	static const char *const names[] = {
		"azsnpvtpm", "sev", "sgx", "snp",      "tdx",	   "csv",    "sample",
		"aztdxvtpm", "se",  "tpm", "hygontpm", "hygondcu", "system",
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (strcmp(name, names[i]) == 0)
			return true;
	}
	return knows_sampledevice && strcmp(name, "sampledevice") == 0;
}

static bool parse_hash_name(const char *name, enum digest_algorithm *out)
{
	static const enum digest_algorithm known[] = { DIGEST_SHA256, DIGEST_SHA384, DIGEST_SHA512 };

	*out = DIGEST_SHA384;
	if (name == NULL)
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
		if (strcasecmp(name, digest_name(known[i])) == 0) {
			*out = known[i];
			return true;
		}
	}
	return false;
}

/* Encoding, evidence JSON, TEE name, hash name: in this order. */
static int check_form(const struct appraise_request *r, size_t at, struct checked *c, struct refusal *why)
{
	const struct appraise_entry *en = &r->entries[at];
	struct buf evidence = { 0 };
	int rc = -1;

	if (base64url_decode(bytes_str(en->evidence), &evidence, &why->cause) < 0) {
		refuse(why, REFUSE_ENCODING, at, "evidence");
		goto out;
	}
	if (en->runtime == RUNTIME_RAW && base64url_decode(bytes_str(en->raw), &c->raw, &why->cause) < 0) {
		refuse(why, REFUSE_ARGUMENT, at, "runtime_data");
		goto out;
	}
	c->evidence = json_parse(buf_bytes(&evidence), JSON_STRICT, &why->cause);
	if (c->evidence == NULL) {
		refuse(why, REFUSE_FORMAT, at, "evidence");
		goto out;
	}
	if (!appraise_is_tee(en->tee, r->knows_sampledevice)) {
		refuse_because(why, REFUSE_TEE, at, "tee", "unknown TEE name");
		goto out;
	}
	if (!parse_hash_name(en->hash_name, &c->hash)) {
		refuse_because(why, REFUSE_ARGUMENT, at, "runtime_data_hash_algorithm", "unknown hash algorithm");
		goto out;
	}
	if (en->has_init_data) {
		refuse_because(why, REFUSE_ARGUMENT, at, "init_data", "sample evidence holds no init data");
		goto out;
	}
	rc = 0;
out:
	buf_release(&evidence);
	return rc;
}

static int check_challenge(const struct appraise_service *s, const struct appraise_request *r, size_t at,
			   struct refusal *why)
{
	const struct appraise_entry *en = &r->entries[at];
	const struct json *challenge = NULL;

	if (en->runtime == RUNTIME_STRUCTURED)
		challenge = json_member(en->structured, "challenge_token");
	if (challenge == NULL || challenge->type != JSON_STRING)
		return 0;
	if (mint_check_challenge(s->mint, bytes_of(challenge->text, challenge->text_len), r->now_unix, &why->cause) ==
	    0)
		return 0;
	return refuse(why, REFUSE_CHALLENGE, at, "runtime_data.challenge_token");
}

/* What the report data has to be: the digest of the canonical JSON, or raw runtime data as they are. */
static void expected_report_data(const struct appraise_entry *en, const struct checked *c, struct buf *out)
{
	struct buf canonical = { 0 };

	if (en->runtime == RUNTIME_RAW) {
		buf_append_bytes(out, buf_bytes(&c->raw));
		return;
	}
	json_format_canonical(en->structured, &canonical);
	digest_compute(c->hash, buf_bytes(&canonical), buf_reserve(out, DIGEST_MAX_LEN));
	out->len += digest_len(c->hash);
	buf_release(&canonical);
}

static int check_report_data(const struct appraise_entry *en, const struct checked *c, struct err *e)
{
	const char *text = json_string(json_member(c->evidence, "report_data"));
	struct buf shown = { 0 };
	struct buf expected = { 0 };
	int rc = -1;

	if (text == NULL)
		return err_set(e, ERR_PEER, "missing field `report_data`");
	if (base64_decode(bytes_str(text), &shown, e) < 0) {
		err_wrap(e, "report_data");
		goto out;
	}
	if (en->runtime == RUNTIME_NONE) {
		rc = 0;
		goto out;
	}
	expected_report_data(en, c, &expected);
	if (bytes_equal(buf_bytes(&shown), buf_bytes(&expected)))
		rc = 0;
	else
		err_set(e, ERR_TRUST, "verify report data: REPORT_DATA is different from that in sample quote");
out:
	buf_release(&shown);
	buf_release(&expected);
	return rc;
}

static int check_sample(const struct checked *c, struct err *e)
{
	const char *measure = json_string(json_member(c->evidence, "measure_register"));
	const struct json *eventlog = json_member(c->evidence, "cc_eventlog");

	if (json_string(json_member(c->evidence, "svn")) == NULL)
		return err_set(e, ERR_PEER, "missing field `svn`");
	if (measure == NULL)
		return err_set(e, ERR_PEER, "missing field `measure_register`");
	if (strlen(measure) != MEASURE_HEX_LEN || strspn(measure, "0123456789abcdefABCDEF") != MEASURE_HEX_LEN)
		return err_set(e, ERR_PEER, "measure_register: expected 32 bytes in hex");
	if (eventlog != NULL && eventlog->type != JSON_NULL)
		return err_set(e, ERR_TRUST, "cc_eventlog: the lab replays no event log");
	return 0;
}

static int verify_evidence(const struct appraise_request *r, size_t at, const struct checked *c, struct refusal *why)
{
	const struct appraise_entry *en = &r->entries[at];
	bool sample = strcmp(en->tee, "sample") == 0;
	struct err *e = &why->cause;

	if (!sample && strcmp(en->tee, "sampledevice") != 0)
		return refuse_because(why, REFUSE_VERIFIER, at, "evidence", "the lab knows sample evidence only");
	if (c->evidence->type != JSON_OBJECT) {
		err_set(e, ERR_PEER, "evidence is no object");
		return refuse(why, REFUSE_EVALUATION, at, NULL);
	}
	if (check_report_data(en, c, e) < 0 || (sample && check_sample(c, e) < 0)) {
		err_wrap(e, "Verifier evaluate failed");
		return refuse(why, REFUSE_EVALUATION, at, NULL);
	}
	return 0;
}

static bool is_known_policy(const struct appraise_service *s, const char *id)
{
	if (strcmp(id, APPRAISE_DEFAULT_POLICY) == 0)
		return true;
	for (size_t i = 0; i < s->policy_count; i++) {
		if (strcmp(id, s->policy_ids[i]) == 0)
			return true;
	}
	return false;
}

/* EAR evaluates the first policy only, simple all of them. */
static int check_policies(const struct appraise_service *s, const char *const *ids, size_t count, struct refusal *why)
{
	size_t evaluated = s->form == TOKEN_EAR ? 1 : count;

	for (size_t i = 0; i < evaluated; i++) {
		if (!is_known_policy(s, ids[i])) {
			err_set(&why->cause, ERR_TRUST, "policy %s does not exist", ids[i]);
			return refuse(why, REFUSE_EVALUATION, 0, NULL);
		}
	}
	return 0;
}

static bool is_affirming(const struct appraise_service *s, const struct appraise_entry *en, const struct checked *c)
{
	const char *measure = json_string(json_member(c->evidence, "measure_register"));

	return strcmp(en->tee, "sample") != 0 || (measure != NULL && strcasecmp(measure, s->measurement) == 0);
}

static int issue(const struct appraise_service *s, const struct appraise_request *r, const struct checked *checked,
		 const struct dealt *d, struct buf *jwt, struct refusal *why)
{
	static const char *const by_default[] = { APPRAISE_DEFAULT_POLICY };
	struct mint_entry entries[APPRAISE_ENTRIES_MAX];
	struct mint_options o = {
		.form = s->form,
		.now_unix = r->now_unix,
		.lifetime_s = s->lifetime_s,
		.entries = entries,
		.entry_count = r->entry_count,
		.policy_ids = r->policy_count > 0 ? r->policy_ids : by_default,
		.policy_count = r->policy_count > 0 ? r->policy_count : 1,
		.expired = d->fault == FAULT_EXPIRED,
		.wrong_policy = d->fault == FAULT_WRONG_POLICY,
		.wrong_key = d->fault == FAULT_WRONG_KEY,
		.wrong_signature = d->fault == FAULT_WRONG_SIGNATURE,
		.untrusted = d->fault == FAULT_UNTRUSTED,
		.no_x5c = dealt_mode(d, MODE_NO_X5C),
		.padded_x5c = dealt_mode(d, MODE_PADDED_X5C),
	};
	bool all_affirming = true;

	if (check_policies(s, o.policy_ids, o.policy_count, why) < 0)
		return -1;
	for (size_t i = 0; i < r->entry_count; i++) {
		const struct appraise_entry *en = &r->entries[i];
		bool affirming = d->fault != FAULT_WRONG_MEASUREMENT && is_affirming(s, en, &checked[i]);

		entries[i] = (struct mint_entry){
			.tee = en->tee,
			.evidence = checked[i].evidence,
			.runtime_data = en->runtime == RUNTIME_STRUCTURED ? en->structured : NULL,
			.affirming = affirming,
		};
		all_affirming = all_affirming && affirming;
	}
	if (s->form == TOKEN_SIMPLE && !all_affirming)
		return refuse_because(why, REFUSE_EVALUATION, 0, NULL, "policy does not allow this evidence");
	if (mint_token(s->mint, &o, jwt, &why->cause) < 0)
		return refuse(why, REFUSE_EVALUATION, 0, NULL);
	return 0;
}

int appraise(const struct appraise_service *s, const struct appraise_request *r, const struct dealt *d, struct buf *jwt,
	     struct refusal *why)
{
	struct checked checked[APPRAISE_ENTRIES_MAX] = { 0 };
	int rc = 0;

	*why = (struct refusal){ 0 };
	if (r->entry_count == 0)
		return refuse_because(why, REFUSE_EVALUATION, 0, NULL, "no verification request");
	for (size_t i = 0; i < r->entry_count && rc == 0; i++)
		rc = check_form(r, i, &checked[i], why);
	for (size_t i = 0; i < r->entry_count && rc == 0; i++) {
		rc = check_challenge(s, r, i, why);
		if (rc == 0)
			rc = verify_evidence(r, i, &checked[i], why);
	}
	if (rc == 0 && d->fault == FAULT_REFUSE)
		rc = refuse_because(why, REFUSE_EVALUATION, 0, NULL, "the lab was told to refuse");
	if (rc == 0)
		rc = issue(s, r, checked, d, jwt, why);
	for (size_t i = 0; i < r->entry_count; i++) {
		json_free(checked[i].evidence);
		buf_release(&checked[i].raw);
	}
	return rc;
}
