/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log - lines of text or JSON to standard error or files.
 *
 * A line is put together on the stack and handed to the sink of its level: the error file for errors, if
 * there is one, else the main sink. The lock is held for the write only; it guards what a sink remembers.
 *
 * A log must not stop the gateway. A sink that takes nothing for STALL_MS is stalled: from then on lines
 * for it are dropped at once, until it takes some again. Descriptors that we opened do not block; the
 * others are asked first, and lines are no longer than what a pipe takes as a whole. Lines that were lost
 * are counted, and the count is written when that works again. A file system that hangs in write() is
 * beyond us.
 */
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/utf8.h"

#define STALL_MS 100
#define LINE_MAX_LEN PIPE_BUF

/* Left out of a line that is too long; room for the end of a JSON record behind it. */
#define CUT_MARK "..."
#define LINE_ROOM (LINE_MAX_LEN - 64)

struct sink {
	int fd;
	char *path; /* NULL: standard error */
	bool rolls;
	uint64_t size; /* of the file, as far as we know; counted only when it rolls */
	uint64_t max_size;
	unsigned max_backups;
	bool is_file; /* on a disk: takes what comes */
	bool stalled;
	bool torn;     /* the last write ended inside a line */
	uint64_t lost; /* lines since the last one that was written */
};

static const struct sink standard_error = { .fd = STDERR_FILENO };

static atomic_int current_level = LOG_INFO;
static enum log_format current_format = LOG_TEXT;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards main_sink and error_sink */
static struct sink main_sink = { .fd = STDERR_FILENO };
static struct sink error_sink;
static bool has_error_sink;

static const char *const level_names[] = { "ERROR", "WARN", "INFO", "DEBUG", "TRACE" };

struct line {
	char text[LINE_MAX_LEN];
	size_t len;
	bool full;
};

static void line_append(struct line *l, const char *text, size_t len)
{
	if (l->full || l->len + len > LINE_ROOM) {
		l->full = true;
		return;
	}
	memcpy(l->text + l->len, text, len);
	l->len += len;
}

/* Behind what was cut there is room for this. */
static void line_end(struct line *l, const char *text)
{
	size_t len = strlen(text);

	memcpy(l->text + l->len, text, len);
	l->len += len;
}

static void append_timestamp(struct line *l)
{
	struct timespec now;
	struct tm utc;
	char text[96];
	int len;

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &utc);
	len = snprintf(text, sizeof(text), "%04d-%02d-%02dT%02d:%02d:%02d.%03ldZ", utc.tm_year + 1900, utc.tm_mon + 1,
		       utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec, now.tv_nsec / 1000000);
	line_append(l, text, (size_t)len);
}

/* Control characters, also those behind ASCII: none may reach a terminal. */
static bool is_control(uint32_t c)
{
	return c < 0x20 || (c >= 0x7f && c < 0xa0);
}

static void append_escaped_byte(struct line *l, uint8_t byte)
{
	char text[8];

	line_append(l, text, (size_t)snprintf(text, sizeof(text), "\\x%02x", byte));
}

static void append_as_text(struct line *l, struct bytes message)
{
	while (message.len > 0) {
		uint32_t c;
		size_t len = utf8_next(message, &c);

		if (len == 0 || is_control(c)) {
			len = len == 0 ? 1 : len;
			for (size_t i = 0; i < len; i++)
				append_escaped_byte(l, message.data[i]);
		} else {
			line_append(l, (const char *)message.data, len);
		}
		message = bytes_of(message.data + len, message.len - len);
	}
}

/* As in RFC 8259, and bytes that are not UTF-8 as in text. */
static void append_as_json(struct line *l, struct bytes message)
{
	while (message.len > 0) {
		uint32_t c;
		size_t len = utf8_next(message, &c);
		char text[16];

		if (len == 0)
			line_append(l, text, (size_t)snprintf(text, sizeof(text), "\\\\x%02x", message.data[0]));
		else if (is_control(c))
			line_append(l, text, (size_t)snprintf(text, sizeof(text), "\\u%04x", (unsigned)c));
		else if (c == '"' || c == '\\')
			line_append(l, (char[]){ '\\', (char)c }, 2);
		else
			line_append(l, (const char *)message.data, len);
		len = len == 0 ? 1 : len;
		message = bytes_of(message.data + len, message.len - len);
	}
}

static void format_text(struct line *l, enum log_level level, struct bytes message)
{
	char name[16];

	append_timestamp(l);
	line_append(l, name, (size_t)snprintf(name, sizeof(name), " %5s ", level_names[level]));
	append_as_text(l, message);
	line_end(l, l->full ? CUT_MARK "\n" : "\n");
}

static void format_json(struct line *l, enum log_level level, struct bytes message)
{
	char name[64];

	line_append(l, "{\"timestamp\":\"", 14);
	append_timestamp(l);
	line_append(l, name,
		    (size_t)snprintf(name, sizeof(name), "\",\"level\":\"%s\",\"fields\":{\"message\":\"",
				     level_names[level]));
	append_as_json(l, message);
	line_end(l, l->full ? CUT_MARK "\"},\"target\":\"tng\"}\n" : "\"},\"target\":\"tng\"}\n");
}

