/* SPDX-License-Identifier: Apache-2.0 */
/* record_test - records against RFC 8448 and libssl, and everything that RFC 8446 forbids. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "crypto/record.h"

#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

static const uint16_t suites[] = { SUITE_AES_128_GCM_SHA256, SUITE_AES_256_GCM_SHA384, SUITE_CHACHA20_POLY1305_SHA256 };

static size_t unhex(const char *text, uint8_t *out)
{
	size_t len = strlen(text) / 2;

	for (size_t i = 0; i < len; i++)
		assert_int_equal(sscanf(text + 2 * i, "%2hhx", &out[i]), 1);
	return len;
}

static struct record_side side_of(uint16_t suite, struct bytes secret)
{
	struct record_side s;
	struct err e;

	assert_int_equal(record_side_init(&s, suite, secret, &e), 0);
	return s;
}

/* One direction: a sender, a receiver, and room for what travels. */
struct line {
	struct aead_cache *cache;
	struct record_side from;
	struct record_side to;
	struct record_messages messages;
	uint8_t wire[4 * RECORD_MAX_WIRE];
	uint8_t out[RECORD_MAX_PLAIN + 256];
};

static struct line *line_new(uint16_t suite)
{
	struct line *l = mem_new_of(struct line);
	uint8_t secret[48];

	for (size_t i = 0; i < sizeof(secret); i++)
		secret[i] = (uint8_t)(i * 5 + 1);
	l->cache = aead_cache_new();
	l->from = side_of(suite, bytes_of(secret, suite == SUITE_AES_256_GCM_SHA384 ? 48 : 32));
	l->to = side_of(suite, bytes_of(secret, suite == SUITE_AES_256_GCM_SHA384 ? 48 : 32));
	return l;
}

static void line_free(struct line *l)
{
	aead_cache_free(l->cache);
	free(l);
}

static struct record_opened open_wire(struct line *l, size_t len)
{
	memset(l->out, 0xaa, sizeof(l->out));
	return record_open(l->cache, &l->to, &l->messages, bytes_of(l->wire, len), l->out);
}

/* Seals any inner plaintext, the forbidden ones above all. */
static size_t seal_inner(struct line *l, struct bytes inner, uint8_t first_byte)
{
	size_t body = inner.len + AEAD_TAG_LEN;
	uint8_t nonce[AEAD_IV_LEN];

	l->wire[0] = first_byte;
	l->wire[1] = 3;
	l->wire[2] = 3;
	l->wire[3] = (uint8_t)(body >> 8);
	l->wire[4] = (uint8_t)body;
	memcpy(nonce, l->from.iv, sizeof(nonce));
	for (size_t i = 0; i < 8; i++)
		nonce[4 + i] ^= (uint8_t)(l->from.sequence >> (56 - 8 * i));
	l->from.sequence++;
	aead_seal(l->cache, &l->from.key, nonce, bytes_of(l->wire, 5), inner.data, inner.len, l->wire + 5);
	return RECORD_HEADER_LEN + body;
}

static struct record_opened send_inner(struct line *l, struct bytes inner)
{
	return open_wire(l, seal_inner(l, inner, RECORD_DATA));
}

static struct record_opened send_typed(struct line *l, uint8_t type, struct bytes content)
{
	struct buf inner = { 0 };
	struct record_opened r;

	buf_append_bytes(&inner, content);
	buf_append(&inner, &type, 1);
	r = send_inner(l, buf_bytes(&inner));
	buf_release(&inner);
	return r;
}

#define SEND(l, type, ...)                                                                                             \
	send_typed(l, type, bytes_of((const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ })))

static void assert_broken(struct line *l, struct record_opened r, enum tls_alert alert)
{
	assert_int_equal(r.result, RECORD_BROKEN);
	assert_int_equal(r.alert, alert);
	assert_int_equal(r.wire_len, 0);
	assert_int_equal(r.plain_len, 0);
	for (size_t i = 1; i < sizeof(l->out); i++) /* wiped as far as it was written to */
		assert_true(l->out[i] == 0xaa || (l->out[i] == 0 && l->out[i - 1] == 0));
}

/* The line still works after what was sent. */
static void assert_alive(struct line *l)
{
	struct record_opened r = SEND(l, RECORD_DATA, 'o', 'k');

	assert_int_equal(r.result, RECORD_PLAIN);
	assert_int_equal(r.plain_len, 2);
	assert_memory_equal(l->out, "ok", 2);
}

/* RFC 8448 section 3 */
#define RFC_CLIENT_SECRET "9e40646ce79a7f9dc05af8889bce6552875afa0b06df0087f792ebb7c17504a5"
#define RFC_SERVER_SECRET "a11af9f05531f856ad47116b45a950328204b4f44bfb6b3a4b4f1f3fcb631643"
#define RFC_CLIENT_DATA                                                                                                \
	"1703030043a23f7054b62c94d0affafe8228ba55cbefacea42f914aa66bcab3f2b9819a8a5b46b395bd54a9a"                     \
	"20441e2b62"                                                                                                   \
	"974e1f5a6292a2977014bd1e3deae63aeebb21694915e4"
#define RFC_CLIENT_CLOSE "1703030013c9872760655666b74d7ff1153efd6db6d0b0e3"
#define RFC_SERVER_TICKET                                                                                              \
	"17030300de3a6b8f90414a97d6959c3487680de5134a2b240e6cffac116e95d41d6af8f6b580dcf3d11d63c7"                     \
	"58db289a"                                                                                                     \
	"015940252f55713e061dc13e078891a38efbcf5753ad8ef170ad3c7353d16d9da773b9ca7f2b9fa1b6c0d4a3"                     \
	"d03f75e0"                                                                                                     \
	"9c30ba1e62972ac46f75f7b981be63439b2999ce13064615139891d5e4c5b406f16e3fc181a77ca475840025"                     \
	"db2f0a77"                                                                                                     \
	"f81b5ab05b94c01346755f69232c86519d86cbeeac87aac347d143f9605d64f650db4d023e70e952ca49fe51"                     \
	"37121c74"                                                                                                     \
	"bc2697687e248746d6df353005f3bce18696129c8153556b3b6c6779b37bf15985684f"
