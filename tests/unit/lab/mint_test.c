/* SPDX-License-Identifier: Apache-2.0 */
/* Tokens of the lab before the judge: token_verify(). */
#include "lab/mint.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "attest/evidence.h"
#include "attest/token.h"
#include "crypto/cert.h"
#include "crypto/key.h"

#define NOW 1795275289

static struct {
	struct mint *mint;
	struct cert_list anchors; /* the authority */
	struct cert_list chain;	  /* of /certificate, EAR */
	struct buf spki;
	struct key_binding bindings[2]; /* current and legacy form */
	struct json *evidence;
	struct json *runtime[2];
} f;

static char *default_id[] = { (char *)"default" };
static const struct string_list default_policy = { default_id, 1 };

static int set_up(void **state)
{
	static const char evidence[] =
		"{\"cc_eventlog\":null,\"measure_register\":\"00\",\"report_data\":\"\",\"svn\":\"1\"}";
	static const enum binding forms[] = { BINDING_CURRENT, BINDING_LEGACY };
	struct buf pem = { 0 };
	struct err e;
	struct key *k = key_new_p256(&e);

	(void)state;
	f.mint = mint_new(NOW, &e);
	if (k == NULL || f.mint == NULL || key_spki(k, &f.spki, &e) < 0)
		return -1;
	mint_ca_pem(f.mint, &pem);
	if (cert_list_add_pem(&f.anchors, buf_bytes(&pem), &e) < 0)
		return -1;
	buf_clear(&pem);
	mint_chain_pem(f.mint, TOKEN_EAR, &pem);
	if (cert_list_add_pem(&f.chain, buf_bytes(&pem), &e) < 0)
		return -1;
	for (int i = 0; i < 2; i++) {
		if (key_binding_make(buf_bytes(&f.spki), forms[i], &f.bindings[i], &e) < 0)
			return -1;
		f.runtime[i] = json_parse(buf_bytes(&f.bindings[i].runtime_data), JSON_STRICT, &e);
	}
	f.evidence = json_parse(bytes_str(evidence), JSON_STRICT, &e);
	buf_release(&pem);
	key_free(k);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	mint_free(f.mint);
	cert_list_release(&f.anchors);
	cert_list_release(&f.chain);
	buf_release(&f.spki);
	for (int i = 0; i < 2; i++) {
		key_binding_release(&f.bindings[i]);
		json_free(f.runtime[i]);
	}
	json_free(f.evidence);
	return 0;
}

/* What a test changes before the token is made. */
struct order {
	struct mint_entry entry;
	const char *policy_ids[1];
	struct mint_options options;
};

static void order_init(struct order *o, enum token_form form)
{
	*o = (struct order){
		.entry = { .tee = "sample", .evidence = f.evidence, .runtime_data = f.runtime[0], .affirming = true },
		.policy_ids = { "default" },
	};
	o->options = (struct mint_options){
		.form = form,
		.now_unix = NOW,
		.lifetime_s = 300,
		.entries = &o->entry,
		.entry_count = 1,
		.policy_ids = o->policy_ids,
		.policy_count = 1,
	};
}

static struct token_rules usual_rules(void)
{
	return (struct token_rules){
		.trust = TOKEN_TRUST_ANCHORS,
		.anchors = &f.anchors,
		.policy_ids = &default_policy,
		.binding = BINDING_CURRENT,
		.spki = buf_bytes(&f.spki),
		.now_unix = NOW,
	};
}

/* REASON_COUNT for a token that is accepted. */
static enum reason judge(const struct order *o, const struct token_rules *rules)
{
	struct token_claims claims;
	struct buf jwt = { 0 };
	enum reason reason = REASON_COUNT;
	struct err e;

	if (mint_token(f.mint, &o->options, &jwt, &e) < 0)
		fail_msg("%s", e.text);
	if (token_verify(buf_bytes(&jwt), rules, &claims, &reason, &e) == 0) {
		reason = REASON_COUNT;
		assert_string_equal(claims.policies, "default");
		assert_int_equal(claims.expires_unix, NOW + 300);
	}
	buf_release(&jwt);
	return reason;
}

#define ACCEPTED REASON_COUNT

static const enum token_form both_forms[] = { TOKEN_EAR, TOKEN_SIMPLE };

static void a_token_is_accepted_by_whoever_trusts_the_authority(void **state)
{
	struct token_rules rules = usual_rules();
	struct order o;

	(void)state;
	for (int i = 0; i < 2; i++) {
		order_init(&o, both_forms[i]);
		rules.anchors = &f.anchors;
		assert_int_equal(judge(&o, &rules), ACCEPTED);
		rules.anchors = &f.chain;
		assert_int_equal(judge(&o, &rules), ACCEPTED);
		o.options.padded_x5c = true;
		assert_int_equal(judge(&o, &rules), ACCEPTED);
	}
}

static void the_binding_of_old_gateways_travels_through(void **state)
{
	struct token_rules rules = usual_rules();
	struct order o;

	(void)state;
	order_init(&o, TOKEN_SIMPLE);
	o.entry.runtime_data = f.runtime[1];
	assert_int_equal(judge(&o, &rules), REASON_BINDING_MISMATCH);
	rules.binding = BINDING_LEGACY;
	rules.claims_buffer = buf_bytes(&f.bindings[1].claims_buffer);
	assert_int_equal(judge(&o, &rules), ACCEPTED);
	o.options.wrong_key = true;
	assert_int_equal(judge(&o, &rules), REASON_BINDING_MISMATCH);
}

