/* SPDX-License-Identifier: Apache-2.0 */
/*
 * old_spellings - documents as TNG 1.0 to 2.7 read them, turned into today's.
 *
 * The only place that knows old names. Each use gives a warning that names the new spelling.
 *
 * Threads: one.
 */
#pragma once

#include "config/place.h"

/* Changes the document in place. Values of unexpected types are left for the tables to refuse. */
void old_spellings_translate(struct reading *r, struct json *document);
