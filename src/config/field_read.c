/* SPDX-License-Identifier: Apache-2.0 */
/* field_read - one function for each type. */
#include "config/field_read.h"

#include <stdlib.h>
#include <string.h>

#include "base/size_text.h"
#include "config/expected.h"
#include "config/stored.h"
#include "config/string_list.h"

static bool read_bool(struct reading *r, const struct field *f, const struct place *at, void *conf)
{
	void *to = stored_place(f, conf);

	if (at->json->type != JSON_BOOL)
		return say_expected(r, at, f);
	if (to != NULL && f->type == FIELD_BOOL)
		*(bool *)to = at->json->boolean;
	else if (to != NULL)
		*(enum tristate *)to = at->json->boolean ? TRI_TRUE : TRI_FALSE;
	return true;
}

static bool read_integer(struct reading *r, const struct field *f, const struct place *at, void *conf)
{
	int64_t value;

	if (!json_integer(at->json, f->min, f->max, &value))
		return say_expected(r, at, f);
	stored_set_number(f, conf, value);
	return true;
}

static bool read_seconds(struct reading *r, const struct field *f, const struct place *at, void *conf)
{
	double seconds;
	double ms;

	if (!json_number(at->json, &seconds))
		return say_expected(r, at, f);
	ms = seconds * 1000 + 0.5; /* to be cut: round() would bring libm along */
	if (!(ms >= (double)f->min && ms < (double)f->max + 1))
		return say_expected(r, at, f);
	stored_set_number(f, conf, (int64_t)ms);
	return true;
}

static bool read_size(struct reading *r, const struct field *f, const struct place *at, void *conf)
{
	const char *text = json_string(at->json);
	uint64_t bytes;
	int64_t value;

	if (text != NULL) {
		if (!size_text_parse(text, &bytes) || bytes > INT64_MAX)
			return say_expected(r, at, f);
		value = (int64_t)bytes;
	} else if (!json_integer(at->json, 0, INT64_MAX, &value)) {
		return say_expected(r, at, f);
	}
	if (value < f->min || value > f->max)
		return say_expected(r, at, f);
	stored_set_number(f, conf, value);
	return true;
}

/* "0xff", or a number. */
static bool read_mask(struct reading *r, const struct field *f, const struct place *at, void *conf)
{
	const char *text = json_string(at->json);
	int64_t value = 0;

	if (text == NULL) {
		if (!json_integer(at->json, 1, UINT32_MAX, &value))
			return say_expected(r, at, f);
	} else if (strncmp(text, "0x", 2) == 0 && strlen(text) <= 10 &&
		   strspn(text + 2, "0123456789abcdefABCDEF") == strlen(text + 2)) {
		value = (int64_t)strtoul(text + 2, NULL, 16);
	}
	if (value == 0)
		return say_expected(r, at, f);
	stored_set_number(f, conf, value);
	return true;
}

static const struct choice *find_choice(const struct choice *choices, const char *name)
{
	const struct choice *c = choices;

	while (c->name != NULL && strcmp(c->name, name) != 0)
		c++;
	return c->name == NULL ? NULL : c;
}

static bool read_choice(struct reading *r, const struct field *f, const struct place *at, void *conf)
{
	const char *text = json_string(at->json);
	const struct choice *c = text == NULL ? NULL : find_choice(f->choices, text);

	if (c == NULL)
		return say_expected(r, at, f);
	if (c->later)
		place_later(r, at, c->name);
	stored_set_choice(f, conf, c->value);
	return true;
}

/* gives a string; NULL after a message. */
static char *read_one_text(struct reading *r, const struct field *f, const struct place *at)
{
	const char *said = json_string(at->json);
	const char *wrong;
	char *text;

	if (said == NULL) {
		if (at->json->type == JSON_STRING)
			place_error(r, at, "has a NUL character inside");
		else
			say_expected_form(r, at, f, "a string");
		return NULL;
	}
	text = mem_strdup(said);
	wrong = f->check_text == NULL ? NULL : f->check_text(text);
	if (wrong == NULL)
		return text;
	if (f->secret)
		place_error(r, at, "%s", wrong);
	else
		place_error(r, at, "%s, found \"%.*s\"", wrong, SHOWN_MAX, text);
	free(text);
	return NULL;
}

static bool read_text(struct reading *r, const struct field *f, const struct place *at, void *conf)
{
	char **to = stored_place(f, conf);
	char *text;

	if (f->choices != NULL &&
	    (json_string(at->json) == NULL || find_choice(f->choices, json_string(at->json)) == NULL))
		return say_expected(r, at, f);
	text = read_one_text(r, f, at);
	if (text == NULL)
		return false;
	if (to == NULL) {
		free(text);
		return true;
	}
	free(*to); /* the default */
	*to = text;
	return true;
}

static bool check_item_count(struct reading *r, const struct field *f, const struct place *at)
{
	if (at->json->type != JSON_ARRAY || (int64_t)at->json->count >= f->min)
		return true;
	place_error(r, at, "an empty list");
	return false;
}

static bool is_word_for_all(const struct field *f, const struct json *j)
{
	const char *text = json_string(j);

	return f->choices != NULL && text != NULL && find_choice(f->choices, text) != NULL;
}

