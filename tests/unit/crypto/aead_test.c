/* SPDX-License-Identifier: Apache-2.0 */
/* aead_test - every implementation against published vectors, against each other, and against
 * tampering. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "crypto/aead.h"

static size_t unhex(const char *text, uint8_t *out)
{
	size_t len = strlen(text) / 2;

	for (size_t i = 0; i < len; i++)
		assert_int_equal(sscanf(text + 2 * i, "%2hhx", &out[i]), 1);
	return len;
}

struct vector {
	enum aead_algorithm algorithm;
	const char *key;
	const char *iv;
	const char *aad;
	const char *plain;
	const char *sealed;
};

#define ZERO_KEY_128 "00000000000000000000000000000000"
#define ZERO_KEY_256 ZERO_KEY_128 ZERO_KEY_128
#define ZERO_IV "000000000000000000000000"
#define KEY_128 "feffe9928665731c6d6a8f9467308308"
#define KEY_256 KEY_128 KEY_128
#define IV "cafebabefacedbaddecaf888"
#define AAD "feedfacedeadbeeffeedfacedeadbeefabaddad2"
#define PLAIN_60                                                                                                       \
	"d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e24"                     \
	"49a6b525"                                                                                                     \
	"b16aedf5aa0de657ba637b39"
#define SEALED_60_128                                                                                                  \
	"42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e21d514b25466931c7d8f6a5a"                     \
	"ac84aa05"                                                                                                     \
	"1ba30b396a0aac973d58e091"
#define SEALED_60_256                                                                                                  \
	"522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b10"                     \
	"56828838"                                                                                                     \
	"c5f61e6393ba7a0abcc9f662"

static const struct vector vectors[] = {
	/* McGrew and Viega, "The Galois/Counter Mode of Operation", test cases 1 to 4 and 13 to 16
	 */
	{ AEAD_AES_128_GCM, ZERO_KEY_128, ZERO_IV, "", "", "58e2fccefa7e3061367f1d57a4e7455a" },
	{ AEAD_AES_128_GCM, ZERO_KEY_128, ZERO_IV, "", "00000000000000000000000000000000",
	  "0388dace60b6a392f328c2b971b2fe78ab6e47d42cec13bdf53a67b21257bddf" },
	{ AEAD_AES_128_GCM, KEY_128, IV, "", PLAIN_60 "1aafd255",
	  SEALED_60_128 "473f59854d5c2af327cd64a62cf35abd2ba6fab4" },
	{ AEAD_AES_128_GCM, KEY_128, IV, AAD, PLAIN_60, SEALED_60_128 "5bc94fbc3221a5db94fae95ae7121a47" },
	{ AEAD_AES_256_GCM, ZERO_KEY_256, ZERO_IV, "", "", "530f8afbc74536b9a963b4f1c4cb738b" },
	{ AEAD_AES_256_GCM, ZERO_KEY_256, ZERO_IV, "", "00000000000000000000000000000000",
	  "cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919" },
	{ AEAD_AES_256_GCM, KEY_256, IV, "", PLAIN_60 "1aafd255",
	  SEALED_60_256 "898015adb094dac5d93471bdec1a502270e3cc6c" },
	{ AEAD_AES_256_GCM, KEY_256, IV, AAD, PLAIN_60, SEALED_60_256 "76fc6ece0f4e1768cddf8853bb2d551b" },
	/* RFC 8439 2.8.2 */
	{ AEAD_CHACHA20_POLY1305, "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f",
	  "070000004041424344454647", "50515253c0c1c2c3c4c5c6c7",
	  "4c616469657320616e642047656e746c656d656e206f662074686520636c617373206f66202739393a2049662"
	  "04920"
	  "636f756c64206f6666657220796f75206f6e6c79206f6e652074697020666f7220746865206675747572652c2"
	  "07375"
	  "6e73637265656e20776f756c642062652069742e",
	  "d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d63dbea45e8ca9671282fafb69d"
	  "a9272"
	  "8b1a71de0a9e060b2905d6a5b67ecd3b3692ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808"
	  "b4831"
	  "d7bc3ff4def08e4b7a9de576d26586cec64b61161ae10b594f09e26a7e902ecbd0600691" },
};

