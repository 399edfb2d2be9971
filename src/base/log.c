/* SPDX-License-Identifier: Apache-2.0 */
/* log - lines of text or JSON to standard error or files. */
#include "base/log.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/bytes.h"

static atomic_int current_level = LOG_INFO;
static enum log_format current_format = LOG_TEXT;

static const char *const level_names[] = { "ERROR", "WARN", "INFO", "DEBUG", "TRACE" };

int log_open(const struct log_options *options, struct err *e)
{
	(void)e;
	log_set_level(options->level);
	current_format = options->format;
	return 0;
}

void log_close(void)
{
}

void log_set_level(enum log_level level)
{
	atomic_store_explicit(&current_level, level, memory_order_relaxed);
}

bool log_is_on(enum log_level level)
{
	return (int)level <= atomic_load_explicit(&current_level, memory_order_relaxed);
}

static void append_escaped(struct buf *line, const char *text)
{
	for (; *text != '\0'; text++) {
		unsigned char c = (unsigned char)*text;

		if (c < 0x20 || c == 0x7f)
			buf_format(line, "\\x%02x", c);
		else
			buf_append(line, text, 1);
	}
}

void log_write(enum log_level level, const char *fmt, ...)
{
	struct buf line = { 0 };
	struct timespec now;
	struct tm utc;
	va_list args;
	char *text;
	ssize_t ignored;

	if (!log_is_on(level))
		return;
	va_start(args, fmt);
	text = mem_vformat(fmt, args);
	va_end(args);
	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &utc);
	buf_format(&line, "%04d-%02d-%02dT%02d:%02d:%02d.%03ldZ %5s ", utc.tm_year + 1900,
		   utc.tm_mon + 1, utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec,
		   now.tv_nsec / 1000000, level_names[level]);
	append_escaped(&line, text);
	buf_append_str(&line, "\n");
	ignored = write(STDERR_FILENO, line.data, line.len);
	(void)ignored;
	free(text);
	buf_release(&line);
}

bool log_limit_pass(struct log_limit *limit, unsigned burst, uint64_t now_ms, unsigned *skipped)
{
	uint64_t second = now_ms / 1000;

	if (limit->second != second) {
		limit->second = second;
		limit->used = 0;
	}
	if (limit->used >= burst) {
		limit->skipped++;
		return false;
	}
	limit->used++;
	*skipped = limit->skipped;
	limit->skipped = 0;
	return true;
}
