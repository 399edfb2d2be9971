/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/digest.h"

#include "../vectors.h"

/* FIPS 180-4, "abc". */
static void the_published_vectors_pass(void **state)
{
	static const struct {
		enum digest_algorithm alg;
		const char *name;
		const char *hex;
	} cases[] = {
		{ DIGEST_SHA256, "sha256", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" },
		{ DIGEST_SHA384, "sha384",
		  "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7" },
		{ DIGEST_SHA512, "sha512",
		  "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd"
		  "454d4423643ce80e2a9ac94fa54ca49f" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint8_t out[DIGEST_MAX_LEN];
		char *hex;

		digest_compute(cases[i].alg, bytes_str("abc"), out);
		hex = bytes_to_hex(bytes_of(out, digest_len(cases[i].alg)));
		assert_string_equal(hex, cases[i].hex);
		assert_string_equal(digest_name(cases[i].alg), cases[i].name);
		free(hex);
	}
}

static void nothing_has_a_hash_too(void **state)
{
	uint8_t out[32];
	char *hex;

	(void)state;
	digest_compute(DIGEST_SHA256, bytes_of(NULL, 0), out);
	hex = bytes_to_hex(bytes_of(out, sizeof(out)));
	assert_string_equal(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
	free(hex);
}

static void random_bytes_fill_all_of_it_and_differ(void **state)
{
	static uint8_t a[(1 << 20) + 32];
	uint8_t b[32] = { 0 };

	(void)state;
	random_bytes(a, sizeof(a));
	random_bytes(b, sizeof(b));
	assert_memory_not_equal(a + sizeof(a) - 32, b, sizeof(b));
	assert_memory_not_equal(a + sizeof(a) - 32, (uint8_t[32]){ 0 }, sizeof(b));
	random_bytes(b, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_published_vectors_pass),
		cmocka_unit_test(nothing_has_a_hash_too),
		cmocka_unit_test(random_bytes_fill_all_of_it_and_differ),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