static const enum aead_algorithm algorithms[] = { AEAD_AES_128_GCM, AEAD_AES_256_GCM, AEAD_CHACHA20_POLY1305 };

static const uint8_t iv[AEAD_IV_LEN] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12 };
static const uint8_t some_aad[5] = { 23, 3, 3, 0x40, 0x11 };

static struct aead_key key_of(enum aead_algorithm alg, uint8_t seed)
{
	uint8_t bytes[AEAD_MAX_KEY_LEN];
	struct aead_key k;

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(seed + 7 * i);
	aead_key_init(&k, alg, bytes);
	return k;
}

static void fill(uint8_t *p, size_t len)
{
	uint32_t x = 2463534242u;

	for (size_t i = 0; i < len; i++) {
		x ^= x << 13;
		x ^= x >> 17;
		x ^= x << 5;
		p[i] = (uint8_t)x;
	}
}

static bool can_select(const char *name)
{
	struct err e;

	return aead_select(name, &e) == 0;
}

static int use_evp(void **state)
{
	(void)state;
	return can_select("evp") ? 0 : -1;
}

/* Where there is no ipsec-mb, its tests pass without it: "auto" is then evp. */
static int use_auto(void **state)
{
	(void)state;
	return can_select("auto") ? 0 : -1;
}

static void published_vectors_are_met(void **state)
{
	struct aead_cache *c = aead_cache_new();

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(vectors); i++) {
		const struct vector *v = &vectors[i];
		uint8_t key[32], nonce[12], aad[32], plain[128], sealed[160], out[160];
		size_t aad_len = unhex(v->aad, aad);
		size_t len = unhex(v->plain, plain);
		struct aead_key k;

		unhex(v->iv, nonce);
		unhex(v->sealed, sealed);
		assert_int_equal(unhex(v->key, key), aead_key_len(v->algorithm));
		aead_key_init(&k, v->algorithm, key);
		aead_seal(c, &k, nonce, bytes_of(aad, aad_len), plain, len, out);
		assert_memory_equal(out, sealed, len + AEAD_TAG_LEN);
		assert_true(aead_open(c, &k, nonce, bytes_of(aad, aad_len), sealed, len + AEAD_TAG_LEN, out));
		assert_memory_equal(out, plain, len);
	}
	aead_cache_free(c);
}

static void one_bit_changed_anywhere_is_refused_and_wiped(void **state)
{
	struct aead_cache *c = aead_cache_new();
	uint8_t plain[75], sealed[75 + AEAD_TAG_LEN], out[75], zeros[75] = { 0 };

	(void)state;
	fill(plain, sizeof(plain));
	for (size_t a = 0; a < ARRAY_SIZE(algorithms); a++) {
		struct aead_key k = key_of(algorithms[a], 1);
		uint8_t aad[sizeof(some_aad)], nonce[AEAD_IV_LEN];

		aead_seal(c, &k, iv, bytes_of(some_aad, sizeof(some_aad)), plain, sizeof(plain), sealed);
		for (size_t bit = 0; bit < 8 * (sizeof(sealed) + sizeof(aad) + sizeof(nonce)); bit++) {
			uint8_t mask = (uint8_t)(1 << bit % 8);
			size_t at = bit / 8;
			uint8_t changed[sizeof(sealed)];

			memcpy(changed, sealed, sizeof(sealed));
			memcpy(aad, some_aad, sizeof(aad));
			memcpy(nonce, iv, sizeof(nonce));
			if (at < sizeof(sealed))
				changed[at] ^= mask;
			else if (at < sizeof(sealed) + sizeof(aad))
				aad[at - sizeof(sealed)] ^= mask;
			else
				nonce[at - sizeof(sealed) - sizeof(aad)] ^= mask;
			memset(out, 0xaa, sizeof(out));
			assert_false(
				aead_open(c, &k, nonce, bytes_of(aad, sizeof(aad)), changed, sizeof(changed), out));
			assert_memory_equal(out, zeros, sizeof(out));
		}
		assert_true(aead_open(c, &k, iv, bytes_of(some_aad, sizeof(some_aad)), sealed, sizeof(sealed), out));
		assert_memory_equal(out, plain, sizeof(plain));
	}
	aead_cache_free(c);
}