static bool read_texts(struct reading *r, const struct field *f, const struct place *at, void *conf)
{
	struct string_list *to = stored_place(f, conf);
	bool good = true;

	if (is_word_for_all(f, at->json))
		return true;
	if (at->json->type != JSON_ARRAY)
		return say_expected(r, at, f);
	for (size_t i = 0; i < at->json->count; i++) {
		struct place item = { .parent = at, .index = i, .json = at->json->items[i] };
		char *text = read_one_text(r, f, &item);

		good = good && text != NULL;
		if (to != NULL && text != NULL)
			string_list_add(to, text);
		else
			free(text);
	}
	return check_item_count(r, f, at) && good;
}

/* RFC 9110, section 5.6.2. */
static bool is_header_name(const struct json_key *key)
{
	static const char allowed[] = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

	return key->len > 0 && strspn(key->name, allowed) == key->len;
}

/* A line end in a value would begin another header. */
static bool is_header_value(const char *text)
{
	for (; *text != '\0'; text++) {
		if (((unsigned char)*text < 0x20 && *text != '\t') || *text == 0x7f)
			return false;
	}
	return true;
}

static bool read_header(struct reading *r, const struct field *f, const struct place *at)
{
	const char *value = json_string(at->json);

	if (value == NULL) {
		place_error(r, at, "expected a string, found %s", found_type(at->json));
		return false;
	}
	if (f->any_map)
		return true;
	if (!is_header_name(at->key)) {
		place_error_at_key(r, at, "not the name of an HTTP header");
		return false;
	}
	if (!is_header_value(value)) {
		place_error(r, at, "the value has a control character inside");
		return false;
	}
	return true;
}

static bool read_headers(struct reading *r, const struct field *f, const struct place *at, void *conf)
{
	const struct json *j = at->json;
	struct header_conf **to = stored_place(f, conf);
	size_t *count = to == NULL ? NULL : stored_count_place(f, conf);
	bool good = true;

	if (j->type != JSON_OBJECT)
		return say_expected(r, at, f);
	if (to != NULL)
		*to = mem_new_array(j->count, sizeof(**to));
	for (size_t i = 0; i < j->count; i++) {
		struct place item = { .parent = at, .name = j->keys[i].name, .json = j->items[i], .key = &j->keys[i] };

		if (!read_header(r, f, &item)) {
			good = false;
			continue;
		}
		if (to != NULL) {
			(*to)[*count].name = mem_strdup(item.name);
			(*to)[*count].value = mem_strdup(item.json->text);
			(*count)++;
		}
	}
	return good;
}

static bool read_object(struct reading *r, const struct field *f, const struct place *at, void *conf)
{
	void *to = stored_place(f, conf);

	if (f->read != NULL)
		return f->read(r, at, conf);
	if (at->json->type != JSON_OBJECT)
		return say_expected(r, at, f);
	if (to != NULL && f->allocated) {
		void *object = mem_new(f->section->size);

		*(void **)to = object;
		return section_read(r, f->section, at, object);
	}
	return section_read(r, f->section, at, to);
}

static bool read_list(struct reading *r, const struct field *f, const struct place *at, void *conf)
{
	const struct json *j = at->json;
	bool single = f->or_single && j->type == JSON_OBJECT;
	size_t count = single ? 1 : j->count;
	void *items = NULL;
	bool good = true;

	if (j->type != JSON_ARRAY && !single)
		return say_expected(r, at, f);
	if (stored_place(f, conf) != NULL) {
		items = mem_new_array(count, f->section->size);
		*(void **)stored_place(f, conf) = items;
		*stored_count_place(f, conf) = count;
	}
	for (size_t i = 0; i < count; i++) {
		struct place item = { .parent = at, .index = i, .json = single ? j : j->items[i] };
		struct place alone = *at;
		void *to = items == NULL ? NULL : (char *)items + i * f->section->size;

		if (!single && item.json->type != JSON_OBJECT) {
			place_error(r, &item, "expected an object, found %s", found_type(item.json));
			good = false;
		} else if (!section_read(r, f->section, single ? &alone : &item, to)) {
			good = false;
		}
	}
	return check_item_count(r, f, at) && good;
}

bool field_read(struct reading *r, const struct field *f, const struct place *at, void *conf)
{
	switch (f->type) {
	case FIELD_BOOL:
	case FIELD_TRISTATE:
		return read_bool(r, f, at, conf);
	case FIELD_INTEGER:
		return read_integer(r, f, at, conf);
	case FIELD_SECONDS:
		return read_seconds(r, f, at, conf);
	case FIELD_SIZE:
		return read_size(r, f, at, conf);
	case FIELD_MASK:
		return read_mask(r, f, at, conf);
	case FIELD_CHOICE:
		return read_choice(r, f, at, conf);
	case FIELD_TEXT:
		return read_text(r, f, at, conf);
	case FIELD_TEXTS:
		return read_texts(r, f, at, conf);
	case FIELD_HEADERS:
		return read_headers(r, f, at, conf);
	case FIELD_OBJECT:
		return read_object(r, f, at, conf);
	case FIELD_LIST:
		return read_list(r, f, at, conf);
	case FIELD_ANY:
		return true;
	}
	return false;
}
