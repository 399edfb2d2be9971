/* SPDX-License-Identifier: Apache-2.0 */
/* mem - allocation that does not fail. */
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void *must(void *p)
{
	static const char text[] = "tng: out of memory\n";

	if (p == NULL) {
		ssize_t ignored = write(STDERR_FILENO, text, sizeof(text) - 1);

		(void)ignored;
		abort();
	}
	return p;
}

void *mem_new(size_t size)
{
	return must(calloc(1, size == 0 ? 1 : size));
}

void *mem_new_array(size_t count, size_t size)
{
	return must(calloc(count == 0 ? 1 : count, size == 0 ? 1 : size));
}

void *mem_resize(void *p, size_t size)
{
	return must(realloc(p, size == 0 ? 1 : size));
}

char *mem_strdup(const char *s)
{
	return must(strdup(s));
}

char *mem_strndup(const char *s, size_t len)
{
	return must(strndup(s, len));
}

void *mem_dup(const void *data, size_t len)
{
	void *copy = mem_new(len);

	if (len > 0)
		memcpy(copy, data, len);
	return copy;
}

char *mem_vformat(const char *fmt, va_list args)
{
	char *text = NULL;

	if (vasprintf(&text, fmt, args) < 0)
		must(NULL);
	return text;
}

char *mem_format(const char *fmt, ...)
{
	va_list args;
	char *text;

	va_start(args, fmt);
	text = mem_vformat(fmt, args);
	va_end(args);
	return text;
}

void mem_wipe(void *p, size_t len)
{
	if (p != NULL && len > 0)
		explicit_bzero(p, len);
}
