/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log_options - from the command line and the environment to struct log_options.
 *
 * The options and variables are those of TNG 2.12; a variable wins over its option. TNG_LOG wins over
 * RUST_LOG. A bad variable is worth a warning, a bad option is an error.
 *
 * Threads: one.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/log.h"

#define LOG_DEFAULT_MAX_SIZE (64ULL << 20)
#define LOG_DEFAULT_MAX_BACKUPS 5

/* As on the command line; NULL where an option was not given. Borrowed. */
struct log_request {
	const char *file;
	const char *format;
	const char *error_file;
	bool rolling;
	const char *max_size;
	const char *max_backups;
};

/* What to say once the log is open. */
struct log_notes {
	char *items[16];
	size_t count;
};

/* out borrows from request and from the environment, which getenv_ looks up (getenv, or a test's own). */
int log_options_resolve(const struct log_request *request, char *(*getenv_)(const char *), struct log_options *out,
			struct log_notes *notes, struct err *e) MUST_CHECK;

/* Logs them as warnings, and releases them. */
void log_notes_write(struct log_notes *notes);
void log_notes_release(struct log_notes *notes);
