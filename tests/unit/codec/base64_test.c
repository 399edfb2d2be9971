/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/base64.h"

#include "../vectors.h"

typedef int decoder(struct bytes in, struct buf *out, struct err *e);

static void assert_decodes(decoder *decode, const char *text, const char *expected)
{
	struct buf out = { 0 };
	struct err e = { 0 };

	buf_append_str(&out, "x");
	assert_int_equal(decode(bytes_str(text), &out, &e), 0);
	assert_int_equal(out.len, strlen(expected) + 1);
	assert_string_equal(buf_str(&out) + 1, expected);
	buf_release(&out);
}

static void assert_refused(decoder *decode, const char *text)
{
	struct buf out = { 0 };
	struct err e = { 0 };

	buf_append_str(&out, "x");
	assert_int_equal(decode(bytes_str(text), &out, &e), -1);
	assert_int_equal(e.kind, ERR_PEER);
	assert_string_equal(buf_str(&out), "x");
	buf_release(&out);
}

/* RFC 4648, section 10. */
static const struct {
	const char *plain;
	const char *padded;
	const char *bare;
} published[] = {
	{ "", "", "" },
	{ "f", "Zg==", "Zg" },
	{ "fo", "Zm8=", "Zm8" },
	{ "foo", "Zm9v", "Zm9v" },
	{ "foob", "Zm9vYg==", "Zm9vYg" },
	{ "fooba", "Zm9vYmE=", "Zm9vYmE" },
	{ "foobar", "Zm9vYmFy", "Zm9vYmFy" },
};

static void the_published_vectors_pass_both_ways(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(published); i++) {
		struct buf out = { 0 };

		base64_encode(bytes_str(published[i].plain), &out);
		assert_string_equal(buf_str(&out), published[i].padded);
		buf_clear(&out);
		base64url_encode(bytes_str(published[i].plain), &out);
		assert_string_equal(buf_str(&out), published[i].bare);
		buf_release(&out);

		assert_decodes(base64_decode, published[i].padded, published[i].plain);
		assert_decodes(base64url_decode, published[i].bare, published[i].plain);
		assert_decodes(base64_decode_any, published[i].padded, published[i].plain);
		assert_decodes(base64_decode_any, published[i].bare, published[i].plain);
	}
}

static void every_byte_survives(void **state)
{
	uint8_t all[256];
	struct buf text = { 0 };
	struct buf back = { 0 };
	struct err e;

	(void)state;
	for (size_t i = 0; i < sizeof(all); i++)
		all[i] = (uint8_t)i;
	for (size_t len = 0; len <= sizeof(all); len++) {
		buf_clear(&text);
		buf_clear(&back);
		base64_encode(bytes_of(all, len), &text);
		assert_int_equal(base64_decode(buf_bytes(&text), &back, &e), 0);
		assert_bytes_equal(buf_bytes(&back), bytes_of(all, len));
		buf_clear(&text);
		buf_clear(&back);
		base64url_encode(bytes_of(all, len), &text);
		assert_int_equal(base64url_decode(buf_bytes(&text), &back, &e), 0);
		assert_bytes_equal(buf_bytes(&back), bytes_of(all, len));
	}
	buf_release(&text);
	buf_release(&back);
}

static void the_standard_form_wants_its_alphabet_and_padding(void **state)
{
	static const char *const wrong[] = { "Zg",    "Zg=",	 "Zg===",    "Z",    "Zg==Zg==", "Zg=a",
					     "====",  "=",	 "Zm9v====", "_-==", "Zm9v\n",	 " Zm9v",
					     "Zm9v ", "Z\x80==", "Zh==",     "Zm9=" };

	(void)state;
	assert_decodes(base64_decode, "+/+/", "\xfb\xff\xbf");
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
		assert_refused(base64_decode, wrong[i]);
}

static void the_url_form_wants_its_alphabet_and_no_padding(void **state)
{
	static const char *const wrong[] = { "Zg==", "Zm8=", "Z", "Zm9vZ", "+/+/", "Zm9v\n", "Zh", "Zm9", "Zm9v=" };

	(void)state;
	assert_decodes(base64url_decode, "-_-_", "\xfb\xff\xbf");
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
		assert_refused(base64url_decode, wrong[i]);
}

static void the_tolerant_form_takes_either_but_no_mixture(void **state)
{
	static const char *const wrong[] = { "+_+_", "-/",    "Zg=",	"Zg===",  "Z",
					     "Zh",   "Zm9v=", "Zg==Zg", "Zg = =", "Zm8=\tZ" };

	(void)state;
	assert_decodes(base64_decode_any, "+/+/", "\xfb\xff\xbf");
	assert_decodes(base64_decode_any, "-_-_", "\xfb\xff\xbf");
	assert_decodes(base64_decode_any, "\nZm\r\n9v\nZg=\n=\n", "foof");
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
		assert_refused(base64_decode_any, wrong[i]);
}

static void a_zero_byte_in_the_text_is_refused(void **state)
{
	struct buf out = { 0 };
	struct err e;

	(void)state;
	assert_int_equal(base64_decode(bytes_of("Zm\0v", 4), &out, &e), -1);
	buf_release(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_published_vectors_pass_both_ways),
		cmocka_unit_test(every_byte_survives),
		cmocka_unit_test(the_standard_form_wants_its_alphabet_and_padding),
		cmocka_unit_test(the_url_form_wants_its_alphabet_and_no_padding),
		cmocka_unit_test(the_tolerant_form_takes_either_but_no_mixture),
		cmocka_unit_test(a_zero_byte_in_the_text_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
