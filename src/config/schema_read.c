/* SPDX-License-Identifier: Apache-2.0 */
/*
 * schema_read - one reader for all tables.
 *
 * A section is read in three steps: its members in the order of the document, each by the function of its
 * field's type; then what is missing or not used; then the rules across fields, unless a member was wrong
 * that they rest on, so that one mistake is not told twice.
 */
#include "config/schema.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/size_text.h"
#include "config/nearest.h"
#include "config/string_list.h"

/* A name may be long, a message should not be. */
#define SHOWN_MAX 60

static const char *type_name(const struct json *j)
{
	static const char *const names[] = {
		[JSON_NULL] = "null",	    [JSON_BOOL] = "a boolean", [JSON_NUMBER] = "a number",
		[JSON_STRING] = "a string", [JSON_ARRAY] = "a list",   [JSON_OBJECT] = "an object"
	};

	return names[j->type];
}

/* gives what was found, as far as it may be shown: numbers, and strings that are no secret. */
static char *shown(const struct field *f, const struct json *j)
{
	if (j->type == JSON_NUMBER)
		return mem_format("%.*s", SHOWN_MAX, j->text);
	if (j->type == JSON_STRING && !f->secret)
		return mem_format("\"%.*s\"", SHOWN_MAX, j->text);
	return mem_strdup(type_name(j));
}

static bool expected(struct reading *r, const struct place *at, const struct field *f, const char *what)
{
	char *found = shown(f, at->json);

	place_error(r, at, "expected %s, found %s", what, found);
	free(found);
	return false;
}

/* gives "\"uds\" or \"builtin\"". */
static char *choices_text(const struct choice *choices)
{
	struct buf text = { 0 };

	for (const struct choice *c = choices; c->name != NULL; c++) {
		const char *joint = c == choices ? "" : c[1].name == NULL ? " or " : ", ";

		buf_format(&text, "%s\"%s\"", joint, c->name);
	}
	return buf_take_str(&text);
}

/* gives what a value of the field looks like. */
static char *wanted(const struct field *f)
{
	struct buf sizes = { 0 };
	char *choices;
	char *text;

	switch (f->type) {
	case FIELD_BOOL:
	case FIELD_TRISTATE:
		return mem_strdup("true or false");
	case FIELD_INTEGER:
		return mem_format("%lld to %lld", (long long)f->min, (long long)f->max);
	case FIELD_SECONDS:
		return mem_format("%.*f to %.0f seconds", f->min % 1000 == 0 ? 0 : 3, (double)f->min / 1000,
				  (double)f->max / 1000);
	case FIELD_SIZE:
		size_text_format((uint64_t)f->min, &sizes);
		buf_append_str(&sizes, " to ");
		size_text_format((uint64_t)f->max, &sizes);
		return buf_take_str(&sizes);
	case FIELD_MASK:
		return mem_strdup("a mask of 32 bits that is not 0, such as \"0x00ffffff\"");
	case FIELD_CHOICE:
		return choices_text(f->choices);
	case FIELD_TEXT:
		return f->choices != NULL ? choices_text(f->choices) : mem_strdup("a string");
	case FIELD_TEXTS:
		if (f->choices == NULL)
			return mem_strdup("a list of strings");
		choices = choices_text(f->choices);
		text = mem_format("a list of strings or %s", choices);
		free(choices);
		return text;
	case FIELD_HEADERS:
		return mem_strdup("an object with strings");
	case FIELD_OBJECT:
		return mem_strdup("an object");
	case FIELD_LIST:
		return mem_strdup("a list of objects");
	case FIELD_ANY:
		return mem_strdup("a value");
	}
	return NULL;
}

static bool expected_wanted(struct reading *r, const struct place *at, const struct field *f)
{
	char *what = wanted(f);

	expected(r, at, f, what);
	free(what);
	return false;
}

static void *member_of(const struct field *f, void *conf)
{
	return conf == NULL || f->offset == NOT_STORED ? NULL : (char *)conf + f->offset;
}

