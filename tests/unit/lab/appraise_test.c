/* SPDX-License-Identifier: Apache-2.0 */
#include "lab/appraise.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "codec/base64.h"
#include "lab/sample.h"

#define NOW 1795275289

/* The worked values of the specification: the key of section 1.5. */
#define RUNTIME_DATA "{\"pubkey-hash\":\"ggFYIFzSUvsM6JMkNvr4zNEECYG4nuSta5/p4qK35xqssnzT\"}"
#define REPORT_DATA "P2nkspuzxoWBSSBIU8rpKM2Bc41rmMQvTBCx2VUCx8ytVkqC3FAl6WNSNFHYdM2K"
#define MEASURE "\"measure_register\":\"" SAMPLE_MEASUREMENT "\""
#define GOOD_EVIDENCE "{\"cc_eventlog\":null," MEASURE ",\"report_data\":\"" REPORT_DATA "\",\"svn\":\"1\"}"

static struct mint *mint;

static struct appraise_service service(enum token_form form)
{
	struct appraise_service s = {
		.mint = mint,
		.form = form,
		.lifetime_s = 300,
		.measurement = SAMPLE_MEASUREMENT,
		.policy_ids = { "extra" },
		.policy_count = 1,
	};

	return s;
}

/* A request of one entry, and what it borrows. */
struct asked {
	struct appraise_request request;
	struct buf evidence;
	struct json *runtime;
};

static void ask(struct asked *a, const char *evidence, const char *runtime)
{
	struct err e;

	*a = (struct asked){ .request = { .entry_count = 1, .knows_sampledevice = true, .now_unix = NOW } };
	base64url_encode(bytes_str(evidence), &a->evidence);
	a->request.entries[0].tee = SAMPLE_TEE;
	a->request.entries[0].evidence = buf_str(&a->evidence);
	if (runtime != NULL) {
		a->runtime = json_parse(bytes_str(runtime), JSON_STRICT, &e);
		assert_non_null(a->runtime);
		a->request.entries[0].runtime = RUNTIME_STRUCTURED;
		a->request.entries[0].structured = a->runtime;
	}
}

static void asked_release(struct asked *a)
{
	buf_release(&a->evidence);
	json_free(a->runtime);
}

static struct json *claims_of(struct buf *jwt)
{
	struct buf claims = { 0 };
	struct bytes all = buf_bytes(jwt);
	ssize_t first = bytes_find(all, bytes_str("."));
	struct bytes rest = bytes_of(all.data + first + 1, all.len - (size_t)first - 1);
	ssize_t second = bytes_find(rest, bytes_str("."));
	struct err e;
	struct json *j;

	assert_int_equal(base64url_decode(bytes_of(rest.data, (size_t)second), &claims, &e), 0);
	j = json_parse(buf_bytes(&claims), JSON_STRICT, &e);
	assert_non_null(j);
	buf_release(&claims);
	return j;
}

/* gives the claims of the token; NULL when refused. */
static struct json *run(struct asked *a, enum token_form form, enum fault_kind fault, struct refusal *why)
{
	struct appraise_service s = service(form);
	struct dealt d = { .fault = fault };
	struct buf jwt = { 0 };
	struct json *claims = NULL;

	if (appraise(&s, &a->request, &d, &jwt, why) == 0)
		claims = claims_of(&jwt);
	else
		assert_int_equal(jwt.len, 0);
	buf_release(&jwt);
	return claims;
}

static void assert_refused(struct asked *a, enum token_form form, enum refusal_kind kind, const char *field)
{
	struct refusal why;
	struct json *claims = run(a, form, FAULT_NONE, &why);

	if (claims != NULL)
		fail_msg("a token was issued");
	assert_int_equal(why.kind, kind);
	assert_string_equal(why.field, field);
	assert_true(why.cause.text[0] != '\0');
}

static void good_evidence_gives_an_affirming_ear_token(void **state)
{
	static const char at[] = "submods/cpu0";
	const struct json *submod;
	const struct json *annotated;
	struct refusal why;
	struct asked a;
	struct json *j;
	int64_t exp;

	(void)state;
	ask(&a, GOOD_EVIDENCE, RUNTIME_DATA);
	j = run(&a, TOKEN_EAR, FAULT_NONE, &why);
	assert_non_null(j);
	submod = json_at(j, at);
	assert_string_equal(json_string(json_member(submod, "ear.status")), "affirming");
	assert_string_equal(json_string(json_member(submod, "ear.appraisal-policy-id")), "default");
	annotated = json_member(submod, "ear.veraison.annotated-evidence");
	assert_true(json_equal(json_member(annotated, "runtime_data_claims"), a.runtime));
	assert_string_equal(json_string(json_member(annotated, "report_data")), REPORT_DATA);
	assert_true(json_integer(json_member(j, "exp"), 0, INT64_MAX, &exp));
	assert_int_equal(exp, NOW + 300);
	json_free(j);
	asked_release(&a);
}

