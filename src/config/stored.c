/* SPDX-License-Identifier: Apache-2.0 */
/* stored - values by offset and width; what else there is of a struct is told by its fields. */
#include "config/stored.h"

#include <stdlib.h>
#include <string.h>

#include "config/string_list.h"

void *stored_place(const struct field *f, void *conf)
{
	return conf == NULL || f->offset == NOT_STORED ? NULL : (char *)conf + f->offset;
}

const void *stored_at(const struct field *f, const void *conf)
{
	return (const char *)conf + f->offset;
}

void stored_set_number(const struct field *f, void *conf, int64_t value)
{
	void *to = stored_place(f, conf);

	if (to == NULL)
		return;
	if (f->width == sizeof(uint8_t))
		*(uint8_t *)to = (uint8_t)value;
	else if (f->width == sizeof(uint16_t))
		*(uint16_t *)to = (uint16_t)value;
	else if (f->width == sizeof(unsigned))
		*(unsigned *)to = (unsigned)value;
	else
		*(size_t *)to = (size_t)value;
}

int64_t stored_number(const struct field *f, const void *conf)
{
	const void *from = stored_at(f, conf);

	if (f->width == sizeof(uint8_t))
		return *(const uint8_t *)from;
	if (f->width == sizeof(uint16_t))
		return *(const uint16_t *)from;
	if (f->width == sizeof(unsigned))
		return *(const unsigned *)from;
	return (int64_t) * (const size_t *)from;
}

void stored_set_choice(const struct field *f, void *conf, int value)
{
	void *to = stored_place(f, conf);

	if (to == NULL)
		return;
	if (f->width == sizeof(bool))
		*(bool *)to = value != 0;
	else
		*(int *)to = value;
}

int stored_choice(const struct field *f, const void *conf)
{
	return f->width == sizeof(bool) ? *(const bool *)stored_at(f, conf) : *(const int *)stored_at(f, conf);
}

size_t *stored_count_place(const struct field *f, void *conf)
{
	return (size_t *)(void *)((char *)conf + f->count_offset);
}

size_t stored_count(const struct field *f, const void *conf)
{
	return *(const size_t *)(const void *)((const char *)conf + f->count_offset);
}

void stored_set_defaults(const struct section *section, void *conf)
{
	for (size_t i = 0; i < section->field_count; i++) {
		const struct field *f = &section->fields[i];
		void *to = stored_place(f, conf);

		if (to == NULL)
			continue;
		switch (f->type) {
		case FIELD_BOOL:
			*(bool *)to = f->fallback != 0;
			break;
		case FIELD_TRISTATE:
			*(enum tristate *)to = (enum tristate)f->fallback;
			break;
		case FIELD_CHOICE:
			stored_set_choice(f, conf, (int)f->fallback);
			break;
		case FIELD_INTEGER:
		case FIELD_SECONDS:
		case FIELD_SIZE:
		case FIELD_MASK:
			stored_set_number(f, conf, f->fallback);
			break;
		case FIELD_TEXT:
			free(*(char **)to); /* an embedded object has its defaults set twice */
			*(char **)to = f->fallback_text == NULL ? NULL : mem_strdup(f->fallback_text);
			break;
		case FIELD_OBJECT:
			if (!f->allocated)
				stored_set_defaults(f->section, to);
			break;
		case FIELD_TEXTS:
		case FIELD_HEADERS:
		case FIELD_LIST:
		case FIELD_ANY:
			break;
		}
	}
}

static void release_list(const struct field *f, void *conf)
{
	void **items = stored_place(f, conf);
	size_t count = stored_count(f, conf);

	for (size_t i = 0; i < count; i++)
		section_release(f->section, (char *)*items + i * f->section->size);
	free(*items);
}

static void release_headers(const struct field *f, void *conf)
{
	struct header_conf **headers = stored_place(f, conf);
	size_t count = stored_count(f, conf);

	for (size_t i = 0; i < count; i++) {
		free((*headers)[i].name);
		mem_wipe((*headers)[i].value, strlen((*headers)[i].value));
		free((*headers)[i].value);
	}
	free(*headers);
}

static void release_field(const struct field *f, void *conf)
{
	void *from = stored_place(f, conf);

	switch (f->type) {
	case FIELD_TEXT:
		free(*(char **)from);
		break;
	case FIELD_TEXTS:
		string_list_release(from);
		break;
	case FIELD_HEADERS:
		release_headers(f, conf);
		break;
	case FIELD_LIST:
		release_list(f, conf);
		break;
	case FIELD_OBJECT:
		if (!f->allocated) {
			section_release(f->section, from);
		} else if (*(void **)from != NULL) {
			section_release(f->section, *(void **)from);
			free(*(void **)from);
		}
		break;
	case FIELD_BOOL:
	case FIELD_TRISTATE:
	case FIELD_INTEGER:
	case FIELD_SECONDS:
	case FIELD_SIZE:
	case FIELD_MASK:
	case FIELD_CHOICE:
	case FIELD_ANY:
		break;
	}
}

void section_release(const struct section *section, void *conf)
{
	if (section->tag != NULL)
		section = section->variants[0].section;
	for (size_t i = 0; i < section->field_count; i++) {
		if (section->fields[i].offset != NOT_STORED)
			release_field(&section->fields[i], conf);
	}
}