static void store_number(const struct field *f, void *conf, int64_t value)
{
	void *to = member_of(f, conf);

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

static bool read_bool(struct reading *r, const struct field *f, const struct place *at, void *conf)
{
	void *to = member_of(f, conf);

	if (at->json->type != JSON_BOOL)
		return expected_wanted(r, at, f);
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
		return expected_wanted(r, at, f);
	store_number(f, conf, value);
	return true;
}

static bool read_seconds(struct reading *r, const struct field *f, const struct place *at, void *conf)
{
	double seconds;
	double ms;

	if (!json_number(at->json, &seconds))
		return expected_wanted(r, at, f);
	ms = round(seconds * 1000);
	if (!(ms >= (double)f->min && ms <= (double)f->max))
		return expected_wanted(r, at, f);
	store_number(f, conf, (int64_t)ms);
	return true;
}

static bool read_size(struct reading *r, const struct field *f, const struct place *at, void *conf)
{
	const char *text = json_string(at->json);
	uint64_t bytes;
	int64_t value;

	if (text != NULL) {
		if (!size_text_parse(text, &bytes) || bytes > INT64_MAX)
			return expected_wanted(r, at, f);
		value = (int64_t)bytes;
	} else if (!json_integer(at->json, 0, INT64_MAX, &value)) {
		return expected_wanted(r, at, f);
	}
	if (value < f->min || value > f->max)
		return expected_wanted(r, at, f);
	store_number(f, conf, value);
	return true;
}

/* "0xff", or a number. */
static bool read_mask(struct reading *r, const struct field *f, const struct place *at, void *conf)
{
	const char *text = json_string(at->json);
	int64_t value = 0;

	if (text == NULL) {
		if (!json_integer(at->json, 1, UINT32_MAX, &value))
			return expected_wanted(r, at, f);
	} else if (strncmp(text, "0x", 2) == 0 && strlen(text) <= 10 &&
		   strspn(text + 2, "0123456789abcdefABCDEF") == strlen(text + 2)) {
		value = (int64_t)strtoul(text + 2, NULL, 16);
	}
	if (value == 0)
		return expected_wanted(r, at, f);
	store_number(f, conf, value);
	return true;
}

static void store_choice(const struct field *f, void *to, int value)
{
	if (f->width == sizeof(bool))
		*(bool *)to = value != 0;
	else
		*(int *)to = value;
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
	void *to = member_of(f, conf);

	if (c == NULL)
		return expected_wanted(r, at, f);
	if (c->later)
		place_later(r, at, c->name);
	if (to != NULL)
		store_choice(f, to, c->value);
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
			expected(r, at, f, "a string");
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
	char **to = member_of(f, conf);
	char *text;

	if (f->choices != NULL &&
	    (json_string(at->json) == NULL || find_choice(f->choices, json_string(at->json)) == NULL))
		return expected_wanted(r, at, f);
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
	struct string_list *to = member_of(f, conf);
	bool good = true;

	if (is_word_for_all(f, at->json))
		return true;
	if (at->json->type != JSON_ARRAY)
		return expected_wanted(r, at, f);
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
		place_error(r, at, "expected a string, found %s", type_name(at->json));
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
	struct header_conf **to = member_of(f, conf);
	size_t *count = to == NULL ? NULL : (size_t *)(void *)((char *)conf + f->count_offset);
	bool good = true;

	if (j->type != JSON_OBJECT)
		return expected_wanted(r, at, f);
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
	void *to = member_of(f, conf);

	if (f->read != NULL)
		return f->read(r, at, conf);
	if (at->json->type != JSON_OBJECT)
		return expected_wanted(r, at, f);
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
		return expected_wanted(r, at, f);
	if (member_of(f, conf) != NULL) {
		items = mem_new_array(count, f->section->size);
		*(void **)member_of(f, conf) = items;
		*(size_t *)(void *)((char *)conf + f->count_offset) = count;
	}
	for (size_t i = 0; i < count; i++) {
		struct place item = { .parent = at, .index = i, .json = single ? j : j->items[i] };
		struct place alone = *at;
		void *to = items == NULL ? NULL : (char *)items + i * f->section->size;

		if (!single && item.json->type != JSON_OBJECT) {
			place_error(r, &item, "expected an object, found %s", type_name(item.json));
			good = false;
		} else if (!section_read(r, f->section, single ? &alone : &item, to)) {
			good = false;
		}
	}
	return check_item_count(r, f, at) && good;
}

static bool read_value(struct reading *r, const struct field *f, const struct place *at, void *conf)
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

/* Also the defaults of embedded objects, which may be absent as a whole. */
static void set_defaults(const struct section *section, void *conf)
{
	for (size_t i = 0; i < section->field_count; i++) {
		const struct field *f = &section->fields[i];
		void *to = member_of(f, conf);

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
			store_choice(f, to, (int)f->fallback);
			break;
		case FIELD_INTEGER:
		case FIELD_SECONDS:
		case FIELD_SIZE:
		case FIELD_MASK:
			store_number(f, conf, f->fallback);
			break;
		case FIELD_TEXT:
			free(*(char **)to); /* an embedded object has its defaults set twice */
			*(char **)to = f->fallback_text == NULL ? NULL : mem_strdup(f->fallback_text);
			break;
		case FIELD_OBJECT:
			if (!f->allocated)
				set_defaults(f->section, to);
			break;
		case FIELD_TEXTS:
		case FIELD_HEADERS:
		case FIELD_LIST:
		case FIELD_ANY:
			break;
		}
	}
}

