/* SPDX-License-Identifier: Apache-2.0 */
/* as_protobuf - AttestationRequest of 1.5.2 and of 1.6.0, by libprotobuf-c. */
#include "lab/as_protobuf.h"

#include <stdlib.h>

#include "attest/coco/protobuf.h"
#include "attestation_v1_5_2.pb-c.h"
#include "attestation_v1_6_0.pb-c.h"

struct as_protobuf {
	struct protobuf_budget new_budget;
	struct protobuf_budget old_budget;
	AsV160__AttestationRequest *new_form;
	AsV152__AttestationRequest *old_form;
	struct json *structured[APPRAISE_ENTRIES_MAX];
};

void as_protobuf_free(struct as_protobuf *p)
{
	if (p == NULL)
		return;
	for (size_t i = 0; i < APPRAISE_ENTRIES_MAX; i++)
		json_free(p->structured[i]);
	if (p->new_form != NULL)
		as_v1_6_0__attestation_request__free_unpacked(p->new_form, &p->new_budget.allocator);
	if (p->old_form != NULL)
		as_v1_5_2__attestation_request__free_unpacked(p->old_form, &p->old_budget.allocator);
	free(p);
}

/* No name of a TEE holds control bytes; what is really a nested message begins with one. */
static bool is_name(const char *text)
{
	for (const char *c = text; *c != '\0'; c++) {
		if ((unsigned char)*c < 0x20 || (unsigned char)*c >= 0x7f)
			return false;
	}
	return text[0] != '\0';
}

/* A short name may happen to decode as a nested message, but not as one that names a TEE. */
static bool is_new_form(const AsV160__AttestationRequest *m)
{
	if (m == NULL)
		return false;
	for (size_t i = 0; i < m->n_verification_requests; i++) {
		if (!is_name(m->verification_requests[i]->tee))
			return false;
	}
	return true;
}

static int take_policies(char **ids, size_t count, struct appraise_request *out, struct err *e)
{
	if (count > APPRAISE_POLICIES_MAX)
		return err_set(e, ERR_LIMIT, "more than %d policy ids", APPRAISE_POLICIES_MAX);
	for (size_t i = 0; i < count; i++)
		out->policy_ids[i] = ids[i];
	out->policy_count = count;
	return 0;
}

/* raw and structured: at most one is not NULL. */
static int take_runtime_data(struct as_protobuf *p, size_t at, const char *raw, const char *structured,
			     struct appraise_entry *out, struct err *e)
{
	if (raw != NULL) {
		out->runtime = RUNTIME_RAW;
		out->raw = raw;
	} else if (structured != NULL) {
		p->structured[at] = json_parse(bytes_str(structured), JSON_STRICT, e);
		if (p->structured[at] == NULL) {
			err_wrap(e, "parse structured runtime data");
			e->kind = ERR_TRUST;
			return -1;
		}
		out->runtime = RUNTIME_STRUCTURED;
		out->structured = p->structured[at];
	}
	return 0;
}

static const char *none_if_empty(const char *text)
{
	return text[0] != '\0' ? text : NULL;
}

static int take_new_entry(struct as_protobuf *p, size_t at, struct appraise_entry *out, struct err *e)
{
	const AsV160__IndividualAttestationRequest *m = p->new_form->verification_requests[at];
	const char *raw = NULL;
	const char *structured = NULL;

	*out = (struct appraise_entry){
		.tee = m->tee,
		.evidence = m->evidence,
		.hash_name = none_if_empty(m->runtime_data_hash_algorithm),
		.has_init_data = m->init_data_case != AS_V1_6_0__INDIVIDUAL_ATTESTATION_REQUEST__INIT_DATA__NOT_SET,
	};
	if (m->runtime_data_case == AS_V1_6_0__INDIVIDUAL_ATTESTATION_REQUEST__RUNTIME_DATA_RAW_RUNTIME_DATA)
		raw = m->raw_runtime_data;
	else if (m->runtime_data_case ==
		 AS_V1_6_0__INDIVIDUAL_ATTESTATION_REQUEST__RUNTIME_DATA_STRUCTURED_RUNTIME_DATA)
		structured = m->structured_runtime_data;
	return take_runtime_data(p, at, raw, structured, out, e);
}

