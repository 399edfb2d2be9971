/* SPDX-License-Identifier: Apache-2.0 */
/*
 * record_layer - what seals and opens for a record_stream: our own (crypto/record.h) or libssl's
 * (crypto/tls_records.h). Which one is for the whole process to say: tls_records in the configuration.
 *
 * Threads: the worker.
 */
#pragma once

#include "crypto/record.h"
#include "crypto/tls_records.h"

struct record_stream;

#define RECORD_CONTROL_MAX TLS_RECORDS_CONTROL /* bytes of a KeyUpdate or an alert of ours; libssl wants the most */

/* Each works as the function of crypto/record.h by that name. Sealing gives 0 bytes when the layer itself failed. */
struct record_layer {
	struct record_opened (*open)(struct record_stream *s, struct bytes in, uint8_t *out);
	size_t (*seal_data)(struct record_stream *s, struct bytes in, uint8_t *out);
	size_t (*seal_key_update)(struct record_stream *s, uint8_t *out);
	/* libssl knows itself which fatal alert to send; it may have none. */
	size_t (*seal_alert)(struct record_stream *s, enum tls_alert alert, uint8_t *out);
	/* Wipes the keys. */
	void (*release)(struct record_stream *s);
};

extern const struct record_layer record_layer_own;
extern const struct record_layer record_layer_libssl;
