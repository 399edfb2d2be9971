/* SPDX-License-Identifier: Apache-2.0 */
/* verdict_key - nobody profits from a verdict that rests on anything else. */
#include "../vectors.h"

#include "attest/verdict_key.h"
#include "base/clock.h"
#include "lab/mint.h"

static char *one_policy[] = { "default" };
static char *two_policies[] = { "default", "second" };
static struct header_conf headers[] = { { "Authorization", "Bearer abc" } };

static struct verify_conf conf;
static struct verdict_basis basis;
static uint8_t usual[32];

static int set_up(void **state)
{
	(void)state;
	conf = (struct verify_conf){
		.model = MODEL_BACKGROUND_CHECK,
		.as = { .type = AS_RESTFUL, .addr = "http://as", .policy_ids = { one_policy, 1 } },
		.verdict_max_age_s = 60,
	};
	basis = (struct verdict_basis){
		.name = "add_ingress[0].verify",
		.conf = &conf,
		.binding = BINDING_CURRENT,
		.trust = TOKEN_TRUST_ANCHORS,
	};
	verdict_basis_hash(&basis, usual);
	return 0;
}

static bool is_usual(void)
{
	uint8_t hash[32];

	verdict_basis_hash(&basis, hash);
	return memcmp(hash, usual, sizeof(hash)) == 0;
}

static void the_same_basis_has_the_same_hash(void **state)
{
	struct verify_conf copy = conf;

	(void)state;
	basis.conf = &copy;
	assert_true(is_usual());
}

static void another_entry_differs(void **state)
{
	(void)state;
	basis.name = "add_ingress[1].verify";
	assert_false(is_usual());
}

static void another_binding_or_endorsement_differs(void **state)
{
	(void)state;
	basis.binding = BINDING_BOTH;
	assert_false(is_usual());
	basis.binding = BINDING_CURRENT;
	basis.trust = TOKEN_TRUST_EMBEDDED;
	assert_false(is_usual());
}

static void another_model_or_age_or_builtin_policy_differs(void **state)
{
	(void)state;
	conf.model = MODEL_PASSPORT;
	assert_false(is_usual());
	conf.model = MODEL_BACKGROUND_CHECK;
	conf.verdict_max_age_s = 61;
	assert_false(is_usual());
	conf.verdict_max_age_s = 60;
	conf.builtin_policy = conf.builtin_policy == POLICY_TRUST_ALL ? POLICY_HARDWARE_ONLY : POLICY_TRUST_ALL;
	assert_false(is_usual());
}

static void another_service_differs(void **state)
{
	(void)state;
	conf.as.addr = "http://other";
	assert_false(is_usual());
	conf.as.addr = "http://as";
	conf.as.type = AS_GRPC;
	assert_false(is_usual());
	conf.as.type = AS_RESTFUL;
	conf.as.headers = headers;
	conf.as.header_count = 1;
	assert_false(is_usual());
}

static void another_policy_differs(void **state)
{
	(void)state;
	conf.as.policy_ids = (struct string_list){ two_policies, 2 };
	assert_false(is_usual());
}

/* "ab" and "c" are not "a" and "bc", and a header is no policy. */
static void where_a_field_ends_makes_a_difference(void **state)
{
	char *one[] = { "ab", "c" };
	char *other[] = { "a", "bc" };
	char *joined[] = { "ab,1:c" };
	uint8_t first[32];
	uint8_t second[32];

	(void)state;
	conf.as.policy_ids = (struct string_list){ one, 2 };
	verdict_basis_hash(&basis, first);
	conf.as.policy_ids = (struct string_list){ other, 2 };
	verdict_basis_hash(&basis, second);
	assert_memory_not_equal(first, second, sizeof(first));
	conf.as.policy_ids = (struct string_list){ joined, 1 };
	verdict_basis_hash(&basis, second);
	assert_memory_not_equal(first, second, sizeof(first));
}

static void other_anchors_differ(void **state)
{
	struct err e;
	struct mint *mint = mint_new(clock_unix(), &e);
	struct cert_list anchors = { 0 };
	struct buf pem = { 0 };

	(void)state;
	basis.anchors = &anchors;
	assert_true(is_usual()); /* none yet */
	mint_ca_pem(mint, &pem);
	assert_int_equal(cert_list_add_pem(&anchors, buf_bytes(&pem), &e), 0);
	assert_false(is_usual());
	cert_list_release(&anchors);
	buf_release(&pem);
	mint_free(mint);
}

static void a_key_is_of_one_certificate_and_one_basis(void **state)
{
	uint8_t cert[32] = { 1 };
	uint8_t other[32] = { 2 };
	uint8_t key[VERDICT_KEY_LEN];
	uint8_t again[VERDICT_KEY_LEN];

	(void)state;
	verdict_key_make(usual, cert, key);
	verdict_key_make(usual, cert, again);
	assert_memory_equal(key, again, sizeof(key));
	verdict_key_make(usual, other, again);
	assert_memory_not_equal(key, again, sizeof(key));
	verdict_key_make(other, cert, again);
	assert_memory_not_equal(key, again, sizeof(key));
	verdict_key_make(cert, usual, again);
	assert_memory_not_equal(key, again, sizeof(key));
}

#define TEST(f) cmocka_unit_test_setup(f, set_up)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_same_basis_has_the_same_hash),
		TEST(another_entry_differs),
		TEST(another_binding_or_endorsement_differs),
		TEST(another_model_or_age_or_builtin_policy_differs),
		TEST(another_service_differs),
		TEST(another_policy_differs),
		TEST(where_a_field_ends_makes_a_difference),
		TEST(other_anchors_differ),
		TEST(a_key_is_of_one_certificate_and_one_basis),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
