/* SPDX-License-Identifier: Apache-2.0 */
/* base64 - four characters for three bytes. */
#include "codec/base64.h"

#include <stdbool.h>

static const char standard_alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char url_alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

enum alphabet { ALPHABET_UNKNOWN, ALPHABET_STANDARD, ALPHABET_URL };
enum padding { PADDING_REQUIRED, PADDING_FORBIDDEN, PADDING_OPTIONAL };

struct dialect {
	enum alphabet alphabet; /* ALPHABET_UNKNOWN: the first character that tells decides */
	enum padding padding;
	bool newlines;
};

static void encode(struct bytes in, const char *alphabet, bool padding, struct buf *out)
{
	uint8_t *to = buf_reserve(out, (in.len + 2) / 3 * 4);
	const uint8_t *from = in.data;
	size_t left = in.len;
	size_t len = 0;

	for (; left >= 3; left -= 3, from += 3) {
		to[len++] = (uint8_t)alphabet[from[0] >> 2];
		to[len++] = (uint8_t)alphabet[(from[0] & 3) << 4 | from[1] >> 4];
		to[len++] = (uint8_t)alphabet[(from[1] & 15) << 2 | from[2] >> 6];
		to[len++] = (uint8_t)alphabet[from[2] & 63];
	}
	if (left > 0) {
		uint8_t second = left == 2 ? from[1] : 0;

		to[len++] = (uint8_t)alphabet[from[0] >> 2];
		to[len++] = (uint8_t)alphabet[(from[0] & 3) << 4 | second >> 4];
		if (left == 2)
			to[len++] = (uint8_t)alphabet[(second & 15) << 2];
		else if (padding)
			to[len++] = '=';
		if (padding)
			to[len++] = '=';
	}
	out->len += len;
}

void base64_encode(struct bytes in, struct buf *out)
{
	encode(in, standard_alphabet, true, out);
}

void base64url_encode(struct bytes in, struct buf *out)
{
	encode(in, url_alphabet, false, out);
}

/* The six bits of a character, or -1; *alphabet becomes known with the first of "+/-_". */
static int digit_of(uint8_t c, enum alphabet *alphabet)
{
	enum alphabet own;

	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == '+' || c == '/')
		own = ALPHABET_STANDARD;
	else if (c == '-' || c == '_')
		own = ALPHABET_URL;
	else
		return -1;
	if (*alphabet == ALPHABET_UNKNOWN)
		*alphabet = own;
	if (*alphabet != own)
		return -1;
	return c == '+' || c == '-' ? 62 : 63;
}

static bool is_padding_right(enum padding rule, size_t digits, size_t padding)
{
	size_t missing = (4 - digits % 4) % 4;

	switch (rule) {
	case PADDING_REQUIRED:
		return padding == missing;
	case PADDING_FORBIDDEN:
		return padding == 0;
	case PADDING_OPTIONAL:
		return padding == 0 || padding == missing;
	}
	return false;
}

static int decode(struct bytes in, struct dialect dialect, struct buf *out, struct err *e)
{
	uint8_t *to = buf_reserve(out, in.len / 4 * 3 + 3);
	uint32_t bits = 0;
	size_t digits = 0;
	size_t padding = 0;
	size_t len = 0;

	for (size_t i = 0; i < in.len; i++) {
		uint8_t c = in.data[i];
		int digit;

		if (dialect.newlines && (c == '\n' || c == '\r'))
			continue;
		if (c == '=') {
			padding++;
			continue;
		}
		digit = digit_of(c, &dialect.alphabet);
		if (digit < 0 || padding > 0)
			return err_set(e, ERR_PEER, "base64: unexpected byte 0x%02x at offset %zu", c, i);
		bits = bits << 6 | (uint32_t)digit;
		digits++;
		if (digits % 4 == 0) {
			to[len++] = (uint8_t)(bits >> 16);
			to[len++] = (uint8_t)(bits >> 8);
			to[len++] = (uint8_t)bits;
			bits = 0;
		}
	}

	if (digits % 4 == 1)
		return err_set(e, ERR_PEER, "base64: cut short");
	if (!is_padding_right(dialect.padding, digits, padding))
		return err_set(e, ERR_PEER, "base64: wrong padding");
	/* The bits that fill up the last character carry nothing and must be zero. */
	if ((digits % 4 == 2 && (bits & 15) != 0) || (digits % 4 == 3 && (bits & 3) != 0))
		return err_set(e, ERR_PEER, "base64: bits left over at the end");
	if (digits % 4 == 2) {
		to[len++] = (uint8_t)(bits >> 4);
	} else if (digits % 4 == 3) {
		to[len++] = (uint8_t)(bits >> 10);
		to[len++] = (uint8_t)(bits >> 2);
	}
	out->len += len;
	return 0;
}

int base64_decode(struct bytes in, struct buf *out, struct err *e)
{
	return decode(in, (struct dialect){ ALPHABET_STANDARD, PADDING_REQUIRED, false }, out, e);
}

int base64url_decode(struct bytes in, struct buf *out, struct err *e)
{
	return decode(in, (struct dialect){ ALPHABET_URL, PADDING_FORBIDDEN, false }, out, e);
}

int base64_decode_any(struct bytes in, struct buf *out, struct err *e)
{
	return decode(in, (struct dialect){ ALPHABET_UNKNOWN, PADDING_OPTIONAL, true }, out, e);
}
