/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/jwt.h"

#include "../vectors.h"

static void a_token_is_taken_apart(void **state)
{
	struct jwt j;
	struct err e;

	(void)state;
	assert_int_equal(jwt_split(bytes_str("eyJhbGciOiJFUzI1NiJ9.e30.AA"), &j, &e), 0);
	assert_true(bytes_equal_str(j.signed_text, "eyJhbGciOiJFUzI1NiJ9.e30"));
	assert_true(bytes_equal_str(buf_bytes(&j.header), "{\"alg\":\"ES256\"}"));
	assert_true(bytes_equal_str(buf_bytes(&j.payload), "{}"));
	assert_bytes_equal(buf_bytes(&j.signature), bytes_of("\0", 1));
	jwt_release(&j);
}

static void parts_may_be_empty(void **state)
{
	struct jwt j;
	struct err e;

	(void)state;
	assert_int_equal(jwt_split(bytes_str(".."), &j, &e), 0);
	assert_true(bytes_equal_str(j.signed_text, "."));
	assert_int_equal(j.signature.len, 0);
	jwt_release(&j);
}

static void what_is_no_compact_token_is_refused(void **state)
{
	static const char *const wrong[] = {
		"",
		".",
		"e30",
		"e30.e30",
		"e30.e30.AA.",
		"e30.e30.AA.AA.AA",
		"e30.e30.AA\n",
		" e30.e30.AA",
		"e30=.e30.AA",
		"e30.e3+.AA",
		"e30.e3.AA",
		"e30.e30.A",
		"e30.e30.AB",
		"...",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		struct jwt j;
		struct err e = { 0 };

		if (jwt_split(bytes_str(wrong[i]), &j, &e) == 0)
			fail_msg("accepted '%s'", wrong[i]);
		assert_int_equal(e.kind, ERR_PEER);
		assert_null(j.header.data);
	}
}

static int split_of_size(size_t header, size_t payload)
{
	struct buf text = { 0 };
	struct jwt j;
	struct err e = { 0 };
	int rc;

	memset(buf_reserve(&text, header + payload + 2), 'A', header + payload + 2);
	text.len = header + payload + 2;
	text.data[header] = '.';
	text.data[header + 1 + payload] = '.';
	rc = jwt_split(buf_bytes(&text), &j, &e);
	if (rc != 0)
		assert_int_equal(e.kind, ERR_LIMIT);
	jwt_release(&j);
	buf_release(&text);
	return rc;
}

static void a_token_or_header_over_its_limit_is_refused(void **state)
{
	(void)state;
	assert_int_equal(split_of_size(4, JWT_MAX_SIZE - 8), 0);
	assert_int_equal(split_of_size(4, JWT_MAX_SIZE - 4), -1);
	assert_int_equal(split_of_size(JWT_MAX_HEADER / 3 * 4, 4), 0);
	assert_int_equal(split_of_size(JWT_MAX_HEADER / 3 * 4 + 8, 4), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_token_is_taken_apart),
		cmocka_unit_test(parts_may_be_empty),
		cmocka_unit_test(what_is_no_compact_token_is_refused),
		cmocka_unit_test(a_token_or_header_over_its_limit_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
