/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log - one line per event.
 *
 * error needs a person, warn might, info is the life of the process and its flows, debug follows one
 * flow, trace its bytes. A line never holds a newline: control bytes are escaped as \xNN.
 * Lines go to standard error until log_open() says otherwise.
 *
 * Threads: any. A line is written with one write().
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/mem.h"

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG, LOG_TRACE, LOG_OFF = -1 };
enum log_format { LOG_TEXT, LOG_JSON };

struct log_options {
	enum log_level level;
	enum log_format format;
	const char *file;	/* NULL: standard error */
	const char *error_file; /* NULL: errors go where the rest goes; else there and only there */
	bool rolling;
	uint64_t max_size; /* bytes, for rolling */
	unsigned max_backups;
};

/* Opens the files, which are appended to. Called once, before other threads exist. */
int log_open(const struct log_options *options, struct err *e) MUST_CHECK;
void log_close(void);

void log_set_level(enum log_level level);
bool log_is_on(enum log_level level);

void log_write(enum log_level level, const char *fmt, ...) PRINTF_LIKE(2, 3);

#define log_error(...) log_write(LOG_ERROR, __VA_ARGS__)
#define log_warn(...) log_write(LOG_WARN, __VA_ARGS__)
#define log_info(...) log_write(LOG_INFO, __VA_ARGS__)
#define log_debug(...)                                                                                                 \
	do {                                                                                                           \
		if (log_is_on(LOG_DEBUG))                                                                              \
			log_write(LOG_DEBUG, __VA_ARGS__);                                                             \
	} while (0)

/*
 * For what a peer can provoke at will: at most burst lines each second from one place. Returns whether
 * to write, and in *skipped how many were left out since the last line. {0} is ready for use.
 */
struct log_limit {
	uint64_t second;
	unsigned used;
	unsigned skipped;
};
bool log_limit_pass(struct log_limit *limit, unsigned burst, uint64_t now_ms, unsigned *skipped);