static void simple_tokens_name_every_policy(void **state)
{
	struct refusal why;
	struct asked a;
	struct json *j;

	(void)state;
	ask(&a, GOOD_EVIDENCE, RUNTIME_DATA);
	a.request.policy_ids[0] = "extra";
	a.request.policy_ids[1] = "default";
	a.request.policy_count = 2;
	j = run(&a, TOKEN_SIMPLE, FAULT_NONE, &why);
	assert_non_null(j);
	assert_int_equal(json_member(j, "evaluation-reports")->count, 2);
	assert_true(json_equal(json_at(j, "customized_claims/runtime_data"), a.runtime));
	assert_string_equal(json_string(json_member(j, "tee")), "sample");
	json_free(j);
	asked_release(&a);
}

static void unknown_policies_are_refused_where_they_are_evaluated(void **state)
{
	struct refusal why;
	struct asked a;
	struct json *j;

	(void)state;
	ask(&a, GOOD_EVIDENCE, RUNTIME_DATA);
	a.request.policy_ids[0] = "default";
	a.request.policy_ids[1] = "unknown";
	a.request.policy_count = 2;
	assert_refused(&a, TOKEN_SIMPLE, REFUSE_EVALUATION, "");
	j = run(&a, TOKEN_EAR, FAULT_NONE, &why); /* the first policy only */
	assert_non_null(j);
	json_free(j);
	a.request.policy_ids[0] = "unknown";
	assert_refused(&a, TOKEN_EAR, REFUSE_EVALUATION, "");
	asked_release(&a);
}

static void evidence_that_is_bound_to_something_else_is_refused(void **state)
{
	static const char *const cases[][2] = {
		{ GOOD_EVIDENCE, "{\"pubkey-hash\":\"ggFYIFzSUvsM6JMkNvr4zNEECYG4nuSta5/p4qK35xqssnzU\"}" },
		{ GOOD_EVIDENCE, "{}" },
		{ GOOD_EVIDENCE, "null" },
		{ "{\"cc_eventlog\":null," MEASURE ",\"report_data\":\"\",\"svn\":\"1\"}", RUNTIME_DATA },
		{ "{\"cc_eventlog\":null," MEASURE ",\"report_data\":\"" REPORT_DATA "AA==\",\"svn\":\"1\"}",
		  RUNTIME_DATA },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct asked a;

		ask(&a, cases[i][0], cases[i][1]);
		assert_refused(&a, TOKEN_EAR, REFUSE_EVALUATION, "");
		asked_release(&a);
	}
}

static void the_digest_is_that_of_canonical_json(void **state)
{
	struct refusal why;
	struct asked a;
	struct json *j;

	(void)state;
	ask(&a,
	    "{\"cc_eventlog\":null," MEASURE
	    ",\"report_data\":\"P2nkspuzxoWBSSBIU8rpKM2Bc41rmMQvTBCx2VUCx8ytVkqC3FAl6WNSNFHYdM2K\",\"svn\":"
	    "\"1\"}",
	    " { \"pubkey-hash\" : \"ggFYIFzSUvsM6JMkNvr4zNEECYG4nuSta5\\/p4qK35xqssnzT\" } ");
	j = run(&a, TOKEN_EAR, FAULT_NONE, &why);
	assert_non_null(j);
	json_free(j);
	asked_release(&a);
}

static void raw_runtime_data_are_compared_as_they_are(void **state)
{
	struct refusal why;
	struct asked a;
	struct json *j;

	(void)state;
	ask(&a, "{\"cc_eventlog\":null," MEASURE ",\"report_data\":\"YWJj\",\"svn\":\"1\"}", NULL);
	a.request.entries[0].runtime = RUNTIME_RAW;
	a.request.entries[0].raw = "YWJj";
	j = run(&a, TOKEN_EAR, FAULT_NONE, &why);
	assert_non_null(j);
	json_free(j);
	a.request.entries[0].raw = "YWJk";
	assert_refused(&a, TOKEN_EAR, REFUSE_EVALUATION, "");
	a.request.entries[0].raw = "YWJj=";
	assert_refused(&a, TOKEN_EAR, REFUSE_ARGUMENT, "verification_requests[0].runtime_data");
	asked_release(&a);
}

