/* SPDX-License-Identifier: Apache-2.0 */
/*
 * digest - SHA-2 in one call, and random bytes.
 *
 * Threads: any.
 */
#pragma once

#include <stdint.h>

#include "base/bytes.h"

enum digest_algorithm { DIGEST_SHA256 = 1, DIGEST_SHA384 = 7, DIGEST_SHA512 = 8 }; /* IANA named information */

#define DIGEST_MAX_LEN 64

size_t digest_len(enum digest_algorithm alg);
const char *digest_name(enum digest_algorithm alg); /* "sha256", ... */

/* out has room for digest_len(). */
void digest_compute(enum digest_algorithm alg, struct bytes data, uint8_t *out);

void random_bytes(uint8_t *out, size_t len);
