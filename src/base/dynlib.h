/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dynlib - libraries that are loaded when something needs them, not at every start.
 *
 * Threads: any.
 */
#pragma once

#include <stddef.h>

#include "base/err.h"
#include "base/mem.h"

struct dynlib_function {
	const char *name;
	void *to; /* a pointer to a function of that type */
};

/* Stays loaded. On an error (ERR_SYSTEM, the linker's reason) some functions may be set. */
int dynlib_load(const char *file, const struct dynlib_function *functions, size_t count, struct err *e) MUST_CHECK;