static void malformed_entries_are_refused_with_their_place(void **state)
{
	struct asked a;

	(void)state;
	ask(&a, GOOD_EVIDENCE, RUNTIME_DATA);
	a.request.entries[0].evidence = "e30=";
	assert_refused(&a, TOKEN_EAR, REFUSE_ENCODING, "verification_requests[0].evidence");
	a.request.entries[0].evidence = "e3";
	assert_refused(&a, TOKEN_EAR, REFUSE_ENCODING, "verification_requests[0].evidence");
	a.request.entries[0].evidence = "ew";
	assert_refused(&a, TOKEN_EAR, REFUSE_FORMAT, "verification_requests[0].evidence");
	a.request.entries[0].evidence = buf_str(&a.evidence);
	a.request.entries[0].tee = "Sample";
	assert_refused(&a, TOKEN_EAR, REFUSE_TEE, "verification_requests[0].tee");
	a.request.entries[0].tee = "tdx";
	assert_refused(&a, TOKEN_EAR, REFUSE_VERIFIER, "verification_requests[0].evidence");
	a.request.entries[0].tee = "sample";
	a.request.entries[0].hash_name = "";
	assert_refused(&a, TOKEN_EAR, REFUSE_ARGUMENT, "verification_requests[0].runtime_data_hash_algorithm");
	a.request.entries[0].hash_name = "SHA384";
	a.request.entries[0].has_init_data = true;
	assert_refused(&a, TOKEN_EAR, REFUSE_ARGUMENT, "verification_requests[0].init_data");
	a.request.entry_count = 0;
	assert_refused(&a, TOKEN_EAR, REFUSE_EVALUATION, "");
	asked_release(&a);
}

static void sample_evidence_needs_all_its_members(void **state)
{
	static const char *const cases[] = {
		"{\"report_data\":\"" REPORT_DATA "\",\"svn\":\"1\"}",
		"{" MEASURE ",\"report_data\":\"" REPORT_DATA "\"}",
		"{" MEASURE ",\"svn\":\"1\"}",
		"{\"measure_register\":\"00\",\"report_data\":\"" REPORT_DATA "\",\"svn\":\"1\"}",
		"{\"cc_eventlog\":\"AAAA\"," MEASURE ",\"report_data\":\"" REPORT_DATA "\",\"svn\":\"1\"}",
		"[]",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct asked a;

		ask(&a, cases[i], RUNTIME_DATA);
		assert_refused(&a, TOKEN_EAR, REFUSE_EVALUATION, "");
		asked_release(&a);
	}
}

static void another_measurement_is_contraindicated(void **state)
{
	static const char evidence[] = "{\"cc_eventlog\":null,\"measure_register\":\""
				       "1000000000000000000000000000000000000000000000000000000000000000\","
				       "\"report_data\":\"" REPORT_DATA "\",\"svn\":\"1\"}";
	struct refusal why;
	struct asked a;
	struct json *j;

	(void)state;
	ask(&a, evidence, RUNTIME_DATA);
	j = run(&a, TOKEN_EAR, FAULT_NONE, &why);
	assert_non_null(j);
	assert_string_equal(json_string(json_member(json_at(j, "submods/cpu0"), "ear.status")), "contraindicated");
	json_free(j);
	assert_refused(&a, TOKEN_SIMPLE, REFUSE_EVALUATION, "");
	asked_release(&a);
}

static void devices_are_submods_of_their_own_and_rest_only(void **state)
{
	struct refusal why;
	struct asked a;
	struct json *j;
	struct buf device = { 0 };

	(void)state;
	ask(&a, GOOD_EVIDENCE, RUNTIME_DATA);
	base64url_encode(bytes_str("{\"report_data\":\"\",\"svn\":\"2\"}"), &device);
	a.request.entries[1].tee = "sampledevice";
	a.request.entries[1].evidence = buf_str(&device);
	a.request.entry_count = 2;
	j = run(&a, TOKEN_EAR, FAULT_NONE, &why);
	assert_non_null(j);
	assert_string_equal(json_string(json_member(json_at(j, "submods/gpu0"), "ear.status")), "affirming");
	json_free(j);
	a.request.knows_sampledevice = false;
	assert_refused(&a, TOKEN_EAR, REFUSE_TEE, "verification_requests[1].tee");
	buf_release(&device);
	asked_release(&a);
}

