/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bytes - bytes that we look at, bytes that grow, and cursors to read and write messages with.
 *
 * A cursor remembers its first failure, so that the code for a message is spelled like its definition
 * and checked once at the end. Reading past the end gives zeros and sets failed.
 *
 * Threads: any; an object belongs to its holder.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/types.h>

#include "base/mem.h"

/* Borrowed, never owned. */
struct bytes {
	const uint8_t *data;
	size_t len;
};

static inline struct bytes bytes_of(const void *data, size_t len)
{
	return (struct bytes){ (const uint8_t *)data, len };
}

static inline struct bytes bytes_str(const char *s)
{
	return bytes_of(s, strlen(s));
}

static inline bool bytes_equal(struct bytes a, struct bytes b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

static inline bool bytes_equal_str(struct bytes a, const char *s)
{
	return bytes_equal(a, bytes_str(s));
}

/* Where needle begins in hay, or -1. */
ssize_t bytes_find(struct bytes hay, struct bytes needle);

/* Lower-case hex; gives a string, the caller frees it. */
char *bytes_to_hex(struct bytes b);

/* An owned byte string that grows; {0} is empty. buf_str() is always terminated. */
struct buf {
	uint8_t *data;
	size_t len;
	size_t size;
};

void buf_append(struct buf *b, const void *data, size_t len);
void buf_append_str(struct buf *b, const char *s);
void buf_append_bytes(struct buf *b, struct bytes src);
void buf_format(struct buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Room for len more bytes at the end; the caller writes there and adds to b->len. */
uint8_t *buf_reserve(struct buf *b, size_t len);
void buf_clear(struct buf *b);

/* Leaves b empty and ready for use. */
void buf_release(struct buf *b);

/* Wipes before it releases: for keys. */
void buf_release_secret(struct buf *b);

/* Borrowed from b until its next change. */
const char *buf_str(struct buf *b);

/* gives the content as a string; b is empty afterwards; the caller frees it. */
char *buf_take_str(struct buf *b);

static inline struct bytes buf_bytes(const struct buf *b)
{
	return bytes_of(b->data, b->len);
}

struct reader {
	const uint8_t *at;
	const uint8_t *end;
	bool failed;
};

struct reader reader_of(struct bytes b);
size_t reader_left(const struct reader *r);
uint8_t reader_u8(struct reader *r);
uint16_t reader_u16(struct reader *r); /* all integers big-endian */
uint32_t reader_u24(struct reader *r);
uint32_t reader_u32(struct reader *r);
uint64_t reader_u64(struct reader *r);

/* Borrowed from what is read; empty after a failure. */
struct bytes reader_bytes(struct reader *r, size_t len);

struct writer {
	uint8_t *data;
	size_t size;
	size_t len;
	bool failed;
};

struct writer writer_of(void *data, size_t size);
void writer_u8(struct writer *w, uint8_t v);
void writer_u16(struct writer *w, uint16_t v);
void writer_u24(struct writer *w, uint32_t v);
void writer_u32(struct writer *w, uint32_t v);
void writer_u64(struct writer *w, uint64_t v);
void writer_bytes(struct writer *w, struct bytes b);