#define RFC_SERVER_DATA                                                                                                \
	"17030300432e937e11ef4ac740e538ad36005fc4a46932fc3225d05f82aa1b36e30efaf97d90e6dffc602dcb"                     \
	"501a59a8fc"                                                                                                   \
	"c49c4bf2e5f0a21c0047c2abf332540dd032e167c2955d"
#define RFC_SERVER_CLOSE "1703030013b58fd67166ebf599d24720cfbe7efa7a8864a9"

static void rfc_8448_keys_are_derived(void **state)
{
	struct record_side s;
	uint8_t secret[32], key[16], iv[12];

	(void)state;
	unhex(RFC_CLIENT_SECRET, secret);
	unhex("17422dda596ed5d9acd890e3c63f5051", key);
	unhex("5b78923dee08579033e523d9", iv);
	s = side_of(SUITE_AES_128_GCM_SHA256, bytes_of(secret, 32));
	assert_memory_equal(s.key.key, key, 16);
	assert_memory_equal(s.iv, iv, 12);

	unhex(RFC_SERVER_SECRET, secret);
	unhex("9f02283b6c9c07efc26bb9f2ac92e356", key);
	unhex("cf782b88dd83549aadf1e984", iv);
	s = side_of(SUITE_AES_128_GCM_SHA256, bytes_of(secret, 32));
	assert_memory_equal(s.key.key, key, 16);
	assert_memory_equal(s.iv, iv, 12);
}

static void rfc_8448_client_records_are_sealed_and_opened(void **state)
{
	struct line *l = line_new(SUITE_AES_128_GCM_SHA256);
	uint8_t secret[32], wire[128], plain[50];
	struct record_opened r;
	size_t len;

	(void)state;
	for (size_t i = 0; i < sizeof(plain); i++)
		plain[i] = (uint8_t)i;
	unhex(RFC_CLIENT_SECRET, secret);
	l->from = l->to = side_of(SUITE_AES_128_GCM_SHA256, bytes_of(secret, 32));

	len = unhex(RFC_CLIENT_DATA, wire);
	assert_int_equal(record_seal_data(l->cache, &l->from, plain, sizeof(plain), l->wire), len);
	assert_memory_equal(l->wire, wire, len);
	r = open_wire(l, len);
	assert_int_equal(r.result, RECORD_PLAIN);
	assert_int_equal(r.wire_len, len);
	assert_int_equal(r.plain_len, sizeof(plain));
	assert_memory_equal(l->out, plain, sizeof(plain));

	len = unhex(RFC_CLIENT_CLOSE, wire);
	assert_int_equal(record_seal_alert(l->cache, &l->from, ALERT_CLOSE_NOTIFY, l->wire), len);
	assert_memory_equal(l->wire, wire, len);
	assert_int_equal(open_wire(l, len).result, RECORD_CLOSED);
	line_free(l);
}

static void rfc_8448_server_records_are_opened_behind_its_ticket(void **state)
{
	struct line *l = line_new(SUITE_AES_128_GCM_SHA256);
	uint8_t secret[32];
	struct record_opened r;
	size_t len;

	(void)state;
	unhex(RFC_SERVER_SECRET, secret);
	l->to = side_of(SUITE_AES_128_GCM_SHA256, bytes_of(secret, 32));
	len = unhex(RFC_SERVER_TICKET, l->wire);
	len += unhex(RFC_SERVER_DATA, l->wire + len);
	len += unhex(RFC_SERVER_CLOSE, l->wire + len);
	r = open_wire(l, len);
	assert_int_equal(r.result, RECORD_NOTHING);
	assert_int_equal(r.wire_len, 227);
	memmove(l->wire, l->wire + r.wire_len, len -= r.wire_len);
	r = open_wire(l, len);
	assert_int_equal(r.result, RECORD_PLAIN);
	assert_int_equal(r.plain_len, 50);
	assert_int_equal(l->out[49], 49);
	memmove(l->wire, l->wire + r.wire_len, len -= r.wire_len);
	r = open_wire(l, len);
	assert_int_equal(r.result, RECORD_CLOSED);
	assert_int_equal(r.wire_len, len);
	line_free(l);
}

static void a_foreign_suite_or_a_secret_of_the_wrong_length_is_refused(void **state)
{
	static const uint8_t secret[49];
	struct record_side s;
	struct err e = { 0 };

	(void)state;
	assert_int_equal(record_side_init(&s, 0x1304, bytes_of(secret, 32), &e), -1);
	assert_int_equal(e.kind, ERR_PEER);
	for (size_t i = 0; i < ARRAY_SIZE(suites); i++) {
		size_t right = suites[i] == SUITE_AES_256_GCM_SHA384 ? 48 : 32;

		assert_int_equal(record_side_init(&s, suites[i], bytes_of(secret, right - 1), &e), -1);
		assert_int_equal(record_side_init(&s, suites[i], bytes_of(secret, right + 1), &e), -1);
		assert_int_equal(record_side_init(&s, suites[i], bytes_of(secret, right), &e), 0);
	}
}

static void data_of_any_length_travels_in_full_records(void **state)
{
	static const size_t sizes[] = { 0, 1, 100, 16383, 16384, 16385, 32768, 40000 };
	uint8_t *plain = mem_new(40000);

	(void)state;
	for (size_t i = 0; i < 40000; i++)
		plain[i] = (uint8_t)(i * 31);
	for (size_t s = 0; s < ARRAY_SIZE(suites); s++) {
		struct line *l = line_new(suites[s]);

		for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
			size_t len = record_seal_data(l->cache, &l->from, plain, sizes[i], l->wire);
			size_t got = 0;

			assert_int_equal(len, record_sealed_size(sizes[i]));
			for (size_t at = 0; at < len;) {
				struct record_opened r = record_open(l->cache, &l->to, &l->messages,
								     bytes_of(l->wire + at, len - at), l->out);

				assert_int_equal(r.result, RECORD_PLAIN);
				assert_true(r.plain_len == RECORD_MAX_PLAIN || at + r.wire_len == len);
				assert_memory_equal(l->out, plain + got, r.plain_len);
				at += r.wire_len;
				got += r.plain_len;
			}
			assert_int_equal(got, sizes[i]);
		}
		line_free(l);
	}
	free(plain);
}