static void less_than_a_tag_is_refused(void **state)
{
	struct aead_cache *c = aead_cache_new();
	struct aead_key k = key_of(AEAD_AES_128_GCM, 1);
	uint8_t sealed[AEAD_TAG_LEN], out[1];

	(void)state;
	aead_seal(c, &k, iv, bytes_of(NULL, 0), NULL, 0, sealed);
	for (size_t len = 0; len < AEAD_TAG_LEN; len++)
		assert_false(aead_open(c, &k, iv, bytes_of(NULL, 0), sealed, len, out));
	assert_true(aead_open(c, &k, iv, bytes_of(NULL, 0), sealed, sizeof(sealed), out));
	aead_cache_free(c);
}

static void a_tail_is_sealed_as_if_it_had_stood_behind(void **state)
{
	struct aead_cache *c = aead_cache_new();
	uint8_t plain[700], whole[700 + AEAD_TAG_LEN], parts[700 + AEAD_TAG_LEN];

	(void)state;
	fill(plain, sizeof(plain));
	for (size_t a = 0; a < ARRAY_SIZE(algorithms); a++) {
		struct aead_key k = key_of(algorithms[a], 3);

		for (size_t len = 1; len <= sizeof(plain); len++) {
			size_t tail = 1 + len % MIN(len, (size_t)19);

			aead_seal(c, &k, iv, bytes_of(some_aad, 5), plain, len, whole);
			aead_seal_tail(c, &k, iv, bytes_of(some_aad, 5), bytes_of(plain, len - tail),
				       bytes_of(plain + len - tail, tail), parts);
			assert_memory_equal(parts, whole, len + AEAD_TAG_LEN);
		}
	}
	aead_cache_free(c);
}

/* Each size below 600 and around the multiples of 4096, others in jumps. */
static size_t next_size(size_t len)
{
	if (len < 600 || len % 4096 < 40 || len % 4096 >= 4096 - 40)
		return len + 1;
	return MIN(len + 97, len / 4096 * 4096 + 4096 - 40);
}

static void implementations_agree_for_every_size(void **state)
{
	enum { MOST = 20000 };
	uint8_t *plain = mem_new(MOST + 1), *a = mem_new(MOST + 32), *b = mem_new(MOST + 32);
	struct aead_cache *evp, *fast;

	(void)state;
	fill(plain, MOST + 1);
	assert_true(can_select("evp"));
	evp = aead_cache_new();
	assert_true(can_select("auto"));
	fast = aead_cache_new();
	for (size_t i = 0; i < ARRAY_SIZE(algorithms); i++) {
		struct aead_key k = key_of(algorithms[i], 5);

		for (size_t len = 0; len <= MOST; len = next_size(len)) {
			struct bytes aad = bytes_of(plain, len % 40);

			memset(a, 0xaa, MOST + 32);
			memset(b, 0xaa, MOST + 32);
			aead_seal_tail(evp, &k, iv, aad, bytes_of(plain, len), bytes_of(plain + len, 1), a + len % 3);
			aead_seal_tail(fast, &k, iv, aad, bytes_of(plain, len), bytes_of(plain + len, 1), b + len % 3);
			assert_memory_equal(a, b, MOST + 32);
			assert_true(aead_open(evp, &k, iv, aad, b + len % 3, len + 1 + AEAD_TAG_LEN, a));
			assert_memory_equal(a, plain, len + 1);
			memset(b + len % 3, 0, len % 3);
			aead_seal(fast, &k, iv, aad, plain, len, b);
			assert_true(aead_open(fast, &k, iv, aad, b, len + AEAD_TAG_LEN, a));
			assert_memory_equal(a, plain, len);
		}
	}
	aead_cache_free(evp);
	aead_cache_free(fast);
	free(plain);
	free(a);
	free(b);
}

