/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libctx_keys - public keys on P-256 and the other curves that a worker has decoded before.
 *
 * A gateway sees the certificates of few peers again and again, and libcrypto decodes the key in each of
 * them anew: the curve is built from its parameters, the point is checked. Here the provider's decoder is
 * wrapped: bytes that it has decoded lately give the same key object once more. They must be equal to the last
 * one, so that all a peer can achieve with others is that its keys are decoded.
 *
 * Threads: any, once libctx_keys_wrap() has returned; each thread has keys of its own.
 */
#pragma once

#include <stdbool.h>

#include <openssl/core.h>

#define LIBCTX_KEYS_FUNCTIONS 12 /* room for what libctx_keys_wrap() writes, its end included */

/*
 * of_default: the functions of the default provider's decoder from SubjectPublicKeyInfo to EC keys.
 * false: they are not as expected, and nothing was written.
 */
bool libctx_keys_wrap(const OSSL_DISPATCH *of_default, OSSL_DISPATCH *out);

/* core: what libcrypto offers to a provider, to read with. Until it came, all is decoded by libcrypto. */
void libctx_keys_use_core(const OSSL_DISPATCH *core);

/* Of this thread: those that belong to a provider's object, before that goes. */
void libctx_keys_forget(void *provider);

/* How many decodings this thread has been spared. */
unsigned long libctx_keys_spared(void);