static int take_new_form(struct as_protobuf *p, struct appraise_request *out, struct err *e)
{
	size_t count = p->new_form->n_verification_requests;

	if (count > APPRAISE_ENTRIES_MAX)
		return err_set(e, ERR_LIMIT, "more than %d verification requests", APPRAISE_ENTRIES_MAX);
	for (size_t i = 0; i < count; i++) {
		if (take_new_entry(p, i, &out->entries[i], e) < 0)
			return -1;
	}
	out->entry_count = count;
	return take_policies(p->new_form->policy_ids, p->new_form->n_policy_ids, out, e);
}

static int take_old_form(struct as_protobuf *p, struct appraise_request *out, struct err *e)
{
	const AsV152__AttestationRequest *m = p->old_form;
	const char *raw = NULL;
	const char *structured = NULL;

	out->entries[0] = (struct appraise_entry){
		.tee = m->tee,
		.evidence = m->evidence,
		.hash_name = none_if_empty(m->runtime_data_hash_algorithm),
		.has_init_data = m->init_data_case != AS_V1_5_2__ATTESTATION_REQUEST__INIT_DATA__NOT_SET,
	};
	out->entry_count = 1;
	if (m->runtime_data_case == AS_V1_5_2__ATTESTATION_REQUEST__RUNTIME_DATA_RAW_RUNTIME_DATA)
		raw = m->raw_runtime_data;
	else if (m->runtime_data_case == AS_V1_5_2__ATTESTATION_REQUEST__RUNTIME_DATA_STRUCTURED_RUNTIME_DATA)
		structured = m->structured_runtime_data;
	if (take_runtime_data(p, 0, raw, structured, &out->entries[0], e) < 0)
		return -1;
	return take_policies(m->policy_ids, m->n_policy_ids, out, e);
}

static bool unpack_new_form(struct as_protobuf *p, struct bytes message)
{
	protobuf_budget_init(&p->new_budget, message.len);
	p->new_form = as_v1_6_0__attestation_request__unpack(&p->new_budget.allocator, message.len, message.data);
	return is_new_form(p->new_form);
}

static bool unpack_old_form(struct as_protobuf *p, struct bytes message)
{
	protobuf_budget_init(&p->old_budget, message.len);
	p->old_form = as_v1_5_2__attestation_request__unpack(&p->old_budget.allocator, message.len, message.data);
	return p->old_form != NULL && is_name(p->old_form->tee);
}

struct as_protobuf *as_protobuf_parse(struct bytes message, enum as_layouts known, struct appraise_request *out,
				      enum as_layout *layout, struct err *e)
{
	struct as_protobuf *p = mem_new_of(struct as_protobuf);
	int rc;

	if (known != AS_ONLY_V1_5_2 && unpack_new_form(p, message)) {
		*layout = AS_V1_6_0;
		rc = take_new_form(p, out, e);
	} else if (known != AS_ONLY_V1_6_0 && unpack_old_form(p, message)) {
		*layout = AS_V1_5_2;
		rc = take_old_form(p, out, e);
	} else {
		rc = err_set(e, ERR_PEER, "failed to decode Protobuf message: AttestationRequest.%s",
			     known == AS_ONLY_V1_5_2 ? "tee: invalid string value: data is not UTF-8 encoded"
						     : "verification_requests: invalid wire type value: 7");
	}
	if (rc == 0)
		return p;
	as_protobuf_free(p);
	return NULL;
}

void as_protobuf_format_response(struct bytes token, struct buf *out)
{
	AsV160__AttestationResponse message = AS_V1_6_0__ATTESTATION_RESPONSE__INIT;
	char *text = mem_strndup((const char *)token.data, token.len);

	message.attestation_token = text;
	buf_reserve(out, as_v1_6_0__attestation_response__get_packed_size(&message));
	out->len += as_v1_6_0__attestation_response__pack(&message, out->data + out->len);
	free(text);
}
