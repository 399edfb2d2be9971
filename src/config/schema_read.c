/* SPDX-License-Identifier: Apache-2.0 */
/*
 * schema_read - one reader for all tables.
 *
 * A section is read in three steps: its members in the order of the document, each by its field
 * (field_read.h); then what is missing or not used; then the rules across fields, unless a member was wrong
 * that they rest on, so that one mistake is not told twice.
 */
#include "config/schema.h"

#include <stdlib.h>
#include <string.h>

#include "config/expected.h"
#include "config/field_read.h"
#include "config/nearest.h"
#include "config/stored.h"

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
		if (!field_read(r, f, &member, conf) && !f->apart)
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
			char *form = expected_form(f);

			if (f->missing != NULL)
				place_error(r, &member, "%s", f->missing);
			else
				place_error(r, &member, "missing, expected %s", form);
			free(form);
			good = good && f->apart;
		}
	}
	return good;
}

static bool read_stored(struct reading *r, const struct section *section, const struct place *at, void *conf)
{
	bool good;

	if (conf != NULL)
		stored_set_defaults(section, conf);
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
	text = expected_choices(choices);
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
		place_error(r, &tag, "expected %s, found %s", known, found_type(tag.json));
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