/* Hand-written assembly tells no sanitizer what it touches: pages that cannot be touched do. */
static uint8_t *room_between_walls(size_t room, size_t page)
{
	uint8_t *p = mmap(NULL, room + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(p, MAP_FAILED);
	assert_int_equal(mprotect(p + page, room, PROT_READ | PROT_WRITE), 0);
	return p + page;
}

static void nothing_outside_of_the_message_is_touched(void **state)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t room = 5 * page;
	uint8_t *in = room_between_walls(room, page);
	uint8_t *out = room_between_walls(room, page);
	uint8_t *aad = room_between_walls(room, page);
	struct aead_cache *c = aead_cache_new();

	(void)state;
	fill(in, room);
	fill(aad, room);
	for (size_t a = 0; a < ARRAY_SIZE(algorithms); a++) {
		struct aead_key k = key_of(algorithms[a], 9);

		for (size_t len = 0; len <= room - AEAD_TAG_LEN; len += len < 300 ? 1 : 23) {
			size_t sealed_len = len + AEAD_TAG_LEN;
			struct bytes at_start = bytes_of(aad, 5), at_end = bytes_of(aad + room - 5, 5);
			uint8_t tail = 23;

			aead_seal(c, &k, iv, at_start, in, len, out);
			assert_true(aead_open(c, &k, iv, at_start, out, sealed_len, in));
			aead_seal(c, &k, iv, at_end, in + room - len, len, out + room - sealed_len);
			assert_true(aead_open(c, &k, iv, at_end, out + room - sealed_len, sealed_len, in + room - len));
			if (len < room - AEAD_TAG_LEN)
				aead_seal_tail(c, &k, iv, at_end, bytes_of(in + room - len, len), bytes_of(&tail, 1),
					       out + room - sealed_len - 1);
		}
	}
	aead_cache_free(c);
	munmap(in - page, room + 2 * page);
	munmap(out - page, room + 2 * page);
	munmap(aad - page, room + 2 * page);
}

static void more_keys_than_the_cache_holds_all_work(void **state)
{
	enum { KEYS = 500 };
	struct aead_cache *c = aead_cache_new();
	struct aead_key *keys = mem_new_array(KEYS, sizeof(*keys));
	uint8_t plain[50] = "whatever", sealed[KEYS][50 + AEAD_TAG_LEN], out[50];

	(void)state;
	for (size_t i = 0; i < KEYS; i++) {
		keys[i] = key_of(algorithms[i % 3], (uint8_t)i);
		aead_seal(c, &keys[i], iv, bytes_of(NULL, 0), plain, sizeof(plain), sealed[i]);
	}
	for (size_t i = 0; i < 4 * KEYS; i++) {
		size_t n = i * 367 % KEYS;

		assert_true(aead_open(c, &keys[n], iv, bytes_of(NULL, 0), sealed[n], sizeof(sealed[n]), out));
		assert_memory_equal(out, plain, sizeof(plain));
		assert_false(
			aead_open(c, &keys[n], iv, bytes_of(NULL, 0), sealed[(n + 1) % KEYS], sizeof(sealed[n]), out));
		if (i % 7 == 0)
			aead_cache_forget(c, &keys[n]);
	}
	free(keys);
	aead_cache_free(c);
}

static void a_key_that_was_forgotten_is_expanded_again(void **state)
{
	struct aead_cache *c = aead_cache_new();
	struct aead_key k = key_of(AEAD_AES_256_GCM, 1);
	uint8_t first[AEAD_TAG_LEN + 3], again[AEAD_TAG_LEN + 3];

	(void)state;
	aead_cache_forget(c, &k);
	aead_seal(c, &k, iv, bytes_of(NULL, 0), (const uint8_t *)"abc", 3, first);
	aead_cache_forget(c, &k);
	aead_cache_forget(c, &k);
	aead_seal(c, &k, iv, bytes_of(NULL, 0), (const uint8_t *)"abc", 3, again);
	assert_memory_equal(first, again, sizeof(first));
	aead_cache_free(c);
	aead_cache_free(NULL);
}