static void each_fault_is_refused_for_its_own_reason(void **state)
{
	(void)state;
	for (int i = 0; i < 2; i++) {
		struct token_rules rules = usual_rules();
		struct order o;

		order_init(&o, both_forms[i]);
		o.options.expired = true;
		assert_int_equal(judge(&o, &rules), REASON_TOKEN_EXPIRED);

		order_init(&o, both_forms[i]);
		o.options.wrong_policy = true;
		assert_int_equal(judge(&o, &rules), REASON_TOKEN_POLICY);

		order_init(&o, both_forms[i]);
		o.options.wrong_key = true;
		assert_int_equal(judge(&o, &rules), REASON_BINDING_MISMATCH);

		order_init(&o, both_forms[i]);
		o.options.wrong_signature = true;
		assert_int_equal(judge(&o, &rules), REASON_TOKEN_SIGNATURE);

		order_init(&o, both_forms[i]);
		o.options.untrusted = true;
		assert_int_equal(judge(&o, &rules), REASON_TOKEN_UNTRUSTED);

		order_init(&o, both_forms[i]);
		o.options.no_x5c = true;
		assert_int_equal(judge(&o, &rules), REASON_TOKEN_UNTRUSTED);
	}
}

static void ear_tokens_say_when_they_do_not_affirm(void **state)
{
	struct token_rules rules = usual_rules();
	struct order o;

	(void)state;
	order_init(&o, TOKEN_EAR);
	o.entry.affirming = false;
	assert_int_equal(judge(&o, &rules), REASON_TOKEN_STATUS);
}

static void the_signer_has_no_extensions_and_the_authority_is_one(void **state)
{
	struct bytes ignored;

	(void)state;
	assert_int_equal(f.chain.count, 2);
	assert_false(cert_extension(f.chain.items[0], "2.5.29.19", &ignored));
	assert_false(cert_extension(f.chain.items[0], "2.5.29.15", &ignored));
	assert_true(cert_extension(f.chain.items[1], "2.5.29.19", &ignored));
	assert_true(bytes_equal(cert_der(f.chain.items[1]), cert_der(f.anchors.items[0])));
}

static void a_mint_for_one_form_learns_the_other(void **state)
{
	struct mint *m;
	struct buf out = { 0 };
	struct order o;
	struct err e;

	(void)state;
	m = mint_new_for(TOKEN_EAR, NOW, &e);
	assert_non_null(m);
	order_init(&o, TOKEN_SIMPLE);
	assert_int_equal(mint_token(m, &o.options, &out, &e), -1);
	assert_int_equal(mint_challenge(m, NOW, &out, &e), -1);
	assert_int_equal(out.len, 0);
	assert_int_equal(mint_prepare(m, TOKEN_SIMPLE, &e), 0);
	assert_int_equal(mint_token(m, &o.options, &out, &e), 0);
	buf_release(&out);
	mint_free(m);
}

static void challenges_are_those_of_this_service_and_young(void **state)
{
	struct buf answer = { 0 };
	struct buf token = { 0 };
	struct order o;
	struct json *j;
	struct err e;
	const char *jwt;
	struct mint *other = mint_new(NOW, &e);

	(void)state;
	assert_non_null(other);
	assert_int_equal(mint_challenge(f.mint, NOW, &answer, &e), 0);
	j = json_parse(buf_bytes(&answer), JSON_STRICT, &e);
	assert_int_equal(strlen(json_string(json_member(j, "nonce"))), 44);
	jwt = json_string(json_at(j, "extra-params/jwt"));
	assert_non_null(jwt);
	assert_int_equal(mint_check_challenge(f.mint, bytes_str(jwt), NOW + 300, &e), 0);
	assert_int_equal(mint_check_challenge(f.mint, bytes_str(jwt), NOW + 301, &e), -1);
	assert_int_equal(mint_check_challenge(other, bytes_str(jwt), NOW, &e), -1);
	assert_int_equal(mint_check_challenge(f.mint, bytes_of(jwt, strlen(jwt) - 1), NOW, &e), -1);
	assert_int_equal(mint_check_challenge(f.mint, bytes_str("dummy nonce"), NOW, &e), -1);
	assert_int_equal(mint_check_challenge(f.mint, bytes_str(""), NOW, &e), -1);

	/* a token of the same key is no challenge */
	order_init(&o, TOKEN_SIMPLE);
	assert_int_equal(mint_token(f.mint, &o.options, &token, &e), 0);
	assert_int_equal(mint_check_challenge(f.mint, buf_bytes(&token), NOW, &e), -1);
	buf_release(&token);
	json_free(j);
	buf_release(&answer);
	mint_free(other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_token_is_accepted_by_whoever_trusts_the_authority),
		cmocka_unit_test(the_binding_of_old_gateways_travels_through),
		cmocka_unit_test(each_fault_is_refused_for_its_own_reason),
		cmocka_unit_test(ear_tokens_say_when_they_do_not_affirm),
		cmocka_unit_test(the_signer_has_no_extensions_and_the_authority_is_one),
		cmocka_unit_test(a_mint_for_one_form_learns_the_other),
		cmocka_unit_test(challenges_are_those_of_this_service_and_young),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
