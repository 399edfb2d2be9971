/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stored - the values of a section in its struct: where each one is, its default, and what it owns.
 *
 * Threads: any.
 */
#pragma once

#include "config/schema.h"

/* Where the field's value is to go; NULL when it is only checked, or conf is NULL. */
void *stored_place(const struct field *f, void *conf);

/* Of a field with a place in conf. */
const void *stored_at(const struct field *f, const void *conf);

/* Numbers of all widths; nothing happens to one that is only checked. */
void stored_set_number(const struct field *f, void *conf, int64_t value);
int64_t stored_number(const struct field *f, const void *conf);

/* The same of FIELD_CHOICE. */
void stored_set_choice(const struct field *f, void *conf, int value);
int stored_choice(const struct field *f, const void *conf);

/* How many headers or items; the count's own place. */
size_t *stored_count_place(const struct field *f, void *conf);
size_t stored_count(const struct field *f, const void *conf);

/* Into zeroed memory; also those of embedded objects, which may be absent as a whole. */
void stored_set_defaults(const struct section *section, void *conf);
