/* SPDX-License-Identifier: Apache-2.0 */
/*
 * json - RFC 8259, strictly, with the place of each value.
 *
 * Our own reader because the configuration's errors name line and column of every value, which no
 * library of the distribution records. Duplicate members, invalid UTF-8, lone surrogates, bytes after
 * the value, nesting beyond JSON_MAX_DEPTH and more than JSON_MAX_VALUES values are errors. Numbers keep
 * their text.
 *
 * Threads: any; a parsed document is constant.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"

#define JSON_MAX_DEPTH 64
#define JSON_MAX_VALUES 200000 /* in one document: some 25 MB of heap */

enum json_type { JSON_NULL, JSON_BOOL, JSON_NUMBER, JSON_STRING, JSON_ARRAY, JSON_OBJECT };

struct json {
	enum json_type type;
	unsigned line;	 /* of the first byte of the value, from 1 */
	unsigned column; /* in bytes, from 1 */
	bool boolean;
	char *text;	 /* JSON_STRING: decoded UTF-8, terminated; JSON_NUMBER: as written */
	size_t text_len; /* may hold NUL bytes inside when it is a string */
	size_t count;
	struct json **items;   /* JSON_ARRAY and JSON_OBJECT */
	struct json_key *keys; /* JSON_OBJECT: the name of items[i] */
};

struct json_key {
	char *name;
	size_t len;
	unsigned line;
	unsigned column;
};

enum json_dialect { JSON_STRICT, JSON_WITH_COMMENTS /* "//" to the end of the line is white space */ };

/* gives a document; json_free(). The error text begins with "line L, column C: ". */
struct json *json_parse(struct bytes text, enum json_dialect dialect, struct err *e);
void json_free(struct json *j);

/* Borrowed from j; NULL when j is NULL, no object, or has no such member. */
const struct json *json_member(const struct json *j, const char *name);

/* By names joined with '/', e.g. "submods/cpu0". Names with '/' inside cannot be reached this way. */
const struct json *json_at(const struct json *j, const char *path);

/* NULL unless j is a string without NUL bytes. */
const char *json_string(const struct json *j);

/* false unless j is an integer (no fraction, no exponent) within range. */
bool json_integer(const struct json *j, int64_t min, int64_t max, int64_t *value);

/* Any number, rounded to double. */
bool json_number(const struct json *j, double *value);

/* Equal as values: numbers by value, objects whatever their order. */
bool json_equal(const struct json *a, const struct json *b);

/* Compact, members in the order of the document. */
void json_format(const struct json *j, struct buf *out);

/* RFC 8785: members sorted by UTF-16 code units, minimal escapes. Integers as written where they are canonical. */
void json_format_canonical(const struct json *j, struct buf *out);

/* Appends text as a JSON string with its quotes; invalid UTF-8 is replaced by U+FFFD. */
void json_append_string(struct buf *out, struct bytes text);
