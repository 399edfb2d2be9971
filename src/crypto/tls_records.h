/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tls_records - libssl's own record layer, after the handshake: the same work as record.h, record by record.
 *
 * For those who trust libssl's more than ours, and to tell the two apart when something is wrong. Each connection
 * keeps its TLS object. Two things are libssl's way: of alerts it sends only close_notify and its own, and it cannot
 * send while the peer is in the middle of a message, of a ticket that is cut into records.
 *
 * Threads: as tls.h.
 */
#pragma once

#include "base/bytes.h"
#include "crypto/record.h"
#include "crypto/tls.h"

/* After TLS_DONE, and instead of tls_handshake_sides(). */
void tls_records_begin(struct tls_handshake *h);
uint16_t tls_records_suite(const struct tls_handshake *h);

/*
 * As record_open(). What libssl has to say to a record that is RECORD_BROKEN, or asks for a KeyUpdate, comes from the
 * next tls_records_seal_alert() or tls_records_seal_key_update(). m holds the same limits.
 */
struct record_opened tls_records_open(struct tls_handshake *h, struct record_messages *m, struct bytes in,
				      uint8_t *out);

/*
 * As record_seal_data(), record_seal_key_update() without a request, record_seal_alert(). 0: libssl failed, or has no
 * alert to send. A KeyUpdate may come with answers to earlier ones; it and an alert want this much room.
 */
#define TLS_RECORDS_CONTROL 896 /* as many KeyUpdates as record.h allows, and an alert */
size_t tls_records_seal_data(struct tls_handshake *h, struct bytes in, uint8_t *out);
size_t tls_records_seal_key_update(struct tls_handshake *h, uint8_t *out);
size_t tls_records_seal_alert(struct tls_handshake *h, enum tls_alert alert, uint8_t *out);
