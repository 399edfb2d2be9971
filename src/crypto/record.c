/* SPDX-License-Identifier: Apache-2.0 */
/*
 * record - the record layer and the post-handshake messages of TLS 1.3.
 *
 * Sealing and opening use a key, a nonce made of the IV and the sequence number, and nothing else;
 * neither allocates. Keys are derived when a side begins and at a KeyUpdate, with an HMAC that is
 * fetched once.
 *
 * What comes in passes three gates: the header, which is believed only as far as a length goes; the
 * tag, before which not one byte is looked at; and the rules for the type inside. Whatever is
 * refused wipes what was opened.
 */
#include "crypto/record.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>

#define MAX_WIRE_BODY (RECORD_MAX_WIRE - RECORD_HEADER_LEN)
#define MAX_INNER (RECORD_MAX_PLAIN + 1) /* content, its type and padding */
#define MAX_EXPANDED 48

/* RFC 8446 5.5: 2^24.5 full records of AES-GCM. We move on before 2^24, and leave room to be slow.
 */
#define TIRED_AES_GCM ((UINT64_C(1) << 24) - (UINT64_C(1) << 16))
#define TIRED_OTHERS (UINT64_MAX - (UINT64_C(1) << 32))

/* As RECORD_MAX_KEY_UPDATES. */
#define MAX_EMPTY_RECORDS 32

#define MESSAGE_HEADER_LEN 4

enum { MESSAGE_NEW_SESSION_TICKET = 4, MESSAGE_KEY_UPDATE = 24 };
enum { KEY_UPDATE_NOT_REQUESTED = 0, KEY_UPDATE_REQUESTED = 1 };
enum { ALERT_LEVEL_WARNING = 1, ALERT_LEVEL_FATAL = 2 };

enum hash { HASH_SHA256, HASH_SHA384 };

struct suite {
	uint16_t id;
	enum aead_algorithm aead;
	enum hash hash;
};

static const struct suite suites[] = {
	{ SUITE_AES_128_GCM_SHA256, AEAD_AES_128_GCM, HASH_SHA256 },
	{ SUITE_AES_256_GCM_SHA384, AEAD_AES_256_GCM, HASH_SHA384 },
	{ SUITE_CHACHA20_POLY1305_SHA256, AEAD_CHACHA20_POLY1305, HASH_SHA256 },
};

static const struct {
	const char *name;
	size_t len;
} hashes[] = {
	[HASH_SHA256] = { "SHA256", 32 },
	[HASH_SHA384] = { "SHA384", 48 },
};

/* HMAC with each hash, made once; a use copies one, which fetches nothing and is safe on any
 * thread. */
static EVP_MAC_CTX *templates[ARRAY_SIZE(hashes)];
static pthread_once_t templates_once = PTHREAD_ONCE_INIT;

/* For a libcrypto without HMAC-SHA2, or without memory: there is no way to go on. */
static _Noreturn void die(const char *what)
{
	log_error("record: %s failed", what);
	abort();
}

static void make_templates(void)
{
	static const uint8_t any_key[1]; /* only what has a key can be copied */
	EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);

	for (size_t i = 0; i < ARRAY_SIZE(hashes); i++) {
		OSSL_PARAM params[] = {
			OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char *)hashes[i].name, 0),
			OSSL_PARAM_construct_end(),
		};

		templates[i] = EVP_MAC_CTX_new(mac);
		if (templates[i] == NULL || !EVP_MAC_init(templates[i], any_key, sizeof(any_key), params))
			die("fetching HMAC");
	}
	EVP_MAC_free(mac);
}

/* gives a context for expand_label(); EVP_MAC_CTX_free() it. */
static EVP_MAC_CTX *hmac_new(enum hash hash)
{
	EVP_MAC_CTX *hmac;

	pthread_once(&templates_once, make_templates);
	hmac = EVP_MAC_CTX_dup(templates[hash]);
	if (hmac == NULL)
		die("a new HMAC");
	return hmac;
}

/*
 * RFC 8446 7.1, HKDF-Expand-Label with an empty context. No output is longer than the hash, so that
 * HKDF-Expand (RFC 5869 2.3) has only its first round.
 */
