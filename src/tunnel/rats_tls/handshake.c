/* SPDX-License-Identifier: Apache-2.0 */
/*
 * handshake - bytes to and fro.
 *
 * The handshake object of libssl, some 20 to 40 KiB, goes as soon as the handshake is over, unless libssl is to do the
 * records as well. The last message of ours stays in out: its owner may let it leave together with the first bytes
 * of the application.
 */
#include "tunnel/rats_tls/handshake.h"

#include <errno.h>
#include <sys/socket.h>

#include "crypto/tls_records.h"
#include "io/pool.h"
#include "io/worker.h"
#include "tunnel/rats_tls/record_stream.h"
#include "tunnel/rats_tls/secure_side.h"

#define CERT_COPIES 3 /* ours, the verifier's, and that in its request */
#define TLS_HANDSHAKE_RECORD 22
#define TLS_ALERT_RECORD 21

size_t handshake_unsent(const struct handshake *h)
{
	return h->out.len - h->out_sent;
}

/* false: errno says why. */
static bool flush(struct handshake *h)
{
	struct watch *watch = &h->rs->watch;

	while (h->out_sent < h->out.len) {
		ssize_t n = send(watch->fd, h->out.data + h->out_sent, handshake_unsent(h), MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN && loop_watch_output(h->side->worker->loop, watch) == 0;
		h->out_sent += (size_t)n;
	}
	buf_clear(&h->out);
	h->out_sent = 0;
	return true;
}

int handshake_send_rest(struct handshake *h, struct err *why)
{
	if (!flush(h))
		return err_errno(why, ERR_PEER, "TLS handshake");
	if (h->out.len == 0)
		buf_release(&h->out);
	return 0;
}

static enum handshake_step fail_errno(enum reason *reason, struct err *why)
{
	*reason = REASON_PEER_CLOSED;
	err_errno(why, ERR_PEER, "TLS handshake");
	return HANDSHAKE_FAILED;
}

/* For what outlives libssl's object: until the verdict, or until the peer has read it. */
static bool take_budget(struct handshake *h, size_t size, enum reason *reason, struct err *why)
{
	if (tls_budget_take(size)) {
		h->charged += size;
		return true;
	}
	*reason = REASON_HANDSHAKE_MEMORY;
	err_set(why, ERR_LIMIT, "handshakes in flight use all of limits.handshake_memory");
	return false;
}

/* The certificate is kept for the verdict only where there is one to make. */
static bool take_certificate(struct handshake *h, enum reason *reason, struct err *why)
{
	if (h->side->verifier == NULL)
		return true;
	if (!tls_handshake_peer_cert(h->tls, &h->cert)) {
		*reason = REASON_TLS_NO_CERTIFICATE;
		err_set(why, ERR_TRUST, "the peer presented no certificate");
		return false;
	}
	return take_budget(h, CERT_COPIES * h->cert.len, reason, why);
}

static enum handshake_step finish(struct handshake *h, struct bytes rest, enum reason *reason, struct err *why)
{
	if (!take_budget(h, rest.len, reason, why))
		return HANDSHAKE_FAILED;
	buf_append_bytes(&h->early, rest);
	if (h->side->libssl_records) {
		tls_records_begin(h->tls);
	} else if (tls_handshake_sides(h->tls, &h->rx, &h->tx, why) < 0) {
		*reason = REASON_TLS_FAILED;
		return HANDSHAKE_FAILED;
	}
	h->alpn = tls_handshake_alpn(h->tls);
	if (!take_certificate(h, reason, why))
		return HANDSHAKE_FAILED;
	if (!h->side->libssl_records) {
		tls_handshake_free(h->tls);
		h->tls = NULL;
	}
	return HANDSHAKE_OVER;
}

static enum handshake_step step(struct handshake *h, struct bytes in, enum reason *reason, struct err *why)
{
	size_t used = 0;

	switch (tls_handshake_step(h->tls, in, &used, &h->out, reason, why)) {
	case TLS_MORE:
		if (!flush(h))
			return fail_errno(reason, why);
		/* So far nothing else is charged; once only, however small the pieces in which the peer goes on. */
		if (handshake_unsent(h) > h->charged && !take_budget(h, handshake_unsent(h) - h->charged, reason, why))
			return HANDSHAKE_FAILED;
		return HANDSHAKE_WAITS;
	case TLS_DONE:
		return finish(h, bytes_of(in.data + used, in.len - used), reason, why);
	case TLS_FAILED:
		flush(h); /* the alert, if it can be sent */
		break;
	}
	return HANDSHAKE_FAILED;
}

static bool is_plaintext(const struct handshake *h, uint8_t first)
{
	return first != TLS_HANDSHAKE_RECORD && (h->side->role == TLS_SERVER || first != TLS_ALERT_RECORD);
}

/* rats-tls.md 8: what a TLS port answers to something else. */
static enum handshake_step refuse_plaintext(struct handshake *h, uint8_t first, enum reason *reason, struct err *why)
{
	static const uint8_t decode_error[] = { 0x15, 0x03, 0x03, 0x00, 0x02, 0x02, 0x32 };

	if (h->side->role == TLS_SERVER)
		buf_append(&h->out, decode_error, sizeof(decode_error));
	flush(h);
	*reason = REASON_TLS_PLAINTEXT;
	err_set(why, ERR_PEER, "the first byte is 0x%02x: this is not TLS", first);
	return HANDSHAKE_FAILED;
}

static enum handshake_step end_of_input(enum reason *reason, struct err *why)
{
	*reason = REASON_PEER_CLOSED;
	err_set(why, ERR_PEER, "the peer closed before the handshake was over");
	return HANDSHAKE_FAILED;
}

static enum handshake_step read_on(struct handshake *h, enum reason *reason, struct err *why)
{
	uint8_t *scratch = pool_cipher_scratch(h->side->worker->pool);
	enum handshake_step result = HANDSHAKE_WAITS;

	while (result == HANDSHAKE_WAITS && !h->drained) {
		bool is_first = !h->first_byte;
		ssize_t n = recv(h->rs->watch.fd, scratch, POOL_READ_SIZE, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			h->drained = true;
			break;
		}
		if (n < 0)
			return fail_errno(reason, why);
		if (n == 0)
			return end_of_input(reason, why);
		h->first_byte = true;
		if (is_first && is_plaintext(h, scratch[0]))
			return refuse_plaintext(h, scratch[0], reason, why);
		result = step(h, bytes_of(scratch, (size_t)n), reason, why);
		/* The rest of a short read can only come with another event. */
		h->drained = n < POOL_READ_SIZE && !h->rs->hung_up;
	}
	return result;
}

enum handshake_step handshake_go_on(struct handshake *h, enum reason *reason, struct err *why)
{
	if (!flush(h))
		return fail_errno(reason, why);
	return read_on(h, reason, why);
}

enum handshake_step handshake_begin(struct handshake *h, struct secure_side *side, struct record_stream *rs,
				    const char *server_name, enum reason *reason, struct err *why)
{
	h->side = side;
	h->rs = rs;
	h->tls = tls_handshake_new(side->config, server_name, why);
	if (h->tls == NULL) {
		*reason = why->kind == ERR_LIMIT ? REASON_HANDSHAKE_MEMORY : REASON_TLS_FAILED;
		return HANDSHAKE_FAILED;
	}
	if (side->role == TLS_SERVER)
		return HANDSHAKE_WAITS;
	return step(h, (struct bytes){ NULL, 0 }, reason, why);
}

void handshake_open_records(struct handshake *h)
{
	struct record_stream *rs = h->rs;

	if (h->tls == NULL) {
		record_stream_open(rs, &h->rx, &h->tx, buf_bytes(&h->early));
	} else {
		record_stream_open_libssl(rs, h->tls, buf_bytes(&h->early));
		h->tls = NULL;
	}
	rs->stream.readable = !h->drained;
	if (h->out.len > 0)
		record_stream_cork(rs, bytes_of(h->out.data + h->out_sent, handshake_unsent(h)));
	rs->messages.refuse_tickets = h->side->role == TLS_SERVER;
}

void handshake_release(struct handshake *h)
{
	tls_budget_give(h->charged);
	tls_handshake_free(h->tls);
	record_side_wipe(&h->rx);
	record_side_wipe(&h->tx);
	buf_release(&h->out);
	buf_release(&h->early);
	buf_release(&h->cert);
}
