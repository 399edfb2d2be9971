/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/cbor.h"

#include "../vectors.h"

/* Steps over what the hex says; true when it is one well-formed value and nothing else. */
static bool is_one_value(const char *hex)
{
	struct buf b = { 0 };
	struct cbor_reader r;
	bool ok;

	hex_to_buf(hex, &b);
	r = cbor_reader_of(buf_bytes(&b));
	cbor_skip(&r);
	ok = cbor_at_end(&r);
	buf_release(&b);
	return ok;
}

/* RFC 8949, appendix A */
static const char *const well_formed[] = {
	"00",
	"01",
	"0a",
	"17",
	"1818",
	"1864",
	"1903e8",
	"1a000f4240",
	"1b000000e8d4a51000",
	"1bffffffffffffffff",
	"c249010000000000000000",
	"3bffffffffffffffff",
	"20",
	"3903e7",
	"f90000",
	"fa47c35000",
	"fb3ff199999999999a",
	"f4",
	"f5",
	"f6",
	"f7",
	"f0",
	"f8ff",
	"c074323031332d30332d32315432303a30343a30305a",
	"d74401020304",
	"40",
	"4401020304",
	"60",
	"6161",
	"62c3bc",
	"80",
	"83010203",
	"8301820203820405",
	"a0",
	"a201020304",
	"a26161016162820203",
	"5f42010243030405ff",
	"7f657374726561646d696e67ff",
	"9fff",
	"9f018202039f0405ffff",
	"bf61610161629f0203ffff",
};

static void values_of_every_kind_are_stepped_over(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(well_formed); i++) {
		if (!is_one_value(well_formed[i]))
			fail_msg("refused %s", well_formed[i]);
	}
}

static void a_value_cut_short_is_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(well_formed); i++) {
		char *hex = mem_strdup(well_formed[i]);

		for (size_t len = strlen(hex); len >= 2; len -= 2) {
			hex[len - 2] = '\0';
			if (is_one_value(hex))
				fail_msg("accepted %s", hex);
		}
		free(hex);
	}
}

/* RFC 8949, appendix F */
static void what_is_not_well_formed_is_refused(void **state)
{
	static const char *const wrong[] = {
		"1c",		"1d",		"1e",
		"3c",		"5c",		"7d",
		"9e",		"bc",		"dd",
		"fe", /* reserved */
		"f800",		"f801",		"f818",
		"f81f", /* two bytes for a simple value below 32 */
		"5f00ff",	"5f21ff",	"5f6100ff",
		"5f80ff",	"5fa0ff",	"5fc000ff",
		"5fe0ff",	"7f4100ff",	/* chunks */
		"5f5f4100ffff", "7f7f6100ffff", /* nested chunks */
		"ff",		"81ff",		"8200ff",
		"a1ff",		"a1ff00",	"a100ff",
		"a20000ff",	"9f81ff",	"9f829f819f9fffffffff",
		"bf00ff",	"bf000000ff", /* odd number in a map */
		"1f",		"3f",		"df",
		"1fff",		"dfff",		"ffff",
		"81ffff", /* no indefinite form */
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		if (is_one_value(wrong[i]))
			fail_msg("accepted %s", wrong[i]);
	}
}

static void values_are_stepped_over_up_to_the_depth(void **state)
{
	static const char *const openers[] = { "81", "c1", "9f", "bf00" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(openers); i++) {
		for (int depth = CBOR_MAX_DEPTH - 1; depth <= CBOR_MAX_DEPTH; depth++) {
			struct buf hex = { 0 };

			for (int d = 0; d < depth; d++)
				buf_append_str(&hex, openers[i]);
			buf_append_str(&hex, "00");
			for (int d = 0; d < depth && i >= 2; d++)
				buf_append_str(&hex, "ff");
			assert_int_equal(is_one_value(buf_str(&hex)), depth < CBOR_MAX_DEPTH);
			buf_release(&hex);
		}
	}
}

static void lengths_beyond_the_end_are_refused(void **state)
{
	static const char *const wrong[] = { "5bffffffffffffffff00", "7affffffff00",	     "9bffffffffffffffff00",
					     "bbffffffffffffffff00", "bb800000000000000000", "5a00000002ff" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
		assert_false(is_one_value(wrong[i]));
}

static void what_is_written_is_read(void **state)
{
	static const uint64_t numbers[] = {
		0, 23, 24, 255, 256, 65535, 65536, UINT32_MAX, (uint64_t)UINT32_MAX + 1, UINT64_MAX
	};
	struct buf b = { 0 };
	struct buf bytes = { 0 };
	struct cbor_reader r;

	(void)state;
	cbor_write_tag(&b, 0xC0C000);
	cbor_write_array(&b, ARRAY_SIZE(numbers) + 4);
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
		cbor_write_unsigned(&b, numbers[i]);
	cbor_write_text(&b, bytes_str("text"));
	cbor_write_bytes(&b, bytes_str("bytes"));
	cbor_write_null(&b);
	cbor_write_map(&b, 0);

	r = cbor_reader_of(buf_bytes(&b));
	assert_int_equal(cbor_read_tag(&r), 0xC0C000);
	assert_int_equal(cbor_read_array(&r), ARRAY_SIZE(numbers) + 4);
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
		assert_true(cbor_read_unsigned(&r) == numbers[i]);
	assert_true(bytes_equal_str(cbor_read_text(&r), "text"));
	assert_false(cbor_read_null(&r));
	cbor_read_bytes(&r, &bytes);
	assert_string_equal(buf_str(&bytes), "bytes");
	assert_true(cbor_read_null(&r));
	assert_false(cbor_read_null(&r));
	assert_int_equal(cbor_read_map(&r), 0);
	assert_true(cbor_at_end(&r));
	cbor_read_unsigned(&r);
	assert_true(r.in.failed);
	assert_false(cbor_at_end(&r));
	buf_release(&b);
	buf_release(&bytes);
}

static void the_shortest_form_is_written(void **state)
{
	static const struct {
		uint64_t value;
		const char *hex;
	} cases[] = { { 23, "17" },	 { 24, "1818" },	  { 255, "18ff" },
		      { 256, "190100" }, { 65536, "1a00010000" }, { (uint64_t)1 << 32, "1b0000000100000000" } };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct buf b = { 0 };
		struct buf expected = { 0 };

		cbor_write_unsigned(&b, cases[i].value);
		hex_to_buf(cases[i].hex, &expected);
		assert_bytes_equal(buf_bytes(&b), buf_bytes(&expected));
		buf_release(&b);
		buf_release(&expected);
	}
}

