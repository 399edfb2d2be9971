/* SPDX-License-Identifier: Apache-2.0 */
/* verify - whom we trust. */
#include "config/sections.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "config/text_forms.h"

static const struct choice models[] = {
	{ "background_check", MODEL_BACKGROUND_CHECK, false },
	{ "passport", MODEL_PASSPORT, false },
	{ 0 },
};

static const struct choice as_types[] = {
	{ "restful", AS_RESTFUL, false },
	{ "grpc", AS_GRPC, false },
	{ "builtin", AS_BUILTIN, false },
	{ 0 },
};

static bool is_ita(const void *conf, const struct json *j)
{
	const char *provider = json_string(json_member(j, "as_provider"));

	(void)conf;
	return provider != NULL && strcmp(provider, "ita") == 0;
}

static bool is_coco(const void *conf, const struct json *j)
{
	return !is_ita(conf, j);
}

static bool is_builtin(const void *conf, const struct json *j)
{
	const struct verify_conf *verify = conf;

	return is_coco(conf, j) && verify->as.type == AS_BUILTIN;
}

static bool has_token(const void *conf, const struct json *j)
{
	return !is_builtin(conf, j);
}

static bool has_coco_token(const void *conf, const struct json *j)
{
	return is_coco(conf, j) && !is_builtin(conf, j);
}

static bool has_api_key(const void *conf, const struct json *j)
{
	const struct verify_conf *verify = conf;

	return is_ita(conf, j) && verify->model == MODEL_BACKGROUND_CHECK;
}

static const struct condition when_ita = { is_ita, "it belongs to as_provider \"ita\"" };
static const struct condition when_coco = { is_coco, "it belongs to as_provider \"coco\"" };
static const struct condition when_api_key = { has_api_key,
					       "it belongs to as_provider \"ita\" with model \"background_check\"" };
static const struct condition when_builtin = { is_builtin, "it belongs to as_type \"builtin\"" };
static const struct condition when_token = { has_token, "as_type \"builtin\" makes no use of it" };
static const struct condition when_coco_token = { has_coco_token, "it belongs to as_type \"restful\" or \"grpc\"" };

/* clang-format off */
static const struct field verify_fields[] = {
	{ STORED(FIELD_CHOICE, struct verify_conf, model), .choices = models, .fallback = MODEL_BACKGROUND_CHECK },
	{ CHECKED(FIELD_CHOICE, "as_provider"), .choices = as_providers },
	{ STORED_AS("as_type", FIELD_CHOICE, struct verify_conf, as.type), .choices = as_types, .fallback = AS_RESTFUL, .when = &when_coco },
	{ STORED_AS("as_addr", FIELD_TEXT, struct verify_conf, as.addr), .apart = true, .check_text = check_url, .when = &when_token },
	{ STORED_AS("policy_ids", FIELD_TEXTS, struct verify_conf, as.policy_ids), .apart = true, .check_text = check_not_empty, .required = true, .when = &when_coco_token,
	  .missing = "missing: name the policies that the token must have been judged by, such as [\"default\"]" },
	{ STORED_AS("as_headers", FIELD_HEADERS, struct verify_conf, as.headers), .apart = true, .count_offset = offsetof(struct verify_conf, as.header_count), .when = &when_coco_token },
	{ STORED_AS("as_connect_timeout", FIELD_SECONDS, struct verify_conf, as.connect_timeout_ms), .apart = true, .min = 1, .max = 3600000, .fallback = 5000, .when = &when_token },
	{ STORED_AS("as_timeout", FIELD_SECONDS, struct verify_conf, as.timeout_ms), .apart = true, .min = 1, .max = 3600000, .fallback = 30000, .when = &when_token },
	{ STORED(FIELD_TEXTS, struct verify_conf, trusted_certs_paths), .apart = true, .check_text = check_not_empty, .when = &when_coco_token },
	{ STORED(FIELD_BOOL, struct verify_conf, skip_as_token_cert_verify), .when = &when_coco_token },
	{ STORED(FIELD_BOOL, struct verify_conf, verify_signer_transparency), .later = true, .when = &when_coco_token },
	{ FLAT("attestation_policy", &section_attestation_policy), .apart = true, .when = &when_builtin },
	{ CHECKED(FIELD_LIST, "reference_values"), .apart = true, .section = &section_reference_value, .later = true, .when = &when_builtin },
	{ STORED_AS("verdict_max_age", FIELD_INTEGER, struct verify_conf, verdict_max_age_s), .apart = true, .min = 0, .max = 86400, .fallback = 60 },
	{ CHECKED(FIELD_TEXT, "ita_jwks_addr"), .apart = true, .check_text = check_url, .when = &when_ita },
	{ CHECKED(FIELD_TEXT, "api_key"), .apart = true, .secret = true, .when = &when_api_key },
};
/* clang-format on */

static void check_policies(struct reading *r, const struct place *at, const struct verify_conf *verify)
{
	struct place ids = place_member(at, "policy_ids");

	if (has_coco_token(verify, at->json) && place_is_empty_list(at, "policy_ids"))
		place_error(
			r, &ids,
			"an empty list would accept a token of any policy: name at least one, such as [\"default\"]");
}

static void check_builtin_model(struct reading *r, const struct place *at, const struct verify_conf *verify)
{
	struct place type = place_member(at, "as_type");

	if (is_builtin(verify, at->json) && verify->model == MODEL_PASSPORT)
		place_error(r, &type, "\"builtin\" judges evidence itself: it needs model \"background_check\"");
}

