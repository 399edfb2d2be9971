/* SPDX-License-Identifier: Apache-2.0 */
/* place - findings with their places. */
#include "config/place.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/string_list.h"

struct finding {
	unsigned line;
	unsigned column;
	size_t sequence; /* keeps the order of findings at one place */
	bool warning;
	char *text;
};

void reading_release(struct reading *r)
{
	for (size_t i = 0; i < r->finding_count; i++)
		free(r->findings[i].text);
	free(r->findings);
	for (size_t i = 0; i < r->claim_count; i++) {
		free(r->claims[i].host);
		free(r->claims[i].path);
	}
	free(r->claims);
	for (size_t i = 0; i < r->file_count; i++) {
		free(r->files[i].path);
		free(r->files[i].place);
	}
	free(r->files);
	*r = (struct reading){ 0 };
}

static int compare_findings(const void *a, const void *b)
{
	const struct finding *x = a;
	const struct finding *y = b;

	if (x->line != y->line)
		return x->line < y->line ? -1 : 1;
	if (x->column != y->column)
		return x->column < y->column ? -1 : 1;
	return x->sequence < y->sequence ? -1 : 1;
}

void reading_report(struct reading *r, struct config_report *report)
{
	if (r->finding_count > 0)
		qsort(r->findings, r->finding_count, sizeof(*r->findings), compare_findings);
	for (size_t i = 0; i < r->finding_count; i++)
		string_list_add(r->findings[i].warning ? &report->warnings : &report->errors, r->findings[i].text);
	r->finding_count = 0;
}

/* One line each, whatever the document has in its strings. */
static void make_one_line(char *text)
{
	for (; *text != '\0'; text++) {
		if ((unsigned char)*text < 0x20 || *text == 0x7f)
			*text = '?';
	}
}

static void add_finding(struct reading *r, unsigned line, unsigned column, bool warning, char *text)
{
	struct finding *f;

	r->findings = mem_resize(r->findings, (r->finding_count + 1) * sizeof(*r->findings));
	f = &r->findings[r->finding_count];
	*f = (struct finding){ line, column, r->finding_count, warning, NULL };
	f->text = mem_format("%s:%u:%u: %s", r->source, line, column, text);
	make_one_line(f->text);
	r->finding_count++;
	if (!warning)
		r->error_count++;
	free(text);
}

static void append_path(const struct place *at, struct buf *out)
{
	if (at->parent == NULL)
		return;
	append_path(at->parent, out);
	if (at->name == NULL)
		buf_format(out, "[%zu]", at->index);
	else
		buf_format(out, "%s%s", out->len == 0 ? "" : ".", at->name);
}

char *place_path(const struct place *at)
{
	struct buf path = { 0 };

	append_path(at, &path);
	return buf_take_str(&path);
}

/* A member that is not there is told at the place of the object that lacks it. */
static const struct json *nearest_json(const struct place *at)
{
	while (at->json == NULL)
		at = at->parent;
	return at->json;
}

char *place_position(const struct reading *r, const struct place *at)
{
	const struct json *j = nearest_json(at);

	return mem_format("%s:%u:%u", r->source, j->line, j->column);
}

enum spot { AT_VALUE, AT_KEY };

static void add_at(struct reading *r, const struct place *at, enum spot spot, bool warning, char *said)
{
	const struct json *j = nearest_json(at);
	bool at_key = spot == AT_KEY && at->key != NULL;
	char *path = place_path(at);

	add_finding(r, at_key ? at->key->line : j->line, at_key ? at->key->column : j->column, warning,
		    mem_format("%s%s%s", path, path[0] == '\0' ? "" : ": ", said));
	free(path);
	free(said);
}

void place_error(struct reading *r, const struct place *at, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	add_at(r, at, AT_VALUE, false, mem_vformat(fmt, args));
	va_end(args);
}

void place_warn(struct reading *r, const struct place *at, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	add_at(r, at, AT_VALUE, true, mem_vformat(fmt, args));
	va_end(args);
}

void place_error_at_key(struct reading *r, const struct place *at, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	add_at(r, at, AT_KEY, false, mem_vformat(fmt, args));
	va_end(args);
}

void place_warn_at_key(struct reading *r, const struct place *at, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	add_at(r, at, AT_KEY, true, mem_vformat(fmt, args));
	va_end(args);
}

void place_later(struct reading *r, const struct place *at, const char *value)
{
	const struct json *j = nearest_json(at);
	char *path = place_path(at);
	char *text = value == NULL ? mem_format("not supported yet: %s", path)
				   : mem_format("not supported yet: %s \"%s\"", path, value);

	if (value == NULL && at->key != NULL)
		add_finding(r, at->key->line, at->key->column, false, text);
	else
		add_finding(r, j->line, j->column, false, text);
	free(path);
}

void reading_error(struct reading *r, unsigned line, unsigned column, const char *text)
{
	add_finding(r, line, column, false, mem_strdup(text));
}

void reading_warn(struct reading *r, unsigned line, unsigned column, const char *text)
{
	add_finding(r, line, column, true, mem_strdup(text));
}

struct place place_member(const struct place *at, const char *name)
{
	struct place member = { .parent = at, .name = name };

	member.json = json_member(at->json, name);
	for (size_t i = 0; member.json != NULL && i < at->json->count; i++) {
		if (at->json->items[i] == member.json)
			member.key = &at->json->keys[i];
	}
	return member;
}

bool place_has(const struct place *at, const char *name)
{
	const struct json *j = json_member(at->json, name);

	return j != NULL && j->type != JSON_NULL;
}

bool place_integer(const struct place *at, const char *name, int64_t *value)
{
	return json_integer(json_member(at->json, name), INT64_MIN, INT64_MAX, value);
}

bool place_has_items(const struct place *at, const char *name)
{
	const struct json *j = json_member(at->json, name);

	return j != NULL && j->type == JSON_ARRAY && j->count > 0;
}

bool place_is_empty_list(const struct place *at, const char *name)
{
	const struct json *j = json_member(at->json, name);

	return j != NULL && j->type == JSON_ARRAY && j->count == 0;
}
