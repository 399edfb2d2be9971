/* SPDX-License-Identifier: Apache-2.0 */
/*
 * record_layer_libssl - libssl goes on after the handshake.
 *
 * libssl never updates its keys by itself, so that tx counts its records for record_side_is_tired().
 */
#include "crypto/tls_records.h"
#include "tunnel/rats_tls/record_layer.h"
#include "tunnel/rats_tls/record_stream.h"

static struct record_opened open_record(struct record_stream *s, struct bytes in, uint8_t *out)
{
	return tls_records_open(s->libssl, &s->messages, in, out);
}

static size_t seal_data(struct record_stream *s, struct bytes in, uint8_t *out)
{
	s->tx.sequence += (in.len + RECORD_MAX_PLAIN - 1) / RECORD_MAX_PLAIN;
	return tls_records_seal_data(s->libssl, in, out);
}

static size_t seal_key_update(struct record_stream *s, uint8_t *out)
{
	s->tx.sequence = 0;
	return tls_records_seal_key_update(s->libssl, out);
}

static size_t seal_alert(struct record_stream *s, enum tls_alert alert, uint8_t *out)
{
	return tls_records_seal_alert(s->libssl, alert, out);
}

static void release(struct record_stream *s)
{
	tls_handshake_free(s->libssl);
	s->libssl = NULL;
}

const struct record_layer record_layer_libssl = { open_record, seal_data, seal_key_update, seal_alert, release };
