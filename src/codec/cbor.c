/* SPDX-License-Identifier: Apache-2.0 */
/* cbor - the part of RFC 8949 that evidence is made of. */
#include "codec/cbor.h"

#include "base/utf8.h"

enum major {
	MAJOR_UNSIGNED,
	MAJOR_NEGATIVE,
	MAJOR_BYTES,
	MAJOR_TEXT,
	MAJOR_ARRAY,
	MAJOR_MAP,
	MAJOR_TAG,
	MAJOR_SIMPLE,
};

#define INDEFINITE 31
#define NULL_BYTE 0xf6
#define BREAK_BYTE 0xff

/* RFC 8949, section 3: the byte in front of every item and the number behind it. */
struct head {
	enum major major;
	uint8_t additional;
	uint64_t value;
};

struct cbor_reader cbor_reader_of(struct bytes b)
{
	return (struct cbor_reader){ reader_of(b) };
}

bool cbor_at_end(const struct cbor_reader *r)
{
	return !r->in.failed && reader_left(&r->in) == 0;
}

static struct head read_head(struct cbor_reader *r)
{
	uint8_t first = reader_u8(&r->in);
	struct head h = { (enum major)(first >> 5), first & 31, first & 31 };

	switch (h.additional) {
	case 24:
		h.value = reader_u8(&r->in);
		break;
	case 25:
		h.value = reader_u16(&r->in);
		break;
	case 26:
		h.value = reader_u32(&r->in);
		break;
	case 27:
		h.value = reader_u64(&r->in);
		break;
	case 28:
	case 29:
	case 30:
		r->in.failed = true;
		break;
	}
	return h;
}

/* The number of a head of this major type, which has one. */
static uint64_t read_number(struct cbor_reader *r, enum major major)
{
	struct head h = read_head(r);

	if (h.major != major || h.additional == INDEFINITE)
		r->in.failed = true;
	return r->in.failed ? 0 : h.value;
}

/* A count of items, each of which takes a byte at least. */
static size_t read_count(struct cbor_reader *r, enum major major)
{
	uint64_t count = read_number(r, major);

	if (count > reader_left(&r->in)) {
		r->in.failed = true;
		return 0;
	}
	return (size_t)count;
}

uint64_t cbor_read_tag(struct cbor_reader *r)
{
	return read_number(r, MAJOR_TAG);
}

uint64_t cbor_read_unsigned(struct cbor_reader *r)
{
	return read_number(r, MAJOR_UNSIGNED);
}

size_t cbor_read_array(struct cbor_reader *r)
{
	return read_count(r, MAJOR_ARRAY);
}

size_t cbor_read_map(struct cbor_reader *r)
{
	return read_count(r, MAJOR_MAP);
}

static bool is_utf8(struct bytes text)
{
	uint32_t c;

	while (text.len > 0) {
		size_t len = utf8_next(text, &c);

		if (len == 0)
			return false;
		text.data += len;
		text.len -= len;
	}
	return true;
}

struct bytes cbor_read_text(struct cbor_reader *r)
{
	struct bytes text = reader_bytes(&r->in, read_count(r, MAJOR_TEXT));

	if (!is_utf8(text)) {
		r->in.failed = true;
		return bytes_of(NULL, 0);
	}
	return text;
}

struct bytes cbor_read_key(struct cbor_reader *r, struct cbor_keys *keys)
{
	struct bytes key = cbor_read_text(r);

	for (size_t i = 0; i < keys->count; i++) {
		if (bytes_equal(keys->seen[i], key))
			r->in.failed = true;
	}
	if (keys->count == CBOR_MAX_KEYS)
		r->in.failed = true;
	if (r->in.failed)
		return bytes_of(NULL, 0);
	keys->seen[keys->count++] = key;
	return key;
}

static bool is_next(const struct cbor_reader *r, uint8_t byte)
{
	return reader_left(&r->in) > 0 && *r->in.at == byte;
}

/* true, and past it, at the end of something of indefinite length, or when there will be none. */
static bool read_break(struct cbor_reader *r)
{
	if (is_next(r, BREAK_BYTE)) {
		reader_u8(&r->in);
		return true;
	}
	if (reader_left(&r->in) == 0)
		r->in.failed = true;
	return r->in.failed;
}

void cbor_read_bytes(struct cbor_reader *r, struct buf *out)
{
	if (!is_next(r, MAJOR_BYTES << 5 | INDEFINITE)) {
		buf_append_bytes(out, reader_bytes(&r->in, read_count(r, MAJOR_BYTES)));
		return;
	}
	reader_u8(&r->in);
	while (!read_break(r))
		buf_append_bytes(out, reader_bytes(&r->in, read_count(r, MAJOR_BYTES)));
}

