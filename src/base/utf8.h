/* SPDX-License-Identifier: Apache-2.0 */
/*
 * utf8 - RFC 3629, one character at a time.
 *
 * Threads: any.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"

/*
 * How many bytes the character at the front of b takes, with its value in *c. 0: b is empty or does not
 * begin with well-formed UTF-8 (overlong forms, surrogates and values over U+10FFFF are not).
 */
size_t utf8_next(struct bytes b, uint32_t *c);

/* c is at most U+10FFFF. */
void utf8_append(struct buf *out, uint32_t c);

/*
 * Appends text as a JSON string with its quotes and the fewest escapes (RFC 8785, section 3.2.2.2). Each
 * byte that is not UTF-8 becomes U+FFFD.
 */
void utf8_append_json_string(struct buf *out, struct bytes text);
