/* SPDX-License-Identifier: Apache-2.0 */
/* expected - forms as an operator would write them, findings without secrets. */
#include "config/expected.h"

#include <stdlib.h>

#include "base/size_text.h"

const char *found_type(const struct json *j)
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
	return mem_strdup(found_type(j));
}

bool say_expected_form(struct reading *r, const struct place *at, const struct field *f, const char *form)
{
	char *found = shown(f, at->json);

	place_error(r, at, "expected %s, found %s", form, found);
	free(found);
	return false;
}

char *expected_choices(const struct choice *choices)
{
	struct buf text = { 0 };

	for (const struct choice *c = choices; c->name != NULL; c++) {
		const char *joint = c == choices ? "" : c[1].name == NULL ? " or " : ", ";

		buf_format(&text, "%s\"%s\"", joint, c->name);
	}
	return buf_take_str(&text);
}

char *expected_form(const struct field *f)
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
		return expected_choices(f->choices);
	case FIELD_TEXT:
		return f->choices != NULL ? expected_choices(f->choices) : mem_strdup("a string");
	case FIELD_TEXTS:
		if (f->choices == NULL)
			return mem_strdup("a list of strings");
		choices = expected_choices(f->choices);
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

bool say_expected(struct reading *r, const struct place *at, const struct field *f)
{
	char *form = expected_form(f);

	say_expected_form(r, at, f, form);
	free(form);
	return false;
}
