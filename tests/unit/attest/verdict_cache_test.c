/* SPDX-License-Identifier: Apache-2.0 */
/* verdict_cache - lifetime, bound and eviction, at times that the test names. */
#include "../vectors.h"

#include "attest/verdict_cache.h"

static void make_key(uint8_t key[VERDICT_KEY_LEN], unsigned i)
{
	memset(key, 0, VERDICT_KEY_LEN);
	memcpy(key, &i, sizeof(i));
	key[VERDICT_KEY_LEN - 1] = (uint8_t)(i >> 24);
}

static void put(struct verdict_cache *c, unsigned i, uint64_t expires_ms, uint64_t now_ms)
{
	struct verdict v = { .accepted = true, .expires_ms = expires_ms, .tee = "tdx" };
	uint8_t key[VERDICT_KEY_LEN];

	make_key(key, i);
	snprintf(v.policy, sizeof(v.policy), "policy %u", i);
	verdict_cache_put(c, key, &v, now_ms);
}

static bool get(struct verdict_cache *c, unsigned i, uint64_t now_ms)
{
	uint8_t key[VERDICT_KEY_LEN];
	struct verdict v;
	char policy[32];

	make_key(key, i);
	if (!verdict_cache_get(c, key, now_ms, &v))
		return false;
	snprintf(policy, sizeof(policy), "policy %u", i);
	assert_true(v.accepted);
	assert_string_equal(v.tee, "tdx");
	assert_string_equal(v.policy, policy);
	return true;
}

static void a_verdict_is_known_until_it_expires(void **state)
{
	struct verdict_cache *c = verdict_cache_new(8);

	(void)state;
	put(c, 1, 1000, 500);
	assert_true(get(c, 1, 500));
	assert_true(get(c, 1, 999));
	assert_false(get(c, 2, 999));
	assert_false(get(c, 1, 1000));
	assert_false(get(c, 1, 999)); /* forgotten */
	verdict_cache_free(c);
}

static void a_key_that_differs_in_its_last_byte_is_another(void **state)
{
	struct verdict_cache *c = verdict_cache_new(8);

	(void)state;
	put(c, 1, 1000, 500);
	assert_false(get(c, 1 | 1u << 24, 500));
	verdict_cache_free(c);
}

static void refusals_and_what_has_expired_are_not_kept(void **state)
{
	struct verdict_cache *c = verdict_cache_new(8);
	struct verdict refusal = { .reason = REASON_AS_REFUSED, .expires_ms = 1000 };
	uint8_t key[VERDICT_KEY_LEN];
	struct verdict v;

	(void)state;
	make_key(key, 1);
	verdict_cache_put(c, key, &refusal, 500);
	assert_false(verdict_cache_get(c, key, 500, &v));
	put(c, 2, 1000, 1000);
	assert_false(get(c, 2, 999));
	verdict_cache_free(c);
}

static void the_oldest_makes_room(void **state)
{
	struct verdict_cache *c = verdict_cache_new(100);

	(void)state;
	for (unsigned i = 0; i < 150; i++)
		put(c, i, 1000, 0);
	for (unsigned i = 0; i < 150; i++)
		assert_int_equal(get(c, i, 1), i >= 50);
	verdict_cache_free(c);
}

static void a_verdict_that_is_put_again_counts_once_and_is_the_youngest(void **state)
{
	struct verdict_cache *c = verdict_cache_new(2);

	(void)state;
	put(c, 1, 1000, 0);
	put(c, 2, 1000, 0);
	put(c, 1, 2000, 0);
	assert_true(get(c, 1, 1500));
	put(c, 3, 2000, 0);
	assert_false(get(c, 2, 0));
	assert_true(get(c, 1, 0));
	verdict_cache_free(c);
}

static void a_cache_of_no_entries_keeps_nothing(void **state)
{
	struct verdict_cache *c = verdict_cache_new(0);

	(void)state;
	put(c, 1, 1000, 0);
	assert_false(get(c, 1, 0));
	verdict_cache_free(c);
	verdict_cache_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_verdict_is_known_until_it_expires),
		cmocka_unit_test(a_key_that_differs_in_its_last_byte_is_another),
		cmocka_unit_test(refusals_and_what_has_expired_are_not_kept),
		cmocka_unit_test(the_oldest_makes_room),
		cmocka_unit_test(a_verdict_that_is_put_again_counts_once_and_is_the_youngest),
		cmocka_unit_test(a_cache_of_no_entries_keeps_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