static void a_piece_of_a_record_says_how_much_is_needed(void **state)
{
	struct line *l = line_new(SUITE_AES_256_GCM_SHA384);
	size_t len = record_seal_data(l->cache, &l->from, (const uint8_t *)"hello", 5, l->wire);
	struct record_opened r;

	(void)state;
	r = record_open(l->cache, &l->to, &l->messages, bytes_of(NULL, 0), l->out);
	assert_int_equal(r.need, RECORD_HEADER_LEN);
	for (size_t i = 0; i < len; i++) {
		r = open_wire(l, i);
		assert_int_equal(r.result, RECORD_MORE);
		assert_int_equal(r.need, i < RECORD_HEADER_LEN ? RECORD_HEADER_LEN : len);
		assert_int_equal(r.wire_len, 0);
	}
	assert_int_equal(open_wire(l, len).result, RECORD_PLAIN);
	line_free(l);
}

static void one_bit_changed_anywhere_in_a_record_breaks_it(void **state)
{
	(void)state;
	for (size_t s = 0; s < ARRAY_SIZE(suites); s++) {
		struct line *l = line_new(suites[s]);
		size_t len = record_seal_data(l->cache, &l->from, (const uint8_t *)"some secret text", 16, l->wire);

		for (size_t bit = 0; bit < 8 * len; bit++) {
			struct record_opened r;

			l->wire[bit / 8] ^= (uint8_t)(1 << bit % 8);
			r = open_wire(l, len);
			if (bit / 8 == 0)
				assert_broken(l, r, ALERT_UNEXPECTED_MESSAGE);
			else if (r.result == RECORD_MORE)
				assert_true(bit / 8 == 3 || bit / 8 == 4); /* a greater length */
			else
				assert_broken(l, r, bit / 8 == 3 ? ALERT_RECORD_OVERFLOW : ALERT_BAD_RECORD_MAC);
			l->wire[bit / 8] ^= (uint8_t)(1 << bit % 8);
		}
		assert_int_equal(open_wire(l, len).result, RECORD_PLAIN);
		line_free(l);
	}
}

static void a_record_that_comes_again_or_out_of_order_breaks(void **state)
{
	struct line *l = line_new(SUITE_AES_128_GCM_SHA256);
	size_t first = record_seal_data(l->cache, &l->from, (const uint8_t *)"one", 3, l->wire);
	size_t second;

	(void)state;
	assert_int_equal(open_wire(l, first).result, RECORD_PLAIN);
	assert_broken(l, open_wire(l, first), ALERT_BAD_RECORD_MAC);
	record_seal_data(l->cache, &l->from, (const uint8_t *)"two", 3, l->wire);
	second = record_seal_data(l->cache, &l->from, (const uint8_t *)"three", 5, l->wire);
	assert_broken(l, open_wire(l, second), ALERT_BAD_RECORD_MAC);
	line_free(l);
}

static void a_record_outside_of_encryption_is_unexpected(void **state)
{
	static const uint8_t change_cipher_spec[] = { 20, 3, 3, 0, 1, 1 };
	static const uint8_t alert[] = { 21, 3, 3, 0, 2, 2, 40 };
	struct line *l = line_new(SUITE_AES_128_GCM_SHA256);

	(void)state;
	memcpy(l->wire, change_cipher_spec, sizeof(change_cipher_spec));
	assert_broken(l, open_wire(l, sizeof(change_cipher_spec)), ALERT_UNEXPECTED_MESSAGE);
	assert_broken(l, open_wire(l, RECORD_HEADER_LEN), ALERT_UNEXPECTED_MESSAGE);
	memcpy(l->wire, alert, sizeof(alert));
	assert_broken(l, open_wire(l, sizeof(alert)), ALERT_UNEXPECTED_MESSAGE);
	memcpy(l->wire, "GET / HTTP/1.1", 14);
	assert_broken(l, open_wire(l, 14), ALERT_UNEXPECTED_MESSAGE);
	for (unsigned type = 0; type < 256; type++) {
		if (type == RECORD_DATA)
			continue;
		assert_broken(l, open_wire(l, seal_inner(l, bytes_of("hi\x17", 3), (uint8_t)type)),
			      ALERT_UNEXPECTED_MESSAGE);
	}
	line_free(l);
}

static void a_length_over_the_limit_is_told_from_the_header(void **state)
{
	struct line *l = line_new(SUITE_AES_128_GCM_SHA256);
	const size_t limit = RECORD_MAX_WIRE - RECORD_HEADER_LEN;
	uint8_t header[RECORD_HEADER_LEN] = { RECORD_DATA, 3, 3 };

	(void)state;
	header[3] = (uint8_t)(limit >> 8);
	header[4] = (uint8_t)limit;
	memcpy(l->wire, header, sizeof(header));
	assert_int_equal(open_wire(l, sizeof(header)).need, RECORD_MAX_WIRE);
	header[3] = (uint8_t)((limit + 1) >> 8);
	header[4] = (uint8_t)(limit + 1);
	memcpy(l->wire, header, sizeof(header));
	assert_broken(l, open_wire(l, sizeof(header)), ALERT_RECORD_OVERFLOW);
	for (size_t body = 0; body < AEAD_TAG_LEN; body++) {
		l->wire[3] = 0;
		l->wire[4] = (uint8_t)body;
		assert_broken(l, open_wire(l, sizeof(header)), ALERT_BAD_RECORD_MAC);
	}
	l->wire[4] = AEAD_TAG_LEN;
	assert_int_equal(open_wire(l, sizeof(header)).need, RECORD_HEADER_LEN + AEAD_TAG_LEN);
	line_free(l);
}

