/* SPDX-License-Identifier: Apache-2.0 */
/* libctx_internal - for those of src/crypto who call libcrypto with a context. Threads: as
 * libctx.h. */
#pragma once

#include "crypto/libctx.h"

#include <openssl/types.h>

/* Borrowed; NULL for NULL, which is libcrypto's own default. */
OSSL_LIB_CTX *libctx_ossl(const struct libctx *l);

/* A context whose provider leaves algorithms out, tested or not. */
struct libctx *libctx_new_filtered(struct err *e);

/* Handshakes of l with itself, with all that ours need. */
int libctx_self_test(struct libctx *l, struct err *e) MUST_CHECK;
