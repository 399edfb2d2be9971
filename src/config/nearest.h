/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nearest - what somebody who mistyped a name may have meant.
 *
 * Threads: any.
 */
#pragma once

#include <stddef.h>

/* One of names, or NULL when none is near: more than a third of its letters would have to change. */
const char *nearest_name(const char *text, const char *const *names, size_t count);