static void expand_label(EVP_MAC_CTX *hmac, struct bytes secret, const char *label, uint8_t *out, size_t len)
{
	uint8_t info[32];
	uint8_t block[MAX_EXPANDED];
	struct writer w = writer_of(info, sizeof(info));
	size_t block_len;

	writer_u16(&w, (uint16_t)len);
	writer_u8(&w, (uint8_t)(6 + strlen(label)));
	writer_bytes(&w, bytes_str("tls13 "));
	writer_bytes(&w, bytes_str(label));
	writer_u8(&w, 0); /* length of the context */
	writer_u8(&w, 1); /* number of the round */

	if (w.failed || !EVP_MAC_init(hmac, secret.data, secret.len, NULL) || !EVP_MAC_update(hmac, info, w.len) ||
	    !EVP_MAC_final(hmac, block, &block_len, sizeof(block)) || block_len < len)
		die("deriving a key");
	memcpy(out, block, len);
	mem_wipe(block, sizeof(block));
}

static const struct suite *suite_of(uint16_t id)
{
	for (size_t i = 0; i < ARRAY_SIZE(suites); i++) {
		if (suites[i].id == id)
			return &suites[i];
	}
	return NULL;
}

/* RFC 8446 7.3 */
static void derive_key_and_iv(struct record_side *s, const struct suite *suite, EVP_MAC_CTX *hmac)
{
	struct bytes secret = bytes_of(s->secret, hashes[suite->hash].len);
	uint8_t key[AEAD_MAX_KEY_LEN];

	expand_label(hmac, secret, "key", key, aead_key_len(suite->aead));
	expand_label(hmac, secret, "iv", s->iv, sizeof(s->iv));
	aead_key_init(&s->key, suite->aead, key);
	mem_wipe(key, sizeof(key));
	s->sequence = 0;
}

int record_side_init(struct record_side *s, uint16_t suite_id, struct bytes secret, struct err *e)
{
	const struct suite *suite = suite_of(suite_id);
	EVP_MAC_CTX *hmac;

	if (suite == NULL)
		return err_set(e, ERR_PEER, "cipher suite 0x%04x is none of ours", suite_id);
	if (secret.len != hashes[suite->hash].len)
		return err_set(e, ERR_PEER, "traffic secret of %zu bytes for cipher suite 0x%04x", secret.len,
			       suite_id);
	memset(s, 0, sizeof(*s));
	s->suite = suite_id;
	memcpy(s->secret, secret.data, secret.len);
	hmac = hmac_new(suite->hash);
	derive_key_and_iv(s, suite, hmac);
	EVP_MAC_CTX_free(hmac);
	return 0;
}

void record_side_wipe(struct record_side *s)
{
	mem_wipe(s, sizeof(*s));
}

void record_side_update(struct record_side *s)
{
	const struct suite *suite = suite_of(s->suite);
	EVP_MAC_CTX *hmac;
	size_t len;

	if (suite == NULL)
		die("updating a side that is not set up");
	len = hashes[suite->hash].len;
	hmac = hmac_new(suite->hash);
	expand_label(hmac, bytes_of(s->secret, len), "traffic upd", s->secret, len);
	derive_key_and_iv(s, suite, hmac);
	EVP_MAC_CTX_free(hmac);
}

bool record_side_is_tired(const struct record_side *s)
{
	return s->sequence >= (s->suite == SUITE_CHACHA20_POLY1305_SHA256 ? TIRED_OTHERS : TIRED_AES_GCM);
}

/* RFC 8446 5.3 */
static void nonce_of(const struct record_side *s, uint8_t nonce[AEAD_IV_LEN])
{
	memcpy(nonce, s->iv, AEAD_IV_LEN);
	for (size_t i = 0; i < sizeof(s->sequence); i++)
		nonce[AEAD_IV_LEN - 1 - i] ^= (uint8_t)(s->sequence >> 8 * i);
}

size_t record_seal(struct aead_cache *c, struct record_side *s, enum record_type type, const uint8_t *in, size_t len,
		   uint8_t *out)
{
	const size_t body = len + 1 + AEAD_TAG_LEN;
	const uint8_t tail = (uint8_t)type;
	uint8_t nonce[AEAD_IV_LEN];

	if (len > RECORD_MAX_PLAIN || s->sequence == UINT64_MAX)
		die("sealing a record that is too long, or one too many");
	out[0] = RECORD_DATA;
	out[1] = 3;
	out[2] = 3;
	out[3] = (uint8_t)(body >> 8);
	out[4] = (uint8_t)body;
	nonce_of(s, nonce);
	aead_seal_tail(c, &s->key, nonce, bytes_of(out, RECORD_HEADER_LEN), bytes_of(in, len), bytes_of(&tail, 1),
		       out + RECORD_HEADER_LEN);
	s->sequence++;
	return RECORD_HEADER_LEN + body;
}

