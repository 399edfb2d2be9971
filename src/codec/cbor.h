/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cbor - the part of RFC 8949 that evidence is made of.
 *
 * Read: tags, unsigned numbers, null, arrays and maps of a stated length, text in one piece, byte strings
 * in one piece or in chunks. Anything else can be stepped over. A cursor remembers its first failure, as
 * those of base/bytes.h do; what is read after it is zero or empty. Numbers need not have their shortest
 * form. Written: the same, always in the shortest form and with stated lengths.
 *
 * Threads: any; pure functions.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"

#define CBOR_MAX_DEPTH 16 /* of what is stepped over */
#define CBOR_MAX_KEYS 32  /* in a map that is read key by key */

struct cbor_reader {
	struct reader in; /* in.failed tells how it went */
};

/* The keys of one map that have been read; {0} is empty. */
struct cbor_keys {
	struct bytes seen[CBOR_MAX_KEYS];
	size_t count;
};

struct cbor_reader cbor_reader_of(struct bytes b);

/* Nothing is left, and nothing has failed. */
bool cbor_at_end(const struct cbor_reader *r);

uint64_t cbor_read_tag(struct cbor_reader *r);
uint64_t cbor_read_unsigned(struct cbor_reader *r);

/* The number of elements, or of pairs; never more than there are bytes left. */
size_t cbor_read_array(struct cbor_reader *r);
size_t cbor_read_map(struct cbor_reader *r);

/* Borrowed from what is read. Fails for text that is not UTF-8. */
struct bytes cbor_read_text(struct cbor_reader *r);

/* A text that no key before it in this map equals. Fails from the key after CBOR_MAX_KEYS on. */
struct bytes cbor_read_key(struct cbor_reader *r, struct cbor_keys *keys);

/* Appends the byte string, its chunks joined. */
void cbor_read_bytes(struct cbor_reader *r, struct buf *out);

/* true, and past it, when the next value is null. */
bool cbor_read_null(struct cbor_reader *r);

/* Past one value of any kind. Fails when it is not well-formed, or nested deeper than CBOR_MAX_DEPTH. */
void cbor_skip(struct cbor_reader *r);

void cbor_write_tag(struct buf *out, uint64_t tag);
void cbor_write_unsigned(struct buf *out, uint64_t value);
void cbor_write_array(struct buf *out, size_t count);
void cbor_write_map(struct buf *out, size_t count);
void cbor_write_text(struct buf *out, struct bytes text);
void cbor_write_bytes(struct buf *out, struct bytes bytes);
void cbor_write_null(struct buf *out);
