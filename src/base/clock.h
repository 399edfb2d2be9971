/* SPDX-License-Identifier: Apache-2.0 */
/*
 * clock - what time it is.
 *
 * Threads: any.
 */
#pragma once

#include <stdint.h>

/* Monotonic, for waiting and measuring. */
uint64_t clock_ms(void);

/* Seconds since 1970, for certificates and tokens. */
int64_t clock_unix(void);
