/* SPDX-License-Identifier: Apache-2.0 */
/*
 * size_text - numbers of bytes as people write them: "64MiB", "64MB", "64 mb", "1G", "67108864".
 *
 * All units are powers of 1024, however they are spelled: 64MB has always been 67108864 in TNG's log options.
 *
 * Threads: any.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"

/* false: not a size, or more than 64 bits hold. */
bool size_text_parse(const char *text, uint64_t *bytes);

/* "64MiB"; plain bytes where no unit divides. */
void size_text_format(uint64_t bytes, struct buf *out);