size_t record_seal_data(struct aead_cache *c, struct record_side *s, const uint8_t *in, size_t len, uint8_t *out)
{
	size_t written = 0;

	for (size_t at = 0; at < len; at += RECORD_MAX_PLAIN)
		written +=
			record_seal(c, s, RECORD_DATA, in + at, MIN(len - at, (size_t)RECORD_MAX_PLAIN), out + written);
	return written;
}

size_t record_sealed_size(size_t len)
{
	return len + (len + RECORD_MAX_PLAIN - 1) / RECORD_MAX_PLAIN * RECORD_OVERHEAD;
}

/* The expanded key would let a later reader of our memory read what was said before. */
static void move_on(struct aead_cache *c, struct record_side *s)
{
	aead_cache_forget(c, &s->key);
	record_side_update(s);
}

size_t record_seal_key_update(struct aead_cache *c, struct record_side *s, bool request_peer, uint8_t *out)
{
	const uint8_t message[] = { MESSAGE_KEY_UPDATE, 0, 0, 1,
				    request_peer ? KEY_UPDATE_REQUESTED : KEY_UPDATE_NOT_REQUESTED };
	size_t written = record_seal(c, s, RECORD_HANDSHAKE, message, sizeof(message), out);

	move_on(c, s);
	return written;
}

size_t record_seal_alert(struct aead_cache *c, struct record_side *s, enum tls_alert alert, uint8_t *out)
{
	bool is_warning = alert == ALERT_CLOSE_NOTIFY || alert == ALERT_USER_CANCELED;
	const uint8_t message[] = { is_warning ? ALERT_LEVEL_WARNING : ALERT_LEVEL_FATAL, (uint8_t)alert };

	return record_seal(c, s, RECORD_ALERT, message, sizeof(message), out);
}

static struct record_opened broken(enum tls_alert alert)
{
	return (struct record_opened){ .result = RECORD_BROKEN, .alert = (uint8_t)alert };
}

static struct record_opened opened(enum record_result result)
{
	return (struct record_opened){ .result = result };
}

/* A record that moves nothing: the peer may send some, but not for ever. */
static struct record_opened take_nothing(struct record_messages *m, enum record_result result)
{
	if (m->empty == MAX_EMPTY_RECORDS)
		return broken(ALERT_UNEXPECTED_MESSAGE);
	m->empty++;
	return opened(result);
}

static bool is_inside_a_message(const struct record_messages *m)
{
	return m->head_len > 0 || m->skip > 0;
}

static struct record_opened take_data(struct record_messages *m, size_t len)
{
	if (is_inside_a_message(m))
		return broken(ALERT_UNEXPECTED_MESSAGE);
	if (len == 0)
		return take_nothing(m, RECORD_PLAIN);
	m->key_updates = 0;
	m->empty = 0;
	m->message_bytes = 0;
	return (struct record_opened){ .result = RECORD_PLAIN, .plain_len = len };
}

/* RFC 8446 6: an alert fills its record, and its level means nothing. */
static struct record_opened take_alert(struct record_messages *m, struct bytes content)
{
	if (content.len == 0 || is_inside_a_message(m))
		return broken(ALERT_UNEXPECTED_MESSAGE);
	if (content.len != 2)
		return broken(ALERT_DECODE_ERROR);
	if (content.data[1] == ALERT_CLOSE_NOTIFY)
		return opened(RECORD_CLOSED);
	if (content.data[1] == ALERT_USER_CANCELED)
		return take_nothing(m, RECORD_NOTHING);
	return (struct record_opened){ .result = RECORD_PEER_ALERT, .alert = content.data[1] };
}

/* The header of a message is complete. Returns 0, or why the message is not welcome. */
static int check_message_header(struct record_messages *m)
{
	const uint32_t len = (uint32_t)m->head[1] << 16 | (uint32_t)m->head[2] << 8 | m->head[3];

	switch (m->head[0]) {
	case MESSAGE_NEW_SESSION_TICKET:
		if (m->refuse_tickets || len + MESSAGE_HEADER_LEN > RECORD_MAX_MESSAGE_BYTES - m->message_bytes)
			return ALERT_UNEXPECTED_MESSAGE;
		m->message_bytes += len + MESSAGE_HEADER_LEN;
		m->skip = len;
		m->head_len = 0;
		return 0;
	case MESSAGE_KEY_UPDATE:
		return len == 1 ? 0 : ALERT_DECODE_ERROR;
	default:
		return ALERT_UNEXPECTED_MESSAGE;
	}
}

/* The value of a KeyUpdate is there too; rest is the length of what stands behind it in its record.
 */
