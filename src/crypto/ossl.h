/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ossl - OpenSSL's errors as ours.
 *
 * Threads: any; OpenSSL's queue is the calling thread's own.
 */
#pragma once

#include "base/err.h"

/*
 * Fills e with the text and ": " and the reason of the innermost error in OpenSSL's queue, empties the
 * queue, and returns -1.
 */
int err_openssl(struct err *e, enum err_kind kind, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* "OpenSSL 3.0.19 27 Jan 2026": the library that runs, not the one we were built with. */
const char *ossl_version(void);
