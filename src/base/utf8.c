/* SPDX-License-Identifier: Apache-2.0 */
/* utf8 - characters out of bytes and back, and into JSON strings. */
#include "base/utf8.h"

#include <string.h>

#define REPLACEMENT "\xef\xbf\xbd"

struct form {
	uint8_t mask; /* these bits of the first byte ... */
	uint8_t lead; /* ... have this value */
	uint8_t len;
	uint32_t least; /* smaller values have a shorter form */
};

static const struct form forms[] = {
	{ 0x80, 0x00, 1, 0 },
	{ 0xe0, 0xc0, 2, 0x80 },
	{ 0xf0, 0xe0, 3, 0x800 },
	{ 0xf8, 0xf0, 4, 0x10000 },
};

static size_t next_of_form(const struct form *form, struct bytes b, uint32_t *c)
{
	uint32_t value = b.data[0] & (uint8_t)~form->mask;

	if (b.len < form->len)
		return 0;
	for (size_t i = 1; i < form->len; i++) {
		if ((b.data[i] & 0xc0) != 0x80)
			return 0;
		value = value << 6 | (b.data[i] & 0x3f);
	}
	if (value < form->least || value > 0x10ffff || (value >= 0xd800 && value <= 0xdfff))
		return 0;
	*c = value;
	return form->len;
}

size_t utf8_next(struct bytes b, uint32_t *c)
{
	if (b.len == 0)
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
		if ((b.data[0] & forms[i].mask) == forms[i].lead)
			return next_of_form(&forms[i], b, c);
	}
	return 0;
}

void utf8_append(struct buf *out, uint32_t c)
{
	const struct form *form = &forms[0];
	uint8_t text[4];

	for (size_t i = 1; i < ARRAY_SIZE(forms) && c >= forms[i].least; i++)
		form = &forms[i];
	for (size_t i = form->len; i-- > 1;) {
		text[i] = (uint8_t)(0x80 | (c & 0x3f));
		c >>= 6;
	}
	text[0] = (uint8_t)(form->lead | c);
	buf_append(out, text, form->len);
}

static void append_escape(struct buf *out, uint8_t c)
{
	static const char letters[] = {
		['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f', ['\r'] = 'r', ['"'] = '"', ['\\'] = '\\'
	};

	if (c < sizeof(letters) && letters[c] != 0)
		buf_append(out, (char[]){ '\\', letters[c] }, 2);
	else
		buf_format(out, "\\u%04x", c);
}

static bool is_plain(uint8_t c)
{
	return c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
}

void utf8_append_json_string(struct buf *out, struct bytes text)
{
	size_t at = 0;

	buf_append_str(out, "\"");
	while (at < text.len) {
		size_t run = at;
		uint32_t c;
		size_t len;

		while (run < text.len && is_plain(text.data[run]))
			run++;
		buf_append(out, text.data + at, run - at);
		at = run;
		if (at == text.len)
			break;
		len = utf8_next(bytes_of(text.data + at, text.len - at), &c);
		if (len == 0)
			buf_append_str(out, REPLACEMENT);
		else if (len == 1)
			append_escape(out, text.data[at]);
		else
			buf_append(out, text.data + at, len);
		at += len == 0 ? 1 : len;
	}
	buf_append_str(out, "\"");
}