static void byte_strings_in_chunks_are_joined(void **state)
{
	struct buf in = { 0 };
	struct buf out = { 0 };
	struct cbor_reader r;

	(void)state;
	hex_to_buf("5f42010240580103ff5fff", &in);
	r = cbor_reader_of(buf_bytes(&in));
	cbor_read_bytes(&r, &out);
	assert_bytes_equal(buf_bytes(&out), bytes_of("\x01\x02\x03", 3));
	cbor_read_bytes(&r, &out);
	assert_int_equal(out.len, 3);
	assert_true(cbor_at_end(&r));
	buf_release(&in);
	buf_release(&out);
}

static void another_kind_than_asked_for_is_refused(void **state)
{
	static const char *const wrong_bytes[] = { "00", "6161", "80", "f6", "5f6161ff", "5f5f4100ffff", "5f4101", "" };
	static const char *const wrong_text[] = { "00", "4161", "7f6161ff", "61ff", "62c328", "63eda080", "6261", "" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(wrong_bytes); i++) {
		struct buf in = { 0 };
		struct buf out = { 0 };
		struct cbor_reader r;

		hex_to_buf(wrong_bytes[i], &in);
		r = cbor_reader_of(buf_bytes(&in));
		cbor_read_bytes(&r, &out);
		if (!r.in.failed)
			fail_msg("accepted %s", wrong_bytes[i]);
		buf_clear(&in);
		hex_to_buf(wrong_text[i], &in);
		r = cbor_reader_of(buf_bytes(&in));
		assert_int_equal(cbor_read_text(&r).len, 0);
		if (!r.in.failed)
			fail_msg("accepted %s", wrong_text[i]);
		buf_release(&in);
		buf_release(&out);
	}
}

static void a_repeated_key_is_refused(void **state)
{
	struct buf in = { 0 };
	struct cbor_keys keys = { .count = 0 };
	struct cbor_reader r;

	(void)state;
	hex_to_buf("6161616260616261ff", &in);
	r = cbor_reader_of(buf_bytes(&in));
	assert_true(bytes_equal_str(cbor_read_key(&r, &keys), "a"));
	assert_true(bytes_equal_str(cbor_read_key(&r, &keys), "b"));
	assert_int_equal(cbor_read_key(&r, &keys).len, 0);
	assert_false(r.in.failed); /* the empty text is a key as well */
	assert_int_equal(cbor_read_key(&r, &keys).len, 0);
	assert_true(r.in.failed);
	buf_release(&in);
}

static void a_map_with_too_many_keys_is_refused(void **state)
{
	struct buf in = { 0 };
	struct cbor_keys keys = { .count = 0 };
	struct cbor_reader r;

	(void)state;
	for (int i = 0; i <= CBOR_MAX_KEYS; i++) {
		char name[16];

		snprintf(name, sizeof(name), "%d", i);
		cbor_write_text(&in, bytes_str(name));
	}
	r = cbor_reader_of(buf_bytes(&in));
	for (int i = 0; i < CBOR_MAX_KEYS; i++)
		cbor_read_key(&r, &keys);
	assert_false(r.in.failed);
	cbor_read_key(&r, &keys);
	assert_true(r.in.failed);
	buf_release(&in);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(values_of_every_kind_are_stepped_over),
		cmocka_unit_test(a_value_cut_short_is_refused),
		cmocka_unit_test(what_is_not_well_formed_is_refused),
		cmocka_unit_test(values_are_stepped_over_up_to_the_depth),
		cmocka_unit_test(lengths_beyond_the_end_are_refused),
		cmocka_unit_test(what_is_written_is_read),
		cmocka_unit_test(the_shortest_form_is_written),
		cmocka_unit_test(byte_strings_in_chunks_are_joined),
		cmocka_unit_test(another_kind_than_asked_for_is_refused),
		cmocka_unit_test(a_repeated_key_is_refused),
		cmocka_unit_test(a_map_with_too_many_keys_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