static void more_than_16384_bytes_inside_are_an_overflow(void **state)
{
	uint8_t *inner = mem_new(RECORD_MAX_PLAIN + 256);
	struct line *l = line_new(SUITE_AES_128_GCM_SHA256);
	struct record_opened r;

	(void)state;
	memset(inner, 'x', RECORD_MAX_PLAIN + 256);
	inner[RECORD_MAX_PLAIN] = RECORD_DATA;
	r = send_inner(l, bytes_of(inner, RECORD_MAX_PLAIN + 1));
	assert_int_equal(r.result, RECORD_PLAIN);
	assert_int_equal(r.plain_len, RECORD_MAX_PLAIN);
	inner[RECORD_MAX_PLAIN + 1] = RECORD_DATA;
	assert_broken(l, send_inner(l, bytes_of(inner, RECORD_MAX_PLAIN + 2)), ALERT_RECORD_OVERFLOW);
	line_free(l);

	/* Padding does not lift the limit (RFC 8446 5.4). */
	l = line_new(SUITE_AES_128_GCM_SHA256);
	memset(inner, 0, RECORD_MAX_PLAIN + 256);
	inner[0] = RECORD_DATA;
	assert_int_equal(send_inner(l, bytes_of(inner, RECORD_MAX_PLAIN + 1)).result, RECORD_PLAIN);
	assert_broken(l, send_inner(l, bytes_of(inner, RECORD_MAX_PLAIN + 2)), ALERT_RECORD_OVERFLOW);
	assert_broken(l, send_inner(l, bytes_of(inner, RECORD_MAX_PLAIN + 240)), ALERT_RECORD_OVERFLOW);
	line_free(l);
	free(inner);
}

static void padding_is_taken_off_and_zeros_only_are_unexpected(void **state)
{
	static const uint8_t zeros[300];
	struct line *l = line_new(SUITE_AES_128_GCM_SHA256);
	struct record_opened r = send_inner(l, bytes_of("data\x17\0\0\0\0", 9));

	(void)state;
	assert_int_equal(r.result, RECORD_PLAIN);
	assert_int_equal(r.plain_len, 4);
	r = send_inner(l, bytes_of("\0\0\x17", 3)); /* zeros before the type are data */
	assert_int_equal(r.plain_len, 2);
	assert_broken(l, send_inner(l, bytes_of(zeros, 0)), ALERT_UNEXPECTED_MESSAGE);
	assert_broken(l, send_inner(l, bytes_of(zeros, 1)), ALERT_UNEXPECTED_MESSAGE);
	assert_broken(l, send_inner(l, bytes_of(zeros, sizeof(zeros))), ALERT_UNEXPECTED_MESSAGE);
	line_free(l);
}

static void an_unknown_type_inside_is_unexpected(void **state)
{
	(void)state;
	for (unsigned type = 1; type < 256; type++) {
		struct line *l = line_new(SUITE_AES_128_GCM_SHA256);

		if (type < RECORD_ALERT || type > RECORD_DATA)
			assert_broken(l, SEND(l, (uint8_t)type, 1, 0), ALERT_UNEXPECTED_MESSAGE);
		line_free(l);
	}
}

static void empty_data_is_fine_but_not_for_ever(void **state)
{
	struct line *l = line_new(SUITE_AES_128_GCM_SHA256);
	struct record_opened r;

	(void)state;
	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < 32; i++) {
			r = send_typed(l, RECORD_DATA, bytes_of(NULL, 0));
			assert_int_equal(r.result, RECORD_PLAIN);
			assert_int_equal(r.plain_len, 0);
			assert_int_equal(r.wire_len, RECORD_OVERHEAD);
		}
		if (round == 0)
			assert_alive(l);
	}
	assert_broken(l, send_typed(l, RECORD_DATA, bytes_of(NULL, 0)), ALERT_UNEXPECTED_MESSAGE);
	line_free(l);
}

static void close_notify_closes_and_a_fatal_alert_is_told(void **state)
{
	struct line *l = line_new(SUITE_AES_128_GCM_SHA256);
	struct record_opened r;

	(void)state;
	assert_int_equal(SEND(l, RECORD_ALERT, 1, ALERT_CLOSE_NOTIFY).result, RECORD_CLOSED);
	assert_int_equal(SEND(l, RECORD_ALERT, 2, ALERT_CLOSE_NOTIFY).result, RECORD_CLOSED);
	for (unsigned alert = 1; alert < 256; alert++) {
		if (alert == ALERT_USER_CANCELED)
			continue;
		r = SEND(l, RECORD_ALERT, 2, (uint8_t)alert);
		assert_int_equal(r.result, RECORD_PEER_ALERT);
		assert_int_equal(r.alert, alert);
		assert_int_equal(SEND(l, RECORD_ALERT, 1, (uint8_t)alert).result, RECORD_PEER_ALERT);
	}
	line_free(l);
}

static void user_canceled_is_ignored_but_not_for_ever(void **state)
{
	struct line *l = line_new(SUITE_AES_128_GCM_SHA256);

	(void)state;
	for (int i = 0; i < 32; i++)
		assert_int_equal(SEND(l, RECORD_ALERT, 1, ALERT_USER_CANCELED).result, RECORD_NOTHING);
	assert_broken(l, SEND(l, RECORD_ALERT, 1, ALERT_USER_CANCELED), ALERT_UNEXPECTED_MESSAGE);
	line_free(l);
}

static void an_alert_of_another_length_than_two_is_broken(void **state)
{
	struct line *l = line_new(SUITE_AES_128_GCM_SHA256);

	(void)state;
	assert_broken(l, send_typed(l, RECORD_ALERT, bytes_of(NULL, 0)), ALERT_UNEXPECTED_MESSAGE);
	assert_broken(l, SEND(l, RECORD_ALERT, 1), ALERT_DECODE_ERROR);
	assert_broken(l, SEND(l, RECORD_ALERT, 1, 0, 0), ALERT_DECODE_ERROR);
	assert_broken(l, SEND(l, RECORD_ALERT, 1, 0, 1, 0), ALERT_DECODE_ERROR);
	line_free(l);
}

