/* SPDX-License-Identifier: Apache-2.0 */
/* record_layer_own - our own record layer: two keys, and nothing else that lasts. */
#include "io/worker.h"
#include "tunnel/rats_tls/record_layer.h"
#include "tunnel/rats_tls/record_stream.h"

static struct record_opened open_record(struct record_stream *s, struct bytes in, uint8_t *out)
{
	return record_open(s->worker->aead, &s->rx, &s->messages, in, out);
}

static size_t seal_data(struct record_stream *s, struct bytes in, uint8_t *out)
{
	return record_seal_data(s->worker->aead, &s->tx, in.data, in.len, out);
}

static size_t seal_key_update(struct record_stream *s, uint8_t *out)
{
	return record_seal_key_update(s->worker->aead, &s->tx, false, out);
}

static size_t seal_alert(struct record_stream *s, enum tls_alert alert, uint8_t *out)
{
	return record_seal_alert(s->worker->aead, &s->tx, alert, out);
}

static void release(struct record_stream *s)
{
	aead_cache_forget(s->worker->aead, &s->rx.key);
	aead_cache_forget(s->worker->aead, &s->tx.key);
	record_side_wipe(&s->rx);
	record_side_wipe(&s->tx);
}

const struct record_layer record_layer_own = { open_record, seal_data, seal_key_update, seal_alert, release };
