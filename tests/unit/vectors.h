/* SPDX-License-Identifier: Apache-2.0 */
/* vectors - values from tests/vectors: files of lines "<name> <value>", or whole files. For tests only. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"

static inline void vector_file(const char *file, struct buf *out)
{
	char *path = mem_format("%s/%s", TEST_VECTORS, file);
	FILE *f = fopen(path, "r");
	size_t got;

	if (f == NULL)
		fail_msg("cannot open %s", path);
	do {
		got = fread(buf_reserve(out, 4096), 1, 4096, f);
		out->len += got;
	} while (got > 0);
	fclose(f);
	free(path);
}

/* gives the value as text; free(). */
static inline char *vector_text(const char *file, const char *name)
{
	struct buf content = { 0 };
	char *value = NULL;
	char *rest;

	vector_file(file, &content);
	rest = (char *)(uintptr_t)buf_str(&content);
	for (char *line = strsep(&rest, "\n"); line != NULL; line = strsep(&rest, "\n")) {
		size_t len = strlen(name);

		if (strncmp(line, name, len) == 0 && line[len] == ' ')
			value = mem_strdup(line + len + 1);
	}
	buf_release(&content);
	if (value == NULL)
		fail_msg("no %s in %s", name, file);
	return value;
}

static inline void hex_to_buf(const char *hex, struct buf *out)
{
	unsigned byte;

	for (; *hex != '\0'; hex += 2) {
		assert_int_equal(sscanf(hex, "%2x", &byte), 1);
		buf_append(out, &(uint8_t){ (uint8_t)byte }, 1);
	}
}

/* Appends the value, which is hex in the file. */
static inline void vector_hex(const char *file, const char *name, struct buf *out)
{
	char *text = vector_text(file, name);

	hex_to_buf(text, out);
	free(text);
}

#define assert_bytes_equal(a, b)                                                                                       \
	do {                                                                                                           \
		struct bytes a_ = (a);                                                                                 \
		struct bytes b_ = (b);                                                                                 \
                                                                                                                       \
		assert_int_equal(a_.len, b_.len);                                                                      \
		if (a_.len > 0)                                                                                        \
			assert_memory_equal(a_.data, b_.data, a_.len);                                                 \
	} while (0)
