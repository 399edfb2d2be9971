/* SPDX-License-Identifier: Apache-2.0 */
/*
 * old_spellings - renamed keys.
 *
 *   old                                         new
 *   ingress encap_in_http (1.0 to 2.2.4)        ohttp
 *   egress decap_from_http (1.0 to 2.2.4)       ohttp
 *   ohttp.allow_non_tng_traffic_regexes (1.0)   direct_forward [{ http_path }]
 *   http_proxy.dst_filter (1.0.1)               dst_filters
 *   ingress netfilter.dst (1.0)                 capture_dst
 *   attest, verify as_is_grpc (1.0 to 2.5)      as_type "grpc" or "restful"
 */
#include "config/old_spellings.h"

#include <stdlib.h>
#include <string.h>

static struct json *member_of(struct json *object, const char *name)
{
	/* The document is ours to change; only the look-up gives it back as constant. */
	return (struct json *)(uintptr_t)json_member(object, name);
}

static size_t index_of(const struct json *object, const struct json *value)
{
	size_t i = 0;

	while (object->items[i] != value)
		i++;
	return i;
}

static void set_key(struct json *object, size_t i, const char *name)
{
	free(object->keys[i].name);
	object->keys[i].name = mem_strdup(name);
	object->keys[i].len = strlen(name);
}

/* gives the value, which leaves the object. */
static struct json *take_member(struct json *object, size_t i)
{
	struct json *value = object->items[i];

	free(object->keys[i].name);
	object->count--;
	memmove(&object->items[i], &object->items[i + 1], (object->count - i) * sizeof(*object->items));
	memmove(&object->keys[i], &object->keys[i + 1], (object->count - i) * sizeof(*object->keys));
	return value;
}

/* takes value. */
static void add_member(struct json *object, const char *name, struct json *value)
{
	struct json_key key = { mem_strdup(name), strlen(name), value->line, value->column };

	object->items = mem_resize(object->items, (object->count + 1) * sizeof(*object->items));
	object->keys = mem_resize(object->keys, (object->count + 1) * sizeof(*object->keys));
	object->items[object->count] = value;
	object->keys[object->count] = key;
	object->count++;
}

/* gives a value that stands where old stands. */
static struct json *new_value(enum json_type type, const struct json *old)
{
	struct json *j = mem_new_of(struct json);

	j->type = type;
	j->line = old->line;
	j->column = old->column;
	return j;
}

/*
 * The key is there in its old spelling only; says how to spell it. With both an error is told, and the
 * old one goes.
 */
static bool is_old_alone(struct reading *r, const struct place *at, struct json *object, const char *old,
			 const char *new, const char *value)
{
	struct place member = place_member(at, old);

	if (member.json == NULL)
		return false;
	if (json_member(object, new) == NULL) {
		place_warn_at_key(r, &member, "an old spelling, write \"%s\"%s", new, value);
		return true;
	}
	place_error_at_key(r, &member, "an old spelling of \"%s\", which is there too", new);
	json_free(take_member(object, index_of(object, member.json)));
	return false;
}

static void rename_member(struct reading *r, const struct place *at, struct json *object, const char *old,
			  const char *new)
{
	if (is_old_alone(r, at, object, old, new, ""))
		set_key(object, index_of(object, json_member(object, old)), new);
}

static void translate_as_is_grpc(struct reading *r, const struct place *entry_at, struct json *entry, const char *name)
{
	struct json *object = member_of(entry, name);
	struct place at = place_member(entry_at, name);
	struct json *value = member_of(object, "as_is_grpc");

	if (value == NULL || value->type != JSON_BOOL)
		return;
	if (!is_old_alone(r, &at, object, "as_is_grpc", "as_type", value->boolean ? ": \"grpc\"" : ": \"restful\""))
		return;
	value->type = JSON_STRING;
	value->text = mem_strdup(value->boolean ? "grpc" : "restful");
	value->text_len = strlen(value->text);
	set_key(object, index_of(object, value), "as_type");
}

/* gives [{"http_path": regex}, ...]; takes the regexes. */
static struct json *direct_forward_of(struct json *regexes)
{
	struct json *list = new_value(JSON_ARRAY, regexes);

	list->items = mem_new_array(regexes->count, sizeof(*list->items));
	for (size_t i = 0; i < regexes->count; i++) {
		list->items[i] = new_value(JSON_OBJECT, regexes->items[i]);
		add_member(list->items[i], "http_path", regexes->items[i]);
		regexes->items[i] = NULL;
	}
	list->count = regexes->count;
	json_free(regexes);
	return list;
}

/* It stood inside ohttp, and stands beside it now. */
static void translate_clear_traffic(struct reading *r, const struct place *entry_at, struct json *entry)
{
	static const char old[] = "allow_non_tng_traffic_regexes";
	struct json *ohttp = member_of(entry, "ohttp");
	struct place ohttp_at = place_member(entry_at, "ohttp");
	struct place at = place_member(&ohttp_at, old);
	struct json *regexes = member_of(ohttp, old);

	if (regexes == NULL)
		return;
	if (regexes->type != JSON_ARRAY) {
		place_error(r, &at, "expected a list of strings");
	} else if (json_member(entry, "direct_forward") != NULL) {
		place_error_at_key(r, &at, "an old spelling of \"direct_forward\", which is there too");
	} else {
		place_warn_at_key(r, &at, "an old spelling, write \"direct_forward\" beside ohttp");
		regexes = take_member(ohttp, index_of(ohttp, regexes));
		add_member(entry, "direct_forward", direct_forward_of(regexes));
		return;
	}
	json_free(take_member(ohttp, index_of(ohttp, regexes)));
}

static void rename_inside(struct reading *r, const struct place *entry_at, struct json *entry, const char *inside,
			  const char *old, const char *new)
{
	struct json *object = member_of(entry, inside);
	struct place at = place_member(entry_at, inside);

	if (object != NULL && object->type == JSON_OBJECT)
		rename_member(r, &at, object, old, new);
}

static void translate_ingress(struct reading *r, const struct place *at, struct json *entry)
{
	rename_member(r, at, entry, "encap_in_http", "ohttp");
	rename_inside(r, at, entry, "http_proxy", "dst_filter", "dst_filters");
	rename_inside(r, at, entry, "netfilter", "dst", "capture_dst");
}

static void translate_egress(struct reading *r, const struct place *at, struct json *entry)
{
	rename_member(r, at, entry, "decap_from_http", "ohttp");
	translate_clear_traffic(r, at, entry);
}

static void translate_entries(struct reading *r, const struct place *root, struct json *document, const char *name,
			      void (*translate)(struct reading *, const struct place *, struct json *))
{
	struct json *list = member_of(document, name);
	struct place at = place_member(root, name);

	for (size_t i = 0; list != NULL && list->type == JSON_ARRAY && i < list->count; i++) {
		struct place item = { .parent = &at, .index = i, .json = list->items[i] };

		if (item.json->type != JSON_OBJECT)
			continue;
		translate(r, &item, list->items[i]);
		translate_as_is_grpc(r, &item, list->items[i], "attest");
		translate_as_is_grpc(r, &item, list->items[i], "verify");
	}
}

void old_spellings_translate(struct reading *r, struct json *document)
{
	struct place root = { .json = document };

	if (document->type != JSON_OBJECT)
		return;
	translate_entries(r, &root, document, "add_ingress", translate_ingress);
	translate_entries(r, &root, document, "add_egress", translate_egress);
}
