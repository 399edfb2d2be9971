/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mem - the heap, and a few words of the compiler.
 *
 * Running out of memory for something of our own choosing ends the process with a message, so none of
 * these return NULL. A size that a peer chose is held against a named limit first.
 *
 * Threads: any.
 */
#pragma once

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#define MUST_CHECK __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

/* The object that embeds member. */
#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

/* Zeroed memory; free() it. */
void *mem_new(size_t size);
#define mem_new_of(type) ((type *)mem_new(sizeof(type)))

/* Room for count elements, zeroed. count * size may not overflow: the process ends. */
void *mem_new_array(size_t count, size_t size);

/* Like realloc(); what is new is not zeroed. */
void *mem_resize(void *p, size_t size);

char *mem_strdup(const char *s);
char *mem_strndup(const char *s, size_t len);
void *mem_dup(const void *data, size_t len);

/* gives a string; the caller frees it. */
char *mem_format(const char *fmt, ...) PRINTF_LIKE(1, 2);
char *mem_vformat(const char *fmt, va_list args) PRINTF_LIKE(1, 0);

/* Overwrites in a way that the compiler keeps. */
void mem_wipe(void *p, size_t len);