static void check_service(struct reading *r, const struct place *at, const struct verify_conf *verify)
{
	struct place addr = place_member(at, "as_addr");
	struct place headers = place_member(at, "as_headers");

	if (place_has(at, "as_addr"))
		return;
	if (verify->model == MODEL_BACKGROUND_CHECK)
		place_error(r, &addr,
			    "missing, expected the URL of the attestation service, such as "
			    "\"http://127.0.0.1:8080\"");
	else if (place_has(at, "as_headers"))
		place_error(r, &headers, "not without as_addr");
}

/* Background check with skip: the token comes over our own connection, so as_addr stays. */
static void check_skip(struct reading *r, const struct place *at, const struct verify_conf *verify)
{
	struct place addr = place_member(at, "as_addr");
	struct place paths = place_member(at, "trusted_certs_paths");

	if (place_has_items(at, "trusted_certs_paths"))
		place_error(r, &paths, "not together with skip_as_token_cert_verify");
	if (verify->model == MODEL_PASSPORT && place_has(at, "as_addr"))
		place_error(r, &addr, "not together with skip_as_token_cert_verify in model \"passport\"");
}

static void check_anchors(struct reading *r, const struct place *at, const struct verify_conf *verify)
{
	struct place paths = place_member(at, "trusted_certs_paths");

	if (verify->model != MODEL_PASSPORT || place_has_items(at, "trusted_certs_paths"))
		return;
	if (!place_has(at, "as_addr"))
		place_error(r, &paths, "missing: without as_addr or trusted_certs_paths nothing tells a genuine token");
	else if (verify->as.type == AS_GRPC)
		place_error(r, &paths,
			    "missing: a service over gRPC does not tell its certificates, so that in model "
			    "\"passport\" nothing tells a genuine token");
}

/* On this machine nobody stands between. */
static bool is_far_plain_url(const char *url)
{
	static const char *const near[] = { "localhost", "127.", "[::1]" };
	const char *host = url + strlen("http://");

	if (strncasecmp(url, "http://", strlen("http://")) != 0)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(near); i++) {
		if (strncasecmp(host, near[i], strlen(near[i])) == 0)
			return false;
	}
	return true;
}

static void warn_of_weak_anchors(struct reading *r, const struct place *at, const struct verify_conf *verify)
{
	struct place skip = place_member(at, "skip_as_token_cert_verify");
	struct place addr = place_member(at, "as_addr");

	if (verify->skip_as_token_cert_verify) {
		place_warn(r, &skip,
			   verify->model == MODEL_PASSPORT
				   ? "ANYBODY CAN MAKE A TOKEN THAT IS ACCEPTED: its signer is not checked"
				   : "the signer of a token is not checked: whoever answers for as_addr is believed");
		return;
	}
	if (verify->trusted_certs_paths.count > 0)
		return;
	if (verify->as.type == AS_GRPC)
		place_warn(r, at,
			   "without trusted_certs_paths the key inside a token is believed, because it came "
			   "over our own connection to as_addr");
	else if (verify->as.addr != NULL && is_far_plain_url(verify->as.addr))
		place_warn(r, &addr,
			   "the certificates that tell a genuine token are fetched over plain HTTP: use "
			   "https, or trusted_certs_paths");
}

static void warn_of_trust_all(struct reading *r, const struct place *at, const struct verify_conf *verify)
{
	struct place policy = place_member(at, "attestation_policy");

	if (is_builtin(verify, at->json) && verify->builtin_policy == POLICY_TRUST_ALL)
		place_warn(r, &policy, "\"trust_all\" accepts sample evidence, which anybody can make: for tests only");
}

/* For config_check_files(): nothing is opened here. */
static void note_files(struct reading *r, const struct place *at, const struct verify_conf *verify)
{
	struct place paths = place_member(at, "trusted_certs_paths");

	/* With a refused item the lists differ; then nothing is opened anyway. */
	for (size_t i = 0; r->error_count == 0 && i < verify->trusted_certs_paths.count; i++) {
		struct place item = { .parent = &paths, .index = i, .json = paths.json->items[i] };
		char *position = place_position(r, &item);
		char *path = place_path(&item);

		r->files = mem_resize(r->files, (r->file_count + 1) * sizeof(*r->files));
		r->files[r->file_count].path = mem_strdup(verify->trusted_certs_paths.items[i]);
		r->files[r->file_count].place = mem_format("%s: %s", position, path);
		r->file_count++;
		free(position);
		free(path);
	}
}

static void check_verify(struct reading *r, const struct place *at, void *conf)
{
	const struct verify_conf *verify = conf;
	size_t errors = r->error_count;

	check_policies(r, at, verify);
	check_builtin_model(r, at, verify);
	warn_of_trust_all(r, at, verify);
	if (!has_coco_token(verify, at->json))
		return;
	check_service(r, at, verify);
	if (verify->skip_as_token_cert_verify)
		check_skip(r, at, verify);
	else
		check_anchors(r, at, verify);
	if (r->error_count == errors)
		warn_of_weak_anchors(r, at, verify);
	note_files(r, at, verify);
}

const struct section section_verify = { SECTION_FIELDS(verify_fields), .size = sizeof(struct verify_conf),
					.check = check_verify };
