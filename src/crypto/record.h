/* SPDX-License-Identifier: Apache-2.0 */
/*
 * record - TLS 1.3 records after the handshake (RFC 8446 sections 5 and 4.6).
 *
 * libssl makes the handshake; this takes the two application traffic secrets and does the rest: no TLS
 * object is kept. Pure bytes in and out, no socket.
 *
 * Threads: a record_side belongs to one thread at a time.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"
#include "crypto/aead.h"

#define RECORD_HEADER_LEN 5
#define RECORD_MAX_PLAIN 16384
#define RECORD_OVERHEAD (RECORD_HEADER_LEN + 1 + AEAD_TAG_LEN) /* of a record that we seal: no padding */
#define RECORD_MAX_WIRE (RECORD_HEADER_LEN + RECORD_MAX_PLAIN + 256)

/* What a peer may send between two pieces of application data. */
#define RECORD_MAX_KEY_UPDATES 32
#define RECORD_MAX_MESSAGE_BYTES (256 * 1024)

enum record_suite {
	SUITE_AES_128_GCM_SHA256 = 0x1301,
	SUITE_AES_256_GCM_SHA384 = 0x1302,
	SUITE_CHACHA20_POLY1305_SHA256 = 0x1303,
};

enum record_type { RECORD_ALERT = 21, RECORD_HANDSHAKE = 22, RECORD_DATA = 23 };

enum tls_alert {
	ALERT_CLOSE_NOTIFY = 0,
	ALERT_UNEXPECTED_MESSAGE = 10,
	ALERT_BAD_RECORD_MAC = 20,
	ALERT_RECORD_OVERFLOW = 22,
	ALERT_ILLEGAL_PARAMETER = 47,
	ALERT_DECODE_ERROR = 50,
	ALERT_INTERNAL_ERROR = 80,
	ALERT_USER_CANCELED = 90,
	ALERT_CERTIFICATE_REQUIRED = 116,
};

/* One direction of one connection. */
struct record_side {
	struct aead_key key;
	uint8_t iv[AEAD_IV_LEN];
	uint8_t secret[48]; /* application_traffic_secret_N, for KeyUpdate */
	uint64_t sequence;
	uint16_t suite;
};

/*
 * Post-handshake messages may be cut into records: what we have of the current one, and what a peer has sent
 * since it last sent data. {0} is ready for use.
 */
struct record_messages {
	uint8_t head[5]; /* 4 of the header and KeyUpdate's one byte */
	uint8_t head_len;
	uint32_t skip;		/* bytes of a NewSessionTicket that are still to come and are dropped */
	uint8_t key_updates;	/* without application data in between */
	uint8_t empty;		/* records that carried nothing: the same */
	bool refuse_tickets;	/* we are the server: no client may send one */
	uint32_t message_bytes; /* of handshake messages since the last application data */
};

/* secret has 32 or 48 bytes, by suite. ERR_PEER for a suite that is none of ours. */
int record_side_init(struct record_side *s, uint16_t suite, struct bytes secret, struct err *e) MUST_CHECK;
void record_side_wipe(struct record_side *s);

/* RFC 8446 7.2: the next generation. The caller has the cache forget the present key. */
void record_side_update(struct record_side *s);

/* Our own KeyUpdate is due: before 2^24 records (AES-GCM), with a margin. */
bool record_side_is_tired(const struct record_side *s);

/*
 * Seals len bytes (at most RECORD_MAX_PLAIN) as one record of this type into out, which has room for
 * len + RECORD_OVERHEAD. Returns the bytes written. in and out do not overlap. The process ends rather than let
 * the sequence number wrap, which record_side_is_tired() foretells.
 */
size_t record_seal(struct aead_cache *c, struct record_side *s, enum record_type type, const uint8_t *in, size_t len,
		   uint8_t *out);

/* Seals all of in as full records; out has room for record_sealed_size(len). Returns the bytes written. */
size_t record_seal_data(struct aead_cache *c, struct record_side *s, const uint8_t *in, size_t len, uint8_t *out);
size_t record_sealed_size(size_t len);

/* One KeyUpdate record under the present key; the side is then at the next generation. */
size_t record_seal_key_update(struct aead_cache *c, struct record_side *s, bool request_peer, uint8_t *out);
size_t record_seal_alert(struct aead_cache *c, struct record_side *s, enum tls_alert alert, uint8_t *out);

enum record_result {
	RECORD_MORE,		     /* not a whole record: *need says how many bytes there must be in all */
	RECORD_PLAIN,		     /* application data; may be empty */
	RECORD_NOTHING,		     /* a ticket was dropped, a piece of a message was taken */
	RECORD_KEY_UPDATED,	     /* the peer's key moved on */
	RECORD_KEY_UPDATE_REQUESTED, /* the same, and the peer wants ours to move: one answer for several will do */
	RECORD_CLOSED,		     /* close_notify */
	RECORD_PEER_ALERT,	     /* *alert says which fatal alert the peer sent */
	RECORD_BROKEN,		     /* *alert says what to send; nothing of it was delivered */
};

struct record_opened {
	enum record_result result;
	size_t need;	  /* RECORD_MORE */
	size_t wire_len;  /* bytes of in that this record took; 0 for RECORD_MORE and RECORD_BROKEN */
	size_t plain_len; /* RECORD_PLAIN */
	uint8_t alert;
};

/*
 * Opens the first record of in. out has room for RECORD_MAX_PLAIN + 256 bytes and does not overlap in; only
 * plain_len bytes of it count. Everything that RFC 8446 5 forbids is RECORD_BROKEN: plain records after the
 * handshake (change_cipher_spec included), a length over the limit (told from the header alone), inner
 * content over 16384, zeros only, handshake messages mixed with data, unknown types, a wrong tag, floods of
 * empty records, KeyUpdates or tickets.
 */
struct record_opened record_open(struct aead_cache *c, struct record_side *s, struct record_messages *m,
				 struct bytes in, uint8_t *out);
