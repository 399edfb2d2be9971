/* SPDX-License-Identifier: Apache-2.0 */
/*
 * schema - tables that say what the configuration may contain, and the one reader and writer for them.
 *
 * A section is one kind of JSON object: its keys with type, range, default and the place in a struct.
 * Keys of features that are still to come have fields too, without a place in a struct: their inside is
 * checked like any other, and then they are refused. Rules across fields are functions check_*.
 *
 * Threads: any; tables are constant, a reading belongs to one thread.
 */
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "codec/json.h"
#include "config/config.h"
#include "config/place.h"

struct section;

/* "inline" or "tng"; the table ends with name NULL. Of several names for a value the first is written. */
struct choice {
	const char *name;
	int value;
	bool later; /* known, but not supported yet */
};

/* When a key means something; the text completes "not used: ". j is NULL when a struct is written. */
struct condition {
	bool (*holds)(const void *conf, const struct json *j);
	const char *text;
};

enum field_type {
	FIELD_BOOL,
	FIELD_TRISTATE, /* enum tristate */
	FIELD_INTEGER,	/* uint8_t, uint16_t, unsigned or size_t, by width */
	FIELD_SECONDS,	/* unsigned, milliseconds; written in seconds with up to three decimals */
	FIELD_SIZE,	/* size_t, bytes; written as a number or as text with a unit */
	FIELD_MASK,	/* uint32_t, not 0; written as a number or as text: "0x00ffffff" */
	FIELD_CHOICE,	/* an enum, or a bool of two values */
	FIELD_TEXT,	/* char * */
	FIELD_TEXTS,	/* struct string_list */
	FIELD_HEADERS,	/* struct header_conf *, and its count at count_offset */
	FIELD_OBJECT,
	FIELD_LIST, /* array of structs, and its count at count_offset */
	FIELD_ANY,  /* whatever its inside */
};

#define NOT_STORED SIZE_MAX

struct field {
	const char *name;
	enum field_type type;
	size_t offset; /* NOT_STORED: only checked */
	size_t width;
	size_t count_offset;

	bool required;
	const char *missing;	      /* said instead of "missing" */
	const struct condition *when; /* NULL: always */
	bool later;		      /* refused unless it is switched off: null, false, an empty list */
	bool secret;		      /* the value is never printed */

	int64_t min; /* of the number, of milliseconds, of bytes; least number of items of a list */
	int64_t max;
	int64_t fallback;
	bool zero_is_unset;

	const char *fallback_text;
	const struct choice *choices; /* of FIELD_CHOICE and FIELD_TEXT; of FIELD_TEXTS: instead of the list */
	/*
	 * May change text to its usual form. NULL when all is well, else what is wrong, and text is shown. Of
	 * FIELD_TEXTS: for each item.
	 */
	const char *(*check_text)(char *text);
	bool any_map; /* FIELD_HEADERS: names and values are any text */

	const struct section *section; /* of FIELD_OBJECT and of the items of FIELD_LIST */
	bool allocated;		       /* FIELD_OBJECT: a pointer to the struct, NULL when absent */
	bool apart;		       /* mistakes here do not keep the section's check from running */
	bool or_single;		       /* FIELD_LIST: a single item may stand without brackets */
	/* FIELD_OBJECT: reads instead of section, which then serves for writing. true: no mistake. */
	bool (*read)(struct reading *r, const struct place *at, void *conf);
	/* FIELD_OBJECT: writes instead of section, which then serves for releasing. Nothing: no line. */
	void (*write)(const void *conf, unsigned indent, struct buf *out);
};

/* A kind of object that is told from its siblings by the value of one key. */
struct variant {
	const char *name;
	const struct section *section;
	bool later;
};

struct section {
	const struct field *fields;
	size_t field_count;
	size_t size; /* of the struct; 0: nothing is stored */
	/* Rules across fields; runs when all that is not apart is good. conf is NULL when nothing is stored. */
	void (*check)(struct reading *r, const struct place *at, void *conf);

	const char *tag; /* instead of fields: the key that tells the variants apart */
	const struct variant *variants;
	size_t variant_count;
};

#define SECTION_FIELDS(table) .fields = (table), .field_count = ARRAY_SIZE(table)
#define SECTION_VARIANTS(table) .variants = (table), .variant_count = ARRAY_SIZE(table)

/* A field with a place in a struct, named after the member or with a name of its own. */
#define STORED_AS(name_, type_, struct_, member_)                                                                      \
	.name = (name_), .type = (type_), .offset = offsetof(struct_, member_),                                        \
	.width = sizeof(((struct_ *)NULL)->member_)
#define STORED(type_, struct_, member_) STORED_AS(#member_, type_, struct_, member_)

/* An object whose values go into the struct around it. */
#define FLAT(name_, section_) .name = (name_), .type = FIELD_OBJECT, .offset = 0, .section = (section_)

#define CHECKED(type_, name_) .name = (name_), .type = (type_), .offset = NOT_STORED

#define PORT_RANGE .min = 1, .max = UINT16_MAX
#define UINT32_RANGE .min = 0, .max = UINT32_MAX

/*
 * Reads the object at into conf, which is zeroed memory of section->size bytes, or NULL when nothing is
 * to be kept. Mistakes go to r. true: there were none, mistakes in what is apart not counted.
 */
bool section_read(struct reading *r, const struct section *section, const struct place *at, void *conf);

/* Frees what the fields own, not conf itself. */
void section_release(const struct section *section, void *conf);

/* Appends the object as indented JSON; the first line is not indented. */
void section_write(const struct section *section, const void *conf, unsigned indent, struct buf *out);
