/* SPDX-License-Identifier: Apache-2.0 */
/*
 * expected - the words for a value that is not what a field wants.
 *
 * Threads: any; as the reading.
 */
#pragma once

#include "config/schema.h"

/* What was found may be long, a message should not be. */
#define SHOWN_MAX 60

/* "a list". */
const char *found_type(const struct json *j);

/* gives "\"uds\" or \"builtin\"". */
char *expected_choices(const struct choice *choices);

/* gives what a value of the field looks like: "1 to 65535". */
char *expected_form(const struct field *f);

/* "expected <form>, found 70000", at the value. false, so that a reader may end with it. */
bool say_expected(struct reading *r, const struct place *at, const struct field *f);

/* The same for a part of a field, whose form is another. */
bool say_expected_form(struct reading *r, const struct place *at, const struct field *f, const char *form);