bool cbor_read_null(struct cbor_reader *r)
{
	if (!is_next(r, NULL_BYTE))
		return false;
	reader_u8(&r->in);
	return true;
}

static void skip(struct cbor_reader *r, unsigned depth);

static void skip_items(struct cbor_reader *r, uint64_t count, unsigned depth)
{
	for (uint64_t i = 0; i < count && !r->in.failed; i++)
		skip(r, depth + 1);
}

/* Behind the head: chunks, items or pairs until the break. Nothing else can have an indefinite length. */
static void skip_indefinite(struct cbor_reader *r, enum major major, unsigned depth)
{
	switch (major) {
	case MAJOR_BYTES:
	case MAJOR_TEXT:
		while (!read_break(r))
			reader_bytes(&r->in, read_count(r, major));
		break;
	case MAJOR_ARRAY:
		while (!read_break(r))
			skip(r, depth + 1);
		break;
	case MAJOR_MAP:
		while (!read_break(r))
			skip_items(r, 2, depth);
		break;
	case MAJOR_UNSIGNED:
	case MAJOR_NEGATIVE:
	case MAJOR_TAG:
	case MAJOR_SIMPLE:
		r->in.failed = true;
		break;
	}
}

static void skip(struct cbor_reader *r, unsigned depth)
{
	struct head h = read_head(r);

	if (depth > CBOR_MAX_DEPTH)
		r->in.failed = true;
	if (r->in.failed)
		return;
	if (h.additional == INDEFINITE) {
		skip_indefinite(r, h.major, depth);
		return;
	}
	switch (h.major) {
	case MAJOR_UNSIGNED:
	case MAJOR_NEGATIVE:
		break;
	case MAJOR_BYTES:
	case MAJOR_TEXT:
		if (h.value > reader_left(&r->in))
			r->in.failed = true;
		else
			reader_bytes(&r->in, (size_t)h.value);
		break;
	case MAJOR_ARRAY:
		skip_items(r, h.value, depth);
		break;
	case MAJOR_MAP:
		for (uint64_t i = 0; i < h.value && !r->in.failed; i++)
			skip_items(r, 2, depth);
		break;
	case MAJOR_TAG:
		skip(r, depth + 1);
		break;
	case MAJOR_SIMPLE:
		/* Section 3.3: values below 32 have one byte. */
		if (h.additional == 24 && h.value < 32)
			r->in.failed = true;
		break;
	}
}

void cbor_skip(struct cbor_reader *r)
{
	skip(r, 1);
}

static void write_head(struct buf *out, enum major major, uint64_t value)
{
	uint8_t bytes[9];
	struct writer w = writer_of(bytes, sizeof(bytes));
	uint8_t type = (uint8_t)(major << 5);

	if (value < 24) {
		writer_u8(&w, (uint8_t)(type | value));
	} else if (value <= UINT8_MAX) {
		writer_u8(&w, type | 24);
		writer_u8(&w, (uint8_t)value);
	} else if (value <= UINT16_MAX) {
		writer_u8(&w, type | 25);
		writer_u16(&w, (uint16_t)value);
	} else if (value <= UINT32_MAX) {
		writer_u8(&w, type | 26);
		writer_u32(&w, (uint32_t)value);
	} else {
		writer_u8(&w, type | 27);
		writer_u64(&w, value);
	}
	buf_append(out, bytes, w.len);
}

void cbor_write_tag(struct buf *out, uint64_t tag)
{
	write_head(out, MAJOR_TAG, tag);
}

void cbor_write_unsigned(struct buf *out, uint64_t value)
{
	write_head(out, MAJOR_UNSIGNED, value);
}

void cbor_write_array(struct buf *out, size_t count)
{
	write_head(out, MAJOR_ARRAY, count);
}

void cbor_write_map(struct buf *out, size_t count)
{
	write_head(out, MAJOR_MAP, count);
}

void cbor_write_text(struct buf *out, struct bytes text)
{
	write_head(out, MAJOR_TEXT, text.len);
	buf_append_bytes(out, text);
}

void cbor_write_bytes(struct buf *out, struct bytes bytes)
{
	write_head(out, MAJOR_BYTES, bytes.len);
	buf_append_bytes(out, bytes);
}

void cbor_write_null(struct buf *out)
{
	buf_append(out, &(uint8_t){ NULL_BYTE }, 1);
}
