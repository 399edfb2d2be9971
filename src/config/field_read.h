/* SPDX-License-Identifier: Apache-2.0 */
/*
 * field_read - one value of the document, checked by the type of its field, into its place in the struct.
 *
 * Threads: as the reading.
 */
#pragma once

#include "config/schema.h"

/* conf: the section's struct, or NULL when nothing is to be kept. Mistakes go to r. true: there were none. */
bool field_read(struct reading *r, const struct field *f, const struct place *at, void *conf);
