/* SPDX-License-Identifier: Apache-2.0 */
/* schema_write - structs back to the text of the configuration, with all defaults, without secrets. */
#include "config/schema.h"

#include <stdio.h>

#include "base/size_text.h"
#include "config/stored.h"

#define HIDDEN "<hidden>"

static void write_text(const char *text, struct buf *out)
{
	json_append_string(out, bytes_str(text));
}

static void write_seconds(int64_t ms, struct buf *out)
{
	char text[32];
	size_t len =
		(size_t)snprintf(text, sizeof(text), "%lld.%03lld", (long long)(ms / 1000), (long long)(ms % 1000));

	while (text[len - 1] == '0')
		len--;
	if (text[len - 1] == '.')
		len--;
	buf_append(out, text, len);
}

static void write_size(int64_t bytes, struct buf *out)
{
	buf_append_str(out, "\"");
	size_text_format((uint64_t)bytes, out);
	buf_append_str(out, "\"");
}

static void write_choice(const struct field *f, const void *conf, struct buf *out)
{
	int value = stored_choice(f, conf);
	const struct choice *c = f->choices;

	while (c->value != value)
		c++;
	write_text(c->name, out);
}

static void write_texts(const struct string_list *list, struct buf *out)
{
	buf_append_str(out, "[");
	for (size_t i = 0; i < list->count; i++) {
		if (i > 0)
			buf_append_str(out, ", ");
		write_text(list->items[i], out);
	}
	buf_append_str(out, "]");
}

/* Values may hold credentials: none is shown. */
static void write_headers(const struct field *f, const void *conf, struct buf *out)
{
	const struct header_conf *headers = *(struct header_conf *const *)stored_at(f, conf);

	buf_append_str(out, "{");
	for (size_t i = 0; i < stored_count(f, conf); i++) {
		if (i > 0)
			buf_append_str(out, ", ");
		write_text(headers[i].name, out);
		buf_append_str(out, ": ");
		write_text(HIDDEN, out);
	}
	buf_append_str(out, "}");
}

static void begin_line(unsigned indent, struct buf *out)
{
	buf_format(out, "\n%*s", (int)(2 * indent), "");
}

static void write_list(const struct field *f, const void *conf, unsigned indent, struct buf *out)
{
	const char *items = *(char *const *)stored_at(f, conf);

	buf_append_str(out, "[");
	for (size_t i = 0; i < stored_count(f, conf); i++) {
		if (i > 0)
			buf_append_str(out, ",");
		begin_line(indent + 1, out);
		section_write(f->section, items + i * f->section->size, indent + 1, out);
	}
	begin_line(indent, out);
	buf_append_str(out, "]");
}

static void write_value(const struct field *f, const void *conf, unsigned indent, struct buf *out)
{
	const void *from = stored_at(f, conf);

	switch (f->type) {
	case FIELD_BOOL:
		buf_append_str(out, *(const bool *)from ? "true" : "false");
		break;
	case FIELD_TRISTATE:
		buf_append_str(out, *(const enum tristate *)from == TRI_TRUE ? "true" : "false");
		break;
	case FIELD_INTEGER:
		buf_format(out, "%lld", (long long)stored_number(f, conf));
		break;
	case FIELD_SECONDS:
		write_seconds(stored_number(f, conf), out);
		break;
	case FIELD_SIZE:
		write_size(stored_number(f, conf), out);
		break;
	case FIELD_MASK:
		buf_format(out, "\"0x%08llx\"", (unsigned long long)stored_number(f, conf));
		break;
	case FIELD_CHOICE:
		write_choice(f, conf, out);
		break;
	case FIELD_TEXT:
		write_text(f->secret ? HIDDEN : *(char *const *)from, out);
		break;
	case FIELD_TEXTS:
		write_texts(from, out);
		break;
	case FIELD_HEADERS:
		write_headers(f, conf, out);
		break;
	case FIELD_OBJECT:
		if (f->write != NULL)
			f->write(from, indent, out);
		else
			section_write(f->section, f->allocated ? *(void *const *)from : from, indent, out);
		break;
	case FIELD_LIST:
		write_list(f, conf, indent, out);
		break;
	case FIELD_ANY:
		break;
	}
}

/* What a struct has no value for has no line either. */
static bool is_written(const struct field *f, const void *conf)
{
	if (f->offset == NOT_STORED || (f->when != NULL && !f->when->holds(conf, NULL)))
		return false;
	switch (f->type) {
	case FIELD_TRISTATE:
		return *(const enum tristate *)stored_at(f, conf) != TRI_UNSET;
	case FIELD_INTEGER:
		return !f->zero_is_unset || stored_number(f, conf) != 0;
	case FIELD_TEXT:
		return *(char *const *)stored_at(f, conf) != NULL;
	case FIELD_HEADERS:
	case FIELD_LIST:
		return stored_count(f, conf) > 0;
	case FIELD_TEXTS:
		return ((const struct string_list *)stored_at(f, conf))->count > 0;
	case FIELD_OBJECT:
		return !f->allocated || *(void *const *)stored_at(f, conf) != NULL;
	case FIELD_BOOL:
	case FIELD_SECONDS:
	case FIELD_SIZE:
	case FIELD_MASK:
		return true;
	case FIELD_CHOICE:
		return !f->zero_is_unset || stored_choice(f, conf) != 0;
	case FIELD_ANY:
		return false;
	}
	return false;
}

void section_write(const struct section *section, const void *conf, unsigned indent, struct buf *out)
{
	bool first = true;

	if (section->tag != NULL)
		section = section->variants[0].section;
	buf_append_str(out, "{");
	for (size_t i = 0; i < section->field_count; i++) {
		const struct field *f = &section->fields[i];

		struct buf value = { 0 };

		if (is_written(f, conf))
			write_value(f, conf, indent + 1, &value);
		if (value.len > 0 && !bytes_equal_str(buf_bytes(&value), "{}")) {
			buf_append_str(out, first ? "" : ",");
			begin_line(indent + 1, out);
			write_text(f->name, out);
			buf_append_str(out, ": ");
			buf_append_bytes(out, buf_bytes(&value));
			first = false;
		}
		buf_release(&value);
	}
	if (!first)
		begin_line(indent, out);
	buf_append_str(out, "}");
}
