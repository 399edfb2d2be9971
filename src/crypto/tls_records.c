/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tls_records - one record in, one result out, with libssl in between.
 *
 * libssl is given one whole record at a time, so that it never keeps a piece of one and can let go of its
 * buffers after each. What it wants to say while it reads (alerts, answers to KeyUpdates) waits in `said` until the
 * caller asks for it; a peer that makes it say more is broken off. Messages are counted as they pass by, for the
 * limits of record.h.
 */
#include "crypto/tls_records.h"

#include <openssl/err.h>
#include <stdlib.h>

#include "crypto/tls_internal.h"

enum { MESSAGE_NEW_SESSION_TICKET = 4, MESSAGE_KEY_UPDATE = 24 };

struct tls_established {
	struct record_messages *messages; /* during a call of open */
	bool moved;			  /* this record held a KeyUpdate */
	bool asked;			  /* which wants ours */
	bool too_many;
	bool ended; /* our close_notify is out: what else libssl says is not for sending */
	size_t said_len;
	uint8_t said[TLS_RECORDS_CONTROL];
};

/* A whole message has come; libssl has not looked at it yet. */
static void on_message(int is_ours, int version, int type, const void *message, size_t len, SSL *ssl, void *arg)
{
	struct tls_established *r = arg;
	const uint8_t *at = message;

	(void)version;
	(void)ssl;
	if (is_ours || type != SSL3_RT_HANDSHAKE || len == 0 || r->messages == NULL)
		return;
	if (at[0] == MESSAGE_KEY_UPDATE) {
		r->moved = true;
		r->asked = at[len - 1] == SSL_KEY_UPDATE_REQUESTED;
		r->messages->key_updates++;
	} else if (at[0] == MESSAGE_NEW_SESSION_TICKET) {
		r->messages->message_bytes += (uint32_t)len;
	}
	if (r->messages->key_updates > RECORD_MAX_KEY_UPDATES || r->messages->message_bytes > RECORD_MAX_MESSAGE_BYTES)
		r->too_many = true;
}

void tls_records_begin(struct tls_handshake *h)
{
	h->records = mem_new_of(struct tls_established);
	SSL_set_mode(h->ssl, SSL_MODE_RELEASE_BUFFERS);
	SSL_set_msg_callback(h->ssl, on_message);
	SSL_set_msg_callback_arg(h->ssl, h->records);
}

void tls_records_free(struct tls_established *r)
{
	free(r);
}

uint16_t tls_records_suite(const struct tls_handshake *h)
{
	return SSL_CIPHER_get_protocol_id(SSL_get_current_cipher(h->ssl));
}

/* How much of in libssl is to see, 0: not all has come. A header that is wrong says so by itself. */
static size_t wire_len(struct bytes in)
{
	size_t body;

	if (in.len < RECORD_HEADER_LEN)
		return 0;
	body = (size_t)in.data[3] << 8 | in.data[4];
	if (in.data[0] != RECORD_DATA || RECORD_HEADER_LEN + body > RECORD_MAX_WIRE)
		return RECORD_HEADER_LEN;
	return in.len < RECORD_HEADER_LEN + body ? 0 : RECORD_HEADER_LEN + body;
}

static enum record_result result_of_nothing(const struct tls_established *r)
{
	if (r->too_many)
		return RECORD_BROKEN;
	if (!r->moved)
		return RECORD_NOTHING;
	return r->asked ? RECORD_KEY_UPDATE_REQUESTED : RECORD_KEY_UPDATED;
}

/* The record held no data, or an error. */
static struct record_opened explain(struct tls_handshake *h, int rc)
{
	int why = SSL_get_error(h->ssl, rc);
	unsigned long code = ERR_peek_error();
	int reason = ERR_GET_REASON(code);

	ERR_clear_error();
	if (why == SSL_ERROR_ZERO_RETURN)
		return (struct record_opened){ .result = RECORD_CLOSED };
	if (why == SSL_ERROR_WANT_READ)
		return (struct record_opened){ .result = result_of_nothing(h->records) };
	if (ERR_GET_LIB(code) == ERR_LIB_SSL && reason >= SSL_AD_REASON_OFFSET)
		return (struct record_opened){ .result = RECORD_PEER_ALERT,
					       .alert = (uint8_t)(reason - SSL_AD_REASON_OFFSET) };
	return (struct record_opened){ .result = RECORD_BROKEN, .alert = ALERT_INTERNAL_ERROR };
}

struct record_opened tls_records_open(struct tls_handshake *h, struct record_messages *m, struct bytes in, uint8_t *out)
{
	struct tls_established *r = h->records;
	struct record_opened o = { .result = RECORD_PLAIN };
	size_t len = wire_len(in);
	int rc;

	if (len == 0)
		return (struct record_opened){ .result = RECORD_MORE };
	r->messages = m;
	r->moved = false;
	r->asked = false;
	r->too_many = false;
	if (r->ended)
		r->said_len = 0;
	h->in = bytes_of(in.data, len);
	h->sealed = writer_of(r->said + r->said_len, sizeof(r->said) - r->said_len);
	ERR_clear_error();
	rc = SSL_read_ex(h->ssl, out, RECORD_MAX_PLAIN, &o.plain_len);
	r->said_len += h->sealed.len;
	r->messages = NULL;
	if (rc == 1) {
		m->key_updates = 0;
		m->message_bytes = 0;
	} else {
		o = explain(h, rc);
	}
	/* A wrong header that libssl would take after all, or a record that it did not come to the end of. */
	if (h->in.len > 0 || len == RECORD_HEADER_LEN)
		o.result = o.result == RECORD_PEER_ALERT ? o.result : RECORD_BROKEN;
	if (o.result != RECORD_BROKEN)
		o.wire_len = len;
	h->in = (struct bytes){ NULL, 0 };
	return o;
}

/* Gives what libssl said while it read; 0: nothing. */
static size_t take_said(struct tls_established *r, uint8_t *out)
{
	size_t len = r->said_len;

	memcpy(out, r->said, len);
	r->said_len = 0;
	return len;
}

static size_t end_sealing(struct tls_handshake *h, bool ok)
{
	ERR_clear_error();
	return ok && !h->sealed.failed ? h->sealed.len : 0;
}

size_t tls_records_seal_data(struct tls_handshake *h, struct bytes in, uint8_t *out)
{
	size_t written;

	if (in.len == 0)
		return 0;
	h->sealed = writer_of(out, record_sealed_size(in.len));
	return end_sealing(h, SSL_write_ex(h->ssl, in.data, in.len, &written) == 1);
}

/* libssl answers one KeyUpdate when it reads the next; the last one's answer is still to be made. */
size_t tls_records_seal_key_update(struct tls_handshake *h, uint8_t *out)
{
	size_t said = take_said(h->records, out);

	if (said > 0 && SSL_get_key_update_type(h->ssl) == SSL_KEY_UPDATE_NONE)
		return said;
	h->sealed = writer_of(out, TLS_RECORDS_CONTROL);
	h->sealed.len = said;
	return end_sealing(h,
			   SSL_key_update(h->ssl, SSL_KEY_UPDATE_NOT_REQUESTED) == 1 && SSL_do_handshake(h->ssl) == 1);
}

size_t tls_records_seal_alert(struct tls_handshake *h, enum tls_alert alert, uint8_t *out)
{
	if (alert != ALERT_CLOSE_NOTIFY)
		return take_said(h->records, out);
	h->records->ended = true;
	h->sealed = writer_of(out, TLS_RECORDS_CONTROL);
	return end_sealing(h, SSL_shutdown(h->ssl) >= 0);
}
