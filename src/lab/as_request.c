/* SPDX-License-Identifier: Apache-2.0 */
/* as_request - the JSON of /attestation, in the layout of today and that of services up to 1.5.2. */
#include "lab/as_request.h"

#include <stdlib.h>

const char *as_layout_name(enum as_layout layout)
{
	return layout == AS_V1_6_0 ? "v1_6_0" : "v1_5_2";
}

static int missing(const char *name, struct err *e)
{
	return err_set(e, ERR_PEER, "missing field `%s`", name);
}

static int required_string(const struct json *j, const char *name, const char **out, struct err *e)
{
	const struct json *m = json_member(j, name);

	if (m == NULL)
		return missing(name, e);
	*out = json_string(m);
	return *out != NULL ? 0 : err_set(e, ERR_PEER, "invalid type for `%s`, expected a string", name);
}

static bool is_null(const struct json *j)
{
	return j == NULL || j->type == JSON_NULL;
}

/* {"raw":<string>} or {"structured":<anything>} */
static int parse_runtime_data(const struct json *j, struct appraise_entry *out, struct err *e)
{
	if (is_null(j))
		return 0;
	if (j->type == JSON_OBJECT && j->count == 1) {
		out->structured = json_member(j, "structured");
		out->raw = json_string(json_member(j, "raw"));
	}
	if (out->structured != NULL)
		out->runtime = RUNTIME_STRUCTURED;
	else if (out->raw != NULL)
		out->runtime = RUNTIME_RAW;
	else
		return err_set(e, ERR_PEER, "unknown variant for `runtime_data`, expected `raw` or `structured`");
	return 0;
}

static int parse_entry(const struct json *j, struct appraise_entry *out, struct err *e)
{
	const struct json *hash = json_member(j, "runtime_data_hash_algorithm");

	*out = (struct appraise_entry){ .runtime = RUNTIME_NONE };
	if (j->type != JSON_OBJECT)
		return err_set(e, ERR_PEER, "invalid type, expected an object");
	if (required_string(j, "tee", &out->tee, e) < 0 || required_string(j, "evidence", &out->evidence, e) < 0)
		return -1;
	out->has_init_data = !is_null(json_member(j, "init_data"));
	if (!is_null(hash) && required_string(j, "runtime_data_hash_algorithm", &out->hash_name, e) < 0)
		return -1;
	return parse_runtime_data(json_member(j, "runtime_data"), out, e);
}

static int parse_entries(const struct json *j, struct appraise_request *out, struct err *e)
{
	const struct json *list = json_member(j, "verification_requests");

	if (list == NULL)
		return missing("verification_requests", e);
	if (list->type != JSON_ARRAY)
		return err_set(e, ERR_PEER, "invalid type for `verification_requests`, expected an array");
	if (list->count > APPRAISE_ENTRIES_MAX)
		return err_set(e, ERR_LIMIT, "more than %d verification requests", APPRAISE_ENTRIES_MAX);
	for (; out->entry_count < list->count; out->entry_count++) {
		if (parse_entry(list->items[out->entry_count], &out->entries[out->entry_count], e) < 0)
			return -1;
	}
	return 0;
}

static int parse_policy_ids(const struct json *j, struct appraise_request *out, struct err *e)
{
	const struct json *list = json_member(j, "policy_ids");

	if (list == NULL)
		return missing("policy_ids", e);
	if (list->type != JSON_ARRAY)
		return err_set(e, ERR_PEER, "invalid type for `policy_ids`, expected an array");
	if (list->count > APPRAISE_POLICIES_MAX)
		return err_set(e, ERR_LIMIT, "more than %d policy ids", APPRAISE_POLICIES_MAX);
	for (; out->policy_count < list->count; out->policy_count++) {
		const char *id = json_string(list->items[out->policy_count]);

		if (id == NULL)
			return err_set(e, ERR_PEER, "invalid type in `policy_ids`, expected a string");
		out->policy_ids[out->policy_count] = id;
	}
	return 0;
}

int as_request_from_json(const struct json *j, enum as_layout layout, struct appraise_request *out, struct err *e)
{
	out->entry_count = 0;
	out->policy_count = 0;
	if (j->type != JSON_OBJECT)
		return err_set(e, ERR_PEER, "invalid type, expected an object");
	if (layout == AS_V1_6_0) {
		if (parse_entries(j, out, e) < 0)
			return -1;
	} else {
		if (parse_entry(j, &out->entries[0], e) < 0)
			return -1;
		out->entry_count = 1;
	}
	return parse_policy_ids(j, out, e);
}

void as_request_note(const struct appraise_request *r, enum as_layout layout, struct target *t)
{
	struct buf tees = { 0 };
	struct buf policies = { 0 };

	for (size_t i = 0; i < r->entry_count; i++)
		buf_format(&tees, "%s%s", i == 0 ? "" : ",", r->entries[i].tee);
	buf_append_str(&policies, "[");
	for (size_t i = 0; i < r->policy_count; i++) {
		buf_append_str(&policies, i == 0 ? "" : ",");
		json_append_string(&policies, bytes_str(r->policy_ids[i]));
	}
	buf_append_str(&policies, "]");

	free(t->last_tee);
	free(t->last_policies);
	free(t->last_layout);
	t->last_tee = buf_take_str(&tees);
	t->last_policies = buf_take_str(&policies);
	t->last_layout = mem_strdup(as_layout_name(layout));
}