static const struct field *find_field(const struct section *section, const struct json_key *key)
{
	for (size_t i = 0; i < section->field_count; i++) {
		if (bytes_equal_str(bytes_of(key->name, key->len), section->fields[i].name))
			return &section->fields[i];
	}
	return NULL;
}

static void say_unknown_key(struct reading *r, const struct section *section, const struct place *at)
{
	const char **names = mem_new_array(section->field_count, sizeof(*names));
	const char *nearest;
	struct buf known = { 0 };

	for (size_t i = 0; i < section->field_count; i++) {
		names[i] = section->fields[i].name;
		buf_format(&known, "%s%s", i == 0 ? "" : ", ", names[i]);
	}
	nearest = nearest_name(at->name, names, section->field_count);
	if (nearest != NULL)
		place_error_at_key(r, at, "unknown key, did you mean \"%s\"?", nearest);
	else
		place_error_at_key(r, at, "unknown key; known here: %s", buf_str(&known));
	buf_release(&known);
	free(names);
}

static bool is_switched_off(const struct json *j)
{
	return j->type == JSON_NULL || (j->type == JSON_BOOL && !j->boolean) ||
	       ((j->type == JSON_ARRAY || j->type == JSON_OBJECT) && j->count == 0);
}

/* What is refused when it is switched on: an empty object is a feature with its defaults. */
static bool asks_for_later(const struct field *f, const struct json *j)
{
	return f->later && (!is_switched_off(j) || j->type == JSON_OBJECT);
}

static bool holds(const struct condition *when, const void *conf, const struct json *j)
{
	return when == NULL || when->holds(conf, j);
}

static bool read_members(struct reading *r, const struct section *section, const struct place *at, void *conf)
{
	const struct json *j = at->json;
	bool good = true;

	for (size_t i = 0; i < j->count; i++) {
		struct place member = {
			.parent = at, .name = j->keys[i].name, .json = j->items[i], .key = &j->keys[i]
		};
		const struct field *f = find_field(section, &j->keys[i]);

		if (f == NULL) {
			say_unknown_key(r, section, &member);
			continue;
		}
		if (member.json->type == JSON_NULL)
			continue;
		if (!read_value(r, f, &member, conf) && !f->apart)
			good = false;
		if (asks_for_later(f, member.json))
			place_later(r, &member, NULL);
	}
	return good;
}

