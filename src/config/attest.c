/* SPDX-License-Identifier: Apache-2.0 */
/* attest - how we show who we are. */
#include "config/sections.h"

#include <string.h>

#include "config/text_forms.h"

/* Providers of features to come have values of their own, so that the conditions below can tell. */
enum { AA_ITA = 100, AA_ITA_ASR };

static const struct choice models[] = {
	{ "background_check", MODEL_BACKGROUND_CHECK, false },
	{ "passport", MODEL_PASSPORT, false },
	{ 0 },
};

static const struct choice providers[] = {
	{ "coco", AA_COCO, false },
	{ "coco_asr", AA_COCO_ASR, false },
	{ "ita", AA_ITA, true },
	{ "ita_asr", AA_ITA_ASR, true },
	{ 0 },
};

static const struct choice aa_types[] = {
	{ "uds", AA_UDS, false },
	{ "builtin", AA_BUILTIN, false },
	{ 0 },
};

const struct choice as_providers[] = {
	{ "coco", 0, false },
	{ "ita", 1, true },
	{ 0 },
};

/* In passport only these issue a token. */
static const struct choice as_types[] = {
	{ "restful", AS_RESTFUL, false },
	{ "grpc", AS_GRPC, false },
	{ 0 },
};

static bool is_coco(const void *conf, const struct json *j)
{
	const struct attest_conf *attest = conf;

	(void)j;
	return (int)attest->provider == AA_COCO;
}

static bool is_socket(const void *conf, const struct json *j)
{
	const struct attest_conf *attest = conf;

	(void)j;
	return (int)attest->provider == AA_ITA || ((int)attest->provider == AA_COCO && attest->aa_type == AA_UDS);
}

static bool is_asr(const void *conf, const struct json *j)
{
	const struct attest_conf *attest = conf;

	(void)j;
	return (int)attest->provider == AA_COCO_ASR || (int)attest->provider == AA_ITA_ASR;
}

static bool is_passport(const void *conf, const struct json *j)
{
	const struct attest_conf *attest = conf;

	(void)j;
	return attest->model == MODEL_PASSPORT;
}

static bool is_ita_as(const struct json *j)
{
	const char *provider = json_string(json_member(j, "as_provider"));

	return provider != NULL && strcmp(provider, "ita") == 0;
}

static bool is_passport_of_coco(const void *conf, const struct json *j)
{
	return is_passport(conf, j) && !is_ita_as(j);
}

static bool is_passport_of_ita(const void *conf, const struct json *j)
{
	return is_passport(conf, j) && is_ita_as(j);
}

static const struct condition when_coco = { is_coco, "it belongs to aa_provider \"coco\"" };
static const struct condition when_socket = { is_socket, "it belongs to aa_type \"uds\"" };
static const struct condition when_asr = { is_asr, "it belongs to aa_provider \"coco_asr\"" };
static const struct condition when_passport = { is_passport, "in background check only the verifier has a service" };
static const struct condition when_coco_as = { is_passport_of_coco,
					       "it belongs to model \"passport\" with as_provider \"coco\"" };
static const struct condition when_ita_as = { is_passport_of_ita,
					      "it belongs to model \"passport\" with as_provider \"ita\"" };

/* clang-format off */
static const struct field attest_fields[] = {
	{ STORED(FIELD_CHOICE, struct attest_conf, model), .choices = models, .fallback = MODEL_BACKGROUND_CHECK },
	{ STORED_AS("aa_provider", FIELD_CHOICE, struct attest_conf, provider), .choices = providers, .fallback = AA_COCO },
	{ STORED(FIELD_CHOICE, struct attest_conf, aa_type), .choices = aa_types, .fallback = AA_UDS, .when = &when_coco },
	{ STORED(FIELD_TEXT, struct attest_conf, aa_addr), .apart = true, .check_text = check_unix_address, .required = true, .when = &when_socket,
	  .missing = "missing, expected the socket of the agent, such as \"unix:///run/confidential-containers/attestation-agent/attestation-agent.sock\"" },
	{ STORED(FIELD_TEXT, struct attest_conf, asr_addr), .apart = true, .check_text = check_url, .required = true, .when = &when_asr,
	  .missing = "missing, expected the URL of the API server, such as \"http://127.0.0.1:8006\"" },
	{ STORED_AS("aa_timeout", FIELD_SECONDS, struct attest_conf, aa_timeout_ms), .apart = true, .min = 1, .max = 3600000, .fallback = 50000 },
	{ STORED_AS("refresh_interval", FIELD_INTEGER, struct attest_conf, refresh_interval_s), .apart = true, UINT32_RANGE, .fallback = 600 },
	{ CHECKED(FIELD_CHOICE, "as_provider"), .choices = as_providers, .when = &when_passport },
	{ STORED_AS("as_type", FIELD_CHOICE, struct attest_conf, as.type), .choices = as_types, .fallback = AS_RESTFUL, .when = &when_coco_as },
	{ STORED_AS("as_addr", FIELD_TEXT, struct attest_conf, as.addr), .apart = true, .check_text = check_url, .when = &when_passport },
	{ STORED_AS("policy_ids", FIELD_TEXTS, struct attest_conf, as.policy_ids), .apart = true, .check_text = check_not_empty, .when = &when_passport },
	{ STORED_AS("as_headers", FIELD_HEADERS, struct attest_conf, as.headers), .apart = true, .count_offset = offsetof(struct attest_conf, as.header_count), .when = &when_coco_as },
	{ STORED_AS("as_connect_timeout", FIELD_SECONDS, struct attest_conf, as.connect_timeout_ms), .apart = true, .min = 1, .max = 3600000, .fallback = 5000, .when = &when_passport },
	{ STORED_AS("as_timeout", FIELD_SECONDS, struct attest_conf, as.timeout_ms), .apart = true, .min = 1, .max = 3600000, .fallback = 30000, .when = &when_passport },
	{ CHECKED(FIELD_TEXT, "api_key"), .apart = true, .secret = true, .when = &when_ita_as },
};
/* clang-format on */

static void check_token_issuer(struct reading *r, const struct place *at, const struct attest_conf *attest)
{
	struct place addr = place_member(at, "as_addr");

	if (is_passport_of_coco(attest, at->json) && !place_has(at, "as_addr"))
		place_error(
			r, &addr,
			"missing: in model \"passport\" the attester fetches its token from an attestation service");
}

static void warn_of_sample_evidence(struct reading *r, const struct place *at, const struct attest_conf *attest)
{
	struct place type = place_member(at, "aa_type");

	if (is_coco(attest, at->json) && attest->aa_type == AA_BUILTIN)
		place_warn(r, &type, "the builtin agent makes sample evidence, which proves nothing: for tests only");
}

static void check_attest(struct reading *r, const struct place *at, void *conf)
{
	check_token_issuer(r, at, conf);
	warn_of_sample_evidence(r, at, conf);
}

const struct section section_attest = { SECTION_FIELDS(attest_fields), .size = sizeof(struct attest_conf),
					.check = check_attest };