static void our_alerts_have_their_level(void **state)
{
	struct line *l = line_new(SUITE_AES_128_GCM_SHA256);
	struct record_opened r;

	(void)state;
	r = open_wire(l, record_seal_alert(l->cache, &l->from, ALERT_CLOSE_NOTIFY, l->wire));
	assert_int_equal(r.result, RECORD_CLOSED);
	assert_int_equal(l->out[0], 1);
	r = open_wire(l, record_seal_alert(l->cache, &l->from, ALERT_BAD_RECORD_MAC, l->wire));
	assert_int_equal(r.result, RECORD_PEER_ALERT);
	assert_int_equal(r.alert, ALERT_BAD_RECORD_MAC);
	assert_int_equal(l->out[0], 2);
	line_free(l);
}

/* A ticket of len bytes behind its header. */
static struct buf ticket_of(size_t len)
{
	struct buf b = { 0 };
	const uint8_t header[] = { 4, (uint8_t)(len >> 16), (uint8_t)(len >> 8), (uint8_t)len };

	buf_append(&b, header, sizeof(header));
	memset(buf_reserve(&b, len), 0x18, len); /* would be a KeyUpdate, if it were read */
	b.len += len;
	return b;
}

static void tickets_are_dropped_whole_or_in_pieces(void **state)
{
	struct buf ticket = ticket_of(500);

	(void)state;
	buf_append(&ticket, "\4\0\0\0\4\0\0\1\x18", 9); /* two more, an empty one and a short one */
	for (size_t piece = 1; piece <= ticket.len; piece++) {
		struct line *l = line_new(SUITE_AES_128_GCM_SHA256);

		for (size_t at = 0; at < ticket.len; at += piece) {
			struct bytes b = bytes_of(ticket.data + at, MIN(piece, ticket.len - at));

			assert_int_equal(send_typed(l, RECORD_HANDSHAKE, b).result, RECORD_NOTHING);
		}
		assert_alive(l);
		line_free(l);
	}
	buf_release(&ticket);
}

static void a_server_refuses_tickets(void **state)
{
	struct line *l = line_new(SUITE_AES_128_GCM_SHA256);

	(void)state;
	l->messages.refuse_tickets = true;
	assert_int_equal(SEND(l, RECORD_HANDSHAKE, 24, 0, 0, 1, 0).result, RECORD_KEY_UPDATED);
	record_side_update(&l->from);
	assert_broken(l, SEND(l, RECORD_HANDSHAKE, 4, 0, 0, 1, 0), ALERT_UNEXPECTED_MESSAGE);
	line_free(l);
}

static void tickets_between_two_data_have_a_limit(void **state)
{
	const size_t most = 256 * 1024;
	struct line *l = line_new(SUITE_AES_128_GCM_SHA256);
	struct buf ticket = ticket_of(most / 2 - 4);

	(void)state;
	for (int i = 0; i < 4; i++) { /* exactly the limit, twice */
		for (size_t at = 0; at < ticket.len; at += RECORD_MAX_PLAIN) {
			struct bytes b = bytes_of(ticket.data + at, RECORD_MAX_PLAIN);

			assert_int_equal(send_typed(l, RECORD_HANDSHAKE, b).result, RECORD_NOTHING);
		}
		if (i == 1)
			assert_alive(l);
	}
	assert_broken(l, SEND(l, RECORD_HANDSHAKE, 4, 0, 0, 0), ALERT_UNEXPECTED_MESSAGE);
	line_free(l);

	/* Told from its header, before any of it has come. */
	l = line_new(SUITE_AES_128_GCM_SHA256);
	assert_int_equal(SEND(l, RECORD_HANDSHAKE, 4, 3, 0xff, 0xfc).result, RECORD_NOTHING);
	line_free(l);
	l = line_new(SUITE_AES_128_GCM_SHA256);
	assert_broken(l, SEND(l, RECORD_HANDSHAKE, 4, 3, 0xff, 0xfd), ALERT_UNEXPECTED_MESSAGE);
	line_free(l);
	l = line_new(SUITE_AES_128_GCM_SHA256);
	assert_broken(l, SEND(l, RECORD_HANDSHAKE, 4, 0xff, 0xff, 0xff), ALERT_UNEXPECTED_MESSAGE);
	line_free(l);
	buf_release(&ticket);
}

static void other_handshake_messages_are_unexpected(void **state)
{
	(void)state;
	for (unsigned type = 0; type < 256; type++) {
		struct line *l = line_new(SUITE_AES_128_GCM_SHA256);
		bool is_ours = type == 4 || type == 24;

		if (!is_ours)
			assert_broken(l, SEND(l, RECORD_HANDSHAKE, (uint8_t)type, 0, 0, 1, 0),
				      ALERT_UNEXPECTED_MESSAGE);
		line_free(l);
	}
}

static void an_empty_handshake_record_is_unexpected(void **state)
{
	struct line *l = line_new(SUITE_AES_128_GCM_SHA256);

	(void)state;
	assert_broken(l, send_typed(l, RECORD_HANDSHAKE, bytes_of(NULL, 0)), ALERT_UNEXPECTED_MESSAGE);
	line_free(l);
}

static void nothing_may_stand_between_the_pieces_of_a_message(void **state)
{
	static const uint8_t types[] = { RECORD_DATA, RECORD_ALERT };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		struct line *l = line_new(SUITE_AES_128_GCM_SHA256);

		assert_int_equal(SEND(l, RECORD_HANDSHAKE, 24).result, RECORD_NOTHING);
		assert_broken(l, SEND(l, types[i], 1, 0), ALERT_UNEXPECTED_MESSAGE);
		line_free(l);
		l = line_new(SUITE_AES_128_GCM_SHA256);
		assert_int_equal(SEND(l, RECORD_HANDSHAKE, 4, 0, 0, 9, 1, 2).result, RECORD_NOTHING);
		assert_broken(l, SEND(l, types[i], 1, 0), ALERT_UNEXPECTED_MESSAGE);
		line_free(l);
	}
}

