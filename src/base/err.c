/* SPDX-License-Identifier: Apache-2.0 */
/* err - error texts. */
#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* What came from outside may stand in the text, and the text stands in a log. */
static void make_printable(char *text)
{
	for (; *text != '\0'; text++) {
		if ((unsigned char)*text < 0x20 || (unsigned char)*text > 0x7e)
			*text = '?';
	}
}

static void put(struct err *e, const char *text)
{
	size_t len = strlen(text);

	if (len < sizeof(e->text)) {
		memcpy(e->text, text, len + 1);
	} else {
		memcpy(e->text, text, sizeof(e->text) - 4);
		memcpy(e->text + sizeof(e->text) - 4, "...", 4);
	}
	make_printable(e->text);
}

int err_set(struct err *e, enum err_kind kind, const char *fmt, ...)
{
	char text[1024];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	e->kind = kind;
	e->sys = 0;
	put(e, text);
	return -1;
}

int err_errno(struct err *e, enum err_kind kind, const char *fmt, ...)
{
	int sys = errno;
	char text[1024];
	char reason[128];
	va_list args;
	size_t len;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text) - sizeof(reason) - 2, fmt, args);
	va_end(args);
	len = strlen(text);
	snprintf(text + len, sizeof(text) - len, ": %s", strerror_r(sys, reason, sizeof(reason)));
	e->kind = kind;
	e->sys = sys;
	put(e, text);
	return -1;
}

int err_wrap(struct err *e, const char *fmt, ...)
{
	char text[1024];
	va_list args;
	size_t len;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text) - sizeof(e->text) - 2, fmt, args);
	va_end(args);
	len = strlen(text);
	snprintf(text + len, sizeof(text) - len, ": %s", e->text);
	put(e, text);
	return -1;
}