static struct record_opened take_key_update(struct aead_cache *c, struct record_side *s, struct record_messages *m,
					    size_t rest)
{
	const uint8_t value = m->head[MESSAGE_HEADER_LEN];

	m->head_len = 0;
	if (value != KEY_UPDATE_NOT_REQUESTED && value != KEY_UPDATE_REQUESTED)
		return broken(ALERT_ILLEGAL_PARAMETER);
	if (rest > 0) /* RFC 8446 5.1: it is under the key that has just ended */
		return broken(ALERT_UNEXPECTED_MESSAGE);
	if (m->key_updates == RECORD_MAX_KEY_UPDATES)
		return broken(ALERT_UNEXPECTED_MESSAGE);
	m->key_updates++;
	move_on(c, s);
	return opened(value == KEY_UPDATE_REQUESTED ? RECORD_KEY_UPDATE_REQUESTED : RECORD_KEY_UPDATED);
}

static struct bytes behind(struct bytes b, size_t len)
{
	return bytes_of(b.data + len, b.len - len);
}

static struct record_opened take_messages(struct aead_cache *c, struct record_side *s, struct record_messages *m,
					  struct bytes content)
{
	if (content.len == 0)
		return broken(ALERT_UNEXPECTED_MESSAGE);
	while (content.len > 0) {
		const uint32_t skipped = (uint32_t)MIN((size_t)m->skip, content.len);
		int alert = 0;

		m->skip -= skipped;
		content = behind(content, skipped);
		if (content.len == 0)
			break;
		m->head[m->head_len++] = content.data[0];
		content = behind(content, 1);
		if (m->head_len > MESSAGE_HEADER_LEN)
			return take_key_update(c, s, m, content.len);
		if (m->head_len == MESSAGE_HEADER_LEN)
			alert = check_message_header(m);
		if (alert != 0)
			return broken((enum tls_alert)alert);
	}
	return opened(RECORD_NOTHING);
}

/* RFC 8446 5.4: the type is the last byte that is not zero. */
static struct record_opened take_inner(struct aead_cache *c, struct record_side *s, struct record_messages *m,
				       struct bytes inner)
{
	if (inner.len > MAX_INNER)
		return broken(ALERT_RECORD_OVERFLOW);
	while (inner.len > 0 && inner.data[inner.len - 1] == 0)
		inner.len--;
	if (inner.len == 0)
		return broken(ALERT_UNEXPECTED_MESSAGE);
	inner.len--;
	switch (inner.data[inner.len]) {
	case RECORD_DATA:
		return take_data(m, inner.len);
	case RECORD_HANDSHAKE:
		return take_messages(c, s, m, inner);
	case RECORD_ALERT:
		return take_alert(m, inner);
	default:
		return broken(ALERT_UNEXPECTED_MESSAGE);
	}
}

/* 0, or what is wrong with a header. Its version is for show (RFC 8446 5.1); the tag covers it. */
static int check_header(const uint8_t header[RECORD_HEADER_LEN], size_t body)
{
	if (header[0] != RECORD_DATA)
		return ALERT_UNEXPECTED_MESSAGE;
	if (body > MAX_WIRE_BODY)
		return ALERT_RECORD_OVERFLOW;
	return body < AEAD_TAG_LEN ? ALERT_BAD_RECORD_MAC : 0;
}

struct record_opened record_open(struct aead_cache *c, struct record_side *s, struct record_messages *m,
				 struct bytes in, uint8_t *out)
{
	struct record_opened result;
	uint8_t nonce[AEAD_IV_LEN];
	size_t body;
	int alert;

	if (in.len < RECORD_HEADER_LEN)
		return (struct record_opened){ .result = RECORD_MORE, .need = RECORD_HEADER_LEN };
	body = (size_t)in.data[3] << 8 | in.data[4];
	alert = check_header(in.data, body);
	if (alert != 0)
		return broken((enum tls_alert)alert);
	if (in.len < RECORD_HEADER_LEN + body)
		return (struct record_opened){ .result = RECORD_MORE, .need = RECORD_HEADER_LEN + body };
	if (s->sequence == UINT64_MAX)
		return broken(ALERT_INTERNAL_ERROR);

	nonce_of(s, nonce);
	if (!aead_open(c, &s->key, nonce, bytes_of(in.data, RECORD_HEADER_LEN), in.data + RECORD_HEADER_LEN, body, out))
		return broken(ALERT_BAD_RECORD_MAC);
	s->sequence++;

	result = take_inner(c, s, m, bytes_of(out, body - AEAD_TAG_LEN));
	if (result.result == RECORD_BROKEN)
		mem_wipe(out, body - AEAD_TAG_LEN);
	else
		result.wire_len = RECORD_HEADER_LEN + body;
	return result;
}