static void a_key_update_moves_both_sides_on(void **state)
{
	(void)state;
	for (size_t s = 0; s < ARRAY_SIZE(suites); s++) {
		struct line *l = line_new(suites[s]);
		uint64_t id = l->from.key.id;
		uint8_t secret[48];

		memcpy(secret, l->from.secret, sizeof(secret));
		for (int request = 0; request < 2; request++) {
			struct record_opened r;
			size_t len;

			assert_alive(l);
			len = record_seal_key_update(l->cache, &l->from, request, l->wire);
			assert_int_equal(len, 5 + RECORD_OVERHEAD);
			assert_int_equal(l->from.sequence, 0);
			r = open_wire(l, len);
			assert_int_equal(r.result, request ? RECORD_KEY_UPDATE_REQUESTED : RECORD_KEY_UPDATED);
			assert_int_equal(r.wire_len, len);
			assert_int_equal(l->to.sequence, 0);
			assert_memory_equal(l->from.secret, l->to.secret, sizeof(secret));
			assert_memory_not_equal(l->from.secret, secret, 32);
			assert_true(l->from.key.id != id);
			assert_alive(l);
		}
		line_free(l);
	}
}

static void a_key_update_may_be_cut_but_ends_its_record(void **state)
{
	static const uint8_t update[] = { 24, 0, 0, 1, 1 };
	struct line *l = line_new(SUITE_AES_256_GCM_SHA384);

	(void)state;
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(send_typed(l, RECORD_HANDSHAKE, bytes_of(&update[i], 1)).result, RECORD_NOTHING);
	assert_int_equal(send_typed(l, RECORD_HANDSHAKE, bytes_of(&update[4], 1)).result, RECORD_KEY_UPDATE_REQUESTED);
	record_side_update(&l->from);
	assert_alive(l);
	assert_int_equal(SEND(l, RECORD_HANDSHAKE, 4, 0, 0, 1, 7, 24, 0, 0, 1, 0).result, RECORD_KEY_UPDATED);
	record_side_update(&l->from);
	assert_broken(l, SEND(l, RECORD_HANDSHAKE, 24, 0, 0, 1, 0, 4), ALERT_UNEXPECTED_MESSAGE);
	line_free(l);

	l = line_new(SUITE_AES_256_GCM_SHA384);
	assert_broken(l, SEND(l, RECORD_HANDSHAKE, 24, 0, 0, 1, 0, 24, 0, 0, 1, 0), ALERT_UNEXPECTED_MESSAGE);
	line_free(l);
}

static void a_key_update_says_0_or_1_in_one_byte(void **state)
{
	(void)state;
	for (unsigned value = 2; value < 256; value++) {
		struct line *l = line_new(SUITE_AES_128_GCM_SHA256);

		assert_broken(l, SEND(l, RECORD_HANDSHAKE, 24, 0, 0, 1, (uint8_t)value), ALERT_ILLEGAL_PARAMETER);
		line_free(l);
	}
	for (unsigned len = 0; len < 4; len++) {
		struct line *l = line_new(SUITE_AES_128_GCM_SHA256);

		if (len != 1)
			assert_broken(l, SEND(l, RECORD_HANDSHAKE, 24, 0, 0, (uint8_t)len), ALERT_DECODE_ERROR);
		else
			assert_broken(l, SEND(l, RECORD_HANDSHAKE, 24, 0, 1, 1), ALERT_DECODE_ERROR);
		line_free(l);
	}
}

static void key_updates_without_data_in_between_have_a_limit(void **state)
{
	struct line *l = line_new(SUITE_CHACHA20_POLY1305_SHA256);

	(void)state;
	for (int i = 0; i < 64; i++) {
		assert_int_equal(open_wire(l, record_seal_key_update(l->cache, &l->from, true, l->wire)).result,
				 RECORD_KEY_UPDATE_REQUESTED);
		if (i == 31)
			assert_alive(l);
	}
	assert_broken(l, open_wire(l, record_seal_key_update(l->cache, &l->from, true, l->wire)),
		      ALERT_UNEXPECTED_MESSAGE);
	line_free(l);
}

static void the_record_after_a_key_update_is_broken_under_the_old_key(void **state)
{
	struct line *l = line_new(SUITE_AES_128_GCM_SHA256);
	struct record_side old;

	(void)state;
	old = l->from;
	assert_int_equal(open_wire(l, record_seal_key_update(l->cache, &l->from, false, l->wire)).result,
			 RECORD_KEY_UPDATED);
	old.sequence = 1;
	assert_broken(l, open_wire(l, record_seal_data(l->cache, &old, (const uint8_t *)"x", 1, l->wire)),
		      ALERT_BAD_RECORD_MAC);
	line_free(l);
}

static void a_side_is_tired_before_2_to_the_24_records(void **state)
{
	static const uint8_t secret[48];
	struct record_side s = side_of(SUITE_AES_256_GCM_SHA384, bytes_of(secret, 48));

	(void)state;
	assert_false(record_side_is_tired(&s));
	s.sequence = (1 << 24) - (1 << 16) - 1;
	assert_false(record_side_is_tired(&s));
	s.sequence++;
	assert_true(record_side_is_tired(&s));
	record_side_update(&s);
	assert_false(record_side_is_tired(&s));
	s = side_of(SUITE_CHACHA20_POLY1305_SHA256, bytes_of(secret, 32));
	s.sequence = UINT64_C(1) << 40;
	assert_false(record_side_is_tired(&s));
	s.sequence = UINT64_MAX - 1;
	assert_true(record_side_is_tired(&s));
}

static void the_sequence_number_counts_in_all_eight_bytes_and_never_wraps(void **state)
{
	struct line *l = line_new(SUITE_AES_128_GCM_SHA256);
	pid_t child;
	int status;
	size_t len;

	(void)state;
	l->from.sequence = l->to.sequence = UINT64_C(0x0102030405060708);
	assert_alive(l); /* seal_inner() makes its own nonce */
	l->from.sequence = l->to.sequence = UINT64_MAX - 1;
	len = record_seal_data(l->cache, &l->from, (const uint8_t *)"last", 4, l->wire);
	assert_int_equal(open_wire(l, len).result, RECORD_PLAIN);
	assert_broken(l, open_wire(l, len), ALERT_INTERNAL_ERROR);

	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		signal(SIGABRT, SIG_DFL);
		close(STDERR_FILENO);
		record_seal_data(l->cache, &l->from, (const uint8_t *)"wrap", 4, l->wire);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	line_free(l);
}