static void format_line(struct line *l, enum log_level level, struct bytes message)
{
	l->len = 0;
	l->full = false;
	if (current_format == LOG_JSON)
		format_json(l, level, message);
	else
		format_text(l, level, message);
}

/* FILE.1 is the newest. What cannot be moved stays: losing an old log is better than losing the new one. */
static void move_backups(const struct sink *s)
{
	for (unsigned i = s->max_backups; i > 0; i--) {
		char *to = mem_format("%s.%u", s->path, i);
		char *from = i > 1 ? mem_format("%s.%u", s->path, i - 1) : mem_strdup(s->path);

		(void)!rename(from, to);
		free(from);
		free(to);
	}
	if (s->max_backups == 0)
		unlink(s->path);
}

static int open_file(const char *path)
{
	return open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0644);
}

/* When there is no new file, the old one goes on, until it has grown by as much again. */
static void roll(struct sink *s)
{
	int fd;

	move_backups(s);
	fd = open_file(s->path);
	if (fd >= 0) {
		close(s->fd);
		s->fd = fd;
	}
	s->size = 0;
}

static bool is_ready(struct sink *s)
{
	struct pollfd p = { .fd = s->fd, .events = POLLOUT };
	int ready;

	if (s->is_file)
		return true;
	do {
		ready = poll(&p, 1, s->stalled ? 0 : STALL_MS);
	} while (ready < 0 && errno == EINTR);
	s->stalled = ready == 0;
	return ready > 0;
}

static bool write_all(struct sink *s, const char *text, size_t len)
{
	ssize_t n;

	if (!is_ready(s))
		return false;
	do {
		n = write(s->fd, text, len);
	} while (n < 0 && errno == EINTR);
	if (n > 0) {
		s->size += (uint64_t)n;
		s->torn = text[n - 1] != '\n';
	}
	return n == (ssize_t)len;
}

static bool write_lost(struct sink *s)
{
	struct line l;
	char message[64];

	if (s->torn && !write_all(s, "\n", 1))
		return false;
	if (s->lost == 0)
		return true;
	snprintf(message, sizeof(message), "log: %llu lines were lost", (unsigned long long)s->lost);
	format_line(&l, LOG_WARN, bytes_str(message));
	if (!write_all(s, l.text, l.len))
		return false;
	s->lost = 0;
	return true;
}

static void sink_write(struct sink *s, const struct line *l)
{
	if (s->rolls && s->size > 0 && s->size + l->len > s->max_size)
		roll(s);
	if (!write_lost(s) || !write_all(s, l->text, l->len))
		s->lost++;
}

static bool is_regular(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
}

static int sink_open(struct sink *s, const char *path, const struct log_options *options, struct err *e)
{
	struct stat st;

	s->fd = open_file(path);
	if (s->fd < 0)
		return err_errno(e, ERR_CONFIG, "open the log %s", path);
	s->path = mem_strdup(path);
	s->is_file = is_regular(s->fd);
	s->rolls = options->rolling && s->is_file;
	s->max_size = options->max_size;
	s->max_backups = options->max_backups;
	s->size = fstat(s->fd, &st) == 0 ? (uint64_t)st.st_size : 0;
	return 0;
}

static void sink_close(struct sink *s)
{
	if (s->path != NULL)
		close(s->fd);
	free(s->path);
	*s = standard_error;
}

int log_open(const struct log_options *options, struct err *e)
{
	struct sink file = standard_error;
	struct sink error_file = standard_error;

	if (options->file != NULL && sink_open(&file, options->file, options, e) != 0)
		return -1;
	if (options->error_file != NULL && sink_open(&error_file, options->error_file, options, e) != 0) {
		sink_close(&file);
		return -1;
	}
	if (file.path == NULL)
		file.is_file = is_regular(file.fd);
	log_close();
	pthread_mutex_lock(&lock);
	main_sink = file;
	error_sink = error_file;
	has_error_sink = options->error_file != NULL;
	current_format = options->format;
	pthread_mutex_unlock(&lock);
	log_set_level(options->level);
	return 0;
}

void log_close(void)
{
	pthread_mutex_lock(&lock);
	sink_close(&main_sink);
	sink_close(&error_sink);
	has_error_sink = false;
	pthread_mutex_unlock(&lock);
}

void log_set_level(enum log_level level)
{
	atomic_store_explicit(&current_level, level, memory_order_relaxed);
}

bool log_is_on(enum log_level level)
{
	return (int)level <= atomic_load_explicit(&current_level, memory_order_relaxed);
}

void log_write(enum log_level level, const char *fmt, ...)
{
	char message[LINE_MAX_LEN];
	struct line l;
	va_list args;
	int saved = errno;
	int len;

	if (!log_is_on(level))
		return;
	va_start(args, fmt);
	len = vsnprintf(message, sizeof(message), fmt, args);
	va_end(args);
	/* What does not fit here does not fit into the line either, and is marked as cut there. */
	format_line(&l, level, bytes_of(message, MIN((size_t)MAX(len, 0), sizeof(message) - 1)));
	pthread_mutex_lock(&lock);
	sink_write(level == LOG_ERROR && has_error_sink ? &error_sink : &main_sink, &l);
	pthread_mutex_unlock(&lock);
	errno = saved;
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