static void ids_differ_and_the_same_bytes_give_the_same_cipher(void **state)
{
	struct aead_cache *c = aead_cache_new();
	struct aead_key a = key_of(AEAD_AES_128_GCM, 1), b = key_of(AEAD_AES_128_GCM, 1);
	uint8_t x[AEAD_TAG_LEN + 3], y[AEAD_TAG_LEN + 3];

	(void)state;
	assert_true(a.id != 0 && b.id != 0 && a.id != b.id);
	aead_seal(c, &a, iv, bytes_of(NULL, 0), (const uint8_t *)"abc", 3, x);
	aead_seal(c, &b, iv, bytes_of(NULL, 0), (const uint8_t *)"abc", 3, y);
	assert_memory_equal(x, y, sizeof(x));
	aead_cache_free(c);
}

static void a_wiped_key_ends_the_process_rather_than_encrypt_with_zeros(void **state)
{
	pid_t child = fork();
	int status;

	(void)state;
	assert_true(child >= 0);
	if (child == 0) {
		struct aead_cache *c = aead_cache_new();
		struct aead_key k = key_of(AEAD_AES_128_GCM, 1);
		uint8_t out[AEAD_TAG_LEN];

		signal(SIGABRT, SIG_DFL);
		close(STDERR_FILENO);
		mem_wipe(&k, sizeof(k));
		aead_seal(c, &k, iv, bytes_of(NULL, 0), NULL, 0, out);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

static void a_name_of_no_implementation_is_a_configuration_error(void **state)
{
	struct err e = { 0 };

	(void)state;
	assert_int_equal(aead_select("ipsec", &e), -1);
	assert_int_equal(e.kind, ERR_CONFIG);
	assert_non_null(strstr(e.text, "ipsec-mb"));
	assert_int_equal(aead_select("", &e), -1);
}

static void the_description_names_library_and_version(void **state)
{
	unsigned major, minor;
	char arch[16];

	(void)state;
	assert_true(can_select("evp"));
	assert_int_equal(sscanf(aead_description(), "evp (OpenSSL %u.%u", &major, &minor), 2);
	if (!can_select("ipsec-mb"))
		skip();
	assert_int_equal(sscanf(aead_description(), "ipsec-mb %u.%u (%15[A-Z0-9])", &major, &minor, arch), 3);
}

static const struct CMUnitTest for_each_implementation[] = {
	cmocka_unit_test(published_vectors_are_met),
	cmocka_unit_test(one_bit_changed_anywhere_is_refused_and_wiped),
	cmocka_unit_test(less_than_a_tag_is_refused),
	cmocka_unit_test(a_tail_is_sealed_as_if_it_had_stood_behind),
	cmocka_unit_test(nothing_outside_of_the_message_is_touched),
	cmocka_unit_test(more_keys_than_the_cache_holds_all_work),
	cmocka_unit_test(a_key_that_was_forgotten_is_expanded_again),
	cmocka_unit_test(ids_differ_and_the_same_bytes_give_the_same_cipher),
	cmocka_unit_test(a_wiped_key_ends_the_process_rather_than_encrypt_with_zeros),
};

static const struct CMUnitTest once[] = {
	cmocka_unit_test(implementations_agree_for_every_size),
	cmocka_unit_test(a_name_of_no_implementation_is_a_configuration_error),
	cmocka_unit_test(the_description_names_library_and_version),
};

int main(void)
{
	int failed = cmocka_run_group_tests_name("evp", for_each_implementation, use_evp, NULL);

	failed += cmocka_run_group_tests_name("auto", for_each_implementation, use_auto, NULL);
	failed += cmocka_run_group_tests_name("selection", once, use_evp, NULL);
	return failed;
}