static void a_wiped_side_holds_nothing(void **state)
{
	struct line *l = line_new(SUITE_AES_256_GCM_SHA384);
	const struct record_side zero = { 0 };

	(void)state;
	record_side_wipe(&l->from);
	assert_memory_equal(&l->from, &zero, sizeof(zero));
	line_free(l);
}

/* libssl as the peer: two ends of a real handshake, joined by memory. */
struct pair {
	SSL_CTX *ctx[2];
	SSL *client;
	SSL *server;
	BIO *to_client;
	BIO *to_server;
	uint8_t secret[2][48]; /* of client and server */
	size_t secret_len;
};

static void on_keylog(const SSL *ssl, const char *line)
{
	struct pair *p = SSL_get_app_data(ssl);
	const char *hex = strrchr(line, ' ') + 1;

	if (strncmp(line, "CLIENT_TRAFFIC_SECRET_0 ", 24) == 0)
		p->secret_len = unhex(hex, p->secret[0]);
	if (strncmp(line, "SERVER_TRAFFIC_SECRET_0 ", 24) == 0)
		p->secret_len = unhex(hex, p->secret[1]);
}

static void use_new_certificate(SSL_CTX *ctx)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *cert = X509_new();

	assert_true(X509_set_version(cert, 2) && X509_set_pubkey(cert, key));
	X509_gmtime_adj(X509_getm_notBefore(cert), 0);
	X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
	assert_true(X509_sign(cert, key, EVP_sha256()) > 0);
	assert_int_equal(SSL_CTX_use_certificate(ctx, cert), 1);
	assert_int_equal(SSL_CTX_use_PrivateKey(ctx, key), 1);
	X509_free(cert);
	EVP_PKEY_free(key);
}

static struct pair *pair_new(const char *suite, size_t tickets)
{
	struct pair *p = mem_new_of(struct pair);

	for (int i = 0; i < 2; i++) {
		p->ctx[i] = SSL_CTX_new(i == 0 ? TLS_client_method() : TLS_server_method());
		assert_true(SSL_CTX_set_min_proto_version(p->ctx[i], TLS1_3_VERSION));
		assert_true(SSL_CTX_set_ciphersuites(p->ctx[i], suite));
	}
	use_new_certificate(p->ctx[1]);
	SSL_CTX_set_num_tickets(p->ctx[1], tickets);
	SSL_CTX_set_keylog_callback(p->ctx[1], on_keylog);
	p->client = SSL_new(p->ctx[0]);
	p->server = SSL_new(p->ctx[1]);
	p->to_client = BIO_new(BIO_s_mem());
	p->to_server = BIO_new(BIO_s_mem());
	BIO_set_mem_eof_return(p->to_client, -1);
	BIO_set_mem_eof_return(p->to_server, -1);
	BIO_up_ref(p->to_client);
	BIO_up_ref(p->to_server);
	SSL_set_bio(p->client, p->to_client, p->to_server);
	SSL_set_bio(p->server, p->to_server, p->to_client);
	SSL_set_app_data(p->server, p);
	SSL_set_connect_state(p->client);
	SSL_set_accept_state(p->server);
	for (int i = 0; i < 5; i++) {
		SSL_do_handshake(p->client);
		SSL_do_handshake(p->server);
	}
	assert_true(SSL_is_init_finished(p->client) && SSL_is_init_finished(p->server));
	assert_true(p->secret_len > 0);
	return p;
}

static void pair_free(struct pair *p)
{
	SSL_free(p->client);
	SSL_free(p->server);
	SSL_CTX_free(p->ctx[0]);
	SSL_CTX_free(p->ctx[1]);
	free(p);
}

/* Opens the first record of what waits in bio. */
static struct record_opened open_from(struct line *l, BIO *bio)
{
	struct record_opened r;
	char *waiting;
	long len = BIO_get_mem_data(bio, &waiting);

	r = record_open(l->cache, &l->to, &l->messages, bytes_of(waiting, (size_t)len), l->out);
	assert_true(r.wire_len > 0);
	assert_int_equal(BIO_read(bio, l->wire, (int)r.wire_len), (int)r.wire_len);
	return r;
}

static const char *const suite_names[] = { "TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384",
					   "TLS_CHACHA20_POLY1305_SHA256" };

/* We take over the client's end; the server is libssl to the end. */
static void libssl_as_server_understands_us_and_we_it(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(suites); i++) {
		struct pair *p = pair_new(suite_names[i], 2);
		struct line *l = line_new(suites[i]);
		char text[64];
		size_t len;

		l->from = side_of(suites[i], bytes_of(p->secret[0], p->secret_len));
		l->to = side_of(suites[i], bytes_of(p->secret[1], p->secret_len));

		/* The client of libssl has not read the two tickets yet. */
		assert_int_equal(SSL_write(p->server, "from libssl", 11), 11);
		assert_int_equal(open_from(l, p->to_client).result, RECORD_NOTHING);
		assert_int_equal(open_from(l, p->to_client).result, RECORD_NOTHING);
		assert_int_equal(open_from(l, p->to_client).plain_len, 11);
		assert_memory_equal(l->out, "from libssl", 11);

		len = record_seal_data(l->cache, &l->from, (const uint8_t *)"from us", 7, l->wire);
		len += record_seal_key_update(l->cache, &l->from, true, l->wire + len);
		len += record_seal_data(l->cache, &l->from, (const uint8_t *)", again", 7, l->wire + len);
		BIO_write(p->to_server, l->wire, (int)len);
		assert_int_equal(SSL_read(p->server, text, sizeof(text)), 7);
		assert_int_equal(SSL_read(p->server, text + 7, sizeof(text) - 7), 7);
		assert_memory_equal(text, "from us, again", 14);

		/* It answers our request with its own KeyUpdate, before its next data. */
		assert_int_equal(SSL_write(p->server, "new key", 7), 7);
		assert_int_equal(open_from(l, p->to_client).result, RECORD_KEY_UPDATED);
		assert_int_equal(open_from(l, p->to_client).plain_len, 7);
		assert_memory_equal(l->out, "new key", 7);

		assert_int_equal(SSL_key_update(p->server, SSL_KEY_UPDATE_REQUESTED), 1);
		assert_int_equal(SSL_write(p->server, "x", 1), 1);
		assert_int_equal(open_from(l, p->to_client).result, RECORD_KEY_UPDATE_REQUESTED);
		assert_int_equal(open_from(l, p->to_client).result, RECORD_PLAIN);

		assert_int_equal(SSL_shutdown(p->server), 0);
		assert_int_equal(open_from(l, p->to_client).result, RECORD_CLOSED);
		len = record_seal_alert(l->cache, &l->from, ALERT_CLOSE_NOTIFY, l->wire);
		BIO_write(p->to_server, l->wire, (int)len);
		assert_int_equal(SSL_shutdown(p->server), 1);
		line_free(l);
		pair_free(p);
	}
}