static void challenges_are_checked_before_the_evidence(void **state)
{
	struct buf challenge = { 0 };
	struct json *answer;
	struct asked a;
	struct err e;
	char *runtime;

	(void)state;
	ask(&a, GOOD_EVIDENCE, "{\"challenge_token\":\"dummy nonce\"}");
	assert_refused(&a, TOKEN_EAR, REFUSE_CHALLENGE, "verification_requests[0].runtime_data.challenge_token");
	asked_release(&a);

	/* one that is ours gets past, to the evidence, which is over something else */
	assert_int_equal(mint_challenge(mint, NOW, &challenge, &e), 0);
	answer = json_parse(buf_bytes(&challenge), JSON_STRICT, &e);
	runtime = mem_format("{\"challenge_token\":\"%s\"}", json_string(json_at(answer, "extra-params/jwt")));
	ask(&a, GOOD_EVIDENCE, runtime);
	assert_refused(&a, TOKEN_EAR, REFUSE_EVALUATION, "");
	a.request.now_unix = NOW + 301;
	assert_refused(&a, TOKEN_EAR, REFUSE_CHALLENGE, "verification_requests[0].runtime_data.challenge_token");
	asked_release(&a);

	/* a member that is no string is ignored */
	ask(&a, GOOD_EVIDENCE, "{\"challenge_token\":1}");
	assert_refused(&a, TOKEN_EAR, REFUSE_EVALUATION, "");
	asked_release(&a);
	free(runtime);
	json_free(answer);
	buf_release(&challenge);
}

static void faults_show_in_the_claims(void **state)
{
	struct refusal why;
	struct asked a;
	struct json *j;
	int64_t exp;

	(void)state;
	ask(&a, GOOD_EVIDENCE, RUNTIME_DATA);
	assert_null(run(&a, TOKEN_EAR, FAULT_REFUSE, &why));
	assert_null(run(&a, TOKEN_SIMPLE, FAULT_WRONG_MEASUREMENT, &why));

	j = run(&a, TOKEN_EAR, FAULT_WRONG_MEASUREMENT, &why);
	assert_string_equal(json_string(json_member(json_at(j, "submods/cpu0"), "ear.status")), "contraindicated");
	json_free(j);
	j = run(&a, TOKEN_EAR, FAULT_WRONG_POLICY, &why);
	assert_string_not_equal(json_string(json_member(json_at(j, "submods/cpu0"), "ear.appraisal-policy-id")),
				"default");
	json_free(j);
	j = run(&a, TOKEN_SIMPLE, FAULT_WRONG_KEY, &why);
	assert_non_null(json_at(j, "customized_claims/runtime_data/pubkey-hash"));
	assert_false(json_equal(json_at(j, "customized_claims/runtime_data"), a.runtime));
	json_free(j);
	j = run(&a, TOKEN_EAR, FAULT_EXPIRED, &why);
	assert_true(json_integer(json_member(j, "exp"), 0, NOW - 120, &exp));
	json_free(j);
	asked_release(&a);
}

static int make_mint(void **state)
{
	struct err e;

	(void)state;
	mint = mint_new(NOW, &e);
	return mint == NULL ? -1 : 0;
}

static int free_mint(void **state)
{
	(void)state;
	mint_free(mint);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_evidence_gives_an_affirming_ear_token),
		cmocka_unit_test(simple_tokens_name_every_policy),
		cmocka_unit_test(unknown_policies_are_refused_where_they_are_evaluated),
		cmocka_unit_test(evidence_that_is_bound_to_something_else_is_refused),
		cmocka_unit_test(the_digest_is_that_of_canonical_json),
		cmocka_unit_test(raw_runtime_data_are_compared_as_they_are),
		cmocka_unit_test(malformed_entries_are_refused_with_their_place),
		cmocka_unit_test(sample_evidence_needs_all_its_members),
		cmocka_unit_test(another_measurement_is_contraindicated),
		cmocka_unit_test(devices_are_submods_of_their_own_and_rest_only),
		cmocka_unit_test(challenges_are_checked_before_the_evidence),
		cmocka_unit_test(faults_show_in_the_claims),
	};

	return cmocka_run_group_tests(tests, make_mint, free_mint);
}
