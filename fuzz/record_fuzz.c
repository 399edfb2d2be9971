/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a peer can send after the handshake, with its key or without. The first byte chooses suite
 * and role, then come pieces: a byte (even: as it is; odd: sealed first), a length of two bytes,
 * and the bytes.
 */
#include <stdlib.h>

#include "crypto/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint16_t suites[] = { SUITE_AES_128_GCM_SHA256, SUITE_AES_256_GCM_SHA384, SUITE_CHACHA20_POLY1305_SHA256 };

struct ends {
	struct aead_cache *cache;
	struct record_side from;
	struct record_side to;
	struct record_messages messages;
};

static void must(bool holds)
{
	if (!holds)
		abort();
}

static struct ends ends_of(uint8_t choice)
{
	static struct aead_cache *cache;
	static const uint8_t secret[48] = { 1, 2, 3 };
	const uint16_t suite = suites[choice % ARRAY_SIZE(suites)];
	const size_t secret_len = suite == SUITE_AES_256_GCM_SHA384 ? 48 : 32;
	struct ends x = { .messages.refuse_tickets = (choice & 0x80) != 0 };
	struct err e;

	if (cache == NULL) {
		must(aead_select("auto", &e) == 0);
		cache = aead_cache_new();
	}
	x.cache = cache;
	must(record_side_init(&x.from, suite, bytes_of(secret, secret_len), &e) == 0);
	must(record_side_init(&x.to, suite, bytes_of(secret, secret_len), &e) == 0);
	return x;
}

/* record_seal() with any inner plaintext, however long. */
static struct bytes seal_inner(struct ends *x, struct bytes inner, uint8_t *wire)
{
	const size_t body = inner.len + AEAD_TAG_LEN;
	uint8_t nonce[AEAD_IV_LEN];

	wire[0] = RECORD_DATA;
	wire[1] = 3;
	wire[2] = 3;
	wire[3] = (uint8_t)(body >> 8);
	wire[4] = (uint8_t)body;
	memcpy(nonce, x->from.iv, sizeof(nonce));
	for (size_t i = 0; i < 8; i++)
		nonce[4 + i] ^= (uint8_t)(x->from.sequence >> (56 - 8 * i));
	x->from.sequence++;
	aead_seal(x->cache, &x->from.key, nonce, bytes_of(wire, RECORD_HEADER_LEN), inner.data, inner.len,
		  wire + RECORD_HEADER_LEN);
	return bytes_of(wire, RECORD_HEADER_LEN + body);
}

static void check_wiped(const uint8_t *out, size_t len)
{
	for (size_t i = 0; i < len; i++)
		must(out[i] == 0);
}

/* Returns whether the connection goes on. */
static bool check_opened(struct ends *x, struct bytes wire, struct record_opened r, const uint8_t *out)
{
	must(r.wire_len <= wire.len);
	must(r.plain_len <= RECORD_MAX_PLAIN);
	must(r.plain_len == 0 || r.result == RECORD_PLAIN);
	must(x->messages.head_len < sizeof(x->messages.head));
	switch (r.result) {
	case RECORD_MORE:
		must(r.need > wire.len && r.need <= RECORD_MAX_WIRE && r.wire_len == 0);
		return false;
	case RECORD_BROKEN:
		must(r.wire_len == 0 && r.alert != 0);
		check_wiped(out, MIN(wire.len, (size_t)RECORD_MAX_PLAIN));
		return false;
	case RECORD_KEY_UPDATED:
	case RECORD_KEY_UPDATE_REQUESTED:
		aead_cache_forget(x->cache, &x->from.key);
		record_side_update(&x->from);
		must(memcmp(x->from.secret, x->to.secret, sizeof(x->to.secret)) == 0);
		break;
	case RECORD_PEER_ALERT:
	case RECORD_PLAIN:
	case RECORD_NOTHING:
	case RECORD_CLOSED:
		break;
	}
	must(r.wire_len == wire.len && x->from.sequence == x->to.sequence);
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t room[RECORD_HEADER_LEN + 65536 + AEAD_TAG_LEN];
	static uint8_t out[RECORD_MAX_PLAIN + 256];
	struct reader r = reader_of(bytes_of(data, size));
	struct ends x = ends_of(reader_u8(&r));
	bool goes_on = true;

	while (goes_on && reader_left(&r) > 0) {
		const bool sealed = reader_u8(&r) & 1;
		const size_t len = reader_u16(&r);
		struct bytes wire = reader_bytes(&r, MIN(len, reader_left(&r)));

		if (sealed)
			wire = seal_inner(&x, bytes_of(wire.data, MIN(wire.len, (size_t)65535 - AEAD_TAG_LEN)), room);
		memset(out, 0, sizeof(out));
		goes_on = check_opened(&x, wire, record_open(x.cache, &x.to, &x.messages, wire, out), out) && sealed;
	}
	aead_cache_forget(x.cache, &x.from.key);
	aead_cache_forget(x.cache, &x.to.key);
	record_side_wipe(&x.from);
	record_side_wipe(&x.to);
	return 0;
}