/* We take over the server's end. */
static void libssl_as_client_understands_us_and_we_it(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(suites); i++) {
		struct pair *p = pair_new(suite_names[i], 0);
		struct line *l = line_new(suites[i]);
		uint8_t big[40000], got[40000];
		size_t len, at = 0;
		int rc;

		l->from = side_of(suites[i], bytes_of(p->secret[1], p->secret_len));
		l->to = side_of(suites[i], bytes_of(p->secret[0], p->secret_len));
		l->messages.refuse_tickets = true;
		for (size_t n = 0; n < sizeof(big); n++)
			big[n] = (uint8_t)(n * 13);
		len = record_seal_data(l->cache, &l->from, big, sizeof(big), l->wire);
		BIO_write(p->to_client, l->wire, (int)len);
		while (at < sizeof(big)) {
			int n = SSL_read(p->client, got + at, (int)(sizeof(got) - at));

			assert_true(n > 0);
			at += (size_t)n;
		}
		assert_memory_equal(got, big, sizeof(big));

		assert_int_equal(SSL_write(p->client, big, sizeof(big)), sizeof(big));
		for (at = 0; at < sizeof(big);) {
			struct record_opened r = open_from(l, p->to_server);

			assert_int_equal(r.result, RECORD_PLAIN);
			assert_memory_equal(l->out, big + at, r.plain_len);
			at += r.plain_len;
		}

		/* Our fatal alert is understood as such. */
		len = record_seal_alert(l->cache, &l->from, ALERT_UNEXPECTED_MESSAGE, l->wire);
		BIO_write(p->to_client, l->wire, (int)len);
		rc = SSL_read(p->client, got, 1);
		assert_true(rc <= 0);
		assert_int_equal(SSL_get_error(p->client, rc), SSL_ERROR_SSL);
		line_free(l);
		pair_free(p);
	}
}

static int use_evp(void **state)
{
	struct err e;

	(void)state;
	return aead_select("evp", &e);
}

static int use_auto(void **state)
{
	struct err e;

	(void)state;
	return aead_select("auto", &e);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(rfc_8448_keys_are_derived),
	cmocka_unit_test(rfc_8448_client_records_are_sealed_and_opened),
	cmocka_unit_test(rfc_8448_server_records_are_opened_behind_its_ticket),
	cmocka_unit_test(a_foreign_suite_or_a_secret_of_the_wrong_length_is_refused),
	cmocka_unit_test(data_of_any_length_travels_in_full_records),
	cmocka_unit_test(a_piece_of_a_record_says_how_much_is_needed),
	cmocka_unit_test(one_bit_changed_anywhere_in_a_record_breaks_it),
	cmocka_unit_test(a_record_that_comes_again_or_out_of_order_breaks),
	cmocka_unit_test(a_record_outside_of_encryption_is_unexpected),
	cmocka_unit_test(a_length_over_the_limit_is_told_from_the_header),
	cmocka_unit_test(more_than_16384_bytes_inside_are_an_overflow),
	cmocka_unit_test(padding_is_taken_off_and_zeros_only_are_unexpected),
	cmocka_unit_test(an_unknown_type_inside_is_unexpected),
	cmocka_unit_test(empty_data_is_fine_but_not_for_ever),
	cmocka_unit_test(close_notify_closes_and_a_fatal_alert_is_told),
	cmocka_unit_test(user_canceled_is_ignored_but_not_for_ever),
	cmocka_unit_test(an_alert_of_another_length_than_two_is_broken),
	cmocka_unit_test(our_alerts_have_their_level),
	cmocka_unit_test(tickets_are_dropped_whole_or_in_pieces),
	cmocka_unit_test(a_server_refuses_tickets),
	cmocka_unit_test(tickets_between_two_data_have_a_limit),
	cmocka_unit_test(other_handshake_messages_are_unexpected),
	cmocka_unit_test(an_empty_handshake_record_is_unexpected),
	cmocka_unit_test(nothing_may_stand_between_the_pieces_of_a_message),
	cmocka_unit_test(a_key_update_moves_both_sides_on),
	cmocka_unit_test(a_key_update_may_be_cut_but_ends_its_record),
	cmocka_unit_test(a_key_update_says_0_or_1_in_one_byte),
	cmocka_unit_test(key_updates_without_data_in_between_have_a_limit),
	cmocka_unit_test(the_record_after_a_key_update_is_broken_under_the_old_key),
	cmocka_unit_test(a_side_is_tired_before_2_to_the_24_records),
	cmocka_unit_test(the_sequence_number_counts_in_all_eight_bytes_and_never_wraps),
	cmocka_unit_test(a_wiped_side_holds_nothing),
	cmocka_unit_test(libssl_as_server_understands_us_and_we_it),
	cmocka_unit_test(libssl_as_client_understands_us_and_we_it),
};

int main(void)
{
	int failed = cmocka_run_group_tests_name("records with evp", tests, use_evp, NULL);

	return failed + cmocka_run_group_tests_name("records with auto", tests, use_auto, NULL);
}
