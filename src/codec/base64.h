/* SPDX-License-Identifier: Apache-2.0 */
/*
 * base64 - RFC 4648: standard alphabet with padding, URL alphabet without.
 *
 * Threads: any.
 */
#pragma once

#include "base/bytes.h"
#include "base/err.h"

void base64_encode(struct bytes in, struct buf *out);
void base64url_encode(struct bytes in, struct buf *out); /* no padding */

/* Strict: a foreign character, missing or needless padding, or bits left over are errors. */
int base64_decode(struct bytes in, struct buf *out, struct err *e) MUST_CHECK;
int base64url_decode(struct bytes in, struct buf *out, struct err *e) MUST_CHECK;

/* Either alphabet (not mixed), padded or not; newlines are skipped: for x5c. */
int base64_decode_any(struct bytes in, struct buf *out, struct err *e) MUST_CHECK;