/* trusted: what the conditions look at was read without a mistake. */
static bool check_presence(struct reading *r, const struct section *section, const struct place *at, const void *conf,
			   bool trusted)
{
	bool good = true;

	for (size_t i = 0; i < section->field_count; i++) {
		const struct field *f = &section->fields[i];
		struct place member = place_member(at, f->name);
		bool present = place_has(at, f->name);

		if (f->when != NULL && !trusted)
			continue;

		if (present && !is_switched_off(member.json) && !holds(f->when, conf, at->json))
			place_warn_at_key(r, &member, "not used: %s", f->when->text);
		if (!present && f->required && holds(f->when, conf, at->json)) {
			char *what = wanted(f);

			if (f->missing != NULL)
				place_error(r, &member, "%s", f->missing);
			else
				place_error(r, &member, "missing, expected %s", what);
			free(what);
			good = good && f->apart;
		}
	}
	return good;
}

static bool read_stored(struct reading *r, const struct section *section, const struct place *at, void *conf)
{
	bool good;

	if (conf != NULL)
		set_defaults(section, conf);
	good = read_members(r, section, at, conf);
	good = check_presence(r, section, at, conf, good) && good;
	if (good && section->check != NULL) {
		size_t before = r->error_count;

		section->check(r, at, conf);
		good = r->error_count == before;
	}
	return good;
}

/* gives what the tag may say. */
static char *variants_text(const struct section *section)
{
	struct choice *choices = mem_new_array(section->variant_count + 1, sizeof(*choices));
	char *text;

	for (size_t i = 0; i < section->variant_count; i++)
		choices[i].name = section->variants[i].name;
	text = choices_text(choices);
	free(choices);
	return text;
}

static const struct variant *find_variant(struct reading *r, const struct section *section, const struct place *at)
{
	struct place tag = place_member(at, section->tag);
	const char *name = json_string(tag.json);
	char *known;

	for (size_t i = 0; name != NULL && i < section->variant_count; i++) {
		if (strcmp(section->variants[i].name, name) == 0)
			return &section->variants[i];
	}
	known = variants_text(section);
	if (name != NULL)
		place_error(r, &tag, "expected %s, found \"%.*s\"", known, SHOWN_MAX, name);
	else if (tag.json != NULL)
		place_error(r, &tag, "expected %s, found %s", known, type_name(tag.json));
	else
		place_error(r, &tag, "missing, expected %s", known);
	free(known);
	return NULL;
}

/* Rules need the values: what is not to be kept is read into a struct for the time of the check. */
static bool read_scratch(struct reading *r, const struct section *section, const struct place *at)
{
	void *scratch = mem_new(section->size);
	bool good = read_stored(r, section, at, scratch);

	section_release(section, scratch);
	free(scratch);
	return good;
}

bool section_read(struct reading *r, const struct section *section, const struct place *at, void *conf)
{
	if (section->tag != NULL) {
		const struct variant *v = find_variant(r, section, at);

		if (v == NULL)
			return false;
		if (v->later) {
			struct place tag = place_member(at, section->tag);

			place_later(r, &tag, v->name);
		}
		section = v->section;
	}
	if (conf == NULL && section->size > 0)
		return read_scratch(r, section, at);
	return read_stored(r, section, at, section->size > 0 ? conf : NULL);
}

static void release_list(const struct field *f, void *conf)
{
	void **items = member_of(f, conf);
	size_t count = *(size_t *)(void *)((char *)conf + f->count_offset);

	for (size_t i = 0; i < count; i++)
		section_release(f->section, (char *)*items + i * f->section->size);
	free(*items);
}

static void release_headers(const struct field *f, void *conf)
{
	struct header_conf **headers = member_of(f, conf);
	size_t count = *(size_t *)(void *)((char *)conf + f->count_offset);

	for (size_t i = 0; i < count; i++) {
		free((*headers)[i].name);
		mem_wipe((*headers)[i].value, strlen((*headers)[i].value));
		free((*headers)[i].value);
	}
	free(*headers);
}

static void release_field(const struct field *f, void *conf)
{
	void *from = member_of(f, conf);

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
