/* SPDX-License-Identifier: Apache-2.0 */
/* bytes - growable bytes and cursors. */
#include "base/bytes.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

ssize_t bytes_find(struct bytes hay, struct bytes needle)
{
	const uint8_t *at;

	if (needle.len == 0)
		return 0;
	if (hay.len < needle.len)
		return -1; /* hay.data may be NULL */
	at = memmem(hay.data, hay.len, needle.data, needle.len);
	return at == NULL ? -1 : at - hay.data;
}

char *bytes_to_hex(struct bytes b)
{
	static const char digits[] = "0123456789abcdef";
	char *text = mem_new(2 * b.len + 1);

	for (size_t i = 0; i < b.len; i++) {
		text[2 * i] = digits[b.data[i] >> 4];
		text[2 * i + 1] = digits[b.data[i] & 15];
	}
	return text;
}

/* One byte more than asked for, so that buf_str() has room for its terminator. */
uint8_t *buf_reserve(struct buf *b, size_t len)
{
	if (b->size < b->len + len + 1) {
		size_t size = MAX(b->size * 2, b->len + len + 1);

		b->data = mem_resize(b->data, MAX(size, (size_t)64));
		b->size = MAX(size, (size_t)64);
	}
	return b->data + b->len;
}

void buf_append(struct buf *b, const void *data, size_t len)
{
	uint8_t *to = buf_reserve(b, len);

	if (len > 0)
		memcpy(to, data, len);
	b->len += len;
}

void buf_append_str(struct buf *b, const char *s)
{
	buf_append(b, s, strlen(s));
}

void buf_append_bytes(struct buf *b, struct bytes src)
{
	buf_append(b, src.data, src.len);
}

void buf_format(struct buf *b, const char *fmt, ...)
{
	va_list args;
	char *text;

	va_start(args, fmt);
	text = mem_vformat(fmt, args);
	va_end(args);
	buf_append_str(b, text);
	free(text);
}

void buf_clear(struct buf *b)
{
	b->len = 0;
}

void buf_release(struct buf *b)
{
	free(b->data);
	*b = (struct buf){ 0 };
}

void buf_release_secret(struct buf *b)
{
	mem_wipe(b->data, b->size);
	buf_release(b);
}

const char *buf_str(struct buf *b)
{
	*buf_reserve(b, 0) = '\0';
	return (const char *)b->data;
}

char *buf_take_str(struct buf *b)
{
	char *text;

	buf_str(b);
	text = (char *)b->data;
	*b = (struct buf){ 0 };
	return text;
}

struct reader reader_of(struct bytes b)
{
	return (struct reader){ b.data, b.len == 0 ? b.data : b.data + b.len, false };
}

size_t reader_left(const struct reader *r)
{
	return r->failed ? 0 : (size_t)(r->end - r->at);
}

struct bytes reader_bytes(struct reader *r, size_t len)
{
	struct bytes b = { r->at, len };

	if (reader_left(r) < len) {
		r->failed = true;
		return (struct bytes){ NULL, 0 };
	}
	if (len > 0)
		r->at += len;
	return b;
}

static uint64_t read_be(struct reader *r, size_t len)
{
	struct bytes b = reader_bytes(r, len);
	uint64_t v = 0;

	for (size_t i = 0; i < b.len; i++)
		v = v << 8 | b.data[i];
	return v;
}

uint8_t reader_u8(struct reader *r)
{
	return (uint8_t)read_be(r, 1);
}

uint16_t reader_u16(struct reader *r)
{
	return (uint16_t)read_be(r, 2);
}

uint32_t reader_u24(struct reader *r)
{
	return (uint32_t)read_be(r, 3);
}

uint32_t reader_u32(struct reader *r)
{
	return (uint32_t)read_be(r, 4);
}

uint64_t reader_u64(struct reader *r)
{
	return read_be(r, 8);
}

struct writer writer_of(void *data, size_t size)
{
	return (struct writer){ data, size, 0, false };
}

void writer_bytes(struct writer *w, struct bytes b)
{
	if (w->failed || w->size - w->len < b.len) {
		w->failed = true;
		return;
	}
	if (b.len > 0)
		memcpy(w->data + w->len, b.data, b.len);
	w->len += b.len;
}

static void write_be(struct writer *w, uint64_t v, size_t len)
{
	uint8_t be[8];

	for (size_t i = 0; i < len; i++)
		be[i] = (uint8_t)(v >> 8 * (len - 1 - i));
	writer_bytes(w, bytes_of(be, len));
}

void writer_u8(struct writer *w, uint8_t v)
{
	write_be(w, v, 1);
}

void writer_u16(struct writer *w, uint16_t v)
{
	write_be(w, v, 2);
}

void writer_u24(struct writer *w, uint32_t v)
{
	write_be(w, v, 3);
}

void writer_u32(struct writer *w, uint32_t v)
{
	write_be(w, v, 4);
}

void writer_u64(struct writer *w, uint64_t v)
{
	write_be(w, v, 8);
}
